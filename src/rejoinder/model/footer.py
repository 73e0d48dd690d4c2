"""The last line of a run file: how the run ended, and what it shows of the endpoint as a whole."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from msgspec import Struct

from rejoinder.model.samples import Count, RunFileLine, Seconds, about


class BranchState(StrEnum):
    """What became of a branch of the request contract, the worst first."""

    FAILED = "failed"
    REFUSED = "refused"
    NOT_SENT = "not_sent"
    ACCEPTED = "accepted"

    @property
    def label(self) -> str:
        """The state as people read it."""
        return self.value.replace("_", " ")


class CoverageResult(Struct, kw_only=True):
    """Branches of the request contract by what the endpoint made of them."""

    total: Annotated[Count, about("number of branches")]
    counts: Annotated[dict[BranchState, Count], about("number of branches by state")]
    branches: Annotated[dict[BranchState, list[str]], about("names of branches by state")]


class AbilityResult(Struct, kw_only=True):
    """Whether the model showed that it can do something."""

    shown: Annotated[bool | None, about("null: it was not tried")]
    exchange: Annotated[str | None, about("id of the exchange that says so")]


class FeatureState(StrEnum):
    """What became of the requests of a run that use a feature."""

    SUPPORTED = "supported"
    """One was accepted, and its reply shows the feature where replies can."""
    UNSEEN = "unseen"
    """Some were accepted, and no reply shows the feature."""
    REFUSED = "refused"
    """None was accepted, and one was refused cleanly."""
    FAILED = "failed"
    """None was accepted or refused cleanly: a server error, or no reply."""
    UNTRIED = "untried"
    """None was sent, or none got an answer to the question."""


class FeatureEvidence(Struct, kw_only=True):
    """The exchange that shows what became of a feature."""

    exchange: Annotated[str, about("id of the exchange")]
    status: Annotated[int | None, about("its HTTP status; null without a reply")]
    words: Annotated[str, about("what the endpoint said when it refused, in one line")]


class FeatureResult(Struct, kw_only=True):
    """What became of one feature of the dialect."""

    feature: Annotated[str, about("name of the feature")]
    title: Annotated[str, about("what it is, in a few words")]
    state: Annotated[
        FeatureState,
        about(
            "supported: accepted, and seen in a reply where replies can show it; unseen: accepted, and no reply shows "
            "it; refused: every request with it was refused cleanly; failed: none was accepted or refused cleanly; "
            "untried: no request with it got an answer"
        ),
    ]
    evidence: Annotated[FeatureEvidence | None, about("what showed that; null for a feature that was not tried")]


class BaselineResult(Struct, kw_only=True, omit_defaults=True):
    """An entry of the baseline, at one case, and what the run says of it."""

    rule: Annotated[str, about("id of the rule")]
    case: Annotated[str, about("id of a case; * stands for any characters")]
    reason: Annotated[str, about("why the failure is expected")]
    note: Annotated[str, about("what the run says of the entry, in a sentence")]
    fingerprint: Annotated[str, about("of the one finding that is expected; absent: any of the rule")] = ""
    link: Annotated[str, about("where the defect is tracked")] = ""
    expires: Annotated[str, about("the last day on which the entry counts")] = ""


class BaselineResults(Struct, kw_only=True):
    """What became of the entries of the baseline file. An entry with several cases is listed once for each."""

    file: Annotated[str, about("where it was read")]
    strict: Annotated[bool, about("whether stale entries and unexpected passes are failures")]
    known: Annotated[list[BaselineResult], about("entries that matched findings")]
    stale: Annotated[list[BaselineResult], about("entries whose case was run without their rule being judged on it")]
    unexpected_passes: Annotated[
        list[BaselineResult], about("entries whose rule was judged on their case and did not fail as they say")
    ]
    expired: Annotated[list[BaselineResult], about("entries past their day, which match nothing any more")]


class Footer(RunFileLine, kw_only=True, tag_field="kind", tag="footer"):
    """How the run ended, and what it shows of the endpoint as a whole."""

    ended_at: Annotated[Seconds, about("when the run ended, Unix time")]
    exit_code: Annotated[int, about("that of the command")]
    interrupted: Annotated[bool, about("whether it was ended before its time")] = False
    warnings: Annotated[list[str], about("for the reader of a report, in sentences")] = []
    coverage: Annotated[CoverageResult | None, about("how much of the request contract was sent")] = None
    abilities: Annotated[
        dict[str, AbilityResult],
        about(
            "what the model showed that it can do: repeats (it said a planted word again), calls (it called a tool), "
            "follows_schema (it answered in the form of a JSON Schema)"
        ),
    ] = {}
    capabilities: Annotated[list[FeatureResult], about("what became of each feature that the dialect defines")] = []
    problem: Annotated[str, about("why nothing could be tested, in a sentence")] = ""
    baseline: Annotated[BaselineResults | None, about("what became of the baseline; absent without one")] = None

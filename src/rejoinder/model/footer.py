"""The last line of a run file: how the run ended, and what it shows of the endpoint as a whole."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from msgspec import Struct

from rejoinder.model.samples import Count, RunFileLine, Seconds, about


class BranchState(StrEnum):
    """The outcome of a contract branch, the worst first."""

    FAILED = "failed"
    REFUSED = "refused"
    NOT_SENT = "not_sent"
    ACCEPTED = "accepted"

    @property
    def label(self) -> str:
        """The state as people read it."""
        return self.value.replace("_", " ")


class CoverageResult(Struct, kw_only=True):
    """The contract branches of requests by state."""

    total: Annotated[Count, about("number of branches in the contract")]
    counts: Annotated[dict[BranchState, Count], about("number of branches by state")]
    branches: Annotated[dict[BranchState, list[str]], about("names of branches by state")]


class AbilityResult(Struct, kw_only=True):
    """Whether the model showed a capability."""

    shown: Annotated[bool | None, about("whether the model showed it; null if the run did not try")]
    exchange: Annotated[str | None, about("id of the exchange that shows it")]


class FeatureState(StrEnum):
    """How the endpoint handled the requests of a run that use a feature."""

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
    """The exchange behind the state of a feature."""

    exchange: Annotated[str, about("id of the exchange")]
    status: Annotated[int | None, about("HTTP status of the response; null without one")]
    words: Annotated[str, about("error message of the endpoint, on one line")]


class FeatureResult(Struct, kw_only=True):
    """The state of one feature of the dialect."""

    feature: Annotated[str, about("name of the feature")]
    title: Annotated[str, about("the feature in a few words")]
    state: Annotated[
        FeatureState,
        about(
            "supported: accepted, and visible in a response where responses can show it; unseen: accepted, but not "
            "visible in any response; refused: every request with it was refused with a 4xx status; failed: server "
            "error or no response; untried: no request with it was answered"
        ),
    ]
    evidence: Annotated[FeatureEvidence | None, about("the exchange behind the state; null if untried")]


class BaselineResult(Struct, kw_only=True, omit_defaults=True):
    """One entry of the baseline for one case, with its result."""

    rule: Annotated[str, about("id of the rule")]
    case: Annotated[str, about("id of a case, or a pattern in which * matches any characters")]
    reason: Annotated[str, about("why the failure is expected")]
    note: Annotated[str, about("the result of the entry, in a sentence")]
    fingerprint: Annotated[
        str, about("fingerprint of the expected finding; absent if the entry expects any finding of the rule")
    ] = ""
    link: Annotated[str, about("URL where the defect is tracked")] = ""
    expires: Annotated[str, about("last day on which the entry applies")] = ""


class BaselineResults(Struct, kw_only=True):
    """The entries of the baseline file by result. An entry with several cases is listed once for each."""

    file: Annotated[str, about("path of the baseline file")]
    strict: Annotated[bool, about("whether stale entries and unexpected passes are failures")]
    known: Annotated[list[BaselineResult], about("entries that matched findings")]
    stale: Annotated[list[BaselineResult], about("entries whose case ran but did not test their rule")]
    unexpected_passes: Annotated[
        list[BaselineResult], about("entries whose rule was tested on their case and did not fail as expected")
    ]
    expired: Annotated[list[BaselineResult], about("entries past their expiry date, which match no findings")]


class Footer(RunFileLine, kw_only=True, tag_field="kind", tag="footer"):
    """The end of the run and its results for the endpoint as a whole."""

    ended_at: Annotated[Seconds, about("end of the run, in Unix time")]
    exit_code: Annotated[int, about("exit code of the command")]
    interrupted: Annotated[bool, about("whether the run was interrupted")] = False
    unsent: Annotated[Count, about("number of requests of the plan that were not sent because the run ended early")] = 0
    warnings: Annotated[list[str], about("warnings, one sentence each")] = []
    coverage: Annotated[CoverageResult | None, about("which contract branches the run sent")] = None
    abilities: Annotated[
        dict[str, AbilityResult],
        about(
            "model capabilities: repeats (repeated a canary), calls (called a tool), follows_schema (followed a JSON "
            "Schema)"
        ),
    ] = {}
    capabilities: Annotated[list[FeatureResult], about("state of each feature of the dialect")] = []
    problem: Annotated[str, about("why the run could not test the endpoint, in a sentence; else empty")] = ""
    baseline: Annotated[BaselineResults | None, about("results of the baseline; absent without one")] = None

"""The last line of a run file: how the run ended, and what it shows of the endpoint as a whole."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

from msgspec import Struct

from rejoinder.model.samples import Count, RunFileLine, Seconds, about
from rejoinder.model.tags import FaultKind


class Acceptance(StrEnum):
    """What a run shows of whether an endpoint accepts a contract branch or a feature."""

    SEEN = "seen"
    """Accepted, and a response shows the effect."""
    ACCEPTED = "accepted"
    """Accepted; no response shows an effect."""
    BROKEN = "broken"
    """Accepted, and a rule that needs it failed."""
    IGNORED = "ignored"
    """Accepted, and a rule shows that it has no effect."""
    REFUSED = "refused_alone"
    """A request with it was refused, and the same request without it was accepted."""
    PART = "refused_part"
    """It lies inside a branch that was refused or failed alone, and no request with it was accepted."""
    TOGETHER = "refused_together"
    """Every request with it was refused or failed, and each contained other things that were not accepted either."""
    SERVER_ERROR = "server_error"
    """A request with it failed in the endpoint, and the same request without it was accepted."""
    UNPROVEN = "unproven"
    """No request with it got a complete response that proves anything."""
    NOT_SENT = "not_sent"
    """No request of the run contains it."""

    @property
    def label(self) -> str:
        """The state as people read it."""
        return _LABELS[self]

    @property
    def is_accepted(self) -> bool:
        """Whether some request with it was accepted."""
        return self in (Acceptance.SEEN, Acceptance.ACCEPTED, Acceptance.BROKEN, Acceptance.IGNORED)

    @property
    def is_rejected(self) -> bool:
        """Whether it is proven that the endpoint does not take it."""
        return self in (Acceptance.REFUSED, Acceptance.PART, Acceptance.SERVER_ERROR)

    @classmethod
    def _missing_(cls, value: object) -> Acceptance | None:
        return _OLD_VALUES.get(value) if isinstance(value, str) else None


_LABELS: Final = {
    Acceptance.SEEN: "effect seen",
    Acceptance.ACCEPTED: "accepted without visible effect",
    Acceptance.BROKEN: "accepted but broken",
    Acceptance.IGNORED: "ignored",
    Acceptance.REFUSED: "refused",
    Acceptance.PART: "refused as part of another",
    Acceptance.TOGETHER: "refused only together with others",
    Acceptance.SERVER_ERROR: "server error",
    Acceptance.UNPROVEN: "no complete response",
    Acceptance.NOT_SENT: "not sent",
}

_OLD_VALUES: Final = {
    # Run files of version 1: a refusal was not isolated then, and "failed" covered missing responses too.
    "supported": Acceptance.ACCEPTED,
    "unseen": Acceptance.ACCEPTED,
    "refused": Acceptance.TOGETHER,
    "failed": Acceptance.UNPROVEN,
    "untried": Acceptance.NOT_SENT,
}


class IsolatedRefusal(Struct, kw_only=True, omit_defaults=True):
    """A contract branch that the endpoint refuses: one request with it, and the same request without it."""

    branches: Annotated[list[str], about("the refused branches: one, or several that are the same on the wire")]
    state: Annotated[Acceptance, about("refused_alone or server_error")]
    exchange: Annotated[str, about("id of the rejected exchange")]
    control: Annotated[str, about("id of the accepted exchange without the branch")]
    status: Annotated[int | None, about("HTTP status of the rejected exchange")]
    words: Annotated[str, about("error message of the endpoint, on one line")] = ""


class RefusedGroup(Struct, kw_only=True, omit_defaults=True):
    """Branches that were refused as part of others, or only together with others."""

    branches: Annotated[list[str], about("names of the branches")]
    culprits: Annotated[
        list[str],
        about(
            "isolated branches: those that the branches lie inside, or those of which every request with the branches "
            "contains one at least; may be empty"
        ),
    ] = []


class CoverageResult(Struct, kw_only=True, omit_defaults=True):
    """The contract branches of requests by state."""

    total: Annotated[Count, about("number of branches in the contract")]
    counts: Annotated[dict[Acceptance, Count], about("number of branches by state")]
    branches: Annotated[dict[Acceptance, list[str]], about("names of branches by state")]
    refusals: Annotated[list[IsolatedRefusal], about("isolated refusals and server errors, with their proof")] = []
    parts: Annotated[
        list[RefusedGroup], about("branches inside isolated ones, which no request can contain without those")
    ] = []
    together: Annotated[list[RefusedGroup], about("branches that were refused only together with others")] = []
    plans: Annotated[
        dict[str, list[str]],
        about(
            "branches that were not sent, by the smallest test plan that sends them; none: no plan does; recall: the "
            "plan of the run sends them only to a model that repeats a canary; skipped: the plan of the run sends "
            "them, and the run ended early or lacked a reply that they need"
        ),
    ] = {}


class AbilityResult(Struct, kw_only=True):
    """Whether the model showed a capability."""

    shown: Annotated[bool | None, about("whether the model showed it; null if the run did not try")]
    exchange: Annotated[str | None, about("id of the exchange that shows it")]


class FeatureEvidence(Struct, kw_only=True, omit_defaults=True):
    """The exchange behind the state of a feature."""

    exchange: Annotated[str, about("id of the exchange")]
    status: Annotated[int | None, about("HTTP status of the response; null without one")]
    words: Annotated[str, about("error message of the endpoint, on one line")]
    control: Annotated[
        str, about("id of the accepted exchange with the same request without the feature, for isolated refusals")
    ] = ""


class FeatureResult(Struct, kw_only=True, omit_defaults=True):
    """The state of one feature of the dialect."""

    feature: Annotated[str, about("name of the feature")]
    title: Annotated[str, about("the feature in a few words")]
    state: Annotated[
        Acceptance,
        about(
            "seen: accepted, and a response shows the effect; accepted: no response shows an effect; broken: accepted, "
            "and a rule that needs it failed; ignored: accepted, and a rule shows that it has no effect; "
            "refused_alone: a request with it was refused and the same one without it accepted; server_error: it "
            "failed, likewise; refused_together: refused or failed only together with others; unproven: no complete "
            "response; not_sent: no request uses it"
        ),
    ]
    evidence: Annotated[FeatureEvidence | None, about("the exchange behind the state; null if not sent")]
    rules: Annotated[list[str], about("ids of the rules that failed, for broken and ignored")] = []
    findings: Annotated[list[str], about("fingerprints of their findings")] = []
    plan: Annotated[str, about("smallest test plan that sends it; empty unless not sent")] = ""
    part_of: Annotated[
        str, about("the contract branch that was refused or failed alone and that the feature lies inside; else empty")
    ] = ""
    reason: Annotated[str, about("why the run did not send what its plan sends, in a sentence; else empty")] = ""


class LeniencyResult(Struct, kw_only=True):
    """What the endpoint did with surely invalid bodies of one kind."""

    fault: Annotated[FaultKind, about("what is wrong with the bodies")]
    sent: Annotated[
        Count, about("number of invalid bodies that were accepted or refused, and are accepted without their fault")
    ]
    answered: Annotated[Count, about("number of them that got a response instead of a refusal")]
    exchange: Annotated[str | None, about("id of the first exchange with such a response; null if there is none")]
    place: Annotated[str, about("the field at fault in that exchange; empty if there is none")] = ""


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


class SuiteVerdict(StrEnum):
    """The verdict of a compliance suite on one of its cases."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_SENT = "not_sent"

    @property
    def label(self) -> str:
        """The verdict as people read it."""
        return self.value.replace("_", " ")


class SuiteCaseResult(Struct, kw_only=True, omit_defaults=True):
    """The verdict of a compliance suite on one of its cases."""

    case: Annotated[str, about("name of the case in the suite")]
    title: Annotated[str, about("title of the case in the suite")]
    verdict: Annotated[SuiteVerdict, about("passed, failed or not_sent")]
    reasons: Annotated[list[str], about("why it failed or was not sent, one sentence each")] = []
    exchange: Annotated[str, about("id of the exchange; absent if the case was not sent")] = ""


class SuiteResult(Struct, kw_only=True):
    """The verdicts of a compliance suite that is published with a specification, as rejoinder restates them."""

    name: Annotated[str, about("name of the suite")]
    url: Annotated[str, about("URL of the suite")]
    revision: Annotated[str, about("revision of the suite")]
    cases: Annotated[list[SuiteCaseResult], about("verdict of each case, in the order of the suite")]

    @property
    def failed(self) -> bool:
        """Whether a case failed."""
        return any(case.verdict is SuiteVerdict.FAILED for case in self.cases)


class LimitStop(StrEnum):
    """Why the search for a limit ended."""

    FOUND = "found"
    """A larger request was rejected."""
    CEILING = "ceiling"
    """The largest request that rejoinder sends was accepted."""
    BUDGET = "budget"
    """The budget or an interrupt ended the search."""
    PLAN = "plan"
    """The test plan sends nothing larger."""
    REFUSED = "refused"
    """Even the smallest request was rejected."""

    @property
    def label(self) -> str:
        """The reason as people read it."""
        return _STOPS[self]


_STOPS: Final = {
    LimitStop.FOUND: "limit found",
    LimitStop.CEILING: "largest size of the search",
    LimitStop.BUDGET: "stopped by the budget",
    LimitStop.PLAN: "largest size of the test plan",
    LimitStop.REFUSED: "smallest size rejected",
}


class LimitResult(Struct, kw_only=True, omit_defaults=True):
    """What a run found of one limit of the endpoint."""

    limit: Annotated[str, about("name of the limit")]
    title: Annotated[str, about("what has the limit, in a few words")]
    unit: Annotated[str, about("unit of the sizes, in the plural")]
    largest: Annotated[Count | None, about("largest accepted size; null if none was accepted")]
    smallest: Annotated[Count | None, about("smallest rejected size above it; null if none was rejected")]
    stop: Annotated[
        LimitStop,
        about(
            "why the search ended. found: a larger request was rejected; ceiling: the largest request of the search "
            "was accepted; budget: the budget ended the search; plan: the test plan sends nothing larger; refused: "
            "the smallest request was rejected"
        ),
    ]
    how: Annotated[str, about("how it was rejected: status, media type and message, or what broke")] = ""
    documented: Annotated[Count | None, about("the limit that the dialect documents; absent without one")] = None
    accepted: Annotated[str, about("id of the exchange with the largest accepted size")] = ""
    refused: Annotated[str, about("id of the exchange with the smallest rejected size")] = ""


class Footer(RunFileLine, kw_only=True, tag_field="kind", tag="footer"):
    """The end of the run and its results for the endpoint as a whole."""

    ended_at: Annotated[Seconds, about("end of the run, in Unix time")]
    exit_code: Annotated[int, about("exit code of the command")]
    interrupted: Annotated[bool, about("whether the run was interrupted")] = False
    unsent: Annotated[Count, about("number of requests of the plan that were not sent because the run ended early")] = 0
    resent: Annotated[
        Count, about("number of requests that were sent again because their connection was lost before a response")
    ] = 0
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
    leniency: Annotated[list[LeniencyResult], about("responses to invalid bodies, by the kind of their fault")] = []
    problem: Annotated[str, about("why the run could not test the endpoint, in a sentence; else empty")] = ""
    baseline: Annotated[BaselineResults | None, about("results of the baseline; absent without one")] = None
    suite: Annotated[
        SuiteResult | None, about("verdicts of the official compliance suite; absent unless the plan is official")
    ] = None
    limits: Annotated[list[LimitResult], about("limits of the endpoint that the run found")] = []

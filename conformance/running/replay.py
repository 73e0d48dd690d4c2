"""Replay: one finding of a recorded run is sent again, to see whether it still happens.

What is sent is the minimal request where there is one; else the finding's case as its plan makes it, where the plan
still has it; else the recorded requests of the case, in which the ids that came from earlier replies are replaced by
those of the new ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from rejoinder.conformance.judgement import judge, judge_run, merge
from rejoinder.conformance.running.case import PlannedCase, Replies, RequestSpec, final_response
from rejoinder.conformance.running.confirm import fresh, looks_at_run, was_answered
from rejoinder.conformance.running.engine import CheckRun
from rejoinder.contract import Dialect
from rejoinder.errors import ExitCode, UsageError
from rejoinder.formatting import plural
from rejoinder.model.exchange import Exchange, Outcome, Request, parse_json
from rejoinder.model.runfile import Run
from rejoinder.model.tags import BOOKKEEPING, Tag
from rejoinder.model.verdict import Finding, Reruns, Verdict

_FROM_ELSEWHERE: Final = (Tag.WRONG_KEY, Tag.SECOND_TENANT)
"""Tags of requests that take more than what a recording holds: another key."""


class ReplayOutcome(StrEnum):
    """The result of replaying a finding."""

    HAPPENS = "still happens"
    DIFFERS = "differs"
    GONE = "gone"
    UNKNOWN = "not tested"

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of the command."""
        return {ReplayOutcome.GONE: ExitCode.PASSED, ReplayOutcome.UNKNOWN: ExitCode.NOT_TESTED}.get(
            self, ExitCode.FAILED
        )


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """What came of sending a finding's case again: the outcome in a sentence, how often it was judged and failed."""

    outcome: ReplayOutcome
    sentence: str
    verdicts: list[Verdict]
    judged: int = 0
    failed: int = 0


def findings_of(run: Run) -> Iterator[Finding]:
    """Yield the findings of a run, in the order of its verdicts."""
    for verdict in run.verdicts:
        yield from verdict.findings


def find(run: Run, name: str) -> Finding:
    """Return the finding that a fingerprint, the beginning of one, or a rule names.

    Raises :class:`UsageError` when that is none, or more than one.
    """
    known = list(findings_of(run))
    named = name.lower()
    found = [f for f in known if f.fingerprint.startswith(named) or f.rule.lower() == named]
    if len(found) == 1:
        return found[0]
    # One that a baseline expects in some cases stands beside those that it does not.
    if found and len({finding.fingerprint for finding in found}) == 1:
        return found[0]
    if not found:
        raise UsageError(f'The run has no finding "{name}".', "`rejoinder replay RUN` lists its findings.")
    names = ", ".join(f"{finding.fingerprint} ({finding.rule})" for finding in found[:5])
    raise UsageError(f'"{name}" matches {len(found)} findings.', f"Use the fingerprint of one: {names}.")


def rebuild(run: Run, finding: Finding, planned: Mapping[str, PlannedCase]) -> tuple[PlannedCase, str]:
    """Return the case that is to show a finding, and what it is in words.

    ``planned`` are the cases of the run's plan as it is today, by id. Raises :class:`UsageError` when the case can
    neither be planned nor made of what was recorded.
    """
    by_id = {exchange.id: exchange for exchange in run.exchanges}
    path = urlsplit(run.header.target.url)._replace(scheme="", netloc="", fragment="").geturl()
    evidence = by_id.get(finding.evidence.exchange)
    minimal = finding.minimal
    if minimal is not None and minimal.requests == 1 and _is_whole(evidence):
        seen_in = by_id.get(minimal.exchange)
        role, tags = ("plain", (Tag.VALID,)) if seen_in is None else (seen_in.role, _intent(seen_in))
        name = finding.cases[0] if seen_in is None else seen_in.case
        request = _again(minimal.request, role, tags, path)
        return PlannedCase(name, "The minimal request.", (request,)), "the minimal request"
    names = ([evidence.case] if evidence is not None else []) + finding.cases
    for name in names:
        if name in planned:
            return planned[name], f"the case {name} of the plan"
    if evidence is not None:
        case = _recorded(run, evidence, path)
        if case is not None:
            return case, f"the recorded case {evidence.case}"
    raise UsageError(
        f"Cannot send the case of finding {finding.fingerprint} again: the plan does not have it, and the run file "
        "lacks a part of it.",
        "Run `rejoinder check` again.",
    )


def _is_whole(exchange: Exchange | None) -> bool:
    """Return whether a recording says all of a request: no other key, and no end that only its plan knew."""
    if exchange is None:
        return True
    return not set(_FROM_ELSEWHERE) & set(exchange.tags) and exchange.outcome is not Outcome.CANCELLED


def _intent(exchange: Exchange) -> tuple[str, ...]:
    return tuple(tag for tag in exchange.tags if tag not in BOOKKEEPING)


def _recorded(run: Run, evidence: Exchange, path: str) -> PlannedCase | None:
    """Return the recorded case of an exchange; the exchange alone where its case is no sequence of roles."""
    together = [e for e in run.exchanges if e.case == evidence.case and Tag.UNJUDGED not in e.tags]
    roles = [exchange.role for exchange in together]
    if evidence not in together or len(set(roles)) != len(roles):
        together = [evidence]
    if not all(map(_is_whole, together)):
        return None
    requests = []
    for number, exchange in enumerate(together):
        request = _again(exchange.request, exchange.role, _intent(exchange), path)
        requests.append(_renewed(request, together[:number]))
    return PlannedCase(evidence.case, "A recorded case.", tuple(requests))


def _again(request: Request, role: str, tags: tuple[str, ...], path: str) -> RequestSpec:
    """Return a recorded request as one to be sent.

    ``path`` is that of the create endpoint when it was recorded, with the query that every request then had.
    """
    create, _, common = path.partition("?")
    sent, _, query = request.path.partition("?")
    query = query.removeprefix(common).removeprefix("&")
    below = tuple(unquote(part) for part in sent.removeprefix(create).split("/") if part)
    kept = tuple((name, value) for name, value in request.headers if name.lower() == "content-type")
    body: Any = parse_json(request.body) if request.body else None
    return RequestSpec(
        role,
        body if isinstance(body, dict) else request.body or None,
        tags,
        headers=kept,
        method=request.method,
        path=below,
        query=query,
    )


def _renewed(planned: RequestSpec, before: Sequence[Exchange]) -> RequestSpec:
    """Return a request whose ids from recorded replies are replaced by those of the new replies to the same roles."""
    old = {exchange.role: _ids(final_response(exchange)) for exchange in before}
    given = {value: (role, place) for role, ids in old.items() for place, value in ids.items()}
    if not (_texts(planned.body) | set(planned.path if isinstance(planned.path, tuple) else ())) & given.keys():
        return planned
    body, path = planned.body, planned.path

    def new(value: str, replies: Replies) -> str:
        role, place = given[value]
        return _ids(final_response(replies.get(role)))[place]

    def later_body(replies: Replies) -> Any:
        try:
            return _mapped(body, lambda text: new(text, replies) if text in given else text)
        except KeyError:  # the new reply has nothing in that place
            return None

    def later_path(replies: Replies) -> tuple[str, ...] | None:
        assert not callable(path)
        try:
            return tuple(new(part, replies) if part in given else part for part in path)
        except KeyError:
            return None

    return replace(planned, body=body if body is None else later_body, path=later_path)


def _ids(response: Mapping[str, Any] | None) -> dict[str, str]:
    """Return the ids in a response by their place: its own, and those of its output items and their calls."""
    found: dict[str, Any] = {"id": (response or {}).get("id")}
    output = (response or {}).get("output")
    for number, item in enumerate(output if isinstance(output, list) else ()):
        if isinstance(item, dict):
            found |= {f"{number}.{name}": item.get(name) for name in ("id", "call_id")}
    return {place: value for place, value in found.items() if isinstance(value, str) and value}


def _texts(value: Any) -> set[str]:
    if isinstance(value, str):
        return {value}
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return {text for child in inner for text in _texts(child)}


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {name: _mapped(child, change) for name, child in value.items()}
    return [_mapped(child, change) for child in value] if isinstance(value, list) else value


async def replay(
    sender: CheckRun, run: Run, finding: Finding, case: PlannedCase, dialect: Dialect, *, times: int
) -> ReplayResult:
    """Send a case ``times`` times, check each against the finding's rule, and return the result."""
    _, run_context = judge_run(run.exchanges, dialect, select="", required=run.header.required)
    context = _context(run, finding)
    verdicts: list[Verdict] = []
    judged = failed = 0
    for number in range(times):
        again = fresh(case)
        # Each sending is a case of its own, or rules over cases would take them for one.
        again = replace(again, id=again.id if number == 0 else f"{again.id} again {number}")
        sent = await sender.send(again)
        if not sent:
            break
        found = judge([*context, *sent], dialect, select=finding.rule, run_context=run_context)
        verdicts = merge(verdicts, found)
        marks = {f.fingerprint for verdict in found for f in verdict.findings}
        judged += bool(marks) or (any(verdict.judged for verdict in found) and all(map(was_answered, sent)))
        failed += finding.fingerprint in marks
    return _result(finding, verdicts, judged, failed)


def _context(run: Run, finding: Finding) -> list[Exchange]:
    if not looks_at_run(finding.rule):
        return []
    recorded = (exchange for exchange in run.exchanges if exchange.id == finding.evidence.exchange)
    return [replace(e, id=f"{e.id} before", case=f"{e.case} before", tags=_intent(e)) for e in recorded]


def _result(finding: Finding, verdicts: list[Verdict], judged: int, failed: int) -> ReplayResult:
    rule = finding.rule
    for same in (other for verdict in verdicts for other in verdict.findings):
        if same.fingerprint == finding.fingerprint and judged > 1:
            same.reruns = Reruns(judged, failed)
    if failed:
        return ReplayResult(
            ReplayOutcome.HAPPENS, f"{rule} failed in {failed} of {plural(judged, 'run')}.", verdicts, judged, failed
        )
    if not judged:
        why = next((verdict.reason for verdict in verdicts if verdict.reason), "") or "The requests got no response."
        return ReplayResult(ReplayOutcome.UNKNOWN, f"{rule} could not be tested: {why}", verdicts)
    others = [other for verdict in verdicts for other in verdict.findings]
    if others:
        what = f"{rule} failed with another finding: {others[0].evidence.message}"
        return ReplayResult(ReplayOutcome.DIFFERS, what, verdicts, judged)
    return ReplayResult(
        ReplayOutcome.GONE, f"{rule} passed in {plural(judged, 'run')}. The finding is gone.", verdicts, judged
    )

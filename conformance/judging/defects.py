"""From findings to defects: which findings are one defect, and which follow from another.

A finding is one kind of problem at one place. A defect is what somebody fixes: findings at several places that are the
same (:func:`~rejoinder.model.verdict.defect_id`), and what follows from them. A rule's row names the rules that it may
follow from. Whether a finding does is decided by the exchanges of the run: each of its occurrences must meet an
occurrence of one and the same defect of the cause. A failure that nothing covers is a defect of its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Final, NamedTuple

from rejoinder.conformance.judging.exchange_view import ExchangeView
from rejoinder.contract import Follows, Rule, Within
from rejoinder.model.verdict import DefectKey, Finding, Problem, Verdict, masked, place_in_response


class Occurrence(NamedTuple):
    """Where a finding occurred.

    ``item`` is the output index, ``event`` the number of the event in the stream, ``pointer`` the place in the response
    object or in the event; each is ``None`` or empty where the problem is about more than that.
    """

    exchange: str
    case: str
    item: int | None = None
    event: int | None = None
    pointer: str = ""


Occurrences = Mapping[int, Sequence[Occurrence]]
"""The occurrences of findings, by ``id()`` of the finding."""


def occurrence(problem: Problem, view: ExchangeView) -> Occurrence:
    """Return where a problem of an exchange is."""
    exchange = view.exchange
    return Occurrence(
        problem.exchange or exchange.id, exchange.case, _item(problem, view), problem.event, _place(problem)
    )


def _place(problem: Problem) -> str:
    return place_in_response(problem.pointer)


def _item(problem: Problem, view: ExchangeView) -> int | None:
    steps = _place(problem).split("/")
    if len(steps) > 2 and steps[1] == "output" and steps[2].isdigit():
        return int(steps[2])
    if problem.event is None or not view.is_stream or problem.event >= len(view.events):
        return None
    index = view.events[problem.event].data.get("output_index")
    return index if type(index) is int else None


def find_causes(
    verdicts: Sequence[Verdict],
    rules: Mapping[str, Rule],
    occurrences: Occurrences,
) -> None:
    """Set the ``cause`` of every finding that follows from a defect of another rule.

    ``verdicts`` are those of one run with all findings of each rule, whose ``defect`` is set. ``rules`` are the rows by
    id. A cause is always the first one: what follows from a consequence has the cause of that consequence.
    """
    by_rule = {verdict.rule: verdict for verdict in verdicts}
    for rule in _causes_first(rules):
        verdict = by_rule.get(rule.id)
        if verdict is None or not verdict.findings:
            continue
        # What a rule causes within itself comes last, when its other findings have their causes.
        for follows in sorted(rule.follows, key=lambda follows: follows.rule == rule.id):
            cause = by_rule.get(follows.rule)
            if cause is None or not cause.findings:
                continue
            if follows.within is Within.RUN and not _always_fail(verdict, cause, follows, by_rule):
                continue
            for finding in verdict.findings:
                if not finding.cause and _fits(finding, follows.pointer, follows.kind):
                    finding.cause = _cause_of(finding, cause, follows, occurrences)


def count_defects(verdict: Verdict, occurrences: Occurrences) -> dict[DefectKey, int]:
    """Return for each defect of a verdict in how many exchanges it occurred.

    A finding of whole cases that names no exchange counts with the first exchange of each case.
    """
    exchanges: dict[DefectKey, set[str]] = {}
    for finding in verdict.findings:
        found = {one.exchange for one in occurrences.get(id(finding), ())}
        exchanges.setdefault(finding.group, set()).update(found)
    return {key: max(1, len(found)) for key, found in exchanges.items()}


def _causes_first(rules: Mapping[str, Rule]) -> Iterator[Rule]:
    """Yield the rules so that every rule comes after those that it follows from."""
    done: set[str] = set()

    def visit(rule: Rule) -> Iterator[Rule]:
        if rule.id not in done:
            done.add(rule.id)
            for follows in rule.follows:
                if follows.rule in rules:
                    yield from visit(rules[follows.rule])
            yield rule

    for rule in rules.values():
        yield from visit(rule)


def _always_fail(verdict: Verdict, cause: Verdict, follows: Follows, by_rule: Mapping[str, Verdict]) -> bool:
    """Return whether the cause, the rules beside it and the rule itself failed in every test.

    Of a rule that follows with some of its findings only, the tests of the others say nothing.
    """
    others = [by_rule[name] for name in follows.also if name in by_rule]
    every = [cause, *others]
    if follows.pointer == "*" and follows.kind == "*":
        every.append(verdict)
    return len(others) == len(follows.also) and all(0 < one.judged == one.failed for one in every)


def _fits(finding: Finding, pointer: str, kind: str) -> bool:
    place = masked(_place(finding.evidence))
    return fnmatchcase(place, pointer) and fnmatchcase(finding.evidence.kind, kind)


def _cause_of(finding: Finding, cause: Verdict, follows: Follows, occurrences: Occurrences) -> str:
    """Return the id of the first defect of the cause that covers the finding; empty if none does.

    What a baseline expects covers only what it expects as well, so that new failures are never shown as known ones.
    """
    groups: dict[DefectKey, list[Finding]] = defaultdict(list)
    for other in cause.findings:
        if (other.known is None) == (finding.known is None) and _fits(other, follows.cause_pointer, follows.cause_kind):
            groups[other.group].append(other)
    own = occurrences.get(id(finding), ())
    for key, members in groups.items():
        theirs = [one for member in members for one in occurrences.get(id(member), ())]
        if _covered(own, theirs, follows.within):
            return key.cause or key.id
    return ""


def _covered(own: Sequence[Occurrence], theirs: Iterable[Occurrence], within: Within) -> bool:
    if within is Within.RUN:
        return True
    if not own:
        return False
    if within is Within.PLACE:
        places: dict[str, list[str]] = defaultdict(list)
        for one in theirs:
            places[one.exchange].append(one.pointer)
        return all(any(_meet(one.pointer, other) for other in places.get(one.exchange, ())) for one in own)
    if within is Within.EVENT:
        near = {(one.exchange, one.event + step) for one in theirs if one.event is not None for step in (-1, 0, 1)}
        return all((one.exchange, one.event) in near for one in own)
    key = _KEYS[within]
    seen = {key(one) for one in theirs}
    return all((found := key(one)) is not None and found in seen for one in own)


def _meet(one: str, other: str) -> bool:
    """Return whether two pointers lead to one place, or one leads into the other's value."""
    short, long = sorted((one, other), key=len)
    return bool(short) and (long == short or long.startswith(f"{short}/"))


_KEYS: Final[Mapping[Within, Callable[[Occurrence], Hashable]]] = {
    Within.ITEM: lambda one: None if one.item is None else (one.exchange, one.item),
    Within.EXCHANGE: lambda one: one.exchange,
    Within.CASE: lambda one: one.case,
}

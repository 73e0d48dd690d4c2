"""From findings to defects: which findings are one defect, and which follow from another.

A finding is one kind of problem at one place. A defect is what somebody fixes: findings at several places that are the
same (:func:`~rejoinder.model.verdict.defect_id`), and what follows from them. A rule's row names the rules that it may
follow from. Whether a finding does is decided by the exchanges of the run: each of its occurrences must meet an
occurrence of one and the same defect of the cause. A failure that nothing covers is a defect of its own.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final, NamedTuple

from msgspec import Struct

from rejoinder.conformance.judging.exchange_view import ExchangeView
from rejoinder.conformance.judging.turns import crash_kind, is_broken, status_code
from rejoinder.contract import Follows, Rule, Within
from rejoinder.model.verdict import DefectKey, Finding, Problem, Verdict, masked, place_in_response


class Occurrence(Struct, frozen=True, gc=False):
    """Where a finding occurred.

    ``item`` is the output index, ``event`` the number of the event in the stream, ``pointer`` the place in the response
    object or in the event; each is ``None`` or empty where the problem is about more than that. ``words`` are what the
    endpoint wrote in a server error, with its status; empty for other responses and where they only say that an error
    occurred. ``nulls`` are the masked pointers to null in the request.
    ``more`` is whether the exchange has further places with the same error, which were not kept.
    """

    exchange: str
    case: str
    item: int | None = None
    event: int | None = None
    pointer: str = ""
    words: str = ""
    nulls: frozenset[str] = frozenset()
    more: bool = False


Occurrences = Mapping[int, Sequence[Occurrence]]
"""The occurrences of findings, by ``id()`` of the finding."""


def occurrence(problem: Problem, view: ExchangeView) -> Occurrence:
    """Return where a problem of an exchange is."""
    exchange = view.exchange
    place = place_in_response(problem.pointer)
    return Occurrence(
        problem.exchange or exchange.id,
        exchange.case,
        _item(problem, place, view),
        problem.event,
        place,
        view.once(_words),
        view.once(_all_nulls),
        problem.more > 0,
    )


def _all_nulls(view: ExchangeView) -> frozenset[str]:
    if not view.is_create or b"null" not in view.exchange.request.body:
        return frozenset()
    return frozenset(_nulls(view.request, ""))


def _words(view: ExchangeView) -> str:
    if not is_broken(status_code(view)):
        return ""
    words = crash_kind(view)
    telling = {word for word in words.split()[_STATUS_WORDS:] if not _GENERIC.fullmatch(word)}
    return words if len(telling) >= _TELLING else ""


_STATUS_WORDS: Final = 2
"""How many words of a kind of server error name its status."""
_TELLING: Final = 2
"""How many words beside generic ones tell two errors apart."""
_GENERIC: Final = re.compile(
    "a|again|an|and|bad|client|code|during|error|errors|exception|failed|failure|for|found|gateway|has|http|in|internal"
    "|is|later|occurred|of|please|processing|request|response|server|service|something|status|the|this|to|try"
    "|unavailable|unexpected|unhandled|unknown|upstream|was|went|while|with|wrong|your"
)
"""Words that any server error may have."""


def _nulls(value: Any, pointer: str) -> Iterator[str]:
    """Yield the masked pointers to null in a request."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from [f"{pointer}/{name}"] if inner is None else _nulls(inner, f"{pointer}/{name}")
    elif isinstance(value, list):
        for inner in value:
            yield from [f"{pointer}/*"] if inner is None else _nulls(inner, f"{pointer}/*")


def _item(problem: Problem, place: str, view: ExchangeView) -> int | None:
    if place.startswith("/output/") and (step := place.split("/", 3)[2]).isdigit():
        return int(step)
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
    covers = _Covers(occurrences)
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
                    finding.cause = _cause_of(finding, cause, follows, covers)


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
    place = masked(place_in_response(finding.evidence.pointer))
    return fnmatchcase(place, pointer) and fnmatchcase(finding.evidence.kind, kind)


def _cause_of(finding: Finding, cause: Verdict, follows: Follows, covers: _Covers) -> str:
    """Return the id of the first defect of the cause that covers the finding; empty if none does.

    What a baseline expects covers only what it expects as well, so that new failures are never shown as known ones.
    """
    groups: dict[DefectKey, list[Finding]] = defaultdict(list)
    for other in cause.findings:
        if (other.known is None) == (finding.known is None) and _fits(other, follows.cause_pointer, follows.cause_kind):
            groups[other.group].append(other)
    for key, members in groups.items():
        if covers.covered(finding, members, follows.within):
            return key.cause or key.id
    return ""


class _Covers:
    """Decides whether the occurrences of a finding meet those of others, which it looks up once for all findings."""

    def __init__(self, occurrences: Occurrences) -> None:
        self._occurrences = occurrences
        self._known: dict[tuple[Within, tuple[int, ...]], tuple[set[str], set[Hashable]]] = {}

    def covered(self, finding: Finding, others: Sequence[Finding], within: Within) -> bool:
        """Return whether every occurrence of a finding meets one of the others."""
        if within is Within.RUN:
            return True
        own = self._occurrences.get(id(finding), ())
        full, met = self._met(others, within)
        keys = _KEYS[within].own
        return bool(own) and all(one.exchange in full or not met.isdisjoint(keys(one)) for one in own)

    def _met(self, others: Sequence[Finding], within: Within) -> tuple[set[str], set[Hashable]]:
        """Return the exchanges of which not all occurrences were kept, so that they meet everything, and the keys."""
        which = within, tuple(id(other) for other in others)
        known = self._known.get(which)
        if known is None:
            theirs = [one for other in others for one in self._occurrences.get(id(other), ())]
            full = {one.exchange for one in theirs if one.more}
            keys = _KEYS[within].theirs
            met = {key for one in theirs for key in keys(one)}
            known = self._known[which] = full, met
        return known


def _steps(one: Occurrence) -> Iterator[str]:
    """Yield the pointer and those of everything that it is inside of, without the root."""
    end = len(one.pointer)
    while end > 0:
        yield one.pointer[:end]
        end = one.pointer.rfind("/", 0, end)


class _Keys(NamedTuple):
    """Keys of an occurrence: it meets another if one of its ``own`` is one of the other's ``theirs``."""

    own: Callable[[Occurrence], Iterable[Hashable]]
    theirs: Callable[[Occurrence], Iterable[Hashable]]


def _same(keys: Callable[[Occurrence], Iterable[Hashable]]) -> _Keys:
    return _Keys(keys, keys)


_KEYS: Final[Mapping[Within, _Keys]] = {
    # One place is the other, or inside of it.
    Within.PLACE: _Keys(
        lambda one: [(one.exchange, one.pointer, "in"), *((one.exchange, step, "at") for step in _steps(one))],
        lambda one: (
            [(one.exchange, one.pointer, "at"), *((one.exchange, step, "in") for step in _steps(one))]
            if one.pointer
            else []
        ),
    ),
    Within.EVENT: _Keys(
        lambda one: [(one.exchange, one.event)],
        lambda one: [] if one.event is None else [(one.exchange, one.event + step) for step in (-1, 0, 1)],
    ),
    Within.ITEM: _same(lambda one: [] if one.item is None else [(one.exchange, one.item)]),
    Within.EXCHANGE: _same(lambda one: [one.exchange]),
    Within.CASE: _same(lambda one: [one.case]),
    Within.WORDS: _same(lambda one: [one.words] if one.words else []),
    Within.NULL: _same(lambda one: one.nulls),
}

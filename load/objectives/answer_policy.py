"""Which broken MUST rules void a response under load, so that it does not count as a success.

A response is good if it is complete and its content arrived whole, so that a client can read it. Most deviations of
servers change none of that: a missing field with a default, another name in an echoed parameter. They are shown beside
the figures. By default a broken rule voids a response if its effect on clients is urgent ("client breaks", "data lost")
and the problem is at a place where content can be lost (``loses_content_at`` of the rule).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

from rejoinder.conformance.baseline import Baseline, BaselineEntry, read_baseline
from rejoinder.conformance.judgement import select_rules, tests_exchanges
from rejoinder.contract import Dialect, Rule, load_dialect, load_rules
from rejoinder.errors import UsageError, suggest
from rejoinder.model.verdict import Level, Problem, fingerprint, masked

ALL_RULES: Final = "*"
ORDER_RULES: Final = frozenset(
    ("LIF-01", "LIF-02", "LIF-04", "LIF-05", "LIF-06", "EVT-01", "EVT-02", "EVT-03", "SSE-10")
)
"""The rules of every stream, also when there is no time for all: one beginning, one end, and numbers that rise."""


class BrokenRules(NamedTuple):
    """The MUST rules that a response broke, in catalogue order.

    ``voiding`` are those for which it does not count as a success, ``known`` those whose problems are all known
    failures. The two have no rule in common; the others are shown beside the figures. ``problems`` are what is wrong,
    by rule.
    """

    rules: Sequence[str] = ()
    voiding: Sequence[str] = ()
    known: Sequence[str] = ()
    problems: Mapping[str, Sequence[Problem]] = MappingProxyType({})

    def joined(self, other: BrokenRules) -> BrokenRules:
        """Return what two responses to one request broke together; a rule is known if it is so in both."""
        rules = dict.fromkeys([*self.rules, *other.rules])
        voiding = dict.fromkeys([*self.voiding, *other.voiding])
        new = {rule for each in (self, other) for rule in each.rules if rule not in each.known}
        problems = {**self.problems, **other.problems}
        return BrokenRules(list(rules), list(voiding), [rule for rule in rules if rule not in new], problems)


@dataclass(frozen=True, slots=True)
class AnswerPolicy:
    """Says for each broken MUST rule of a dialect whether it voids a response.

    ``watched`` are the rules that are looked at: the selected MUST rules of the dialect. With ``strict`` each
    of them voids. ``known`` holds the fingerprints of known failures by rule; one that is empty stands for any.
    """

    watched: frozenset[str]
    strict: bool = False
    known: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def weigh(self, broken: Mapping[str, Sequence[Problem]]) -> BrokenRules:
        """Return what the policy makes of the problems of one response, given by the rules that they break."""
        rules = [rule for rule in broken if rule in self.watched]
        new = {rule: [problem for problem in broken[rule] if not self._is_known(rule, problem)] for rule in rules}
        voiding = [rule for rule in rules if any(self._voids(rule, problem) for problem in new[rule])]
        problems = {rule: new[rule] or broken[rule] for rule in rules}
        return BrokenRules(rules, voiding, [rule for rule in rules if not new[rule]], problems)

    def _voids(self, rule: str, problem: Problem) -> bool:
        return self.strict or _loses_content(rule, problem.pointer)

    def _is_known(self, rule: str, problem: Problem) -> bool:
        marks = self.known.get(rule)
        return marks is not None and ("" in marks or fingerprint(rule, problem) in marks)


@cache
def _loses_content(rule: str, pointer: str) -> bool:
    """Return whether a problem at a place breaks clients, or loses content of the response."""
    known = load_rules()[rule]
    if not known.effect.urgent:
        return False
    if known.loses_content_at is None:
        return True
    names = [name for name in masked(pointer).split("/") if name not in ("", "*")]
    return bool(names) and names[-1] in known.loses_content_at


def read_policy(
    dialect: str, *, strict: bool = False, select: str = ALL_RULES, known: str = "", today: date | None = None
) -> AnswerPolicy:
    """Return the policy of options.

    ``select`` names rules as ``rejoinder check --select`` does; ``known`` is the path of a baseline of that command,
    empty for none. Entries apply by rule and fingerprint, whatever their cases: the requests of a load are none of the
    cases of a check. Those that expired before ``today``, by default the date in UTC, do not apply.

    Raises :class:`UsageError` for rules that do not exist or that are no MUST rules of the dialect, and
    :class:`~rejoinder.errors.BaselineError` for a file that cannot be read.
    """
    loaded = load_dialect(dialect)
    return AnswerPolicy(
        frozenset(rule.id for rule in _selected(select, loaded)),
        strict,
        _marks(read_baseline(Path(known)), today or datetime.now(UTC).date()) if known else {},
    )


def _selected(select: str, dialect: Dialect) -> list[Rule]:
    """Return the MUST rules of a dialect that a pattern names and that a single response can break."""
    for part in filter(None, map(str.strip, select.split(","))):
        if not any(fnmatchcase(rule, part) for rule in load_rules()):
            hint = suggest(part, load_rules(), "`rejoinder rules` lists the rules.")
            raise UsageError(f'--select: "{part}" matches no rule.', hint)
    musts = [rule for rule in select_rules(select) if dialect.level_of(rule) is Level.MUST]
    if not musts:
        raise UsageError(
            f'--select "{select}" matches no MUST rule of the dialect {dialect.name}.',
            f"A load checks MUST rules only. `rejoinder rules --dialect {dialect.name}` lists the rules with their "
            "levels.",
        )
    chosen = [rule for rule in musts if tests_exchanges(rule)]
    if not chosen:
        raise UsageError(
            f'--select "{select}" matches no rule that a load can check.',
            "A load checks rules that a single response can break. `rejoinder check` checks the others.",
        )
    return chosen


def _marks(baseline: Baseline, today: date) -> dict[str, frozenset[str]]:
    """Return the fingerprints of the entries that apply on a day, by rule."""
    marks: dict[str, set[str]] = {}
    for entry in baseline.entries:
        if not _is_over(entry, today):
            marks.setdefault(entry.rule, set()).add(entry.fingerprint)
    return {rule: frozenset(found) for rule, found in marks.items()}


def _is_over(entry: BaselineEntry, today: date) -> bool:
    return entry.expires is not None and entry.expires < today

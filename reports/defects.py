"""Defects: what somebody fixes. The places of one defect are listed with it, and what follows from it is nested."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from rejoinder.contract import Harm
from rejoinder.formatting import plural
from rejoinder.model.effect import Effect
from rejoinder.model.verdict import Level
from rejoinder.reports.rules import GROUPS, ReportedFinding, ReportedRule, Severity

FIRST: Final = 5
"""The most defects to fix first."""
_SEVERITIES: Final = {Severity.FAIL: Severity.FAIL, Severity.WARN: Severity.WARN}


@dataclass(slots=True)
class ReportedDefect:
    """One defect: a rule with its findings that are the same at several places, and the defects that follow from it.

    ``rule`` holds only these findings, ``count`` is the number of exchanges that show them. ``severity`` and ``effect``
    are the worst of the defect and its consequences.
    """

    id: str
    rule: ReportedRule
    count: int
    severity: Severity
    effect: Effect
    consequences: list[ReportedDefect] = field(default_factory=list)

    @property
    def findings(self) -> list[ReportedFinding]:
        """The places, the most frequent first."""
        return self.rule.findings

    @property
    def head(self) -> ReportedFinding:
        """The finding whose evidence stands for the defect: a reproduced one, if there is one."""
        return min(self.findings, key=lambda finding: _certainty(finding))

    @property
    def extent(self) -> str:
        """At how many places and in how many exchanges it occurred, in words."""
        exchanges = plural(self.count, "exchange")
        return exchanges if len(self.findings) == 1 else f"{plural(len(self.findings), 'place')}, {exchanges}"

    @property
    def harms(self) -> list[Harm]:
        """What official clients do with faults that break these rules in the sandbox, the worst of each client."""
        return worst_harms([self.rule, *(defect.rule for defect in self.consequences)])

    @property
    def clients(self) -> str:
        """The same in words, empty if no client is harmed. The fault may break the rule in another way."""
        harms = "; ".join(f"{harm.client} {harm.use} {harm.effect}" for harm in self.harms)
        return f"Clients with sandbox faults of this rule: {harms}" if harms else ""

    @property
    def proven(self) -> bool:
        """Whether an official client breaks with a sandbox fault of a rule that fails with it and has its effect."""
        rules = (self.rule, *(defect.rule for defect in self.consequences))
        return any(harm.breaks for rule in rules if rule.effect is self.effect for harm in rule.harms)

    @property
    def effect_words(self) -> str:
        """The effect in words: ``client breaks (not proven with a client)``."""
        open_ = self.effect is Effect.CLIENT_BREAKS and not self.proven
        return f"{self.effect.words} (not proven with a client)" if open_ else self.effect.words

    @property
    def failed_rules(self) -> list[ReportedRule]:
        """The rules that fail with it, one for each, its own first."""
        rules = {rule.id: rule for rule in (self.rule, *(defect.rule for defect in self.consequences))}
        return list(rules.values())


class DefectCounts(NamedTuple):
    """How many defects fail the run, how many MUST rules failed for them, and how many of the defects come first."""

    defects: int
    rules: int
    first: int

    @property
    def words(self) -> str:
        """The defects and rules in words: ``12 defects (31 rules failed)``."""
        return f"{plural(self.defects, 'defect')} ({plural(self.rules, 'rule')} failed)"


def read_defects(rules: Sequence[ReportedRule]) -> list[ReportedDefect]:
    """Return the defects of a run without those that follow from others, in the order in which to fix them.

    A finding whose cause is not among the findings stands alone.
    """
    found: dict[tuple[str, bool], list[ReportedDefect]] = {}
    every = [(cause, defect) for rule in rules for cause, defect in _defects_of(rule)]
    for cause, defect in every:
        if not cause:
            found.setdefault((defect.id, bool(defect.findings[0].known)), []).append(defect)
    roots = [defect for members in found.values() for defect in members]
    for cause, defect in every:
        if cause:
            above = found.get((cause, bool(defect.findings[0].known)))
            (above[0].consequences if above else roots).append(defect)
    for defect in roots:
        _weigh(defect)
    return sorted(roots, key=_order)


def shortened(defects: Iterable[ReportedDefect], per_rule: int) -> list[tuple[ReportedDefect, list[ReportedDefect]]]:
    """Return the first defects of each rule, ``per_rule`` at most; the last of a rule comes with those left out."""
    listed: list[tuple[ReportedDefect, list[ReportedDefect]]] = []
    last: dict[str, list[ReportedDefect]] = {}
    seen: Counter[str] = Counter()
    for defect in defects:
        name = defect.rule.id
        seen[name] += 1
        if seen[name] <= per_rule:
            last[name] = []
            listed.append((defect, last[name]))
        else:
            last[name].append(defect)
    return listed


def group_defects(defects: Iterable[ReportedDefect]) -> list[tuple[Severity, list[ReportedDefect]]]:
    """Return the defects by severity, in the groups of :data:`~rejoinder.reports.rules.GROUPS`."""
    defects = list(defects)
    groups = [(severity, [defect for defect in defects if defect.severity is severity]) for severity in GROUPS]
    return [(severity, members) for severity, members in groups if members]


def fix_first(defects: Iterable[ReportedDefect]) -> list[ReportedDefect]:
    """Return the defects to fix first, in their order: at most :data:`FIRST`.

    They fail the run and break clients or lose data. More would be no order to work in: the findings list all.
    """
    failing = [defect for defect in defects if defect.severity is Severity.FAIL]
    return [defect for defect in failing if defect.effect.urgent][:FIRST]


def count_defects(defects: Sequence[ReportedDefect], rules: Iterable[ReportedRule]) -> DefectCounts:
    """Return how many defects fail the run, and how many rules."""
    failed = sum(rule.severity is Severity.FAIL for rule in rules)
    return DefectCounts(sum(defect.severity is Severity.FAIL for defect in defects), failed, len(fix_first(defects)))


def worst_harms(rules: Sequence[ReportedRule]) -> list[Harm]:
    """Return the worst that one fault of the sandbox did to each client; the fault is that of the first such rule."""
    for rule in rules:
        for fault in dict.fromkeys(harm.fault for harm in rule.harms):
            harms = sorted((harm for harm in rule.harms if harm.fault == fault), key=_harm_order)
            return list({harm.client: harm for harm in reversed(harms)}.values())[::-1]
    return []


def _harm_order(harm: Harm) -> int:
    return ("raises", "waits", "loses", "gets").index(harm.effect.partition(" ")[0])


def _defects_of(rule: ReportedRule) -> Iterator[tuple[str, ReportedDefect]]:
    """Yield the defects of a rule, each with the id of its cause."""
    groups: dict[tuple[str, str, bool], list[ReportedFinding]] = {}
    for found in rule.findings:
        groups.setdefault((found.defect, found.finding.cause, bool(found.known)), []).append(found)
    for (name, cause, known), findings in groups.items():
        severity = Severity.KNOWN if known else _SEVERITIES.get(rule.severity, Severity.INFO)
        counted = {(key.id, key.cause, key.known): count for key, count in rule.defects.items()}
        count = counted.get((name, cause, known), max(finding.count for finding in findings))
        own = replace(rule, findings=findings)
        yield cause, ReportedDefect(name, own, count, severity, rule.effect)


def _weigh(defect: ReportedDefect) -> None:
    """Give a defect the worst severity and effect of itself and its consequences, and order these."""
    every = [defect, *defect.consequences]
    severities = list(GROUPS)
    severity = min((one.severity for one in every), key=severities.index)
    effects = list(Effect)
    effect = min((one.effect for one in every if one.severity is severity), key=effects.index)
    defect.consequences.sort(key=_order)
    defect.severity, defect.effect = severity, effect


def _order(defect: ReportedDefect) -> tuple[int, int, bool, tuple[int, float], int, int]:
    """Return what defects are sorted by: severity, effect, its proof, certainty, level, number of exchanges."""
    return (
        list(GROUPS).index(defect.severity),
        list(Effect).index(defect.effect),
        defect.effect is Effect.CLIENT_BREAKS and not defect.proven,
        min(_certainty(finding) for finding in defect.findings),
        list(Level).index(Level(defect.rule.level)),
        -defect.count,
    )


def _certainty(finding: ReportedFinding) -> tuple[int, float]:
    """Return a smaller value for a more certain finding: confirmed every time, at random by rate, not confirmed."""
    reruns = finding.finding.reruns
    if reruns is None or not reruns.asked or not reruns.failed:
        return 2, 0.0
    return (0, 0.0) if reruns.deterministic else (1, -reruns.failed / reruns.asked)

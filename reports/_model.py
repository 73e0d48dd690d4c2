"""A run as people look at it: one verdict in words, rules with their families, findings in order of weight.

Every writer (HTML, JUnit, Markdown, terminal) starts from the same :class:`View`, so that they cannot disagree.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NamedTuple

from rejoinder.contract import FAMILIES, Rule, load_dialect, load_rules
from rejoinder.errors import ContractError, RejoinderError
from rejoinder.formatting import (
    as_number,
    format_percent,
    format_seconds,
    format_time,
    join_list,
    one_line,
    plural,
    printable,
)
from rejoinder.model.runfile import Run
from rejoinder.model.verdict import Finding, Known, Level, Minimal, Status, Verdict
from rejoinder.reports._contract import Contract, read_contract
from rejoinder.reports._footer import Baseline, Capabilities, read_baseline, read_capabilities
from rejoinder.reports._load import Load, read_load


class Tone(StrEnum):
    """How a line is shown: the status of a rule, ``info`` for a broken MAY rule, ``none`` where nothing was judged."""

    FAIL = "fail"
    KNOWN = "known"
    WARN = "warn"
    ERROR = "error"
    INFO = "info"
    PASS = "pass"
    DECLINED = "declined"
    NA = "na"
    NONE = "none"


WORDS: Final[Mapping[Tone, tuple[str, str, str]]] = {
    Tone.FAIL: ("fail", "failed", "a MUST rule is broken"),
    Tone.KNOWN: ("known", "known", "broken as the baseline says; no new failure"),
    Tone.WARN: ("warn", "warned", "a SHOULD rule is broken"),
    Tone.ERROR: ("error", "not judged", "the harness or the network failed"),
    Tone.INFO: ("info", "informed", "a MAY rule is not met; nothing is wrong"),
    Tone.PASS: ("pass", "passed", "the rule held wherever it was judged"),
    Tone.DECLINED: ("declined", "declined", "the model chose otherwise, so nothing can be said"),
    Tone.NA: ("n/a", "not applicable", "nothing in the run exercised the rule"),
    Tone.NONE: ("none", "none", "nothing was judged"),
}
"""For each tone: the word beside its sign, the word in counts, and what it means."""

_TONE_OF: Final = {
    Status.FAIL: Tone.FAIL,
    Status.KNOWN: Tone.KNOWN,
    Status.WARN: Tone.WARN,
    Status.ERROR: Tone.ERROR,
    Status.DECLINED: Tone.DECLINED,
    Status.NOT_APPLICABLE: Tone.NA,
    Status.PASS: Tone.PASS,
}
_MEASURED: Final = {
    "SUSPECT": "The generator was strained or something was lost; take the figures with care.",
    "CLIENT-BOUND": "The generator, not the endpoint, may have set the figures.",
}
JUDGED: Final = (Tone.PASS, Tone.INFO, Tone.WARN, Tone.KNOWN, Tone.FAIL)
"""The tones of rules that were judged."""
GROUPS: Final[Mapping[Tone, str]] = {
    Tone.FAIL: "Failures",
    Tone.WARN: "Warnings",
    Tone.KNOWN: "Known failures",
    Tone.INFO: "For information",
}
"""The groups in which findings are told, the worst first, with their titles."""
_LEVEL_ORDER: Final = {Level.MUST: 0, Level.SHOULD: 1, Level.MAY: 2, Level.OFF: 3}


@dataclass(slots=True)
class FindingView:
    """One finding with the anchor that links to it.

    ``place`` is the event type and the pointer, which tell findings apart that say the same; ``cases`` are the first
    few with their titles; ``smallest`` is the minimal request in one line, empty when there is none. ``known`` says
    why a baseline expects it, empty when none does.
    """

    finding: Finding
    anchor: str
    message: str
    place: str
    cases: list[tuple[str, str]]
    more_cases: int
    smallest: str = ""
    known: str = ""

    @property
    def reruns(self) -> str:
        """What sending its case again showed, in words; empty when it was not sent again."""
        return "" if self.finding.reruns is None else self.finding.reruns.words

    @property
    def replay(self) -> str:
        """The command that sends it again and judges the answer, run beside the run file."""
        return f"rejoinder replay run.ndjson {self.finding.fingerprint}"

    @property
    def count(self) -> int:
        """How often it occurred."""
        return self.finding.count

    @property
    def extent(self) -> str:
        """How often and where, in words."""
        cases = len(self.finding.cases)
        return f"{self.finding.count:,}×" + (f" in {plural(cases, 'case')}" if cases else "")


@dataclass(slots=True)
class RuleView:
    """One judged rule with what the catalogue says of it."""

    id: str
    anchor: str
    title: str
    statement: str
    source: str
    family: str
    level: str
    tone: Tone
    judged: int
    failed: int
    reason: str
    findings: list[FindingView]
    catalogued: bool

    @property
    def word(self) -> str:
        """The status in a word."""
        return WORDS[self.tone][0]

    @property
    def occurrences(self) -> int:
        """How often the rule was found broken."""
        return sum(finding.count for finding in self.findings)

    @property
    def expected(self) -> list[FindingView]:
        """The findings that a baseline expects."""
        return [finding for finding in self.findings if finding.known]


class Family(NamedTuple):
    """Rules of one family, or of one level, with their number by tone."""

    id: str
    title: str
    rules: list[RuleView]
    counts: dict[Tone, int]

    @property
    def judged(self) -> int:
        """How many of the rules were judged."""
        return sum(self.counts.get(tone, 0) for tone in JUDGED)

    @property
    def tally(self) -> str:
        """The rules by verdict in words, the worst first."""
        return ", ".join(f"{amount:,} {WORDS[tone][1]}" for tone, amount in self.counts.items())


class Excuse(NamedTuple):
    """Rules that were not judged for one reason."""

    tone: Tone
    reason: str
    rules: list[RuleView]


@dataclass(slots=True)
class View:
    """Everything that the writers say about a run as a whole. All texts are harmless, single lines."""

    tone: Tone
    headline: str
    sentence: str
    facts: list[tuple[str, str]]
    url: str
    model: str
    dialect: str
    command: str
    started: str
    duration: str
    warnings: list[str]
    rules: list[RuleView]
    families: list[Family]
    levels: list[Family]
    counts: dict[Tone, int]
    excuses: list[Excuse]
    coverage: tuple[int, int]
    contract: Contract | None
    capabilities: Capabilities | None
    baseline: Baseline | None
    load: Load | None
    exchanges: int
    problem: str = ""
    groups: list[tuple[Tone, list[RuleView]]] = field(default_factory=list)

    @property
    def unjudged(self) -> str:
        """How many rules were not judged, in words."""
        tones = [tone for tone in (Tone.ERROR, Tone.NA, Tone.DECLINED) if tone in self.counts]
        return ", ".join(f"{self.counts[tone]:,} {WORDS[tone][1]}" for tone in tones)

    @property
    def outdated(self) -> list[str]:
        """What fails a strict baseline, a sentence for each entry."""
        return self.baseline.outdated if self.baseline else []

    def findings(self) -> Iterator[tuple[RuleView, FindingView]]:
        """Yield every finding, the worst rules first."""
        for _, rules in self.groups:
            for rule in rules:
                for finding in rule.findings:
                    yield rule, finding

    def worst(self, limit: int) -> list[tuple[RuleView, FindingView]]:
        """Return the findings that matter most, one for each rule as long as there are rules.

        A second finding of a rule is taken only when it says something else.
        """
        ranked = [
            (index, order, rule, finding)
            for order, rule in enumerate(rule for _, rules in self.groups for rule in rules)
            for index, finding in enumerate(_telling(rule.findings))
            if rule.tone is Tone.KNOWN or (rule.tone in (Tone.FAIL, Tone.WARN) and not finding.known)
        ]
        order = list(GROUPS)
        ranked.sort(key=lambda entry: (order.index(entry[2].tone), entry[0], entry[1]))
        return [(rule, finding) for _, _, rule, finding in ranked[:limit]]


def _telling(findings: list[FindingView]) -> list[FindingView]:
    """Return the first finding of each message."""
    first: dict[str, FindingView] = {}
    for finding in findings:
        first.setdefault(finding.message, finding)
    return list(first.values())


def catalogue() -> Mapping[str, Rule]:
    """Return the rule catalogue; empty when it cannot be read, because a report must not fail over it."""
    try:
        return load_rules()
    except (ContractError, OSError):
        return {}


def view(run: Run, anchors: Anchors | None = None) -> View:
    """Return the run as people look at it. Reads whatever is there and never raises on strange content.

    Pages that show several runs share the anchors among them.
    """
    known = catalogue()
    cases = run.header.get("cases")
    titles = cases if isinstance(cases, dict) else {}
    anchors = anchors or Anchors()
    rules = [_rule(verdict, known, titles, anchors) for verdict in run.verdicts]
    order = {family: index for index, family in enumerate(FAMILIES)}
    rules.sort(key=lambda rule: (order.get(rule.family, len(order)), rule.family, rule.id))
    counts = Counter(rule.tone for rule in rules)
    load = read_load(run)
    target = run.header.get("target")
    target = target if isinstance(target, dict) else {}
    tone, headline, sentence = _verdict(run, rules, counts, load)
    dialect = _word(target.get("dialect"))
    return View(
        tone=tone,
        headline=headline,
        sentence=sentence,
        facts=_facts(run, target, len(run.exchanges), load),
        url=one_line(_text(target.get("url")), 300),
        model=one_line(_text(target.get("model")), 120),
        dialect=dialect,
        command=_command(run.header.get("command")),
        started=format_time(run.header.get("started_at")),
        duration=_duration(run),
        warnings=_warnings(run, rules, load),
        rules=rules,
        families=_families(rules),
        levels=_levels(rules),
        counts=_by_tone(rules),
        excuses=_excuses(rules),
        coverage=_coverage(rules, dialect),
        contract=_anchored(read_contract(run), anchors),
        capabilities=read_capabilities(run),
        baseline=read_baseline(run),
        load=load,
        exchanges=len(run.exchanges),
        problem=one_line(_text(run.footer.get("problem")), 500),
        groups=_groups(rules),
    )


class Anchors:
    """Gives every place on the page an id that is unique, stable and safe in a link."""

    def __init__(self) -> None:
        self._taken: Counter[str] = Counter()

    def take(self, prefix: str, name: str) -> str:
        """Return an id made of the prefix and the name."""
        anchor = prefix + (re.sub(r"[^A-Za-z0-9_.-]+", "-", name[:80]) or "x")
        self._taken[anchor] += 1
        return anchor if self._taken[anchor] == 1 else f"{anchor}~{self._taken[anchor]}"


def _anchored(contract: Contract | None, anchors: Anchors) -> Contract | None:
    """Give the parts that the map of the contract shows an id each."""
    for tile in contract.tiles if contract else ():
        tile.node.anchor = tile.node.anchor or anchors.take("b-", tile.path)
    return contract


def _rule(verdict: Verdict, known: Mapping[str, Rule], titles: Mapping[str, Any], anchors: Anchors) -> RuleView:
    rule = known.get(verdict.rule)
    name = one_line(verdict.rule, 40) or "?"
    tone = _TONE_OF[verdict.status]
    if tone is Tone.PASS and verdict.findings:
        tone = Tone.INFO
    findings = sorted(
        verdict.findings, key=lambda f: (f.known is not None, _LEVEL_ORDER[f.level], -f.count, f.fingerprint)
    )
    return RuleView(
        id=name,
        anchor=anchors.take("r-", name),
        title=rule.title if rule else "",
        statement=rule.statement if rule else "",
        source=rule.basis if rule else "",
        family=name.partition("-")[0],
        level=verdict.level.value,
        tone=tone,
        judged=verdict.judged,
        failed=verdict.failed,
        reason=one_line(verdict.reason, 300),
        findings=[_finding(finding, titles, anchors) for finding in findings],
        catalogued=rule is not None,
    )


def _finding(finding: Finding, titles: Mapping[str, Any], anchors: Anchors, limit: int = 6) -> FindingView:
    problem = finding.evidence
    return FindingView(
        finding=finding,
        anchor=anchors.take("f-", finding.fingerprint),
        message=one_line(finding.evidence.message, 400),
        place=" ".join(filter(None, (one_line(problem.event_type, 80), one_line(problem.pointer, 160)))),
        cases=[(one_line(case, 80), one_line(_text(titles.get(case)), 120)) for case in finding.cases[:limit]],
        more_cases=max(0, len(finding.cases) - limit),
        smallest="" if finding.minimal is None else _smallest(finding.minimal),
        known="" if finding.known is None else _why(finding.known),
    )


def _why(known: Known) -> str:
    """Return why a baseline expects a finding, in one line."""
    until = f"until {known.expires}" if known.expires else ""
    return one_line(", ".join(filter(None, (known.reason, known.link, until))), 400) or "no reason given"


def _smallest(minimal: Minimal) -> str:
    """Return a minimal request in one line."""
    request = minimal.request
    text = f"{request.method} {request.path} {request.body[:2000].decode('utf-8', 'replace')}".rstrip()
    after = f" (after {plural(minimal.requests - 1, 'other request')} of its case)" if minimal.requests > 1 else ""
    return one_line(text, 400) + after


def _groups(rules: list[RuleView]) -> list[tuple[Tone, list[RuleView]]]:
    groups = []
    for tone in GROUPS:
        found = [rule for rule in rules if rule.findings and _group_of(rule) is tone]
        found.sort(key=lambda rule: -rule.occurrences)
        if found:
            groups.append((tone, found))
    return groups


def _group_of(rule: RuleView) -> Tone:
    """Return the group of a rule's findings; findings of rules that hold only inform."""
    return rule.tone if rule.tone in GROUPS else Tone.INFO


def _families(rules: list[RuleView]) -> list[Family]:
    by_family: dict[str, list[RuleView]] = {}
    for rule in rules:
        by_family.setdefault(rule.family, []).append(rule)
    return [
        Family(family, FAMILIES.get(family, ""), members, _by_tone(members)) for family, members in by_family.items()
    ]


_LEVELS: Final = {"MUST": "binding", "SHOULD": "expected", "MAY": "only informs", "OFF": "not in force"}


def _levels(rules: list[RuleView]) -> list[Family]:
    found = {level: [rule for rule in rules if rule.level == level] for level in _LEVELS}
    return [Family(level, _LEVELS[level], members, _by_tone(members)) for level, members in found.items() if members]


def _by_tone(rules: list[RuleView]) -> dict[Tone, int]:
    """Return how many rules have each tone, the worst tone first."""
    counts = Counter(rule.tone for rule in rules)
    return {tone: counts[tone] for tone in Tone if counts[tone]}


def _excuses(rules: list[RuleView]) -> list[Excuse]:
    """Return the rules without a verdict, grouped by reason, the largest groups first."""
    groups: dict[tuple[Tone, str], list[RuleView]] = {}
    for rule in rules:
        if rule.tone in (Tone.NA, Tone.DECLINED, Tone.ERROR):
            groups.setdefault((rule.tone, rule.reason or WORDS[rule.tone][2]), []).append(rule)
    order = (Tone.ERROR, Tone.NA, Tone.DECLINED)
    ranked = sorted(groups.items(), key=lambda item: (order.index(item[0][0]), -len(item[1])))
    return [Excuse(tone, reason, members) for (tone, reason), members in ranked]


def _coverage(rules: list[RuleView], dialect: str) -> tuple[int, int]:
    """Return how many of the rules in force in the dialect were judged, and how many there are (0: not known)."""
    try:
        name = load_dialect(dialect).name
    except RejoinderError:  # a run of an unknown dialect is still worth a report
        return 0, 0
    force = {rule.id for rule in catalogue().values() if rule.level_in(name) is not Level.OFF}
    return len({rule.id for rule in rules if rule.tone in JUDGED} & force), len(force)


def _verdict(run: Run, rules: list[RuleView], counts: Counter[Tone], load: Load | None) -> tuple[Tone, str, str]:
    """Return the verdict on the whole run: its tone, a headline of a few words, and a sentence."""
    judged = sum(counts[tone] for tone in JUDGED)
    tail = _load_sentence(load)
    if counts[Tone.FAIL]:
        broken = plural(counts[Tone.FAIL], "MUST rule is", "MUST rules are")
        sentence = f"{broken} broken, of {judged:,} that were judged{_also(counts)}."
        return Tone.FAIL, "Does not conform", f"{sentence} {tail}".strip()
    baseline = read_baseline(run)
    if baseline and baseline.outdated and not run.footer.get("interrupted"):
        entries = plural(len(baseline.outdated), "entry of it no longer fails", "entries of it no longer fail")
        sentence = f"The baseline must be kept up to date, and {entries}{_also(counts)}."
        return Tone.FAIL, "The baseline is out of date", f"{sentence} {tail}".strip()
    if judged:
        if load is not None and (load.intolerable or load.missed):
            sentence = f"{_none_broken(counts)} in {judged:,} that were judged{_also(counts)}."
            what = "not every request under load" if load.intolerable else "misses objectives under load"
            return Tone.FAIL, f"Conforms, but {what}", f"{sentence} {tail}"
        if run.truncated or run.footer.get("interrupted"):
            sentence = (
                f"The run was cut short. {_none_broken(counts)} so far, in {judged:,} that were judged{_also(counts)}."
            )
            return Tone.ERROR, "Not settled", f"{sentence} {tail}".strip()
        if counts[Tone.ERROR]:
            left = plural(counts[Tone.ERROR], "rule")
            sentence = f"{_none_broken(counts)}, but {left} could not be judged{_also(counts, errors=False)}."
            return Tone.ERROR, "Not settled", f"{sentence} {tail}".strip()
        if counts[Tone.KNOWN]:
            sentence = f"{_none_broken(counts)}, of {judged:,} that were judged{_also(counts)}."
            return Tone.WARN, "No new failure", f"{sentence} {tail}".strip()
        if counts[Tone.WARN]:
            unmet = plural(counts[Tone.WARN], "SHOULD rule is", "SHOULD rules are")
            sentence = f"All MUST rules hold that were judged; {unmet} not met, of {plural(judged, 'rule')}."
            return Tone.WARN, "Conforms, with warnings", f"{sentence} {tail}".strip()
        return Tone.PASS, "Conforms", f"All {plural(judged, 'rule')} that could be judged hold. {tail}".strip()
    if load is not None and load.started:
        if load.intolerable:
            return Tone.FAIL, "Not every request ended well", tail
        if load.missed:
            missed = plural(len(load.missed), "objective", "objectives")
            return Tone.FAIL, f"{missed} missed", tail
        if not load.whole:
            return Tone.ERROR, "Not settled", f"The run was cut short. {tail}".strip()
        tone = Tone.PASS if load.verdict in ("", "VALID") else Tone.WARN
        return tone, "Enough requests ended well" if load.bad else "Every request ended well", tail
    problem = one_line(_text(run.footer.get("problem")), 500)
    if counts[Tone.ERROR]:
        return Tone.ERROR, "Nothing could be judged", problem or f"All {plural(len(rules), 'rule')} ended in an error."
    if rules:
        return Tone.NONE, "Nothing was judged", problem or "No rule applied to what the endpoint answered."
    return Tone.ERROR, "Nothing was tested", problem or "The run holds no verdicts and no measurements."


def _none_broken(counts: Counter[Tone]) -> str:
    return "No MUST rule is newly broken" if counts[Tone.KNOWN] else "No MUST rule is broken"


def _also(counts: Counter[Tone], *, errors: bool = True) -> str:
    parts = []
    if counts[Tone.KNOWN]:
        parts.append(
            plural(counts[Tone.KNOWN], "rule is broken as the baseline says", "rules are broken as the baseline says")
        )
    if counts[Tone.WARN]:
        parts.append(plural(counts[Tone.WARN], "SHOULD rule is not met", "SHOULD rules are not met"))
    if errors and counts[Tone.ERROR]:
        parts.append(plural(counts[Tone.ERROR], "rule could not be judged", "rules could not be judged"))
    return "".join(f"; {part}" for part in parts)


def _load_sentence(load: Load | None) -> str:
    if load is None or not load.started:
        return ""
    bad = sorted((entry for entry in load.ledger if not entry.good), key=lambda entry: -entry.amount)
    rest = f" ({join_list((f'{entry.amount:,} {entry.outcome}' for entry in bad), 2)})" if bad else ""
    sentence = (
        f"Under load, {format_percent(load.ok, load.started)} of {plural(load.started, 'request')} ended well{rest}."
    )
    if load.missed:
        sentence += f" Missed: {join_list((objective.text for objective in load.missed), 4)}."
    return f"{sentence} {_MEASURED.get(load.verdict, '')}".rstrip()


def _facts(run: Run, target: dict[str, Any], exchanges: int, load: Load | None) -> list[tuple[str, str]]:
    tool = run.header.get("tool")
    baseline = read_baseline(run)
    versions = tool if isinstance(tool, dict) else {}
    facts = [
        ("Model", one_line(_text(target.get("model")), 120) or "not named"),
        ("Dialect", _word(target.get("dialect"))),
        ("Server", one_line(_text(target.get("server")), 120)),
        ("Started", format_time(run.header.get("started_at"))),
        ("Took", _duration(run)),
        ("Plan", _word(run.header.get("plan"))),
        ("Baseline", f"{baseline.file}: {baseline.brief}" if baseline else ""),
        ("Rechecked", _rechecked(run)),
        ("Seed", _word(run.header.get("seed"))),
        ("Requests", _requests(exchanges, load)),
        ("Versions", one_line(", ".join(f"{name} {_text(version)}" for name, version in versions.items()), 200)),
    ]
    return [(name, value) for name, value in facts if value]


def _rechecked(run: Run) -> str:
    """Return of what recording the run is a second judgement; empty when it is none."""
    origin = run.header.get("rechecked")
    if not isinstance(origin, dict):
        return ""
    when, version = format_time(origin.get("started_at")), _text(origin.get("rejoinder"))
    return one_line(f"{_text(origin.get('run'))}, recorded {when} by rejoinder {version}", 300)


def _requests(exchanges: int, load: Load | None) -> str:
    parts = [f"{exchanges:,} recorded"] if exchanges or load is None else []
    return ", ".join([*parts, f"{load.started:,} under load"] if load else parts)


def _duration(run: Run) -> str:
    begin, end = as_number(run.header.get("started_at")), as_number(run.footer.get("ended_at"))
    return format_seconds(end - begin) if begin is not None and end is not None and end >= begin else ""


def _command(value: Any) -> str:
    """Return the command line quoted for a shell; a word that must not be shown raw is shown by name."""
    if not isinstance(value, list):
        return ""
    return printable(" ".join(shlex.quote(_text(word)) for word in value[:200])[:4000], keep="")


def _warnings(run: Run, rules: list[RuleView], load: Load | None) -> list[str]:
    warnings = []
    if run.truncated:
        warnings.append("The run file has no footer: the run was cut short, and what follows is what it had written.")
    if run.footer.get("interrupted"):
        warnings.append("The run was interrupted; rules that had not been exercised yet are not applicable.")
    if run.damage:
        shown = join_list((one_line(sentence, 160) for sentence in run.damage), 3)
        unread = plural(len(run.damage), "line of the run file", "lines of the run file")
        warnings.append(f"{unread} could not be read: {shown}.")
    noted = run.footer.get("warnings")
    if isinstance(noted, list):
        warnings += [one_line(_text(sentence), 400) for sentence in noted[:20]]
        if len(noted) > 20:
            warnings.append(f"{len(noted) - 20:,} more warnings are in the run file.")
    strangers = [rule.id for rule in rules if not rule.catalogued]
    if strangers and catalogue():
        names = join_list(strangers)
        warnings.append(f"{plural(len(strangers), 'rule is', 'rules are')} not in this rejoinder's catalogue: {names}.")
    return warnings + (load.warnings if load else [])


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else one_line(value, 300)


def _word(value: Any) -> str:
    return one_line(_text(value), 80)

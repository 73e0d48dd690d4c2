"""Two runs compared: which findings are new, mended, still there or no longer seen, and how figures changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, NamedTuple

from rejoinder.formatting import as_number, format_count, format_percent, format_rate, format_seconds, join_list, plural
from rejoinder.model.runfile import Run
from rejoinder.reports._load import Distribution, Load
from rejoinder.reports._model import JUDGED, WORDS, Anchors, FindingView, RuleView, Tone, View, view
from rejoinder.reports._statistics import fisher, mann_whitney


class Kind(StrEnum):
    """What became of a finding from one run to the next, the worst first."""

    NEW = "new"
    STILL = "still"
    GONE = "gone"
    FIXED = "fixed"
    CHANGED = "changed"


KINDS: Final = {
    Kind.NEW: ("new", "New", "not found before"),
    Kind.STILL: ("still failing", "Still failing", "found before and found again"),
    Kind.GONE: ("gone", "No longer seen", "found before; now its rule was not judged, or its cases were not run"),
    Kind.FIXED: ("fixed", "Fixed", "found before; its rule was judged again on its cases, and it was not found"),
    Kind.CHANGED: ("verdict changed", "Verdict changed", "the verdict on the rule is another one"),
}
"""For each kind: the word in counts, the title of its part, and what it means."""
SIGN_OF: Final = {
    Kind.NEW: "fail",
    Kind.STILL: "warn",
    Kind.GONE: "na",
    Kind.FIXED: "pass",
    Kind.CHANGED: "info",
}
_METRICS: Final = ("ttft", "itl", "max_gap", "tpot", "e2e", "e2e_intended")
_TESTED: Final = ("ttft", "max_gap", "tpot", "e2e", "e2e_intended")
"""Metrics with one value for each request. Gaps between tokens hang together within a stream: they are not tested."""
SURE: Final = 0.01
SMALL: Final = 0.05
"""By how much the median must have changed before a difference is called one."""
CAVEAT: Final = (
    "A small p says that these two runs differ, not why: requests of one run share the state of machine and network. "
    "Repeat both before you act on it."
)
_SETTINGS: Final = ("mode", "concurrency", "rate", "duration", "requests", "arrivals", "max_output_tokens", "processes")


class RuleChange(NamedTuple):
    """One rule in both runs; a side is ``None`` where the run does not have it. ``kinds`` says what changed."""

    id: str
    anchor: str
    rule: RuleView
    before: RuleView | None
    after: RuleView | None
    kinds: tuple[Kind, ...]

    @property
    def changed(self) -> bool:
        """Whether the verdict is another one."""
        return Kind.CHANGED in self.kinds


class Figure(NamedTuple):
    """One figure of the load in both runs, as text; ``tone`` says whether it got better or worse beyond doubt."""

    name: str
    before: str
    after: str
    change: str
    statement: str
    tone: Tone


@dataclass(slots=True)
class Diff:
    """What changed from one run to another."""

    runs: tuple[Run, Run]
    before: View
    after: View
    groups: dict[Kind, list[RuleView]]
    rules: list[RuleChange]
    figures: list[Figure]
    notes: list[str]
    new_failures: list[str] = field(default_factory=list)
    tone: Tone = Tone.NONE
    headline: str = ""
    sentence: str = ""

    @property
    def counts(self) -> dict[Kind, int]:
        """How many findings there are of each kind, and rules whose verdict changed."""
        counts = {kind: sum(len(rule.findings) for rule in rules) for kind, rules in self.groups.items()}
        counts[Kind.CHANGED] = sum(rule.changed for rule in self.rules)
        return counts

    def findings(self) -> Iterator[tuple[Kind, RuleView, FindingView]]:
        """Yield every finding, new ones first."""
        for kind, rules in self.groups.items():
            for rule in rules:
                for finding in rule.findings:
                    yield kind, rule, finding


def diff_runs(before: Run, after: Run) -> Diff:
    """Return what changed from one run to a later one. Findings are the same when their fingerprints are.

    ``new_failures`` names what fails now and did not before: findings of broken MUST rules, rules that are now broken
    without a new finding, and a load that ended badly for the first time. What a baseline expects in the later run is
    no failure; what it expected in the earlier one was found before, so that it is none that is new.
    """
    anchors = Anchors()
    old, new = view(before, anchors), view(after, anchors)
    once = {rule.id: rule for rule in old.rules}
    now = {rule.id: rule for rule in new.rules}
    told = after.header.get("cases")
    cases = set(told) if isinstance(told, dict) and told else None
    groups: dict[Kind, list[RuleView]] = {kind: [] for kind in Kind if kind is not Kind.CHANGED}
    changes = []
    own = Anchors()
    for name in sorted(once.keys() | now.keys()):
        earlier, later = once.get(name), now.get(name)
        kinds = _sort_findings(groups, earlier, later, cases)
        if earlier and later and earlier.tone is not later.tone:
            kinds.append(Kind.CHANGED)
        rule = later or earlier
        assert rule is not None
        changes.append(RuleChange(name, own.take("d-", name), rule, earlier, later, tuple(kinds)))
    for rules in groups.values():
        rules.sort(key=lambda rule: (rule.tone is not Tone.FAIL, rule.tone is not Tone.WARN, -rule.occurrences))
    figures, notes = _figures(old.load, new.load), _notes(old, new, before, after)
    diff = Diff((before, after), old, new, groups, changes, figures, notes)
    diff.new_failures = _failures(diff)
    _verdict(diff)
    return diff


def _sort_findings(
    groups: dict[Kind, list[RuleView]], earlier: RuleView | None, later: RuleView | None, cases: set[str] | None
) -> list[Kind]:
    """Add the findings of one rule to their groups; return the kinds that there were."""
    once, now = _by_fingerprint(earlier), _by_fingerprint(later)
    judged = later is not None and later.tone in JUDGED
    sorted_out: dict[Kind, list[FindingView]] = {}
    for mark, finding in now.items():
        sorted_out.setdefault(Kind.STILL if mark in once else Kind.NEW, []).append(finding)
    for mark, finding in once.items():
        if mark not in now:
            ran = cases is None or not finding.finding.cases or bool(cases.intersection(finding.finding.cases))
            sorted_out.setdefault(Kind.FIXED if judged and ran else Kind.GONE, []).append(finding)
    for kind, findings in sorted_out.items():
        rule = later if kind in (Kind.NEW, Kind.STILL) else earlier
        assert rule is not None
        groups[kind].append(replace(rule, findings=findings))
    return [kind for kind in Kind if kind in sorted_out]


def _by_fingerprint(rule: RuleView | None) -> dict[str, FindingView]:
    """Return the findings by fingerprint; of one that is known in some cases only, the part that is not."""
    found: dict[str, FindingView] = {}
    for finding in rule.findings if rule else ():  # the unexpected come first
        found.setdefault(finding.finding.fingerprint, finding)
    return found


def _failures(diff: Diff) -> list[str]:
    failures = [
        f"{rule.id} {finding.message}"
        for rule in diff.groups[Kind.NEW]
        if rule.tone is Tone.FAIL
        for finding in rule.findings
        if not finding.known
    ]
    for change in diff.rules:
        was = change.before.tone if change.before else Tone.NONE
        fails = change.after is not None and change.after.tone is Tone.FAIL
        broken = fails and was not in (Tone.FAIL, Tone.KNOWN)
        if broken and Kind.NEW not in change.kinds:
            failures.append(f"{change.id} is broken now; it was {WORDS[was][1]} before.")
    load = diff.after.load
    before = diff.before.load
    if load and load.intolerable and not (before and before.intolerable):
        failures.append(f"{load.bad:,} of {load.started:,} requests under load ended badly.")
    once = {objective.text for objective in before.missed} if before else set()
    if load:
        missed = [objective for objective in load.missed if objective.text not in once]
        failures += [f"The objective {objective.text} is missed now: {objective.told}." for objective in missed]
    return failures


def _verdict(diff: Diff) -> None:
    counts = diff.counts
    told = [f"{counts[kind]:,} {KINDS[kind][0]}" for kind in Kind if counts[kind] and kind is not Kind.CHANGED]
    findings = f"Findings: {', '.join(told)}." if told else "Neither run found anything."
    changed = counts[Kind.CHANGED]
    rules = f"The verdict on {plural(changed, 'rule')} changed." if changed else "No verdict changed."
    judged = any(rule.after and rule.after.tone in JUDGED for rule in diff.rules)
    if diff.new_failures:
        diff.tone, diff.headline = Tone.FAIL, plural(len(diff.new_failures), "new failure")
    elif not judged and not diff.after.load:
        diff.tone, diff.headline = Tone.ERROR, "Nothing to compare"
        findings, rules = "The second run judged and measured nothing.", ""
    elif counts[Kind.NEW]:
        diff.tone, diff.headline = Tone.WARN, "No new failure, but new findings"
    elif counts[Kind.FIXED]:
        diff.tone, diff.headline = Tone.PASS, f"{counts[Kind.FIXED]:,} fixed, nothing new"
    else:
        diff.tone, diff.headline = Tone.PASS, "Nothing new"
    if not diff.rules and diff.after.load:  # two loads and nothing else
        findings, rules = " ".join(diff.new_failures[:3]) or "No objective is newly missed, and no error is new.", ""
    diff.sentence = f"{findings} {rules}".strip()


def _notes(old: View, new: View, before: Run, after: Run) -> list[str]:
    """Return what makes the two runs hard to compare."""
    first, second = dict(old.facts), dict(new.facts)
    notes = [
        f"{name}: {first.get(name) or 'none'} before, {second.get(name) or 'none'} after."
        for name in ("Dialect", "Plan", "Model")
        if first.get(name) != second.get(name)
    ]
    begun = [as_number(run.header.get("started_at")) for run in (before, after)]
    if begun[0] is not None and begun[1] is not None and begun[1] < begun[0]:
        notes.append("The second run is older than the first.")
    for word, run in (("first", before), ("second", after)):
        if run.truncated or run.footer.get("interrupted"):
            notes.append(f"The {word} run did not come to its end.")
        if run.damage:
            notes.append(f"{plural(len(run.damage), 'line')} of the {word} run file could not be read.")
    here, there = {rule.id for rule in old.rules}, {rule.id for rule in new.rules}
    for word, names in (("first", here - there), ("second", there - here)):
        if names:
            notes.append(f"Only the {word} run has {join_list(sorted(names))}.")
    if old.load and new.load:
        was, now = settings_of(old.load), settings_of(new.load)
        changed = [name for name in now if was.get(name) != now[name]]
        if changed:
            notes.append(f"The load was set differently: {join_list(changed)}.")
    return notes


def settings_of(load: Load) -> dict[str, str]:
    """Return the settings by which a load is what it is."""
    return {last: value for name, value in load.settings if (last := name.rpartition(".")[2]) in _SETTINGS}


def _figures(old: Load | None, new: Load | None) -> list[Figure]:
    if old is None or new is None:
        return []
    figures = [Figure("Measurement", old.verdict or "–", new.verdict or "–", "", "", Tone.NONE)]
    p = fisher((min(old.ok, old.started), old.started), (min(new.ok, new.started), new.started))
    better = new.ok * old.started >= old.ok * new.started
    figures.append(
        Figure(
            "Ended well",
            f"{format_percent(old.ok, old.started)} of {old.started:,}",
            f"{format_percent(new.ok, new.started)} of {new.started:,}",
            "",
            "" if p is None else f"{'differs' if p < SURE else 'no clear difference'}, {_p(p)}",
            Tone.NONE if p is None or p >= SURE else Tone.PASS if better else Tone.FAIL,
        )
    )
    for name, first, second in (
        ("Requests ok/s", old.rate, new.rate),
        ("Output tok/s", old.tokens_rate, new.tokens_rate),
    ):
        if first is not None and second is not None:
            one = "one figure a run, not tested"
            figures.append(
                Figure(name, format_rate(first), format_rate(second), _change(first, second), one, Tone.NONE)
            )
    for metric in _METRICS:
        distribution, other = old.distribution(metric), new.distribution(metric)
        if distribution and other:
            figures += _latencies(distribution, other)
    return figures


def _latencies(old: Distribution, new: Distribution) -> Iterator[Figure]:
    statement, tone = _statement(old, new)
    for p in (50.0, 99.0):
        first, second = old.percentile(p), new.percentile(p)
        if first is not None and second is not None:
            change = _change(first, second)
            name = f"{old.title} p{p:g}"
            yield Figure(name, format_seconds(first), format_seconds(second), change, statement, tone)
            statement, tone = "", Tone.NONE


def _statement(old: Distribution, new: Distribution) -> tuple[str, Tone]:
    """Say whether the values of two runs differ, where that can be said."""
    sizes = f"n {format_count(old.n)} and {format_count(new.n)}"
    if old.metric not in _TESTED:
        return f"not tested, {sizes}", Tone.NONE
    found = mann_whitney(*([(b.middle, b.amount) for b in d.buckets] for d in (old, new)))
    if found is None:
        return f"too few to tell, {sizes}", Tone.NONE
    medians = old.quantile(0.5) or 0.0, new.quantile(0.5) or 0.0
    if found.p >= SURE:
        return f"no clear difference, {_p(found.p)}, {sizes}", Tone.NONE
    if abs(medians[1] - medians[0]) < SMALL * max(medians):
        return f"differs by less than {SMALL:.0%} in the median, {_p(found.p)}, {sizes}".replace("%", " %"), Tone.NONE
    slower = found.greater > 0.5
    share = found.greater if slower else 1 - found.greater
    word = "slower" if slower else "faster"
    return f"{word} in {100 * share:.0f} % of pairs, {_p(found.p)}, {sizes}", Tone.WARN if slower else Tone.PASS


def _p(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def _change(first: float, second: float) -> str:
    if first <= 0:
        return "" if second == first else "–"
    change = 100 * (second - first) / first
    return "±0 %" if abs(change) < 0.05 else f"{change:+.1f} %".replace("-", "−")

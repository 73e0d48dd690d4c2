"""Many runs side by side: rules as rows, targets as columns, and what was found behind every cell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from rejoinder.formatting import format_count, format_percent, format_rate, format_seconds, join_list, one_line, plural
from rejoinder.model.runfile import Run
from rejoinder.reports._diff import settings_of
from rejoinder.reports._diff_writers import facts_of, families_of
from rejoinder.reports._html import EVIDENCE_BUDGET, FINDINGS_IN_ALL, ShownRule, chosen, page
from rejoinder.reports._load import Distribution, Load
from rejoinder.reports._model import JUDGED, WORDS, Anchors, RuleView, Tone, View, view

DIFFERS: Final = "differs"
_METRICS: Final = (("ttft", (50.0, 99.0)), ("itl", (50.0, 99.0)), ("max_gap", (99.0,)), ("e2e", (50.0, 99.0)))


class Cell(NamedTuple):
    """What one run says of one rule; ``rule`` is ``None`` when it says nothing."""

    rule: RuleView | None
    anchor: str
    shown: ShownRule | None


class Row(NamedTuple):
    """One rule over all runs. ``status`` holds the tones that it has anywhere, and whether they differ."""

    rule: RuleView
    anchor: str
    cells: list[Cell]
    status: str
    worst: int


class Amount(NamedTuple):
    """One figure of one run: the text, its share of the largest of its row for a bar, and how sure it is."""

    text: str
    share: float | None
    sure: str = ""


def render_comparison(runs: Sequence[Run]) -> str:
    """Return many runs side by side as one HTML document, which needs no network."""
    anchors = Anchors()
    views = [view(run, anchors) for run in runs]
    labels = _labels(views)
    rows = _rows(runs, views)
    differing = sum(DIFFERS in row.status.split() for row in rows)
    tones = {cell.rule.tone for row in rows for cell in row.cells if cell.rule}
    loads = [seen.load for seen in views]
    kinds = {tone.value: WORDS[tone] for tone in Tone if tone in tones}
    if differing:
        kinds[DIFFERS] = (DIFFERS, DIFFERS, "the runs do not agree on the rule")
    return page(
        "compare.html.j2",
        views=views,
        labels=labels,
        rows=rows,
        families=[(family, [row for row in rows if row.rule.family == family.id]) for family in families_of(*views)],
        found=sorted((row for row in rows if any(cell.shown for cell in row.cells)), key=lambda row: -row.worst),
        tally=[(tone, [seen.counts.get(tone, 0) for seen in views]) for tone in Tone if tone in tones],
        facts=facts_of(views),
        kinds=kinds,
        kind_sign={**{tone.value: tone.value for tone in Tone}, DIFFERS: "info"},
        levels=[level for level in ("MUST", "SHOULD", "MAY", "OFF") if any(row.rule.level == level for row in rows)],
        figures=_figures(loads),
        loaded=any(load is not None for load in loads),
        warnings=_warnings(labels, views, runs),
        headline=f"{plural(len(views), 'run')} compared",
        sentence=_sentence(views, rows, differing),
    )


def _labels(views: list[View]) -> list[str]:
    """Return a name for each run that tells it from the others: its model, else its host, numbered where equal."""
    names = []
    for seen in views:
        try:
            host = urlsplit(seen.url).netloc
        except ValueError:
            host = ""
        names.append((seen.model, one_line(host, 60), seen.started))
    labels = [model or host or "a run" for model, host, _ in names]
    for more in (1, 2):
        taken = Counter(labels)
        labels = [
            f"{label}, {names[index][more]}" if taken[label] > 1 and names[index][more] else label
            for index, label in enumerate(labels)
        ]
    taken, seen_so_far = Counter(labels), Counter[str]()
    for index, label in enumerate(labels):
        seen_so_far[label] += 1
        if taken[label] > 1:
            labels[index] = f"{label} ({seen_so_far[label]})"
    return labels


def _rows(runs: Sequence[Run], views: list[View]) -> list[Row]:
    shown: list[dict[int, ShownRule]] = []
    parts = max(1, len(views))
    for run, seen in zip(runs, views, strict=True):
        listing = [(tone, rules) for tone, rules in seen.groups]
        groups = chosen(run, seen.url, listing, EVIDENCE_BUDGET // parts, FINDINGS_IN_ALL // parts)
        shown.append({id(entry.rule): entry for _, entries in groups for entry in entries})
    names: dict[str, None] = {}
    for family in families_of(*views):
        found = {rule.id for seen in views for rule in seen.rules if rule.family == family.id}
        names |= dict.fromkeys(sorted(found))
    own, rows = Anchors(), []
    told = [{rule.id: rule for rule in seen.rules} for seen in views]
    for name in names:
        cells = []
        for index, rules in enumerate(told):
            rule = rules.get(name)
            entry = shown[index].get(id(rule)) if rule else None
            cells.append(Cell(rule, own.take("c-", f"{index + 1}-{name}") if entry else "", entry))
        known = [cell.rule for cell in cells if cell.rule]
        tones = {rule.tone for rule in known}
        # What was not judged agrees with everything.
        settled = {_behaviour(rule) for rule in known if rule.tone in JUDGED}
        status = " ".join([*(tone.value for tone in Tone if tone in tones), *([DIFFERS] if len(settled) > 1 else [])])
        worst = sum(100 * (rule.tone is Tone.FAIL) + (rule.tone is Tone.WARN) for rule in known)
        rows.append(Row(known[0], own.take("m-", name), cells, status, worst))
    return rows


def _behaviour(rule: RuleView) -> Tone:
    """Return the tone that a rule would have if no baseline expected what was found."""
    return rule.tone if rule.tone is not Tone.KNOWN else Tone.FAIL if rule.level == "MUST" else Tone.WARN


def _sentence(views: list[View], rows: list[Row], differing: int) -> str:
    told = Counter(seen.headline for seen in views)
    verdicts = join_list((f"{amount:,} × {headline.lower()}" for headline, amount in told.most_common()), 6)
    if not rows:
        return f"{verdicts}."
    differ = "none differs" if not differing else "1 differs" if differing == 1 else f"{differing:,} differ"
    return f"{verdicts}. Of {plural(len(rows), 'rule')}, {differ}."


def _warnings(labels: list[str], views: list[View], runs: Sequence[Run]) -> list[str]:
    warnings = []
    if len({seen.dialect for seen in views}) > 1:
        warnings.append("The runs were held to different dialects, in which a rule can have another level or be off.")
    plans = {str(run.header.get("plan")) for run in runs if run.verdicts}
    if len(plans) > 1:
        warnings.append("The runs followed different plans, so one may have judged what another did not.")
    settings = [settings_of(seen.load) for seen in views if seen.load]
    if any(other != settings[0] for other in settings[1:]):
        warnings.append("The loads were set differently, so their figures cannot be set against each other.")
    for label, seen, run in zip(labels, views, runs, strict=True):
        if run.truncated or run.footer.get("interrupted"):
            warnings.append(f"{label}: the run did not come to its end.")
        if seen.load and seen.load.verdict not in ("", "VALID"):
            warnings.append(f"{label}: the measurement is {seen.load.verdict}.")
    return warnings


def _figures(loads: list[Load | None]) -> list[tuple[str, list[Amount]]]:
    """Return the load figures as rows of a table; empty when no run has a load."""
    if not any(loads):
        return []
    names = list(dict.fromkeys(name for load in loads if load for name in settings_of(load)))
    settings = [settings_of(load) if load else {} for load in loads]
    figures = [(name, [Amount(known.get(name, ""), None) for known in settings]) for name in names]
    figures += [
        ("measurement", [Amount(load.verdict if load else "", None) for load in loads]),
        ("requests", [Amount(format_count(load.started) if load else "", None) for load in loads]),
        ("ended well", _amounts([load.ok / load.started if load and load.started else None for load in loads], _share)),
        ("objectives", [Amount(_objectives(load) if load else "", None) for load in loads]),
        ("goodput", _amounts([load.goodput if load else None for load in loads], _share)),
        ("requests ok/s", _amounts([load.rate if load else None for load in loads], format_rate)),
        ("output tok/s", _amounts([load.tokens_rate if load else None for load in loads], format_rate)),
    ]
    for metric, percentiles in _METRICS:
        found = [load.distribution(metric) if load else None for load in loads]
        if any(found):
            title = next(d.title for d in found if d)
            for p in percentiles:
                amounts = _amounts([_percentile(d, p) for d in found], format_seconds)
                sure = [amount._replace(sure=_sure(d, p)) for amount, d in zip(amounts, found, strict=True)]
                figures.append((f"{title} p{p:g}", sure))
            figures.append((f"{title} n", [Amount(format_count(d.n) if d else "", None) for d in found]))
    return [(name, amounts) for name, amounts in figures if any(amount.text for amount in amounts)]


def _objectives(load: Load) -> str:
    limits = [objective for objective in load.objectives if objective.tone != "info"]
    if not limits:
        return ""
    return f"{len(load.missed)} of {len(limits)} missed" if load.missed else f"all {len(limits)} met"


def _sure(distribution: Distribution | None, p: float) -> str:
    """Return what a percentile does not exceed for certain, or how many values it takes to say that."""
    bound = distribution.bounds.get(p) if distribution else None
    if bound is None:
        return ""
    return (
        f"≤ {format_seconds(bound.value)}"
        if bound.value is not None
        else f"needs {format_count(bound.needs)}"
        if bound.needs
        else ""
    )


def _percentile(distribution: Distribution | None, p: float) -> float | None:
    return distribution.percentile(p) if distribution else None


def _share(value: float | None) -> str:
    return "–" if value is None else format_percent(value, 1.0)


def _amounts(values: list[float | None], word: Callable[[float | None], str]) -> list[Amount]:
    top = max((value for value in values if value is not None), default=0.0)
    return [
        Amount("", None) if value is None else Amount(word(value), value / top if top > 0 else None) for value in values
    ]

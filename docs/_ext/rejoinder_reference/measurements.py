"""What a load run measures, and the options of plain Locust."""

from __future__ import annotations

from rejoinder.load.options import OptionGroup, all_options
from rejoinder.model.metrics import RATES, SERVER, SHARES, SPEEDS, TIMES, Metric
from rejoinder.model.outcomes import OUTCOMES
from rejoinder_reference import markdown as md


def pages() -> dict[str, str]:
    """Return the pages of metrics and of the options of a load run."""
    return {"metrics": _metrics(), "load-options": _options()}


def _names(name: str, aliases: tuple[str, ...]) -> str:
    return md.codes((name, *aliases))


def _values_of_requests(row: Metric) -> tuple[str, ...]:
    return (
        _names(row.name, row.aliases),
        md.text(row.title),
        md.text(row.meaning),
        "yes" if row.per_request else "with a statistic" if row.objective else "no",
        "yes" if row.change else "no",
    )


def _metrics() -> str:
    lines = [
        "`--slo` and `--max-change` take these names. [How load is measured](../explanation/index.md) explains them.",
        "",
        "## Times",
        "",
    ]
    columns = ["metric", "title", "definition", "`--slo`", "`--max-change`"]
    lines += md.table(columns, map(_values_of_requests, TIMES.values()))
    lines += ["## Speeds", "", "Each request has a speed. Limit its low percentiles: `p1` is the slowest 1 %.", ""]
    lines += md.table(columns, map(_values_of_requests, SPEEDS.values()))
    lines += ["## Rates", "", "Rates are computed over the rate window of the run.", ""]
    lines += md.table(
        ["metric", "title", "definition"],
        [(_names(row.name, row.aliases), md.text(row.title), md.text(row.meaning)) for row in RATES.values()],
    )
    lines += ["## Shares", ""]
    lines += md.table(
        ["metric", "definition", "`--max-change`"],
        [
            (_names(row.name, row.aliases), md.text(row.meaning), "yes" if row.change else "no")
            for row in SHARES.values()
        ],
    )
    lines += ["## Outcomes of a request", "", "Each request has one outcome.", ""]
    lines += md.table(
        ["outcome", "meaning", "counts as"],
        [
            (
                md.code(outcome.value),
                md.text(row.meaning),
                "succeeded" if row.good else "failed" if row.bad else "neither",
            )
            for outcome, row in OUTCOMES.items()
        ],
    )
    lines += [
        "## Server metrics",
        "",
        "`--metrics` reads these figures from the endpoint's Prometheus page, and `--gpu` those of the GPUs.",
        "",
    ]
    lines += md.table(
        ["figure", "meaning", "unit"],
        [(md.code(name), md.text(row.meaning), row.unit) for name, row in SERVER.items()],
    )
    return md.page("Metrics and outcomes", *lines)


def _options() -> str:
    lines = [
        "`rejoinder load` and plain Locust have the same options, except for those that one of them does not need. An "
        "option of `rejoinder load` is also a [setting](settings.md). An argument of Locust is also an environment "
        "variable; separate several values of one variable with `;`.",
        "",
    ]
    for group in OptionGroup:
        lines += [f"## {md.text(group)}", ""]
        for one in all_options().values():
            if one.group is not group:
                continue
            names = [f"--{one.flag}{' ' + one.metavar if one.metavar else ''}"] if one.flag else []
            names += [one.locust_argument] if one.locust else []
            lines += [md.codes(names), f": {md.text(one.help)}", ""]
            if one.default_text:
                lines += [f"  Default: {md.text(one.default_text)}.", ""]
            if one.locust:
                other = "" if one.locust_default is None else f" Default in Locust: {one.locust_default:g}."
                lines += [f"  Variable for Locust: {md.code(one.variable)}.{other}", ""]
    return md.page("Load options", *lines)

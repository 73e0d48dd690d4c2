"""The objectives of a load run as a table shows them: what was asked, what was measured, by how much, how sure."""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

from rejoinder.formatting import as_number, format_count, format_percent, format_rate, format_seconds, one_line, plural
from rejoinder.reports._repeats import figure_word

SCALE: Final = 2.0
"""A bar of an objective ends at this multiple of its limit, so the limit stands in its middle."""
_MOST: Final = 40
_RELATION: Final = re.compile("[<>]=?")


class Objective(NamedTuple):
    """One objective. ``severity`` says how it is shown: ``pass``, ``warn`` (met, uncertain), ``fail`` or ``info``.

    ``at`` and ``bound_at`` are the measured value and its bound in percent of a bar with the limit at 50.
    ``of_change`` tells the limit of a change against a baseline from a limit of a figure; ``of_share`` a limit of a
    share of the requests, which says how many of them may end badly.
    """

    text: str
    severity: str
    word: str
    limit: str
    value: str
    margin: str
    n: str
    bound: str
    note: str
    at: float | None
    bound_at: float | None
    of_change: bool = False
    of_share: bool = False

    @property
    def told(self) -> str:
        """All of it but its text, in one line."""
        words = [self.word, self.value, f"(limit {self.limit})", self.margin, self.note, f"n {self.n}", self.bound]
        return " ".join(word for word in words if word and word != "–")


def read_objectives(total: dict[str, Any]) -> list[Objective]:
    """Return the objectives of a ``load`` line; reads whatever is there and never raises."""
    written = total.get("slos")
    lines = written[:_MOST] if isinstance(written, list) else []
    return [_objective(line) for line in lines if isinstance(line, dict)]


def _objective(line: dict[str, Any]) -> Objective:
    text, statistic = one_line(line.get("text") or "?", 120), str(line.get("statistic") or "")
    match = _RELATION.search(text)
    at_most = match is None or match[0].startswith("<")
    limit, value, n = as_number(line.get("limit")), as_number(line.get("value")), as_number(line.get("n"))

    def word(figure: float | None) -> str:
        if figure is None:
            return "–"
        if statistic == "share":
            return format_percent(figure, 1.0)
        return f"{format_rate(figure)}/s" if statistic == "rate" else format_seconds(figure)

    bound, needs = as_number(line.get("bound")), as_number(line.get("needs"))
    told = "–" if bound is None else f"{'≤' if at_most else '≥'} {word(bound)}"
    if needs is not None:
        told = f"needs n {format_count(needs)}"
    met = line.get("met")
    certain = line.get("certified")
    severity, verdict, note = _verdict(met, statistic, value, certain if isinstance(certain, bool) else None, needs)
    if (kept := as_number(line.get("repeats_met"))) is not None:
        note = "; ".join(filter(None, (note, f"met by {plural(round(kept), 'repeat')}")))
    unjudged = as_number(line.get("unjudged"))
    if unjudged:
        note = "; ".join(
            filter(None, (note, f"{format_count(unjudged)} of the good ones were not judged by all rules"))
        )
    return Objective(
        text=text,
        severity=severity,
        word=verdict,
        limit=f"{'at most' if at_most else 'at least'} {word(limit)}",
        value=word(value),
        margin=_margin(value, limit, at_most) if isinstance(met, bool) else "",
        n=format_count(n),
        bound=told,
        note=note,
        at=_place(value, limit),
        bound_at=_place(bound, limit) if needs is None else None,
        of_share=statistic == "share",
    )


_CHANGES: Final = {
    "worse": ("fail", "worse", ""),
    "better": ("pass", "better", ""),
    "kept": ("pass", "kept", ""),
    "unclear": ("warn", "cannot tell", "the repeats differ too much, or are too few"),
}


def read_changes(total: dict[str, Any]) -> list[Objective]:
    """Return the limits of changes of a ``load`` line as objectives; reads whatever is there and never raises."""
    written = total.get("changes")
    lines = written[:_MOST] if isinstance(written, list) else []
    return [_change(line) for line in lines if isinstance(line, dict)]


def _change(line: dict[str, Any]) -> Objective:
    limit, moved = as_number(line.get("limit")), as_number(line.get("change"))
    before, after, p = (as_number(line.get(name)) for name in ("before", "after", "p"))
    severity, word, note = _CHANGES.get(str(line.get("verdict")), ("info", "not judged", ""))
    figure = str(line.get("figure") or "")
    sizes = line.get("n")
    n = " and ".join(format_count(as_number(size)) for size in sizes[:2]) if isinstance(sizes, list) else "–"
    return Objective(
        text=one_line(line.get("text") or "?", 120),
        severity=severity,
        word=word,
        limit="–" if limit is None else _share(limit),
        value="–" if moved is None else _share(moved),
        margin="" if moved is None else f"{figure_word(figure, before)} to {figure_word(figure, after)}",
        n=n,
        bound="–" if p is None else "p < 0.001" if p < 0.001 else f"p = {p:.3f}",
        note=note,
        at=None,
        bound_at=None,
        of_change=True,
    )


_PROBES: Final = {"pass": ("pass", "holds"), "warn": ("warn", "look at it"), "fail": ("fail", "does not hold")}


def read_probes(lines: list[dict[str, Any]]) -> list[Objective]:
    """Return the probes of a run as objectives; reads whatever is there and never raises."""
    found = []
    for line in lines[:_MOST]:
        severity, word = _PROBES.get(str(line.get("verdict")), ("warn", "cannot tell"))
        name, text = one_line(line.get("name") or "?", 60), one_line(line.get("text") or "", 400)
        found.append(Objective(f"dropped requests: {name}", severity, word, "–", "–", "", "–", "–", text, None, None))
    return found


def _share(value: float) -> str:
    return f"{100 * value:+.1f} %".replace("-", "−")


def _verdict(
    met: Any, statistic: str, value: float | None, certain: bool | None, needs: float | None
) -> tuple[str, str, str]:
    if statistic == "each":
        return "info", "each request", "a limit for single requests, counted by goodput"
    if met is True:
        if needs is not None:
            return "warn", "met, not certain", f"n is below {format_count(needs)}"
        if certain is False:
            return "warn", "met, not certain", "the bound is beyond the limit"
        return "pass", "met", "" if certain else "one figure, no bound"
    if met is False:
        return "fail", "missed", "nothing was measured" if value is None else ""
    return "info", "not judged", ""


def _margin(value: float | None, limit: float | None, at_most: bool) -> str:
    """Return how far the value is from its limit, on which side."""
    if value is None or limit is None or limit <= 0:
        return ""
    share = (limit - value if at_most else value - limit) / limit
    if value >= 10 * limit:
        return f"{value / limit:,.0f} × the limit"
    size = f"{abs(share):.0%}".replace("%", " %") if abs(share) >= 0.01 or not share else "< 1 %"
    return f"{size} {'to spare' if share >= 0 else 'over' if at_most else 'short'}"


def _place(value: float | None, limit: float | None) -> float | None:
    if value is None or limit is None or limit <= 0:
        return None
    return 100 * min(max(value / limit, 0.0), SCALE) / SCALE

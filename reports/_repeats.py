"""The repeats of a run that was done several times, or in turns with another endpoint, side by side."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from rejoinder.formatting import as_number, format_count, format_percent, format_rate, format_seconds, one_line
from rejoinder.reports._search import ENDED_WELL

_MOST: Final = 100
_ROOM: Final = 0.06
"""Share of the width of a dot plot that stays free on both sides."""


class Repeat(NamedTuple):
    """One repeat. ``ours`` tells the loaded endpoint from the one that it is compared with."""

    ours: bool
    number: int
    started: int
    ok: int
    measurement: str
    figures: dict[str, float]


@dataclass(frozen=True, slots=True)
class Dots:
    """A dot plot: the repeats of both sides, the means and the limit, in percent of its width; ``None``: not known."""

    ours: list[float]
    others: list[float]
    before: float | None
    limit: float | None


@dataclass(slots=True)
class Repeats:
    """All repeats, and the figures that changes are judged by."""

    repeats: list[Repeat] = field(default_factory=list)
    figures: list[str] = field(default_factory=list)
    dots: dict[str, Dots] = field(default_factory=dict)
    """Dot plots by the text of the limit that they belong to."""

    @property
    def head(self) -> list[str]:
        """The heads of the table of repeats."""
        return ["repeat", "of", "requests", "ended well", *self.figures, "measurement"]

    @property
    def rows(self) -> list[list[str]]:
        """The table of repeats, in the order in which they were run."""
        return [
            [
                str(repeat.number + 1),
                "this endpoint" if repeat.ours else "the other",
                format_count(repeat.started),
                format_percent(repeat.ok, repeat.started),
                *(figure_word(name, repeat.figures.get(name)) for name in self.figures),
                repeat.measurement or "–",
            ]
            for repeat in self.repeats
        ]


def figure_word(figure: str, value: float | None) -> str:
    """Return a figure that changes are judged by as text: a time, a share, or something a second."""
    if value is None:
        return "–"
    if ":" in figure:
        return format_seconds(value)
    return format_percent(value, 1.0) if figure == "goodput" else f"{format_rate(value)}/s"


def read_repeats(total: dict[str, Any]) -> Repeats | None:
    """Return the repeats of a ``load`` line, or ``None`` where there are none; never raises on strange content."""
    written = total.get("repeats")
    found = [_repeat(line) for line in written[:_MOST] if isinstance(line, dict)] if isinstance(written, list) else []
    if not found:
        return None
    changes = total.get("changes")
    limits = [line for line in changes[:_MOST] if isinstance(line, dict)] if isinstance(changes, list) else []
    known = dict.fromkeys(name for repeat in found for name in repeat.figures)
    asked = dict.fromkeys(str(line.get("figure")) for line in limits)
    chosen = [name for name in asked if name in known] or [name for name in _USUAL if name in known]
    repeats = Repeats(found, chosen[:8])
    for line in limits:
        figure = str(line.get("figure"))
        repeats.dots[one_line(line.get("text") or "?", 120)] = _dots(found, figure, line)
    return repeats


_USUAL: Final = ("ttft:p50", "ttft:p99", "itl:p99", "e2e:p50", "output_tokens", "goodput")


def _repeat(line: dict[str, Any]) -> Repeat:
    written, outcomes = line.get("figures"), line.get("outcomes")
    figures = {str(name)[:60]: as_number(value) for name, value in written.items()} if isinstance(written, dict) else {}
    found = outcomes if isinstance(outcomes, dict) else {}
    return Repeat(
        ours=line.get("of") != "against",
        number=max(0, round(as_number(line.get("repeat")) or 0.0)),
        started=max(0, round(as_number(line.get("started")) or 0.0)),
        ok=max(0, round(sum(as_number(found.get(name)) or 0.0 for name in ENDED_WELL))),
        measurement=one_line(line.get("verdict") or "", 30).upper(),
        figures={name: value for name, value in figures.items() if value is not None},
    )


def _dots(repeats: list[Repeat], figure: str, line: dict[str, Any]) -> Dots:
    ours, others = (
        [repeat.figures[figure] for repeat in repeats if repeat.ours is side and figure in repeat.figures]
        for side in (True, False)
    )
    before, share = as_number(line.get("before")), as_number(line.get("limit"))
    limit = None if before is None or share is None else before * (1 + share)
    values = [*ours, *others, *(value for value in (before, limit) if value is not None)]
    if not values:
        return Dots([], [], None, None)
    low, high = min(values), max(values)
    span = (high - low) / (1 - 2 * _ROOM) or 1.0
    start = low - _ROOM * span if high > low else low - 0.5

    def place(value: float) -> float:
        return 100 * (value - start) / span

    return Dots(
        [place(value) for value in ours],
        [place(value) for value in others],
        None if before is None else place(before),
        None if limit is None else place(limit),
    )

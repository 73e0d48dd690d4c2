"""The steps of a search over loads (a sweep, or a search for the highest rate) as a report shows them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from rejoinder.formatting import as_number, format_percent, format_rate, format_seconds, one_line, plural

LATENCIES: Final = ("ttft_p50", "ttft_p99", "itl_p50", "itl_p99", "e2e_p50", "e2e_p99")
_MOST: Final = 200
_ENDED_BY_US: Final = ("censored", "cancelled")
ENDED_WELL: Final = ("ok", "unjudged")
"""Outcomes of requests that ended well: judged by all rules, or by order and end alone."""


class Step(NamedTuple):
    """One step. ``level`` is the number of requests in flight or the rate; ``met`` tells whether it kept objectives."""

    level: float
    label: str
    started: int
    ok: int
    bad: int
    ok_rate: float
    tokens_rate: float
    latencies: dict[str, float]
    objectives: list[tuple[str, bool]]
    met: bool | None
    measurement: str


@dataclass(slots=True)
class Search:
    """All steps of a search. ``knee`` and ``highest`` are levels; ``sentence`` says what was found."""

    sweep: bool
    steps: list[Step] = field(default_factory=list)
    knee: float | None = None
    highest: float | None = None
    by_generator: bool = False
    sentence: str = ""
    cut: bool = False
    """Whether it did not come to its end, so that no step was chosen."""

    @property
    def unit(self) -> str:
        """What the level of a step counts."""
        return "requests in flight" if self.sweep else "requests per second"

    @property
    def counts_tokens(self) -> bool:
        """Whether throughput is in output tokens; else it is in answers."""
        return any(step.tokens_rate for step in self.steps)

    def throughput(self, step: Step) -> float:
        """Return what a step brought, per second."""
        return step.tokens_rate if self.counts_tokens else step.ok_rate

    def throughput_word(self, step: Step) -> str:
        """Return the same with its unit."""
        return f"{format_rate(self.throughput(step))} {'tok/s' if self.counts_tokens else 'ok/s'}"

    @property
    def marked(self) -> float | None:
        """The level that the search was for."""
        return self.knee if self.sweep else self.highest


def read_search(total: dict[str, Any]) -> Search | None:
    """Return the search of a ``load`` line, or ``None`` where there is none; never raises on strange content."""
    written = total.get("search")
    if not isinstance(written, dict) or not isinstance(written.get("steps"), list):
        return None
    sweep = written.get("kind") != "rate"
    steps = [step for line in written["steps"][:_MOST] if (step := _step(line, sweep)) is not None]
    if not steps:
        return None
    search = Search(
        sweep,
        sorted(steps, key=lambda step: step.level),
        as_number(written.get("knee")),
        as_number(written.get("highest")),
        written.get("limited_by") == "generator",
    )
    search.cut = written.get("cut") is True
    search.sentence = _sentence(search, written.get("more") is True)
    return search


def _step(line: Any, sweep: bool) -> Step | None:
    level = as_number(line.get("concurrency" if sweep else "rate")) if isinstance(line, dict) else None
    if level is None or level < 0:
        return None
    written = line.get("outcomes")
    found = {name: as_number(amount) or 0.0 for name, amount in written.items()} if isinstance(written, dict) else {}
    started = max(0, round(as_number(line.get("started")) or 0.0))
    ok = round(sum(found.get(name, 0.0) for name in ENDED_WELL))
    slos = line.get("slos")
    objectives = [
        (one_line(slo.get("text") or "?", 60), slo["met"])
        for slo in (slos[:12] if isinstance(slos, list) else [])
        if isinstance(slo, dict) and isinstance(slo.get("met"), bool)
    ]
    met = line.get("met")
    return Step(
        level=level,
        label=f"{level:,.4g}",
        started=started,
        ok=ok,
        bad=max(0, started - ok - round(sum(found.get(name, 0.0) for name in _ENDED_BY_US))),
        ok_rate=as_number(line.get("ok_per_s")) or 0.0,
        tokens_rate=as_number(line.get("output_tokens_per_s")) or 0.0,
        latencies={name: value for name in LATENCIES if (value := as_number(line.get(name))) is not None},
        objectives=objectives,
        met=met if isinstance(met, bool) else None,
        measurement=one_line(line.get("verdict") or "", 30).upper(),
    )


def _sentence(search: Search, more: bool) -> str:
    if search.cut:
        sought = "the knee" if search.sweep else "the highest rate"
        told = f"The search was cut short after {plural(len(search.steps), 'step')}, so {sought} is not known."
    elif search.sweep:
        at = next((step for step in search.steps if step.level == search.knee), None)
        if at is None:
            told = "There is no knee: the last step still brought more, so the endpoint was not loaded to its limit."
        else:
            first = at.latencies.get("ttft_p99")
            slow = f" with a first token p99 of {format_seconds(first)}" if first is not None else ""
            told = (
                f"The knee is at {plural(round(at.level), 'request')} in flight: {search.throughput_word(at)}{slow}. "
                f"It is the first step with 90 % of the greatest throughput; more load costs time and brings little."
            )
    elif search.highest is None:
        told = f"No rate that was tried kept the objectives, not even {search.steps[0].label} requests per second."
    else:
        beyond = ", the highest that was tried: the limit lies beyond it" if more else ""
        told = f"The highest rate that kept the objectives is {search.highest:,.4g} requests per second{beyond}."
    if search.by_generator:
        told += " In some steps the generator was the limit, so the endpoint may bear more."
    return told


def ended_well(step: Step) -> str:
    """Return the share of the requests of a step that ended well."""
    return format_percent(step.ok, step.started)

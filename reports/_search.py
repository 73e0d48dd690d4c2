"""The steps of a search over loads (a sweep, or a search for the highest rate) as a report shows them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from rejoinder.formatting import format_percent, format_rate, format_seconds, one_line, plural
from rejoinder.model.histogram import values_for
from rejoinder.model.outcomes import bad_of, good_of
from rejoinder.model.samples import SearchResult, SearchStep, step_latencies

_MOST: Final = 200


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

    def latency_word(self, name: str) -> str:
        """Return one of the latencies as text, or how many values it needs."""
        value, (_, percent) = self.latencies.get(name), step_latencies()[name]
        if value is None and self.ok and percent > 50:
            return f"needs n {values_for(percent):,}"
        return format_seconds(value)


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


def read_search(found: SearchResult | None) -> Search | None:
    """Return a search as a report shows it, or ``None`` where there was none."""
    if found is None or not found.steps:
        return None
    steps = sorted(map(_step, found.steps[:_MOST]), key=lambda step: step.level)
    search = Search(found.kind == "sweep", steps, found.knee, found.highest, found.limited_by == "generator")
    search.cut = found.cut
    search.sentence = _sentence(search, found.more)
    return search


def _step(step: SearchStep) -> Step:
    return Step(
        level=step.level,
        label=f"{step.level:,.4g}",
        started=step.started,
        ok=good_of(step.outcomes),
        bad=bad_of(step.outcomes),
        ok_rate=step.ok_per_s,
        tokens_rate=step.output_tokens_per_s,
        latencies=step.latencies,
        objectives=[(one_line(slo.text, 60), slo.met) for slo in step.slos[:12] if slo.met is not None],
        met=step.met,
        measurement=step.verdict.value,
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

"""A search over loads (a sweep, or a search for the highest rate) and its steps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from rejoinder.formatting import format_percent, format_rate, format_seconds
from rejoinder.model.histogram import values_for
from rejoinder.model.samples import step_latencies


class StepRow(NamedTuple):
    """One step. ``level`` is the number of requests in flight or the rate; ``met`` tells whether it kept objectives."""

    level: float
    label: str
    started: int
    ok: int
    ok_rate: float
    tokens_rate: float
    latencies: dict[str, float]
    objectives: list[tuple[str, bool]]
    met: bool | None
    measurement: str

    @property
    def share_ok(self) -> str:
        """The share of its requests that succeeded."""
        return format_percent(self.ok, self.started)

    def latency_text(self, name: str) -> str:
        """Return one of the latencies as text, or how many values it needs."""
        value, (_, percent) = self.latencies.get(name), step_latencies()[name]
        if value is None and self.ok and percent > 50:
            return f"needs n {values_for(percent):,}"
        return format_seconds(value)


@dataclass(slots=True)
class SearchSummary:
    """All steps of a search. ``knee`` and ``highest`` are levels; ``sentence`` says what was found."""

    sweep: bool
    steps: list[StepRow] = field(default_factory=list)
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

    def throughput(self, step: StepRow) -> float:
        """Return what a step brought, per second."""
        return step.tokens_rate if self.counts_tokens else step.ok_rate

    def throughput_text(self, step: StepRow) -> str:
        """Return the same with its unit."""
        return f"{format_rate(self.throughput(step))} {'tok/s' if self.counts_tokens else 'ok/s'}"

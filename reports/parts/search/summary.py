"""A search over loads (a sweep, or a search for the highest rate) and its steps."""

from __future__ import annotations

from dataclasses import dataclass, field

from rejoinder.formatting import format_percent, format_rate, format_seconds, one_line, plural
from rejoinder.model.histogram import values_for
from rejoinder.model.metrics import TIMES
from rejoinder.model.outcomes import good_of
from rejoinder.model.samples import SearchResult, SearchStep, step_latencies


def label_of(step: SearchStep) -> str:
    """Return the load of a step as text."""
    return f"{step.level:,.4g}"


def share_ok(step: SearchStep) -> str:
    """Return the share of a step's requests that succeeded."""
    return format_percent(good_of(step.outcomes), step.started)


def step_title(name: str) -> str:
    """Return what people read for one of the latencies of a step: ``TTFT p99`` for ``ttft_p99``."""
    metric, percent = step_latencies()[name]
    return f"{TIMES[metric].label} p{percent:g}"


def latency_text(step: SearchStep, name: str, *, short: bool = False) -> str:
    """Return one of a step's latencies as text, or how many values it needs."""
    value, (_, percent) = step.latency(name), step_latencies()[name]
    if value is None and good_of(step.outcomes) and percent > 50:
        return f"needs {values_for(percent):,}" if short else f"needs {plural(values_for(percent), 'sample')}"
    return format_seconds(value)


@dataclass(slots=True)
class SearchSummary:
    """All steps of a search. ``knee``, ``highest`` and ``failed`` are levels; ``sentence`` says what was found."""

    sweep: bool
    steps: list[SearchStep] = field(default_factory=list)
    knee: float | None = None
    highest: float | None = None
    by_generator: bool = False
    unconfirmed: bool = False
    """Whether the highest load was not confirmed by a longer run."""
    headline: str = ""
    """What was found, as a clause."""
    detail: str = ""
    """Why it was not more, or what it means, in sentences."""
    chosen: str = ""
    """The load of the step that all other figures of the run are of: ``20 requests/s``; empty where none was chosen."""
    kind: str = ""
    failed: float | None = None
    """The lowest load above the highest one that the endpoint did not sustain."""
    cut: bool = False
    """Whether it did not come to its end, so that no step was chosen."""

    @property
    def sentence(self) -> str:
        """The headline and the detail, as sentences."""
        return f"{self.headline}. {self.detail}".rstrip()

    @property
    def unit(self) -> str:
        """What the level of a step counts."""
        return "concurrency" if self.sweep or self.kind == "concurrency" else "requests/s"

    @property
    def title(self) -> str:
        """What was searched."""
        return "Sweep" if self.sweep else f"Search for the highest {self.kind or 'rate'}"

    @property
    def counts_tokens(self) -> bool:
        """Whether throughput is in output tokens; else it is in successful requests."""
        return any(step.output_tokens_per_s for step in self.steps)

    def throughput(self, step: SearchStep) -> float:
        """Return what a step brought, per second."""
        return (step.output_tokens_per_s if self.counts_tokens else step.ok_per_s) or 0.0

    def throughput_text(self, step: SearchStep) -> str:
        """Return the same with its unit."""
        unit = "output tokens/s" if self.counts_tokens else "successful requests/s"
        return f"{format_rate(self.throughput(step))} {unit}"


def describe_sweep(found: SearchResult) -> str:
    """Return what a sweep found, as sentences for people."""
    left_out = [step for step in found.steps if not step.settled]
    at = next((step for step in found.steps if found.knee is not None and step.concurrency == found.knee), None)
    if at is not None:
        first = at.latency("ttft_p99")
        slow = f", TTFT p99 {format_seconds(first)}" if first is not None else ""
        summary = SearchSummary(sweep=True, steps=found.steps)
        text = (
            f"Knee at concurrency {round(at.level):,}: {summary.throughput_text(at)}{slow}. "
            f"This is the first step with at least 90 % of the highest throughput."
        )
        if at.stationarity is not None and at.stationarity.state == "not steady":
            text += f" Its run was not steady: {one_line(at.stationarity.text, 200)}"
    elif len(found.steps) - len(left_out) < 2 and left_out:
        text = "The knee cannot be known: fewer than two steps can be compared. Use a longer --duration."
    else:
        text = "No knee found: throughput still rose at the last step. The endpoint did not reach its limit."
    if left_out:
        levels = ", ".join(label_of(step) for step in left_out[:12])
        text += f" Not compared, because the run was too short or a queue grew: concurrency {levels}."
    return text


def describe_result(found: SearchResult) -> str:
    """Return what a search for the highest load found, as sentences for people."""
    what = "rate" if found.kind == "rate" else "concurrency"
    unit = " requests/s" if found.kind == "rate" else ""
    start = f"Highest {what} that meets every SLO"
    rest = ""
    if found.untested is not None:
        rest += f" {_level_text(found.untested, found.kind)} could not be tested: {found.untested_reason}. "
        rest += _what_to_do(found)
    if found.next is not None:
        rest += f" {_level_text(found.next, found.kind)} failed: {found.reason}."
    if found.highest is None:
        if found.untested is not None:
            return f"{start}: cannot be known.{rest}"
        if found.range is None or found.next is None:
            return f"No {what} in the range was sustained.{rest}"
        return f"{start}: below {found.range[0]:g}{unit}.{rest}"
    if found.confirmed is False:
        return f"{start} so far: {found.highest:.4g}{unit}, not confirmed.{rest}"
    if found.more:
        end = " The top of the range was sustained, so the limit is higher."
        return f"{start}: {found.highest:.4g}{unit} or more.{end}"
    if found.next is None:
        return f"{start}: {found.highest:.4g}{unit}{' or more' if found.untested is not None else ''}.{rest}"
    if found.kind == "concurrency" and found.untested is None:
        return f"{start}: {found.highest:.4g}.{rest}"
    return f"{start}: between {found.highest:.4g} and {found.next:.4g}{unit}.{rest}"


def _level_text(level: float, kind: str) -> str:
    return f"{level:.4g} requests/s" if kind == "rate" else f"Concurrency {level:.4g}"


def _what_to_do(found: SearchResult) -> str:
    """Return how to test the load that could not be tested."""
    if found.limited_by == "generator":
        return "Give the load generator more cores, or run it on another machine."
    lower = " or a higher lowest rate" if found.kind == "rate" and found.highest is None else ""
    return f"Use a longer --duration{lower}."

"""Whether the load was in a steady state: what was not, and what that means for its figures."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from rich.text import Text

from rejoinder.formatting import format_seconds, one_line, uncapitalized
from rejoinder.reports.markdown_text import escape
from rejoinder.reports.model import Area, Part, ReportModel
from rejoinder.reports.terminal_text import wrap

_MOST: Final = 8
MEANINGS: Final = {
    "queue": "The load is above the capacity of the endpoint. Percentiles and SLOs depend on the length of the run.",
    "drift": "Percentiles depend on the length of the run.",
    "change": "Percentiles mix two states of the endpoint.",
    "beginning": "Percentiles include the beginning.",
}
"""What each kind of departure means for the figures."""


@dataclass(frozen=True, slots=True)
class SteadyState:
    """The state of a load, with a sentence for each departure and what they mean; ``advice`` may be empty."""

    state: str
    text: str = ""
    findings: list[str] = field(default_factory=list)
    meanings: list[str] = field(default_factory=list)
    advice: str = ""
    window: tuple[float, float] | None = None

    @property
    def unsteady(self) -> bool:
        """Whether the tests found a departure."""
        return self.state == "not steady"

    @property
    def headline(self) -> str:
        """The state and its first reason, for a line."""
        return f"Not steady: {self.findings[0]}" if self.findings else self.text


def read(report: ReportModel) -> SteadyState | None:
    """Return the state of the run's load, if it was tested."""
    total = report.run.load
    found = total.stationarity if total else None
    if found is None:
        return None
    departures = found.departures[:_MOST]
    advice = ""
    if found.warm_up is not None:
        advice = f"Use --warm-up {found.warm_up:g}s to leave out the beginning."
    elif any(one.kind == "queue" for one in departures):
        advice = "Use --find-rate to find the highest rate that the endpoint sustains."
    elif found.needed is not None:
        advice = f"A run of about {format_seconds(found.needed)} can tell."
    return SteadyState(
        found.state,
        one_line(found.text, 500),
        [one_line(one.text, 300) for one in departures],
        list(dict.fromkeys(MEANINGS[one.kind] for one in departures)),
        advice,
        found.window,
    )


def _sentences(state: SteadyState) -> list[str]:
    return [*(state.findings or [state.text]), *state.meanings, state.advice]


def markdown(state: SteadyState, report: ReportModel, room: int) -> list[str]:
    """Return the departures; nothing for a steady run."""
    if state.state == "steady":
        return []
    word = "**NOT STEADY** " if state.unsteady else ""
    return [word + escape(" ".join(filter(None, _sentences(state)))), ""]


def terminal(state: SteadyState, report: ReportModel, width: int) -> list[Text]:
    """Return the departures; nothing for a steady run."""
    if state.state == "steady":
        return []
    if not state.unsteady:
        return wrap(f"{state.text} {state.advice}".strip(), width, " " * 6, "dim")
    text = " ".join(filter(None, _sentences(state)))
    return wrap(f"NOT STEADY: {uncapitalized(text)}", width, " " * 6, "bold yellow")


PART: Final = Part(__name__, Area.LOAD, 202, read, markdown=markdown, terminal=terminal)

"""How requests under load ended: by outcome and by scenario."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from rejoinder.formatting import one_line
from rejoinder.model.outcomes import RequestOutcome, good_of
from rejoinder.model.samples import ScenarioOutcomes
from rejoinder.reports.model import Area, Part, ReportModel
from rejoinder.reports.parts.load import PART as LOAD
from rejoinder.reports.parts.load import OutcomeLine
from rejoinder.reports.parts.server import PART as SERVER


class ScenarioRow(NamedTuple):
    """One kind of request of the workload, with how many of them ended in which way."""

    name: str
    amount: int
    ok: int
    others: str


@dataclass(frozen=True, slots=True)
class Outcomes:
    """How requests ended; ``started`` is what shares are of."""

    started: int
    ledger: list[OutcomeLine]
    scenarios: list[ScenarioRow]


def read(report: ReportModel) -> Outcomes | None:
    """Return how the requests of the run ended."""
    load, total = report.get(LOAD), report.run.load
    if load is None:
        return None
    scenarios = [_scenario(scenario) for scenario in total.scenarios[:40]] if total else []
    return Outcomes(load.started, load.ledger, scenarios)


def _scenario(scenario: ScenarioOutcomes) -> ScenarioRow:
    ranked = sorted(scenario.outcomes.items(), key=lambda item: -item[1])
    others = [f"{count:,} {outcome}" for outcome, count in ranked if outcome is not RequestOutcome.OK and count]
    return ScenarioRow(
        one_line(scenario.name, 60) or "?",
        sum(scenario.outcomes.values()),
        good_of(scenario.outcomes),
        ", ".join(others[:6]),
    )


def page_values(outcomes: Outcomes, report: ReportModel) -> dict[str, Any]:
    """Return whether the server's figures stand in a column of their own beside both tables."""
    return {"beside_server": report.get(SERVER) is not None}


PART: Final = Part(__name__, Area.LOAD, 240, read, row="outcomes", page_values=page_values)

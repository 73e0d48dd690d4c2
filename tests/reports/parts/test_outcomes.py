"""How requests ended, and what the server and the settings of a load say."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from rejoinder.model.outcomes import RequestOutcome
from rejoinder.reports.parts.outcomes import PART as OUTCOMES
from rejoinder.reports.parts.settings import PART as SETTINGS


def sent(loads: ModuleType) -> list[Any]:
    found = [loads.Sent(t / 10, 0.1, tokens=1, scenario="chat" if t % 2 else "tools") for t in range(10)]
    for broken in found[:3]:
        broken.outcome, broken.rules = RequestOutcome.NONCONFORMING, ["EVT-02"]
    found[9].outcome = RequestOutcome.CENSORED
    return found


def test_the_ledger_has_every_outcome_with_its_share(loads: ModuleType, run_of: Any, table: Any) -> None:
    rows = table(run_of(*loads.recorded(sent(loads))), "<h3>Outcomes")
    assert [(row[0].split()[0], *row[1:3]) for row in rows[1:]] == [
        ("ok", "6", "60.0 %"),
        ("nonconforming", "3", "30.0 %"),
        ("censored", "1", "10.0 %"),
    ]


def test_signs_follow_the_outcomes(loads: ModuleType, report_of: Any) -> None:
    outcomes = report_of(*loads.recorded(sent(loads)))[OUTCOMES]
    assert [line.severity for line in outcomes.ledger] == ["pass", "fail", "fail"]


def test_scenarios_say_how_many_of_them_ended_well(loads: ModuleType, run_of: Any, report_of: Any, table: Any) -> None:
    samples = loads.recorded(sent(loads))
    found = {row.name: (row.amount, row.ok, row.others) for row in report_of(*samples)[OUTCOMES].scenarios}
    assert found == {"tools": (5, 3, "2 nonconforming"), "chat": (5, 3, "1 nonconforming, 1 censored")}
    rows = {row[0]: row[1:] for row in table(run_of(*samples), "<h3>Requests by scenario")[1:]}
    assert rows["chat"] == ["5", "50.0 %", "60.0 %", "1 nonconforming, 1 censored"]


def test_settings_rates_and_self_check_stand_with_their_names(loads: ModuleType, report_of: Any) -> None:
    details = report_of(*loads.recorded(sent(loads), rate=1.0))[SETTINGS]
    assert dict(details.settings)["rate"] == "1"
    assert dict(details.settings)["mode"] == "open"
    assert dict(details.self_check)["cpu_mean"] == "0.31"
    assert "ok_per_s" in dict(details.rates)

"""What each report says of the state of a load: steady, not steady, or too short to tell."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from rejoinder.model.samples import Departure, Stationarity
from rejoinder.reports.writers.markdown import render_markdown

QUEUE = Departure(kind="queue", metric="in_flight", growth=9.0, text="The queue grew by 9 requests/s.")
TELLS = "Too short to tell whether the queue grows: 3 requests were in flight at first, 9 at the end."


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (Stationarity(state="too short", text=TELLS, needed=40.0), f"{TELLS} A run of about 40.0 s can tell."),
        (
            Stationarity(state="not steady", departures=[QUEUE], text=QUEUE.text),
            "The load is above the capacity of the endpoint. Percentiles and SLOs depend on the length of the run. Use "
            "--find-rate to find the highest rate that the endpoint sustains.",
        ),
    ],
    ids=["too short", "queue"],
)
def test_the_state_is_said_with_what_to_do(
    state: Stationarity, expected: str, loads: ModuleType, run_of: Any, words: Any, screen: Any
) -> None:
    samples = loads.load_samples()
    samples[-1].stationarity = state
    run = run_of(*samples)
    assert expected in words(run)
    assert expected in " ".join(screen(run).split())
    assert expected.replace("-", "") in " ".join(render_markdown(run).split()).replace("\\", "").replace("-", "")


def test_a_steady_run_is_a_note_of_the_page_only(loads: ModuleType, run_of: Any, words: Any, screen: Any) -> None:
    samples = loads.load_samples()
    samples[-1].stationarity = Stationarity(state="steady", window=(0.2, 10.0))
    run = run_of(*samples)
    assert "Steady from 0.2 s to 10 s: no trend, no growing queue and no change found." in words(run)
    assert "teady" not in screen(run)

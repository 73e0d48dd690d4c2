"""What stands out in a load."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest

from rejoinder.model.outcomes import RequestOutcome
from rejoinder.reports.parts.insights import PART as INSIGHTS


@pytest.mark.slow(1)
def test_what_stands_out_is_said_the_worst_first(
    loads: ModuleType, examples: ModuleType, run_of: Any, report_of: Any, words: Any
) -> None:
    def mixed_up(sent: Any) -> Any:
        if sent.outcome is RequestOutcome.OK and sent.slot % 2:
            sent = replace(sent, outcome=RequestOutcome.UNJUDGED)
        return replace(sent, foreign=sent.slot in (3, 5, 7))

    samples = loads.load_samples(change=mixed_up)
    share = samples[-1].unjudged_bound
    text = words(run_of(*samples))
    for expected in (
        "Cross-talk: 3 responses contain the canary of another request.",
        f"At most {100 * share:.1f} % of the rest break a rule (99 % confidence).",
        "Stalls: ",
        "TTFT (client − server)",
        "tool call",
    ):
        assert expected in text, expected
    severities = [insight.severity for insight in report_of(*samples)[INSIGHTS]]
    assert severities == sorted(severities, key=("fail", "warn", "info", "pass").index)
    quiet = words(examples.healthy_load())
    assert "No cross-talk" in quiet
    assert "1,200 of 1,200 requests succeeded" in quiet


def test_stalls_are_counted_against_the_median(loads: ModuleType, report_of: Any) -> None:
    found = report_of(loads.histogram("itl", [0.02] * 97 + [0.19, 0.21, 0.5]))[INSIGHTS]
    (stalls,) = [insight.text for insight in found if insight.text.startswith("Stalls")]
    assert "2 of 100 inter-token gaps (2.0 %) exceeded 200 ms (median 20.0 ms, maximum 500 ms)." in stalls

"""What the server reported of itself."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from rejoinder.reports.parts.server import PART as SERVER


def test_figures_have_the_form_of_their_unit(loads: ModuleType, run_of: Any, report_of: Any, table: Any) -> None:
    samples = loads.recorded([loads.Sent(t / 10, 0.1, tokens=1) for t in range(10)])
    samples[-1].server = {
        "running_mean": 3.25, "running_max": 7.0, "cache_use_mean": 0.5, "cache_use_max": 0.75,
        "prefix_hit_rate": 0.2, "ttft_mean": 0.06, "ttft_max": 0.09, "ttft_difference": 0.0384,
    }  # fmt: skip
    figures = {figure.name: (figure.mean, figure.most) for figure in report_of(*samples)[SERVER]}
    assert figures == {
        "Running": ("3.25", "7"),
        "KV cache use": ("50.0 %", "75.0 %"),
        "Prefix cache hits": ("20.0 %", ""),
        "TTFT (server)": ("60.0 ms", "90.0 ms"),
        "TTFT (client)": ("100 ms", ""),
        "TTFT (client − server)": ("+38.4 ms", ""),
    }
    rows = table(run_of(*samples), "Server metrics")
    assert [row[1:] for row in rows[1:3]] == [["3.25", "7"], ["50.0 %", "75.0 %"]]

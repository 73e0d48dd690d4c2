"""Runs the load generator's part of a run with an analysis worker that is full until the run is over.

A program of its own, because Locust changes the sockets of its process. Arguments: the port, whether the loop is
open. Prints how many requests it started and how many slots were due.
"""

from __future__ import annotations

import json
import sys
from time import perf_counter_ns
from types import SimpleNamespace
from typing import Any

import gevent  # type: ignore[import-untyped]
import locust.env  # noqa: F401  # before sockets are used: it replaces them

from rejoinder.load.generator.generator import GeneratorRun, Setup
from rejoinder.load.generator.request_source import RequestSource
from rejoinder.load.lifeline import Permit, ProcessRecord
from rejoinder.load.measure.reader import Timeouts
from rejoinder.load.settings import LoadSettings


class StalledAnalysis:
    """Takes work, is full after the first, and catches up when the run is over."""

    def __init__(self) -> None:
        self.full = False
        self.one_in = 1
        self.lost = False
        self.submitted = 0
        self.backlog = 0

    def begin(self, *_: int) -> None:
        """Begin."""

    def submit(self, _: Any) -> None:
        """Take a recording."""
        self.submitted += 1
        self.full = True

    def request_report(self) -> None:
        """Report nothing."""

    def wait_idle(self, _: float) -> bool:
        """Catch up, as an analysis worker does once nothing more comes; users that wait would go on."""
        self.full = False
        gevent.sleep(0.3)
        return True


def main(port: int, open_loop: bool) -> None:
    """Run for half a second, end the run a little later, and give waiting users the time to send."""
    pace: dict[str, Any] = {"rate": 40.0} if open_loop else {"concurrency": 8}
    settings = LoadSettings(url=f"http://127.0.0.1:{port}", model="ttft=20&gap=5&tokens=2", duration=0.5, **pace)
    analysis: Any = StalledAnalysis()
    request = settings.request_options(None)
    setup = Setup(settings, settings.address(), Timeouts(), (), RequestSource(settings), None, analysis, request)
    environment: Any = SimpleNamespace(runner=None)
    run = GeneratorRun(
        setup, environment, Permit(None), ProcessRecord(None), perf_counter_ns() + 50_000_000, 0, 1, lambda: None
    )
    run.begin()
    users = [] if open_loop else [gevent.spawn(run.closed_loop, number) for number in range(8)]
    gevent.sleep(0.55)
    # Caught up after the end of the duration, but before somebody has stopped the run.
    analysis.full = False
    gevent.sleep(0.1)
    before = run.check.started
    run.finish(5.0)
    gevent.sleep(0.3)
    gevent.joinall(users, timeout=5)
    print(
        json.dumps(
            {
                "started": run.check.started,
                "before": before,
                "due": run.check.due,
                "submitted": analysis.submitted,
                "throttled": run.check.throttled,
            }
        )
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2] == "open")

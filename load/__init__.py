"""Load tests: Locust sends requests, and the conformance rules check the measured streams.

``options``, ``settings``, ``plan``
    One table of options. The settings of one run, complete and checked. What a command does with them.
``workload``
    What is sent: profiles (TOML files with a JSON Schema) and the conversation of each slot of a run.
``schedule``
    When requests start: one schedule for the whole run, or a recorded trace.
``generator``, ``locustfile``
    The processes that send: users, dispatcher, coordination of a run. Only they import Locust and gevent.
``measure``
    One request as raw bytes with receive times; its times, outcome and broken rules; sums that merge over processes;
    the analysis worker, a process beside each load generator process.
``decide``
    SLOs, regression limits, repetitions and searches.
``run``, ``telemetry``, ``gpus``, ``disconnect_probe``
    Start Locust in a subprocess and write what it measured into a run file. Read the server's own metrics.

Importing this package, or ``run``, imports neither Locust nor gevent, because importing Locust patches sockets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rejoinder.lazy import lazy_names

if TYPE_CHECKING:
    from rejoinder.load.run import LoadProgress, LoadResult, run_load
    from rejoinder.load.settings import LoadSettings

__all__ = ["LoadProgress", "LoadResult", "LoadSettings", "run_load"]

if not TYPE_CHECKING:  # a type checker must know a misspelt name from a lazy one
    __getattr__ = lazy_names(
        __name__,
        {
            "rejoinder.load.run": ("LoadProgress", "LoadResult", "run_load"),
            "rejoinder.load.settings": ("LoadSettings",),
        },
    )


def __dir__() -> list[str]:
    return __all__

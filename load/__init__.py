"""Load tests: Locust drives requests, which are measured from raw receive times and judged by the conformance rules.

``options``, ``settings``, ``plan``
    one table of options; the settings of one run, complete and checked; what a command does with them.
``workload``
    what is sent: profiles (TOML files with a JSON Schema) and the conversation of each slot of a run.
``schedule``
    when requests start: one schedule for the whole run, or a recorded trace.
``generator``, ``locustfile``
    the processes that send: users, dispatcher, coordination of a run. Only they import Locust and gevent.
``measure``
    one request as raw bytes with receive times, what it says (times, outcome, broken rules), and sums that merge over
    processes; the analysis worker, a process beside each generator process.
``decide``
    what follows from figures: objectives, changes, repetitions, searches.
``run``, ``telemetry``, ``gpus``, ``disconnect_probe``
    starts Locust in a subprocess and writes what it measured into a run file; reads the server's own metrics.

Importing this package, or ``run``, imports neither Locust nor gevent: importing Locust patches sockets.
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

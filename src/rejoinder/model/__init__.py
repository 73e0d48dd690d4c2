"""What a run records: requests with everything that came back, verdicts, and the figures of a load run.

Read a run file, whatever wrote it::

    from rejoinder.model import read_run

    run = read_run("rejoinder-runs/1")
    for verdict in run.verdicts:
        print(verdict.rule, verdict.status.value)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rejoinder.lazy import lazy_names

if TYPE_CHECKING:
    from rejoinder.model.exchange import Chunk, Exchange, Outcome, Request
    from rejoinder.model.footer import Footer
    from rejoinder.model.header import Header, RunTarget
    from rejoinder.model.histogram import Histogram
    from rejoinder.model.outcomes import RequestOutcome
    from rejoinder.model.runfile import Run, RunWriter, read_run
    from rejoinder.model.samples import LoadSample, RequestSample
    from rejoinder.model.verdict import Finding, Level, Problem, Status, Verdict

__all__ = [
    "Chunk",
    "Exchange",
    "Finding",
    "Footer",
    "Header",
    "Histogram",
    "Level",
    "LoadSample",
    "Outcome",
    "Problem",
    "Request",
    "RequestOutcome",
    "RequestSample",
    "Run",
    "RunTarget",
    "RunWriter",
    "Status",
    "Verdict",
    "read_run",
]

if not TYPE_CHECKING:  # a type checker must know a misspelt name from a lazy one
    __getattr__ = lazy_names(
        __name__,
        {
            "rejoinder.model.exchange": ("Chunk", "Exchange", "Outcome", "Request"),
            "rejoinder.model.footer": ("Footer",),
            "rejoinder.model.header": ("Header", "RunTarget"),
            "rejoinder.model.histogram": ("Histogram",),
            "rejoinder.model.outcomes": ("RequestOutcome",),
            "rejoinder.model.runfile": ("Run", "RunWriter", "read_run"),
            "rejoinder.model.samples": ("LoadSample", "RequestSample"),
            "rejoinder.model.verdict": ("Finding", "Level", "Problem", "Status", "Verdict"),
        },
    )


def __dir__() -> list[str]:
    return __all__

"""How results leave the generator: lines in a file for the parent process, or a summary in Locust's log."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from io import RawIOBase
from typing import Any, Final

from rejoinder.formatting import format_seconds, plural
from rejoinder.load.lifeline import MORE
from rejoinder.load.measure.load_line import load_line, unjudged_sentence
from rejoinder.load.measure.self_check import SelfCheck
from rejoinder.load.measure.stats import RunStats
from rejoinder.load.objectives.slo import describe, missed
from rejoinder.load.settings import LoadSettings
from rejoinder.model.histogram import Histogram, values_for
from rejoinder.model.metrics import Metric, Place, rows_shown
from rejoinder.model.outcomes import RequestOutcome

logger = logging.getLogger("rejoinder.load")


PART_BYTES: Final = 16 << 20
"""Bytes after which a new file is begun."""


class Output:
    """The file through which a run started by rejoinder hands over what it measured; without one, keeps the reports.

    Lines: ``begin``, ``progress``, ``report`` (statistics since the last one), ``check`` (a process's self-check),
    ``end`` and ``error``. A file never makes the generator wait for its reader, as a pipe would.

    Once a line could not be written whole, ``on_failure`` gets the error and nothing more is written: another line
    would continue the broken one.

    With ``next_part``, a file of ``part_bytes`` ends with the line :data:`MORE`, and the rest goes to the file that
    ``next_part`` opens. The reader removes what it has read, so that a long run needs little space.
    """

    def __init__(
        self,
        file: RawIOBase | None,
        on_failure: Callable[[OSError], None],
        next_part: Callable[[], RawIOBase] | None = None,
        part_bytes: int = PART_BYTES,
    ) -> None:
        self._file = file
        self._on_failure = on_failure
        self._next_part = next_part
        self._part_bytes = part_bytes
        self._written = 0
        self._failed = False
        self._stats = RunStats()
        self._checks: list[SelfCheck] = []

    @property
    def to_file(self) -> bool:
        """Whether a parent process reads the results."""
        return self._file is not None

    def clear(self) -> None:
        """Forget what was kept of the last run."""
        self._stats = RunStats()
        self._checks.clear()

    def line(self, kind: str, **fields: Any) -> None:
        """Write one line."""
        if self._file is not None:
            self._write(json.dumps({"kind": kind, **fields}).encode() + b"\n")

    def report(self, report: bytes) -> None:
        """Pass on a report of an analysis worker, as it is."""
        if self._file is not None:
            self._write(b'{"kind":"report","stats":' + report + b"}\n")
        else:
            self._keep(RunStats.from_json(json.loads(report)))

    def check(self, check: dict[str, Any]) -> None:
        """Pass on the self-check of one process."""
        self.line("check", check=check)
        self._checks.append(SelfCheck.from_json(check))

    def _write(self, line: bytes) -> None:
        if self._file is None or self._failed:
            return
        try:
            _write_whole(self._file, line)
            self._written += len(line)
            if self._next_part is not None and self._written >= self._part_bytes:
                # Opened first: while there is no room for another file, the reader shall not look for one.
                following = self._next_part()
                _write_whole(self._file, MORE + b"\n")
                self._file.close()
                self._file, self._written = following, 0
        except OSError as error:
            self._failed = True
            self._on_failure(error)

    def _keep(self, stats: RunStats) -> None:
        # A summary in a log needs no single requests, which would fill the memory of a long run.
        stats.requests, stats.spans, stats.evidence, stats.streams = [], [], [], []
        self._stats.merge(stats)

    def log_warm_up(self) -> None:
        """Log how many requests a warm-up in plain Locust sent, and how they ended."""
        started = plural(sum(check.started for check in self._checks), "request")
        logger.info("rejoinder: warm-up: %s, not measured: %s", started, _list(self._stats.outcomes))

    def log_summary(self, settings: LoadSettings, issued: float) -> bool:
        """Log the result of a run in plain Locust, whose own table has neither gaps nor outcomes.

        ``issued`` is for how many seconds requests were issued. Return whether every objective was met.
        """
        stats = self._stats
        line = load_line(stats, self._checks, settings, issued=issued)
        if line.unjudged:
            logger.info("rejoinder: %s", unjudged_sentence(line))
        logger.info("rejoinder: %s started: %s", plural(line.started, "request"), _list(line.outcomes))
        for metric in rows_shown(Place.PROGRESS):
            histogram = stats.histograms.get(metric.name)
            if histogram is not None:
                logger.info("rejoinder: %-12s %s", metric.name, _row(metric, histogram))
        for result in line.slos:
            logger.info("rejoinder: SLO %s", describe(result, line.no_rates))
        logger.info("rejoinder: load generator %s. %s", line.self_check.verdict, "; ".join(line.self_check.reasons))
        return not missed(line.slos)


def _list(outcomes: Mapping[RequestOutcome, int]) -> str:
    return ", ".join(f"{outcome} {count}" for outcome, count in outcomes.items()) or "none"


def _write_whole(file: RawIOBase, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def _row(metric: Metric, histogram: Histogram) -> str:
    """Return the percentiles of a metric; one with too few samples shows how many it needs."""
    parts = [f"n {histogram.n:6d}"]
    for percent in metric.percentiles(Place.PROGRESS):
        value = histogram.percentile(percent)
        value_text = f"needs {values_for(percent)}" if value is None else format_seconds(value)
        parts.append(f"{'max' if percent == 100 else f'p{percent:g}'} {value_text:>12}")
    return "  ".join(parts)

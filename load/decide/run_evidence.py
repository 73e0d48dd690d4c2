"""What several runs of one load test write to its run file: the lines of the chosen one, and evidence of all.

The lines of a run are kept until it is known whether they are wanted. Of the exchanges of all runs some are written,
when their run has ended: few of each sort, so that a rule that only a late run breaks has evidence too. Each run
numbers its exchanges alike, so the number of the run goes before the id: ``run-3-load-0-7``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from typing import Final

from rejoinder.load.run import LoadResult, Sink
from rejoinder.model.exchange import Exchange
from rejoinder.model.samples import LoadSample, Sample

EVIDENCE: Final = 30
"""The most exchanges that all runs together write to the run file."""
_EACH: Final = 3
"""The most exchanges of one sort: those that ended alike and break the same rules."""


@dataclass(slots=True)
class KeptRun:
    """What a run measured, until it is known whether its lines are wanted. Takes them as a sink does."""

    number: int
    samples: list[Sample] = field(default_factory=list)
    exchanges: list[Exchange] = field(default_factory=list)

    def sample(self, sample: Sample) -> None:
        """Keep a line; the search or the repetitions write the totals."""
        if not isinstance(sample, LoadSample):
            self.samples.append(sample)

    def exchange(self, exchange: Exchange) -> None:
        """Keep an exchange."""
        self.exchanges.append(exchange)


class RunEvidence:
    """Chooses the exchanges of several runs that go to ``sink``."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._runs = 0
        self._left = EVIDENCE
        self._written: Counter[Hashable] = Counter()

    def begin(self) -> KeptRun:
        """Return what the next run writes to."""
        self._runs += 1
        return KeptRun(self._runs)

    def write(self, kept: KeptRun, result: LoadResult | None = None) -> None:
        """Write the exchanges of a run that are wanted; its totals then name those, and no others.

        A run that failed has no ``result``.
        """
        names: dict[str, str] = {}
        for exchange in kept.exchanges:
            sort: Hashable = (result.shown.get(exchange.id) if result else None) or (exchange.status, exchange.outcome)
            if self._left and self._written[sort] < _EACH:
                self._left -= 1
                self._written[sort] += 1
                names[exchange.id] = f"run-{kept.number}-{exchange.id}"
                self._sink.exchange(replace(exchange, id=names[exchange.id]))
        kept.exchanges.clear()
        for row in result.load.conformance if result else ():
            row.problems = [
                {**problem, "exchange": names[problem["exchange"]]}
                for problem in row.problems
                if problem.get("exchange") in names
            ]

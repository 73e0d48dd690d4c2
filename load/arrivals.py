"""When requests start under open-loop load: one absolute, seeded schedule for a whole run.

A schedule is a sequence of offsets in seconds from the start of the run. Every process computes the same one and
takes every n-th slot of it, so a run has the same start times with one process or many, and again with the same seed.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from rejoinder.errors import UsageError


def schedule(arrivals: str, rate: float, duration: float | None, seed: int = 0) -> Iterator[float]:
    """Yield the start offsets in seconds, ascending, all below ``duration`` (endless when that is ``None``).

    ``arrivals`` is ``constant`` (slot i starts at i / rate, computed from i, so that nothing drifts), ``poisson``
    (exponential gaps of mean 1 / rate) or ``gamma:B`` (gaps from Gamma with shape B and scale 1 / (rate * B): B = 1 is
    Poisson, smaller is burstier). Raises :class:`UsageError` for any other name.
    """
    kind, shape = parse_arrivals(arrivals)
    if kind == "constant":
        slot = 0
        while duration is None or slot / rate < duration:
            yield slot / rate
            slot += 1
        return
    # Start times are a simulation; nothing here is a secret.
    generator = random.Random(seed)
    offset = 0.0
    while True:
        gap = generator.expovariate(rate) if kind == "poisson" else generator.gammavariate(shape, 1 / (rate * shape))
        offset += gap
        if duration is not None and offset >= duration:
            return
        yield offset


def parse_arrivals(arrivals: str) -> tuple[str, float]:
    """Return kind and burstiness of an arrival process; raises :class:`UsageError` when there is none of that name."""
    kind, _, parameter = arrivals.partition(":")
    if kind in ("constant", "poisson") and not parameter:
        return kind, 1.0
    if kind == "gamma":
        try:
            shape = float(parameter)
        except ValueError:
            shape = 0.0
        if 0 < shape < 1e6:
            return kind, shape
    raise UsageError(
        f"There is no arrival process {arrivals!r}.", "Choose constant, poisson or gamma:B with a number B above 0."
    )


def share(offsets: Iterator[float], index: int, count: int) -> Iterator[tuple[int, float]]:
    """Yield slot number and offset of every ``count``-th slot, beginning with slot ``index``."""
    for slot, offset in enumerate(offsets):
        if slot % count == index:
            yield slot, offset

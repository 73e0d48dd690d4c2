"""How often the test for a steady state is right, on simulated servers: python benchmarks/steady_state.py [WORD ...]

Simulates runs of servers whose parameters are known, without a server or a clock, and prints for each kind and length
the shares of the runs that rejoinder calls "not steady", "too short" and "steady". With words, only the kinds whose
name has one of them are simulated. ``--runs N`` sets how many runs of each kind there are.
"""

from __future__ import annotations

import argparse
import heapq
import math
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from rejoinder.load.measure.stationarity import RequestSpan, find_stationarity
from rejoinder.load.schedule.arrivals import schedule

Service = Callable[[random.Random, float], float]
"""Seconds that a request takes which is begun at a time."""
LENGTHS: Final = (10, 30, 60)
MEAN: Final = 0.2
SLOTS: Final = 4


def exponential(mean: float = MEAN) -> Service:
    """Return exponential service times."""
    return lambda dice, _: dice.expovariate(1 / mean)


def constant(length: float = MEAN) -> Service:
    """Return service times that differ by a millisecond."""
    return lambda dice, _: max(0.001, length + dice.gauss(0, 0.001))


def lognormal(mean: float = MEAN, variation: float = 0.5) -> Service:
    """Return service times with a coefficient of variation, as responses of different lengths have."""
    sigma = math.sqrt(math.log(1 + variation**2))
    return lambda dice, _: dice.lognormvariate(math.log(mean) - sigma**2 / 2, sigma)


def bimodal(dice: random.Random, _: float) -> float:
    """Return 0.1 or 1 s."""
    return 0.1 if dice.random() < 0.5 else 1.0


def stepping(before: float, after: float, at: float) -> Service:
    """Return service times that change at a moment."""
    return lambda dice, now: (before if now < at else after) * dice.uniform(0.8, 1.2)


def open_loop(
    seed: int, rate: float, slots: int, service: Service, length: float, *, poisson: bool = True
) -> list[RequestSpan]:
    """Return the requests of an open loop on a server of ``slots`` that is idle at first and keeps the order."""
    dice = random.Random(f"service {seed}")
    free = [0.0] * slots
    spans: list[RequestSpan] = []
    for at in schedule("poisson" if poisson else "constant", rate, length, seed):
        took = service(dice, at)
        begun = max(at, heapq.heappop(free))
        heapq.heappush(free, begun + took)
        spans.append(RequestSpan(at, begun + took, begun - at + took / 4, begun - at + took))
    return spans


def sharing(seed: int, rate: float, slots: int, service: Service, length: float) -> list[RequestSpan]:
    """Return the requests of an open loop on a server that works on all at once, slower beyond ``slots``."""
    dice = random.Random(f"service {seed}")
    starts = schedule("poisson", rate, length, seed)
    at = next(starts, math.inf)
    now = work = 0.0
    running: list[tuple[float, float]] = []
    spans: list[RequestSpan] = []
    while running or at < math.inf:
        speed = min(1.0, slots / max(1, len(running)))
        done = now + (running[0][0] - work) / speed if running else math.inf
        until = min(at, done)
        work, now = work + (until - now) * speed, until
        if done <= until:
            _, start = heapq.heappop(running)
            spans.append(RequestSpan(start, now, (now - start) / 4, now - start))
        else:
            heapq.heappush(running, (work + service(dice, now), now))
            at = next(starts, math.inf)
    return spans


def closed_loop(seed: int, users: int, service: Service, length: float, slots: int | None = None) -> list[RequestSpan]:
    """Return the requests of a closed loop on a server with so many slots, or without a limit."""
    dice = random.Random(f"service {seed}")
    free = [0.0] * (slots or users)
    due = [user * 0.01 for user in range(users)]
    spans: list[RequestSpan] = []
    while (at := heapq.heappop(due)) < length:
        begun = max(at, heapq.heappop(free))
        end = begun + service(dice, begun)
        heapq.heappush(free, end)
        heapq.heappush(due, end)
        spans.append(RequestSpan(at, end, end - at - (end - begun) * 3 / 4, end - at))
    return spans


def paused(seed: int, rate: float, low: float, high: float, length: float) -> list[RequestSpan]:
    """Return the requests of an open loop on a server that is silent between two times, and answers in 50 ms."""
    dice = random.Random(f"service {seed}")
    spans: list[RequestSpan] = []
    for at in schedule("poisson", rate, length, seed):
        end = (high if low <= at < high else at) + 0.05 * dice.uniform(0.9, 1.3)
        spans.append(RequestSpan(at, end, end - at - 0.01, end - at))
    return spans


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of run: what it is in truth, and how to simulate one of a length with a seed.

    ``truth`` is ``stationary``, ``growing`` (a queue) or ``changing``. ``rate`` is that of an open loop.
    """

    truth: str
    simulate: Callable[[int, float], list[RequestSpan]]
    rate: float | None = None

    def state(self, seed: int, length: float) -> str:
        """Return the state that rejoinder finds in one run."""
        return find_stationarity(
            self.simulate(seed, length), end=length, open_loop=self.rate is not None, rate=self.rate
        ).state

    def shares(self, length: float, runs: int, first_seed: int = 0) -> dict[str, float]:
        """Return the share of the runs of a length in each state."""
        found = Counter(self.state(seed, length) for seed in range(first_seed, first_seed + runs))
        return {state: found[state] / runs for state in ("not steady", "too short", "steady")}


def _queue(load: float, slots: int, service: Service, *, poisson: bool = True) -> Kind:
    rate = load * slots / MEAN

    def simulate(seed: int, length: float) -> list[RequestSpan]:
        return open_loop(seed, rate, slots, service, length, poisson=poisson)

    return Kind("stationary" if load < 1 else "growing", simulate, rate)


def _sharing(load: float) -> Kind:
    rate = load * SLOTS / MEAN
    return Kind(
        "stationary" if load < 1 else "growing",
        lambda seed, length: sharing(seed, rate, SLOTS, exponential(), length),
        rate,
    )


def _closed(truth: str, users: int, service: Callable[[float], Service], slots: int | None = None) -> Kind:
    return Kind(truth, lambda seed, length: closed_loop(seed, users, service(length), length, slots))


def _unlimited(truth: str, rate: float, service: Callable[[float], Service]) -> Kind:
    return Kind(truth, lambda seed, length: open_loop(seed, rate, 10_000, service(length), length), rate)


def _slots(truth: str, service: Callable[[float], Service]) -> Kind:
    return Kind(truth, lambda seed, length: open_loop(seed, 20, SLOTS, service(length), length), 20)


LOADS: Final = (0.5, 0.8, 0.9, 0.95, 1.02, 1.05, 1.1, 1.2, 1.5)


def _kinds() -> Iterator[tuple[str, Kind]]:
    for load in LOADS:
        percent = f"{100 * load:.0f} % load"
        yield f"M/M/4, {percent}", _queue(load, 4, exponential())
        yield f"M/M/1, {percent}", _queue(load, 1, exponential())
        yield f"M/M/16, {percent}", _queue(load, 16, exponential())
        yield f"M/G/4 (lognormal, cv 0.5), {percent}", _queue(load, 4, lognormal())
        yield f"M/D/4, {percent}", _queue(load, 4, constant())
        yield f"D/G/4 (lognormal, cv 0.5), {percent}", _queue(load, 4, lognormal(), poisson=False)
        yield f"D/D/4, {percent}", _queue(load, 4, constant(), poisson=False)
        yield f"M/M/4 processor sharing, {percent}", _sharing(load)
    yield "unlimited slots, exponential", _unlimited("stationary", 20, lambda _: exponential())
    yield "unlimited slots, two kinds of latency", _unlimited("stationary", 10, lambda _: bimodal)
    yield "unlimited slots, lognormal, mean 2 s, cv 1", _unlimited("stationary", 10, lambda _: lognormal(2.0, 1.0))
    yield "unlimited slots, lognormal, mean 6 s, cv 1", _unlimited("stationary", 10, lambda _: lognormal(6.0, 1.0))
    yield "closed loop, constant", _closed("stationary", 4, lambda _: constant())
    yield "closed loop, lognormal", _closed("stationary", 4, lambda _: lognormal())
    yield "closed loop, two kinds of latency", _closed("stationary", 4, lambda _: bimodal)
    yield "closed loop, more users than slots", _closed("stationary", 8, lambda _: exponential(), slots=4)
    twice = "three times slower from the middle on"
    yield f"closed loop, {twice}", _closed("changing", 4, lambda length: stepping(0.2, 0.6, length / 2))
    yield f"unlimited slots, {twice}", _unlimited("changing", 20, lambda length: stepping(0.2, 0.6, length / 2))
    full = lambda length: stepping(0.1, 0.19, length / 2)  # noqa: E731
    over = lambda length: stepping(0.1, 0.25, length / 2)  # noqa: E731
    yield "4 slots, from 50 to 95 % load in the middle", _slots("changing", full)
    yield "4 slots, from 50 to 125 % load in the middle", _slots("changing", over)
    yield (
        "closed loop, 1.5 times slower from the middle on",
        _closed("changing", 4, lambda length: stepping(0.2, 0.3, length / 2)),
    )
    yield (
        "closed loop, latency doubles slowly",
        _closed("changing", 4, lambda length: lambda dice, at: 0.2 * (1 + at / length) * dice.uniform(0.8, 1.2)),
    )
    yield (
        "unlimited slots, latency doubles slowly",
        _unlimited("changing", 20, lambda length: lambda dice, at: 0.2 * (1 + at / length) * dice.uniform(0.8, 1.2)),
    )
    yield (
        "closed loop, slow for the first sixth",
        _closed("changing", 4, lambda length: stepping(1.0, 0.2, length / 6)),
    )
    yield (
        "unlimited slots, slow for the first sixth",
        _unlimited("changing", 20, lambda length: stepping(1.0, 0.2, length / 6)),
    )
    yield (
        "pause of 2 s in the middle",
        Kind("changing", lambda seed, length: paused(seed, 25, length / 2 - 1, length / 2 + 1, length), 25),
    )


KINDS: Final[Mapping[str, Kind]] = dict(_kinds())
"""Kinds of runs by name. ``M``: Poisson arrivals or exponential service; ``D``: constant; ``G``: lognormal."""


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="WORD")
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--lengths", type=float, nargs="+", default=LENGTHS)
    given = parser.parse_args()
    print(f"{'kind':<52} {'truth':<10} {'length':>6} {'not steady':>11} {'too short':>10} {'steady':>7}")
    for name, kind in KINDS.items():
        if given.words and not any(word in name for word in given.words):
            continue
        for length in given.lengths:
            shares = kind.shares(length, given.runs)
            cells = (f"{100 * shares[state]:.1f} %" for state in ("not steady", "too short", "steady"))
            print(f"{name:<52} {kind.truth:<10} {length:>4g} s {next(cells):>11} {next(cells):>10} {next(cells):>7}")


if __name__ == "__main__":
    main()

"""How fast streams are judged: python benchmarks/judge.py [ROUNDS [DIALECT [SANDBOX]]]

Prints events per second of CPU time on one core for 64-token text streams, for each stage and for all of it (reading
the event stream, parsing, folding, all rules). The sandbox of the same dialect sends them, or that of another, SANDBOX,
so that each stream breaks rules. Figures of one run compare; figures of two machines do not.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from rejoinder.conformance.judgement import broken_rules, judge
from rejoinder.conformance.judging.exchange_view import ExchangeView
from rejoinder.contract import DEFAULT_DIALECT, load_dialect
from rejoinder.garbage import collect_rarely
from rejoinder.model.exchange import Exchange
from rejoinder.sandbox import Sandbox, post
from rejoinder.wire.sse import read_events

STREAMS = 100


def recorded(dialect: str = DEFAULT_DIALECT) -> list[Exchange]:
    """Return streams of 64 tokens each, one event a chunk."""
    sandbox = Sandbox(dialect, min_tokens=64)
    body = {"model": "parrot", "input": "Tell a story", "stream": True, "max_output_tokens": 64}
    return [sandbox.exchange(post(body), id=f"x{n}", case=f"c{n}", role="stream") for n in range(STREAMS)]


def rate(events: int, work: Callable[[], object], rounds: int) -> float:
    """Return events per second of CPU time, the best of some rounds."""
    best = float("inf")
    for _ in range(rounds):
        began = time.process_time()
        work()
        best = min(best, time.process_time() - began)
    return events / best


def main() -> None:
    """Measure and print."""
    collect_rarely()  # as commands do
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    name = sys.argv[2] if len(sys.argv) > 2 else DEFAULT_DIALECT
    streams = recorded(sys.argv[3] if len(sys.argv) > 3 else name)
    dialect = load_dialect(name)
    events = sum(len(ExchangeView(stream, dialect).events) for stream in streams)
    stages: dict[str, Callable[[], object]] = {
        "read the event stream": lambda: [read_events(stream.chunks) for stream in streams],
        "and parse": lambda: [ExchangeView(stream, dialect).events for stream in streams],
        "and fold": lambda: [ExchangeView(stream, dialect).fold for stream in streams],
        "all rules, one stream at a time": lambda: [broken_rules(stream, dialect) for stream in streams],
        "all rules, with verdicts": lambda: judge(streams, dialect),
    }
    print(f"{events} events in {len(streams)} streams, best of {rounds} rounds")
    for name, work in stages.items():
        print(f"  {name:<34} {rate(events, work, rounds):>9,.0f} events/s")


if __name__ == "__main__":
    main()

"""What memory testing many responses takes: python benchmarks/judge_memory.py [NAME ...]

Judges as many copies of one response as a check may keep (rejoinder.budgets.CHECK_RUN), each kind of response in a
process of its own, and prints the peak memory of the process, and the part of it that comes with the responses in
relation to what they weigh. At most 1 means that the estimate by which a check ends is not too low.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from reply_shapes import Shape, deep, message, response

from rejoinder.budgets import CHECK_RUN
from rejoinder.conformance.judgement import judge


def _output(element: object) -> Shape:
    return Shape(lambda n: json.dumps(response(output=[element] * n), separators=(",", ":")).encode())


_EMPTY: Final = Shape(lambda n: b"data: {}\n\n" * n, stream=True)
RESPONSES: Final[Mapping[str, tuple[Shape, int]]] = {
    "small objects": (_output({"a": 1}), 20_000),
    "events without fields": (_EMPTY, 5_500),
    "messages": (_output(message([], "m")), 80_000),
    "deep values": (_output(deep(40)), 970_000),
    "many events without fields": (_EMPTY, 900_000),
}
"""Responses by name, with about how many bytes each has."""


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(name: str) -> None:
    """Judge and print one row."""
    shape, size = RESPONSES[name]
    one = shape.exchange(size)
    number = max(1, CHECK_RUN // one.weight)
    before = _peak()
    exchanges = [replace(shape.exchange(size), id=f"x{n:04d}", case=f"case{n}") for n in range(number)]
    judge(exchanges, "northstar")
    peak = _peak()
    share = (peak - before) / (number * one.weight)
    print(f"{name:<28} {len(one.body):>9,} {number:>6} {peak / 1e6:>7.0f} MB {share:>6.2f}", flush=True)


def main() -> None:
    """Measure and print."""
    if len(sys.argv) == 3 and sys.argv[1] == "--one":
        measure(sys.argv[2])
        return
    print(f"{'response':<28} {'bytes':>9} {'number':>6} {'peak':>10} {'share':>6}", flush=True)
    for name in sys.argv[1:] or RESPONSES:
        subprocess.run([sys.executable, __file__, "--one", name], check=True)


if __name__ == "__main__":
    main()

"""How fast replies of every shape are checked: python benchmarks/judge_shapes.py [KILOBYTES [NAME ...]]

Prints for each shape of benchmarks/reply_shapes.py the rate in MB a second of CPU time on one core: masking of a key,
all rules, the lines of the run file, and the reports (HTML, JUnit). The growth is the time of a byte relative to that
at half the size: 1 or less is linear, 2 is quadratic. The memory is what each further byte takes, in bytes. Names
choose shapes that contain them; without names all but those of single event types are measured, and of these the
slowest is. Figures of one run compare; figures of two machines do not.
"""

from __future__ import annotations

import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

from reply_shapes import ERRORS, PLAIN, SHAPES, STREAMS, TYPES, Shape

from rejoinder.conformance.judgement import judge
from rejoinder.garbage import collect_rarely
from rejoinder.model.exchange import Exchange
from rejoinder.model.footer import Footer
from rejoinder.model.header import RunTarget, new_header
from rejoinder.model.runfile import RunWriter, read_run
from rejoinder.reports import render_html, render_junit
from rejoinder.wire.redact import Redactor

KEY = "sk-benchmark-0123456789abcdef"


def handle(exchange: Exchange, folder: Path) -> None:
    """Do all that is done with a reply that was received."""
    redactor = Redactor(KEY)
    masked = redactor.chunks(exchange.chunks)
    assert len(masked.body) == len(exchange.body)
    verdicts = judge([exchange], "openai")
    path = folder / f"{time.monotonic_ns()}.ndjson"
    with RunWriter(path) as writer:
        writer.mask = redactor.text
        writer.header(new_header(RunTarget(url="http://localhost/v1/responses", model="m", dialect="openai")))
        writer.exchange(exchange)
        for verdict in verdicts:
            writer.verdict(verdict)
        writer.footer(Footer(ended_at=1.0, exit_code=1))
    run = read_run(path)
    path.unlink()
    render_html(run)
    render_junit(run)


def seconds(exchange: Exchange, folder: Path) -> float:
    """Return the CPU time of one reply."""
    began = time.process_time()
    handle(exchange, folder)
    return time.process_time() - began


def memory(exchange: Exchange, folder: Path) -> int:
    """Return the highest memory in bytes that handling a reply takes."""
    tracemalloc.start()
    try:
        handle(exchange, folder)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def measure(shape: Shape, size: int, folder: Path) -> tuple[float, float, float]:
    """Return MB a second, the time of a byte relative to that at half the size, and bytes of memory a further byte."""
    half, whole = shape.exchange(size // 2), shape.exchange(size)
    part, more = shape.exchange(size // 10), shape.exchange(size // 5)
    first, second = seconds(half, folder), seconds(whole, folder)
    growth = second / len(whole.body) / (first / len(half.body))
    used = (memory(more, folder) - memory(part, folder)) / (len(more.body) - len(part.body))
    return len(whole.body) / 1e6 / second, growth, used


def main() -> None:
    """Measure and print."""
    collect_rarely()  # as commands do
    size = int(sys.argv[1]) * 1000 if len(sys.argv) > 1 else 1_000_000
    names = sys.argv[2:]
    chosen = {name: shape for name, shape in SHAPES.items() if any(part in name for part in names)}
    print(f"{'shape':<46} {'MB/s':>6} {'growth':>7} {'memory':>7}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        handle(PLAIN["output of empty objects"].exchange(1000), folder)
        handle(STREAMS["deltas of one part"].exchange(1000), folder)
        shapes = chosen or {**PLAIN, **ERRORS, **STREAMS}
        if not chosen:
            slowest = max(TYPES, key=lambda name: seconds(TYPES[name].exchange(size // 20), folder))
            shapes[slowest] = TYPES[slowest]
        for name, shape in shapes.items():
            rate, growth, used = measure(shape, size, folder)
            print(f"{name:<46} {rate:>6.2f} {growth:>7.2f} {used:>7.1f}", flush=True)


if __name__ == "__main__":
    main()

"""How right is the load generator? Runs it against a server whose timing is known and prints the errors.

    python benchmarks/load.py [--seconds S] [--streams 1,16,64] [--only accuracy,stall,arrivals,burst,paced]

The truth is what the server recorded when it sent; "error" is what the generator reported minus that. The server runs
in a process of its own on 127.0.0.1. Figures depend on the machine and on what else it does; the self-check of the
generator is printed beside them, and the server's own lateness shows when the machine was too busy for either. On a
shared machine ``chrt -f 10 python benchmarks/load.py`` lets server and generator run first.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from load_server import ServerProcess

from rejoinder.formatting import value_of
from rejoinder.load.run import LoadResult, run_load
from rejoinder.load.settings import LoadSettings
from rejoinder.model.runfile import RunWriter


@dataclass
class Bench:
    """One server, and runs against it."""

    server: ServerProcess
    seconds: float
    processes: int

    def run(self, model: str, **values: Any) -> tuple[LoadResult, dict[str, Any]]:
        """Run a load test; return its result and the server's truth."""
        self.server.reset()
        values = {"duration": self.seconds, "processes": self.processes, **values}
        with tempfile.TemporaryDirectory() as folder, RunWriter(Path(folder) / "run.ndjson") as writer:
            result = run_load(LoadSettings(url=self.server.url, model=model, **values), writer)
        truth = self.server.truth()
        if result.started != truth["requests"]:
            print(f"  MISMATCH: started {result.started}, the server saw {truth['requests']}")
        return result, truth

    def accuracy(self, streams: list[int]) -> None:
        """Print the errors of TTFT and gaps by concurrency, at 100 tokens per second and stream."""
        print("accuracy: truth TTFT 50 ms, gap 10 ms, 64 tokens; error in ms (server's own lateness in brackets)")
        print("  streams  n     TTFT p50        TTFT p99        gap p50         gap p99         lag p99  cpu   verdict")
        for count in streams:
            result, truth = self.run("ttft=50&gap=10&tokens=64", concurrency=count)
            cells = []
            for metric, name, nominal in (("ttft", "ttft", 50.0), ("itl", "gap", 10.0)):
                for percent in (50, 99):
                    value = value_of(result.histograms[metric].percentile(percent))
                    real = truth[name][str(percent)]
                    cells.append(f"{(value or 0) * 1e3 - real:+7.2f} ({real - nominal:+5.2f})")
            print(f"  {count:7d} {result.started:5d} {' '.join(cells)} {note(result)}")

    def stall(self) -> None:
        """Print how long a stall of 300 ms looks."""
        result, truth = self.run("ttft=50&gap=10&tokens=64&stall=300", concurrency=16)
        found = result.histograms["max_gap"]
        values = [1e3 * (value_of(found.percentile(percent)) or 0) for percent in (1, 50, 99)]
        figures = f"p1 {values[0]:.2f}, p50 {values[1]:.2f}, p99 {values[2]:.2f} ms {note(result)}"
        most = truth["gap"]["100"]
        print(f"stall: one of 310 ms in each stream; server's gap max {most:.2f} ms; reported max gap {figures}")

    def arrivals(self) -> None:
        """Print rate and variation of the arrivals, as the server saw them."""
        print("arrivals at 60/s, as the server saw them (asked: CV 0 for constant, 1 for poisson, 2 for gamma:0.25)")
        for kind in ("constant", "poisson", "gamma:0.25"):
            result, truth = self.run("ttft=20&gap=5&tokens=8", rate=60.0, arrivals=kind, seed=1)
            gaps = truth["arrival_gaps"]
            variation = statistics.stdev(gaps) / statistics.mean(gaps)
            lag = value_of(result.histograms["sched_lag"].percentile(99)) or 0
            print(
                f"  {kind:11} n {truth['requests']:4d}  rate {1e3 / statistics.mean(gaps):7.3f}/s  CV {variation:.3f}  "
                f"schedule lag p99 {lag * 1e3:.2f} ms {note(result)}"
            )

    def burst(self) -> None:
        """Print what one core can read and analyse when the server does not wait."""
        result, _ = self.run("tokens=64", concurrency=16)
        whole = result.load.rates_whole_run
        events = result.load.output_tokens / result.load.issued
        print(f"burst: {events:,.0f} events/s, {whole.finished_per_s:,.0f} requests/s {note(result)}")

    def paced(self, streams: list[int]) -> None:
        """Print event rates that one process sustains, with the generator's own lag."""
        print("paced: gap 10 ms")
        for count in streams:
            result, truth = self.run("ttft=50&gap=10&tokens=256", concurrency=count)
            error = 1e3 * (value_of(result.histograms["itl"].percentile(99)) or 0) - truth["gap"]["99"]
            events = result.load.rates.output_tokens_per_s
            print(f"  {count:5d} streams {events:9,.0f} events/s  gap p99 error {error:+.2f} ms {note(result)}")


def note(result: LoadResult) -> str:
    """Return the generator's self-check in short."""
    check = result.load.self_check
    lag = (check.loop_lag_p99 or 0) * 1e3
    judged = f" judged {result.load.judged}/{result.started}" if result.load.judged < result.started else ""
    return f"{lag:6.2f} ms {check.cpu_mean:5.0%}  {check.verdict}{judged}"


def main() -> None:
    """Run the benchmarks."""
    parser = argparse.ArgumentParser(description="How right is the load generator?")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of each run")
    parser.add_argument("--streams", default="1,16,64", help="concurrencies for accuracy")
    parser.add_argument("--paced", default="64,128,256", help="concurrencies for the event rate")
    parser.add_argument("--processes", type=int, default=1, help="generator processes")
    parser.add_argument("--only", default="accuracy,stall,arrivals,burst,paced", help="parts to run")
    options = parser.parse_args()
    streams = {"accuracy": options.streams, "paced": options.paced}
    with ServerProcess() as server:
        bench = Bench(server, options.seconds, options.processes)
        for part in options.only.split(","):
            if part in streams:
                getattr(bench, part)([int(word) for word in streams[part].split(",")])
            else:
                getattr(bench, part)()


if __name__ == "__main__":
    main()

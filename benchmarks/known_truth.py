"""What do load generators say of a server of known truth? Prints the table of docs/explanation/known-truth.md.

    python benchmarks/known_truth.py --aiperf VENV --guidellm VENV

The server is that of tests/truth, so this runs in a checkout, with the packages of the tests. Each peer is installed by
hand into a virtual environment of its own (``pip install aiperf``, ``pip install guidellm``) and left out when its
option is. Every tool gets a server of its own for each row. All traffic stays on 127.0.0.1.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from peers import MAKE_TOKENIZER, read_json  # noqa: E402
from tests.truth.behaviours import BEHAVIOURS  # noqa: E402
from tests.truth.server import TruthServer  # noqa: E402

from rejoinder.formatting import format_seconds  # noqa: E402
from rejoinder.model.outcomes import good_of  # noqa: E402
from rejoinder.model.runfile import read_run  # noqa: E402
from rejoinder.model.samples import HistogramSample  # noqa: E402

LIMIT: Final = 180.0
Figures = Mapping[str, str]
"""What a tool reports: figures by name, as text. A name that it does not have is left out."""


@dataclass(frozen=True, slots=True)
class Row:
    """A load on a behaviour, and the figures of it that the table compares, each with its truth.

    Give ``concurrency`` or ``rate``, and ``requests`` or ``duration`` in seconds; ``timeout`` is in seconds.
    """

    behaviour: str
    truth: Mapping[str, str]
    concurrency: int = 0
    rate: float = 0.0
    requests: int = 0
    duration: int = 0
    timeout: int = 60
    tokens: int = 64

    @property
    def load(self) -> str:
        """The load in a few words."""
        pace = f"{self.concurrency} concurrent" if self.concurrency else f"{self.rate:g}/s"
        return f"{pace}, {self.requests} requests" if self.requests else f"{pace}, {self.duration} s"


ROWS: Final = (
    Row("base", {"requests/s": "38", "sent": "8"}, concurrency=8, requests=8),
    Row("reset_quarter", {"failed": "25 %", "sent": "80"}, concurrency=4, requests=80),
    Row("hang", {"failed": "20 %"}, rate=10, duration=4, timeout=10),
    Row("queue4", {"E2E p50": "4.8 s", "E2E p99": "9.3 s"}, rate=60, duration=5),
    Row("longer_than_the_run", {"TTFT p50": "50 ms", "E2E p50": "13.0 s"}, concurrency=4, duration=2),
    Row("hidden_reasoning", {"TPOT p50": "20 ms"}, concurrency=4, duration=4, tokens=2000),
    Row("slow_accept", {"TTFT mean": "about 400 ms"}, concurrency=4, duration=8),
    Row("usage_absent", {"tokens/s": "320"}, concurrency=4, duration=5),
    Row("slow_body", {"requests/s": "20"}, rate=20, duration=4),
    Row("incomplete_by_filter", {"failed": "50 %"}, concurrency=4, duration=4),
    Row("error_event", {"failed": "25 %"}, concurrency=4, duration=4),
    Row("no_terminal_event", {"failed": "25 %"}, concurrency=4, duration=4),
    Row("no_end", {"E2E p50": "200 ms"}, concurrency=4, duration=3, timeout=3),
    Row("empty_deltas", {"TTFT p50": "200 ms"}, concurrency=4, duration=4),
    Row("reasoning_first", {"TTFT p50": "50 ms", "TTFT of text p50": "500 ms"}, concurrency=4, duration=4),
    Row("burst_after_stall", {"longest gap p50": "500 ms"}, concurrency=4, duration=4),
)


class Tools:
    """Ways to have each tool put a load on a server, and to read what it reports."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options = options
        self.folder = folder
        self.tokenizer = folder / "tokenizer"
        self.all: dict[str, Callable[[Row, str], Figures]] = {}
        if not options.without_rejoinder:
            self.all["rejoinder"] = self.run_rejoinder
        for name in ("aiperf", "guidellm"):
            if environment := getattr(options, name):
                self.all[name] = getattr(self, f"run_{name}")
                if not self.tokenizer.exists():
                    self.tokenizer.mkdir()
                    subprocess.run([environment / "bin/python", "-c", MAKE_TOKENIZER, self.tokenizer], check=True)

    def execute(self, *program: str | Path, arguments: str) -> Path:
        """Run a tool to its end in a new folder, which is OUT in its arguments; return that. ``log`` has its words."""
        out = Path(tempfile.mkdtemp(dir=self.folder))
        command = [*map(str, program), *shlex.split(arguments.replace("OUT", str(out)))]
        with (out / "log").open("w") as log, suppress(subprocess.TimeoutExpired):
            subprocess.run(command, stdout=log, stderr=log, timeout=LIMIT, cwd=out, check=False)
        return out

    def run_rejoinder(self, row: Row, url: str) -> Figures:
        """Run ``rejoinder load``."""
        pace = f"--concurrency {row.concurrency}" if row.concurrency else f"--rate {row.rate:g}"
        length = f"--requests {row.requests}" if row.requests else f"--duration {row.duration}s"
        out = self.execute(
            *(sys.executable, "-m", "rejoinder"),
            arguments=f"load {url} {pace} {length} --timeout {row.timeout}s --max-output-tokens {row.tokens} --quiet"
            " --out OUT/run",
        )
        run = read_run(out / "run")
        load = run.load
        if load is None:
            return {}
        found = {"failed": f"{100 * (1 - good_of(load.outcomes) / load.started):.1f} %"}
        names = {"TTFT": "ttft", "TTFT of text": "ttfo", "E2E": "e2e", "TPOT": "tpot", "longest gap": "max_gap"}
        histograms = {line.metric: line.values for line in run.samples_of(HistogramSample)}
        for title, metric in names.items():
            histogram = histograms.get(metric)
            for percent in (50, 99):
                if histogram is not None:
                    found[f"{title} p{percent}"] = format_seconds(histogram.percentile(percent))
            if histogram is not None:
                found[f"{title} mean"] = format_seconds(histogram.mean)
        rates = {"requests/s": load.rates.ok_per_s, "tokens/s": load.rates.output_tokens_per_s}
        for name, value in rates.items():
            if value is not None:
                found[name] = f"{value:.1f}"
        return found

    def run_aiperf(self, row: Row, url: str) -> Figures:
        """Run AIPerf's profile."""
        pace = f"--concurrency {row.concurrency}" if row.concurrency else f"--request-rate {row.rate:g}"
        pace += "" if row.concurrency else " --request-rate-mode constant"
        length = f"--request-count {row.requests}" if row.requests else f"--benchmark-duration {row.duration}"
        out = self.execute(
            self.options.aiperf / "bin/aiperf",
            arguments=f"profile -m truth --url {url.removeprefix('http://')} --endpoint-type responses --streaming"
            f" {pace} {length} --isl 32 --osl {row.tokens} --tokenizer {self.tokenizer} --ui-type none"
            f" --request-timeout-seconds {row.timeout} --no-gpu-telemetry --output-artifact-dir OUT",
        )
        report = read_json(out / "profile_export_aiperf.json")
        good, bad = (int(report.get(name, {}).get("avg") or 0) for name in ("request_count", "error_request_count"))
        found = {"failed": f"{100 * bad / (good + bad):.1f} %"} if good + bad else {}
        names = {
            "TTFT": "time_to_first_token",
            "TTFT of text": "time_to_first_output_token",
            "E2E": "request_latency",
            "TPOT": "inter_token_latency",
        }
        for title, name in names.items():
            for statistic, key in (("p50", "p50"), ("p99", "p99"), ("mean", "avg")):
                if (value := report.get(name, {}).get(key)) is not None:
                    found[f"{title} {statistic}"] = format_seconds(value / 1e3)
        for title, name in (("requests/s", "request_throughput"), ("tokens/s", "output_token_throughput")):
            if (value := report.get(name, {}).get("avg")) is not None:
                found[title] = f"{value:.1f}"
        return found

    def run_guidellm(self, row: Row, url: str) -> Figures:
        """Run GuideLLM."""
        pace = f"kind=concurrent,streams={row.concurrency}" if row.concurrency else f"kind=constant,rate={row.rate:g}"
        length = (
            f"kind=max_requests,count={row.requests}" if row.requests else f"kind=max_duration,seconds={row.duration}"
        )
        out = self.execute(
            self.options.guidellm / "bin/guidellm",
            arguments=f"run --disable-progress --data kind=synthetic_text,prompt_tokens=32,output_tokens={row.tokens}"
            f" --backend kind=openai_http,target={url},request_format=/v1/responses,model=truth"
            f" --profile {pace} --constraint {length}"
            f" --tokenizer kind=hf_auto,model={self.tokenizer} --output kind=json,path=OUT/report.json",
        )
        metrics = (read_json(out / "report.json").get("benchmarks") or [{}])[0].get("metrics", {})
        return guidellm_figures(metrics)


def guidellm_figures(metrics: Mapping[str, Any]) -> Figures:
    """Return the figures of a report of GuideLLM."""
    totals = metrics.get("request_totals") or {}
    good, bad, cut = (totals.get(name) or 0 for name in ("successful", "errored", "incomplete"))
    found = {"failed": f"{100 * bad / (good + bad + cut):.1f} %"} if good + bad + cut else {}
    if cut:
        found["failed"] += f", {cut} cut off"
    names = {
        "TTFT": ("time_to_first_token_ms", 1e3),
        "E2E": ("request_latency", 1.0),
        "TPOT": ("time_per_output_token_ms", 1e3),
    }
    for title, (name, unit) in names.items():
        values = metrics.get(name, {}).get("successful") or {}
        if values.get("count"):
            for statistic in ("p50", "p99"):
                found[f"{title} {statistic}"] = format_seconds(values["percentiles"][statistic] / unit)
            found[f"{title} mean"] = format_seconds(values["mean"] / unit)
    for title, name in (("requests/s", "requests_per_second"), ("tokens/s", "output_tokens_per_second")):
        values = metrics.get(name, {}).get("successful") or {}
        if values.get("mean") is not None:
            found[title] = f"{values['mean']:.1f}"
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="What do load generators say of a server of known truth?")
    for name in ("aiperf", "guidellm"):
        parser.add_argument(f"--{name}", type=Path, metavar="VENV", help=f"virtual environment for {name}")
    parser.add_argument("--without-rejoinder", action="store_true", help="run the peers only")
    parser.add_argument("--only", default="", help="behaviours to run, separated by commas")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the tools' logs and reports there")
    options = parser.parse_args()
    rows = [row for row in ROWS if not options.only or row.behaviour in options.only.split(",")]
    with tempfile.TemporaryDirectory() as scratch:
        folder = (options.keep or Path(scratch)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("aiperf", "guidellm"):
            if getattr(options, name):
                setattr(options, name, getattr(options, name).absolute())
        tools = Tools(options, folder)
        print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}\n")
        print("| behaviour | load | figure | truth | " + " | ".join(tools.all) + " |")
        print("| --- | --- | --- | --- | " + " | ".join("---" for _ in tools.all) + " |")
        for row in rows:
            found = {}
            for name, run in tools.all.items():
                with TruthServer(BEHAVIOURS[row.behaviour], spares=int(name == "rejoinder")) as server:
                    found[name] = dict(run(row, server.url))
                    found[name]["sent"] = str(len(server.seen))
            for figure, truth in row.truth.items():
                cells = [found[name].get(figure, "–") for name in tools.all]
                print(f"| `{row.behaviour}` | {row.load} | {figure} | {truth} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()

"""How do other load generators measure the same server? Runs rejoinder and its peers one after the other.

    python benchmarks/peers.py --aiperf VENV --guidellm VENV --vllm VENV --vllm-source FOLDER

Each peer is installed by hand into a virtual environment of its own and left out when its option is: AIPerf and
GuideLLM with ``pip install``; vLLM's bench needs ``pip install aiohttp numpy tqdm regex`` and the folder
``vllm/benchmarks`` out of its wheel below FOLDER (see ``peers_vllm.py``). ``pip install tokenizers`` is needed in
AIPerf's or GuideLLM's environment to make a tokenizer that counts each word of the server as one token; both have it.

Two tables come out, every row from the same session: how far the reported times are from what the server recorded
when it sent (closed loop, 64 tokens, TTFT 50 ms, gaps of 10 ms), and how many broken streams each tool counts as
successes, of ten that each is asked to send. All traffic stays on 127.0.0.1. With
``--prefix "chrt -f 10"`` every tool runs before other work on a shared machine, the server always before the tools
where that is allowed.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from load_server import ServerProcess

if TYPE_CHECKING:
    from rejoinder.model.samples import LoadSample

HERE: Final = Path(__file__).parent
TIMED: Final = "ttft=50&gap=10&tokens=64"
LIMIT: Final = 280.0
FAULTS: Final[Mapping[str, str]] = {
    "clean": "body ends in the middle, no terminal event",
    "failed": "response.failed",
    "error": "error event",
    "cut": "connection closed in the middle",
}
STALL: Final = "&stall=300"

MAKE_TOKENIZER: Final = """
import json, sys
from pathlib import Path
from tokenizers import Tokenizer, models, pre_tokenizers
words = ["[UNK]", *(f"w{n}" for n in range(512))]
tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="[UNK]"))
tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
folder = Path(sys.argv[1])
tokenizer.save(str(folder / "tokenizer.json"))
(folder / "tokenizer_config.json").write_text(
    json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "[UNK]", "model_max_length": 100000})
)
(folder / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a tool reported, in milliseconds: percentiles 50 and 99; how many requests it counts as good and as bad."""

    good: int
    bad: int
    ttft: tuple[float, float] | None = None
    gap: tuple[float, float] | None = None


def server_first(answer: str) -> ServerProcess:
    """Start the server with known timing, before all else where this program may give a real-time priority."""
    first = subprocess.run(["chrt", "-f", "1", "true"], capture_output=True, check=False).returncode == 0
    return ServerProcess(answer, ["chrt", "-f", "20"] if first else [])


class Tools:
    """Ways to have each tool load the server, closed loop, and to read what it reports."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options = options
        self.folder = folder
        self.prefix = shlex.split(options.prefix)
        self.tokenizer = folder / "tokenizer"
        self.all: dict[str, Callable[[str, int, int], Measured]] = {"rejoinder": self.rejoinder}
        for name in ("aiperf", "guidellm", "vllm"):
            if getattr(options, name):
                self.all[name] = getattr(self, f"run_{name}")
        for environment in filter(None, (options.aiperf, options.guidellm)):
            self.tokenizer.mkdir(exist_ok=True)
            subprocess.run([environment / "bin/python", "-c", MAKE_TOKENIZER, self.tokenizer], check=True)
            break

    def execute(self, *program: str | Path, arguments: str) -> Path:
        """Run a tool to its end in a new folder, which is OUT in its arguments; return that. ``log`` has its words."""
        out = Path(tempfile.mkdtemp(dir=self.folder))
        command = [*self.prefix, *map(str, program), *shlex.split(arguments.replace("OUT", str(out)))]
        with (out / "log").open("w") as log, suppress(subprocess.TimeoutExpired):
            subprocess.run(command, stdout=log, stderr=log, timeout=LIMIT, cwd=out, check=False)
        return out

    def rejoinder(self, url: str, streams: int, requests: int) -> Measured:
        """Run ``rejoinder load``."""
        out = self.execute(
            sys.executable,
            "-c",
            "from rejoinder.cli import main; main()",
            arguments=f"load {url} --concurrency {streams} --requests {requests} --out OUT/run --quiet",
        )
        from rejoinder.model.outcomes import good_of
        from rejoinder.model.runfile import read_run

        load = read_run(out / "run").load
        if load is None:
            return Measured(0, requests)
        good = good_of(load.outcomes)
        pairs = [percentiles_of(load, metric) for metric in ("ttft", "itl")]
        return Measured(good, load.started - good, *pairs)

    def run_aiperf(self, url: str, streams: int, requests: int) -> Measured:
        """Run AIPerf's profile; its inter-chunk latency is the pooled gap."""
        out = self.execute(
            self.options.aiperf / "bin/aiperf",
            arguments=f"profile -m timed --url {url.removeprefix('http://')} --endpoint-type responses --streaming"
            f" --concurrency {streams} --request-count {requests} --isl 32 --osl 64 --tokenizer {self.tokenizer}"
            " --ui-type none --no-gpu-telemetry --output-artifact-dir OUT",
        )
        report = read_json(out / "profile_export_aiperf.json")
        if not report:  # it writes none when every request failed
            failed = re.search(r"All (\d+) inference", (out / "log").read_text())
            return Measured(0, int(failed[1]) if failed else 0)
        pairs = [
            (found["p50"], found["p99"]) if (found := report.get(name)) else None
            for name in ("time_to_first_token", "inter_chunk_latency")
        ]
        counts = [int(report.get(name, {}).get("avg") or 0) for name in ("request_count", "error_request_count")]
        return Measured(counts[0], counts[1], *pairs)

    def run_guidellm(self, url: str, streams: int, requests: int) -> Measured:
        """Run GuideLLM; its inter-token latency is a mean for each request."""
        out = self.execute(
            self.options.guidellm / "bin/guidellm",
            arguments="run --disable-progress --data kind=synthetic_text,prompt_tokens=32,output_tokens=64"
            f" --backend kind=openai_http,target={url},request_format=/v1/responses,model=timed"
            f" --profile kind=concurrent,streams={streams} --constraint kind=max_requests,count={requests}"
            f" --tokenizer kind=hf_auto,model={self.tokenizer} --output kind=json,path=OUT/report.json",
        )
        found = (read_json(out / "report.json").get("benchmarks") or [{}])[0].get("metrics", {})
        pairs = []
        for name in ("time_to_first_token_ms", "inter_token_latency_ms"):
            values = found.get(name, {}).get("successful", {})
            percentiles = values.get("percentiles") if values.get("count") else None
            pairs.append((percentiles["p50"], percentiles["p99"]) if percentiles else None)
        totals = found.get("request_totals") or {}
        bad = (totals.get("errored") or 0) + (totals.get("incomplete") or 0)
        return Measured(totals.get("successful") or 0, bad, *pairs)

    def run_vllm(self, url: str, streams: int, requests: int) -> Measured:
        """Run the benchmark function of vLLM's ``bench serve``."""
        out = self.execute(
            self.options.vllm / "bin/python",
            HERE / "peers_vllm.py",
            arguments=f"{self.options.vllm_source} {url} {streams} {requests} OUT/report.json",
        )
        report = read_json(out / "report.json")
        good = report.get("completed", 0)
        if not good:
            return Measured(0, report.get("failed", requests))
        times = [(report[f"p50_{name}_ms"], report[f"p99_{name}_ms"]) for name in ("ttft", "itl")]
        return Measured(good, report.get("failed", requests - good), *times)


def percentiles_of(load: LoadSample, metric: str) -> tuple[float, float] | None:
    """Return percentiles 50 and 99 of a metric in milliseconds out of a run file's summary of the load."""
    found = next((line for line in load.percentiles if line.metric == metric), None)
    if found is None or found.p50.value is None or found.p99.value is None:
        return None
    return 1e3 * found.p50.value, 1e3 * found.p99.value


def read_json(path: Path) -> dict[str, Any]:
    """Return a tool's report, empty when it wrote none."""
    try:
        report = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return report if isinstance(report, dict) else {}


def cell(values: tuple[float, float] | None, truth: dict[str, float], index: int) -> str:
    """Return reported minus true milliseconds."""
    if values is None or math.isnan(values[index]) or truth["50"] is None:
        return f"{'-':>9}"
    return f"{values[index] - truth['99' if index else '50']:+9.2f}"


def accuracy(tools: Tools, streams: list[int], rounds: int) -> None:
    """Print the errors of every tool by concurrency."""
    print("reported minus true, ms (truth: TTFT 50, gap 10; closed loop)")
    print(f"{'streams':>7} {'tool':10} {'requests':>8} {'TTFT p50':>9} {'TTFT p99':>9} {'gap p50':>9} {'gap p99':>9}")
    with server_first(TIMED) as server:
        for count in streams:
            for name, run in tools.all.items():
                server.reset()
                found = run(server.url, count, count * rounds)
                truth = server.truth()
                cells = [cell(found.ttft, truth["ttft"], 0), cell(found.ttft, truth["ttft"], 1)]
                cells += [cell(found.gap, truth["gap"], 0), cell(found.gap, truth["gap"], 1)]
                print(f"{count:7d} {name:10} {found.good:8d} {' '.join(cells)}", flush=True)


def stalls(tools: Tools) -> None:
    """Print the p99 of gaps that each tool reports when every stream has one of 310 ms."""
    print("one gap of 310 ms in each stream of 64 tokens: gap p99 as reported, ms")
    with server_first(TIMED + STALL) as server:
        for name, run in tools.all.items():
            found = run(server.url, 8, 80)
            print(f"  {name:10} {found.gap[1]:8.2f}" if found.gap else f"  {name:10} {'-':>8}", flush=True)


def faults(tools: Tools) -> None:
    """Print how many broken streams each tool counts as good."""
    print("broken streams counted as successes / counted in all")
    print(f"{'':48} " + " ".join(f"{name:>10}" for name in tools.all))
    for end, title in FAULTS.items():
        cells = []
        with server_first(f"ttft=5&gap=2&tokens=16&end={end}") as server:
            for run in tools.all.values():
                found = run(server.url, 2, 10)
                cells.append(f"{found.good}/{found.good + found.bad}")
        print(f"{title:48} " + " ".join(f"{text:>10}" for text in cells), flush=True)


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description="How do other load generators measure the same server?")
    for name in ("aiperf", "guidellm", "vllm"):
        parser.add_argument(f"--{name}", type=Path, metavar="VENV", help=f"virtual environment for {name}")
    parser.add_argument("--vllm-source", type=Path, metavar="FOLDER", help="folder with vllm/benchmarks in it")
    parser.add_argument("--streams", default="1,16,64,256", help="concurrencies")
    parser.add_argument("--rounds", type=int, default=15, help="requests for each stream")
    parser.add_argument("--only", default="accuracy,stalls,faults", help="parts to run")
    parser.add_argument("--prefix", default="", help="words before each tool's command")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the tools' logs and reports there")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}")
    with tempfile.TemporaryDirectory() as scratch:
        folder = (options.keep or Path(scratch)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("aiperf", "guidellm", "vllm", "vllm_source"):
            if getattr(options, name):
                setattr(options, name, getattr(options, name).absolute())
        tools = Tools(options, folder)
        for part in options.only.split(","):
            if part == "accuracy":
                accuracy(tools, [int(word) for word in options.streams.split(",")], options.rounds)
            elif part == "stalls":
                stalls(tools)
            elif part == "faults":
                faults(tools)


if __name__ == "__main__":
    main()

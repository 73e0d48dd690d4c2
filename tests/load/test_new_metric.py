"""The metric of docs/how-to/contribute-code.md is measured, written, limited and shown."""

from __future__ import annotations

import csv
import json
import re
import time
import tomllib
from io import StringIO
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rejoinder.load.decide.regression import figures, judge, parse_change
from rejoinder.load.measure.load_line import load_line, result_samples
from rejoinder.load.measure.measure import MEASURES
from rejoinder.load.measure.recording import Receives, Recording
from rejoinder.load.measure.self_check import SelfCheck
from rejoinder.load.measure.stats import RunStats
from rejoinder.load.measure.worker import AnalysisWorker
from rejoinder.load.settings import LoadSettings
from rejoinder.model.exchange import Request
from rejoinder.model.footer import Footer
from rejoinder.model.header import RunTarget, new_header
from rejoinder.model.metrics import TIMES, Metric
from rejoinder.model.runfile import Run, RunWriter, read_run
from rejoinder.model.samples import HistogramSample, LoadSample, RequestSample
from rejoinder.reports import (
    diff_runs,
    render_comparison,
    render_csv,
    render_diff_text,
    render_html,
    render_markdown,
    summarize,
)
from rejoinder.sandbox import Sandbox

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "contribute-code.md").read_text("utf-8")
ADDED = {
    file: re.sub(r"(?m)^\+", "", "".join(re.findall(r"(?m)^\+.*\n", lines)))
    for file, lines in re.findall(r"(?ms)^--- a/(\S+)\n(.*?)(?=^---|^```)", PAGE.partition("## Add a load metric")[2])
}
"""What the page adds, by file."""
SLOS = ("ttfi:p50<50ms", "ttfi<50ms", "goodput>=90%")
LIMIT = "ttfi:p50<+10%"
REQUESTS = 20


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Return a run of 20 streams that were measured with the new metric; events come every 10 ms."""
    ((name, row),) = tomllib.loads(ADDED["src/rejoinder/model/metrics.toml"])["times"].items()
    row = {"name": name, "unit": "s", "higher_is_better": False, **row}
    monkeypatch.setitem(TIMES, name, msgspec.convert(row, Metric))
    for name, take in eval(f"{{{ADDED['load/measure/measure.py']}}}").items():
        monkeypatch.setitem(MEASURES, name, take)
    settings = LoadSettings(url="http://127.0.0.1", rate=float(REQUESTS), duration=1.0, slos=SLOS)
    worker = AnalysisWorker(path="/v1/responses", headers=(), dialect="northstar", slos=settings.slos)
    sandbox = Sandbox()
    for number in range(REQUESTS):
        worker.take(streamed(sandbox, number))
    stats = RunStats.from_json(json.loads(worker.report()))
    with RunWriter(tmp_path / "run.ndjson") as writer:
        writer.header(new_header(RunTarget(url=settings.url, model=None, dialect="northstar")))
        for request in stats.requests:
            writer.sample(request)
        for sample in result_samples(stats, {}):
            writer.sample(sample)
        writer.sample(load_line(stats, [SelfCheck(started=REQUESTS)], settings, issued=1.0))
        writer.footer(Footer(ended_at=1.0, exit_code=0))
    found = read_run(tmp_path)
    assert found.damage == []
    return found


def streamed(sandbox: Sandbox, number: int) -> Recording:
    """Return a stream whose events arrived every 10 ms."""
    body = b'{"model":"parrot","input":"hello","stream":true}'
    exchange = sandbox.exchange(Request("POST", "/v1/responses", (("Content-Type", "application/json"),), body))
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n" % len(exchange.body)
    begun = number * 50_000_000 + 1
    receives = [(begun + 1_000_000, head)]
    for place, event in enumerate(exchange.body.split(b"\n\n")[:-1], 1):
        receives.append((begun + 10_000_000 * place, event + b"\n\n"))
    return Recording(
        number, begun, begun, begun, receives[-1][0], time.time(), "complete", "", body, Receives(receives)
    )


def totals(run: Run) -> LoadSample:
    assert run.load is not None
    return run.load


def test_it_is_in_every_line_of_the_run_file(run: Run) -> None:
    # The item is announced by the third event.
    assert {request.times["ttfi"] for request in run.samples_of(RequestSample)} == {0.03}
    found = {sample.metric: sample.values for sample in run.samples_of(HistogramSample)}
    assert (found["ttfi"].n, found["ttfi_ok"].n, found["ttfi_ok"].max) == (REQUESTS, REQUESTS, 30_000)
    (line,) = [line for line in totals(run).percentiles if line.metric == "ttfi"]
    assert line.p50.value == pytest.approx(0.03, rel=1e-3)
    raw = json.loads(totals_line(run))
    assert raw["slos"][0]["metric"] == "ttfi"


def totals_line(run: Run) -> str:
    return json.dumps(totals(run).to_json())


def test_it_can_be_an_objective_a_limit_for_each_request_and_a_limit_of_change(run: Run) -> None:
    load = totals(run)
    assert [(slo.text, slo.met) for slo in load.slos] == [(SLOS[0], True), (SLOS[1], None), (SLOS[2], True)]
    assert load.limits == ["ttfi<50ms"]
    histograms = {sample.metric: sample.values for sample in run.samples_of(HistogramSample)}
    change = parse_change(LIMIT)
    repeat = figures(histograms, load.rates, load.outcomes, load.good, [change])
    assert repeat["ttfi:p50"] == pytest.approx(0.03, rel=1e-3)
    assert judge(change, [repeat] * 5, [repeat] * 5).verdict == "kept"


def test_every_report_shows_it(run: Run, tmp_path: Path) -> None:
    rows = list(csv.DictReader(StringIO(render_csv(run))))
    assert [row["ttfi"] for row in rows] == ["0.03"] * REQUESTS
    assert re.search(r"Item +p50 30.0 ms +n=20\n", summarize(run).plain())
    page = render_html(run)
    assert "<dt>Item p50</dt><dd>30.0 ms</dd>" in page
    assert "Time to first item" in page
    assert "from the start of the request to the first response.output_item.added event" in page
    assert "| Item | 20 | 30.0 ms |" in render_markdown(run)
    assert "Item p50" in render_comparison([run, run])
    figures: list[Any] = [figure.name for figure in diff_runs(run, run).figures]
    assert "Item p50" in figures
    assert render_diff_text(diff_runs(run, run))

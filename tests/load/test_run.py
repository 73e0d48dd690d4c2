"""Whole runs: Locust in a subprocess against servers whose own counts are known."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from tests.hostile.endpoint import Connection, HostileEndpoint, HttpRequest, answer

from rejoinder.cli.load import exit_code
from rejoinder.errors import RejoinderError, UsageError
from rejoinder.load.run import LoadProgress, LoadResult, _Thinner, run_load
from rejoinder.load.schedule.arrivals import parse_phases, schedule
from rejoinder.load.settings import LoadSettings
from rejoinder.load.workload.canaries import slot_canary
from rejoinder.model.footer import Footer
from rejoinder.model.header import RunTarget, new_header
from rejoinder.model.histogram import Histogram
from rejoinder.model.outcomes import RequestOutcome
from rejoinder.model.runfile import Run, RunWriter, read_run
from rejoinder.model.samples import HistogramSample, LoadSample, RequestSample, SecondSample, StreamSample
from rejoinder.reports.model import read_report
from rejoinder.reports.parts.load import PART as LOAD
from rejoinder.reports.parts.load import LoadSummary
from rejoinder.sandbox import Sandbox
from rejoinder.sandbox import running as serving

pytestmark = pytest.mark.slow(3)

ROOT = Path(__file__).parents[2]
Execute = Callable[..., tuple[LoadResult, Run]]


@pytest.fixture
def execute(tmp_path: Path) -> Execute:
    """Return a function that runs a load test and returns its result and the run file read back."""
    path = tmp_path / "run.ndjson"

    def run(url: str, *, during: Any = None, complete: bool = True, **values: Any) -> tuple[LoadResult, Run]:
        with RunWriter(path) as writer:
            writer.header(new_header(RunTarget(url=url, model="m", dialect="northstar")))
            result = run_load(LoadSettings(url=url, **values), writer, **(during or {}))
            writer.footer(Footer(ended_at=0.0, exit_code=0))
        found = read_run(path)
        assert found.damage == []
        check_run(result, found, complete)
        return result, found

    return run


def load_of(run: Run) -> LoadSummary:
    """Return what reports say of the load of a run."""
    return read_report(run)[LOAD]


def check_run(result: LoadResult, run: Run, complete: bool) -> None:
    """Check what holds for every run: the ledger adds up, and the sample lines agree with each other."""
    (load,) = run.samples_of(LoadSample)
    assert load.started == result.started == sum(load.outcomes.values())
    assert load.outcomes == result.outcomes
    assert load.self_check.lost == 0 or not complete
    seconds = run.samples_of(SecondSample)
    assert sum(second.started for second in seconds) == sum(second.finished for second in seconds)
    requests = run.samples_of(RequestSample)
    assert len(requests) == sum(second.started for second in seconds)
    histograms = {line.metric: line.values for line in run.samples_of(HistogramSample)}
    assert histograms == result.histograms
    for request in requests:
        assert request.outcome in load.outcomes
    streams = run.samples_of(StreamSample)
    assert len(streams) == min(10, sum(request.outcome != "cancelled" for request in requests))
    assert [stream.duration for stream in streams] == sorted((s.duration for s in streams), reverse=True)
    assert len(run.exchanges) <= 20
    assert all(exchange.case == "load" for exchange in run.exchanges)


def test_a_closed_loop_counts_what_the_server_counted(execute: Execute, timed_server: Any) -> None:
    seen: list[LoadProgress] = []
    result, run = execute(
        timed_server.url, model="ttft=30&gap=5&tokens=16", concurrency=4, duration=2, during={"progress": seen.append}
    )
    truth = timed_server.truth()
    assert result.outcomes == {"ok": truth["requests"]}
    assert result.answered == result.ok == result.started
    assert result.load.judged == result.started
    assert result.histograms["itl"].n == truth["tokens"] - truth["requests"] - coalesced(run)
    assert result.load.output_tokens == 16 * result.started
    assert result.load.self_check.max_in_flight == 4
    assert run.exchanges == []
    assert sum(sum(second.gaps.values()) for second in run.samples_of(SecondSample)) == result.histograms["itl"].n
    for stream in run.samples_of(StreamSample):
        assert sum(count for _, _, kind, count, *_ in stream.events if kind == "response.output_text.delta") == 16
        assert stream.events[-1][:3] == (stream.times["e2e"], stream.times["e2e"], "response.completed")
    assert seen[-1].finished == result.started
    assert seen[-1].in_flight == 0
    assert not result.interrupted


def coalesced(run: Run) -> int:
    return sum((request.deltas or 0) - (request.chunks or 0) for request in run.samples_of(RequestSample))


@pytest.mark.parametrize("processes", [1, 2])
def test_an_open_loop_starts_every_slot_of_its_schedule(execute: Execute, timed_server: Any, processes: int) -> None:
    result, run = execute(timed_server.url, model="ttft=20&gap=5&tokens=8", rate=40, duration=2, processes=processes)
    assert result.started == timed_server.truth()["requests"] == 80
    assert result.outcomes == {"ok": 80}
    requests = run.samples_of(RequestSample)
    assert sorted(round(request.intended, 4) for request in requests) == [slot / 40 for slot in range(80)]
    assert {request.worker for request in requests} == set(range(processes))
    assert result.load.self_check.processes == processes


TALKS = """
[[requests]]
turns = 3
history = "replay"
input_tokens = 5
"""


@pytest.mark.parametrize(
    ("processes", "pace"),
    [(1, {"concurrency": 3}), (2, {"concurrency": 4}), (2, {"rate": 50.0}), (1, {"phases": "40@200ms,20@1min"})],
)
def test_a_number_of_requests_is_begun_and_no_more(
    execute: Execute, timed_server: Any, tmp_path: Path, processes: int, pace: dict[str, Any]
) -> None:
    profile = tmp_path / "talks.toml"
    profile.write_text(TALKS, "utf-8")
    values = {"model": "ttft=5&gap=2&tokens=8", "processes": processes, "duration": 60, **pace}
    if "rate" not in pace:  # each turn counts, so the number may fall into a conversation
        values["profile"] = str(profile)
    result, _ = execute(timed_server.url, requests=11, **values)
    assert result.outcomes == {"ok": 11}
    assert timed_server.truth()["requests"] == 11
    assert result.load.issued < 60
    if "rate" in pace:
        assert result.load.issued == 11 / 50


def test_a_run_ends_with_its_time_when_that_comes_before_its_requests(execute: Execute, timed_server: Any) -> None:
    result, _ = execute(timed_server.url, model="ttft=300&tokens=1", concurrency=2, duration=1, requests=1000)
    assert 0 < result.started == timed_server.truth()["requests"] < 1000


def test_fewer_requests_than_processes_are_enough(execute: Execute, timed_server: Any) -> None:
    result, _ = execute(timed_server.url, model="tokens=1", concurrency=2, duration=60, requests=1, processes=2)
    assert result.outcomes == {"ok": 1}


@pytest.mark.parametrize("processes", [1, 2])
def test_phases_and_traces_are_kept(execute: Execute, timed_server: Any, tmp_path: Path, processes: int) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("Timestamp,Request tokens,Response tokens\n0,9,30\n2,9,30\n3,9,30\n", "utf-8")
    model = "ttft=20&gap=5&tokens=8"
    values: dict[str, Any] = {"trace": str(trace), "speed": 4.0} if processes == 1 else {"phases": "4@500ms,4..12@1s"}
    result, run = execute(timed_server.url, model=model, duration=1.5, processes=processes, **values)
    expected = [0, 0.5, 0.75] if processes == 1 else list(schedule("constant", parse_phases("4@500ms,4..12@1s"), None))
    assert result.started == result.ok == timed_server.truth()["requests"] == len(expected)
    starts = sorted(request.intended for request in run.samples_of(RequestSample))
    assert starts == pytest.approx(expected, abs=1e-5)


PROFILE = """
[[requests]]
name = "talk"
turns = 3
history = "server"
input_tokens = 30
output_tokens = 16

[[requests]]
name = "repeat"
turns = 2
history = "replay"
input_tokens = 30
output_tokens = 16

[[requests]]
name = "later"
background = { poll = 0.05 }
output_tokens = 16

[[requests]]
name = "leave"
cancel = { after = 0.05 }
output_tokens = 400
"""


def test_a_profile_is_played_in_all_its_kinds(execute: Execute, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(PROFILE, "utf-8")
    sandbox = Sandbox(token_delay=0.02, min_tokens=16)
    with serving(sandbox) as url:
        result, run = execute(url, model="parrot", concurrency=4, duration=3, profile=str(path), processes=2)
    kinds = {kind.name: kind.outcomes for kind in result.load.scenarios}
    assert set(kinds) == {"talk", "repeat", "later", "leave"}
    assert set(kinds["leave"]) <= {"cancelled", "ok"}
    assert kinds["leave"][RequestOutcome.CANCELLED] > 0
    assert all(set(kinds[name]) == {"ok"} for name in ("talk", "repeat", "later")), kinds
    turns = [(request.scenario, request.turn) for request in run.samples_of(RequestSample)]
    assert {("talk", 0), ("talk", 1), ("talk", 2), ("repeat", 1)} <= set(turns)
    assert max(turn for _, turn in turns) == 2
    later = [request for request in run.samples_of(RequestSample) if request.scenario == "later"]
    assert all(request.times["e2e"] > 0.2 and "ttfb" not in request.times for request in later)
    assert result.load.cross_talk == 0


def test_mixed_up_answers_are_found(execute: Execute, play: Callable[..., int]) -> None:
    wrong = slot_canary(0, 1000)
    events = [{"type": "response.output_text.delta", "delta": f"You said {wrong}."}]
    events.append({"type": "response.completed", "response": {"id": "r", "status": "completed"}})  # type: ignore[dict-item]
    body = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n" % len(body)
    url = f"http://127.0.0.1:{play(['request', head + body])}"
    result, run = execute(url, rate=1, duration=0.5)
    assert result.outcomes == {"nonconforming": 1}
    assert result.load.cross_talk == 1
    assert wrong in run.samples_of(RequestSample)[0].detail
    assert any("mixes up responses" in warning for warning in result.warnings)


def test_objectives_are_judged_over_what_was_started(execute: Execute, timed_server: Any) -> None:
    slos = ("ttft:p50<2s", "ttft<2s", "goodput>=90%", "e2e:p99<1ms", "requests>0.1/s")
    result, run = execute(timed_server.url, model="ttft=20&gap=5&tokens=8", rate=20, duration=2, slos=slos, processes=2)
    assert result.missed == ["goodput>=90%", "e2e:p99<1ms"]
    (load,) = run.samples_of(LoadSample)
    found = {slo.text: slo for slo in load.slos}
    assert list(found) == list(slos)
    assert found["goodput>=90%"].n == 40
    # No request ends within 1 ms, which is a limit for each of them too.
    assert found["goodput>=90%"].value == load.good == 0
    assert found["e2e:p99<1ms"].needs == 662
    assert load.limits == ["e2e<1ms", "ttft<2000ms"]


def test_a_closed_loop_over_two_processes_loses_nothing(execute: Execute, timed_server: Any) -> None:
    result, _ = execute(timed_server.url, model="ttft=400&gap=5&tokens=4", concurrency=3, duration=2, processes=2)
    assert result.started == result.ok == timed_server.truth()["requests"]
    assert result.load.self_check.max_in_flight == 3


@pytest.mark.parametrize(
    ("model", "outcome", "transport"),
    [
        ("end=cut", "transport", "cut"),
        ("end=reset", "transport", "cut"),
        ("end=clean&gap=20", "truncated", "complete"),
        ("end=failed&gap=20", "failed", "complete"),
        ("end=error&gap=20", "failed", "complete"),
        ("status=429", "http_429", "complete"),
        ("status=500", "http_5xx", "complete"),
    ],
)
def test_every_fault_has_its_outcome_and_evidence(
    execute: Execute, timed_server: Any, model: str, outcome: str, transport: str
) -> None:
    result, run = execute(timed_server.url, model=model, concurrency=2, duration=0.5)
    assert result.outcomes == {outcome: timed_server.truth()["requests"]}
    assert result.ok == 0
    assert 0 < len(run.exchanges) <= 3
    assert {exchange.outcome.value for exchange in run.exchanges} == {transport}
    # What was cut off has no end; what was refused or failed is no latency.
    whole = result.histograms.get("e2e", Histogram())
    assert whole.n == whole.unended == (result.started if RequestOutcome(outcome).row.unended else 0)


@pytest.mark.parametrize("processes", [1, 2])
def test_what_hangs_at_the_end_is_censored(execute: Execute, timed_server: Any, processes: int) -> None:
    slos = ("e2e:p50<60s", "ttft:p99<60s", "error<1%", "goodput>=50%")
    settings = {"concurrency": 4, "duration": 0.5, "drain": 0.2, "slos": slos, "processes": processes}
    result, run = execute(timed_server.url, model="end=hang", **settings)
    assert result.outcomes == {"censored": 4}
    assert timed_server.truth()["requests"] == 4
    assert [slo.met for slo in result.load.slos] == [False, True, False, False]
    # Each request had its first tokens.
    ttft, whole = result.histograms["ttft_ok"], result.histograms["e2e_ok"]
    assert (ttft.n, ttft.unended, whole.n, whole.unended) == (4, 0, 4, 4)
    assert whole.percentile(50) == (pytest.approx(whole.min / 1e6, abs=0.7), True, None)
    # What they brought counts, estimated from the text.
    assert result.load.output_tokens > 0
    assert exit_code(result) == 1
    assert load_of(run).succeeded_text.startswith("0 of 4 requests succeeded; 4 never ended (longer than ")


def test_silence_is_a_timeout(execute: Execute, timed_server: Any) -> None:
    result, run = execute(timed_server.url, model="end=hang", rate=8, duration=1, idle_timeout=0.2, drain=20.0)
    assert result.outcomes == {"timeout": 8}
    assert result.histograms["e2e"].unended == 8
    assert result.histograms["e2e"].min >= 200_000
    assert "8 never ended" in load_of(run).failed_text


@pytest.mark.parametrize("processes", [1, 2])
def test_a_stream_whose_body_never_ends_is_complete_and_breaks_a_rule(
    execute: Execute, timed_server: Any, processes: int
) -> None:
    model = "ttft=20&gap=5&tokens=8&end=open"
    settings = {"rate": 8, "duration": 1, "idle_timeout": 0.4, "drain": 20.0, "processes": processes}
    result, _ = execute(timed_server.url, model=model, **settings)
    assert result.outcomes == {"nonconforming": 8}
    assert result.load.rules == {"SSE-10": 8}
    # Its end is its terminal event: 20 ms and seven gaps of 5 ms, long before the time-out.
    whole = result.histograms["e2e"]
    assert (whole.n, whole.unended) == (8, 0)
    assert 0.05 < whole.min / 1e6 < 0.39
    assert result.load.output_tokens == 8 * 8
    assert exit_code(result) == 1


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [("end=cut", "transport"), ("drop=4", "transport"), ("end=hang&framing=close", "timeout")],
)
@pytest.mark.parametrize("processes", [1, 2])
def test_a_lost_answer_is_longer_than_it_was_waited_for(
    execute: Execute, timed_server: Any, answer: str, outcome: str, processes: int
) -> None:
    slos = ("e2e:max<60s", "ttft:max<60s")
    settings = {"rate": 16, "duration": 1, "idle_timeout": 0.3, "drain": 20.0, "slos": slos, "processes": processes}
    result, _ = execute(timed_server.url, model=f"ttft=20&gap=5&tokens=8&{answer}", **settings)
    lost = result.outcomes[RequestOutcome(outcome)]
    whole, first = result.histograms["e2e_ok"], result.histograms["ttft_ok"]
    assert (whole.n, whole.unended) == (16, lost)
    # A connection that is lost unanswered has no first token either.
    assert (first.n, first.unended) == (16, lost if answer == "drop=4" else 0)
    assert [slo.met for slo in result.load.slos] == [False, answer != "drop=4"]
    assert result.load.waited.keys() == {outcome}
    assert exit_code(result) == 1


def test_a_stall_is_seen_whole(execute: Execute, timed_server: Any) -> None:
    result, _ = execute(timed_server.url, model="ttft=5&gap=5&tokens=8&stall=300", rate=4, duration=1)
    stall = result.histograms["max_gap"].min / 1e6
    # It can only be seen later than it was, never shorter, by more than the server's own lateness.
    assert stall > 0.29


def test_a_stop_from_outside_ends_the_run_in_order(execute: Execute, timed_server: Any) -> None:
    stop = threading.Event()

    def progress(now: LoadProgress) -> None:
        if now.finished:
            stop.set()

    begun = time.monotonic()
    result, _ = execute(
        timed_server.url,
        model="ttft=20&gap=5&tokens=8",
        concurrency=2,
        duration=600,
        during={"progress": progress, "stop": stop},
    )
    assert result.interrupted
    assert result.load.interrupted is True
    assert result.outcomes == {"ok": timed_server.truth()["requests"]}
    assert time.monotonic() - begun < 300


def test_a_stop_before_the_start_sends_nothing_and_accuses_nobody(execute: Execute, timed_server: Any) -> None:
    stop = threading.Event()
    stop.set()
    result, _ = execute(timed_server.url, model="gap=5", concurrency=2, duration=60, during={"stop": stop})
    assert (result.interrupted, exit_code(result)) == (True, 130)
    assert (result.started, timed_server.truth()["requests"]) == (0, 0)
    assert (result.load.self_check.verdict, result.load.self_check.reasons) == ("SUSPECT", ["no request was started"])
    assert result.warnings == []


def test_ctrl_c_ends_the_run_in_order(execute: Execute, timed_server: Any) -> None:
    def progress(now: LoadProgress) -> None:
        if now.finished and not sent:
            sent.append(True)
            os.kill(os.getpid(), signal.SIGINT)

    sent: list[bool] = []
    before = signal.getsignal(signal.SIGINT)
    result, _ = execute(timed_server.url, model="gap=5", concurrency=2, duration=60, during={"progress": progress})
    assert result.interrupted
    assert result.ok == timed_server.truth()["requests"]
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.slow(8)
@pytest.mark.parametrize("processes", [1, 2])
def test_ctrl_c_while_requests_in_flight_are_awaited_ends_the_run_in_order(
    execute: Execute, timed_server: Any, processes: int
) -> None:
    waits: list[float] = []

    def progress(now: LoadProgress) -> None:
        if now.waits is not None and now.in_flight:
            if not waits:
                os.kill(os.getpid(), signal.SIGINT)
            waits.append(now.waits)

    settings = {"concurrency": 4, "duration": 0.3, "slos": ("error<1%", "goodput>=0%"), "processes": processes}
    result, run = execute(timed_server.url, model="end=hang", during={"progress": progress}, **settings)
    assert (result.interrupted, exit_code(result)) == (True, 130)
    # They had 60 s, as --timeout says, and 5 s from the interrupt on.
    assert 5 < waits[0] <= 60
    assert 0 < waits[-1] <= 5
    assert result.outcomes == {"censored": 4}
    assert result.histograms["e2e"].unended == 4
    # That is nothing that the endpoint did.
    assert load_of(run).bad == 0
    assert load_of(run).succeeded_text == "0 of 4 requests succeeded; 4 were cut off when the run ended early"


@pytest.mark.parametrize("pace", [{"rate": 40.0}, {"concurrency": 4, "requests": 40}])
@pytest.mark.parametrize(
    ("then", "outcome", "detail"),
    [
        ("status=429", "http_429", "HTTP 429: planned refusal"),
        ("status=429&retry=30", "http_429", "HTTP 429: planned refusal"),
        ("end=reset", "transport", "the connection broke: Connection reset by peer"),
        ("end=hang", "timeout", "received nothing for 0.5 s"),
    ],
)
def test_a_server_that_turns_bad_half_way_is_told_as_it_was(
    execute: Execute, timed_server: Any, pace: dict[str, Any], then: str, outcome: str, detail: str
) -> None:
    model = f"ttft=5&gap=1&tokens=8&after=25&then={quote(then)}"
    values = {"duration": 60 if "requests" in pace else 1, **pace}
    result, run = execute(timed_server.url, model=model, idle_timeout=0.5, drain=10.0, **values)
    assert result.outcomes == {"ok": 25, outcome: 15}
    assert timed_server.truth()["requests"] == 40
    assert {request.detail for request in run.samples_of(RequestSample) if request.outcome == outcome} == {detail}
    # The first tokens of those that were cut off came as well.
    unended = 15 if RequestOutcome(outcome).row.unended else 0
    assert (result.histograms["ttft"].n, result.histograms["ttft"].unended) == (25 + unended, 0)
    assert (result.histograms["e2e"].n, result.histograms["e2e"].unended) == (25 + unended, unended)
    assert len(run.exchanges) == 3


def test_a_server_that_dies_half_way_is_counted_not_fatal(execute: Execute, timed_server: Any) -> None:
    def progress(now: LoadProgress) -> None:
        if now.finished:
            timed_server.kill()

    result, run = execute(
        timed_server.url, model="ttft=20&gap=5&tokens=8", rate=20, duration=2.5, during={"progress": progress}
    )
    assert result.started == 50
    assert result.ok > 0
    assert result.outcomes[RequestOutcome.TRANSPORT] > 0
    assert any("no connection" in request.detail for request in run.samples_of(RequestSample))


def pids(server: Any, words: bytes) -> list[int]:
    """Return the ids of a run's processes whose command line holds some words, in order of their start."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            mine = str(server.port).encode() in (path / "environ").read_bytes()
            if mine and words in (path / "cmdline").read_bytes():
                found.append(int(path.name))
        except OSError:
            continue
    return sorted(found)


@pytest.mark.parametrize("victim", ["worker", "all"])
def test_a_generator_that_dies_leaves_what_it_reported(execute: Execute, timed_server: Any, victim: str) -> None:
    def progress(now: LoadProgress) -> None:
        if now.finished > 20 and not killed:
            killed.extend(pids(timed_server, b"locustfile.py"))
            for process in killed[-1:] if victim == "worker" else killed:
                os.kill(process, signal.SIGKILL)

    killed: list[int] = []
    result, _ = execute(
        timed_server.url,
        model="ttft=20&gap=5&tokens=8",
        rate=20,
        duration=600,
        processes=2,
        during={"progress": progress},
        complete=False,
    )
    assert len(killed) == 3
    assert 0 < result.ok <= result.started == timed_server.truth()["requests"]
    assert result.incomplete
    assert result.verdict != "VALID"
    assert any("died" in reason for reason in result.load.self_check.reasons)


@pytest.mark.parametrize(("processes", "poll"), [(1, 0.1), (1, 1.5), (2, 1.5)])
def test_an_analysis_worker_that_dies_ends_the_run_and_loses_nothing(
    execute: Execute, timed_server: Any, monkeypatch: pytest.MonkeyPatch, processes: int, poll: float
) -> None:
    # With a long time between two looks, the load generator itself has ended the run before the command sees why.
    monkeypatch.setattr("rejoinder.load.run._POLL", poll)

    def kill() -> None:
        for process in killed:
            os.kill(process, signal.SIGKILL)

    def progress(now: LoadProgress) -> None:
        if now.finished and not killed:
            killed.extend(pids(timed_server, b"rejoinder.load.measure.worker")[:1])
            timer = threading.Timer(0.1 if poll > 1 else 0, kill)
            timers.append(timer)
            timer.start()

    timers: list[threading.Timer] = []
    killed: list[int] = []
    result, _ = execute(
        timed_server.url,
        model="ttft=20&gap=5&tokens=8",
        rate=20,
        duration=600,
        processes=processes,
        during={"progress": progress},
    )
    timers[0].join()
    assert len(killed) == 1
    assert result.outcomes == {"ok": timed_server.truth()["requests"]}
    assert result.incomplete.endswith("died.")
    assert any("died" in reason for reason in result.load.self_check.reasons)


MODES: dict[str, dict[str, Any]] = {
    "closed": {"concurrency": 4, "duration": 1},
    "open": {"rate": 40.0, "duration": 1},
    "requests": {"concurrency": 4, "requests": 40, "duration": 60},
    "phases": {"phases": "20@500ms,40@500ms", "duration": 1},
    "sessions": {"concurrency": 4, "requests": 40, "duration": 60},
    "trace": {"duration": 2},
}


def trace_of(folder: Path, requests: int) -> Path:
    """Write a trace with a request every 25 ms."""
    path = folder / "requests.csv"
    rows = "".join(f"{number / 40},9,30\n" for number in range(requests))
    path.write_text(f"Timestamp,Request tokens,Response tokens\n{rows}", "utf-8")
    return path


@pytest.mark.parametrize(
    ("mode", "processes", "answer"),
    [
        ("closed", 1, "drop=5"),
        ("open", 2, "drop=5"),
        ("requests", 2, "leave=1"),
        ("phases", 1, "leave=1"),
        ("sessions", 2, "drop=5"),
        ("sessions", 1, "end=reset"),
        ("open", 1, "end=hang"),
        ("trace", 1, "drop=5"),
        ("trace", 2, "end=reset"),
    ],
)
def test_the_accounts_are_those_of_a_server_that_resets_leaves_and_stalls(
    execute: Execute, timed_server: Any, tmp_path: Path, mode: str, processes: int, answer: str
) -> None:
    values = dict(MODES[mode])
    if mode == "sessions":
        profile = tmp_path / "talks.toml"
        profile.write_text(TALKS, "utf-8")
        values["profile"] = str(profile)
    if mode == "trace":
        values["trace"] = str(trace_of(tmp_path, 40))
    result, _ = execute(
        timed_server.url,
        model=f"ttft=5&gap=1&tokens=4&{answer}",
        processes=processes,
        idle_timeout=0.5,
        drain=10.0,
        **values,
    )
    served = timed_server.truth()["requests"]
    if answer == "leave=1":  # what is sent to a connection that the server has closed never reaches it
        assert result.ok == served <= result.started
        return
    assert result.started == served > 0
    if answer == "drop=5":
        assert result.outcomes == {"ok": result.started - result.started // 5, "transport": result.started // 5}


@pytest.mark.slow(4)
@pytest.mark.parametrize(("mode", "processes"), [("closed", 1), ("closed", 2), ("open", 2), ("trace", 1)])
def test_a_server_that_dies_has_answered_what_is_counted_as_answered(
    execute: Execute, tmp_path: Path, mode: str, processes: int
) -> None:
    answered = 15
    servers: list[HostileEndpoint] = []

    def dies(connection: Connection, request: HttpRequest) -> None:
        if request.number < answered:
            answer(connection, request)
        else:
            servers[0].listener.close()
            connection.reset()

    values = {**MODES[mode], **({"trace": str(trace_of(tmp_path, 40))} if mode == "trace" else {})}
    with HostileEndpoint(dies) as endpoint:
        servers.append(endpoint)
        result, run = execute(endpoint.url, processes=processes, **values)
        received = len(endpoint.requests)
    assert result.started == sum(result.outcomes.values()) >= received > answered
    assert result.outcomes == {"ok": answered, "transport": result.started - answered}
    details = [request.detail for request in run.samples_of(RequestSample) if request.outcome == "transport"]
    refused = sum("no connection" in detail for detail in details)
    assert len(details) == result.started - answered
    assert len(details) - refused >= received - answered


def test_a_dead_address_does_not_spin(execute: Execute) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    result, _ = execute(f"http://127.0.0.1:{port}", concurrency=2, duration=1)
    assert result.answered == 0
    assert set(result.outcomes) == {"transport"}
    assert result.started < 40


def test_the_key_reaches_the_server_and_no_file(execute: Execute, play: Callable[..., int], tmp_path: Path) -> None:
    key = "sk-super-secret-key"
    reply = b'{"error":{"message":"no such key: sk-super-secret-key"}}'
    head = b"HTTP/1.1 401 No\r\nContent-Length: %d\r\nContent-Type: application/json\r\n\r\n" % len(reply)
    result, run = execute(
        f"http://127.0.0.1:{play(['request', head + reply])}", rate=1, duration=0.5, during={"key": key}
    )
    assert result.outcomes == {"http_4xx": 1}
    assert "no such key" in run.exchanges[0].body.decode()
    assert key not in (tmp_path / "run.ndjson").read_text()


def test_bad_settings_start_nothing(tmp_path: Path) -> None:
    with RunWriter(tmp_path / "run.ndjson") as writer:
        with pytest.raises(UsageError, match="concurrency is 0"):
            run_load(LoadSettings(url="http://127.0.0.1", concurrency=0), writer)
        with pytest.raises(UsageError, match="Cannot read the request bodies"):
            run_load(LoadSettings(url="http://127.0.0.1", rate=1, bodies=str(tmp_path / "none")), writer)
    assert (tmp_path / "run.ndjson").read_text() == ""


def test_a_generator_that_cannot_start_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, timed_server: Any
) -> None:
    (tmp_path / "locust.py").write_text("raise SystemExit('Locust is broken today.')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with RunWriter(tmp_path / "run.ndjson") as writer, pytest.raises(RejoinderError) as caught:
        run_load(LoadSettings(url=timed_server.url, rate=1), writer)
    assert "failed to start" in caught.value.message
    assert "Locust is broken today." in caught.value.message


def test_an_analyst_that_cannot_start_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, timed_server: Any
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nif any('measure.worker' in word for word in sys.orig_argv): raise SystemExit('no rules today')"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with RunWriter(tmp_path / "run.ndjson") as writer, pytest.raises(RejoinderError, match="did not start"):
        run_load(LoadSettings(url=timed_server.url, rate=1), writer)
    assert timed_server.truth()["requests"] == 0


def test_request_lines_thin_out() -> None:
    thinner = _Thinner(limit=100)
    kept = [thinner.weight for _ in range(10_000) if thinner.keep()]
    assert kept[:100] == [1] * 100
    assert len(kept) < 500
    assert sum(kept) == pytest.approx(10_000, rel=0.1)
    assert len(kept) + thinner.left_out == 10_000


def test_importing_the_parent_side_imports_no_locust() -> None:
    program = (
        "import sys, socket; plain = socket.socket\n"
        "import rejoinder.load, rejoinder.load.run, rejoinder.load.settings, rejoinder.load.measure.worker\n"
        "assert not {'locust', 'gevent'} & set(sys.modules), sys.modules.keys()\n"
        "assert socket.socket is plain"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_no_module_hides_another(tmp_path: Path) -> None:
    """Locust puts the folder of the locustfile on the path while it imports it."""
    names = {path.stem for path in (ROOT / "load").glob("*.py")} - {"__init__"}
    assert not names & set(sys.stdlib_module_names)
    program = f"import importlib.util as u; print([n for n in {sorted(names)!r} if u.find_spec(n)])"
    found = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert found.stdout.strip() == "[]"


def test_plain_locust_shows_the_same_run(tmp_path: Path, timed_server: Any) -> None:
    command = [sys.executable, "-m", "locust", "-f", str(ROOT / "load" / "locustfile.py"), "--headless"]
    command += ["--host", timed_server.url, "-u", "2", "-r", "2", "-t", "2s", "--only-summary", "--json-file", "stats"]
    environment = {**os.environ, "REJOINDER_LOAD_MODEL": "ttft=20&gap=5&tokens=8"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    count = timed_server.truth()["requests"]
    assert f"{count} requests started: ok {count}" in done.stderr
    assert "load generator " in done.stderr
    rows = {row["method"]: row["num_requests"] for row in json.loads((tmp_path / "stats.json").read_text())}
    assert rows["POST"] == rows["TTFT"] == count
    # A stream whose tokens all arrived in one receive has no time per token.
    assert 0 < rows["TPOT"] <= count


def test_separate_master_and_workers_lose_nothing(tmp_path: Path, timed_server: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
    base = [sys.executable, "-m", "locust", "-f", str(ROOT / "load" / "locustfile.py"), "--headless"]
    environment = {
        **os.environ,
        "REJOINDER_LOAD_MODEL": "ttft=300&gap=5&tokens=8",
        "REJOINDER_LOAD_RATE": "30",
        "REJOINDER_LOAD_DURATION": "3",
    }
    master = [*base, "--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", port, "--expect-workers", "2"]
    master += ["--host", timed_server.url, "-u", "2", "-r", "2", "--only-summary", "--json-file", "stats"]
    worker = [*base, "--worker", "--master-host", "127.0.0.1", "--master-port", port]
    with ExitStack() as stack:
        started = []
        for number, command in enumerate((master, worker, worker)):
            log = stack.enter_context((tmp_path / f"log{number}").open("w"))
            process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
            stack.callback(process.wait, 10)
            stack.callback(process.kill)
            started.append(process)
        codes = [process.wait(120) for process in started]
    told = (tmp_path / "log0").read_text()
    assert codes == [0, 0, 0], told
    assert timed_server.truth()["requests"] == 90
    assert "90 requests started: ok 90" in told
    rows = {row["method"]: row["num_requests"] for row in json.loads((tmp_path / "stats.json").read_text())}
    assert rows["POST"] == 90

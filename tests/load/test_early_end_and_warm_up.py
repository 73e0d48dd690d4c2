"""Runs that end early on a condition, and warm-ups that no figure counts, on a server that counts its requests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from rejoinder.errors import UsageError
from rejoinder.load.decide.search import SearchRun, sweep
from rejoinder.load.generator.request_source import RequestSource
from rejoinder.load.run import LoadProgress, run_load
from rejoinder.load.settings import LoadSettings
from rejoinder.model.outcomes import RequestOutcome
from rejoinder.model.samples import RequestSample, Sample

ROOT = Path(__file__).parents[2]
FAST = "ttft=20&gap=0&tokens=1"


class Memory:
    """A run file in memory."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []

    def sample(self, sample: Sample) -> None:
        self.samples.append(sample)

    def exchange(self, _: Any) -> None:
        pass


def settings(server: Any, model: str = FAST, **given: Any) -> LoadSettings:
    return LoadSettings(url=server.url, model=model, **given)


@pytest.mark.slow(8)
@pytest.mark.parametrize(("warm_up", "load"), [("30", {"concurrency": 3}), ("1s", {"rate": 20.0})])
def test_a_warm_up_is_counted_apart(warm_up: str, load: dict[str, Any], timed_server: Any) -> None:
    memory = Memory()
    result = run_load(settings(timed_server, duration=1.0, warm_up=warm_up, **load), memory)
    warmed = result.load.warm_up
    assert warmed is not None
    assert warmed.started == (30 if warm_up == "30" else 20)
    assert warmed.started + result.started == timed_server.truth()["requests"]
    requests = [sample for sample in memory.samples if isinstance(sample, RequestSample)]
    assert len(requests) == result.started
    assert all(0 <= request.t < 2 for request in requests)


@pytest.mark.slow(8)
def test_a_beginning_that_fails_is_left_out(timed_server: Any) -> None:
    """The first 20 requests fail, and the warm-up takes them all."""
    model = f"status=503&after=20&then={quote(FAST)}"
    result = run_load(settings(timed_server, model, rate=40.0, duration=1.0, warm_up="20"), Memory())
    assert result.load.warm_up is not None
    assert result.load.warm_up.outcomes == {RequestOutcome.HTTP_5XX: 20}
    assert set(result.outcomes) == {RequestOutcome.OK}


@pytest.mark.slow(8)
def test_an_interrupt_in_the_warm_up_ends_the_run(timed_server: Any) -> None:
    stop = threading.Event()

    def progress(now: LoadProgress) -> None:
        if now.warming_up and now.started:
            stop.set()

    given = settings(timed_server, "end=hang", concurrency=2, duration=60.0, warm_up="60s")
    result = run_load(given, Memory(), progress=progress, stop=stop)
    assert result.interrupted
    assert result.load.warm_up is not None
    assert result.load.warm_up.outcomes == {RequestOutcome.CENSORED: 2}
    assert (result.started, result.outcomes, result.warnings) == (0, {}, [])
    assert timed_server.truth()["requests"] == 2


@pytest.mark.slow(8)
def test_a_condition_ends_a_run_with_what_was_measured(timed_server: Any) -> None:
    model = f"{FAST}&after=60&then={quote('status=500')}"
    given = settings(timed_server, model, rate=40.0, duration=60.0, abort_on=("error>20%",))
    result = run_load(given, Memory())
    assert result.aborted.startswith("--abort-on error>20% ended the run: ")
    assert not result.interrupted
    assert not result.incomplete
    assert result.load.issued < 30
    assert result.outcomes[RequestOutcome.OK] == 60
    assert sum(result.outcomes.values()) == result.started == timed_server.truth()["requests"]


@pytest.mark.slow(8)
def test_an_slo_that_is_lost_ends_a_run(timed_server: Any) -> None:
    given = settings(
        timed_server, "status=500", rate=40.0, duration=60.0, slos=("error<=1%",), abort_on=("ttft:p99>5s", "slo")
    )
    result = run_load(given, Memory())
    assert result.aborted.startswith("The run cannot meet error<=1%: ")
    assert "24 may." in result.aborted
    assert result.started < 2400


@pytest.mark.slow(8)
def test_a_sweep_ends_with_the_step_that_a_condition_ended(timed_server: Any) -> None:
    given = settings(timed_server, "ttft=400&tokens=1&slots=4", duration=4.0, concurrency=1, abort_on=("e2e:p50>2s",))
    search = SearchRun(Memory(), lambda step, sink: run_load(step, sink))
    result = sweep(given, [32, 64, 128], search)
    assert [step.concurrency for step in search.steps] == [32]
    assert result.aborted
    assert search.steps[0].reason == result.aborted


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"warm_up": "0"}, "--warm-up is"),
        ({"warm_up": "25h"}, "expected a time from 0.1s to 24h"),
        ({"warm_up": "1 week"}, "is not a duration"),
        ({"abort_on": ("slo",)}, "needs --slo"),
        ({"abort_on": ("error",)}, "is not a condition"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_sent(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        LoadSettings(url="http://h", concurrency=1, **given).check()


def test_a_warm_up_sends_other_prompts_under_the_same_limits() -> None:
    given = LoadSettings(
        url="http://h", phases="5..50@1min", duration=60.0, warm_up="30s", slos=("error<1%",), idle_timeout=7.0
    )
    warm_up = given.for_warm_up()
    assert warm_up is not None
    assert (warm_up.rate, warm_up.phases, warm_up.duration, warm_up.idle_timeout) == (5.0, "", 30.0, 7.0)
    assert (warm_up.warm_up, warm_up.slos) == ("", ())
    assert warm_up.seed != given.seed


def locust(server: Any, folder: Path, *words: str, **variables: str) -> tuple[int, str, dict[str, int]]:
    """Run plain Locust without its web page; return exit code, log, and the number of requests by row of its table."""
    command = [sys.executable, "-m", "locust", "-f", str(ROOT / "load" / "locustfile.py"), "--headless"]
    command += ["--host", server.url, "--only-summary", "--json-file", "stats", *words]
    environment = {**os.environ, "REJOINDER_LOAD_MODEL": FAST, **variables}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=90)
    path = folder / "stats.json"
    rows = json.loads(path.read_text()) if path.exists() else []
    return done.returncode, done.stderr, {row["method"]: row["num_requests"] for row in rows}


@pytest.mark.slow(8)
@pytest.mark.parametrize(
    ("load", "words"),
    [
        ({"RATE": "40", "DURATION": "1", "WARM_UP": "20"}, ["-u", "1", "-r", "1"]),
        ({"REQUESTS": "30", "DURATION": "60", "WARM_UP": "20"}, ["-u", "4", "-r", "4", "--processes", "2"]),
    ],
    ids=["open loop", "closed loop, workers"],
)
def test_a_warm_up_in_plain_locust_is_counted_apart(
    load: dict[str, str], words: list[str], timed_server: Any, tmp_path: Path
) -> None:
    """The first 20 requests fail, and the warm-up takes them all, in the log and in Locust's own table."""
    model = f"status=503&after=20&then={quote(FAST)}"
    given = {f"REJOINDER_LOAD_{name}": value for name, value in load.items()}
    code, log, rows = locust(timed_server, tmp_path, *words, **given, REJOINDER_LOAD_MODEL=model)
    measured = timed_server.truth()["requests"] - 20
    assert code == 0, log
    assert measured == int(load.get("REQUESTS", 40))
    assert "warm-up: 20 requests, not measured: http_5xx 20" in log
    assert f"{measured} requests started: ok {measured}" in log
    assert rows["POST"] == measured


@pytest.mark.slow(8)
def test_a_stop_in_the_warm_up_of_plain_locust_measures_nothing(timed_server: Any, tmp_path: Path) -> None:
    words = ["-u", "2", "-r", "2", "--run-time", "1s", "--rejoinder-warm-up", "60s"]
    code, log, rows = locust(timed_server, tmp_path, *words)
    assert code == 2, log
    assert "stopped in the warm-up, so nothing was measured" in log
    assert rows == {}
    assert timed_server.truth()["requests"] > 0


@pytest.mark.slow(8)
def test_a_trace_warms_up_with_its_beginning_and_other_prompts(timed_server: Any, tmp_path: Path) -> None:
    memory = Memory()
    result = run_load(settings(timed_server, trace=str(trace(tmp_path)), warm_up="4", duration=0.6), memory)
    assert result.load.warm_up is not None
    assert (result.load.warm_up.started, result.started) == (4, 6)
    assert timed_server.truth()["requests"] == 10


def trace(folder: Path) -> Path:
    """Return a trace of 6 requests in 0.5 s, all of which begin with the same block."""
    path = folder / "trace.jsonl"
    rows = [
        {"timestamp": 100 * number, "input_length": 600, "output_length": 4, "hash_ids": [7, 100 + number]}
        for number in range(6)
    ]
    path.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    return path


def test_the_warm_up_of_a_trace_shares_no_beginning_with_it(tmp_path: Path) -> None:
    given = LoadSettings(url="http://h", trace=str(trace(tmp_path)), duration=0.6)
    for length, expected in (("3", (0.5, 3)), ("300ms", (0.3, 6)), ("30", (0.5, 6)), ("1min", (0.5, 6))):
        warm_up = replace(given, warm_up=length).for_warm_up()
        assert warm_up is not None
        warm_up.check()
        limits = warm_up.duration, warm_up.requests
        assert limits == (pytest.approx(expected[0]), expected[1])
        own, other = ([RequestSource(one).body(slot) for slot in range(6)] for one in (given, warm_up))
        assert [len(json.loads(body)["input"].split()) for body in own] == [
            len(json.loads(body)["input"].split()) for body in other
        ]
        beginnings = {json.loads(body)["input"][:60] for body in own}
        assert len(beginnings) == 1
        assert beginnings.isdisjoint(json.loads(body)["input"][:60] for body in other)

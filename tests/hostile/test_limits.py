"""Whole plans, large files and metrics in bounded memory: each command is a process with a limit on its address space.

Peaks are those of the largest process of a command. The limits are wide: what is without bound goes far beyond them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import tests.hostile.behaviours  # noqa: F401 - registers them
from tests.hostile.command import Ended, rejoinder
from tests.hostile.endpoint import BEHAVIOURS, HostileEndpoint

from rejoinder.budgets import LOAD_STREAM
from rejoinder.model.exchange import Outcome
from rejoinder.model.header import RunTarget, new_header
from rejoinder.sandbox import Sandbox, running

CHECK_PEAK: Final = 500_000_000
LOAD_PEAK: Final = 300_000_000 + 2 * LOAD_STREAM
"""With two requests in flight."""
FILES_PEAK: Final = 700_000_000
"""Of a command that reads the largest run file that a check writes."""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[str]:
    with running(Sandbox(min_tokens=0)) as url:
        yield url


def bounded(ended: Ended, peak: int) -> None:
    assert "Traceback" not in ended.text
    assert "rejoinder crashed" not in ended.text
    assert ended.peak < peak


@pytest.mark.slow(25)
@pytest.mark.parametrize("plan", ["quick", "full"])
def test_a_whole_plan_of_a_sound_endpoint_is_bounded(plan: str, sandbox: str, tmp_path: Path) -> None:
    ended = rejoinder("check", sandbox, "--plan", plan, "--quiet", folder=tmp_path, limit=600)
    assert ended.code == 0, ended.text
    bounded(ended, CHECK_PEAK)


@pytest.fixture(scope="module", params=["many-keys", "events-without-end"])
def large_run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """Return a check with plan full of an endpoint that fills its budgets."""
    folder = tmp_path_factory.mktemp("run")
    with HostileEndpoint(BEHAVIOURS[request.param]) as endpoint:
        return rejoinder(
            *("check", endpoint.url, "--plan", "full", "--timeout", "10", "--quiet"), folder=folder, limit=600
        )


@pytest.mark.slow(60)
def test_the_full_plan_of_a_hostile_endpoint_is_bounded(large_run: Ended) -> None:
    assert large_run.code == 1
    bounded(large_run, CHECK_PEAK)
    assert large_run.run().damage == []


@pytest.mark.slow(60)
def test_commands_that_read_a_large_run_are_bounded(large_run: Ended, tmp_path: Path) -> None:
    run = str(large_run.folder)
    reports = [f"--{kind}={tmp_path / kind}" for kind in ("html", "junit", "markdown", "ctrf", "badge", "csv")]
    for words in (
        ["report", run, *reports],
        ["diff", run, run, "--html", str(tmp_path / "diff.html"), "--markdown", str(tmp_path / "diff.md")],
        ["compare", run, run, "--html", str(tmp_path / "compared.html")],
        ["recheck", run, "--out", str(tmp_path / "again")],
        ["replay", run],
    ):
        ended = rejoinder(*words, folder=None, limit=600)
        assert ended.code == (1 if words[0] == "recheck" else 0), ended.text
        bounded(ended, FILES_PEAK)


@pytest.mark.slow(20)
def test_a_replay_of_a_hostile_endpoint_is_bounded(large_run: Ended, tmp_path: Path) -> None:
    with HostileEndpoint(BEHAVIOURS["body-without-end"]) as endpoint:
        words = ("replay", str(large_run.folder), "--all", "--url", endpoint.url, "--timeout", "3", "--quiet")
        ended = rejoinder(*words, folder=tmp_path, limit=600)
    assert ended.code == 1
    bounded(ended, CHECK_PEAK)
    assert any(one.outcome is Outcome.TOO_LARGE for one in ended.run().exchanges)


@pytest.mark.slow(6)
@pytest.mark.parametrize("name", ["metrics-without-end", "metrics-label", "metrics-bomb", "million-models"])
def test_what_a_load_reads_besides_its_responses_is_bounded(name: str, tmp_path: Path) -> None:
    options = ("--requests", "4", "--concurrency", "2", "--metrics", "auto", "--quiet")
    with HostileEndpoint(BEHAVIOURS[name]) as endpoint:
        ended = rejoinder("load", endpoint.url, *options, folder=tmp_path)
    assert ended.code in (0, 4), ended.text  # 4: the machine was busy
    bounded(ended, LOAD_PEAK)


@pytest.mark.slow(20)
@pytest.mark.parametrize("kind", ["trace", "bodies"])
def test_a_load_with_a_large_file_is_bounded(kind: str, sandbox: str, tmp_path: Path) -> None:
    file = tmp_path / kind
    (tmp_path / "out").mkdir()
    with file.open("w", encoding="utf-8") as lines:
        if kind == "trace":
            lines.write("Timestamp,Request tokens,Response tokens\n")
            lines.writelines(f"{number / 100:.2f},9,16\n" for number in range(1_000_000))
        else:
            body = {"input": [{"role": "user", "content": "word " * 30}] * 4, "metadata": {"tenant": "a"}}
            lines.writelines(f"{json.dumps(body)}\n" for _ in range((60 << 20) // len(json.dumps(body))))
    pace = () if kind == "trace" else ("--rate", "50")
    ended = rejoinder(
        *("load", sandbox, f"--{kind}", str(file), *pace, "--duration", "2s", "--quiet"), folder=tmp_path / "out"
    )
    assert ended.code in (0, 4), ended.text
    bounded(ended, LOAD_PEAK)


@pytest.mark.slow(10)
@pytest.mark.parametrize("kind", ["bad lines", "one long line", "small samples"])
def test_a_hostile_run_file_is_bounded(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "run.ndjson"
    header = new_header(RunTarget(url="http://127.0.0.1", model=None, dialect="northstar"))
    sample = '{"kind":"sample","type":"second","t":1}\n'
    with file.open("w", encoding="utf-8") as lines:
        lines.write(json.dumps(header.to_json()) + "\n")
        if kind == "one long line":
            lines.write('{"kind":"exchange","chunks":[' + "[]," * 3_900_000 + "[]]}\n")
        else:
            lines.writelines("x\n" if kind == "bad lines" else sample for _ in range(1_000_000))
    ended = rejoinder("report", str(file), folder=None)
    assert ended.code == 0, ended.text
    bounded(ended, FILES_PEAK)

"""Signals, full disks and removed folders: what was gathered is reported, and the sentence says what happened."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rejoinder.cli._run import finishing, read_recorded, recording, write_text
from rejoinder.errors import ExitCode, RunWriteError
from rejoinder.interrupts import interrupts
from rejoinder.model.header import RunTarget, new_header
from rejoinder.model.runfile import RunWriter, read_run
from rejoinder.reports import render_junit, render_markdown
from rejoinder.sandbox import Sandbox, running

PATIENCE = 120.0


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with running(Sandbox(token_delay=0.02, min_tokens=8)) as url:
        yield url


def until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def command(tmp_path: Path, *words: str, limit: int = 0) -> subprocess.Popen[str]:
    """Start a command; ``limit`` is how many bytes each of its files may have (0: any number)."""
    program = "import resource; " if limit else ""
    program += f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit})); " if limit else ""
    program += f"from rejoinder.cli import main; main({list(words)!r})"
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen([sys.executable, "-c", program], env=environment, cwd=tmp_path, **pipes)


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.mark.slow(6)
@pytest.mark.parametrize("signs", [(signal.SIGHUP,), (signal.SIGTERM, signal.SIGINT)])
def test_a_check_that_is_terminated_reports_what_it_recorded(
    endpoint: str, tmp_path: Path, signs: tuple[signal.Signals, ...]
) -> None:
    out = tmp_path / "out"
    with command(tmp_path, "check", endpoint, "--plan", "full", "--no-confirm", "--out", str(out)) as process:
        until(lambda: lines(out / "run.ndjson") > 20)
        for sign in signs:
            process.send_signal(sign)
        text, _ = process.communicate(timeout=PATIENCE)
    run = read_run(out)
    assert process.returncode == ExitCode.INTERRUPTED
    assert run.damage == []
    assert len(run.exchanges) > 15
    assert run.interrupted
    assert "run was interrupted" in (out / "report.html").read_text("utf-8")
    assert "Traceback" not in text


@pytest.mark.slow(6)
@pytest.mark.parametrize(
    "words", [("check", "--plan", "full", "--no-confirm"), ("load", "--rate", "50", "--duration", "10min")]
)
def test_a_disk_that_is_full_ends_the_run_with_a_sentence(
    endpoint: str, tmp_path: Path, words: tuple[str, ...]
) -> None:
    out = tmp_path / "out"
    with command(tmp_path, words[0], endpoint, *words[1:], "--out", str(out), limit=90_000) as process:
        text, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == ExitCode.INCOMPLETE
    assert "File too large" in text
    assert "Traceback" not in text
    assert "rejoinder crashed" not in text
    assert read_run(out).damage == []
    assert not list(tmp_path.glob("rejoinder-*"))


@pytest.mark.slow(2)
def test_the_sandbox_ends_with_sigterm(tmp_path: Path) -> None:
    with command(tmp_path, "sandbox", "--port", "0") as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Sandbox at")
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0


def test_a_run_that_is_being_written_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with RunWriter(tmp_path / "run.ndjson") as writer:
        writer.header(new_header(RunTarget(url="http://127.0.0.1", model="m", dialect="northstar")))
        run = read_recorded(tmp_path)
        assert run.being_written
        assert "is still being written" in capsys.readouterr().err
        assert "still being written" in render_markdown(run)
        assert "still being written" in render_junit(run)
        again = read_run(tmp_path)
        assert again.being_written
    run = read_recorded(tmp_path)
    assert not run.being_written
    assert run.truncated
    assert capsys.readouterr().err == ""


def test_a_run_file_that_was_removed_is_an_error(tmp_path: Path) -> None:
    with RunWriter(tmp_path / "run.ndjson") as writer:
        header = new_header(RunTarget(url="http://127.0.0.1", model="m", dialect="northstar"))
        writer.header(header)
        (tmp_path / "run.ndjson").unlink()
        with pytest.raises(RunWriteError, match="It was removed"):
            writer.header(header)


def test_an_interrupt_before_anything_was_recorded_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), recording(tmp_path / "out"):
        raise KeyboardInterrupt
    assert not (tmp_path / "out").exists()


def test_an_interrupt_between_two_parts_of_a_run_is_recorded(tmp_path: Path) -> None:
    def record() -> None:
        with recording(tmp_path) as recorder:
            recorder.write_header(RunTarget(url="http://127.0.0.1", model="m", dialect="northstar"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record()
    run = read_run(tmp_path)
    assert run.interrupted
    assert run.footer is not None
    assert run.footer.exit_code == ExitCode.INTERRUPTED
    assert (tmp_path / "report.html").exists()


def test_while_reports_are_written_the_second_signal_counts() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    done = []

    def finish() -> None:
        with finishing():
            os.kill(os.getpid(), signal.SIGTERM)
            done.append(1)
            os.kill(os.getpid(), signal.SIGINT)
            done.append(2)

    with pytest.raises(KeyboardInterrupt):
        finish()
    assert done == [1]
    assert before == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        seen: list[int] = []
        with interrupts(lambda: seen.append(1)):
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)
        assert seen == [1]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_report_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.json"
    write_text(path, json.dumps(1))

    def fail(self: Path, *_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(KeyboardInterrupt):
        write_text(path, json.dumps(2))
    assert path.read_text() == "1"
    assert list(tmp_path.iterdir()) == [path]

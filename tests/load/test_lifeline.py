"""A load ends with its command and with each of its parts, and accounts for every request that the server saw."""

from __future__ import annotations

import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from rejoinder.budgets import SUSPENSION_LIMIT
from rejoinder.errors import ExitCode, RejoinderError
from rejoinder.load import lifeline
from rejoinder.load.lifeline import FOLDER_PREFIX, Lease, Permit, ProcessRecord, read_records, run_folder
from rejoinder.model.runfile import Run, read_run
from rejoinder.reports import render_junit, render_markdown

PATIENCE = 120.0


def until(condition: Callable[[], Any]) -> Any:
    """Return the first true value of a condition."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError("the condition never held")


class Load:
    """``rejoinder load`` in a process of its own, with a temporary folder of its own."""

    def __init__(self, folder: Path, server: Any, *words: str) -> None:
        self.server, self.out, self.temporary = server, folder / "out", folder / "tmp"
        self.temporary.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "rejoinder", "load", server.url, "--duration", "10min", *words]
        self.process = subprocess.Popen(
            [*command, "--model", "ttft=20&gap=5&tokens=8", "--out", str(self.out)],
            env={**os.environ, "TMPDIR": str(self.temporary)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        until(lambda: server.truth()["requests"] > 20 or self.process.poll() is not None)
        assert self.process.returncode is None, self.process.communicate()[0]
        self.family = psutil.Process(self.process.pid).children(recursive=True)

    def chosen(self, victim: str) -> list[psutil.Process]:
        """Return the processes of a kind."""
        locust = [one for one in self.family if "locustfile.py" in " ".join(one.cmdline())]
        kinds = {
            "command": [psutil.Process(self.process.pid)],
            "master": locust[:1],
            "worker": locust[-1:],
            "analysis worker": [one for one in self.family if one not in locust][:1],
        }
        return kinds.get(victim) or [*kinds["command"], *self.family]

    def send(self, victim: str, sign: signal.Signals) -> None:
        """Send a signal to the processes of a kind."""
        for one in self.chosen(victim):
            one.send_signal(sign)

    def wait(self) -> str:
        """Wait until no process of the run is left, and return what the command printed."""
        text, _ = self.process.communicate(timeout=PATIENCE)
        _, left = psutil.wait_procs(self.family, timeout=PATIENCE)
        assert not left
        return text

    def run(self) -> Run:
        """Return the recorded run, whose accounts are those of the server."""
        run = read_run(self.out)
        assert run.damage == []
        assert run.load is not None
        found = sum(one.request.method == "POST" and one.case != "load" for one in run.exchanges)
        assert run.load.started == sum(run.load.outcomes.values()) == self.server.truth()["requests"] - found
        return run

    def end(self) -> None:
        """Kill what is left of the run."""
        for one in [*self.family, psutil.Process()]:
            if one.pid != os.getpid() and one.is_running():
                one.kill()
        self.process.kill()
        self.process.wait()


@pytest.fixture
def start(tmp_path: Path, timed_server: Any) -> Iterator[Callable[..., Load]]:
    """Return a function that starts a load with some options and waits until requests come."""
    started: list[Load] = []

    def begin(*words: str) -> Load:
        started.append(Load(tmp_path, timed_server, *words))
        return started[-1]

    yield begin
    for load in started:
        load.end()


@pytest.fixture
def modes(tmp_path: Path) -> dict[str, tuple[str, ...]]:
    """Return the options of each kind of load."""
    trace, profile = tmp_path / "trace.csv", tmp_path / "talks.toml"
    rows = "".join(f"{number / 50},9,30\n" for number in range(30_000))
    trace.write_text(f"Timestamp,Request tokens,Response tokens\n{rows}", "utf-8")
    profile.write_text('[[requests]]\nturns = 3\nhistory = "replay"\ninput_tokens = 5\n', "utf-8")
    return {
        "open": ("--rate", "50"),
        "phases": ("--rate", "50@2s,50..60@9min"),
        "closed": ("--concurrency", "2"),
        "requests": ("--concurrency", "2", "--requests", "1000000"),
        "trace": ("--trace", str(trace)),
        "sessions": ("--concurrency", "2", "--profile", str(profile)),
    }


@pytest.mark.slow(10)
@pytest.mark.parametrize(
    ("victim", "sign", "processes", "mode"),
    [
        ("master", signal.SIGKILL, 1, "trace"),
        ("master", signal.SIGKILL, 1, "closed"),
        ("master", signal.SIGKILL, 2, "open"),
        ("master", signal.SIGTERM, 2, "sessions"),
        ("master", signal.SIGSTOP, 2, "open"),
        ("worker", signal.SIGKILL, 2, "trace"),
        ("worker", signal.SIGKILL, 2, "requests"),
        ("worker", signal.SIGKILL, 2, "sessions"),
        ("worker", signal.SIGSTOP, 2, "closed"),
        ("worker", signal.SIGTERM, 2, "phases"),
        ("analysis worker", signal.SIGKILL, 2, "open"),
        ("analysis worker", signal.SIGKILL, 1, "requests"),
        ("analysis worker", signal.SIGSTOP, 1, "trace"),
        ("analysis worker", signal.SIGTERM, 1, "phases"),
    ],
)
def test_a_load_ends_with_any_of_its_parts(
    start: Callable[..., Load],
    modes: dict[str, tuple[str, ...]],
    victim: str,
    sign: signal.Signals,
    processes: int,
    mode: str,
) -> None:
    load = start(*modes[mode], "--processes", str(processes))
    load.send(victim, sign)
    text = load.wait()
    run = load.run()
    assert load.process.returncode == ExitCode.INCOMPLETE
    assert run.load is not None
    assert run.load.incomplete
    assert "Incomplete: " in text
    assert "Incomplete" in render_markdown(run).splitlines()[0]
    assert run.load.incomplete in render_junit(run)
    assert run.load.self_check.verdict != "VALID" or sign == signal.SIGTERM
    assert not list(load.temporary.iterdir())


@pytest.mark.slow(8)
@pytest.mark.parametrize(
    ("victim", "sign", "processes", "mode"),
    [
        ("command", signal.SIGTERM, 1, "trace"),
        ("command", signal.SIGINT, 2, "closed"),
        ("command", signal.SIGTERM, 2, "sessions"),
        ("all", signal.SIGTERM, 2, "open"),
        ("all", signal.SIGTERM, 1, "requests"),
    ],
)
def test_a_signal_for_the_command_ends_the_load_and_loses_nothing(
    start: Callable[..., Load],
    modes: dict[str, tuple[str, ...]],
    victim: str,
    sign: signal.Signals,
    processes: int,
    mode: str,
) -> None:
    load = start(*modes[mode], "--processes", str(processes))
    load.send(victim, sign)
    text = load.wait()
    run = load.run()
    assert load.process.returncode == ExitCode.INTERRUPTED
    assert run.interrupted
    assert run.load is not None
    assert set(run.load.outcomes) == {"ok"}
    assert f"Interrupted: {run.load.started} of {run.load.started} requests succeeded" in text
    assert not list(load.temporary.iterdir())


@pytest.mark.slow(8)
@pytest.mark.parametrize("processes", [1, 2])
def test_a_load_whose_temporary_folder_is_removed_ends(start: Callable[..., Load], processes: int) -> None:
    load = start("--rate", "50", "--processes", str(processes))
    for folder in load.temporary.iterdir():
        shutil.rmtree(folder)
    text = load.wait()
    run = load.run()
    assert load.process.returncode == ExitCode.INCOMPLETE
    assert run.load is not None
    assert re.search(r"The temporary folder .* was removed\.", run.load.incomplete)
    assert "Incomplete: " in text


@pytest.mark.slow(8)
@pytest.mark.parametrize(
    ("victim", "sign", "code"),
    [("worker", signal.SIGKILL, ExitCode.INCOMPLETE), ("command", signal.SIGTERM, ExitCode.INTERRUPTED)],
)
def test_a_load_ends_in_its_warm_up(
    start: Callable[..., Load], victim: str, sign: signal.Signals, code: ExitCode
) -> None:
    load = start("--concurrency", "2", "--processes", "2", "--warm-up", "10min")
    load.send(victim, sign)
    text = load.wait()
    run = read_run(load.out)
    assert load.process.returncode == code
    assert run.load is not None
    assert run.load.started == 0
    assert run.load.warm_up is not None
    found = sum(one.request.method == "POST" and one.case != "load" for one in run.exchanges)
    warmed = run.load.warm_up
    assert warmed.started == sum(warmed.outcomes.values()) == load.server.truth()["requests"] - found
    if code == ExitCode.INCOMPLETE:
        assert "The warm-up did not come to its end. A load generator process" in run.load.incomplete
        assert run.load.incomplete in render_junit(run)
    how = "Incomplete" if code == ExitCode.INCOMPLETE else "Interrupted"
    assert f"{how}: nothing was measured" in text
    assert not list(load.temporary.iterdir())


@pytest.mark.slow(8)
def test_a_second_signal_ends_the_load_at_once_and_keeps_what_was_measured(
    start: Callable[..., Load], timed_server: Any
) -> None:
    load = start("--rate", "50")
    # Two of the same kind could become one before the first is seen.
    load.send("command", signal.SIGTERM)
    load.send("command", signal.SIGINT)
    load.wait()
    assert load.process.returncode == ExitCode.INTERRUPTED
    assert load.run().interrupted


@pytest.mark.slow(8)
@pytest.mark.parametrize("processes", [1, 2])
def test_nothing_outlives_a_command_that_is_killed(
    start: Callable[..., Load], monkeypatch: pytest.MonkeyPatch, processes: int
) -> None:
    load = start("--rate", "50", "--processes", str(processes))
    load.send("command", signal.SIGKILL)
    load.wait()
    assert read_run(load.out).truncated
    monkeypatch.setattr(tempfile, "tempdir", str(load.temporary))
    assert list(load.temporary.iterdir())
    lifeline.sweep_folders()
    assert not list(load.temporary.iterdir())


@pytest.mark.slow(10)
def test_a_command_that_is_stopped_pauses_the_load_and_then_ends_it(start: Callable[..., Load]) -> None:
    load = start("--rate", "50")
    (lease,) = load.temporary.glob("*/lease")
    load.send("command", signal.SIGSTOP)

    def old() -> bool:
        (renewed,) = struct.unpack("q", lease.read_bytes())
        return bool(time.monotonic_ns() - renewed > (SUSPENSION_LIMIT + 0.5) * 1e9)

    until(old)
    before = load.server.truth()["requests"]
    load.send("command", signal.SIGCONT)
    load.wait()
    assert load.process.returncode == ExitCode.INTERRUPTED
    run = load.run()
    assert load.server.truth()["requests"] == before
    assert run.load is not None
    assert any("rejoinder was suspended" in note for note in run.load.notes)


def test_a_lease_permits_to_send_while_it_is_renewed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lease = Lease(tmp_path)
    permit = Permit(tmp_path)
    assert not permit.holds()
    lease.start()
    until(permit.holds)
    real = time.monotonic_ns
    with monkeypatch.context() as patch:
        patch.setattr(lifeline, "LEASE_LIMIT", -1.0)
        assert not permit.holds()
    lease.revoke()
    assert not permit.holds()
    assert real() > 0
    assert lease.suspended == 0
    assert Permit(None).holds()


def test_records_outlive_their_process(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from rejoinder.load.lifeline import ProcessRecord\n"
        "record = ProcessRecord(pathlib.Path(sys.argv[1]))\n"
        "for _ in range(3): record.count()\n"
        "record.terminate()\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)]) as process:
        process.wait()
    own = ProcessRecord(tmp_path)
    own.fail(28)
    own.end()
    found = {record.pid: record[1:] for record in read_records(tmp_path)}
    assert found == {process.pid: (3, 0, False, True), os.getpid(): (0, 28, True, False)}


def test_folders_of_running_commands_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / f"{FOLDER_PREFIX}fresh").mkdir()
    (tmp_path / "other").mkdir()
    left = tmp_path / f"{FOLDER_PREFIX}left"
    left.mkdir()
    (left / "lock").touch()
    link = tmp_path / f"{FOLDER_PREFIX}link"
    link.symlink_to(tmp_path / "other")
    old = tmp_path / f"{FOLDER_PREFIX}old"
    old.mkdir()
    os.utime(old, (0, 0))
    with run_folder() as folder, run_folder() as second:
        kept = {path.name for path in tmp_path.iterdir()}
        assert kept == {folder.name, second.name, f"{FOLDER_PREFIX}fresh", "other", link.name}
    assert not folder.exists()


def test_a_temporary_folder_that_cannot_be_written_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(RejoinderError, match=r"Cannot write temporary files to .*none: No such file"), run_folder():
        pass

"""Kills, stops and signals against every process of a load, and the server's own count afterwards.

    python benchmarks/load_kills.py [--only WORDS]

Each row starts ``rejoinder load`` against ``load_server.py``, waits until the server has seen 60 requests, and then
does what the row says. The columns: requests that reached the server later than a second after it, processes that were
left after five seconds, temporary folders that were left, the exit code, requests that the run file counts as started,
and those that the server counted. Exits with 1 if a row breaks a promise of ``docs/explanation/hardening.md``.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Final

import psutil
from load_server import ServerProcess

from rejoinder.load.lifeline import FOLDER_PREFIX
from rejoinder.model.runfile import read_run

ANSWER: Final = "ttft=20&gap=5&tokens=8"
OPEN: Final = ("--rate", "60")
CLOSED: Final = ("--concurrency", "4")
FURTHER: Final = (
    ("--trace", "trace.csv"),
    ("--concurrency", "4", "--profile", "sessions.toml"),
    ("--concurrency", "4", "--warm-up", "60s"),
)
"""Options of the other kinds of load; :func:`write_inputs` writes the files. The last is still in its warm-up."""
KINDS: Final = {"command": "rejoinder", "locust": "-m locust", "analyser": "rejoinder.load.measure.worker"}
SIGNALS: Final = {name: getattr(signal, f"SIG{name}") for name in ("KILL", "TERM", "INT", "STOP")}


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that is done to a run: a signal for one of its processes, with so many generator processes."""

    victim: str
    sign: str
    processes: int
    mode: tuple[str, ...] = OPEN

    @property
    def name(self) -> str:
        """The row in words."""
        return f"SIG{self.sign} to {self.victim}, {' '.join(self.mode)} --processes {self.processes}"


@dataclass(slots=True)
class Outcome:
    """What became of a run."""

    late: int
    left: int
    folders: int
    code: int | None
    started: int | None
    served: int
    headline: str = ""

    def broken(self) -> list[str]:
        """Return the promises that were broken."""
        found = []
        if self.late:
            found.append("requests later than a second")
        if self.left:
            found.append("processes left")
        if self.folders:
            found.append("folders left")
        if self.code == 0:
            found.append("exit code 0")
        if self.started is not None and self.started != self.served:
            found.append("accounts differ")
        return found


def family(command: subprocess.Popen[str]) -> list[psutil.Process]:
    """Return the processes of a run, the command first."""
    with suppress(psutil.NoSuchProcess):
        own = psutil.Process(command.pid)
        return [own, *own.children(recursive=True)]
    return []


def victims(row: Row, members: list[psutil.Process]) -> list[psutil.Process]:
    """Return the processes that a row is about."""
    locust = [one for one in members if KINDS["locust"] in " ".join(one.cmdline())]
    chosen = {
        "command": members[:1],
        "master": locust[:1],
        "worker": locust[-1:],
        "all workers": locust[1:],
        "analysis worker": [one for one in members if KINDS["analyser"] in " ".join(one.cmdline())][:1],
        "all": members,
    }
    return chosen[row.victim]


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Return whether a condition held within some time."""
    end = monotonic() + seconds
    while monotonic() < end:
        if condition():
            return True
        sleep(0.02)
    return False


def try_row(row: Row) -> Outcome:
    """Run a row."""
    with tempfile.TemporaryDirectory() as scratch, ServerProcess(ANSWER) as server:
        temporary, out = Path(scratch, "tmp"), Path(scratch, "out")
        temporary.mkdir()
        write_inputs(Path(scratch))
        command = [sys.executable, "-m", "rejoinder", "load", server.url, *row.mode, "--duration", "60s"]
        command += ["--processes", str(row.processes), "--out", str(out), "--quiet"]
        environment = {**os.environ, "TMPDIR": str(temporary)}
        with subprocess.Popen(
            command, env=environment, cwd=scratch, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as run:
            wait_until(lambda: server.truth()["requests"] >= 60, 60)
            members = family(run)
            for victim in victims(row, members):
                victim.send_signal(SIGNALS[row.sign])
            sleep(1)
            then = server.truth()["requests"]
            paused = row.victim == "command" and row.sign == "STOP"
            if paused:
                sleep(3)
                late = server.truth()["requests"] - then
                members[0].send_signal(signal.SIGCONT)
                sleep(1)
            sleep(4)
            left = sum(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in members[1:])
            served = server.truth()["requests"]
            late = late if paused else served - then
            with suppress(subprocess.TimeoutExpired):
                run.wait(20)
            code = run.poll()
            for one in members:
                with suppress(psutil.NoSuchProcess):
                    one.kill()
            text = run.stdout.read() if run.stdout else ""
        if row.victim == "command" and row.sign == "KILL":  # the next start sweeps
            sweep = "import rejoinder.load.lifeline as it; it.sweep_folders()"
            subprocess.run([sys.executable, "-c", sweep], env=environment, check=True)
        folders = len(list(temporary.glob(f"{FOLDER_PREFIX}*")))
        run_file = read_run(out)
        load = run_file.load
        # What finding the endpoint took is in the run file, too, and no part of the load.
        found = sum(one.request.method == "POST" and one.case != "load" for one in run_file.exchanges)
        served = server.truth()["requests"] - found
        headline = next((line.strip() for line in text.splitlines() if line.strip()), "")
        started = load.started + (load.warm_up.started if load.warm_up else 0) if load else None
        return Outcome(late, left, folders, code, started, served, headline)


def write_inputs(folder: Path) -> None:
    """Write a trace of 60 requests a second, and a profile of conversations."""
    rows = "".join(f"{number / 60:.3f},9,30\n" for number in range(3600))
    (folder / "trace.csv").write_text(f"Timestamp,Request tokens,Response tokens\n{rows}", "utf-8")
    talk = '[[requests]]\nturns = 3\nhistory = "replay"\ninput_tokens = 5\n'
    (folder / "sessions.toml").write_text(talk, "utf-8")


def rows() -> list[Row]:
    """Return all rows."""
    found = []
    for processes in (1, 2):
        for sign in SIGNALS:
            found += [Row("command", sign, processes), Row("master", sign, processes)]
            if sign != "INT":  # the others ignore Ctrl-C, which the command answers for all of them
                found.append(Row("analysis worker", sign, processes))
            if processes > 1 and sign != "INT":
                found += [Row("worker", sign, processes), Row("all workers", sign, processes)]
        found += [Row("all", "TERM", processes), Row("command", "TERM", processes, CLOSED)]
        found += [Row("command", "INT", processes, CLOSED)]
    for mode in FURTHER:
        found += [Row("command", sign, 2, mode) for sign in ("KILL", "TERM", "STOP")]
        found += [Row(victim, "KILL", 2, mode) for victim in ("master", "analysis worker", "worker")]
        found += [Row("worker", "STOP", 2, mode)]
    return found


def main() -> None:
    """Run the rows and print a table."""
    parser = argparse.ArgumentParser(description="Kills and signals against a load.")
    parser.add_argument("--only", default="", help="run only the rows whose name contains these words")
    arguments = parser.parse_args()
    print("| what | late | left | folders | exit code | started | served | broken | headline |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- | --- |")
    bad = False
    for row in rows():
        if arguments.only in row.name:
            outcome = try_row(row)
            broken = outcome.broken()
            bad = bad or bool(broken)
            cells = [
                row.name,
                outcome.late,
                outcome.left,
                outcome.folders,
                outcome.code,
                outcome.started,
                outcome.served,
            ]
            print("| " + " | ".join(map(str, [*cells, ", ".join(broken)])) + " |", outcome.headline, flush=True)
    sys.exit(bad)


if __name__ == "__main__":
    main()

"""The analysis worker of a generator process, as the generator sees it: a subprocess behind two pipes."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from typing import IO, Any, BinaryIO, Final, cast

import gevent  # type: ignore[import-untyped]
import gevent.event  # type: ignore[import-untyped]

from rejoinder.budgets import LOAD_SAMPLED, LOAD_WAITING
from rejoinder.load.measure.recording import Recording
from rejoinder.load.measure.worker import (
    WORKER_PROGRAM,
    AnalysisWorker,
    RequestSummary,
    frame,
    make_worker,
    read_frame,
)
from rejoinder.load.objectives.check_sample import one_in

logger = logging.getLogger("rejoinder.load")

START_LIMIT: Final = 60.0
"""Seconds that a worker gets to load its rules."""
_PIPE_BYTES: Final = 1 << 20


class AnalysisClient:
    """Hands recordings to the analysis worker; its results come back in the order of the work.

    ``options`` are those of :class:`AnalysisWorker` as JSON values. ``on_summary`` takes the summary of each recording,
    ``on_report`` each report as JSON. When the worker dies, ``on_lost`` is called, and its unfinished work is done in
    this process: late, but nothing is lost.
    """

    def __init__(
        self,
        options: dict[str, Any],
        on_summary: Callable[[RequestSummary], None],
        on_report: Callable[[bytes], None],
        on_lost: Callable[[], None],
    ) -> None:
        self.lost = False
        self.options = options
        self._failed = False
        self._on_summary = on_summary
        self._on_report = on_report
        self._on_lost = on_lost
        self._run = (0, 0)
        # Recordings are kept as the frames that are sent, so that there is one copy of each; None stands for a report.
        self._pending: deque[bytes | None] = deque()
        self._bytes = 0
        self._unreported: list[bytes] = []
        self._outbox: deque[bytes] = deque()
        self._wake = gevent.event.Event()
        self._idle = gevent.event.Event()
        self._idle.set()
        self._ready = gevent.event.Event()
        self._fallback: AnalysisWorker | None = None
        self._process = subprocess.Popen(
            [sys.executable, "-c", WORKER_PROGRAM, json.dumps(options), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._pipes = cast("tuple[IO[bytes], IO[bytes]]", (self._process.stdin, self._process.stdout))
        for pipe in self._pipes:
            _widen(pipe)
        self._greenlets = [gevent.spawn(self._write, self._pipes[0]), gevent.spawn(self._read, self._pipes[1])]

    @property
    def backlog(self) -> int:
        """How many recordings have not come back."""
        return len(self._pending)

    @property
    def one_in(self) -> int:
        """Of how many new recordings one is tested against all rules: all until some 10 s of work wait."""
        return one_in(self._bytes, LOAD_SAMPLED, LOAD_WAITING)

    @property
    def full(self) -> bool:
        """Whether so much waits that no further request may be sent: the load generator is the bottleneck then."""
        return self._bytes > LOAD_WAITING

    def wait_ready(self) -> bool:
        """Wait until the worker has loaded its rules; return whether it has."""
        return bool(self._ready.wait(START_LIMIT)) and not self._failed

    def begin(self, t0: int, process: int) -> None:
        """Start a new run at a clock reading, as generator process number ``process``."""
        self._run = (t0, process)
        if self._fallback is not None:
            self._fallback.begin(*self._run)
        self._send(frame(("begin", *self._run)))

    def submit(self, recording: Recording) -> None:
        """Hand over one recording."""
        work = frame(("work", tuple(recording)))
        self._pending.append(work)
        self._bytes += len(work)
        self._idle.clear()
        self._send(work)

    def request_report(self) -> None:
        """Ask for the statistics of what was handed over since the last report."""
        self._pending.append(None)
        self._idle.clear()
        self._send(frame(("report",)))

    def wait_idle(self, timeout: float) -> bool:
        """Wait until everything has come back; return whether it has."""
        return bool(self._idle.wait(timeout))

    def close(self) -> None:
        """End the worker; only between runs."""
        gevent.killall(self._greenlets, block=True)
        for pipe in self._pipes:
            pipe.close()
        self._process.wait()

    def _send(self, message: bytes) -> None:
        if self._fallback is not None:
            self._work_here(self._fallback)
            return
        self._outbox.append(message)
        self._wake.set()

    def _write(self, pipe: IO[bytes]) -> None:
        try:
            while True:
                self._wake.wait()
                while self._outbox:
                    pipe.write(self._outbox.popleft())
                pipe.flush()
                if not self._outbox:
                    self._wake.clear()
        except OSError:
            return  # the reading side sees the end too, and takes over

    def _read(self, pipe: IO[bytes]) -> None:
        while True:
            try:
                message = read_frame(cast("BinaryIO", pipe))
            except Exception as error:  # whatever came was no frame: the worker is beyond use
                logger.error("The analysis worker sent invalid data: %r", error)
                message = None
            if message is None:
                break
            if message[0] == "ready":
                self._ready.set()
                continue
            done = self._pending.popleft()
            if done is None:
                self._bytes -= sum(map(len, self._unreported))
                self._unreported.clear()
            else:
                self._unreported.append(done)
            self._deliver(message[0], message[1])
        self.lost = True
        code = self._process.wait()
        if not self._ready.is_set():
            self._failed = True
            self._ready.set()
            logger.error("The analysis worker failed to start (exit code %s).", code)
            return
        logger.error("The analysis worker died (exit code %s). The load generator does the rest of its work.", code)
        self._on_lost()
        worker = self._fallback = make_worker(self.options)
        worker.begin(*self._run)
        # What it had analysed and not reported died with it; its summaries have been delivered.
        for work in self._unreported:
            self._bytes -= len(work)
            worker.take(_recording(work))
        self._unreported.clear()
        self._work_here(worker)

    def _work_here(self, worker: AnalysisWorker) -> None:
        while self._pending:
            item = self._pending.popleft()
            if item is None:
                self._deliver("report", worker.report())
            else:
                self._bytes -= len(item)
                self._deliver("brief", worker.take(_recording(item)))

    def _deliver(self, kind: str, value: Any) -> None:
        if kind == "report":
            self._on_report(value)
        else:
            self._on_summary(value)
        if not self._pending:
            self._idle.set()


def _recording(work: bytes) -> Recording:
    """Return the recording in a frame."""
    message = read_frame(io.BytesIO(work))
    assert message is not None
    return Recording(*message[1])


def _widen(pipe: IO[bytes]) -> None:
    """Let a pipe hold more, so that a burst of recordings does not wait for the worker."""
    with contextlib.suppress(ImportError, AttributeError, OSError, ValueError):
        import fcntl

        fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

"""The load generator inside Locust: users, the open-loop dispatcher, and the end of a run without losses.

This module imports Locust, which makes gevent replace the blocking parts of the standard library; only a locustfile may
import it. One :class:`Engine` lives in each Locust process that has users (workers, or the only process):

- Closed loop: every Locust user sends its next request when the last one ended.
- Open loop: a dispatcher starts a greenlet for each slot of the run's schedule that belongs to this process; Locust's
  users only keep the run alive. Locust's ``wait_time`` is not used: it is no arrival process.

A run ends in this order, whether its time is over, somebody stopped it, or a signal came: nothing is started any more;
requests in flight may end within ``drain`` seconds; what is left is censored, which is an outcome; the analyst's last
report is passed on; a worker sends its last statistics and says so to the master, which waits for that. Locust would
else lose what ended within its last reporting interval.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import random
import subprocess
import sys
from collections import deque
from time import monotonic, perf_counter_ns, process_time
from typing import Any, BinaryIO, Final
from urllib.parse import quote

import gevent  # type: ignore[import-untyped]
import gevent.event  # type: ignore[import-untyped]
import gevent.lock  # type: ignore[import-untyped]
import gevent.os  # type: ignore[import-untyped]
from locust import User, events, runners, task
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from rejoinder import __version__
from rejoinder.errors import RejoinderError
from rejoinder.load.decide.slo import describe, missed, parse_slos
from rejoinder.load.measure.measure import ENDED_WELL, OUTCOMES
from rejoinder.load.measure.reader import (
    Censored,
    Connection,
    RawReply,
    Timeouts,
    Watchdog,
    receive_buffer,
    request_headers,
    request_message,
)
from rejoinder.load.measure.recording import Recording, final_response
from rejoinder.load.measure.stats import RunStats, SelfCheck, load_line, unjudged_sentence
from rejoinder.load.measure.worker import (
    KEY_VARIABLE,
    WORKER_PROGRAM,
    AnalysisWorker,
    RequestSummary,
    conformance_judge,
    frame,
    read_frame,
)
from rejoinder.load.schedule.arrivals import share
from rejoinder.load.settings import ENVIRONMENT_PREFIX, INTERRUPT_DRAIN, LoadSettings
from rejoinder.load.workload.request_source import Conversation, PlannedRequest, RequestSource
from rejoinder.model.exchange import Outcome
from rejoinder.model.histogram import Histogram
from rejoinder.model.tags import Tag

logger = logging.getLogger("rejoinder.load")

# Who spawned a greenlet from where is of no use here, and costs time and memory with each.
gevent.config.track_greenlet_tree = False

OUTPUT_VARIABLE: Final = "REJOINDER_LOAD_OUTPUT"
"""Names the file to which a run started by rejoinder writes what it measured, one JSON object a line."""
CONTROL_VARIABLE: Final = "REJOINDER_LOAD_CONTROL"
"""Names the file descriptor whose end of file says: stop."""

_LEAD: Final = 300_000_000
"""Nanoseconds between the decision to begin and time zero, so that every process is ready at time zero."""
_WATCH_EVERY: Final = 0.1
_PROBE: Final = 0.01
_REPORT_EVERY: Final = 1.0
_PROGRESS_EVERY: Final = 0.5
_BYTES_TO_JUDGE: Final = 64 << 20
"""While more than this waits for the analyst (about 10 s of its work), all rules judge only some of the streams."""
_JUDGE_ONE_IN: Final = 64
_BACKLOG_TO_WAIT: Final = 20_000
"""With more, requests wait: memory is bounded, and the run is called bound by the client."""
_ANALYST_START: Final = 60.0
_ANALYST_END: Final = 120.0
_PAUSE: Final = (0.05, 1.0)
"""First and longest pause of a user after a request that could not be served, in seconds."""
_PIPE_BYTES: Final = 1 << 20


class RequestFailedError(Exception):
    """What Locust shows as the failure of a request that did not end well."""


class AnalysisClient:
    """The analyst of this process, seen from the generator; its results come back in the order of the work.

    When the process dies, its unfinished work is done here: late, and beside the load, but nothing is lost.
    """

    def __init__(self, options: dict[str, Any], on_brief: Any, on_report: Any) -> None:
        self.lost = False
        self._failed = False
        self._options = options
        self._on_brief = on_brief
        self._on_report = on_report
        self._zero = (0, 0)
        self._pending: deque[Recording | None] = deque()  # None stands for a report that was asked for
        self._bytes = 0
        self._unreported: list[Recording] = []
        self._outbox: deque[bytes] = deque()
        self._wake = gevent.event.Event()
        self._idle = gevent.event.Event()
        self._idle.set()
        self._ready = gevent.event.Event()
        self._fallback: AnalysisWorker | None = None
        self._process = subprocess.Popen(
            [sys.executable, "-c", WORKER_PROGRAM, json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for pipe in (self._process.stdin, self._process.stdout):
            _widen(pipe)
        self._greenlets = [gevent.spawn(self._write), gevent.spawn(self._read)]

    @property
    def backlog(self) -> int:
        """How many recordings have not come back."""
        return len(self._pending)

    @property
    def busy(self) -> bool:
        """Whether so much waits that not every new recording can be judged by all rules."""
        return self._bytes > _BYTES_TO_JUDGE

    def wait_ready(self) -> bool:
        """Wait until the process has loaded its rules; return whether it has."""
        return bool(self._ready.wait(_ANALYST_START)) and not self._failed

    def begin(self, zero: int, worker: int) -> None:
        """Start a new run at a clock reading."""
        self._zero = (zero, worker)
        if self._fallback is not None:
            self._fallback.begin(*self._zero)
        self._send(("begin", zero, worker))

    def submit(self, recording: Recording) -> None:
        """Hand over one recording."""
        self._pending.append(recording)
        self._bytes += _size(recording)
        self._idle.clear()
        self._send(("work", tuple(recording)))

    def ask_report(self) -> None:
        """Ask for the tally of what was handed over so far."""
        self._pending.append(None)
        self._idle.clear()
        self._send(("report",))

    def wait_idle(self, timeout: float) -> bool:
        """Wait until everything has come back; return whether it has."""
        return bool(self._idle.wait(timeout))

    def close(self) -> None:
        """End the process; only between runs."""
        gevent.killall(self._greenlets, block=True)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.wait()

    def _send(self, message: tuple[Any, ...]) -> None:
        if self._fallback is not None:
            self._work_here()
            return
        self._outbox.append(frame(message))
        self._wake.set()

    def _write(self) -> None:
        pipe = self._process.stdin
        assert pipe is not None
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

    def _read(self) -> None:
        pipe = self._process.stdout
        assert pipe is not None
        while True:
            try:
                message = read_frame(_as_binary(pipe))
            except Exception as error:  # whatever came was no frame: the process is beyond use
                logger.error("The analysing process sent something unreadable: %r", error)
                message = None
            if message is None:
                break
            if message[0] == "ready":
                self._ready.set()
                continue
            done = self._pending.popleft()
            if done is None:
                self._unreported.clear()
            else:
                self._bytes -= _size(done)
                self._unreported.append(done)
            self._deliver(message[0], message[1])
        self.lost = True
        code = self._process.wait()
        if not self._ready.is_set():
            self._failed = True
            self._ready.set()
            logger.error("The analysing process could not start (exit code %s).", code)
            return
        logger.error("The analysing process ended (exit code %s); its work goes on here.", code)
        self._fallback = AnalysisWorker(
            **{**self._options, "headers": tuple(map(tuple, self._options["headers"]))},
            key=os.environ.get(KEY_VARIABLE) or None,
            judge=conformance_judge(self._options["dialect"]),
        )
        self._fallback.begin(*self._zero)
        # What it had analysed and not reported died with it; its briefs have been delivered.
        for recording in self._unreported:
            self._fallback.take(recording)
        self._unreported.clear()
        self._work_here()

    def _work_here(self) -> None:
        assert self._fallback is not None
        while self._pending:
            item = self._pending.popleft()
            if item is None:
                self._deliver("report", self._fallback.report())
            else:
                self._bytes -= _size(item)
                self._deliver("brief", self._fallback.take(item))

    def _deliver(self, kind: str, value: Any) -> None:
        if kind == "brief":
            self._on_brief(value)
        else:
            self._on_report(value)
        if not self._pending:
            self._idle.set()


def _size(recording: Recording) -> int:
    """Return about how many bytes a recording holds."""
    return 1000 + len(recording.body) + sum(100 + len(data) for _, data in recording.receives)


def _as_binary(pipe: Any) -> BinaryIO:
    return pipe  # type: ignore[no-any-return]


def _widen(pipe: Any) -> None:
    """Let a pipe hold more, so that a burst of recordings does not wait for the analyst."""
    try:
        import fcntl

        fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    except (ImportError, AttributeError, OSError, ValueError):
        pass


class Engine:
    """What one Locust process with users does."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.running = gevent.event.Event()
        self.stopping = False
        self.check = SelfCheck()
        self.finished = 0
        self.failed = 0
        self.in_flight: set[Any] = set()
        self.zero = 0
        self.index = 0
        self.count = 1
        self.settings: LoadSettings | None = None
        self.output_tally: list[bytes] = []
        self.on_report: Any = None
        self.on_spent: Any = None
        self._analyst: AnalysisClient | None = None
        self._analyst_options: dict[str, Any] = {}
        self._bodies: RequestSource | None = None
        self._helpers: list[Any] = []
        self._pool: list[Connection] = []
        self._next = 0
        self._quota: float = 0
        self._taken = 0
        self._watchdog = Watchdog()
        self._buffer = receive_buffer()
        self._context: Any = None
        self._key = os.environ.get(KEY_VARIABLE, "")

    def prepare(self, settings: LoadSettings, *, samples: bool) -> None:
        """Take the settings of the next run and start the analyst; raises :class:`RejoinderError` for bad ones."""
        self.settings = settings
        target = settings.target()
        self._bodies = RequestSource(settings.model, settings)
        self._target = target
        self._timeouts = Timeouts(settings.connect_timeout, settings.idle_timeout, settings.total_timeout)
        self._headers = request_headers(__version__, self._key)
        if target.tls and self._context is None:
            import ssl

            self._context = ssl.create_default_context()
        options = {
            "path": target.path,
            "headers": list(map(list, request_headers(__version__))),
            "dialect": settings.dialect,
            "samples": samples,
            "slos": list(settings.slos),
        }
        if self._analyst is None or self._analyst_options != options:
            if self._analyst is not None:
                self._analyst.close()
            self._analyst_options = options
            self._analyst = AnalysisClient(options, self._on_brief, self._on_analyst_report)

    def ready(self) -> bool:
        """Wait until requests can be sent."""
        return self._analyst is not None and self._analyst.wait_ready()

    def begin(self, zero: int, index: int, count: int) -> None:
        """Begin a run at a clock reading, as process ``index`` of ``count``."""
        assert self.settings is not None
        assert self._analyst is not None
        self.zero, self.index, self.count = zero, index, count
        self.check = SelfCheck()
        self.finished = self.failed = self._next = self._taken = 0
        requests = self.settings.requests
        self._quota = float("inf") if requests is None else len(range(index, requests, count))
        self.stopping = False
        self.output_tally = []
        self._analyst.begin(zero, index)
        # Objects made so far live for ever; leaving them out keeps the collector's pauses short while measuring.
        gc.collect()
        gc.freeze()
        self._helpers = [
            gevent.spawn(self._probe),
            gevent.spawn(self._measure_cpu),
            gevent.spawn(self._reports),
            gevent.spawn(self._watch),
        ]
        if self.settings.mode == "open":
            self._helpers.append(gevent.spawn(self._dispatch))
        self.running.set()
        self._tell_spent()

    def _take(self) -> bool:
        """Take leave to begin one more request; return whether there was any left."""
        if self._taken >= self._quota:
            return False
        self._taken += 1
        return True

    def _tell_spent(self) -> None:
        """Say so when all requests that this process may begin have ended."""
        if self.check.started >= self._quota and not self.in_flight and not self.stopping:
            self.on_spent()

    def closed_loop(self, number: int) -> None:
        """Be one user of the closed loop until the run ends; ``number`` spreads the first requests."""
        self.running.wait()
        settings = self.settings
        assert settings is not None
        users = max(1, self.environment.runner.target_user_count if self.environment.runner else 1)
        place = (number % users + self.index / self.count) / users
        due = max(self.zero + round(settings.ramp_seconds * 1e9 * place), perf_counter_ns())
        end = self._issue_end()
        pause = 0.0
        while True:
            _sleep_until(due)
            if self.stopping or due >= end or not self._take():
                return
            slot = self._next * self.count + self.index
            self._next += 1
            reception = self.issue(slot, due)
            pause = _pause_after(reception, pause)
            due = perf_counter_ns() + round(pause * 1e9)

    def issue(self, slot: int, intended: int, connection: Connection | None = None) -> RawReply:
        """Send the requests of one slot in this greenlet and hand their recordings to the analyst; return the last."""
        assert self._bodies is not None
        zero = self.zero
        conversation = self._bodies.conversation(slot)
        turn = conversation.next(None)
        assert turn is not None
        number = 0
        while True:
            reception = self._send(slot, number, intended, conversation, turn, connection)
            if not conversation.left or reception.outcome is not Outcome.COMPLETE:
                return reception
            turn = conversation.next(final_response(reception.receives))
            if turn is None:
                return reception
            gevent.sleep(turn.think)
            # Between two requests nobody waits for this greenlet, so the run may have ended meanwhile.
            if self.stopping or self.zero != zero or perf_counter_ns() >= self._issue_end() or not self._take():
                return reception
            number += 1
            intended = perf_counter_ns()

    def _send(
        self,
        slot: int,
        number: int,
        intended: int,
        conversation: Conversation,
        turn: PlannedRequest,
        connection: Connection | None,
    ) -> RawReply:
        """Send one request and hand its recording to the analyst."""
        assert self._analyst is not None
        while self._analyst.backlog > _BACKLOG_TO_WAIT:
            self.check.throttled = True
            gevent.sleep(0.01)
        dispatched = perf_counter_ns()
        me = gevent.getcurrent()
        message = request_message(self._target, self._headers, turn.body)
        if connection is None:
            connection = self._pool.pop() if self._pool else self._connection()
        opened = connection.opened
        self.check.started += 1
        self.in_flight.add(me)
        self.check.max_in_flight = max(self.check.max_in_flight, len(self.in_flight))
        timer = None if turn.cancel_after is None else gevent.spawn_later(turn.cancel_after, connection.cancel)
        tags: tuple[str, ...] = ()
        created: list[tuple[int, bytes]] = []
        try:
            reception = first = connection.perform(message)
            if turn.poll:
                reception = self._poll(connection, first, turn.poll)
                if reception is not first:
                    tags, created = (Tag.BACKGROUND,), first.receives
        finally:
            self.in_flight.discard(me)
            if timer is not None:
                timer.kill(block=False)
        if reception.cancelled:
            tags = (*tags, Tag.CANCELLED)
        self.check.reconnects += connection.opened > 1 and connection.opened > opened
        self._analyst.submit(
            Recording(
                slot,
                intended,
                dispatched,
                reception.begun,
                reception.ended,
                reception.wall,
                reception.outcome.value,
                reception.detail,
                turn.body,
                reception.receives,
                not self._analyst.busy or slot % _JUDGE_ONE_IN == 0,
                reception.reused,
                number,
                conversation.kind.name,
                conversation.canary,
                tags,
                created,
            )
        )
        self._pool.append(connection)
        self._tell_spent()
        if reception.interrupt is not None and not isinstance(reception.interrupt, Censored):
            raise reception.interrupt
        return reception

    def _poll(self, connection: Connection, first: RawReply, every: float) -> RawReply:
        """Ask for a response in the background until it has ended; return that reply with the times of the whole."""
        reception = first
        while reception.outcome is Outcome.COMPLETE:
            response = final_response(reception.receives)
            if response is None or response.get("status") not in ("queued", "in_progress"):
                break
            try:
                gevent.sleep(every)
            except BaseException as error:
                reception.interrupt = error
                reception.outcome, reception.detail = Outcome.CANCELLED, "in the background when the run ended"
                reception.ended = perf_counter_ns()
                break
            if perf_counter_ns() - first.begun > self._timeouts.total * 1e9:
                reception.outcome = Outcome.TIMEOUT
                reception.detail = f"still in the background after {self._timeouts.total:g} s"
                break
            asked = request_message(self._target, self._headers, b"", method="GET", below=f"/{quote(response['id'])}")
            reception = connection.perform(asked)
        reception.begun, reception.wall = first.begun, first.wall
        return reception

    def finish(self, drain: float) -> None:
        """End the run: start nothing, let what is in flight end within ``drain`` seconds, censor the rest, report."""
        if not self.running.is_set() or self.stopping:
            return
        self.stopping = True
        deadline = monotonic() + drain
        while self.in_flight and monotonic() < deadline:
            gevent.sleep(0.01)
        for greenlet in list(self.in_flight):
            gevent.kill(greenlet, Censored())
        while self.in_flight:
            gevent.sleep(0.001)
        gevent.killall(self._helpers, block=True)
        assert self._analyst is not None
        self._analyst.ask_report()
        if not self._analyst.wait_idle(_ANALYST_END):
            logger.error("The analysing process did not finish; %d results are missing.", self._analyst.backlog)
        self.check.analyst_lost = self._analyst.lost
        for connection in self._pool:
            connection.close()
        self._pool.clear()
        self.running.clear()
        gc.unfreeze()

    def progress(self) -> dict[str, int]:
        """Return the counts of the run so far."""
        return {
            "started": self.check.started,
            "finished": self.finished,
            "failed": self.failed,
            "in_flight": len(self.in_flight),
        }

    def _issue_end(self) -> float:
        assert self.settings is not None
        return self.zero + self.settings.duration * 1e9 if self.settings.duration else float("inf")

    def _dispatch(self) -> None:
        settings = self.settings
        assert settings is not None
        slots = gevent.lock.BoundedSemaphore(settings.max_in_flight)

        def one(slot: int, intended: int) -> None:
            try:
                self.issue(slot, intended)
            finally:
                slots.release()

        for slot, offset in share(settings.schedule(), self.index, self.count):
            intended = self.zero + round(offset * 1e9)
            _sleep_until(intended)
            if slots.locked():
                self.check.capped += 1
            slots.acquire()
            if self.stopping or not self._take():
                return
            gevent.spawn(one, slot, intended)

    def _probe(self) -> None:
        """Measure how late this process wakes up; a stream's time stamps are late by as much."""
        add = self.check.loop_lag.add
        _sleep_until(self.zero)
        while True:
            before = perf_counter_ns()
            gevent.sleep(_PROBE)
            add((perf_counter_ns() - before) / 1e9 - _PROBE)

    def _measure_cpu(self) -> None:
        _sleep_until(self.zero)
        wall, used = monotonic(), process_time()
        while True:
            gevent.sleep(1.0)
            now, total = monotonic(), process_time()
            self.check.cpu.append((total - used) / (now - wall))
            wall, used = now, total

    def _connection(self) -> Connection:
        return Connection(self._target, self._timeouts, self._context, self._watchdog, self._buffer)

    def _watch(self) -> None:
        while True:
            gevent.sleep(_WATCH_EVERY)
            self._watchdog.check()

    def _reports(self) -> None:
        while True:
            gevent.sleep(_REPORT_EVERY)
            if self._analyst is not None:
                self._analyst.ask_report()

    def _on_brief(self, brief: RequestSummary) -> None:
        self.finished += 1
        ok = brief.outcome in (*ENDED_WELL, "cancelled")
        self.failed += not ok
        name = self._target.path
        hooks: Any = self.environment.events
        hooks.request.fire(
            request_type="POST",
            name=name,
            response_time=brief.duration * 1e3,
            response_length=brief.size,
            exception=None if ok else RequestFailedError(f"{brief.outcome}: {brief.detail}"),
            context={},
        )
        # Rows of their own in Locust's table that do not enter its totals.
        if ok and brief.ttft is not None:
            self.environment.stats.get(name, "TTFT").log(round(brief.ttft * 1e3, 3), 0)  # type: ignore[arg-type]
        if ok and brief.tpot is not None:
            self.environment.stats.get(name, "TPOT").log(round(brief.tpot * 1e3, 3), 0)  # type: ignore[arg-type]

    def _on_analyst_report(self, report: bytes) -> None:
        if self.on_report is not None:
            self.on_report(report)


def _sleep_until(at: int) -> None:
    """Sleep until a clock reading; gevent's timers are coarse, so the last millisecond is spent in shorter turns."""
    while (left := at - perf_counter_ns()) > 0:
        gevent.sleep(left / 1e9 - 0.001 if left > 2_000_000 else 0.0002)


def _pause_after(reception: RawReply, last: float) -> float:
    """Return how long a user waits before its next request: not at all, unless this one could not be served.

    Without it a closed loop against a dead or refusing server would spin.
    """
    served = reception.outcome is Outcome.COMPLETE and bool(reception.receives)
    if served and reception.receives[0][1][9:12] < b"400":
        return 0.0
    return min(_PAUSE[1], last * 2) if last else _PAUSE[0]


class Output:
    """The file through which a run started by rejoinder hands over what it measured; without one, keeps the tallies.

    Lines: ``begin``, ``progress``, ``tally`` (a tally since the last one), ``check`` (a process's self-check), ``end``
    and ``error``. A file never makes the generator wait for its reader, as a pipe would.
    """

    def __init__(self, path: str) -> None:
        self.kept: list[bytes] = []
        self.checks: list[SelfCheck] = []
        # Open for the life of the process.
        self._file = open(path, "ab", buffering=0) if path else None  # noqa: SIM115, PTH123

    @property
    def to_file(self) -> bool:
        """Whether a parent process reads the results."""
        return self._file is not None

    def line(self, kind: str, **fields: Any) -> None:
        """Write one line."""
        if self._file is not None:
            self._file.write(json.dumps({"kind": kind, **fields}).encode() + b"\n")

    def tally(self, report: bytes) -> None:
        """Pass on an analyst's report, as it is."""
        if self._file is not None:
            self._file.write(b'{"kind":"tally","tally":' + report + b"}\n")
        else:
            self.kept.append(report)

    def check(self, check: dict[str, Any]) -> None:
        """Pass on the self-check of one process."""
        self.line("check", check=check)
        self.checks.append(SelfCheck.from_json(check))


class Coordinator:
    """Connects Locust's events with the engine, in each of its three sorts of process."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.runner: Any = environment.runner
        self.is_master = isinstance(self.runner, MasterRunner)
        self.is_worker = isinstance(self.runner, WorkerRunner)
        self.engine = None if self.is_master else Engine(environment)
        self.output = Output(os.environ.get(OUTPUT_VARIABLE, "") if not self.is_worker else "")
        self.settings: LoadSettings | None = None
        self.zero = 0
        self.stopped_at = 0
        self._waiting: set[str] = set()
        self._spent: set[str] = set()
        self._ready: set[str] = set()
        self._starter: Any = None
        self._all_done = gevent.event.Event()
        self._timer: Any = None
        self._reported: dict[str, dict[str, int]] = {}
        self._unsent: list[bytes] = []
        self._ticker: Any = None
        self._users = 0
        self._hurry = False

    def install(self) -> None:
        """Register the listeners and start what this process needs before a run."""
        hooks: Any = self.environment.events
        hooks.test_start.add_listener(self._on_test_start)
        hooks.spawning_complete.add_listener(self._on_spawning_complete)
        hooks.test_stopping.add_listener(self._on_test_stopping)
        hooks.test_stop.add_listener(self._on_test_stop)
        if self.is_master:
            self.runner.register_message("rejoinder_ready", self._on_worker_ready)
            self.runner.register_message("rejoinder_done", self._on_worker_done)
            self.runner.register_message("rejoinder_spent", self._on_worker_spent)
            hooks.worker_report.add_listener(self._on_worker_report)
        if self.is_worker:
            self.runner.register_message("rejoinder_begin", self._on_begin)
            self.runner.register_message("rejoinder_finish", self._on_finish, concurrent=True)
            hooks.report_to_master.add_listener(self._on_report_to_master)
        if self.engine is not None:
            self.engine.on_report = self._unsent.append if self.is_worker else self.output.tally
            self.engine.on_spent = self._on_spent
        control = os.environ.get(CONTROL_VARIABLE)
        if control and not self.is_worker:
            gevent.spawn(self._watch_control, int(control))
        if self.is_worker and not self.environment.host:
            return  # a worker of a separate command gets host and options from its master, with the start of the run
        try:
            self._prepare()
            if self.engine is not None:
                # Locust's own --run-time counts from here, so the start of the analyst must not be part of it.
                self._await_analyst()
        except RejoinderError as error:
            # In the web interface the options can still be completed; without one nothing can be.
            if self._headless:
                self._give_up(error)

    @property
    def _headless(self) -> bool:
        options = self.environment.parsed_options
        return bool(options and options.headless)

    def next_user(self) -> int:
        """Return a number for a new user of this process."""
        self._users += 1
        return self._users - 1

    def _prepare(self) -> None:
        options = self.environment.parsed_options
        values = {name: getattr(options, f"rejoinder_{name}", None) for name in _OPTIONS}
        if values.get("rate") in (None, 0, 0.0):
            values["rate"] = None
        settings = LoadSettings.from_mapping({**values, "url": self.environment.host or ""})
        settings.target()
        parse_slos(settings.slos)
        next(settings.schedule(), None)
        self.settings = settings
        if self.engine is not None:
            self.engine.prepare(settings, samples=bool(os.environ.get(OUTPUT_VARIABLE)))

    def _await_analyst(self) -> None:
        if self.engine is not None and not self.engine.ready():
            raise RejoinderError(
                "The process that analyses the streams did not start.", "The lines before this one say why."
            )

    def _give_up(self, error: RejoinderError) -> None:
        self.output.line("error", message=error.message, hint=error.hint)
        logger.error("%s", error)
        self.environment.process_exit_code = 2
        sys.exit(2)

    def _on_test_start(self, **_: Any) -> None:
        self._users = 0
        try:
            self._prepare()
        except RejoinderError as error:
            logger.error("%s", error)
            gevent.spawn(self._stop)
            return
        if self.is_worker:
            gevent.spawn(self._tell_ready)
        else:
            self.output.kept.clear()
            self.output.checks.clear()
            self._ready.clear()

    def _tell_ready(self) -> None:
        assert self.engine is not None
        if self.engine.ready():
            self.runner.send_message("rejoinder_ready", None)
        else:
            self.runner.quit()

    def _on_spawning_complete(self, **_: Any) -> None:
        if self.is_worker or self.settings is None or self._starter is not None:
            return  # a worker begins when the master says so; a change of the number of users is no new run
        self._starter = gevent.spawn(self._begin_workers if self.is_master else self._begin_here)

    def _begin_workers(self) -> None:
        """Give all workers one time zero, as soon as each has its analyst."""
        # One that has not yet said that its users are there takes part too; it only has to be alive.
        gone = (runners.STATE_MISSING, runners.STATE_STOPPING, runners.STATE_STOPPED)
        deadline = monotonic() + _ANALYST_START
        while True:
            clients = [client.id for client in self.runner.clients.all if client.state not in gone]
            if self._ready.issuperset(clients) or monotonic() > deadline:
                break
            gevent.sleep(0.05)
        clients = [client for client in clients if client in self._ready]
        if not clients:
            logger.error("No worker is ready to send requests.")
            self._stop()
            return
        self.zero = perf_counter_ns() + 2 * _LEAD
        for index, client in enumerate(clients):
            message = {"zero": self.zero, "index": index, "count": len(clients)}
            self.runner.send_message("rejoinder_begin", message, client_id=client)
        self._waiting = set(clients)
        self._spent.clear()
        self._all_done.clear()
        self._begun(len(clients))

    def _on_worker_ready(self, environment: Environment, msg: Any, **_: Any) -> None:
        self._ready.add(msg.node_id)

    def _begin_here(self) -> None:
        assert self.engine is not None
        try:
            self._await_analyst()
        except RejoinderError as error:
            logger.error("%s", error)
            self._stop()
            return
        self.zero = perf_counter_ns() + _LEAD
        self.engine.begin(self.zero, 0, 1)
        self._begun(1)

    def _begun(self, processes: int) -> None:
        assert self.settings is not None
        lead = (self.zero - perf_counter_ns()) / 1e9
        self.output.line("begin", processes=processes, settings=self.settings.to_json(), zero=self.zero)
        self._ticker = gevent.spawn(self._progress)
        if self.settings.duration:
            self._timer = gevent.spawn_later(lead + self.settings.duration, self._stop)
        if self.is_master and self.settings.requests is not None:
            gevent.spawn(self._stop_when_spent, self.zero)

    def _on_spent(self) -> None:
        if self.is_worker:
            self.runner.send_message("rejoinder_spent", None)
        else:
            gevent.spawn(self._stop)

    def _on_worker_spent(self, environment: Environment, msg: Any, **_: Any) -> None:
        self._spent.add(msg.node_id)

    def _stop_when_spent(self, zero: int) -> None:
        """Stop the run once every worker that is alive has ended all requests that it may begin."""
        while self.zero == zero and not self.stopped_at:
            gevent.sleep(_WATCH_EVERY)
            if not (self._waiting & self._alive()) - self._spent:
                self._stop()
                return

    def _alive(self) -> set[str]:
        return {client.id for client in self.runner.clients.all if client.state != runners.STATE_MISSING}

    def _progress(self) -> None:
        while self.output.to_file:
            gevent.sleep(_PROGRESS_EVERY)
            self.output.line("progress", t=round((perf_counter_ns() - self.zero) / 1e9, 3), **self._counts())

    def _counts(self) -> dict[str, int]:
        parts = [self.engine.progress()] if self.engine is not None else list(self._reported.values())
        return {name: sum(part[name] for part in parts) for name in ("started", "finished", "failed", "in_flight")}

    def _watch_control(self, descriptor: int) -> None:
        """Stop when the parent closes its end, by intent or by dying."""
        gevent.os.make_nonblocking(descriptor)
        while gevent.os.nb_read(descriptor, 1):
            pass
        self._hurry = True
        self._stop()

    def _stop(self) -> None:
        self._timer = None
        if self._headless:
            self.runner.quit()
        else:
            self.runner.stop()

    def _on_test_stopping(self, **_: Any) -> None:
        """Runs inside ``runner.stop``, before users are stopped: hold that up until everything is accounted for."""
        if self.stopped_at or not self.zero:
            return
        self.stopped_at = perf_counter_ns()
        if self._timer is not None:
            self._timer.kill(block=False)
            self._timer = None
        assert self.settings is not None
        drain = min(self.settings.drain, INTERRUPT_DRAIN) if self._hurry else self.settings.drain
        issued = max(0.0, (self.stopped_at - self.zero) / 1e9)
        if self.is_master:
            self.runner.send_message("rejoinder_finish", {"drain": drain})
            self._wait_for_workers(drain + _ANALYST_END)
        elif self.engine is not None:
            self.engine.finish(drain)
            if not self.is_worker:
                self.output.check(self.engine.check.to_json())
        if self._ticker is not None:
            self._ticker.kill(block=False)
            self._ticker = None
        if not self.is_worker:
            if limit := self.settings.offered if self.settings.mode == "open" else self.settings.duration:
                issued = min(issued, limit)
            self.output.line("progress", t=round((perf_counter_ns() - self.zero) / 1e9, 3), **self._counts())
            self.output.line("end", issued=round(issued, 3))
            if not self.output.to_file:
                self._print_summary(issued)

    def _wait_for_workers(self, limit: float) -> None:
        """Wait until every worker has reported its end, or is known to be dead."""
        deadline = monotonic() + limit
        while self._waiting and monotonic() < deadline:
            self._all_done.wait(0.2)
            for dead in self._waiting - self._alive():
                self._waiting.discard(dead)
                counts = self._reported.get(dead, {})
                self.output.check(SelfCheck(started=counts.get("started", 0), died=True).to_json())

    def _on_test_stop(self, **_: Any) -> None:
        if self._starter is not None and self._starter is not gevent.getcurrent():
            self._starter.kill(block=False)
        self._starter = None
        self.zero = self.stopped_at = 0
        self._reported.clear()

    def _on_begin(self, environment: Environment, msg: Any, **_: Any) -> None:
        def begin() -> None:
            assert self.engine is not None
            self.engine.ready()
            self.zero = msg.data["zero"]
            self.engine.begin(self.zero, msg.data["index"], msg.data["count"])

        gevent.spawn(begin)

    def _on_finish(self, environment: Environment, msg: Any, **_: Any) -> None:
        assert self.engine is not None
        self.engine.finish(msg.data["drain"])
        self.runner._send_stats()
        self.runner.send_message("rejoinder_done", {"check": self.engine.check.to_json()})

    def _on_report_to_master(self, client_id: str, data: dict[str, Any]) -> None:
        assert self.engine is not None
        data["rejoinder"] = {"tallies": self._unsent[:], "progress": self.engine.progress()}
        self._unsent.clear()

    def _on_worker_report(self, client_id: str, data: dict[str, Any]) -> None:
        report = data.get("rejoinder")
        if report and self.zero:
            for tally in report["tallies"]:
                self.output.tally(tally)
            self._reported[client_id] = report["progress"]

    def _on_worker_done(self, environment: Environment, msg: Any, **_: Any) -> None:
        self.output.check(msg.data["check"])
        self._waiting.discard(msg.node_id)
        if not self._waiting:
            self._all_done.set()

    def _print_summary(self, issued: float) -> None:
        """Print the result of a run in plain Locust, whose own table knows neither gaps nor outcomes."""
        assert self.settings is not None
        tally = RunStats()
        for report in self.output.kept:
            tally.merge(RunStats.from_json(json.loads(report)))
        line = load_line(tally, self.output.checks, self.settings, issued=issued)
        outcomes = ", ".join(f"{name} {line['outcomes'][name]}" for name in OUTCOMES if name in line["outcomes"])
        if line["unjudged"]:
            logger.info("rejoinder: %s", unjudged_sentence(line))
        logger.info("rejoinder: %d started: %s", line["started"], outcomes or "none")
        for metric in ("ttft", "itl", "max_gap", "tpot", "e2e", "e2e_intended"):
            histogram = tally.histograms.get(metric)
            if histogram is not None:
                logger.info("rejoinder: %-12s %s", metric, _row(histogram))
        check = line["self_check"]
        for result in line.get("slos", ()):
            logger.info("rejoinder: %s", describe(result))
        logger.info("rejoinder: measurement %s. %s", check["verdict"], "; ".join(check["reasons"]))
        if missed(line.get("slos", ())):
            self.environment.process_exit_code = 1


def _row(histogram: Histogram) -> str:
    parts = [f"n {histogram.n:6d}"]
    for percent in (50, 90, 99, 100):
        value = histogram.percentile(percent)
        parts.append(f"{'max' if percent == 100 else f'p{percent}'} {0.0 if value is None else value * 1e3:10.2f} ms")
    return "  ".join(parts)


_OPTIONS: Final = {
    "model": (str, "Model to ask for; left out of the requests when empty."),
    "rate": (float, "Open loop: requests per second, whatever the number of users. Without it: one per user."),
    "phases": (str, "Open loop: a rate that changes, like 5@30s,5..50@1min,50@10min."),
    "trace": (str, "Open loop: file of recorded traffic (Mooncake, BurstGPT or Azure) to replay."),
    "speed": (float, "How many times as fast as it was recorded a trace is replayed."),
    "arrivals": (str, "Open loop: constant, poisson or gamma:B."),
    "duration": (float, "Seconds for which requests are issued; 0: until stopped."),
    "requests": (int, "Requests to begin, over all processes; the run ends when the last has ended."),
    "ramp": (float, "Closed loop: seconds over which the users send their first requests."),
    "drain": (float, "Seconds that requests in flight get at the end."),
    "max_output_tokens": (int, "Limit of the answers; 0: none."),
    "prompt": (str, "Text to send."),
    "bodies": (str, "File of request bodies, one JSON object a line."),
    "profile": (str, "Workload: the name of a shipped profile, or a file."),
    "canaries": (str, "Put a token of its own into each input, to find mixed-up answers: true or false."),
    "dialect": (str, "Dialect by whose rules the answers are judged."),
    "connect_timeout": (float, "Seconds to connect."),
    "idle_timeout": (float, "Seconds between two receives."),
    "total_timeout": (float, "Seconds for a whole request."),
    "max_in_flight": (int, "Open loop: most requests in flight in one process."),
    "seed": (int, "Seed of the schedule."),
    "slos": (str, "Objectives like ttft:p99<300ms, with semicolons between; a missed one makes the exit code 1."),
}


def _add_arguments(parser: Any, **_: Any) -> None:
    group = parser.add_argument_group("rejoinder", "Load on POST /v1/responses; the key comes from REJOINDER_API_KEY.")
    for name, (kind, text) in _OPTIONS.items():
        group.add_argument(
            f"--rejoinder-{name.replace('_', '-')}",
            type=kind,
            env_var=f"{ENVIRONMENT_PREFIX}{name.upper()}",
            default=0.0 if name == "duration" else None,
            help=text,
        )


_coordinators: dict[int, Coordinator] = {}


def _on_init(environment: Environment, **_: Any) -> None:
    coordinator = Coordinator(environment)
    _coordinators[id(environment)] = coordinator
    coordinator.install()


_TASKS: Final[deque[Any]] = deque()


class ResponsesUser(User):
    """One request at a time in the closed loop; in the open loop, only a sign that the run goes on."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self._coordinator = _coordinators[id(environment)]
        self._number = self._coordinator.next_user()

    def on_start(self) -> None:
        """Share one queue of tasks, which Locust makes for each user (0.7 KB) and which is empty but for a moment."""
        self._taskset_instance._task_queue = _TASKS  # type: ignore[union-attr]

    @task
    def send(self) -> None:
        """Send requests until the run ends."""
        engine = self._coordinator.engine
        assert engine is not None
        engine.running.wait()
        if engine.settings is not None and engine.settings.mode == "closed":
            engine.closed_loop(self._number)
        # Locust stops its users when the run has been drained.
        while engine.running.is_set():
            gevent.sleep(0.1)
        gevent.sleep(random.uniform(0.05, 0.15))


def install() -> None:
    """Hook the engine into Locust; called once by the locustfile."""
    if OUTPUT_VARIABLE in os.environ:
        runners.WORKER_REPORT_INTERVAL = _REPORT_EVERY
    hooks: Any = events
    hooks.init_command_line_parser.add_listener(_add_arguments)
    hooks.init.add_listener(_on_init)

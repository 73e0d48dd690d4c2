"""Connects Locust's events with the generator, in each kind of Locust process: alone, master, or worker.

A run ends in this order, whether its time is over, somebody stopped it, or a signal came: no request is started;
requests in flight may end within ``drain`` seconds; what is left is censored, which is an outcome; the analysis
worker's last report is passed on; a Locust worker sends its last statistics, then a message that the master waits
for. Otherwise Locust would lose what ended within its last reporting interval.
"""

from __future__ import annotations

import itertools
import logging
import os
import signal
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from io import RawIOBase
from pathlib import Path
from time import monotonic, perf_counter_ns
from typing import Any, Final

import gevent  # type: ignore[import-untyped]
import gevent.event  # type: ignore[import-untyped]
import gevent.os  # type: ignore[import-untyped]
from locust import events, runners
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from rejoinder.errors import ExitCode, RejoinderError
from rejoinder.load.generator.analysis_client import START_LIMIT
from rejoinder.load.generator.generator import ANALYSIS_LIMIT, COUNTS, REPORT_EVERY, Generator
from rejoinder.load.generator.locust_internals import report_every, send_stats
from rejoinder.load.generator.output import Output
from rejoinder.load.lifeline import RENEW_EVERY, Permit, ProcessRecord, die_with_parent, kill_orphan, output_part
from rejoinder.load.measure.self_check import SelfCheck
from rejoinder.load.objectives.slo import parse_slos
from rejoinder.load.options import (
    CONTROL_VARIABLE,
    OUTPUT_VARIABLE,
    PARENT_VARIABLE,
    add_locust_arguments,
    options_of,
)
from rejoinder.load.settings import INTERRUPT_DRAIN, LoadSettings

logger = logging.getLogger("rejoinder.load")

_LEAD: Final = 300_000_000
"""Nanoseconds between the decision to begin and time zero, so that every process is ready at time zero."""
_PROGRESS_EVERY: Final = 0.5
_WATCH_EVERY: Final = 0.1
_FIRST_PROCESS: Final = os.getpid()
"""The process that read the locustfile. Locust forks the workers of ``--processes`` from it later."""


class Coordinator(ABC):
    """What every kind of process does: it takes the options of a run from Locust and follows Locust's events."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.runner: Any = environment.runner
        self.settings: LoadSettings | None = None
        output = os.environ.get(OUTPUT_VARIABLE)
        self.folder = Path(output).parent if output else None
        """The folder of the run; ``None`` in plain Locust."""
        self.record = ProcessRecord(self.folder)

    def install(self) -> None:
        """Register the listeners and start what this process needs before a run."""
        self._guard()
        hooks: Any = self.environment.events
        hooks.test_start.add_listener(self._on_test_start)
        hooks.test_stopping.add_listener(self._on_test_stopping)
        if not self._has_options:
            return
        try:
            self._prepare()
            # Locust's own --run-time counts from here, so the start of the analysis worker must not be part of it.
            self._await_ready()
        except RejoinderError as error:
            # In the web interface the options can still be completed; without one nothing can be.
            if self._headless:
                self._report_error(error)
                self.environment.process_exit_code = error.exit_code
                sys.exit(error.exit_code)

    def _guard(self) -> None:
        """Let this process end with the one that started it: the command, or the master that it was forked from."""
        forked = os.getpid() != _FIRST_PROCESS
        parent = _FIRST_PROCESS if forked else int(os.environ.get(PARENT_VARIABLE, "0"))
        if parent:
            die_with_parent(parent)
            gevent.spawn(self._watch, parent)

    def _watch(self, parent: int) -> None:
        while True:
            kill_orphan(parent)
            if self.folder is not None:
                # Whoever sends SIGTERM to all processes of a run must not make them lose their results: the command
                # sees it in the record, and ends the run. Repeated, because Locust sets its own handler at some time.
                signal.signal(signal.SIGTERM, lambda *_: self.record.terminate())
            gevent.sleep(RENEW_EVERY)

    @property
    def _has_options(self) -> bool:
        return True

    @property
    def _headless(self) -> bool:
        options = self.environment.parsed_options
        return bool(options and options.headless)

    def _prepare(self) -> LoadSettings:
        """Take the options of the next run; raises :class:`RejoinderError` for bad ones."""
        options = self.environment.parsed_options
        values = {name: getattr(options, f"rejoinder_{name}", None) for name in options_of(LoadSettings)}
        if values["rate"] in ("0", 0):  # what Locust's web page sends for an empty field
            values["rate"] = None
        settings = LoadSettings.from_mapping({**values, "url": self.environment.host or ""})
        settings.address()
        settings.check_rate_limit()
        parse_slos(settings.slos)
        next(settings.schedule(), None)
        settings.for_warm_up()
        self.settings = settings
        return settings

    @abstractmethod
    def _await_ready(self) -> None:
        """Wait until this process can begin; raises :class:`RejoinderError` when it never can."""

    def _report_error(self, error: RejoinderError) -> None:
        """Say why nothing is sent."""
        logger.error("%s", error)

    def _on_test_start(self, **_: Any) -> None:
        try:
            self._prepare()
        except RejoinderError as error:
            logger.error("%s", error)
            gevent.spawn(self._stop)
            return
        self._on_prepared()

    @abstractmethod
    def _on_prepared(self) -> None:
        """Go on with the start of a run whose options are good."""

    @abstractmethod
    def _on_test_stopping(self, **_: Any) -> None:
        """Run inside ``runner.stop``, before users are stopped: hold that up until everything is accounted for."""

    def _stop(self) -> None:
        if self._headless:
            self.runner.quit()
        else:
            self.runner.stop()


@dataclass(slots=True)
class _CoordinatedRun:
    """A run under way, from its begin (``t0``, a clock reading) until Locust has stopped."""

    settings: LoadSettings
    t0: int
    stopped_at: int = 0
    timer: Any = None
    ticker: Any = None
    drained_at: float | None = None
    """When requests in flight are cut off, as ``time.monotonic`` counts, once the run is ending."""
    planned: bool = False
    """Whether the run ended when it was to end: its time was over, all of its requests had ended, or it was stopped."""
    warming_up: bool = False
    """Whether it is the warm-up of a run."""
    interrupted: bool = False
    """Whether somebody stopped the warm-up."""
    waiting: set[str] = field(default_factory=set)
    spent: Any = field(default_factory=gevent.event.Event)
    """Set when a warm-up is to end: its requests have ended, or somebody stops it."""
    done: Any = field(default_factory=gevent.event.Event)

    def seconds(self, clock: int) -> float:
        """Return a clock reading as seconds of the run."""
        return (clock - self.t0) / 1e9


class _Leader(Coordinator):
    """The process that begins and ends the run and writes its results: the only one, or the master."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        path = os.environ.get(OUTPUT_VARIABLE)
        # Open for the life of the process.
        file = open(path, "ab", buffering=0) if path else None  # noqa: SIM115, PTH123
        parts = itertools.count(1)

        def next_part() -> RawIOBase:
            return output_part(Path(path or ""), next(parts)).open("ab", buffering=0)

        self.output = Output(file, self._on_output_failure, next_part)
        self.run: _CoordinatedRun | None = None
        self._starter: Any = None
        self._hurry: float | None = None
        """Seconds that requests in flight get at most, once the command has stopped the run."""

    def install(self) -> None:
        hooks: Any = self.environment.events
        hooks.spawning_complete.add_listener(self._on_spawning_complete)
        hooks.test_stop.add_listener(self._on_test_stop)
        control = os.environ.get(CONTROL_VARIABLE)
        if control:
            gevent.spawn(self._watch_control, int(control))
        super().install()

    @abstractmethod
    def _start(self, settings: LoadSettings) -> None:
        """Begin the run, after its warm-up, in a greenlet of its own."""

    def _warm_up(self, settings: LoadSettings, begin: Callable[[_CoordinatedRun], None]) -> bool:
        """Send the warm-up, if there is one, and wait until its requests have ended, as those of a run are waited for.

        ``begin`` begins it in all processes. Returns whether the run may begin: nobody stopped its warm-up.
        """
        warm_up = settings.for_warm_up()
        if warm_up is None:
            return True
        run = self.run = _CoordinatedRun(warm_up, perf_counter_ns() + 2 * _LEAD, warming_up=True)
        try:
            begin(run)
            run.spent.wait(max(0.0, warm_up.duration - run.seconds(perf_counter_ns())))
            run.stopped_at = run.stopped_at or perf_counter_ns()
            self._finish(run, self._drain_of(warm_up))
            self.output.log_warm_up()
        finally:
            self.output.clear()
            run.done.set()
        return not run.interrupted

    @abstractmethod
    def _finish(self, run: _CoordinatedRun, drain: float) -> None:
        """End the run and take what is left of its results."""

    @abstractmethod
    def _hurry_up(self, drain: float) -> None:
        """Give requests in flight no more than ``drain`` seconds, in a run that is ending."""

    @abstractmethod
    def _counts(self) -> dict[str, int]:
        """Return how many requests have started, finished, failed, and are in flight."""

    def _report_error(self, error: RejoinderError) -> None:
        self.output.line("error", message=error.message, hint=error.hint)
        super()._report_error(error)

    def _on_prepared(self) -> None:
        self.output.clear()

    def _on_spawning_complete(self, **_: Any) -> None:
        if self.settings is not None and self._starter is None:  # a change of the number of users is no new run
            self._starter = gevent.spawn(self._start, self.settings)

    def _announce(self, run: _CoordinatedRun, processes: int) -> None:
        self.output.line("begin", processes=processes, settings=run.settings.to_json(), t0=run.t0)
        run.ticker = gevent.spawn(self._progress, run)
        if run.settings.duration:
            lead = -run.seconds(perf_counter_ns())
            run.timer = gevent.spawn_later(lead + run.settings.duration, self._end)

    def _progress(self, run: _CoordinatedRun) -> None:
        while self.output.to_file:
            gevent.sleep(_PROGRESS_EVERY)
            self._write_progress(run)

    def _write_progress(self, run: _CoordinatedRun) -> None:
        left = {} if run.drained_at is None else {"waits": round(max(0.0, run.drained_at - monotonic()), 1)}
        seconds = round(run.seconds(perf_counter_ns()), 3)
        self.output.line("progress", t=seconds, ending=bool(run.stopped_at), **self._counts(), **left)

    def _watch_control(self, descriptor: int) -> None:
        """Stop when the parent closes its end, by intent or by dying."""
        gevent.os.make_nonblocking(descriptor)
        text = b""
        while piece := gevent.os.nb_read(descriptor, 64):
            text += piece
        self._hurry = float(text or INTERRUPT_DRAIN)
        if self.run is not None and self.run.drained_at is not None:
            self.run.drained_at = min(self.run.drained_at, monotonic() + self._hurry)
            self._hurry_up(self._hurry)
        self._end()

    def _end(self) -> None:
        """Stop as planned."""
        if self.run is not None:
            self.run.planned = True
        self._stop()

    def _on_output_failure(self, error: OSError) -> None:
        """Stop, and let the command know: what is measured from here on would be lost."""
        self.record.fail(error.errno or 0)
        self._hurry = 0.0
        gevent.spawn(self._stop)

    def _stop(self) -> None:
        if self.run is not None:
            self.run.timer = None
        super()._stop()

    def _on_test_stopping(self, **_: Any) -> None:
        run = self.run
        if run is None:
            return
        if run.warming_up:
            # The greenlet that began it ends it, and does not begin the run.
            run.interrupted = True
            run.spent.set()
            self._hurry_up(INTERRUPT_DRAIN)
            run.done.wait()
            logger.warning("rejoinder: stopped in the warm-up, so nothing was measured")
            self.environment.process_exit_code = ExitCode.NOT_TESTED
            return
        if run.stopped_at:
            # Whoever stops it once more, such as Locust's own handlers, must not end the process before the first does.
            run.done.wait()
            return
        run.stopped_at = perf_counter_ns()
        if run.timer is not None:
            run.timer.kill(block=False)
            run.timer = None
        try:
            self._account(run)
        finally:
            run.done.set()

    def _account(self, run: _CoordinatedRun) -> None:
        """End the run and write all that is left of its results."""
        settings = run.settings
        drain = self._drain_of(settings)
        run.drained_at = monotonic() + drain
        self._finish(run, drain)
        if run.ticker is not None:
            run.ticker.kill(block=False)
        issued = max(0.0, run.seconds(run.stopped_at))
        if limit := settings.offered if settings.mode == "open" else settings.duration:
            issued = min(issued, limit)
        self._write_progress(run)
        self.output.line("end", issued=round(issued, 3), planned=run.planned)
        self.record.end()
        if not self.output.to_file and not self.output.log_summary(settings, issued):
            self.environment.process_exit_code = ExitCode.FAILED

    def _drain_of(self, settings: LoadSettings) -> float:
        return settings.drain_seconds if self._hurry is None else min(settings.drain_seconds, self._hurry)

    def _on_test_stop(self, **_: Any) -> None:
        if self._starter is not None and self._starter is not gevent.getcurrent():
            self._starter.kill(block=False)
        self._starter = self.run = None


class _Sender(Coordinator):
    """A process that sends requests."""

    generator: Generator

    def _make_generator(self, on_report: Callable[[bytes], None], on_spent: Callable[[], None]) -> Generator:
        return Generator(
            self.environment,
            on_report=on_report,
            on_spent=on_spent,
            on_lost=self._on_lost,
            permit=Permit(self.folder),
            record=self.record,
        )

    @abstractmethod
    def _on_lost(self) -> None:
        """End the run, because its analysis worker has died."""

    def _prepare(self) -> LoadSettings:
        settings = super()._prepare()
        self.generator.prepare(settings, samples=OUTPUT_VARIABLE in os.environ)
        return settings

    def _await_ready(self) -> None:
        if not self.generator.ready():
            raise RejoinderError(
                "The analysis worker did not start.", "Please report this as a bug, with Locust's log."
            )


class SingleProcess(_Sender, _Leader):
    """The only process: it sends the requests itself."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.generator = self._make_generator(self.output.report, self._on_spent)

    def _on_spent(self) -> None:
        if self.run is not None and self.run.warming_up:
            self.run.spent.set()
        else:
            gevent.spawn(self._end)

    def _on_lost(self) -> None:
        gevent.spawn(self._stop)

    def _start(self, settings: LoadSettings) -> None:
        try:
            self._await_ready()
        except RejoinderError as error:
            logger.error("%s", error)
            self._stop()
            return
        if not self._warm_up(settings, lambda run: self.generator.begin(run.t0, 0, 1, warm_up=True)):
            return
        run = self.run = _CoordinatedRun(settings, perf_counter_ns() + _LEAD)
        self.generator.begin(run.t0, 0, 1)
        self._announce(run, 1)

    def _finish(self, run: _CoordinatedRun, drain: float) -> None:
        self.output.check(self.generator.finish(drain).to_json())

    def _hurry_up(self, drain: float) -> None:
        self.generator.hurry(drain)

    def _counts(self) -> dict[str, int]:
        return self.generator.progress()


class Master(_Leader):
    """The master of several workers: it gives all of them one time zero and waits for the end of each."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self._ready: set[str] = set()
        self._spent: set[str] = set()
        self._all_done = gevent.event.Event()
        self._reported: dict[str, dict[str, int]] = {}
        self._pids: dict[str, int] = {}

    def install(self) -> None:
        self.runner.register_message("rejoinder_ready", self._on_worker_ready)
        self.runner.register_message("rejoinder_lost", lambda **_: gevent.spawn(self._stop))
        self.runner.register_message("rejoinder_spent", lambda msg, **_: self._spent.add(msg.node_id))
        self.runner.register_message("rejoinder_done", self._on_worker_done)
        hooks: Any = self.environment.events
        hooks.worker_report.add_listener(self._on_worker_report)
        super().install()

    def _on_prepared(self) -> None:
        super()._on_prepared()
        self._ready.clear()

    def _await_ready(self) -> None:
        """A master sends nothing, and waits for its workers when users spawn."""

    def _start(self, settings: LoadSettings) -> None:
        """Begin as soon as every worker has its analysis worker."""
        # One that has not yet said that its users are there takes part too; it only has to be alive.
        gone = (runners.STATE_MISSING, runners.STATE_STOPPING, runners.STATE_STOPPED)
        deadline = monotonic() + START_LIMIT
        while True:
            clients = [client.id for client in self.runner.clients.all if client.state not in gone]
            if self._ready.issuperset(clients) or monotonic() > deadline:
                break
            gevent.sleep(0.05)
        clients = [client for client in clients if client in self._ready]
        if not clients:
            logger.error("No Locust worker is ready, so no requests are sent. Check the workers' logs.")
            self._stop()
            return
        if not self._warm_up(settings, lambda run: self._begin(run, clients)):
            return
        if self.run is not None:
            # Locust's rates count from the end of the warm-up, and a worker may have died in it.
            self.environment.stats.reset_all()
            clients = [client for client in clients if client in self._alive()]
        run = self.run = _CoordinatedRun(settings, perf_counter_ns() + 2 * _LEAD)
        self._begin(run, clients)
        self._announce(run, len(clients))

    def _begin(self, run: _CoordinatedRun, clients: list[str]) -> None:
        """Let the workers begin a run, or its warm-up."""
        run.waiting = set(clients)
        self._spent.clear()
        self._all_done.clear()
        self._reported.clear()
        for index, client in enumerate(clients):
            message = {"t0": run.t0, "index": index, "count": len(clients), "warm_up": run.warming_up}
            self.runner.send_message("rejoinder_begin", message, client_id=client)
        if run.settings.requests is not None:
            gevent.spawn(self._stop_when_spent, run)

    def _stop_when_spent(self, run: _CoordinatedRun) -> None:
        """Stop the run once every worker that is alive has ended all requests that it may begin."""
        while self.run is run and not run.stopped_at:
            gevent.sleep(_WATCH_EVERY)
            if not (run.waiting & self._alive()) - self._spent:
                if run.warming_up:
                    run.spent.set()
                else:
                    self._end()
                return

    def _alive(self) -> set[str]:
        """Return the workers that live. Locust takes seconds to see that one does not."""
        clients = {client.id for client in self.runner.clients.all if client.state != runners.STATE_MISSING}
        return {client for client in clients if self.folder is None or _exists(self._pids.get(client, 0))}

    def _on_worker_ready(self, msg: Any, **_: Any) -> None:
        self._ready.add(msg.node_id)
        self._pids[msg.node_id] = msg.data

    def _finish(self, run: _CoordinatedRun, drain: float) -> None:
        """Wait until every worker has reported its end, or is known to be dead."""
        self.runner.send_message("rejoinder_finish", {"drain": drain})
        deadline = monotonic() + drain + ANALYSIS_LIMIT
        while run.waiting and monotonic() < deadline:
            self._all_done.wait(0.2)
            for dead in run.waiting - self._alive():
                run.waiting.discard(dead)
                counts = self._reported.get(dead, {})
                self.output.check(SelfCheck(started=counts.get("started", 0), died=True).to_json())

    def _hurry_up(self, drain: float) -> None:
        self.runner.send_message("rejoinder_hurry", {"drain": drain})

    def _counts(self) -> dict[str, int]:
        return {name: sum(counts[name] for counts in self._reported.values()) for name in COUNTS}

    def _on_worker_report(self, client_id: str, data: dict[str, Any]) -> None:
        report = data.get("rejoinder")
        if report and self.run is not None:
            for statistics in report["reports"]:
                self.output.report(statistics)
            self._reported[client_id] = report["progress"]

    def _on_worker_done(self, msg: Any, **_: Any) -> None:
        self.output.check(msg.data["check"])
        if self.run is not None:
            self.run.waiting.discard(msg.node_id)
            if not self.run.waiting:
                self._all_done.set()

    def _on_test_stop(self, **_: Any) -> None:
        super()._on_test_stop()
        self._reported.clear()


class Worker(_Sender):
    """A worker: it sends its share of the requests when the master says so."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self._unsent: list[bytes] = []
        self.generator = self._make_generator(
            self._unsent.append, lambda: self.runner.send_message("rejoinder_spent", None)
        )

    def _on_lost(self) -> None:
        self.runner.send_message("rejoinder_lost", None)

    def install(self) -> None:
        self.runner.register_message("rejoinder_begin", lambda msg, **_: gevent.spawn(self._begin, **msg.data))
        self.runner.register_message("rejoinder_finish", self._on_finish, concurrent=True)
        self.runner.register_message("rejoinder_hurry", lambda msg, **_: self.generator.hurry(msg.data["drain"]))
        hooks: Any = self.environment.events
        hooks.report_to_master.add_listener(self._on_report_to_master)
        super().install()

    @property
    def _has_options(self) -> bool:
        # A worker of a separate command gets host and options from its master, with the start of the run.
        return bool(self.environment.host)

    def _on_prepared(self) -> None:
        gevent.spawn(self._report_ready)

    def _report_ready(self) -> None:
        if self.generator.ready():
            self.runner.send_message("rejoinder_ready", os.getpid())
        else:
            self.runner.quit()

    def _begin(self, t0: int, index: int, count: int, warm_up: bool) -> None:
        self.generator.ready()
        self.generator.begin(t0, index, count, warm_up=warm_up)

    def _on_finish(self, msg: Any, **_: Any) -> None:
        check = self.generator.finish(msg.data["drain"])
        send_stats(self.runner)
        self.runner.send_message("rejoinder_done", {"check": check.to_json()})
        self.record.end()

    def _on_test_stopping(self, **_: Any) -> None:
        self.generator.finish()

    def _on_report_to_master(self, client_id: str, data: dict[str, Any]) -> None:
        data["rejoinder"] = {"reports": self._unsent[:], "progress": self.generator.progress()}
        self._unsent.clear()


def _exists(pid: int) -> bool:
    """Return whether there is a process with this id, which has not ended unnoticed by its parent."""
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def _on_init(environment: Environment, **_: Any) -> None:
    kinds = {MasterRunner: Master, WorkerRunner: Worker}
    kind = next((kinds[runner] for runner in kinds if isinstance(environment.runner, runner)), SingleProcess)
    kind(environment).install()


def install() -> None:
    """Hook the generator into Locust; called once by the locustfile."""
    if OUTPUT_VARIABLE in os.environ:
        report_every(REPORT_EVERY)
    hooks: Any = events
    hooks.init_command_line_parser.add_listener(
        lambda parser, **_: add_locust_arguments(parser, options_of(LoadSettings))
    )
    hooks.init.add_listener(_on_init)

"""Runs a load: starts Locust in a subprocess, follows it, and writes its measurements into a run file.

Neither Locust nor gevent is imported here. The subprocess runs the shipped locustfile and appends what it measures to a
file that this process reads as it grows, so neither ever waits for the other, and what was measured before a crash is
kept. Closing the control pipe asks it to stop.

Whatever dies, the load ends: :mod:`~rejoinder.load.lifeline` describes how the processes are tied together. This module
follows them, ends a run of which a part has died or cannot write, and counts what has no outcome then.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol, Self

import psutil

from rejoinder.errors import RejoinderError, RunFileError
from rejoinder.formatting import Figure, plural
from rejoinder.interrupts import interrupts
from rejoinder.load.gpus import Gpus
from rejoinder.load.lifeline import MORE, Lease, RecordedProcess, output_part, read_records, run_folder, temporary_error
from rejoinder.load.measure.load_line import judge_state, load_line, result_samples, unjudged_sentence
from rejoinder.load.measure.queue_growth import Pulse, sure_growth
from rejoinder.load.measure.self_check import SelfCheck
from rejoinder.load.measure.stationarity import SpanKeeper
from rejoinder.load.measure.stats import LoadEvidence, RunStats, keep_evidence
from rejoinder.load.objectives.abort import QUEUE_WORD, abort_reason, parse_abort
from rejoinder.load.objectives.slo import missed, parse_slos
from rejoinder.load.options import CONTROL_VARIABLE, ENVIRONMENT_PREFIX, OUTPUT_VARIABLE, PARENT_VARIABLE
from rejoinder.load.settings import INTERRUPT_DRAIN, LoadSettings
from rejoinder.load.telemetry import Telemetry
from rejoinder.load.workload.corpus import read_corpus
from rejoinder.load.workload.profiles import load_profile
from rejoinder.model.exchange import Exchange
from rejoinder.model.histogram import Histogram
from rejoinder.model.outcomes import RequestOutcome, good_of, replied_of
from rejoinder.model.samples import LoadSample, ProbeSample, Sample, Validity, WarmUp
from rejoinder.settings import KEY_VARIABLE

PROBLEMS_KEPT: Final = 4
"""The most problems of a rule that a run file describes, each in an exchange that it holds."""
MAX_REQUEST_LINES: Final = 20_000
_POLL: Final = 0.1
_START_LIMIT: Final = 120.0
_END_LIMIT: Final = 150.0
_FAILURE_DRAIN: Final = 1.5
"""Seconds that requests in flight get when a part of the run has died."""
_FAILURE_LIMIT: Final = 4.0
"""Seconds after which all processes of such a run are killed."""
_MOST_PULSES: Final = 2000
"""Beyond it every second one is kept, of a run that may end when its queue grows."""
_ANALYSIS_DELAY: Final = 60.0
"""Seconds after its end for which a request may wait for its analysis and still count in every figure of its second."""
_LEAST_FREE: Final = 1 << 16
"""Bytes below which a temporary folder is full."""


class Sink(Protocol):
    """Takes what a run measures; a :class:`~rejoinder.model.runfile.RunWriter` is one."""

    def sample(self, sample: Sample) -> None:
        """Take one sample line."""

    def exchange(self, exchange: Exchange) -> None:
        """Take an exchange that failed or broke a rule."""


@dataclass(frozen=True, slots=True)
class LoadProgress:
    """The progress of a load test. ``t`` is seconds since its start; percentiles are of all answers so far.

    ``finished`` requests have been analysed. ``ending``: nothing more is sent. ``waits`` is how many seconds requests
    in flight still get then.
    """

    t: float
    duration: float
    started: int
    finished: int
    failed: int
    in_flight: int
    ending: bool = False
    waits: float | None = None
    output_tokens: int = 0
    warming_up: bool = False
    ttft_p50: Figure | None = None
    ttft_p99: Figure | None = None

    @property
    def ended(self) -> int:
        """How many requests have ended, analysed or not."""
        return self.started - self.in_flight

    @property
    def analysing(self) -> bool:
        """Whether all requests have ended, and some of them have not been analysed."""
        return self.ending and not self.in_flight and self.finished < self.started


@dataclass(slots=True)
class LoadResult:
    """The results of a load run, the same as the sample lines in the run file.

    ``load`` is the ``load`` line. ``histograms`` hold the distributions by metric, over answered requests;
    those of requests that succeeded have the suffix ``_ok``. ``probes`` are the results of the disconnect probes, if
    they ran. ``warnings`` are sentences for people. ``shown`` says of each exchange that the run wrote, by its id, how
    it ended and which rules it breaks.
    """

    started: int
    outcomes: dict[RequestOutcome, int]
    histograms: dict[str, Histogram]
    load: LoadSample
    probes: list[ProbeSample] = field(default_factory=list)
    interrupted: bool = False
    warnings: list[str] = field(default_factory=list)
    shown: dict[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> int:
        """How many requests succeeded."""
        return good_of(self.outcomes)

    @property
    def incomplete(self) -> str:
        """Why the run is incomplete, in a sentence; empty for a whole one."""
        return self.load.incomplete

    @property
    def aborted(self) -> str:
        """Which condition ended the run early, in a sentence; empty where none did."""
        return self.load.aborted

    @property
    def verdict(self) -> Validity:
        """Whether the load generator limited the figures."""
        return self.load.self_check.verdict

    @property
    def missed(self) -> list[str]:
        """The SLOs and regression limits that were missed."""
        return missed([*self.load.slos, *self.load.changes])

    @property
    def answered(self) -> int:
        """How many requests got an HTTP reply of any kind, even one that never ended."""
        heads = self.histograms.get("ttfb", Histogram())
        return max(replied_of(self.outcomes), heads.n - heads.unended)


class _Thinner:
    """Decides which request lines are written: the first 20,000 all, then ever fewer.

    Whenever another half of the limit has been written, every second one of those before is written, and ``weight``
    says for how many requests a line stands. So the file grows with the logarithm of the number of requests.
    """

    def __init__(self, limit: int = MAX_REQUEST_LINES) -> None:
        self.weight = 1
        self.left_out = 0
        self._limit = limit
        self._room = limit
        self._seen = 0

    def keep(self) -> bool:
        """Return whether the next request is written."""
        self._seen += 1
        if self._seen % self.weight:
            self.left_out += 1
            return False
        if not self._room:
            self.weight *= 2
            self._room = max(1, self._limit // 2)
            self._seen = 0
            self.left_out += 1
            return False
        self._room -= 1
        return True


@dataclass(slots=True)
class _Follower:
    """Takes the lines of the generator: request lines and evidence go on at once, the rest is added up."""

    settings: LoadSettings
    writer: Sink
    progress: Callable[[LoadProgress], None] | None
    stats: RunStats = field(default_factory=RunStats)
    checks: list[SelfCheck] = field(default_factory=list)
    thinner: _Thinner = field(default_factory=_Thinner)
    spans: SpanKeeper = field(default_factory=SpanKeeper)
    pulses: list[Pulse] = field(default_factory=list)
    begun: bool = False
    t0: int = 0
    issued: float | None = None
    planned: bool = True
    warming_up: bool = False
    last: dict[str, Any] = field(default_factory=dict)
    error: RejoinderError | None = None
    evidence: list[LoadEvidence] = field(default_factory=list)
    shown: dict[str, str] = field(default_factory=dict)
    warm_up: WarmUp | None = None
    settled: int = 0

    def take(self, raw: bytes) -> None:
        """Take one whole line."""
        record = json.loads(raw)
        kind = record.pop("kind")
        if kind == "report":
            self._add(RunStats.from_json(record["stats"]))
        elif kind == "progress":
            self.last = record
            if QUEUE_WORD in self.settings.abort_on and not record["ending"]:
                self.pulses.append(Pulse(record["t"], record["started"], record["in_flight"]))
                if len(self.pulses) > _MOST_PULSES:
                    del self.pulses[::2]
            self._report(record)
        elif kind == "check":
            self.checks.append(SelfCheck.from_json(record["check"]))
        elif kind == "begin":
            self.begun = True
            # All processes of a run are on one host, where this clock is the same in each.
            self.t0 = record["t0"]
        elif kind == "end":
            self.issued, self.planned = record["issued"], record["planned"]
        elif kind == "error":
            self.error = RejoinderError(**record)

    def _add(self, stats: RunStats) -> None:
        for line in stats.requests:
            if self.thinner.keep():
                line.weight = self.thinner.weight
                self.writer.sample(line)
        for one in stats.evidence:
            if keep_evidence(self.evidence, one.signature):
                self.evidence.append(LoadEvidence(one.signature, problems=one.problems))
                exchange = Exchange.from_json(one.exchange)
                self.shown[exchange.id] = one.signature
                self.writer.exchange(exchange)
        self.spans.extend(stats.spans)
        stats.requests, stats.evidence, stats.spans = [], [], []
        self.stats.merge(stats)
        # A first token of a second is known when its request has ended and was analysed.
        end = max(self.stats.seconds, default=0) - round(self.settings.total_timeout + _ANALYSIS_DELAY)
        if end > self.settled:
            self.stats.settle(self.settled, end)
            self.settled = end

    def _report(self, record: dict[str, Any]) -> None:
        if self.progress is None:
            return
        ttft = self.stats.histograms.get("ttft", Histogram())
        self.progress(
            LoadProgress(
                **record,
                warming_up=self.warming_up,
                duration=self.settings.duration,
                output_tokens=self.stats.output_tokens,
                ttft_p50=ttft.percentile(50),
                ttft_p99=ttft.percentile(99),
            )
        )


def run_load(
    settings: LoadSettings,
    writer: Sink,
    *,
    progress: Callable[[LoadProgress], None] | None = None,
    key: str | None = None,
    stop: threading.Event | None = None,
) -> LoadResult:
    """Run a load test and write its sample lines, and up to 30 exchanges that failed or broke a rule, to the run file.

    Blocks until the run has ended. ``progress`` is called about twice a second. ``key`` is the endpoint's key; without
    it the variable ``REJOINDER_API_KEY`` is used. On Ctrl-C (SIGINT) or SIGTERM, which are handled here while the run
    lasts if this is the main thread, or when ``stop`` is set from another thread, nothing more is sent, requests in
    flight get up to 5 s, and the result says ``interrupted``; a second signal ends it at once.

    Raises :class:`~rejoinder.errors.UsageError` for settings that cannot be used, before anything is sent,
    :class:`~rejoinder.errors.RejoinderError` when the generator could not start, and
    :class:`~rejoinder.errors.RunFileError` when the run file cannot be written, after the sending has ended. When a
    process of the run dies or is stopped later, or cannot write, nothing more is sent, and what was measured until then
    is the result, whose ``incomplete`` says why. If that happens in the warm-up, nothing is measured.
    """
    settings = check_settings(settings)
    stop = stop or threading.Event()
    warm_up = settings.for_warm_up()
    warmed = None
    if warm_up is not None:
        # A run of its own, whose lines go nowhere, and which is awaited as every run is.
        warmed = _execute(_Follower(warm_up, _Nowhere(), progress, warming_up=True), key, stop)
        if warmed.interrupted:
            stop.set()
    failure = f"The warm-up did not come to its end. {warmed.incomplete}" if warmed and warmed.incomplete else ""
    return _execute(_Follower(settings, writer, progress, warm_up=_account_of(warmed)), key, stop, failure)


@contextlib.contextmanager
def interruptible(stop: threading.Event) -> Iterator[None]:
    """Let the first interrupt that comes between two runs of the block set ``stop``, and a later one end the block."""

    def interrupt() -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    with interrupts(interrupt):
        yield


def _execute(follower: _Follower, key: str | None, stop: threading.Event, failure: str = "") -> LoadResult:
    """Run Locust once, unless a ``failure`` before keeps it from beginning."""
    with run_folder() as folder:
        run = _Run(follower, folder, key, stop, failure)
        with interrupts(run.interrupt):
            return run.execute()


class _Nowhere:
    """Takes what a warm-up measures."""

    def sample(self, sample: Sample) -> None:
        """Take one sample line."""

    def exchange(self, exchange: Exchange) -> None:
        """Take an exchange that failed."""


def _account_of(warmed: LoadResult | None) -> WarmUp | None:
    return None if warmed is None else WarmUp(started=warmed.started, outcomes=warmed.outcomes)


def check_settings(settings: LoadSettings) -> LoadSettings:
    """Return the settings with absolute paths, and completed where they name no pace.

    Raises :class:`~rejoinder.errors.UsageError` for what cannot be used.
    """
    if not settings.paced:
        settings = LoadSettings.complete(url=settings.url, **settings.given())
    settings.check()
    if settings.gpu:
        Gpus()
    if settings.bodies:
        settings = replace(settings, bodies=str(Path(settings.bodies).absolute()))
        read_corpus(Path(settings.bodies))
    if settings.profile:
        settings = replace(settings, profile=str(load_profile(settings.profile).path))
    if settings.known:
        settings = replace(settings, known=str(Path(settings.known).absolute()))
    if settings.trace:
        settings = replace(settings, trace=str(Path(settings.trace).absolute()))
    return _with_whole_paths(settings)


def _with_whole_paths(settings: LoadSettings) -> LoadSettings:
    """Return settings whose files are found from any folder."""
    extra = settings.extra_body
    if extra.startswith("@"):
        settings = replace(settings, extra_body=f"@{Path(extra[1:]).absolute()}")
    whole = [str(Path(path).absolute()) if path else "" for path in (settings.client_cert, settings.client_key)]
    ca_file = str(Path(settings.ca_file).absolute()) if settings.ca_file else ""
    return replace(settings, client_cert=whole[0], client_key=whole[1], ca_file=ca_file)


class Measured:
    """Reads what the generator writes, as it grows, and removes each part of it that has been read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._number = 0
        self._rest = b""
        self._file: BinaryIO = path.open("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def lines(self) -> Iterator[bytes]:
        """Yield all whole lines that have been written since the last time."""
        while True:
            *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
            more = bool(lines) and lines[-1] == MORE
            yield from lines[:-1] if more else lines
            if not more:
                return
            self._file.close()
            output_part(self._path, self._number).unlink(missing_ok=True)
            self._number += 1
            try:
                self._file = output_part(self._path, self._number).open("rb")
            except FileNotFoundError:  # somebody has removed the folder
                self._file = io.BytesIO()
                return


class _Run:
    """One run of Locust in a subprocess, whose files are in ``folder``."""

    def __init__(self, follower: _Follower, folder: Path, key: str | None, stop: threading.Event, failure: str) -> None:
        self.follower = follower
        self.settings = settings = follower.settings
        self.folder = folder
        self.output = folder / "measured.ndjson"
        self.log = folder / "locust.log"
        self.key = key
        self.stop = stop
        self.interrupts = 0
        self.interrupted = False
        context = settings.request_options(key or os.environ.get(KEY_VARIABLE)).tls_context()
        self.telemetry = Telemetry(settings.metrics_urls(), Gpus() if settings.gpu else None, context)
        self.warnings: list[str] = []
        self._failure = failure
        self._called_off = bool(failure)
        self._aborted = ""
        self._abort_at = 0.0
        self._conditions = [parse_abort(text) for text in settings.abort_on]
        self._slos = parse_slos(settings.slos)
        self._planned = settings.planned_requests if self._conditions else None
        self._broken: RunFileError | None = None
        self._records: list[RecordedProcess] = []
        self._watched: dict[int, psutil.Process] = {}
        try:
            self.lease = Lease(folder)
            self.output.touch()
        except OSError as error:
            raise temporary_error(error) from error

    def interrupt(self) -> None:
        """End the run in order; at once when called again. A signal handler must not touch the locks of an event."""
        self.interrupts += 1

    def execute(self) -> LoadResult:
        self.interrupted = self.stop.is_set()  # such as in the warm-up
        if self.interrupted or self._called_off:
            return self._result(0)
        self.lease.start()
        self.telemetry.start()
        control_read, control_write = os.pipe()
        try:
            with self.log.open("wb") as log, Measured(self.output) as measured:
                process = subprocess.Popen(
                    self._command(),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self.folder,
                    env=self._environment(control_read),
                    pass_fds=(control_read,),
                    # Ctrl-C reaches this process only, which then asks for an orderly end.
                    start_new_session=True,
                )
                os.close(control_read)
                control_read = -1
                try:
                    control_write = self._follow(process, measured, control_write)
                finally:
                    self.lease.revoke()
                    _end(process)
                self._records = read_records(self.folder)
                if self._broken is not None:
                    raise self._broken
                self._drain(measured)
        finally:
            self.lease.revoke()
            self.telemetry.stop()
            for descriptor in (control_read, control_write):
                if descriptor >= 0:
                    os.close(descriptor)
        return self._result(process.returncode)

    def _command(self) -> list[str]:
        users = self.settings.processes if self.settings.concurrency is None else self.settings.concurrency
        command = [sys.executable, "-m", "locust", "-f", str(Path(__file__).with_name("locustfile.py"))]
        command += ["--headless", "--only-summary", "--loglevel", "WARNING"]
        command += ["--users", str(users), "--spawn-rate", str(users)]
        if self.settings.processes > 1:
            port = str(_free_port())
            command += ["--processes", str(self.settings.processes), "--expect-workers-max-wait", "60"]
            command += ["--master-bind-host", "127.0.0.1", "--master-bind-port", port, "--master-port", port]
        return command

    def _environment(self, control: int) -> dict[str, str]:
        # Locust reads options from LOCUST_* variables; a run of ours is described by its settings alone.
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("LOCUST_", ENVIRONMENT_PREFIX)) and name != "PYTHONINSPECT"
        }
        # The warm-up is a run of its own.
        environment |= replace(self.settings, warm_up="").to_environment()
        environment |= {"LOCUST_HOST": self.settings.url, OUTPUT_VARIABLE: str(self.output)}
        environment |= {CONTROL_VARIABLE: str(control), PARENT_VARIABLE: str(os.getpid())}
        if self.key is not None:
            environment[KEY_VARIABLE] = self.key
        return environment

    def _follow(self, process: subprocess.Popen[bytes], measured: Measured, control: int) -> int:
        """Read until the process has ended; return the control descriptor, or -1 once it has been closed."""
        limit = time.monotonic() + _START_LIMIT
        started = False
        while process.poll() is None:
            self.stop.wait(_POLL) if control >= 0 else time.sleep(_POLL)
            if self.interrupts:
                self.stop.set()
            if self._failure and self.follower.issued is not None:
                return control  # all that can be known is
            failure = self._find_failure(measured)
            if failure and not self._failure:
                self._failure = failure
                self.lease.revoke()
                limit = time.monotonic() + _FAILURE_LIMIT
                if control >= 0:
                    with contextlib.suppress(OSError):
                        os.write(control, str(_FAILURE_DRAIN).encode())
                    os.close(control)
                    control = -1
            if self._conditions and control >= 0 and not self.stop.is_set():
                self._aborted = self._find_abort()
                if self._aborted:
                    with contextlib.suppress(OSError):
                        os.write(control, str(INTERRUPT_DRAIN).encode())
                    os.close(control)
                    control = -1
                    limit = time.monotonic() + INTERRUPT_DRAIN + _END_LIMIT
            if self.follower.begun and not started:
                started = True
                limit = time.monotonic() + self.settings.duration + self.settings.drain_seconds + _END_LIMIT
            if self.interrupts > 1:
                self.interrupted = True
                self.warnings.append("A second interrupt ended the run at once.")
                return control
            if self.lease.suspended and not self.interrupted:
                self.warnings.append(f"The run ended because rejoinder was suspended for {self.lease.suspended:.1f} s.")
                self.stop.set()
            if control >= 0 and self.stop.is_set():
                self.interrupted = True
                os.close(control)
                control = -1
                limit = time.monotonic() + INTERRUPT_DRAIN + _END_LIMIT
            if time.monotonic() > limit:
                if not self._failure:
                    self._failure = "The load generator did not end in time and was killed."
                return control
        return control

    def _find_abort(self) -> str:
        """Return why the run ends early, in a sentence; checked once a second."""
        if time.monotonic() < self._abort_at:
            return ""
        self._abort_at = time.monotonic() + 1.0
        stats, t = self.follower.stats, float(self.follower.last.get("t", 0.0))
        if t <= 0:
            return ""
        planned = self._planned
        if planned is None:
            planned = 2 * stats.finished / t * max(t, self.settings.duration)
        growth = None
        if self.follower.pulses:
            spans = self.follower.spans
            growth = sure_growth(self.follower.pulses, [span.start for span in spans.spans], spans.weight)
        return abort_reason(
            self._conditions,
            self._slos,
            histograms=stats.histograms,
            outcomes=stats.outcomes,
            good=stats.good,
            planned=planned,
            growth=growth,
        )

    def _find_failure(self, measured: Measured) -> str:
        """Take what was measured; return why the run cannot go on, in a sentence, or nothing.

        A process that was stopped (SIGSTOP) is killed: whatever waits for it would wait for ever.
        """
        if self._broken is None:
            try:
                self._drain(measured)
            except RunFileError as error:
                self._broken = error
                return error.message
        if self.follower.issued is not None:
            return ""
        if not self.folder.exists():
            return f"The temporary folder {self.folder} was removed."
        for record in read_records(self.folder):
            if record.errno:
                return f"The load generator cannot write its measurements to {self.folder.parent}: " + (
                    f"{os.strerror(record.errno)}."
                )
            if record.terminated and not self.stop.is_set():
                return f"A load generator process (pid {record.pid}) received SIGTERM."
            # A process that is interrupted before it begins has nothing to report.
            early = self.interrupted and not self.follower.begun
            if not record.ended and not early and (what := self._end_of(record.pid)):
                return f"A load generator process (pid {record.pid}) {what}."
        return ""

    def _end_of(self, pid: int) -> str:
        """Return what ended a process, as a predicate; empty while it runs."""
        try:
            process = self._watched.setdefault(pid, psutil.Process(pid))
            status: str = process.status()
            if status == psutil.STATUS_STOPPED:
                process.kill()
                return "was stopped"
        except psutil.NoSuchProcess:
            return "died"
        return "died" if status == psutil.STATUS_ZOMBIE else ""

    def _drain(self, measured: Measured) -> None:
        """Take all whole lines that have been written since the last time."""
        for line in measured.lines():
            self.follower.take(line)

    def _result(self, code: int) -> LoadResult:
        follower = self.follower
        if follower.error is not None:
            raise follower.error
        idle = self.interrupted or self._called_off
        if not follower.begun and not idle:
            words = self._last_words().rstrip(".")
            raise RejoinderError(
                self._failure or f"The load generator failed to start (exit code {code}): {words}.",
                "Check the settings. If they are right, please report this as a bug.",
            )
        notes = []
        ended = follower.issued is not None and bool(follower.checks)
        if not ended and (follower.begun or not idle):
            notes.append("the load generator ended without its last report")
            if not self._failure and not self.interrupted:
                words = self._last_words().rstrip(".")
                self._failure = f"The load generator ended early (exit code {code}: {words})."
        elif not self._failure and not self.interrupted:
            self._failure = self._failure_reported()
        # A process that died could not say how many requests it had started; its record does.
        counted = sum(check.started for check in follower.checks)
        uncounted = sum(record.started for record in self._records) - counted
        if uncounted > 0 or not follower.checks:
            follower.checks.append(SelfCheck(started=max(0, uncounted), died=not self.interrupted))
        if self._failure:
            covered = "Nothing was measured." if self._called_off else "The figures cover what was measured until then."
            self.warnings.insert(0, f"{self._failure} {covered}")
        if follower.stats.foreign:
            mixed = plural(follower.stats.foreign, "response contains", "responses contain")
            self.warnings.append(f"{mixed} the canary of another request: the endpoint mixes up responses.")
        if unanswered := sum(check.unanswered for check in follower.checks):
            lost = plural(unanswered, "request was", "requests were")
            self.warnings.append(
                f"{lost} lost on kept connections: the endpoint closed them without announcing it (Connection: close). "
                "A load sends no request again."
            )
        if any(check.unkept for check in follower.checks):
            self.warnings.append(
                "The endpoint closes connections after a response without announcing it (Connection: close), so each "
                "request opened a connection. Its connect time is part of TTFT and E2E latency."
            )
        if any(check.backoffs for check in follower.checks):
            self.warnings.append(pauses_sentence(follower.checks))
        if follower.thinner.left_out:
            missing = f"{follower.thinner.left_out:,} of {plural(follower.stats.finished, 'request')}"
            self.warnings.append(
                f"The run file has no line for {missing}. Its distributions and totals count all of them."
            )
        issued = follower.issued if follower.issued is not None else float(follower.last.get("t", 0.0))
        load = load_line(
            follower.stats,
            follower.checks,
            self.settings,
            issued=issued,
            notes=notes,
            ended_early=self.interrupted or bool(self._failure or self._aborted),
        )
        judge_state(load, self.settings, follower.spans)
        if load.unjudged:
            self.warnings.append(unjudged_sentence(load))
        for row in load.conformance:
            found = (one.problems.get(row.rule, ()) for one in follower.evidence)
            row.problems = list(chain.from_iterable(found))[:PROBLEMS_KEPT]
        load.server = self.telemetry.summary(follower.t0, follower.stats.histograms.get("ttft"))
        load.aborted, load.warm_up = self._aborted, follower.warm_up
        load.interrupted, load.incomplete, load.notes = self.interrupted, self._failure, self.warnings
        for sample in result_samples(follower.stats, self.telemetry.seconds(follower.t0)):
            follower.writer.sample(sample)
        follower.writer.sample(load)
        return LoadResult(
            started=load.started,
            outcomes=load.outcomes,
            histograms=follower.stats.histograms,
            load=load,
            interrupted=self.interrupted,
            warnings=self.warnings,
            shown=follower.shown,
        )

    def _failure_reported(self) -> str:
        """Return why the load generator itself ended the run before its time, in a sentence, or nothing.

        It may do so before this process has seen that a part of the run is dead.
        """
        if any(check.died for check in self.follower.checks):
            return "A load generator process died."
        if self.follower.planned:
            return ""
        if any(check.worker_lost for check in self.follower.checks):
            return "An analysis worker died."
        return "The load generator was stopped from outside."

    def _last_words(self) -> str:
        """Return the last line that Locust printed about an error, or the last one that is no ruling of a table."""
        try:
            text = self.log.read_text("utf-8", "replace")
        except OSError:  # somebody has removed it
            text = ""
        lines = [line.strip() for line in text.splitlines()]
        lines = [line for line in lines if any(char.isalpha() for char in line)]
        errors = [line for line in lines if "error" in line.lower()]
        silent = f"no space left in {self.folder.parent}" if _is_full(self.folder) else "no output"
        return (errors or lines or [silent])[-1][:300]


def pauses_sentence(checks: Sequence[SelfCheck]) -> str:
    """Return a sentence on the pauses of users in a closed loop after requests without an answer."""
    seconds, count = sum(check.backoff for check in checks), sum(check.backoffs for check in checks)
    return f"Users paused {plural(count, 'time')}, {seconds:.1f} s in all, after requests that brought no answer."


def _is_full(folder: Path) -> bool:
    return shutil.disk_usage(folder.parent).free < _LEAST_FREE


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and those that it started, whichever of them still run."""
    # macOS refuses with PermissionError where the group has only processes that have ended.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()

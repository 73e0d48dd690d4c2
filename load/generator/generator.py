"""What one Locust process with users does: it sends the requests of a run and hands their recordings to analysis.

- Closed loop: every Locust user sends its next request when the last one ended.
- Open loop: a dispatcher starts a greenlet for each slot of the run's schedule that belongs to this process; Locust's
  users only keep the run alive. Locust's ``wait_time`` is not used: it is no arrival process.
"""

from __future__ import annotations

import gc
import logging
import os
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from time import monotonic, perf_counter_ns, process_time
from typing import Any, Final
from urllib.parse import quote

import gevent  # type: ignore[import-untyped]
import gevent.event  # type: ignore[import-untyped]
import gevent.lock  # type: ignore[import-untyped]
from locust.env import Environment

from rejoinder.formatting import inert, one_line
from rejoinder.load.generator.analysis_client import AnalysisClient
from rejoinder.load.generator.reply_check import asks_to_wait, brought_answer
from rejoinder.load.generator.request_source import Conversation, PlannedRequest, RequestSource
from rejoinder.load.lifeline import Permit, ProcessRecord
from rejoinder.load.measure.reader import (
    Censored,
    Connection,
    KeepAlive,
    RawReply,
    ReplyMemory,
    Timeouts,
    Watchdog,
    receive_buffer,
    request_message,
)
from rejoinder.load.measure.recording import Receives, Recording, final_response
from rejoinder.load.measure.self_check import SelfCheck
from rejoinder.load.measure.worker import RequestSummary
from rejoinder.load.objectives.check_sample import draw
from rejoinder.load.schedule.arrivals import share
from rejoinder.load.settings import LoadSettings
from rejoinder.model.exchange import Headers, Outcome
from rejoinder.model.outcomes import RequestOutcome
from rejoinder.model.tags import Tag
from rejoinder.settings import KEY_VARIABLE
from rejoinder.wire.address import Address
from rejoinder.wire.headers import ACCEPT_EITHER, check_key, merge_headers, request_headers
from rejoinder.wire.request_options import RequestOptions

logger = logging.getLogger("rejoinder.load")

# Who spawned a greenlet from where is of no use here, and costs time and memory with each.
gevent.config.track_greenlet_tree = False

REPORT_EVERY: Final = 1.0
"""Seconds between two reports of the analysis worker."""
ANALYSIS_LIMIT: Final = 120.0
"""Seconds that the analysis of what was received may take after the end of a run."""
COUNTS: Final = ("started", "finished", "failed", "in_flight")
"""What :meth:`Generator.progress` counts of requests."""
_WATCH_EVERY: Final = 0.1
_PROBE: Final = 0.01
_PAUSE: Final = (0.05, 1.0)
"""First and longest pause of a user after a request that brought no answer, in seconds."""


class RequestFailedError(Exception):
    """The failure that Locust shows for a failed request."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What is made of the settings before a run: where and what to send, and who analyses it.

    ``measured`` is whether Locust's own statistics count the requests, which they do but for a warm-up.
    """

    settings: LoadSettings
    address: Address
    timeouts: Timeouts
    headers: Headers
    source: RequestSource
    context: ssl.SSLContext | None
    analysis: AnalysisClient
    request: RequestOptions
    measured: bool = True
    keep_alive: KeepAlive = field(default_factory=KeepAlive)


class Generator:
    """Sends the requests of one process, run after run.

    ``on_report`` takes each report of the analysis worker; ``on_spent`` is called when a run's requests have ended
    because their number was limited, ``on_lost`` when the analysis worker has died. ``permit`` says whether anything
    may be sent, ``record`` keeps the number of requests. The analysis worker and the TLS context are kept from run to
    run.
    """

    def __init__(
        self,
        environment: Environment,
        *,
        on_report: Callable[[bytes], None],
        on_spent: Callable[[], None],
        on_lost: Callable[[], None],
        permit: Permit,
        record: ProcessRecord,
    ) -> None:
        self.environment = environment
        self.permit = permit
        self.record = record
        self._on_report = on_report
        self._on_spent = on_spent
        self._on_lost = on_lost
        self._setup: Setup | None = None
        self._warm_up: Setup | None = None
        self._run: GeneratorRun | None = None
        self._begun = gevent.event.AsyncResult()
        self._users = 0
        self._key = os.environ.get(KEY_VARIABLE, "")
        _generators[environment] = self

    @property
    def running(self) -> bool:
        """Whether a run has begun and not ended."""
        return bool(self._begun.ready())

    def next_user(self) -> int:
        """Return a number for a new user of this process."""
        self._users += 1
        return self._users - 1

    def prepare(self, settings: LoadSettings, *, samples: bool) -> None:
        """Take the settings of the next run and start the analysis worker; ``samples``: keep a line for each request.

        Raises :class:`~rejoinder.errors.RejoinderError` for settings that cannot be used.
        """
        self._users = 0
        check_key(self._key)
        request = settings.request_options(self._key)
        address = settings.address()
        source = RequestSource(settings)
        options = {
            "path": address.below(""),
            "headers": [*request_headers(accept=ACCEPT_EITHER), *request.shown_headers()],
            "header_env": list(settings.header_env),
            "api_key_header": settings.api_key_header,
            "dialect": settings.dialect,
            "samples": samples,
            "slos": list(settings.slos),
            "strict": settings.strict,
            "select": settings.select,
            "known": settings.known,
        }
        last = self._setup
        analysis = last.analysis if last else None
        if analysis is None or analysis.options != options:
            if analysis is not None:
                analysis.close()
            analysis = AnalysisClient(options, self._count, self._on_report, self._on_lost)
        context = None
        if address.tls:
            same = last is not None and last.request == request
            context = last.context if last is not None and same else None
            context = context or request.tls_context() or ssl.create_default_context()
        headers = request_headers(accept=ACCEPT_EITHER, key=self._key, key_name=request.key_header)
        self._setup = Setup(
            settings,
            address,
            Timeouts(settings.connect_timeout, settings.idle_timeout, settings.total_timeout),
            merge_headers(headers, (*request.headers, *request.secret_headers)),
            source,
            context,
            analysis,
            request,
        )
        warm_up = settings.for_warm_up()
        self._warm_up = None
        if warm_up is not None:
            source = RequestSource(warm_up)
            self._warm_up = replace(self._setup, settings=warm_up, source=source, measured=False)

    def ready(self) -> bool:
        """Wait until requests can be sent; return whether they can."""
        return self._setup is not None and self._setup.analysis.wait_ready()

    def begin(self, t0: int, index: int, count: int, *, warm_up: bool = False) -> None:
        """Begin a run at a clock reading, as process ``index`` of ``count``; :meth:`prepare` must come before.

        ``warm_up``: begin the warm-up of the run, which comes first and ends with :meth:`finish` as a run does.
        """
        setup = self._warm_up if warm_up else self._setup
        if setup is None:
            raise RuntimeError("a run begins before it was prepared")
        if not warm_up and self._warm_up is not None:
            # Locust's rates count from here, not from the beginning of the warm-up.
            self.environment.stats.reset_all()
        self._run = GeneratorRun(setup, self.environment, self.permit, self.record, t0, index, count, self._on_spent)
        self._run.begin()
        self._begun.set(self._run)
        self._run.report_spent()

    def wait_begun(self) -> GeneratorRun:
        """Wait for a run and return it."""
        run: GeneratorRun = self._begun.get()
        return run

    def finish(self, drain: float | None = None) -> SelfCheck:
        """End the run as :meth:`GeneratorRun.finish` does, and return its self-check; without a run do nothing.

        ``drain`` is the seconds that requests in flight get, by default those of the settings.
        """
        if self._run is None:
            return SelfCheck()
        if self.running and not self._run.stopping:
            self._run.finish(self._run.settings.drain_seconds if drain is None else drain)
            self._run.ended = True
            self._begun = gevent.event.AsyncResult()
        return self._run.check

    def hurry(self, drain: float) -> None:
        """Let requests in flight have no more than ``drain`` seconds from here on, if the run is ending."""
        if self._run is not None:
            self._run.deadline = min(self._run.deadline, monotonic() + drain)

    def progress(self) -> dict[str, int]:
        """Return the counts of the run so far."""
        run = self._run
        if run is None:
            return dict.fromkeys(COUNTS, 0)
        return dict(zip(COUNTS, (run.check.started, run.finished, run.failed, len(run.in_flight)), strict=True))

    def _count(self, summary: RequestSummary) -> None:
        if self._run is not None:
            self._run.count(summary)


_generators: Final[dict[Environment, Generator]] = {}


def generator_of(environment: Environment) -> Generator:
    """Return the generator of this process."""
    return _generators[environment]


@dataclass(slots=True, eq=False)
class GeneratorRun:
    """The run under way in one process: slots ``index``, ``index + count`` ... from the clock reading ``t0`` on."""

    setup: Setup
    environment: Environment
    permit: Permit
    record: ProcessRecord
    t0: int
    index: int
    processes: int
    on_spent: Callable[[], None]
    check: SelfCheck = field(default_factory=SelfCheck)
    finished: int = 0
    failed: int = 0
    in_flight: set[Any] = field(default_factory=set)
    stopping: bool = False
    ended: bool = False
    """Whether all of its requests have ended and are accounted for."""
    deadline: float = float("inf")
    """When what is in flight is cut off, once the run is ending."""
    settings: LoadSettings = field(init=False)
    _quota: float = field(init=False)
    _end: float = field(init=False)
    _taken: int = 0
    _next: int = 0
    _slots: Iterator[tuple[int, float]] = field(default_factory=lambda: iter(()))
    _helpers: list[Any] = field(default_factory=list)
    _pool: list[Connection] = field(default_factory=list)
    _watchdog: Watchdog = field(default_factory=Watchdog)
    _buffer: memoryview = field(default_factory=receive_buffer)
    _memory: ReplyMemory = field(default_factory=ReplyMemory)

    def __post_init__(self) -> None:
        settings = self.settings = self.setup.settings
        requests = settings.requests
        self._quota = float("inf") if requests is None else len(range(self.index, requests, self.processes))
        self._end = self.t0 + settings.duration * 1e9 if settings.duration else float("inf")

    def begin(self) -> None:
        """Start everything but the closed loop, which Locust's users run."""
        self.setup.analysis.begin(self.t0, self.index)
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

    def _take(self) -> bool:
        """Reserve one request of this process's quota; return ``False`` when it is used up."""
        if self._taken >= self._quota:
            return False
        self._taken += 1
        return True

    def report_spent(self) -> None:
        """Call ``on_spent`` when all requests that this process may begin have ended."""
        if self.check.started >= self._quota and not self.in_flight and not self.stopping:
            self.on_spent()

    def closed_loop(self, number: int) -> None:
        """Be one user of the closed loop until the run ends; ``number`` spreads the first requests."""
        users = max(1, self.environment.runner.target_user_count if self.environment.runner else 1)
        place = (number % users + self.index / self.processes) / users
        due = max(self.t0 + round(self.settings.ramp_seconds * 1e9 * place), perf_counter_ns())
        pause = 0.0
        while True:
            _sleep_until(due)
            if self._over or due >= self._end or not self._take():
                return
            slot = self._next * self.processes + self.index
            self._next += 1
            reply = self._issue(slot, due)
            if self._over:
                return
            pause = 0.0 if reply.cancelled or brought_answer(reply) else next_pause(pause)
            due = now = perf_counter_ns()
            if pause:
                due += round(pause * 1e9)
                self.check.backoffs += 1
                self.check.backoff += (min(due, self._end) - now) / 1e9
                self.check.retry_after += asks_to_wait(reply)

    @property
    def _over(self) -> bool:
        """Whether no further request may be sent."""
        return self.stopping or perf_counter_ns() >= self._end

    def _issue(self, slot: int, intended: int) -> RawReply:
        """Send the requests of one slot in this greenlet and hand their recordings to analysis; return the last reply.

        ``intended`` is the clock reading at which the first one was to start.
        """
        conversation = self.setup.source.conversation(slot)
        request = conversation.next(None)
        assert request is not None
        number = 0
        while True:
            reply = self._send(slot, number, intended, conversation, request)
            if not conversation.left or reply.outcome is not Outcome.COMPLETE:
                return reply
            request = conversation.next(final_response(reply.receives))
            if request is None:
                return reply
            gevent.sleep(request.think)
            # Between two requests nobody waits for this greenlet, so the run may have ended meanwhile.
            if self._over or not self._take():
                return reply
            number += 1
            intended = perf_counter_ns()

    def _send(
        self, slot: int, number: int, intended: int, conversation: Conversation, request: PlannedRequest
    ) -> RawReply:
        """Send one request and hand its recording to analysis; once the run is over, send nothing."""
        check, analysis = self.check, self.setup.analysis
        while analysis.full and not self._over:
            check.throttled = True
            gevent.sleep(0.01)
        if not self._permitted():
            return RawReply(outcome=Outcome.CANCELLED, cancelled=True)
        # Before anything is known of the response.
        chance = draw(self.settings.seed, slot, number)
        dispatched = perf_counter_ns()
        me = gevent.getcurrent()
        message = request_message(self.setup.address, self.setup.headers, request.body)
        connection = self._pool.pop() if self._pool else self._connection()
        opened = connection.opened
        check.started += 1
        check.begun += not number
        self.record.count()
        self.in_flight.add(me)
        check.max_in_flight = max(check.max_in_flight, len(self.in_flight))
        timer = None if request.cancel_after is None else gevent.spawn_later(request.cancel_after, connection.cancel)
        tags: tuple[str, ...] = ()
        created: Receives | None = None
        try:
            reply = first = connection.perform(message)
            if request.poll:
                reply = self._poll(connection, first, request.poll)
                if reply is not first:
                    tags, created = (Tag.BACKGROUND,), first.receives
        finally:
            self.in_flight.discard(me)
            if timer is not None:
                timer.kill(block=False)
        if reply.cancelled:
            tags = (*tags, Tag.CANCELLED)
        if reply.unopened:
            tags = (*tags, Tag.UNOPENED)
        if not self.setup.keep_alive.unkept:
            check.reconnects += connection.opened > 1 and connection.opened > opened
        check.unanswered += reply.reused and reply.unanswered
        check.unopened += reply.unopened
        one_in = analysis.one_in
        analysis.submit(
            Recording(
                slot,
                intended,
                dispatched,
                reply.begun,
                reply.ended,
                reply.wall,
                reply.outcome.value,
                reply.detail,
                request.body,
                reply.receives,
                chance * one_in < 1,
                reply.reused,
                number,
                conversation.kind.name,
                conversation.canary,
                tags,
                created,
                first.opening,
                one_in,
            )
        )
        self._pool.append(connection)
        self.report_spent()
        if reply.interrupt is not None and not isinstance(reply.interrupt, Censored):
            raise reply.interrupt
        return reply

    def _permitted(self) -> bool:
        """Wait for as long as the command does not permit to send; return ``False`` once the run is over."""
        if not self.permit.holds():
            since = monotonic()
            while not (self.permit.holds() or self._over):
                gevent.sleep(0.05)
            # Of all that wait at the same time, the one that waits longest counts.
            self.check.paused = max(self.check.paused, monotonic() - since)
        return not self._over

    def _poll(self, connection: Connection, first: RawReply, every: float) -> RawReply:
        """Poll a background response until it has ended; return the last reply with the times of the whole."""
        reply = first
        total = self.setup.timeouts.total
        while reply.outcome is Outcome.COMPLETE:
            response = final_response(reply.receives)
            if response is None or response.get("status") not in ("queued", "in_progress"):
                break
            try:
                gevent.sleep(every)
            except BaseException as error:
                reply.interrupt = error
                reply.outcome, reply.detail = Outcome.CANCELLED, "in the background when the run ended"
                reply.ended = perf_counter_ns()
                break
            if perf_counter_ns() - first.begun > total * 1e9:
                reply.outcome = Outcome.TIMEOUT
                reply.detail = f"still in the background after {total:g} s"
                break
            below = f"/{quote(response['id'])}"
            reply = connection.perform(
                request_message(self.setup.address, self.setup.headers, b"", method="GET", below=below)
            )
        reply.begun, reply.wall = first.begun, first.wall
        return reply

    def finish(self, drain: float) -> None:
        """End the run: start nothing, let what is in flight end within ``drain`` seconds, censor the rest, report."""
        self.stopping = True
        if self.settings.mode == "open":
            self._count_due()
        self.deadline = min(self.deadline, monotonic() + drain)
        while self.in_flight and monotonic() < self.deadline:
            gevent.sleep(0.01)
        for greenlet in list(self.in_flight):
            gevent.kill(greenlet, Censored())
        while self.in_flight:
            gevent.sleep(0.001)
        gevent.killall(self._helpers, block=True)
        analysis = self.setup.analysis
        analysis.request_report()
        if not analysis.wait_idle(ANALYSIS_LIMIT):
            logger.error("The analysis worker did not finish. %d results are missing.", analysis.backlog)
        self.check.worker_lost = analysis.lost
        self.check.throttled = self.check.throttled or self._memory.exhausted
        self.check.unkept = self.setup.keep_alive.unkept
        for connection in self._pool:
            connection.close()
        self._pool.clear()
        gc.unfreeze()

    def _count_due(self) -> None:
        """Count the requests that were due by now and that the dispatcher has not come to."""
        now, check = min(perf_counter_ns(), self._end), self.check
        for _, offset in self._slots:
            if check.due >= self._quota or self.t0 + offset * 1e9 >= now:
                return
            check.due += 1

    def count(self, summary: RequestSummary) -> None:
        """Count a request that has been analysed, also in Locust's own statistics."""
        self.finished += 1
        ok = summary.outcome.row.good or summary.outcome is RequestOutcome.CANCELLED
        self.failed += summary.outcome.row.bad
        if not self.setup.measured:
            return
        name = self.setup.address.below("")
        hooks: Any = self.environment.events
        hooks.request.fire(
            request_type="POST",
            name=name,
            response_time=summary.duration * 1e3,
            response_length=summary.size,
            exception=None if ok else RequestFailedError(inert(one_line(f"{summary.outcome}: {summary.detail}"))),
            context={},
        )
        # Rows of their own in Locust's table that do not enter its totals.
        if ok and summary.ttft is not None:
            self.environment.stats.get(name, "TTFT").log(round(summary.ttft * 1e3, 3), 0)  # type: ignore[arg-type]
        if ok and summary.tpot is not None:
            self.environment.stats.get(name, "TPOT").log(round(summary.tpot * 1e3, 3), 0)  # type: ignore[arg-type]

    def _dispatch(self) -> None:
        free = gevent.lock.BoundedSemaphore(self.settings.max_in_flight)

        def one(slot: int, intended: int) -> None:
            try:
                self._issue(slot, intended)
            finally:
                free.release()

        self._slots = iter(share(self.settings.schedule(), self.index, self.processes))
        for slot, offset in self._slots:
            self.check.due += 1
            intended = self.t0 + round(offset * 1e9)
            _sleep_until(intended)
            if free.locked():
                self.check.capped += 1
            free.acquire()
            if self.stopping or not self._take():
                return
            gevent.spawn(one, slot, intended)

    def _probe(self) -> None:
        """Measure how late this process wakes up; a stream's time stamps are late by as much."""
        add = self.check.loop_lag.add
        _sleep_until(self.t0)
        while True:
            before = perf_counter_ns()
            gevent.sleep(_PROBE)
            add((perf_counter_ns() - before) / 1e9 - _PROBE)

    def _measure_cpu(self) -> None:
        _sleep_until(self.t0)
        wall, used = monotonic(), process_time()
        while True:
            gevent.sleep(1.0)
            now, total = monotonic(), process_time()
            self.check.cpu.append((total - used) / (now - wall))
            wall, used = now, total

    def _connection(self) -> Connection:
        setup = self.setup
        shared = (setup.context, self._watchdog, self._buffer, self._memory, setup.keep_alive)
        return Connection(setup.address, setup.timeouts, *shared)

    def _watch(self) -> None:
        while True:
            gevent.sleep(_WATCH_EVERY)
            self._watchdog.check()

    def _reports(self) -> None:
        while True:
            gevent.sleep(REPORT_EVERY)
            self.setup.analysis.request_report()


def _sleep_until(at: int) -> None:
    """Sleep until a clock reading; gevent's timers are coarse, so the last millisecond is spent in shorter turns."""
    while (left := at - perf_counter_ns()) > 0:
        gevent.sleep(left / 1e9 - 0.001 if left > 2_000_000 else 0.0002)


def next_pause(last: float) -> float:
    """Return how long a user waits after one more request in a row without an answer; ``last`` is the pause before.

    Without it a closed loop would spin on an endpoint that is dead, refuses, or fails at once.
    """
    return min(_PAUSE[1], last * 2) if last else _PAUSE[0]

"""The process that analyses recordings, so that the process that reads sockets does nothing else.

Parsing a stream and checking it takes far longer than receiving it. Done in the reading process it would delay the
clock readings of all other streams, so a generator hands each finished recording to an analysis worker through a pipe.

Frames in both directions are a four-byte length and a pickle; both ends are processes of one run, and what came from
the network crosses only as ``bytes`` inside. To the worker: ``("begin", t0, worker)`` at the start of a run,
``("work", Recording)``, ``("report",)``. From it: ``("ready",)``, ``("brief", RequestSummary)`` for each recording in
order, ``("report", bytes)`` with the JSON form of the :class:`~rejoinder.load.measure.stats.RunStats` since the last
report. It ends with its input.
"""

from __future__ import annotations

import heapq
import json
import os
import pickle
import signal
import struct
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

from rejoinder.conformance.judgement import problems_by_rule
from rejoinder.conformance.judging.exchange_view import ExchangeView
from rejoinder.contract import load_dialect, load_rules
from rejoinder.load.lifeline import RENEW_EVERY, ProcessRecord, die_with_parent, kill_orphan
from rejoinder.load.measure.measure import Judge, measure, timeline
from rejoinder.load.measure.recording import Recording, created, to_exchange
from rejoinder.load.measure.stats import SLOWEST, RunStats, encode_stats
from rejoinder.load.objectives.answer_policy import ALL_RULES, ORDER_RULES, AnswerPolicy, BrokenRules, read_policy
from rejoinder.load.objectives.slo import RequestLimits, parse_slos
from rejoinder.load.options import OUTPUT_VARIABLE
from rejoinder.model.exchange import Exchange, Headers
from rejoinder.model.outcomes import RequestOutcome
from rejoinder.model.tags import Tag
from rejoinder.settings import KEY_VARIABLE
from rejoinder.wire.redact import query_secrets, shown_url
from rejoinder.wire.request_options import read_request_options

_OF_LAST_POLL: Final = frozenset(load_rules()) - {"BGR-01"}
"""The rules of a finished response from the background, which is compared with its request as a plain reply is: all but
the one on how the create is answered."""
_HEADER: Final = struct.Struct("!I")
_NICENESS: Final = 10
# Not "-m": the module would be __main__ there, and its classes others than those that the generator unpickles.
WORKER_PROGRAM: Final = "from rejoinder.load.measure.worker import main; main()"


class RequestSummary(NamedTuple):
    """What Locust's own statistics show of one request. Times in seconds; ``detail`` is empty for good ones."""

    outcome: RequestOutcome
    detail: str
    duration: float
    ttft: float | None
    tpot: float | None
    size: int


class AnalysisWorker:
    """Measures and judges recordings and keeps the statistics since the last report."""

    def __init__(
        self,
        *,
        path: str,
        headers: Headers,
        dialect: str,
        samples: bool = True,
        key: str | None = None,
        api_key_header: str = "",
        header_env: Sequence[str] = (),
        slos: Sequence[str] = (),
        strict: bool = False,
        select: str = ALL_RULES,
        known: str = "",
    ) -> None:
        self.stats = RunStats()
        self.t0 = 0
        self.worker = 0
        self._path = shown_url(path)
        self._headers = headers
        self._dialect = load_dialect(dialect)
        self._redactor = read_request_options(header_env=header_env, api_key_header=api_key_header).redactor(
            key, *query_secrets(path)
        )
        self._judge = conformance_judge(dialect, read_policy(dialect, strict=strict, select=select, known=known))
        self._samples = samples
        self._limits = RequestLimits(parse_slos(slos))
        self._slowest: list[int] = []

    def begin(self, t0: int, worker: int) -> None:
        """Begin a run at a clock reading, as a process of this number."""
        self.t0, self.worker = t0, worker
        self.stats = RunStats()
        self._slowest = []

    def take(self, recording: Recording) -> RequestSummary:
        """Analyse one recording and count it."""
        exchange = self._exchange(recording)
        first = created(recording)
        measured = measure(
            exchange,
            self._dialect,
            self._judge,
            recording.canary,
            all_rules=recording.judge,
            created=None if first is None else self._exchange(first),
        )
        self.stats.add(recording, exchange, measured, self.t0, self.worker, self._limits)
        if not self._samples:
            self.stats.requests.clear()
            self.stats.spans.clear()
        elif measured.outcome is not RequestOutcome.CANCELLED and self._is_slow(recording):
            self.stats.add_stream(recording, measured, timeline(exchange), self.t0, self.worker)
        times = measured.times
        duration = exchange.ended_at if measured.end is None else measured.end
        detail = "" if measured.outcome.row.good else measured.detail
        return RequestSummary(
            measured.outcome, detail, duration, times.get("ttft"), times.get("tpot"), len(exchange.body)
        )

    def _exchange(self, recording: Recording) -> Exchange:
        """Return a recording as an exchange without secrets."""
        exchange = to_exchange(recording, self._path, self._headers, self.worker)
        return replace(
            exchange,
            request=replace(
                exchange.request,
                headers=self._redactor.headers(self._headers),
                body=self._redactor.data(exchange.request.body),
            ),
            headers=self._redactor.headers(exchange.headers),
            chunks=self._redactor.chunks(exchange.chunks),
            detail=self._redactor.text(exchange.detail),
        )

    def _is_slow(self, recording: Recording) -> bool:
        """Return whether a request is among the slowest of the run so far."""
        length = recording.ended - (recording.begun or recording.dispatched)
        if len(self._slowest) < SLOWEST:
            heapq.heappush(self._slowest, length)
            return True
        return heapq.heappushpop(self._slowest, length) < length

    def report(self) -> bytes:
        """Return the statistics since the last report as JSON, and begin a new one."""
        stats, self.stats = self.stats, RunStats()
        return encode_stats(stats)


def conformance_judge(dialect: str, policy: AnswerPolicy) -> Judge:
    """Return the rules of a dialect that a policy looks at as a judge of single exchanges."""
    loaded = load_dialect(dialect)
    order, of_last_poll = policy.watched & ORDER_RULES, policy.watched & _OF_LAST_POLL

    def judge(view: ExchangeView, all_rules: bool) -> BrokenRules:
        rules = of_last_poll if Tag.BACKGROUND in view.exchange.tags else policy.watched
        rules = rules if all_rules else order
        return policy.weigh(problems_by_rule(view, loaded, only=rules))

    return judge


def frame(message: tuple[Any, ...]) -> bytes:
    """Return one message as bytes for the pipe."""
    data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    return _HEADER.pack(len(data)) + data


def read_frame(stream: BinaryIO) -> tuple[Any, ...] | None:
    """Return the next message, or ``None`` at the end of the stream."""
    header = _read_exactly(stream, _HEADER.size)
    if header is None:
        return None
    data = _read_exactly(stream, _HEADER.unpack(header)[0])
    if data is None:
        return None
    message: tuple[Any, ...] = pickle.loads(data)
    return message


def _read_exactly(stream: BinaryIO, size: int) -> bytes | None:
    parts = []
    while size:
        part = stream.read(size)
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def make_worker(options: Mapping[str, Any]) -> AnalysisWorker:
    """Return a worker of options as JSON has them; the endpoint's key comes from the environment."""
    headers = tuple((name, value) for name, value in options["headers"])
    return AnalysisWorker(**{**options, "headers": headers}, key=os.environ.get(KEY_VARIABLE) or None)


def serve(worker: AnalysisWorker, inbox: BinaryIO, outbox: BinaryIO) -> None:
    """Answer frames until the input ends."""
    outbox.write(frame(("ready",)))
    outbox.flush()
    while (message := read_frame(inbox)) is not None:
        if message[0] == "work":
            answer: tuple[Any, ...] = ("brief", worker.take(Recording(*message[1])))
        elif message[0] == "report":
            answer = ("report", worker.report())
        else:
            worker.begin(*message[1:])
            continue
        outbox.write(frame(answer))
        outbox.flush()


def main() -> None:
    """Run as :data:`WORKER_PROGRAM`; the arguments are the options as a JSON object, and the id of the parent."""
    output = os.environ.get(OUTPUT_VARIABLE)
    record = ProcessRecord(Path(output).parent if output else None)
    # Signals may reach the whole process group; the generator decides when the work is done.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: record.terminate())
    parent = int(sys.argv[2])
    die_with_parent(parent)
    threading.Thread(target=_watch_parent, args=(parent,), name="parent", daemon=True).start()
    # Whatever priority the load generator was given, this process has a lower one.
    if hasattr(os, "sched_setscheduler"):  # Linux only
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    os.nice(_NICENESS)
    worker = make_worker(json.loads(sys.argv[1]))
    try:
        serve(worker, sys.stdin.buffer, sys.stdout.buffer)
    except BrokenPipeError:
        os._exit(0)
    record.end()


def _watch_parent(parent: int) -> None:
    """End this process, in the middle of its work too, where the kernel does not do so when the generator ends."""
    while True:
        time.sleep(RENEW_EVERY)
        kill_orphan(parent)

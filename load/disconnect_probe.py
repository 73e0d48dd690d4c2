"""Disconnect probes: connections are closed during requests, and the server is observed afterwards.

Four questions, each with several rounds:

``streams stop``, ``replies stop``   does work end when the client of a stream (of a plain request) disconnects?
``stays up``                         are other clients answered afterwards, and are stored responses still there?
``side by side``                     does a short stream wait for the end of a long one?

Where the server's metrics tell how many requests it works on, that number is the evidence: it has to come back down.
Elsewhere a short request is timed while the server is idle, while the long ones run, and after they were dropped. Where
it would have to wait for one of few slots, it is given up once it took clearly longer than alone. That says something
only where the long ones slow it down beyond doubt (the test is that of :mod:`rejoinder.load.decide.regression`), and
``unclear`` is the answer where they do not.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import geometric_mean
from typing import Any, Final, Literal
from urllib.parse import quote

from rejoinder.load.decide.regression import SURE, permutation_p
from rejoinder.load.measure.reader import Connection, Message, RawReply, Timeouts, request_message
from rejoinder.load.measure.recording import final_response, parse_head
from rejoinder.load.settings import LoadSettings
from rejoinder.load.telemetry import fetch_values
from rejoinder.model.base_form import BaseForm, InputForm
from rejoinder.model.exchange import Outcome
from rejoinder.model.samples import ProbeSample
from rejoinder.wire.base_form import fit_body
from rejoinder.wire.headers import ACCEPT_EITHER, merge_headers, request_headers

ProbeVerdict = Literal["pass", "warn", "fail", "unclear"]
Finding = tuple[ProbeVerdict, str, dict[str, Any]]
"""Verdict, sentence and evidence of a probe."""
STREAMS: Final = 8
ROUNDS: Final = 4
LONG_TOKENS: Final = 1000
SHORT_TOKENS: Final = 16
GRACE: Final = 2.0
"""Seconds that a server gets to notice that a client has gone."""
PATIENCE: Final = 2.0
"""Seconds for which a short request is waited for beside long ones, and for long ones that wait for others to end."""
_PATIENCE: Final = 10.0
_SETTLE: Final = 30.0
_SLOWER: Final = 1.5
"""The factor by which long requests must slow a short one down before its time is evidence."""
_LONGER: Final = 4.0
"""The wait is at least this many times what a short request takes alone."""
_CONTENT: Final = b".delta"
_PROMPT: Final = "Count from one to one thousand in words, one after the other, and leave none out."


@dataclass(slots=True)
class LongRequest:
    """A long request in a thread of its own, which can be dropped."""

    connection: Connection
    message: Message
    streamed: bool
    reply: RawReply = field(default_factory=RawReply)
    thread: threading.Thread | None = None
    ended: bool = False

    def start(self) -> None:
        """Send it."""
        self.thread = threading.Thread(target=self._run, name="dropped", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        self.reply = self.connection.perform(self.message, into=self.reply)
        self.ended = not self.reply.cancelled

    @property
    def working(self) -> bool:
        """Whether the server is surely at work on it: content of a stream has come, a plain one has been sent."""
        if self.ended or not self.reply.sent:
            return False
        return not self.streamed or any(_CONTENT in data for _, data in list(self.reply.receives))

    def drop(self) -> None:
        """Close the connection and wait for the thread."""
        self.connection.cancel()
        if self.thread is not None:
            self.thread.join(_PATIENCE)
        self.connection.close()


class DisconnectProbe:
    """The probes of one endpoint; ``on_result`` is called with each result."""

    def __init__(
        self, settings: LoadSettings, key: str | None, *, streams: int = STREAMS, rounds: int = ROUNDS,
        grace: float = GRACE, patience: float = PATIENCE, on_result: Callable[[ProbeSample], None] | None = None,
    ) -> None:  # fmt: skip
        self.results: list[ProbeSample] = []
        self._settings = settings
        self._address = settings.address()
        self._request = settings.request_options(key)
        headers = request_headers(accept=ACCEPT_EITHER, key=key, key_name=self._request.key_header)
        self._headers = merge_headers(headers, (*self._request.headers, *self._request.secret_headers))
        self._context = self._request.tls_context()
        self._form = BaseForm(input=InputForm(settings.input_form))
        self._timeouts = Timeouts(settings.connect_timeout, settings.idle_timeout, settings.total_timeout)
        self._metrics = settings.metrics_urls()
        self._streams, self._rounds, self._grace, self._patience = streams, rounds, grace, patience
        self._on_result = on_result
        self._calm: tuple[float | None, float | None] = (None, None)

    def run(self) -> list[ProbeSample]:
        """Run all probes and return their results."""
        running = self._running()
        stored = self._short().reply
        self._calm = running, _seconds(stored)
        self._add("streams stop", *self._stops(streamed=True))
        self._add("replies stop", *self._stops(streamed=False))
        self._add("stays up", *self._stays_up(final_response(stored.receives)))
        self._add("side by side", *self._side_by_side())
        return self.results

    def _message(self, tokens: int, streamed: bool) -> Message:
        body: dict[str, Any] = {"model": self._settings.model} if self._settings.model else {}
        given = [{"role": "user", "content": self._settings.prompt or _PROMPT}]
        body |= {"input": given, "max_output_tokens": tokens, "stream": streamed}
        fitted = fit_body(body, self._form, self._request.extra_body)
        return request_message(self._address, self._headers, json.dumps(fitted).encode())

    def _connection(self) -> Connection:
        return Connection(self._address, self._timeouts, self._context)

    def _short(self, streamed: bool = False) -> LongRequest:
        """Send a short request and wait for its end."""
        short = LongRequest(self._connection(), self._message(SHORT_TOKENS, streamed), streamed)
        short._run()
        short.connection.close()
        return short

    def _long(self, number: int, streamed: bool) -> list[LongRequest]:
        """Start long requests; return when the server works on all of them, or on as many as it has slots for."""
        found = [LongRequest(self._connection(), self._message(LONG_TOKENS, streamed), streamed) for _ in range(number)]
        for one in found:
            one.start()
        begun = latest = time.monotonic()
        known = 0
        while not all(one.working or one.ended for one in found):
            now = time.monotonic()
            working = sum(one.working for one in found)
            if working > known:
                known, latest = working, now
            if now - begun > _PATIENCE or (known and now - latest > self._patience):
                break
            time.sleep(0.02)
        return found

    def _taken(self, alone: float | None) -> float | None:
        """Return how long a short request takes, or how long it was waited for at least; ``None``: not answered."""
        limit = max(self._patience, _LONGER * (alone or 0.0))
        short = LongRequest(self._connection(), self._message(SHORT_TOKENS, False), False)
        begun = time.monotonic()
        short.start()
        assert short.thread is not None
        short.thread.join(limit)
        waited = time.monotonic() - begun
        if not short.thread.is_alive():
            short.connection.close()
            return _seconds(short.reply)
        short.drop()
        return waited

    def _running(self) -> float | None:
        for url in self._metrics:
            values = fetch_values(url, self._context)
            if values is not None and "running" in values:
                return values["running"] + values.get("waiting", 0.0)
        return None

    def _stops(self, streamed: bool) -> Finding:
        kind = "streams" if streamed else "plain requests"
        idle: list[float | None] = []
        busy: list[float | None] = []
        after: list[float | None] = []
        counts: list[tuple[float, float, float]] = []
        for _ in range(self._rounds):
            self._settle()
            before = self._running()
            idle.append(alone := _seconds(self._short().reply))
            long = self._long(self._streams, streamed)
            time.sleep(0.2)
            during = self._running()
            busy.append(self._taken(alone))
            there = sum(not one.ended for one in long) if any(one.working for one in long) else 0
            for one in long:
                one.drop()
            if there < self._streams:
                return "unclear", f"Long {kind} ended before the client disconnected.", {"dropped": there}
            time.sleep(self._grace)
            after.append(self._taken(alone))
            left = self._running()
            if before is not None and during is not None and left is not None:
                counts.append((before, during, left))
        evidence: dict[str, Any] = {"idle": idle, "busy": busy, "after": after, "running": counts}
        half = self._streams / 2
        if len(counts) == self._rounds and all(during >= before + half for before, during, _ in counts):
            lasting = [left - before for before, _, left in counts]
            if all(left >= half for left in lasting):
                text = f"{self._grace:g} s after {self._streams} {kind} were disconnected, the server still processed "
                text += f"at least {min(lasting):.0f} of them, in each of {self._rounds} rounds."
                return "fail", text, evidence
            if all(left < half for left in lasting):
                return "pass", f"The server stopped processing {kind} when their clients disconnected.", evidence
            return "unclear", f"The server stopped processing disconnected {kind} in some rounds only.", evidence
        if None in (*idle, *busy, *after):
            return "unclear", "Some short requests were not answered.", evidence
        return *self._by_times(kind, idle, busy, after), evidence

    def _settle(self) -> None:
        """Wait until the server is as idle as it was at first; what it was left with may take long."""
        count, seconds = self._calm
        until = time.monotonic() + _SETTLE
        while time.monotonic() < until:
            running = None if count is None else self._running()
            if count is not None and running is not None:
                settled = running <= count + 0.5
            else:
                taken = None if seconds is None else _seconds(self._short().reply)
                settled = seconds is None or taken is None or taken <= _SLOWER * seconds
            if settled:
                return
            time.sleep(0.1)

    def _by_times(
        self, kind: str, idle: Sequence[Any], busy: Sequence[Any], after: Sequence[Any]
    ) -> tuple[ProbeVerdict, str]:
        alone, beside, later = map(geometric_mean, (idle, busy, after))
        times = f"a short request took {alone * 1e3:.0f} ms alone, {beside * 1e3:.0f} ms beside {self._streams} {kind} "
        times += f"and {later * 1e3:.0f} ms {self._grace:g} s after these were disconnected"
        if beside < _SLOWER * alone or permutation_p(idle, busy) > SURE:
            text = f"Long {kind} do not slow down a short one, so the probe cannot show whether they stop: {times}."
            return "unclear", text
        if permutation_p(idle, after) <= SURE and later > (alone * beside) ** 0.5:
            return "fail", f"Disconnected {kind} continue: {times}."
        if permutation_p(after, busy) <= SURE and later < (alone * beside) ** 0.5:
            return "pass", f"Disconnected {kind} stop: {times}."
        return "unclear", f"The times vary too much to show whether disconnected {kind} stop: {times}."

    def _stays_up(self, stored: dict[str, Any] | None) -> Finding:
        bad = []
        for _ in range(2):
            reply = self._short().reply
            status = _status(reply)
            if reply.outcome is not Outcome.COMPLETE or status is None or status >= 500:
                bad.append(reply.detail or f"HTTP {status}")
        if len(bad) == 2:
            return "fail", f"After clients disconnected, the server failed two requests: {bad[0][:200]}.", {}
        if stored is not None and self._retrieve(stored["id"]) == 404:
            fresh = final_response(self._short().reply.receives)
            # Only a server that keeps responses at all can have forgotten one.
            if fresh is not None and self._retrieve(fresh["id"]) == 200:
                return "fail", "A response that was stored before clients disconnected is gone; a new one is not.", {}
        return "pass", "The server answered other clients after clients disconnected.", {}

    def _retrieve(self, name: str) -> int | None:
        """Return the status with which a stored response is retrieved."""
        connection = self._connection()
        message = request_message(self._address, self._headers, b"", method="GET", below=f"/{quote(name)}")
        status = _status(connection.perform(message))
        connection.close()
        return status

    def _side_by_side(self) -> Finding:
        waited, alone, beside = 0, [], []
        for _ in range(self._rounds):
            alone.append(_first_content(self._short(streamed=True).reply))
            (long,) = self._long(1, True)
            if not long.working:
                long.drop()
                return "unclear", "A long stream ended before a short one could run beside it.", {}
            short = LongRequest(self._connection(), self._message(SHORT_TOKENS, True), True)
            short.start()
            until = time.monotonic() + _PATIENCE
            while time.monotonic() < until and not short.working and not short.ended and not long.ended:
                time.sleep(0.005)
            waited += _waited(short, long)
            long.drop()
            if short.thread is not None:
                short.thread.join(_PATIENCE)
            beside.append(_first_content(short.reply))
            short.drop()
        evidence = {"alone": alone, "beside": beside, "waited": waited}
        if waited == self._rounds:
            text = (
                f"A short stream received nothing while a long one ran, in each of {waited} rounds. The server "
                "processes one request at a time."
            )
            return "warn", text, evidence
        if waited:
            return "unclear", f"A short stream waited for a long one in {waited} of {self._rounds} rounds.", evidence
        return "pass", "A short stream ran beside a long one.", evidence

    def _add(self, name: str, verdict: ProbeVerdict, text: str, evidence: dict[str, Any]) -> None:
        result = ProbeSample(name=name, verdict=verdict, text=text, met=verdict != "fail", evidence=evidence)
        self.results.append(result)
        if self._on_result is not None:
            self._on_result(result)


def _status(reply: RawReply) -> int | None:
    try:
        head = parse_head(b"".join(data for _, data in reply.receives))
    except ValueError:
        return None
    return head.status if head else None


def _seconds(reply: RawReply) -> float | None:
    """Return how long an answered request took."""
    status = _status(reply)
    if reply.outcome is not Outcome.COMPLETE or status is None or not 200 <= status < 300:
        return None
    return (reply.ended - reply.begun) / 1e9


def _content_at(reply: RawReply) -> int | None:
    """Return when the first content came, in nanoseconds of the clock of ``begun`` and ``ended``."""
    return next((at for at, data in list(reply.receives) if _CONTENT in data), None)


def _first_content(reply: RawReply) -> float | None:
    at = _content_at(reply)
    return None if at is None else (at - reply.begun) / 1e9


def _waited(short: LongRequest, long: LongRequest) -> bool:
    """Whether a stream got no content before the long one beside it ended, by their own times."""
    first = _content_at(short.reply)
    if first is None:
        return not short.ended
    return long.ended and first >= long.reply.ended

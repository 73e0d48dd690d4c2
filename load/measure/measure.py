"""What one recorded request says: when things happened, how it ended, which rules it broke.

Pure functions of an exchange. All times are seconds from the first byte of the request (t0):

==================  ====================================================================================
``ttfb``            end of the reply's head
``ttfe``            first event (usually ``response.created``)
``ttft``            first content delta of any channel (t1); what vLLM and AIPerf call TTFT
``ttfo``            first content delta that is not reasoning
``e2e``             terminal event (te); of a reply that is not a stream: its last byte
``tail``            te - tn, where tn is the last content delta
``gaps``            between consecutive receives that carried content; pooled over requests they are the inter-token
                    latency (vLLM's ITL, AIPerf's inter-chunk latency)
``tpot``            (tn - t1) / (n - k), n = ``usage.output_tokens``, k the tokens of the first receive, taken as
                    n * its deltas / all deltas. With one token in each delta and receive it is vLLM's
                    (tn - t1) / (n - 1), which is too small where several tokens share a delta.
``e2e_intended``    te - the scheduled start: what a user saw who came on time (wrk2's corrected latency)
``ttft_intended``   t1 - the scheduled start
``sched_lag``       t0 - the scheduled start
``dispatch_lag``    when the generator turned to the request - the scheduled start: the generator's own lateness
==================  ====================================================================================

A content delta is an event of role ``delta`` (or of an unknown type that ends in ``.delta``) whose ``delta`` is not
empty: never ``response.created``, ``*.added``, ``*.done`` or a comment.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

from rejoinder.conformance.judging.exchange_view import ExchangeView
from rejoinder.contract import Dialect
from rejoinder.load.workload.canaries import foreign_canaries
from rejoinder.model.exchange import Exchange, Outcome, parse_json
from rejoinder.model.tags import Tag
from rejoinder.wire.sse import SSEReader

Judge = Callable[[ExchangeView, bool], list[str]]
"""Returns the ids of the MUST rules that an exchange broke: of all rules, or of those of order alone (``False``)."""

OUTCOMES: Final = (
    "ok",
    "unjudged",
    "nonconforming",
    "failed",
    "incomplete",
    "truncated",
    "http_4xx",
    "http_429",
    "http_5xx",
    "transport",
    "timeout",
    "cancelled",
    "censored",
)
ENDED_WELL: Final = ("ok", "unjudged")
"""``ok`` was judged by all rules, ``unjudged`` by order, end and canary alone."""
ANSWERED: Final = (*ENDED_WELL, "nonconforming", "incomplete")
"""Outcomes whose answer came to its end: only their times enter the distributions."""

JUDGEABLE: Final = ("ok", "incomplete", "failed", "truncated", "nonconforming")
"""Outcomes, before the rules are asked, whose reply holds something that the rules apply to."""
MOST_STRETCHES: Final = 400
"""So many stretches has a timeline at most, about 20 KB of a run file."""
_MOST_TYPE: Final = 60

EventSpan = tuple[float, float, str, int, int]
"""Events of a stream that came together: first and last arrival, type, number, and the byte where the first begins."""


@dataclass(slots=True)
class Measurement:
    """What one request says; see the module's text for the times. ``None``: it does not exist."""

    outcome: str = "ok"
    detail: str = ""
    rules: list[str] = field(default_factory=list)
    judged: bool = False
    status: int | None = None
    ttfb: float | None = None
    ttfe: float | None = None
    ttft: float | None = None
    ttfo: float | None = None
    e2e: float | None = None
    tail: float | None = None
    tpot: float | None = None
    gaps: list[float] = field(default_factory=list)
    deltas: int = 0
    input_tokens: int | None = None
    output_tokens: int | None = None
    content: list[tuple[float, int]] = field(default_factory=list)
    """Receive time and number of content deltas of each receive that carried any."""
    foreign: list[str] = field(default_factory=list)
    """Canaries of other requests that the answer shows."""

    @property
    def max_gap(self) -> float | None:
        """The longest stall between two pieces of content."""
        return max(self.gaps, default=None)


def measure(
    exchange: Exchange,
    dialect: Dialect,
    judge: Judge,
    canary: str = "",
    *,
    all_rules: bool = True,
    created: Exchange | None = None,
) -> Measurement:
    """Return what an exchange says; ``judge`` is not asked where nothing whole came back.

    ``canary`` is what the request's input holds; an answer that shows another one is nonconforming. Without
    ``all_rules`` the judge is asked for the order of the events only. ``created`` is the first reply to a request in
    the background, of which ``exchange`` has the last.
    """
    view = ExchangeView(exchange, dialect)
    result = Measurement(status=exchange.status, ttfb=exchange.headers_at)
    terminal = ""
    deltas: list[str] = []
    if exchange.ok and exchange.content_type == "text/event-stream":
        terminal = _read_stream(view, result, deltas)
    elif exchange.ok:
        _read_body(exchange, result)
    result.outcome, result.detail = _outcome(exchange, result, terminal)
    if result.outcome in JUDGEABLE:
        result.judged = all_rules
        result.rules = judge(view, all_rules)
        if created is not None and all_rules:
            result.rules = list(dict.fromkeys([*judge(ExchangeView(created, dialect), True), *result.rules]))
        if result.rules and result.outcome in ("ok", "incomplete"):
            result.outcome = "nonconforming"
            result.detail = f"broke {', '.join(result.rules)}"
        elif result.outcome == "ok" and not all_rules:
            result.outcome = "unjudged"
    elif result.outcome == "cancelled" and view.is_stream and created is None:
        # What had come is judged; no rule asks a stream that its client left for an end.
        result.rules = judge(view, all_rules)
        if result.rules:
            result.judged, result.outcome = all_rules, "nonconforming"
            result.detail = f"broke {', '.join(result.rules)}, before it was given up"
    if canary:
        # A canary may be spread over deltas, so they are looked at in one piece too.
        shown = "".join(deltas).encode("utf-8", "surrogatepass") + b" " + exchange.body
        result.foreign = foreign_canaries(shown, canary)
        if result.foreign and result.outcome != "censored":
            result.outcome = "nonconforming"
            result.detail = f"shows the canary of another request, {result.foreign[0]}: answers are mixed up"
    return result


def timeline(exchange: Exchange, most: int = MOST_STRETCHES) -> list[EventSpan]:
    """Return when the events of a stream came, as stretches in order; never raises.

    Events of one type that came together are one stretch. Where there would be more than ``most``, neighbours of one
    type with the shortest silences between them are joined, then any neighbours, as type ``several``.
    """
    reader = SSEReader()
    found: list[list[Any]] = []
    for chunk in exchange.chunks:
        for event in reader.feed(chunk.data, chunk.t):
            data = parse_json(event.data)
            kind = data.get("type") if isinstance(data, dict) else event.event or event.data
            kind = kind[:_MOST_TYPE] if isinstance(kind, str) else ""
            if found and found[-1][1] == event.t and found[-1][2] == kind:
                found[-1][3] += 1
            else:
                found.append([event.t, event.t, kind, 1, event.start])
    for same in (True, False):
        found = _joined(found, most, same)
    return [(begin, end, kind, count, start) for begin, end, kind, count, start in found]


def _joined(stretches: list[list[Any]], most: int, same: bool) -> list[list[Any]]:
    surplus = len(stretches) - most
    if surplus <= 0:
        return stretches
    silences = [
        (later[0] - earlier[1], index)
        for index, (earlier, later) in enumerate(pairwise(stretches), 1)
        if earlier[2] == later[2] or not same
    ]
    joints = {index for _, index in sorted(silences)[:surplus]}
    joined: list[list[Any]] = []
    for index, (begin, end, kind, count, start) in enumerate(stretches):
        if index in joints:
            last = joined[-1]
            last[1], last[3] = end, last[3] + count
            last[2] = kind if last[2] == kind else "several"
        else:
            joined.append([begin, end, kind, count, start])
    return joined


def _read_stream(view: ExchangeView, result: Measurement, deltas: list[str]) -> str:
    """Take times and usage from an event stream; return the type of its terminal or error event."""
    terminal = ""
    content = result.content
    if view.frames and view.frames[0].terminated:
        result.ttfe = view.frames[0].t
    for event in view.events:
        kind, spec, data = event.type, event.spec, event.data
        if not kind or not event.frame.terminated:
            continue
        t = event.frame.t
        role = spec.role if spec else "other"
        if role == "delta" or (role == "other" and kind.endswith(".delta")):
            delta = data.get("delta")
            if not delta:
                continue
            if isinstance(delta, str):
                deltas.append(delta)
            result.deltas += 1
            if content and content[-1][0] == t:
                content[-1] = (t, content[-1][1] + 1)
            else:
                content.append((t, 1))
            if result.ttfo is None and not _is_reasoning(kind, spec.part if spec else ""):
                result.ttfo = t
        elif (role == "terminal" or role == "error") and not terminal:
            terminal = kind
            result.e2e = t
            response = data.get("response")
            if isinstance(response, dict):
                _read_usage(response, result)
                if kind == "response.incomplete" and _expected_limit(view.exchange, response):
                    terminal = "response.completed"
            if terminal in ("response.failed", "error"):
                result.detail = _error_text(data)
    if content:
        first, last = content[0][0], content[-1][0]
        result.ttft = first
        result.gaps = [later[0] - earlier[0] for earlier, later in pairwise(content)]
        if result.e2e is not None:
            result.tail = result.e2e - last
        tokens = result.output_tokens
        if tokens is not None:
            later = tokens * (1 - content[0][1] / result.deltas)
            if tokens > 1 and last > first:
                result.tpot = (last - first) / later
    return terminal


def _read_body(exchange: Exchange, result: Measurement) -> None:
    body = exchange.json()
    if isinstance(body, dict) and body.get("object") == "response":
        _read_usage(body, result)
        if exchange.outcome is Outcome.COMPLETE:
            result.e2e = exchange.ended_at


def _read_usage(response: dict[str, Any], result: Measurement) -> None:
    usage = response.get("usage")
    if isinstance(usage, dict):
        for name in ("input_tokens", "output_tokens"):
            value = usage.get(name)
            if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
                setattr(result, name, value)


def _expected_limit(exchange: Exchange, response: dict[str, Any]) -> bool:
    """Return whether an incomplete response ended just where the request had asked it to."""
    request = exchange.request.json()
    details = response.get("incomplete_details")
    return (
        isinstance(request, dict)
        and isinstance(request.get("max_output_tokens"), int)
        and isinstance(details, dict)
        and details.get("reason") == "max_output_tokens"
    )


def _outcome(exchange: Exchange, result: Measurement, terminal: str) -> tuple[str, str]:
    """Return the outcome before the rules are asked, and a sentence for all but ``ok``."""
    transport = exchange.outcome
    reason = exchange.detail or transport.value
    if transport is Outcome.CANCELLED:
        return "cancelled" if Tag.CANCELLED in exchange.tags else "censored", reason
    if transport is Outcome.TIMEOUT:
        return "timeout", reason
    status = exchange.status
    if transport is not Outcome.COMPLETE and not (terminal and transport is Outcome.CUT):
        return "transport", reason
    if status is None:
        return "transport", "no reply"
    if status >= 400:
        name = "http_429" if status == 429 else "http_5xx" if status >= 500 else "http_4xx"
        return name, f"HTTP {status}: {_error_text(exchange.json())}".rstrip(": ")
    if not exchange.ok:
        return "nonconforming", f"HTTP {status}, which a load run does not follow"
    if exchange.header("content-encoding") not in ("", "identity"):
        return "nonconforming", f"content coding {exchange.header('content-encoding')[:40]!r}, which was not offered"
    if exchange.content_type != "text/event-stream":
        return _body_outcome(exchange, result)
    if exchange.role != "stream":
        return "nonconforming", "a plain reply was asked for, and a stream came"
    if not terminal:
        return "truncated", "the stream ended without a terminal event"
    if terminal in ("response.failed", "error"):
        return "failed", result.detail or terminal
    if transport is Outcome.CUT:
        return "nonconforming", f"{reason}, after the terminal event"
    if terminal == "response.incomplete":
        return "incomplete", "response.incomplete"
    return "ok", ""


def _body_outcome(exchange: Exchange, result: Measurement) -> tuple[str, str]:
    if exchange.role == "stream":
        return "nonconforming", f"a stream was asked for, and {exchange.content_type or 'an untyped body'} came"
    body = exchange.json()
    if not isinstance(body, dict) or result.e2e is None:
        return "nonconforming", "the body is not a response object"
    status = body.get("status")
    if status == "failed":
        return "failed", _error_text(body)
    if status == "incomplete" and not _expected_limit(exchange, body):
        return "incomplete", "status is incomplete"
    if status not in ("completed", "incomplete"):
        return "nonconforming", f"status is {str(status)[:40]!r}"
    return "ok", ""


def _error_text(data: Any) -> str:
    """Return what an error body or error event says, at most 200 characters, without control characters."""
    if not isinstance(data, dict):
        return ""
    candidates = [data, data.get("error"), data.get("response")]
    if isinstance(data.get("response"), dict):
        candidates.append(data["response"].get("error"))
    for candidate in reversed(candidates):
        if isinstance(candidate, dict) and isinstance(candidate.get("message"), str):
            text = candidate["message"]
            return "".join(char if char.isprintable() else " " for char in text[:200])
    return ""


def _is_reasoning(kind: str, part: str) -> bool:
    return part in ("reasoning_text", "summary_text") or (not part and "reasoning" in kind)

"""What one recorded request says: when things happened, how it ended, which rules it broke.

Pure functions of an exchange. :mod:`rejoinder.model.metrics` defines the times; :data:`MEASURES` takes them.

A content delta is an event of role ``delta`` (or of an unknown type that ends in ``.delta``) whose ``delta`` is not
empty: never ``response.created``, ``*.added``, ``*.done`` or a comment.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

from rejoinder.conformance.judging.exchange_view import ExchangeView
from rejoinder.contract import Dialect
from rejoinder.load.measure.tokens import Channel, Tokens, channel_of, count_tokens, output_text
from rejoinder.load.objectives.answer_policy import ORDER_RULES, BrokenRules
from rejoinder.load.workload.canaries import foreign_canaries
from rejoinder.model.exchange import Exchange, Outcome, parse_json
from rejoinder.model.outcomes import RequestOutcome
from rejoinder.model.tags import Tag
from rejoinder.model.verdict import Problem
from rejoinder.wire.pacing import retry_after
from rejoinder.wire.sse import ServerEvent, SSEReader

Judge = Callable[[ExchangeView, bool], BrokenRules]
"""Returns the MUST rules that an exchange broke: of all rules, or of those of order alone (``False``)."""

MOST_STRETCHES: Final = 400
"""The most spans of a timeline, about 20 KB of a run file."""
_MOST_TYPE: Final = 60
_SPREAD: Final = 10
"""The moments in each second among which tokens are spread that were not streamed."""
USAGE: Final = {
    "input_tokens": "",
    "output_tokens": "",
    "cached_tokens": "input_tokens_details",
    "reasoning_tokens": "output_tokens_details",
}
"""The counts of ``usage`` that are read, and the object inside it that has them."""
_MAY_END_STREAMS: Final = (Outcome.CUT, Outcome.TIMEOUT, Outcome.CANCELLED)

EventSpan = tuple[float, float, str, int, int]
"""Events of a stream that came together: first and last arrival, type, number, and the byte where the first begins."""


@dataclass(slots=True)
class Measurement:
    """What one request says. All times are seconds from its beginning; ``None`` or absent: it does not exist.

    ``head``, ``first_event``, ``first_output`` and ``end`` are when the head of the reply, the first event, the first
    content that is not reasoning, and the terminal event (the last byte of a plain reply) arrived. ``content`` has the
    time and the number of deltas of each receive that carried content. ``usage`` has the counts of the reported usage
    by name, ``tokens`` what follows from them and from the text. ``refused``: the endpoint sent an error. ``times`` and
    ``pools`` hold the values of the metrics by name: one for the request, or many. ``foreign`` are canaries of other
    requests that the answer shows. ``rules`` are the MUST rules that the answer broke, of which ``voiding`` and
    ``known`` are parts and ``problems`` the reasons as in :class:`BrokenRules`; ``judged`` is whether it was checked
    against all rules. ``voided``: it would be ``unjudged`` without that check, which voids it.
    """

    outcome: RequestOutcome = RequestOutcome.OK
    detail: str = ""
    rules: list[str] = field(default_factory=list)
    voiding: list[str] = field(default_factory=list)
    known: list[str] = field(default_factory=list)
    problems: Mapping[str, Sequence[Problem]] = field(default_factory=dict)
    judged: bool = False
    voided: bool = False
    status: int | None = None
    head: float | None = None
    first_event: float | None = None
    first_output: float | None = None
    end: float | None = None
    content: list[tuple[float, int]] = field(default_factory=list)
    deltas: int = 0
    usage: dict[str, int] = field(default_factory=dict)
    tokens: Tokens = field(default_factory=Tokens)
    refused: bool = False
    times: dict[str, float] = field(default_factory=dict)
    pools: dict[str, list[float]] = field(default_factory=dict)
    foreign: list[str] = field(default_factory=list)

    def arrivals(self) -> list[tuple[float, float]]:
        """Return when the output tokens came: times from the beginning, with a number of tokens each.

        Streamed tokens came with the content, in proportion to its deltas. Those that were not streamed were made
        before it: they are spread evenly over the time to the first content. Without content all came at the end.
        """
        tokens = self.tokens
        if not tokens.output:
            return []
        pieces = tokens.pieces or [(self.end or 0.0, 1)]
        streamed = (tokens.streamed or 0) if tokens.pieces else tokens.output
        each = streamed / sum(count for _, count in pieces)
        found = [(at, each * count) for at, count in pieces]
        if hidden := tokens.output - streamed:
            first = pieces[0][0]
            parts = math.ceil(first * _SPREAD) or 1
            found += [((place + 0.5) * first / parts, hidden / parts) for place in range(parts)]
        return found

    def note(self, broken: BrokenRules) -> None:
        """Take over what the answer broke."""
        self.rules, self.voiding, self.known = list(broken.rules), list(broken.voiding), list(broken.known)
        self.problems = broken.problems


def _gaps(_: ExchangeView, reply: Measurement) -> list[float]:
    return [later[0] - earlier[0] for earlier, later in pairwise(reply.content)]


def _tail(_: ExchangeView, reply: Measurement) -> float | None:
    return reply.end - reply.content[-1][0] if reply.end is not None and reply.content else None


def _after_first(reply: Measurement) -> float | None:
    """Return the streamed tokens after those of the first receive, which are counted by its share of the deltas."""
    tokens, pieces = reply.tokens.streamed, reply.tokens.pieces
    if tokens is None or tokens <= 1 or not pieces or pieces[-1][0] <= pieces[0][0]:
        return None
    return tokens * (1 - pieces[0][1] / sum(count for _, count in pieces))


def _tpot(_: ExchangeView, reply: Measurement) -> float | None:
    """Return the time per token after those of the first receive, of the tokens that were streamed.

    With one token in each delta and receive it is vLLM's (tn - t1) / (n - 1), which is too small where several tokens
    share a delta. :func:`~rejoinder.load.measure.tokens.count_tokens` says which tokens were streamed.
    """
    tokens, pieces = _after_first(reply), reply.tokens.pieces
    return (pieces[-1][0] - pieces[0][0]) / tokens if tokens else None


def _per_user(_: ExchangeView, reply: Measurement) -> float | None:
    tokens, pieces = _after_first(reply), reply.tokens.pieces
    return tokens / (reply.end - pieces[0][0]) if tokens and reply.end is not None else None


def _refused(view: ExchangeView, reply: Measurement) -> float | None:
    return (view.exchange.ended_at if reply.end is None else reply.end) if reply.refused else None


def _retry_after(view: ExchangeView, reply: Measurement) -> float | None:
    if not reply.refused:
        return None
    return retry_after(view.exchange, view.exchange.started_at + view.exchange.ended_at)


MEASURES: Final[dict[str, Callable[[ExchangeView, Measurement], float | None]]] = {
    "ttfb": lambda _, reply: reply.head,
    "ttfe": lambda _, reply: reply.first_event,
    "ttft": lambda _, reply: reply.content[0][0] if reply.content else None,
    "ttfo": lambda _, reply: reply.first_output,
    "e2e": lambda _, reply: reply.end,
    "tail": _tail,
    "tpot": _tpot,
    "output_tokens_per_user": _per_user,
    "max_gap": lambda _, reply: max(reply.pools["itl"], default=None),
    "failed_latency": _refused,
    "retry_after": _retry_after,
}
"""Takes each value that a request has once, by the name of its row in the table of metrics."""
POOLS: Final[dict[str, Callable[[ExchangeView, Measurement], list[float]]]] = {"itl": _gaps}
"""Takes the times of which a request has many, before the others."""


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

    A whole answer is nonconforming where the judge says that a broken rule voids it. Other broken rules are recorded.

    ``canary`` is what the request's input holds; an answer that shows another one is nonconforming. Without
    ``all_rules`` the judge is asked for the order of the events only. ``created`` is the first reply to a request in
    the background, of which ``exchange`` has the last.
    """
    view = ExchangeView(exchange, dialect)
    result = Measurement(status=exchange.status, head=exchange.headers_at)
    terminal = ""
    deltas: list[str] = []
    if exchange.ok and exchange.content_type == "text/event-stream":
        terminal = _read_stream(view, result, deltas)
    elif exchange.ok:
        _read_body(exchange, result)
    else:
        result.refused = exchange.outcome is Outcome.COMPLETE
    take_times(view, result)
    result.outcome, result.detail = _outcome(exchange, result, terminal)
    if result.outcome.row.judgeable:
        result.judged = all_rules
        broken = judge(view, all_rules)
        if created is not None and all_rules:
            broken = judge(ExchangeView(created, dialect), True).joined(broken)
        result.note(broken)
        if result.voiding and result.outcome in (RequestOutcome.OK, RequestOutcome.INCOMPLETE):
            result.voided = result.outcome is RequestOutcome.OK and ORDER_RULES.isdisjoint(result.voiding)
            result.outcome = RequestOutcome.NONCONFORMING
            result.detail = f"broke {', '.join(result.voiding)}"
        elif result.outcome is RequestOutcome.OK and not all_rules:
            result.outcome = RequestOutcome.UNJUDGED
    elif result.outcome is RequestOutcome.CANCELLED and view.is_stream and created is None:
        # What had come is judged; no rule asks a stream that its client left for an end.
        result.note(judge(view, all_rules))
        if result.voiding:
            result.judged, result.outcome = all_rules, RequestOutcome.NONCONFORMING
            result.detail = f"broke {', '.join(result.voiding)} before it was cancelled"
    if canary:
        # A canary may be spread over deltas, so they are looked at in one piece too.
        answer = "".join(deltas).encode("utf-8", "surrogatepass") + b" " + exchange.body
        result.foreign = foreign_canaries(answer, canary)
        if result.foreign and result.outcome is not RequestOutcome.CENSORED:
            result.outcome, result.voided = RequestOutcome.NONCONFORMING, False
            result.detail = (
                f"contains the canary of another request, {result.foreign[0]}: the endpoint mixes up responses"
            )
    return result


def take_times(view: ExchangeView, reply: Measurement) -> None:
    """Take the values of every metric from what was read of a reply."""
    reply.pools = {name: take(view, reply) for name, take in POOLS.items()}
    reply.times = {name: at for name, take in MEASURES.items() if (at := take(view, reply)) is not None}


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
    channels: dict[Channel, list[tuple[float, int]]] = {channel: [] for channel in Channel}
    texts: dict[Channel, list[str]] = {channel: [] for channel in Channel}
    final: dict[str, Any] = {}
    first = _first_frame(view)
    if first is not None and first.terminated:
        result.first_event = first.t
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
            channel = channel_of(kind, spec.part if spec else "")
            if isinstance(delta, str):
                deltas.append(delta)
                texts[channel].append(delta)
            result.deltas += 1
            for pieces in (content, channels[channel]):
                if pieces and pieces[-1][0] == t:
                    pieces[-1] = (t, pieces[-1][1] + 1)
                else:
                    pieces.append((t, 1))
            if result.first_output is None and channel in (Channel.OUTPUT, Channel.CALL):
                result.first_output = t
        elif (role == "terminal" or role == "error") and not terminal:
            terminal = kind
            result.end = t
            response = data.get("response")
            if isinstance(response, dict):
                final = response
                _read_usage(response, result)
                if kind == "response.incomplete" and _expected_limit(view.exchange, response):
                    terminal = "response.completed"
            if terminal in ("response.failed", "error"):
                result.detail = _error_text(data)
                result.refused = True
    whole = output_text(final)
    if deltas:
        whole = {channel: "".join(found) or whole[channel] for channel, found in texts.items()}
    result.tokens = count_tokens(result.usage, channels, whole, complete=bool(terminal) and not result.refused)
    return terminal


def _first_frame(view: ExchangeView) -> ServerEvent | None:
    """Return the first event of a stream other than those that clients of the dialect ignore, such as keepalive."""
    ignored = view.dialect.stream["ignored_events"]
    first = view.frames[0] if view.frames else None
    if view.events and view.events[0].frame is first and view.events[0].type in ignored:
        return next((event.frame for event in view.events if event.type not in ignored), None)
    return first


def _read_body(exchange: Exchange, result: Measurement) -> None:
    body = exchange.json()
    complete = exchange.outcome is Outcome.COMPLETE
    if isinstance(body, dict) and body.get("object") == "response":
        _read_usage(body, result)
        result.refused = complete and body.get("status") == "failed"
        result.tokens = count_tokens(result.usage, {}, output_text(body), complete=complete and not result.refused)
        if complete:
            result.end = exchange.ended_at
    else:
        result.refused = complete


def _read_usage(response: dict[str, Any], result: Measurement) -> None:
    usage = response.get("usage")
    if not isinstance(usage, dict):
        return
    for name, details in USAGE.items():
        within = usage.get(details) if details else usage
        value = within.get(name) if isinstance(within, dict) else None
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            result.usage[name] = value


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


def _outcome(exchange: Exchange, result: Measurement, terminal: str) -> tuple[RequestOutcome, str]:
    """Return the outcome before the rules are asked, and a sentence for all but ``ok``."""
    transport = exchange.outcome
    reason = exchange.detail or transport.value
    if Tag.UNOPENED in exchange.tags:
        return RequestOutcome.UNOPENED, reason
    # A stream is complete with its terminal event, whatever becomes of its connection.
    if transport is Outcome.CANCELLED and (Tag.CANCELLED in exchange.tags or not terminal):
        return RequestOutcome.CANCELLED if Tag.CANCELLED in exchange.tags else RequestOutcome.CENSORED, reason
    if transport is Outcome.TIMEOUT and not terminal:
        return RequestOutcome.TIMEOUT, reason
    if transport is Outcome.TOO_LARGE:
        return RequestOutcome.TOO_LARGE, reason
    status = exchange.status
    if transport is not Outcome.COMPLETE and not (terminal and transport in _MAY_END_STREAMS):
        return RequestOutcome.TRANSPORT, reason
    if status is None:
        return RequestOutcome.TRANSPORT, "no response"
    if status >= 400:
        name = RequestOutcome.HTTP_5XX if status >= 500 else RequestOutcome.HTTP_4XX
        name = RequestOutcome.HTTP_429 if status == 429 else name
        return name, f"HTTP {status}: {_error_text(exchange.json())}".rstrip(": ")
    if not exchange.ok:
        return RequestOutcome.NONCONFORMING, f"HTTP {status}: redirects are not followed"
    coding = exchange.header("content-encoding")
    if coding not in ("", "identity"):
        return RequestOutcome.NONCONFORMING, f"Content-Encoding {coding[:40]!r}, but the request accepts identity only"
    if exchange.content_type != "text/event-stream":
        return _body_outcome(exchange, result)
    if exchange.role != "stream":
        return RequestOutcome.NONCONFORMING, "the request sets stream to false, but the response is an event stream"
    if not terminal:
        return RequestOutcome.TRUNCATED, "the stream ended without a terminal event"
    if terminal in ("response.failed", "error"):
        return RequestOutcome.FAILED, result.detail or terminal
    if transport is Outcome.CUT:
        return RequestOutcome.NONCONFORMING, f"{reason}, after the terminal event"
    if terminal == "response.incomplete":
        return RequestOutcome.INCOMPLETE, "response.incomplete"
    return RequestOutcome.OK, ""


def _body_outcome(exchange: Exchange, result: Measurement) -> tuple[RequestOutcome, str]:
    if exchange.role == "stream":
        came = exchange.content_type or "no Content-Type"
        return RequestOutcome.NONCONFORMING, f"the request sets stream to true, but the response has {came}"
    body = exchange.json()
    if not isinstance(body, dict) or result.end is None:
        return RequestOutcome.NONCONFORMING, "the body is not a response object"
    status = body.get("status")
    if status == "failed":
        return RequestOutcome.FAILED, _error_text(body)
    if status == "incomplete" and not _expected_limit(exchange, body):
        return RequestOutcome.INCOMPLETE, "status is incomplete"
    if status not in ("completed", "incomplete"):
        return RequestOutcome.NONCONFORMING, f'status is "{str(status)[:40]}", expected "completed"'
    return RequestOutcome.OK, ""


def _error_text(data: Any) -> str:
    """Return what an error body or error event says, at most 200 characters, without control characters."""
    if not isinstance(data, dict):
        return ""
    response = data.get("response")
    nested = response.get("error") if isinstance(response, dict) else None
    for candidate in (nested, response, data.get("error"), data):
        if isinstance(candidate, dict) and isinstance(candidate.get("message"), str):
            text = candidate["message"]
            return "".join(char if char.isprintable() else " " for char in text[:200])
    return ""

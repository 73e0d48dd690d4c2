"""What an answer of the server of known truth holds, and when each piece of it is due.

An :class:`Answer` is data: deltas with their times, usage, and how the stream ends. :func:`pieces` turns it into bytes
that are due at offsets from the arrival of the request, with marks that say what a client can learn from each piece.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

MODEL: Final = "truth"
ABSENT: Final = "absent"
WORDS: Final = ("light", "house", "on", "the", "far", "shore", "of", "a", "cold", "and", "quiet", "sea")
"""Words of one token each, in every vocabulary."""


class Kind(StrEnum):
    """What a delta is part of; the value is the stem of its event type."""

    TEXT = "output_text"
    REFUSAL = "refusal"
    REASONING = "reasoning_text"
    ARGUMENTS = "function_call_arguments"


class End(StrEnum):
    """The terminal event of a stream."""

    COMPLETED = "completed"
    CUT_BY_LIMIT = "max_output_tokens"
    CUT_BY_FILTER = "content_filter"
    FAILED = "failed"
    ERROR = "error"
    NOTHING = "nothing"

    @property
    def status(self) -> str:
        """The status of the response object."""
        return "incomplete" if self in (End.CUT_BY_LIMIT, End.CUT_BY_FILTER) else str(self)


@dataclass(frozen=True, slots=True)
class Delta:
    """One content event, due at an offset in seconds."""

    at: float
    text: str
    kind: Kind = Kind.TEXT


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts as the endpoint reports them."""

    output: int
    reasoning: int = 0
    input: int = 10
    cached: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the object of the wire."""
        return {
            "input_tokens": self.input,
            "input_tokens_details": {"cached_tokens": self.cached, "cache_write_tokens": 0},
            "output_tokens": self.output,
            "output_tokens_details": {"reasoning_tokens": self.reasoning},
            "total_tokens": self.input + self.output,
        }


def tokens(count: int = 16, first: float = 0.05, gap: float = 0.01, kind: Kind = Kind.TEXT) -> tuple[Delta, ...]:
    """Return deltas of one word each at equal distances."""
    return tuple(Delta(first + number * gap, WORDS[number % len(WORDS)] + " ", kind) for number in range(count))


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer. ``usage`` ``None`` counts one token for each delta; ``ABSENT`` and ``"null"`` are for the wire.

    ``head`` is when status line and headers are due, ``created`` when ``response.created`` is, ``end`` when the
    terminal event is: ``None`` with the last delta.
    """

    deltas: tuple[Delta, ...] = tokens()
    usage: Usage | str | None = None
    end: End = End.COMPLETED
    head: float = 0.0
    created: float = 0.0
    ends_at: float | None = None
    created_at: int = 1_700_000_000
    deltas_sent: bool = True

    @property
    def done_at(self) -> float:
        """When the terminal event is due."""
        last = self.deltas[-1].at if self.deltas else self.created
        return max(self.head, last) if self.ends_at is None else self.ends_at

    @property
    def counted(self) -> Usage | None:
        """The usage on the wire, or ``None`` where there is none."""
        if self.usage is None:
            return Usage(len(self.deltas), sum(delta.kind is Kind.REASONING for delta in self.deltas))
        return None if isinstance(self.usage, str) else self.usage


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of an event stream that are due at an offset; ``marks`` is what they begin or end."""

    at: float
    data: bytes
    marks: tuple[str, ...] = ()


def event(data: Mapping[str, Any]) -> bytes:
    """Return the bytes of one event."""
    return f"event: {data['type']}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


def response_object(
    body: Mapping[str, Any], answer: Answer, status: str, output: list[Any], *, number: int = 0
) -> dict[str, Any]:
    """Return the response object to a request body."""
    usage: Any = None
    if status in ("completed", "incomplete"):
        usage = answer.counted.to_json() if answer.counted else None
    found = {
        "id": f"resp_{number}",
        "object": "response",
        "created_at": answer.created_at,
        "status": status,
        "background": bool(body.get("background")),
        "error": {"code": "server_error", "message": "The planned failure."} if status == "failed" else None,
        "incomplete_details": {"reason": str(answer.end)} if status == "incomplete" else None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "max_tool_calls": None,
        "metadata": body.get("metadata") or {},
        "model": body.get("model", MODEL),
        "output": output,
        "parallel_tool_calls": True,
        "previous_response_id": body.get("previous_response_id"),
        "prompt_cache_key": None,
        "safety_identifier": None,
        "reasoning": {"effort": None, "summary": None},
        "service_tier": "default",
        "store": True,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": body.get("tool_choice", "auto"),
        "tools": body.get("tools", []),
        "top_logprobs": 0,
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": usage,
        "user": None,
    }
    if answer.usage == ABSENT:
        del found["usage"]
    return found


def items(answer: Answer) -> list[dict[str, Any]]:
    """Return the output items of a whole answer."""
    return [section.whole for section in _sections(answer)]


def _sections(answer: Answer) -> list[_Section]:
    groups = itertools.groupby(answer.deltas, key=lambda delta: delta.kind)
    found = [_Section(index, kind, list(deltas)) for index, (kind, deltas) in enumerate(groups)]
    if found:
        found[-1].status = answer.end.status
    return found


class _Section:
    """One output item: the objects and events of consecutive deltas of one kind."""

    def __init__(self, index: int, kind: Kind, deltas: list[Delta], status: str = "completed") -> None:
        self.index, self.kind, self.deltas, self.status = index, kind, deltas, status
        self.id = f"{ {Kind.ARGUMENTS: 'fc', Kind.REASONING: 'rs'}.get(kind, 'msg') }_{index}"
        self.place: dict[str, Any] = {"item_id": self.id, "output_index": index}
        if kind is not Kind.ARGUMENTS:
            self.place["content_index"] = 0

    def part(self, text: str) -> dict[str, Any]:
        """Return the content part with a text."""
        field = "refusal" if self.kind is Kind.REFUSAL else "text"
        more: dict[str, Any] = {"annotations": [], "logprobs": []} if self.kind is Kind.TEXT else {}
        return {"type": str(self.kind), field: text, **more}

    def item(self, status: str, content: list[Any], arguments: str = "") -> dict[str, Any]:
        """Return the item in a status."""
        if self.kind is Kind.ARGUMENTS:
            call = {"call_id": f"call_{self.index}", "name": "f", "arguments": arguments}
            return {"id": self.id, "type": "function_call", "status": status, **call}
        if self.kind is Kind.REASONING:
            return {"id": self.id, "type": "reasoning", "status": status, "summary": [], "content": content}
        return {"id": self.id, "type": "message", "status": status, "role": "assistant", "content": content}

    @property
    def whole(self) -> dict[str, Any]:
        """The finished item."""
        text = self.joined
        return self.item(self.status, [self.part(text)], text)

    @property
    def joined(self) -> str:
        """The whole content."""
        return "".join(delta.text for delta in self.deltas)

    def opening(self) -> Iterator[dict[str, Any]]:
        """Yield what comes before the first delta."""
        yield {"type": "response.output_item.added", "output_index": self.index, "item": self.item("in_progress", [])}
        if self.kind is not Kind.ARGUMENTS:
            stem = "reasoning_part" if self.kind is Kind.REASONING else "content_part"
            yield {"type": f"response.{stem}.added", **self.place, "part": self.part("")}

    def delta(self, text: str) -> dict[str, Any]:
        """Return the event of one delta."""
        more: dict[str, Any] = {"logprobs": []} if self.kind is Kind.TEXT else {}
        return {"type": f"response.{self.kind}.delta", **self.place, "delta": text, **more}

    def closing(self) -> Iterator[dict[str, Any]]:
        """Yield what comes after the last delta."""
        text = self.joined
        field = {Kind.REFUSAL: "refusal", Kind.ARGUMENTS: "arguments"}.get(self.kind, "text")
        more: dict[str, Any] = {"logprobs": []} if self.kind is Kind.TEXT else {}
        more = {"name": "f"} if self.kind is Kind.ARGUMENTS else more
        yield {"type": f"response.{self.kind}.done", **self.place, field: text, **more}
        if self.kind is not Kind.ARGUMENTS:
            stem = "reasoning_part" if self.kind is Kind.REASONING else "content_part"
            yield {"type": f"response.{stem}.done", **self.place, "part": self.part(text)}
        yield {"type": "response.output_item.done", "output_index": self.index, "item": self.whole}


def pieces(answer: Answer, body: Mapping[str, Any], number: int = 0) -> list[Piece]:
    """Return the pieces of an event stream in the order in which they are due.

    Marks are ``event`` (the first one), ``content`` (a delta that is not empty), ``output`` (content that is not
    reasoning) and ``end`` (the terminal event).
    """
    numbers = itertools.count()

    def made(data: dict[str, Any]) -> bytes:
        return event({"type": data.pop("type"), "sequence_number": next(numbers), **data})

    begun = response_object(body, answer, "in_progress", [], number=number)
    begun.setdefault("usage", None)
    at = max(answer.head, answer.created)
    opening = made({"type": "response.created", "response": begun})
    opening += made({"type": "response.in_progress", "response": begun})
    found = [Piece(at, opening, ("event",))]
    sections = _sections(answer)
    for section in sections:
        index, kind, deltas = section.index, section.kind, section.deltas
        due = max(at, deltas[0].at) if index else at
        found.extend(Piece(due, made(data)) for data in section.opening())
        if answer.deltas_sent:
            for delta in deltas:
                seen = ("content",) if kind is Kind.REASONING else ("content", "output")
                found.append(Piece(max(at, delta.at), made(section.delta(delta.text)), seen if delta.text else ()))
        if answer.end.status in ("completed", "incomplete"):
            due = answer.done_at if section is sections[-1] else deltas[-1].at
            found.extend(Piece(max(at, due), made(data)) for data in section.closing())
    output = items(answer) if answer.end.status in ("completed", "incomplete") else []
    match answer.end:
        case End.NOTHING:
            pass
        case End.ERROR:
            error = {"type": "error", "code": "server_error", "message": "The planned error.", "param": None}
            found.append(Piece(answer.done_at, made(error), ("end",)))
        case _:
            whole = response_object(body, answer, answer.end.status, output, number=number)
            data = {"type": f"response.{answer.end.status}", "response": whole}
            found.append(Piece(answer.done_at, made(data), ("end",)))
    return found

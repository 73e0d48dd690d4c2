"""What the sandbox answers: status, headers and timed pieces of the body."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from rejoinder.contract import Dialect
from rejoinder.model.exchange import Headers, Request

JSON_HEADERS: Final[Headers] = (("content-type", "application/json"),)


class Piece(NamedTuple):
    """Bytes of the body, and the seconds to wait before they are sent."""

    delay: float
    data: bytes


@dataclass(slots=True)
class Reply:
    """A reply, ready to be sent.

    ``chunks`` can be read once; a stream has one event in each. ``cut`` means that the connection is closed without the
    end that the framing promises; ``hold`` is how many seconds it stays open after the last chunk.
    """

    status: int
    headers: Headers
    chunks: Iterator[Piece] = field(default_factory=lambda: iter(()))
    cut: bool = False
    hold: float = 0.0


@dataclass(frozen=True, slots=True)
class RequestInfo:
    """One request as faults see it.

    ``operation`` is ``create``, ``response`` (retrieve or delete), ``cancel``, ``input_items``, ``input_tokens``,
    ``compact``, ``models``, ``health``, the dialect's name of an operation on conversations, or empty for an unknown
    path. ``body`` is the parsed request body, empty when it is no object. ``number`` counts the create requests from 1.
    ``previous`` is the body of the create request before this one (empty for none), ``others`` are those of the create
    requests whose replies have not been read to their end.
    """

    request: Request
    operation: str
    body: Mapping[str, Any]
    dialect: Dialect
    number: int
    previous: Mapping[str, Any] = field(default_factory=dict)
    others: tuple[Mapping[str, Any], ...] = ()

    @property
    def streamed(self) -> bool:
        """Whether the request sets ``stream``."""
        return self.body.get("stream") is True

    @property
    def key(self) -> str:
        """The key of the tenant that sends the request, empty for none."""
        return header(self.request, "authorization").removeprefix("Bearer ")


def reply_with(value: Any) -> Reply:
    """Return a reply of JSON."""
    return Reply(200, JSON_HEADERS, iter([Piece(0.0, encode(value))]))


class ApiError(Exception):
    """A request that is refused; becomes the error envelope."""

    def __init__(
        self, status: int, message: str, *, param: str | None = None, code: str | None = None, headers: Headers = ()
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code
        self.headers = headers


def header(request: Request, name: str) -> str:
    """Return the first value of a request header (name in lower case), or the empty string."""
    return next((value for key, value in request.headers if key.lower() == name), "")


def encode(value: Any) -> bytes:
    """Return JSON in UTF-8, compact, escaped only where it holds half surrogate pairs (which only faults make)."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()

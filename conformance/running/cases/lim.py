"""Requests of growing size, and requests and responses with content codings."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, Final

from rejoinder.budgets import MIB
from rejoinder.conformance.judging.codings import CODINGS
from rejoinder.conformance.judging.limits import DIMENSIONS, Dimension, dimensions_of, role_of_size
from rejoinder.conformance.judging.roles import Role
from rejoinder.conformance.running.case import (
    LONG,
    WEATHER_TOOL,
    CaseContext,
    PlannedCase,
    RequestSpec,
    closed,
    greeting,
    is_over,
    liveness_request,
    stored_request,
    strict_format,
    user,
)
from rejoinder.model.tags import Tag, sent_for

_LARGE: Final = 3 * MIB
"""Bytes of a body that frameworks with a limit of 1 or 2 MiB refuse."""
_ITEMS: Final = (8, 16, 128)
"""Numbers of input items whose input tokens are compared."""
_SNAPSHOT_BYTES: Final = 4000
"""Bytes of a stream in which its first snapshot has room, with the id of the response."""
_SEARCHED: Final = ("safety_identifier", "prompt_cache_key")
"""What only a search sends, up to its documented limit and above."""
_ABOVE: Final = ("metadata_key",)
"""What is also sent above its documented limit; other cases send the others so."""
_COMPRESS: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "gzip": partial(gzip.compress, mtime=0),
    "deflate": zlib.compress,
}


def cases(context: CaseContext, plan: str) -> Iterator[PlannedCase]:
    """Yield the cases of a plan: those that cost few tokens."""
    if plan != "full":
        return
    yield _compressed_requests(context)
    yield _compressed_responses(context)
    yield _left(context)
    body = DIMENSIONS["body"]
    yield PlannedCase(
        body.case,
        "A minimal request with 3 MiB of whitespace, and one without.",
        (sized_request(context, body, _LARGE, Tag.EDGE), liveness_request(context)),
    )
    items = DIMENSIONS["items"]
    growing = [sized_request(context, items, size, Tag.EDGE if size == _ITEMS[-1] else Tag.VALID) for size in _ITEMS]
    yield PlannedCase(items.case, "Growing numbers of short messages in the input.", tuple(growing))
    for row in dimensions_of(context.dialect):
        limit = row.documented(context.dialect)
        if limit is not None and row.name not in _SEARCHED:
            sizes = [sized_request(context, row, size) for size in (limit // 2, limit)]
            above = [sized_request(context, row, limit + 1, Tag.EDGE)] if row.name in _ABOVE else []
            yield PlannedCase(
                row.case,
                f"{row.title} of up to the documented limit of {limit} {row.unit}{', and above it' if above else ''}.",
                (*sizes, *above),
            )


def sized_request(context: CaseContext, row: Dimension, size: int, *tags: str) -> RequestSpec:
    """Return a request with ``size`` units of what has a limit; by default it is valid beyond dispute."""
    body = _BODIES[row.name](context, size)
    written = partial(padded, size=size) if row.name == "body" else None
    disabled = {"truncation": "disabled"} if row.heard and "truncation" in context.dialect.parameters else {}
    return RequestSpec(role_of_size(size), {**body, **disabled}, tags or (Tag.VALID,), written=written)


def padded(text: bytes, size: int) -> bytes:
    """Return the text of a JSON object with spaces before its end, so that it has ``size`` bytes, or more if it had."""
    return text[:-1] + b" " * (size - len(text)) + text[-1:]


def _compressed_requests(context: CaseContext) -> PlannedCase:
    requests = (
        RequestSpec(
            name,
            greeting(context),
            (sent_for("LIM-01"),),
            headers=(("content-encoding", name),),
            written=_COMPRESS[name],
        )
        for name in CODINGS
    )
    return PlannedCase("compression.requests", "A minimal request with a compressed body.", tuple(requests))


def _compressed_responses(context: CaseContext) -> PlannedCase:
    headers = (("accept-encoding", ", ".join(CODINGS)),)
    return PlannedCase(
        "compression.responses",
        "A minimal request that accepts compressed responses, plain and streamed.",
        (
            RequestSpec(Role.PLAIN, greeting(context), headers=headers),
            RequestSpec(Role.STREAM, {**greeting(context), "stream": True}, headers=headers),
        ),
    )


def _left(context: CaseContext) -> PlannedCase:
    body = context.body(input=user("Tell a long story."), max_output_tokens=LONG, stream=True)
    stored = {"store": True} if "store" in context.dialect.parameters else {}
    return PlannedCase(
        "disconnect.stored",
        "The client closes a stream, and retrieves the response until it is over.",
        (
            RequestSpec(Role.LEFT, {**body, **stored}, read_limit=_SNAPSHOT_BYTES),
            stored_request(Role.GET_AFTER, Role.LEFT, until=is_over),
        ),
    )


def _context(context: CaseContext, size: int) -> dict[str, Any]:
    return context.body(input=user(f"{'hello ' * (size - 2)}Say hello."))


def _items(context: CaseContext, size: int) -> dict[str, Any]:
    return context.body(input=[message for _ in range(size) for message in user("Say hello.")])


def _parts(context: CaseContext, size: int) -> dict[str, Any]:
    part = {"type": "input_text", "text": "Say hello."}
    return context.body(input=[{"role": "user", "content": [part] * size}])


def _function(name: str) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {}}
    return {"type": "function", "name": name, "description": "Do it.", "parameters": parameters, "strict": False}


def _with_tools(context: CaseContext, names: list[str]) -> dict[str, Any]:
    return {**greeting(context), "tools": [_function(name) for name in names]}


def _format_name(context: CaseContext, size: int) -> dict[str, Any]:
    schema = closed({"text": {"type": "string"}})
    return {**greeting(context), "text": {"format": {**strict_format(schema), "name": "n" * size, "strict": False}}}


def _called(context: CaseContext, call_id: str, arguments: str) -> dict[str, Any]:
    call = {"type": "function_call", "call_id": call_id, "name": "get_weather", "arguments": arguments}
    output = {"type": "function_call_output", "call_id": call_id, "output": "Rain."}
    return context.body(input=[*user("What is the weather in Oslo?"), call, output], tools=[WEATHER_TOOL])


def _schema_depth(context: CaseContext, size: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(size):
        schema = closed({"a": schema})
    return {**greeting(context), "text": {"format": {**strict_format(schema), "strict": False}}}


def _with(name: str, value: Callable[[int], Any]) -> Callable[[CaseContext, int], dict[str, Any]]:
    """Return what makes the simplest request with a field whose value follows from the size."""
    return lambda context, size: {**greeting(context), name: value(size)}


_BODIES: Final[Mapping[str, Callable[[CaseContext, int], dict[str, Any]]]] = MappingProxyType(
    {
        "body": lambda context, _: greeting(context),
        "event": lambda context, size: {**greeting(context), "user": "u" * size, "stream": True},
        "context": _context,
        "items": _items,
        "parts": _parts,
        "tools": lambda context, size: _with_tools(context, [f"tool_{number}" for number in range(size)]),
        "stop": _with("stop", lambda size: [f"stop {number}" for number in range(size)]),
        "metadata_pairs": _with("metadata", lambda size: {f"key{number}": "value" for number in range(size)}),
        "metadata_key": _with("metadata", lambda size: {"k" * size: "value"}),
        "metadata_value": _with("metadata", lambda size: {"key": "v" * size}),
        "tool_name": lambda context, size: _with_tools(context, ["f" * size]),
        "format_name": _format_name,
        "call_id": lambda context, size: _called(context, f"call_{'c' * (size - 5)}", '{"city":"Oslo"}'),
        "safety_identifier": _with("safety_identifier", lambda size: "s" * size),
        "prompt_cache_key": _with("prompt_cache_key", lambda size: "p" * size),
        "schema_depth": _schema_depth,
        "arguments_depth": lambda context, size: _called(
            context, "call_1", '{"a":' * (size - 1) + "{}" + "}" * (size - 1)
        ),
    }
)
"""What makes the body of a request, by what grows in it."""

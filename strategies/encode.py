"""From a body to the bytes that go over the wire.

HTTP clients encode what Python's ``json`` likes; the interesting bodies are those it refuses. :func:`to_bytes` writes
lone surrogates (as escapes), integers of any size and any depth of nesting, and takes pieces of ready-made JSON text
where no Python value would do.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

__all__ = ["RawJson", "nested", "to_bytes"]


@dataclass(frozen=True, slots=True)
class RawJson:
    """JSON text (or what passes for it) to be written as it is, for instance ``1e999`` or a huge integer."""

    text: str


def nested(depth: int, *, inner: str = "0", key: str = "") -> RawJson:
    """Return JSON text of lists (with ``key``: of objects with that key) nested ``depth`` deep around ``inner``."""
    before, after = (f"{{{json.dumps(key)}:", "}") if key else ("[", "]")
    return RawJson(before * depth + inner + after * depth)


def to_bytes(body: Any) -> bytes:
    """Return a body as JSON in ASCII.

    Takes what ``json.loads`` returns, tuples, and :class:`RawJson`. Characters beyond ASCII become escapes,
    surrogates included; integers may have any number of digits; nesting is bounded by memory only. Raises
    ``TypeError`` for anything else and ``ValueError`` for NaN and infinities, which JSON does not have.
    """
    return "".join(_chunks(body)).encode("ascii", "surrogatepass")


def _chunks(body: Any) -> Iterator[str]:
    """Write a value without recursion, so that depth costs memory and not stack."""
    stack: list[Iterator[str | _EncodedValue]] = [iter([_EncodedValue(body)])]
    while stack:
        part = next(stack[-1], None)
        if part is None:
            stack.pop()
        elif isinstance(part, str):
            yield part
        else:
            value = part.value
            if isinstance(value, Mapping):
                stack.append(_object(value))
            elif isinstance(value, list | tuple):
                stack.append(_array(value))
            else:
                yield _scalar(value)


@dataclass(frozen=True, slots=True)
class _EncodedValue:
    value: Any


def _object(value: Mapping[Any, Any]) -> Iterator[str | _EncodedValue]:
    yield "{"
    for index, (key, item) in enumerate(value.items()):
        if not isinstance(key, str):
            raise TypeError(f"object keys are strings, not {type(key).__name__}")
        yield ("," if index else "") + json.dumps(key) + ":"
        yield _EncodedValue(item)
    yield "}"


def _array(value: list[Any] | tuple[Any, ...]) -> Iterator[str | _EncodedValue]:
    yield "["
    for index, item in enumerate(value):
        if index:
            yield ","
        yield _EncodedValue(item)
    yield "]"


def _scalar(value: Any) -> str:
    if isinstance(value, RawJson):
        return value.text
    if isinstance(value, int) and not isinstance(value, bool):
        # int() refuses to write more than a few thousand digits; decimals do not.
        return str(Decimal(int(value)))
    return json.dumps(value, allow_nan=False)

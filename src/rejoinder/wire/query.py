"""Query parameters: from the values that an operation's schema describes to the text in a URL, and back."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from rejoinder.validation import pointer_keys

_INTEGER: Final = re.compile(r"-?[0-9]{1,18}")


def encode_query(values: Mapping[str, Any]) -> str:
    """Return query parameters as the query of a URL, without the question mark.

    A list repeats its parameter, as OpenAPI's default style ``form`` does. Booleans are ``true`` and ``false``, null is
    left out.
    """
    return urlencode([(name, _text(one)) for name, value in values.items() for one in _each(value)])


def _each(value: Any) -> Iterator[Any]:
    yield from value if isinstance(value, list) else () if value is None else (value,)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def decode_query(text: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters in the query of a URL with the types that a schema gives them.

    ``schema`` describes them as an object (the ``query`` of an :class:`~rejoinder.contract.Operation`). A text that is
    not of its type stays a text, so that validation finds it. A list may be written as ``name`` or as ``name[]``.
    Parameters that the schema does not have are left out. Of repeated parameters that are no lists the last counts.
    """
    found: dict[str, Any] = {}
    for key, value in parse_qsl(text, keep_blank_values=True):
        name = key.removesuffix("[]")
        if name not in schema.get("properties", {}):
            continue
        kinds = {kind for node in _resolved(schema["properties"][name], schema) for kind in _types(node)}
        if "array" in kinds:
            found.setdefault(name, []).append(value)
        elif "integer" in kinds and _INTEGER.fullmatch(value):
            found[name] = int(value)
        elif "boolean" in kinds and value in ("true", "false"):
            found[name] = value == "true"
        else:
            found[name] = value
    return found


def _resolved(node: Any, root: Mapping[str, Any], depth: int = 8) -> Iterator[Mapping[str, Any]]:
    """Yield the alternatives of a schema, behind its references."""
    if not isinstance(node, Mapping) or not depth:
        return
    reference = node.get("$ref")
    if isinstance(reference, str) and reference.startswith("#"):
        target: Any = root
        for key in pointer_keys(reference.removeprefix("#")):
            target = target.get(key) if isinstance(target, Mapping) else None
        yield from _resolved(target, root, depth - 1)
    yield node
    for keyword in ("anyOf", "oneOf", "allOf"):
        for branch in node.get(keyword, ()):
            yield from _resolved(branch, root, depth - 1)


def _types(node: Mapping[str, Any]) -> list[str]:
    kind = node.get("type", [])
    return [kind] if isinstance(kind, str) else list(kind)

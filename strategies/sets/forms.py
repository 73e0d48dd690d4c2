"""Other valid forms of a request: from a body that an endpoint accepts, one optional field at a time.

A field is left out, sent, or null. What is sent has a value that demands nothing: the documented default, an empty
list, a description. An endpoint that accepts the body has no reason to refuse such a form of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final, Literal

from rejoinder.contract import SchemaVariant, request_schema
from rejoinder.contract.branches import fits
from rejoinder.contract.nodes import Array, Node, Object, Union, nullable, request_nodes, strip
from rejoinder.contract.nodes import Literal as Fixed
from rejoinder.json_copy import copy_json
from rejoinder.model.verdict import ABSENT
from rejoinder.strategies.options import AnyDialect, reference
from rejoinder.strategies.profile import ONE_OF, SOURCES
from rejoinder.strategies.schema.examples import id_prefix
from rejoinder.validation import Validator, escape_key, pointer_keys

__all__ = ["Form", "changed", "forms"]

Kind = Literal["absent", "present", "null"]

#: Values of optional fields that demand nothing of an endpoint which accepts the object without the field.
NEUTRAL: Final[Mapping[str, Any]] = {
    "status": "completed",
    "detail": "auto",
    "annotations": [],
    "logprobs": [],
    "description": "An example.",
    "strict": False,
    "acknowledged_safety_checks": [],
    "pending_safety_checks": [],
}
#: Items whose ids clients send back, in the form that servers give them.
_CALLS: Final = ("function_call", "custom_tool_call")
#: Optional fields of which one must be there, or the object means nothing.
_ESSENTIAL: Final = frozenset(
    {name for fields in (*SOURCES.values(), *ONE_OF.values()) for name in fields}
    | {"action", "actions", "encrypted_content", "tools", "call_id"}
)


@dataclass(frozen=True, slots=True)
class Form:
    """One change that keeps a body valid.

    ``kind`` says what is done to the field at the JSON pointer, which gets ``value`` (:data:`ABSENT` takes it away).
    ``place`` names the field by its object (``input_image.detail``). ``disputed`` says that only some of the contract's
    sources allow the form.
    """

    kind: Kind
    place: str
    pointer: str
    value: Any = field(repr=False)
    disputed: bool

    @property
    def id(self) -> str:
        """A stable ASCII id: ``absent.input_image.detail``."""
        return f"{self.kind}.{self.place}"


def forms(body: Mapping[str, Any], *, dialect: AnyDialect, below: str = "") -> Iterator[Form]:
    """Yield the forms of a valid body of a dialect that differ from it in one optional field of an object inside it.

    Only fields at or below the JSON pointer ``below`` count, and never the fields of the body itself. Every form is
    valid in the permissive reading of the dialect's request schema; those that the undisputed one refuses are disputed.
    """
    known = reference(dialect)
    root = request_nodes(SchemaVariant.PERMISSIVE, known)
    seen: set[tuple[str, str]] = set()
    for kind, place, pointer, value in _changes(root, body, "", ""):
        inside = pointer.startswith(f"{below}/") and pointer.count("/") > 1
        if not inside or (kind, pointer) in seen:
            continue
        seen.add((kind, pointer))
        other = changed(body, pointer, value)
        if other is not None and _validator(SchemaVariant.PERMISSIVE, known).is_valid(other):
            disputed = not _validator(SchemaVariant.GENERATION, known).is_valid(other)
            yield Form(kind, place, pointer, value, disputed)


def changed(body: Any, pointer: str, value: Any) -> Any:
    """Return a copy of a body with another value at a JSON pointer, :data:`ABSENT` for none.

    ``None`` comes back where the body has no object or list that the pointer leads into, or nothing to take away.
    """
    *path, last = pointer_keys(pointer)
    result = copy_json(body)
    holder = result
    for step in path:
        holder = holder.get(step) if isinstance(holder, dict) else _element(holder, step)
    if isinstance(holder, dict):
        if value is not ABSENT:
            holder[last] = copy_json(value)
        elif holder.pop(last, ABSENT) is ABSENT:
            return None
        return result
    if isinstance(holder, list) and last.isdecimal() and int(last) < len(holder) and value is not ABSENT:
        holder[int(last)] = copy_json(value)
        return result
    return None


def _element(value: Any, step: str) -> Any:
    return value[int(step)] if isinstance(value, list) and step.isdecimal() and int(step) < len(value) else None


@cache
def _validator(variant: SchemaVariant, dialect: str) -> Validator:
    return Validator(request_schema(variant, dialect=dialect))


def _changes(node: Node, value: Any, pointer: str, name: str) -> Iterator[tuple[Kind, str, str, Any]]:
    """Yield kind, place, pointer and new value of every change of an optional field below a value."""
    if isinstance(node, Union):
        for branch in node.alternatives:
            if fits(branch, value):
                yield from _changes(branch, value, pointer, name)
    elif isinstance(node, Array) and isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _changes(node.items, inner, f"{pointer}/{index}", name)
    elif isinstance(node, Object) and isinstance(value, Mapping):
        owner = node.tag or name
        for item in node.fields:
            spot, place = f"{pointer}/{escape_key(item.name)}", f"{owner}.{item.name}".lstrip(".")
            inner = value.get(item.name, ABSENT)
            if inner is ABSENT:
                neutral = _neutral(item.node, item.name, owner)
                if neutral is not ABSENT and not item.required:
                    yield "present", place, spot, neutral
            elif not item.required and item.name not in _ESSENTIAL:
                yield "absent", place, spot, ABSENT
            if nullable(item.node) and inner is not None and item.name not in _ESSENTIAL:
                yield "null", place, spot, None
            if inner is not ABSENT:
                yield from _changes(item.node, inner, spot, f"{name}.{item.name}".lstrip("."))


def _neutral(node: Node, name: str, owner: str) -> Any:
    """Return a value of a field that demands nothing; :data:`ABSENT` if none is known."""
    if name == "type":
        fixed = strip(node)
        return fixed.values[0] if isinstance(fixed, Fixed) and len(fixed.values) == 1 else ABSENT
    if name == "id":
        return f"{id_prefix(owner)}_rejoinder0001" if owner in _CALLS else ABSENT
    return NEUTRAL.get(name, ABSENT)

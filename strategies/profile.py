"""What an endpoint can serve: its model, things outside a request that exist there, and declared gaps.

The contract says which bodies are valid. Whether an endpoint can *serve* one depends on things outside the request:
the model must exist, a file id must name a file, an image URL must lead to an image. An :class:`EndpointProfile`
narrows the contract to what can be served: fields whose referent is unknown are left out, known ones are pinned,
declared gaps are removed. Everything that is built from a narrowed contract stays valid under the whole one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Final

from hypothesis.errors import InvalidArgument

from rejoinder.contract import DEFAULT_DIALECT, dialect_names
from rejoinder.contract.nodes import Array, Field, Literal, Node, Object, Scalar, Union, request_nodes
from rejoinder.errors import suggest
from rejoinder.model.verdict import ABSENT
from rejoinder.strategies.options import AnyDialect, reference
from rejoinder.strategies.schema.examples import IMAGE_URL, TEXT_FILE_URL

#: Fields that name something outside the request, by the attribute of EndpointProfile that knows it. A field is left
#: out wherever it is optional and the attribute is ``None``.
REFERENTS: Final[Mapping[str, str]] = {
    "model": "model",
    "previous_response_id": "previous_response_id",
    "conversation": "conversation_id",
    "prompt": "prompt_id",
    "priority": "priority",
    # Must be new in every request, so only whoever sends can fill it in; a repeated one may rightly be refused.
    "request_id": "request_id",
    "file_id": "file_id",
    "file_url": "file_url",
    "container_id": "container_id",
}
#: Item types that are nothing but a reference to something stored at the endpoint.
REFERENCES: Final[Mapping[str, str]] = {"item_reference": "item_id"}
#: Sources of content: of the fields named here one must be there, or the part says nothing.
SOURCES: Final[Mapping[str, Mapping[str, str]]] = {
    "input_image": {"image_url": IMAGE_URL},
    "input_file": {"file_data": TEXT_FILE_URL, "filename": "note.txt"},
    "computer_screenshot": {"image_url": IMAGE_URL},
    "mcp": {"server_url": "https://mcp.invalid/"},
}
#: The fields of which one must be there, by the type of object. The published schemas call each of them optional.
ONE_OF: Final[Mapping[str, tuple[str, ...]]] = {
    "input_image": ("image_url", "file_id"),
    "input_file": ("file_data", "file_url", "file_id"),
    "computer_screenshot": ("image_url", "file_id"),
    "mcp": ("server_url", "connector_id", "tunnel_id"),
}
#: Ranges that the contract leaves open and endpoints enforce: the widest that the field's documentation and the engines
#: known to us accept alike.
RANGES: Final[Mapping[str, tuple[float, float]]] = {
    "temperature": (0, 2),
    "top_p": (0.01, 1),
    "top_k": (1, 100),
    "top_logprobs": (0, 5),
    "max_tool_calls": (1, 10),
}
#: The most pairs of an open object of texts, and the most characters of each, where only the field's documentation
#: limits them.
MAPS: Final[Mapping[str, tuple[int, int]]] = {"metadata": (16, 512)}


_INTEGERS: Final = ("max_output_tokens", "priority")


@dataclass(frozen=True, kw_only=True)
class EndpointProfile:
    """What is known of an endpoint.

    ``dialect`` is the dialect that bodies are made from: the name of a shipped one, the path of a custom one, or a
    :class:`~rejoinder.contract.Dialect`; it is kept as name or path.
    ``model`` and ``max_output_tokens`` are sent in every request (``None`` leaves the field out). The ids name things
    that exist at the endpoint; without one the fields that need it are not sent. ``unsupported_types`` are ``type``
    values that the endpoint declared unsupported (items, content parts, tools, formats alike: ``"computer_call"``,
    ``"input_image"``, ``"custom"``), ``unsupported_fields`` top-level fields; any iterable of names will do. ``fixed``
    pins further top-level fields to a value, or to :data:`~rejoinder.model.verdict.ABSENT`.

    Raises ``hypothesis.errors.InvalidArgument`` for a value of the wrong kind, and for a dialect, type or field that
    the contract does not have, with the closest one that it has.
    """

    dialect: str = DEFAULT_DIALECT
    model: str | None = None
    max_output_tokens: int | None = 16
    previous_response_id: str | None = None
    conversation_id: str | None = None
    prompt_id: str | None = None
    priority: int | None = None
    request_id: str | None = None
    item_id: str | None = None
    file_id: str | None = None
    file_url: str | None = None
    container_id: str | None = None
    unsupported_types: Iterable[str] = frozenset()
    unsupported_fields: Iterable[str] = frozenset()
    fixed: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check all values, and keep the names as frozen sets."""
        object.__setattr__(self, "dialect", reference(self.dialect))
        for name in ("model", *_INTEGERS, *REFERENTS.values(), *REFERENCES.values()):
            value, kind = getattr(self, name), int if name in _INTEGERS else str
            if value is not None and type(value) is not kind:
                raise InvalidArgument(f"{name}={value!r} is not {'an integer' if kind is int else 'a string'} or None")
        if self.max_output_tokens is not None and self.max_output_tokens < 1:
            raise InvalidArgument(f"max_output_tokens={self.max_output_tokens} is less than 1")
        if not isinstance(self.fixed, Mapping):
            raise InvalidArgument(f"fixed={self.fixed!r} is not a mapping of field names to values")
        for name, what, index in (
            ("unsupported_types", "type", 0),
            ("unsupported_fields", "top-level field", 1),
            ("fixed", "top-level field", 1),
        ):
            value = getattr(self, name)
            if isinstance(value, str) or not isinstance(value, Iterable):
                raise InvalidArgument(f"{name}={value!r} is not a collection of names; write [{value!r}]")
            names = list(value)
            for unknown in [one for one in names if not isinstance(one, str) or one not in _names(self.dialect)[index]]:
                known = sorted(_names(self.dialect)[index] | set().union(*(_names(d)[index] for d in dialect_names())))
                if unknown not in known:
                    hint = suggest(str(unknown), known, "The contract has no such name.")
                    raise InvalidArgument(f"{name}: there is no {what} {unknown!r}. {hint}")
            if name != "fixed":
                object.__setattr__(self, name, frozenset(names))

    def __hash__(self) -> int:
        """Hash by what can be hashed; equal profiles have equal hashes."""
        return hash((self.dialect, self.model, self.max_output_tokens, self.unsupported_types, self.unsupported_fields))

    def narrow(self, root: Object) -> Object:
        """Return the request body's nodes with only what this endpoint can serve.

        Raises ``hypothesis.errors.InvalidArgument`` when nothing is left for a required field.
        """
        narrowed = _Narrowing(self)
        fields = []
        for item in root.fields:
            pinned = self._pin(item)
            if pinned is not None:
                fields.append(pinned)
            elif item.name not in self.unsupported_fields and item.name not in self.fixed:
                kept = narrowed.field(item)
                if kept is not None:
                    fields.append(kept)
        return replace(root, fields=tuple(fields))

    def _pin(self, item: Field) -> Field | None:
        values: dict[str, Any] = {"model": self.model, "max_output_tokens": self.max_output_tokens}
        pins = {name: value for name, value in values.items() if value is not None} | dict(self.fixed)
        value = pins.get(item.name, ABSENT)
        if value is ABSENT:
            return None
        return Field(item.name, Literal(pointer=item.node.pointer, values=(value,)), required=True)


@cache
def _names(dialect: str) -> tuple[frozenset[str], frozenset[str]]:
    """Return the ``type`` values and the top-level fields that requests of a dialect have."""
    root = request_nodes(dialect=dialect)
    tags: set[str] = set()
    open_nodes: list[Node] = [root]
    seen: set[Node] = set()
    while open_nodes:
        node = open_nodes.pop()
        if node in seen:
            continue
        seen.add(node)
        if isinstance(node, Union):
            open_nodes += node.alternatives
        elif isinstance(node, Array):
            open_nodes.append(node.items)
        elif isinstance(node, Object):
            tags.add(node.tag)
            open_nodes += [item.node for item in node.fields] + ([node.extra] if node.extra else [])
    return frozenset(tags - {""}), frozenset(item.name for item in root.fields)


def named(profile: EndpointProfile | None, dialect: AnyDialect | None) -> str:
    """Return the name or the path of the dialect that is meant: the given one, else the profile's, else the default.

    Raises ``hypothesis.errors.InvalidArgument`` where both are given and differ, and for a dialect that does not exist.
    """
    name = None if dialect is None else reference(dialect)
    if profile is None:
        return name or DEFAULT_DIALECT
    if name not in (None, profile.dialect):
        raise InvalidArgument(f"dialect={name!r} is not the profile's, which is {profile.dialect!r}; give one of them")
    return profile.dialect


def served(profile: EndpointProfile | None = None, dialect: AnyDialect | None = None) -> Object:
    """Return the nodes of the request body that can be sent: all of a dialect, or what ``profile`` narrows them to.

    The dialect is that of :func:`named`.
    """
    root = request_nodes(dialect=named(profile, dialect))
    return root if profile is None else _served(profile, root)


@cache
def _served(profile: EndpointProfile, root: Object) -> Object:
    return profile.narrow(root)


class _Narrowing:
    def __init__(self, profile: EndpointProfile) -> None:
        self.profile = profile
        self.known: dict[tuple[Node, str], Node | None] = {}

    def field(self, item: Field, sources: Mapping[str, str] | None = None) -> Field | None:
        pointer = item.node.pointer
        if sources and item.name in sources:
            return Field(item.name, Literal(pointer=pointer, values=(sources[item.name],)), required=True)
        if item.name in REFERENTS:
            value = getattr(self.profile, REFERENTS[item.name])
            if value is None and not item.required:
                return None
            if value is not None and item.name != "prompt":
                return Field(item.name, Literal(pointer=pointer, values=(value,)), required=item.required)
        node = self.node(item.node, item.name)
        if node is None:
            if item.required:
                raise InvalidArgument(
                    f"the profile leaves nothing of the required field {item.name!r} ({pointer}); declare less as "
                    "unsupported"
                )
            return None
        return Field(item.name, node, item.required)

    def node(self, node: Node, name: str) -> Node | None:
        key = (node, name)
        if key not in self.known:
            self.known[key] = self._node(node, name)
        return self.known[key]

    def _node(self, node: Node, name: str) -> Node | None:
        if isinstance(node, Scalar) and name in RANGES and node.type in ("integer", "number"):
            low, high = RANGES[name]
            return replace(node, schema={**node.schema, "minimum": low, "maximum": high})
        if isinstance(node, Array):
            items = self.node(node.items, "")
            return None if items is None else replace(node, items=items)
        if isinstance(node, Union):
            kept = [part for part in (self.node(branch, name) for branch in node.alternatives) if part is not None]
            if not kept and node.alternatives:
                return None
            return replace(node, alternatives=tuple(kept), narrowed=node.choice)
        if isinstance(node, Object):
            return self._object(node, name)
        return node

    def _object(self, node: Object, name: str) -> Node | None:
        tag = node.tag
        if tag in self.profile.unsupported_types:
            return None
        if tag in REFERENCES:
            value = getattr(self.profile, REFERENCES[tag])
            if value is None:
                return None
            fields: list[Field | None] = [
                Field("id", Literal(pointer=item.node.pointer, values=(value,)), required=True)
                if item.name == "id"
                else self.field(item)
                for item in node.fields
            ]
        else:
            sources = SOURCES.get(tag)
            fields = [self.field(item, sources) for item in node.fields]
        if name == "prompt":
            pinned = Literal(pointer=node.pointer, values=(self.profile.prompt_id,))
            fields = [Field("id", pinned, required=True) if item and item.name == "id" else item for item in fields]
        extra = None if node.extra is None else self.node(node.extra, "")
        largest = node.largest
        if name in MAPS and isinstance(extra, Scalar) and extra.type == "string":
            pairs, length = MAPS[name]
            largest = pairs if largest is None else min(largest, pairs)
            extra = replace(
                extra, schema={**extra.schema, "maxLength": min(length, extra.schema.get("maxLength", length))}
            )
        kept = tuple(item for item in fields if item is not None)
        return replace(node, fields=kept, extra=extra, largest=largest)

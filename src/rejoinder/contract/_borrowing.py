"""Definitions that one schema of a dialect takes from another, so that each shape is written once.

A schema node ``{"x-from": "FILE#POINTER"}`` is what the dialect's schema FILE has at that JSON pointer. An empty
pointer is the whole schema. The response takes tools, parts and the like from the request. The events take items, parts
and annotations from the response, and operations take from both. A reference that begins with ``#`` leads to a place of
the same schema. A definition that is borrowed itself stands for the other one in all that is borrowed. ``type`` beside
``x-from`` describes the outside; ``properties`` are added to those of the definition; other keywords replace the
definition's. A place that the other schema lacks is left out.

What a response or an event takes from the request is relaxed: a server may send null for a field that may be absent,
and may leave out a field that may be null. Typed clients do not tell the two apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from rejoinder.budgets import DEPTH
from rejoinder.contract._vocabulary import fail, find, reachable
from rejoinder.json_copy import copy_json
from rejoinder.model.verdict import ABSENT
from rejoinder.validation import escape_key, pointer_keys

_NULL: Final = {"type": "null"}
_DEFINITIONS: Final = "#/$defs/"


def borrows(node: Any) -> bool:
    """Return whether a schema, or a part of one, takes anything from another."""
    if isinstance(node, Mapping):
        return "x-from" in node or any(borrows(child) for child in node.values())
    return isinstance(node, list) and any(borrows(child) for child in node)


def resolve(
    schema: Mapping[str, Any], lenders: Mapping[str, Mapping[str, Any]], *, file: str, relaxed: bool, lender: str = ""
) -> dict[str, Any]:
    """Return a copy of a schema that takes nothing from others: it has the definitions of the ``lenders`` itself.

    ``lenders`` are schemas by name that take nothing from others. ``relaxed`` is whether the schema describes what a
    server sends, ``lender`` the one that an ``x-from`` without a name means, and ``file`` the file that errors name.
    Raises :class:`~rejoinder.errors.ContractError` for an ``x-from`` that is no reference.
    """
    taker = _Taker(schema, lenders, file, relaxed, lender)
    done: dict[str, Any] = taker.take(schema, "")
    if taker.definitions:
        done["$defs"] = {**done.get("$defs", {}), **taker.definitions}
    return done


class _Taker:
    """Copies a schema, and with it what it takes from others."""

    def __init__(
        self,
        schema: Mapping[str, Any],
        lenders: Mapping[str, Mapping[str, Any]],
        file: str,
        relaxed: bool,
        lender: str,
    ) -> None:
        self._schema = schema
        self.definitions: dict[str, Any] = {}
        self._lenders = lenders
        self._taken = set(schema.get("$defs", ()))
        self._file = file
        self._relaxed = relaxed
        self._default = lender
        self._inside: list[str] = []
        self._names: dict[tuple[str, str], str] = {}
        for name, node in schema.get("$defs", {}).items():
            if isinstance(node, Mapping) and isinstance(node.get("x-from"), str):
                lender, _, pointer = node["x-from"].partition("#")
                if pointer.startswith("/$defs/") and lender in lenders:
                    self._names.setdefault((lender, pointer_keys(pointer)[1]), name)

    def take(self, node: Any, at: str) -> Any:
        """Return a copy of a node of the schema itself; ``ABSENT`` for one that no schema has."""
        if isinstance(node, list):
            children = [self.take(child, f"{at}/{index}") for index, child in enumerate(node)]
            return [child for child in children if child is not ABSENT]
        if not isinstance(node, Mapping):
            return node
        own = {}
        for key, child in node.items():
            # A type beside x-from describes the outside to readers of this schema alone.
            if key == "x-from" or (key == "type" and "x-from" in node):
                continue
            taken = self.take(child, f"{at}/{escape_key(str(key))}")
            if key == "anyOf" and borrows(child):
                if len(taken) < len(child):
                    return ABSENT  # nobody knows what the missing alternative allows
                taken = [part for alternative in taken for part in self._alternatives(alternative)]
            if taken is not ABSENT:
                own[key] = taken
            elif at == "/$defs":
                own[key] = {}  # references may lead to it
        return self._borrowed(node["x-from"], own, at) if "x-from" in node else own

    def _borrowed(self, reference: Any, own: dict[str, Any], at: str) -> Any:
        """Return what another place has, with ``own`` on top; ``ABSENT`` if there is no such place."""
        lender, separator, pointer = reference.partition("#") if isinstance(reference, str) else ("", "", "")
        if isinstance(reference, str) and not separator:
            lender, pointer = self._default, reference
        if not isinstance(reference, str) or (lender and lender not in self._lenders) or not (lender or separator):
            known = " or ".join(f"{name}#/POINTER" for name in self._lenders)
            raise fail(self._file, at, "x-from", f"{reference!r} is not of the form {known}")
        path = pointer_keys(pointer)
        found = find(self._lenders[lender] if lender else self._schema, path)
        if not isinstance(found, Mapping):
            return ABSENT
        if not lender:
            if pointer in self._inside or len(self._inside) > DEPTH:
                raise fail(self._file, at, "x-from", f"{reference!r} leads back to itself")
            self._inside.append(pointer)
            borrowed = self.take(found, pointer)
            self._inside.pop()
            if borrowed is ABSENT:
                return ABSENT
        elif not own and len(path) == 2 and path[0] == "$defs" and pointer_keys(at)[:-1] != ["$defs"]:
            return {"$ref": self._reference(lender, path[1])}
        else:
            # A whole schema comes without what only the root of a schema has.
            inner = {key: child for key, child in found.items() if key not in ("$defs", "$id", "$schema", "title")}
            borrowed = self._copy(inner, lender)
        for key, child in own.items():
            if key == "properties":
                borrowed[key] = {**borrowed.get(key, {}), **child}
            else:
                borrowed[key] = child
        return borrowed

    def _alternatives(self, node: Any) -> list[Any]:
        """Return the alternatives of a taken node: those of the union that it borrows, or itself alone."""
        target = self._target(node)
        return copy_json(target["anyOf"]) if isinstance(target, dict) and "anyOf" in target else [node]

    def _target(self, node: Any) -> Any:
        """Return what the references of a taken node lead to, among the definitions that are borrowed."""
        while isinstance(node, dict) and isinstance(node.get("$ref"), str):
            name = pointer_keys(node["$ref"][1:])[1]
            node = self.definitions.get(name, self._schema.get("$defs", {}).get(name))
        return node

    def _reference(self, lender: str, name: str) -> str:
        """Return the reference to a definition of a lender, which is copied when it is first referred to."""
        new = self._names.get((lender, name))
        if new is None:
            plain = name
            while plain.endswith("Param"):
                plain = plain.removesuffix("Param")
            new = plain if self._relaxed else name
            number = 2
            while new in self._taken:
                new, number = f"{plain}_{number}", number + 1
            self._names[lender, name] = new
            self._taken.add(new)
            self.definitions[new] = {}  # its place: before the definitions that it refers to
            self.definitions[new] = self._copy(self._lenders[lender]["$defs"][name], lender)
        return f"{_DEFINITIONS}{escape_key(new)}"

    def _copy(self, node: Any, lender: str) -> Any:
        if isinstance(node, list):
            return [self._copy(child, lender) for child in node]
        if not isinstance(node, Mapping):
            return node
        if isinstance(node.get("$ref"), str) and node["$ref"].startswith(_DEFINITIONS):
            return {**node, "$ref": self._reference(lender, pointer_keys(node["$ref"][1:])[1])}
        copied = {key: self._copy(child, lender) for key, child in node.items()}
        if self._relaxed and lender == "request" and isinstance(node.get("properties"), Mapping):
            self._relax(node, copied, lender)
        return copied

    def _relax(self, node: Mapping[str, Any], copied: dict[str, Any], lender: str) -> None:
        definitions = self._lenders[lender].get("$defs", {})
        required = node.get("required", ())
        copied["properties"] = {
            name: child
            if name in required or _nullable(node["properties"][name], definitions)
            else self._or_null(child)
            for name, child in copied["properties"].items()
        }
        if required:
            copied["required"] = [
                name
                for name in required
                if node["properties"][name] == {} or not _nullable(node["properties"][name], definitions)
            ]

    def _or_null(self, node: dict[str, Any]) -> dict[str, Any]:
        """Return a union of a copied node and null; the alternatives of a union stay side by side."""
        return {"anyOf": [*self._alternatives(node), dict(_NULL)]}


def _nullable(node: Any, definitions: Mapping[str, Any]) -> bool:
    while isinstance(node, Mapping) and isinstance(node.get("$ref"), str):
        node = definitions.get(pointer_keys(node["$ref"][1:])[1], {})
    if not isinstance(node, Mapping):
        return True
    if "anyOf" in node:
        return any(_nullable(branch, definitions) for branch in node["anyOf"])
    if "enum" in node or "const" in node:
        return None in node.get("enum", [node.get("const", "")])
    types = node.get("type", "null")
    return types == "null" or (isinstance(types, list) and "null" in types)


def with_used(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema with those of its definitions that its root leads to."""
    used = reachable(schema)
    return {**schema, "$defs": {name: node for name, node in schema.get("$defs", {}).items() if name in used}}

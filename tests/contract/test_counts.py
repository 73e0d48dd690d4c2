"""What the contract has, counted: the numbers that the seed and the typed references give."""

from __future__ import annotations

from typing import Any

import pytest

from rejoinder.contract import load_schema, request_schema

COUNTS = {
    # fields, input alternatives, distinct item types, tools, tool choices, text formats, computer actions
    "northstar": (34, 44, 24, 3, 5, 3, 14),
    "openai": (34, 33, 31, 16, 9, 3, 9),
    "vllm": (57, 44, 24, 15, 8, 3, 9),
}


def constants(schema: dict[str, Any], name: str) -> set[str]:
    """Return the type values that the alternatives of a definition have, of those that name one."""
    found: set[str] = set()
    for branch in schema["$defs"][name]["anyOf"]:
        if "$ref" in branch:
            node = schema["$defs"][branch["$ref"].removeprefix("#/$defs/")]["properties"].get("type", {})
            found.update(one["const"] for one in [node, *node.get("anyOf", ())] if "const" in one)
    return found


@pytest.mark.parametrize("dialect", COUNTS)
def test_counts(dialect: str) -> None:
    schema = request_schema(dialect=dialect)
    unions = {name: len(schema["$defs"][name]["anyOf"]) for name in ("InputItem", "Tool", "ToolChoice", "TextFormat")}
    assert COUNTS[dialect] == (
        len(schema["properties"]),
        unions["InputItem"],
        len(constants(schema, "InputItem")),
        unions["Tool"],
        unions["ToolChoice"],
        unions["TextFormat"],
        len(schema["$defs"]["ComputerAction"]["anyOf"]),
    )


def test_the_response() -> None:
    schema = load_schema("response")
    assert len(schema["properties"]) == 9
    assert len(schema["$defs"]["ComputerAction"]["anyOf"]) == 14
    assert len(schema["$defs"]["Annotation"]["anyOf"]) == 4


def test_one_field_is_required() -> None:
    assert load_schema("request")["required"] == ["input"]


def test_contested_nulls() -> None:
    """32 field definitions that the seed prints as Optional and the SDK's types do not let be null."""

    def count(node: dict[str, Any] | list[Any] | str) -> int:
        children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
        return (isinstance(node, dict) and node.get("x-null") == "contested") + sum(map(count, children))

    assert count(load_schema("request")) == 32

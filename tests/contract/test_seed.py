"""The request and response schemas say what the seed document says, token by token and in its order.

``seed_outline.txt`` is the structure of the seed (the Northstar reference of ``POST /v1/responses``) without its prose.
``python tests/contract/test_seed.py REFERENCE.txt`` derives it: of the text between the heading of the parameters and
the examples it keeps the lines that are

- a class: ``class Name:``,
- a field: ``name: type``, where the type is made of ``Union``, ``Optional``, ``Iterable``, ``List``, ``Dict``,
  ``Literal``, ``SequenceNotStr``, ``str``, ``int``, ``float``, ``bool``, ``object`` and names of classes,
- a literal: one quoted string,

and a line ``= response`` where the returned object begins. Indentation is not part of the text, so which class a
field belongs to is only known from the order; that is what the walk over the schema supplies.
"""

from __future__ import annotations

import json
import re
import sys
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest

from rejoinder.contract import load_schema

OUTLINE = Path(__file__).with_name("seed_outline.txt")
NULL = {"type": "null"}
NAMES = {"str": "string", "int": "integer", "float": "number", "bool": "boolean", "object": "any"}
TRUNCATED = 15
LISTS = ("Iterable", "List", "SequenceNotStr")

#: Fields that the seed prints as Optional although they are required: they stand before the required ``type``, and
#: the SDK's types say so.
REQUIRED_AND_NULLABLE = {
    ("ImageGenerationCallParam", "result"),
    ("ResponseCodeInterpreterToolCallParam", "code"),
    ("ResponseCodeInterpreterToolCallParam", "outputs"),
}

#: The class of previous_input_messages, which has the name of another one.
RENAMED = {"PreviousMessage": "Message"}


def outline(text: str) -> list[str]:
    """Return the lines of the seed's structure."""
    types = r"(Optional|Union|Literal|Iterable|List|Dict|SequenceNotStr)\[.*\]|str|int|float|bool|object|[A-Z]\w+"
    kept = re.compile(rf'class \w+:|[a-z_0-9]+: ({types})|"[^"]*"')
    lines = []
    for line in text[: text.index("\nimport os")].splitlines():
        if line == "class ResponseCreateResponse:":
            lines.append("= response")
        elif kept.fullmatch(line):
            lines.append(line)
    return lines


def tokens(part: str) -> list[str]:
    request, _, response = OUTLINE.read_text("utf-8").partition("= response\n")
    return {"request": request, "response": response}[part].splitlines()


def parse(text: str) -> tuple[Any, ...]:
    """Return a printed type as nested tuples."""
    name, _, inner = text.partition("[")
    if not inner:
        return (NAMES.get(name, "class"),)
    parts, depth, start = [], 0, 0
    body = inner[:-1]
    for index, char in enumerate(body):
        depth += (char == "[") - (char == "]")
        if char == "," and not depth:
            parts.append(body[start:index].strip())
            start = index + 1
    parts.append(body[start:].strip())
    if name == "Literal":
        return ("literal", *(json.loads(part) if part[0] == '"' else part for part in parts))
    if name in LISTS:
        return ("array", parse(parts[0]))
    if name == "Dict":
        value = parse(parts[1])
        return ("object", value)
    if name == "Union":
        return ("union", *(parse(part) for part in parts))
    return ("optional", parse(parts[0]))


class Walk:
    """Prints a schema in the order of the seed."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self.definitions = schema["$defs"]
        self.out: list[Any] = []  # (what, name, shape, (class, is required))
        self.fields(schema, "")

    def resolve(self, node: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        name = ""
        while "$ref" in node:
            name = node["$ref"].removeprefix("#/$defs/")
            node = self.definitions[name]
        return name, node

    def fields(self, node: dict[str, Any], owner: str) -> None:
        for name, child in node.get("properties", {}).items():
            required = name in node.get("required", [])
            self.out.append(("field", name, self.shape(child), (owner, required)))
            self.below(child)

    def shape(self, node: dict[str, Any]) -> tuple[Any, ...]:
        name, node = self.resolve(node)
        if name:
            return ("class",)  # a union with a name is printed by that name, as a class is
        if "anyOf" in node:
            rest = [branch for branch in node["anyOf"] if branch != NULL]
            inner = self.shape(rest[0]) if len(rest) == 1 else ("union", *(self.shape(branch) for branch in rest))
            return inner if len(rest) == len(node["anyOf"]) else ("optional", inner)
        if "const" in node:
            return ("literal", node["const"])
        if "enum" in node:
            return ("literal", *node["enum"])
        kind = node.get("type", "any")
        if kind == "array":
            return ("array", self.shape(node["items"]))
        if kind == "object" and "properties" in node:
            return ("class",)
        if kind == "object":
            values = node.get("additionalProperties", {})
            named = any("$ref" in branch for branch in values.get("anyOf", ()))
            return ("object", ("class",) if named else self.shape(values))
        return (kind,)

    def below(self, node: dict[str, Any], in_union: bool = False) -> None:
        """Print what the seed lists under a field: literals, classes and their fields."""
        name, node = self.resolve(node)
        if "allOf" in node:
            for rule in node["allOf"]:
                self.below(rule["then"], in_union=True)
        elif "anyOf" in node:
            rest = [branch for branch in node["anyOf"] if branch != NULL]
            for branch in rest:
                self.below(branch, in_union=in_union or len(rest) > 1)
        elif "enum" in node:
            self.out += [("literal", value, None, None) for value in node["enum"]]
        elif node.get("type") == "array":
            self.below(node["items"], in_union=False)
        elif node.get("type") == "object" and "properties" in node:
            if in_union:
                self.out.append(("class", name, None, None))
            self.fields(node, name)
        elif node.get("type") == "object" and isinstance(node.get("additionalProperties"), dict):
            self.below(node["additionalProperties"])


def spelled(printed: tuple[Any, ...], ours: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the printed type with its truncated literals ('2 more') spelled out from ours, if those begin alike."""
    if printed[0] == ours[0] == "literal":
        more = re.fullmatch(r"(\d+) more", str(printed[-1]))
        shown = printed[:-1]
        if more and ours[: len(shown)] == shown and len(ours) == len(shown) + int(more[1]):
            return ours
        return printed
    if printed[0] == ours[0] and len(printed) == len(ours) and isinstance(printed[-1], tuple):
        return (printed[0], *(spelled(left, right) for left, right in zip(printed[1:], ours[1:], strict=True)))
    return printed


def differences(part: str) -> list[Any]:
    found = []
    printed = tokens(part)
    ours = Walk(load_schema(part)).out
    for line, token in zip_longest(printed, ours):
        if line is None or token is None:
            found.append((line, token))
            break
        what, name, shape, place = token
        if line.startswith("class "):
            theirs = line.removeprefix("class ").removesuffix(":")
            if what != "class" or not same_class(theirs, name):
                found.append((line, token))
        elif line.startswith('"'):
            if what != "literal" or json.loads(line) != name:
                found.append((line, token))
        else:
            theirs, _, text = line.partition(": ")
            expected = spelled(parse(text), shape or ("?",))
            owner, required = place or ("", False)
            optional = expected[0] == "optional" and (owner, theirs) not in REQUIRED_AND_NULLABLE
            if expected == ("optional", ("any",)):
                expected = ("any",)  # anything includes null
            if what != "field" or theirs != name or expected != shape or required == optional:
                found.append((line, token))
    return found


def same_class(printed: str, name: str) -> bool:
    """Whether a definition is named after a printed class (which carries its parents' names in front)."""
    own = RENAMED.get(name, name.removesuffix("_2").rpartition(".")[2])
    return own.removesuffix("Param") in printed


@pytest.mark.parametrize(("part", "count"), [("request", 932), ("response", 144)])
def test_every_token_of_the_seed(part: str, count: int) -> None:
    assert len(tokens(part)) == count
    assert len(Walk(load_schema(part)).out) == count
    assert differences(part) == []


def test_every_truncated_literal_is_spelled_out() -> None:
    """Fifteen literals end in '2 more' or '3 more'; the seed lists all their values in the lines below."""
    found = {}
    for part in ("request", "response"):
        lines = tokens(part)
        ours = Walk(load_schema(part)).out
        for number, line in enumerate(lines):
            truncated = re.search(r'Literal\[((?:"[^"]*", )+)(\d+) more\]', line)
            if truncated:
                shown = json.loads(f"[{truncated[1].removesuffix(', ')}]")
                listed = [json.loads(value) for value in lines[number + 1 :][: len(shown) + int(truncated[2])]]
                assert listed[: len(shown)] == shown
                assert [name for _, name, _, _ in ours[number + 1 :][: len(listed)]] == listed
                assert not lines[number + 1 + len(listed)].startswith('"')
                found[part, number] = listed
    assert len(found) == TRUNCATED
    assert all(len(set(values)) == len(values) for values in found.values())


def test_a_difference_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof would fail for a missing literal, another type, another optionality and another order."""
    lines = OUTLINE.read_text("utf-8").splitlines()
    for number, line in (
        (2, None),
        (6, 'detail: Literal["low", "high"]'),
        (lines.index("store: Optional[bool]"), "store: bool"),
    ):
        changed = [*lines]
        if line is None:
            del changed[number]
        else:
            changed[number] = line
        monkeypatch.setattr(
            sys.modules[__name__],
            "tokens",
            lambda part, changed=changed: "\n".join(changed).partition("\n= response\n")[0].splitlines(),
        )
        assert differences("request")


if __name__ == "__main__":
    print("\n".join(outline(Path(sys.argv[1]).read_text("utf-8"))))

"""The validator agrees with the reference implementation and explains itself in places that exist."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from functools import reduce
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from rejoinder.contract import SchemaVariant, dialect_names, load_dialect, load_schema, request_schema
from rejoinder.model.verdict import ABSENT
from rejoinder.strategies import each_choice
from rejoinder.validation import SchemaError, Validator, describe_schema

MESSAGE = {
    "type": "message",
    "id": "msg_1",
    "role": "assistant",
    "status": "completed",
    "content": [
        {"type": "output_text", "text": "hi", "annotations": [], "logprobs": []},
        {"type": "refusal", "refusal": "no"},
    ],
}
CALL = {
    "type": "function_call",
    "id": "fc_1",
    "call_id": "c_1",
    "name": "f",
    "arguments": "{}",
    "status": "completed",
}
RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "model": "m",
    "status": "completed",
    "output": [MESSAGE, CALL, {"type": "reasoning", "id": "rs_1", "summary": []}],
    "error": None,
    "tools": [],
    "usage": {
        "input_tokens": 1,
        "output_tokens": 1,
        "total_tokens": 2,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
    },
}

schemas = {
    "permissive": request_schema(SchemaVariant.PERMISSIVE),
    "closed": request_schema(SchemaVariant.CLOSED),
    "response": load_schema("response"),
    "error": load_schema("error"),
}
validators = {name: (Validator(schema), Draft202012Validator(schema)) for name, schema in schemas.items()}
instances = st.sampled_from([*(case.body for case in each_choice()), *[RESPONSE] * 20, {"error": {"message": "m"}}])

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=9)
    | st.sampled_from(["message", "function_call", "completed", "output_text", "\ud800", 10**400, 1e308]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["type", "id", "text", "\udfff", "/", "~"]), inner, max_size=3)
    ),
    max_leaves=4,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[Any]:
    found = [path]
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        found += places(child, (*path, key))
    return found


@st.composite
def mutants(draw: st.DrawFn) -> Any:
    value = copy.deepcopy(draw(instances))
    for _ in range(draw(st.integers(0, 3))):
        path = draw(st.sampled_from(places(value)))
        if not path:
            return draw(json_values)
        holder = reduce(lambda node, key: node[key], path[:-1], value)
        if isinstance(holder, dict) and draw(st.booleans()):
            del holder[path[-1]]
        else:
            holder[path[-1]] = draw(json_values)
        if isinstance(holder, dict) and draw(st.booleans()):
            holder[draw(st.sampled_from(["extra", "~/", "\ud800"]))] = draw(json_values)
    return value


def resolve(value: Any, pointer: str) -> Any:
    """Return what a JSON pointer names, ``ABSENT`` when only the parent is there; raises when that is not."""
    if not pointer:
        return value
    *parents, last = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
    for part in parents:
        value = value[int(part)] if isinstance(value, list) else value[part]
    if isinstance(value, list):
        return value[int(last)]
    return value.get(last, ABSENT)


def check(name: str, instance: Any) -> list[Any]:
    validator, reference = validators[name]
    errors = validator.errors(instance)
    assert (not errors) == validator.is_valid(instance) == reference.is_valid(instance)
    for error in errors:
        there = resolve(instance, error.pointer)
        assert (there is ABSENT) == (error.actual is ABSENT)
        assert "given schemas" not in error.message
        assert error.message
        assert error.branch in {"", *schemas[name].get("$defs", ())}
    assert len({(error.pointer, error.keyword, error.message) for error in errors}) == len(errors)
    return errors


@pytest.mark.parametrize("name", schemas)
@given(instance=mutants())
@pytest.mark.slow(1)
def test_agrees_and_explains(name: str, instance: Any) -> None:
    check(name, instance)


def described(validator: Validator, instance: Any) -> set[tuple[str, str, str]]:
    return {(error.pointer, error.keyword, error.message) for error in validator.errors(instance)}


# A keyword that needs the whole instance, and that every instance satisfies.
whole = {name: Validator({**schema, "minProperties": 0}) for name, schema in schemas.items()}


@pytest.mark.parametrize("name", ["response", "error"])
@given(instance=mutants(), copies=st.integers(1, 4))
@pytest.mark.slow(1)
def test_condensed_values_have_the_errors_of_whole_ones(name: str, instance: Any, copies: int) -> None:
    output = instance.get("output") if isinstance(instance, dict) else None
    if isinstance(output, list):
        instance["output"] = [copy.deepcopy(item) for item in output for _ in range(copies)]
    assert described(validators[name][0], instance) == described(whole[name], instance)


LIMITED = {
    "type": "object",
    "properties": {
        "output": {
            "items": {
                "anyOf": [
                    {"type": "string", "pattern": "^[^:]+:.", "minLength": 4},
                    {"type": "string", "maxLength": 2, "format": "date-time"},
                    {"type": "number", "minimum": -1, "exclusiveMaximum": 2.5},
                    {"type": "integer", "maximum": 7},
                ]
            }
        }
    },
}
limited = st.lists(
    st.integers(-3, 9)
    | st.floats(-3, 9)
    | st.sampled_from(["", "a", "ab", "abc", "a:", "a:b", "ab:c", ":abc", "x" * 1_200, "x:" * 600]),
    max_size=8,
)


@given(limited)
def test_condensed_values_keep_to_the_limits_of_numbers_and_strings(elements: list[Any]) -> None:
    short, long = Validator(LIMITED), Validator({**LIMITED, "minProperties": 0})
    instance = {"output": elements}
    assert short.is_valid(instance) == Draft202012Validator(LIMITED).is_valid(instance)
    assert described(short, instance) == described(long, instance)


@pytest.mark.parametrize("name", dialect_names())
def test_what_responses_lack_is_explained_once(name: str, work_of: Callable[[Callable[[], object]], int]) -> None:
    validator = load_dialect(name).response_validator
    validator.errors({**RESPONSE, "output": [{"type": "message"}]})
    first = work_of(lambda: validator.errors({**RESPONSE, "model": 11, "created_at": 5}))
    again = work_of(lambda: validator.errors({**RESPONSE, "model": 12, "created_at": 1_700_000_000, "id": "r" * 40}))
    assert again < first / 4


def test_one_error_in_many_places_is_counted() -> None:
    validator = validators["response"][0]
    first, later = {**MESSAGE, "id": 1}, {**MESSAGE, "id": 2}
    errors = validator.errors({**RESPONSE, "output": [*[first] * 100, MESSAGE, 7, *[later] * 900]})
    ids = [error for error in errors if error.pointer.endswith("/id")]
    assert [error.pointer for error in ids] == [f"/output/{i}/id" for i in range(100)]
    assert [error.more for error in ids] == [900] + [0] * 99
    others = [(error.pointer, error.actual, error.more) for error in errors if error not in ids]
    assert others == [("/output/101", 7, 0)]


@pytest.mark.parametrize("name", dialect_names())
def test_the_good_response(name: str) -> None:
    missing = {error.pointer for error in load_dialect(name).response_validator.errors(RESPONSE)}
    assert missing == {f"/{field}" for field in load_dialect(name).response["required"] if field not in RESPONSE}


def changed(path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    body = copy.deepcopy(RESPONSE)
    holder: Any = body
    for key in path[:-1]:
        holder = holder[key]
    if value is ABSENT:
        del holder[path[-1]]
    else:
        holder[path[-1]] = value
    return body


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (("id",), ABSENT, ("/id", 'required field "id" is missing')),
        (("id",), 7, ("/id", "expected string, got integer")),
        (("object",), "list", ("/object", 'expected "response", got "list"')),
        (("output",), {}, ("/output", "expected array, got object")),
        (("output", 0, "content", 0, "text"), ABSENT, ("/output/0/content/0/text", 'required field "text" is missing')),
        (("output", 0, "content", 0, "text"), None, ("/output/0/content/0/text", "expected string, got null")),
        (
            ("output", 0, "content", 0, "type"),
            "text",
            ("/output/0/content/0/type", 'type "text" is not a known type'),
        ),
        (("output", 0, "content", 0, "type"), ABSENT, ("/output/0/content/0/type", "type is missing")),
        (("output", 0, "content", 0), "hi", ("/output/0/content/0", "expected object with type, got string")),
        (("usage", "input_tokens"), "1", ("/usage/input_tokens", "expected integer or null, got string")),
    ],
)
def test_the_branch_that_type_names(path: tuple[Any, ...], value: Any, expected: tuple[str, ...]) -> None:
    (error,) = check("response", changed(path, value))
    assert (error.pointer, error.message) == expected


def test_values_that_cannot_be_walked() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    validator = validators["response"][0]
    for value in (changed(("tools",), deep), changed(("usage", "x"), deep), {"deep": deep}, deep):
        errors = validator.errors(value)
        assert all(isinstance(error, SchemaError) for error in errors)


def test_a_branch_may_be_for_the_types_that_its_conditions_name() -> None:
    call = {"properties": {"type": {"const": "call"}}, "required": ["type"]}
    union = {
        "anyOf": [
            {"$ref": "#/$defs/Message"},
            {"type": "object", "required": ["type"], "allOf": [{"if": call, "then": {"required": ["name"]}}]},
        ],
        "$defs": {
            "Message": {"type": "object", "properties": {"type": {"const": "message"}}, "required": ["type", "role"]}
        },
    }
    validator = Validator(union)
    assert [error.pointer for error in validator.errors({"type": "call"})] == ["/name"]
    assert [error.pointer for error in validator.errors({"type": "message", "role": 1, "x": 1})] == []
    assert [error.keyword for error in validator.errors({})] == ["discriminator"]
    assert validator.errors({"type": "other"}) == []


def test_unions_without_a_type() -> None:
    validator = Validator(
        {"anyOf": [{"type": "integer"}, {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}]}
    )
    assert [(e.pointer, e.message) for e in validator.errors("x")] == [
        ("", "expected integer or object with a, got string")
    ]
    assert [(e.pointer, e.keyword) for e in validator.errors({})] == [("/a", "required")]
    assert [(e.pointer, e.keyword) for e in validator.errors({"a": 1})] == [("/a", "type")]
    assert validator.errors(json.loads("1")) == []


@pytest.mark.parametrize(
    ("schema", "phrase"),
    [
        ({"type": "integer"}, "integer"),
        ({"type": "integer", "minimum": 0}, "non-negative integer"),
        ({"type": "integer", "minimum": 1}, "positive integer"),
        ({"type": "number", "minimum": 0, "maximum": 2}, "number from 0 to 2"),
        ({"type": "number", "maximum": 0}, "number of at most 0"),
        ({"type": ["string", "null"]}, "string or null"),
        ({"type": "string", "minLength": 1}, "non-empty string"),
        ({"enum": ["queued", "in_progress", None]}, "one of queued, in_progress, null"),
        ({"enum": [str(number) for number in range(20)]}, 'one of "0", "1", '),
        ({"const": "response"}, "response"),
        ({"const": "two words"}, '"two words"'),
        ({"const": "null"}, '"null"'),
        ({"const": 3}, "3"),
        ({"type": "array", "items": {"type": "object"}}, "array of objects"),
        ({"type": "array", "items": {"$ref": "#/$defs/Pair"}, "minItems": 1}, "non-empty array of objects"),
        ({"type": "array", "items": {"type": ["string", "null"]}}, "array"),
        ({"$ref": "#/$defs/Pair"}, "object with a and b"),
        ({"allOf": [{"$ref": "#/$defs/Pair"}, {"required": ["c"]}]}, "object with a, b and c"),
        ({"anyOf": [{"$ref": "#/$defs/Pair"}, {"type": "object", "required": ["b"]}]}, "object with b"),
        ({"anyOf": [{"type": "string"}, {"$ref": "#/$defs/Pair"}]}, "string or object with a and b"),
        ({"anyOf": [{"type": "string"}, {}]}, "present"),
        ({"type": "object", "required": [*"abcdefg"]}, "object with a, b, c, d, e, f and 1 more field"),
        ({"$ref": "#/$defs/Endless"}, "JSON that matches the schema"),
        ({"description": "Anything."}, "present"),
        ({"not": {"type": "null"}}, "JSON that matches the schema"),
        (True, "present"),
        (False, "absent"),
    ],
)
def test_a_schema_in_words(schema: Any, phrase: str) -> None:
    definitions: dict[str, Any] = {
        "Pair": {"type": "object", "required": ["a", "b"]},
        "Endless": {"anyOf": [{"$ref": "#/$defs/Endless"}]},
    }
    found = describe_schema(schema, definitions)
    assert found == phrase if phrase[-1] != " " else found.startswith(phrase) and found.endswith(", 4 more")


names = st.lists(st.sampled_from([*"abcdefgh"]), unique=True, max_size=8)
plain_schemas = st.one_of(
    st.sampled_from([{"type": name} for name in ("object", "array", "string", "boolean", "integer", "number", "null")]),
    st.fixed_dictionaries({"type": st.just("string")}, optional={"minLength": st.integers(0, 2)}),
    st.fixed_dictionaries(
        {"type": st.sampled_from(["integer", "number"])},
        optional={"minimum": st.integers(-2, 2), "maximum": st.integers(0, 3)},
    ),
    st.fixed_dictionaries({"type": st.just("object")}, optional={"required": names}),
    st.fixed_dictionaries({"enum": st.lists(json_values, min_size=1, max_size=4)}),
    st.fixed_dictionaries({"const": json_values}),
    st.sampled_from([True, False, {}, {"minLength": 2}, {"not": {"type": "string"}}, {"title": "Anything"}]),
)
any_schemas = st.recursive(
    plain_schemas,
    lambda inner: st.one_of(
        st.fixed_dictionaries({"anyOf": st.lists(inner, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"allOf": st.lists(inner, min_size=1, max_size=2)}),
        st.fixed_dictionaries({"type": st.just("array"), "items": inner}, optional={"minItems": st.integers(0, 1)}),
    ),
    max_leaves=6,
)


def kinds(value: Any) -> set[str]:
    """Return the words by which a description may name a value's type."""
    if value is None or isinstance(value, bool):
        return {"null"} if value is None else {"boolean"}
    if isinstance(value, (int, float)):
        return {"integer", "number"}
    return {"string"} if isinstance(value, str) else {"array"} if isinstance(value, list) else {"object"}


@given(schema=any_schemas, values=st.lists(json_values, max_size=8))
def test_a_description_admits_every_valid_value(schema: Any, values: list[Any]) -> None:
    phrase = describe_schema(schema)
    assert phrase
    reference = Draft202012Validator(schema)
    valid = [value for value in [*values, None, True, 1, 1.5, "word", [], {}] if reference.is_valid(value)]
    literal = "one of" in phrase or "const" in str(schema) or "enum" in str(schema)
    for value in valid:
        open_phrase = "present" in phrase or "JSON that matches" in phrase
        assert open_phrase or literal or any(kind in phrase for kind in kinds(value)), (phrase, value)
    if phrase == "absent":
        assert valid == []


@given(schema=any_schemas, value=json_values)
def test_only_a_schema_that_takes_all_is_described_as_present(schema: Any, value: Any) -> None:
    if describe_schema(schema) == "present":
        assert Draft202012Validator(schema).is_valid(value)


@pytest.mark.parametrize("name", schemas)
def test_every_error_says_what_the_schema_wants_there(name: str) -> None:
    @given(instance=mutants())
    def every_error(instance: Any) -> None:
        for error in validators[name][0].errors(instance):
            assert error.wanted
            assert not error.wanted.startswith(("a ", "an ", "the ")), error.wanted

    every_error()


@pytest.mark.parametrize(
    ("instance", "located"),
    [
        ({}, 'required field "a" is missing'),
        ({"a": {}}, 'required field "b" is missing at /a'),
        ({"a": {"b": "x"}}, "expected integer, got string at /a/b"),
        ({"a": {"b": -1}}, "expected non-negative integer, got -1 at /a/b"),
        ([], "expected object, got array"),
    ],
)
def test_an_error_names_its_place(instance: object, located: str) -> None:
    inner = {"type": "object", "required": ["b"], "properties": {"b": {"type": "integer", "minimum": 0}}}
    validator = Validator({"type": "object", "required": ["a"], "properties": {"a": inner}})
    assert [error.located for error in validator.errors(instance)] == [located]

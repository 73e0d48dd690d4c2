from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument
from jsonschema import Draft202012Validator

from rejoinder.contract import SchemaVariant, dialect_names, load_dialect, request_schema
from rejoinder.strategies import (
    EndpointProfile,
    content_parts,
    input_items,
    previous_input_messages,
    reasoning_configs,
    request_bodies,
    text_formats,
    tool_choices,
    tools,
    variants,
)

SCHEMA = request_schema(SchemaVariant.GENERATION)
VALIDATOR = jsonschema_rs.Draft202012Validator(SCHEMA)
PROFILE = EndpointProfile(model="m", unsupported_types={"input_image", "computer_call"}, unsupported_fields=["store"])


def valid(name: str, value: Any) -> bool:
    """Return whether a value is valid under a definition of the contract."""
    schema = {"$defs": SCHEMA["$defs"], "$ref": f"#/$defs/{name}"}
    return jsonschema_rs.Draft202012Validator(schema).is_valid(value)


@pytest.mark.slow(2)
@settings(max_examples=500, deadline=None, phases=[Phase.generate])
@given(request_bodies())
def test_requests_are_valid(body: dict[str, Any]) -> None:
    assert VALIDATOR.is_valid(body)
    json.dumps(body, allow_nan=False).encode("utf-8")


@pytest.mark.slow(2)
@settings(max_examples=300, deadline=None, phases=[Phase.generate])
@given(st.sampled_from(dialect_names()).flatmap(lambda name: st.tuples(st.just(name), request_bodies(dialect=name))))
def test_requests_have_no_fields_that_exclude_each_other(drawn: tuple[str, dict[str, Any]]) -> None:
    name, body = drawn
    assert not any(one.applies(body) for one in load_dialect(name).exclusions)


@settings(max_examples=25, deadline=None)
@given(request_bodies())
def test_the_reference_validator_agrees(body: dict[str, Any]) -> None:
    assert Draft202012Validator(SCHEMA).is_valid(body)


@given(request_bodies(model="m"))
def test_the_model_is_asked_for(body: dict[str, Any]) -> None:
    assert body["model"] == "m"


@settings(deadline=None)
@given(request_bodies(profile=PROFILE))
def test_a_profile_keeps_to_what_can_be_served(body: dict[str, Any]) -> None:
    assert VALIDATOR.is_valid(body)
    assert body["model"] == "m"
    assert body["max_output_tokens"] == 16
    assert not {"previous_response_id", "prompt", "priority", "request_id", "store"} & body.keys()
    assert 0 <= (body.get("temperature") or 0) <= 2
    items = [item for item in body["input"] if isinstance(item, dict)]
    text = json.dumps(items)
    assert all(f'"type": "{name}"' not in text for name in ("input_image", "computer_call", "item_reference"))
    for item in items:
        for part in item["content"] if isinstance(item.get("content"), list) else []:
            assert part["type"] != "input_file" or part["file_data"].startswith("data:")


def test_a_known_id_is_used() -> None:
    profile = EndpointProfile(item_id="msg_9", file_id="file_9", prompt_id="p_9", previous_response_id="r_9")
    body = find(
        request_bodies(profile=profile), lambda body: bool(body.get("prompt")) and "previous_response_id" in body
    )
    assert body["prompt"]["id"] == "p_9"
    assert body["previous_response_id"] == "r_9"
    assert find(input_items(variants=["item_reference"], profile=profile), lambda item: True)["id"] == "msg_9"


@pytest.mark.slow(2)
def test_fixed_fields_are_never_shared() -> None:
    profile = EndpointProfile(fixed={"tools": [{"type": "function", "name": "f"}]})
    first, second = (find(request_bodies(profile=profile), lambda body: True) for _ in range(2))
    first["tools"].clear()
    assert second["tools"] == profile.fixed["tools"] == [{"type": "function", "name": "f"}]


def test_a_profile_that_leaves_nothing_is_refused() -> None:
    profile = EndpointProfile(unsupported_types=["create_file", "delete_file", "update_file"])
    with pytest.raises(InvalidArgument, match="'operation'"):
        request_bodies(profile=profile).validate()


@pytest.mark.parametrize("name", variants())
def test_every_variant_can_be_drawn(name: str) -> None:
    seen: list[dict[str, Any]] = []

    @settings(max_examples=8, deadline=None, database=None, phases=[Phase.generate])
    @given(input_items(variants=[name]))
    def draw(item: dict[str, Any]) -> None:
        assert valid(variants()[name].name, item)
        seen.append(item)

    draw()
    assert seen


@pytest.mark.slow(6)
def test_whole_requests_reach_every_variant() -> None:
    validators = {
        name: jsonschema_rs.Draft202012Validator({"$defs": SCHEMA["$defs"], "$ref": f"#/$defs/{node.name}"})
        for name, node in variants().items()
    }
    reached: Counter[str] = Counter()

    @settings(max_examples=1500, deadline=None, database=None, derandomize=True, phases=[Phase.generate])
    @given(request_bodies())
    def draw(body: dict[str, Any]) -> None:
        for item in body["input"] if isinstance(body["input"], list) else []:
            reached.update(name for name, validator in validators.items() if validator.is_valid(item))

    draw()
    assert set(reached) == set(variants())


PARTS: list[tuple[str, Callable[[], st.SearchStrategy[Any]], str]] = [
    ("InputContent", content_parts, "user"),
    ("OutputContentParam", lambda: content_parts(of="assistant"), "assistant"),
    ("FunctionOutputContent", lambda: content_parts(of="tool"), "tool"),
    ("Tool", tools, "tools"),
    ("ToolChoice", tool_choices, "tool choices"),
    ("TextFormat", text_formats, "text formats"),
    ("Reasoning", reasoning_configs, "reasoning"),
    ("PreviousInputMessage", previous_input_messages, "previous messages"),
    ("InputItem", input_items, "items"),
]


@pytest.mark.slow(1)
@pytest.mark.parametrize(("definition", "strategy", "_"), PARTS, ids=[name for *_, name in PARTS])
def test_parts_are_valid(definition: str, strategy: Callable[[], st.SearchStrategy[Any]], _: str) -> None:
    @settings(max_examples=40, deadline=None)
    @given(strategy())
    def draw(value: Any) -> None:
        assert valid(definition, value)

    draw()


@given(tools(types=["function"]), text_formats(types=["json_schema"]))
def test_types_limit_and_embedded_schemas_are_schemas(tool: dict[str, Any], text_format: dict[str, Any]) -> None:
    assert tool["type"] == "function"
    for schema in (tool.get("parameters"), text_format["schema"]):
        if schema is not None:
            Draft202012Validator.check_schema(schema)
            assert schema["type"] == "object"


@pytest.mark.parametrize(
    "call",
    [
        lambda: input_items(variants=["mesage"]),
        lambda: input_items(variants=[]),
        lambda: tools(types=["web"]),
        lambda: content_parts(of="nobody"),  # type: ignore[arg-type]
        lambda: request_bodies(max_items=-1),
    ],
)
def test_bad_options_are_errors_of_the_test_that_draws(call: Callable[[], st.SearchStrategy[object]]) -> None:
    strategy = call()  # at import time, in most suites
    with pytest.raises(InvalidArgument):
        strategy.validate()
    with pytest.raises(InvalidArgument):
        given(strategy)(lambda value: None)()


def test_bad_options_are_told_with_the_closest_name() -> None:
    with pytest.raises(InvalidArgument, match=r"there is no variant 'mesage' here\. Did you mean message\?"):
        input_items(variants=["mesage"]).validate()
    with pytest.raises(InvalidArgument, match=r"types='function' is not a collection of names; write \['function'\]"):
        tools(types="function").validate()


@pytest.mark.slow(1)
def test_requests_shrink_to_an_empty_string() -> None:
    quiet = settings(suppress_health_check=list(HealthCheck), database=None)
    assert find(request_bodies(), lambda body: True, settings=quiet) == {"input": ""}


def test_strategies_have_a_short_description() -> None:
    """Hypothesis warns of long ones, and prints them."""
    for strategy in (request_bodies(), request_bodies(profile=PROFILE), input_items(), tools(), tool_choices()):
        assert len(repr(strategy)) < 8000

"""Dialect files and event definitions name only what exists, and fit one another."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import get_args

import pytest

from rejoinder.contract import (
    DEFAULT_DIALECT,
    dialect_label,
    dialect_names,
    dialect_summaries,
    load_dialect,
    load_rules,
    load_schema,
)
from rejoinder.contract._dialect import Role
from rejoinder.errors import ContractError
from rejoinder.model.base_form import InputForm
from rejoinder.validation import Validator

NAMES = dialect_names()
FOLDER = files("rejoinder.contract").joinpath("dialects")
RAW = {name: tomllib.loads(FOLDER.joinpath(f"{name}.toml").read_text("utf-8")) for name in NAMES}
JSON_TYPES = {"string", "integer", "number", "boolean", "array", "object", "null", ""}


def test_the_default_comes_first() -> None:
    assert NAMES[0] == DEFAULT_DIALECT
    assert set(NAMES) == {"northstar", "openai", "openresponses", "vllm"}


def test_an_unknown_dialect() -> None:
    with pytest.raises(ContractError, match='"x" is not a dialect') as caught:
        load_dialect("x")
    assert all(dialect_label(name) in caught.value.hint for name in NAMES)


@pytest.mark.parametrize(
    ("name", "meant"),
    [("vLLM-0.33", "vllm"), ("tzafon", "northstar"), ("nothstar", "northstar"), ("open-responses", "openresponses")],
)
def test_a_name_that_people_try_leads_to_the_dialect(name: str, meant: str) -> None:
    with pytest.raises(ContractError) as caught:
        load_dialect(name)
    assert caught.value.hint == f"Did you mean {load_dialect(meant).label}?"


@pytest.mark.parametrize("name", NAMES)
def test_people_read_what_a_dialect_is(name: str) -> None:
    dialect = load_dialect(name)
    assert dialect.label == dialect_label(name) == f"{name} ({dialect.title})"
    assert dialect_summaries()[name] == f"{dialect.title}. {dialect.summary}"
    assert dialect.summary.startswith("For ")


def test_a_custom_dialect_is_shown_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text('name = "own"\n', "utf-8")
    assert dialect_label(str(path)) == str(path)
    assert load_dialect(path).label == "own"


@pytest.mark.parametrize("name", NAMES)
def test_files_name_themselves_and_their_line(name: str) -> None:
    assert RAW[name]["name"] == name
    lineage = load_dialect(name).lineage
    assert lineage[0] == name
    assert lineage[-1] == DEFAULT_DIALECT
    assert len(set(lineage)) == len(lineage)


@pytest.mark.parametrize("name", NAMES)
def test_parameters_have_known_values(name: str) -> None:
    dialect = load_dialect(name)
    assert dialect.stream["done_sentinel"] in {"required", "allowed", "absent"}
    assert dialect.stream["error_event"] in {"flat", "nested", "either"}
    assert "completed" in dialect.response["statuses"]
    assert dialect.title
    assert dialect.source
    for key, value in dialect.response.items():
        if isinstance(value, list):
            assert all(isinstance(entry, str) for entry in value), key
            assert len(set(value)) == len(value), key


@pytest.mark.parametrize("name", NAMES)
def test_required_response_fields_are_known(name: str) -> None:
    """A field that is required must be described: in the response schema, in the request that it echoes, or by name."""
    response, request = load_schema("response"), load_schema("request")
    own = {
        "kv_transfer_params",
        "input_messages",
        "output_messages",
        "completed_at",
        "incomplete_details",
        "presence_penalty",
        "frequency_penalty",
        "safety_identifier",
    }
    known = {*response["properties"], *response["required"], *request["properties"], *own}
    for field in load_dialect(name).response["required"]:
        assert field in known, field
    assert isinstance(load_dialect(name).response_validator, Validator)


@pytest.mark.parametrize("name", NAMES)
def test_events_fit_together(name: str) -> None:
    events = load_dialect(name).events
    for type_, spec in events.items():
        assert spec.type == type_
        assert spec.role in get_args(Role)
        assert set(spec.required) <= set(spec.types), type_
        assert set(spec.types.values()) <= JSON_TYPES, type_
        assert spec.container in {"", "content", "summary", "item"}, type_
        assert len(set(spec.required)) == len(spec.required), type_
        if spec.index:
            assert spec.index in spec.types, type_
        if spec.role in ("delta", "done"):
            assert spec.container, type_
            assert spec.field, type_
            assert "item_id" in spec.types, type_
            assert "output_index" in spec.types, type_
        if spec.role == "delta":
            assert "delta" in spec.required, type_
        if spec.role == "done":
            assert spec.field in spec.types, type_
        if spec.role in ("snapshot", "terminal"):
            assert spec.required == ("response",), type_
        if spec.role in ("item.added", "item.done"):
            assert {"item", "output_index"} <= set(spec.required), type_
        if spec.role in ("part.added", "part.done"):
            assert {"part", "output_index"} <= set(spec.required), type_


@pytest.mark.parametrize("name", NAMES)
def test_every_delta_has_its_done(name: str) -> None:
    events = load_dialect(name).events
    ends = {(spec.container, spec.part, spec.field, spec.item) for spec in events.values() if spec.role == "done"}
    for type_, spec in events.items():
        if spec.role == "delta":
            assert (spec.container, spec.part, spec.field, spec.item) in ends, type_
            assert type_.removesuffix(".delta") + ".done" in events, type_


@pytest.mark.parametrize("name", NAMES)
def test_the_life_of_a_response_can_be_told(name: str) -> None:
    roles = {spec.role for spec in load_dialect(name).events.values()}
    assert {"snapshot", "terminal", "item.added", "item.done", "part.added", "part.done", "delta", "done"} <= roles
    terminals = {type_ for type_, spec in load_dialect(name).events.items() if spec.role == "terminal"}
    assert {"response.completed", "response.failed", "response.incomplete"} <= terminals


def test_the_reasoning_events_of_each_dialect() -> None:
    known = {name: {type_ for type_ in load_dialect(name).events if "reasoning" in type_} for name in NAMES}
    summary = {f"response.reasoning_summary_{what}" for what in ("part.added", "part.done", "text.delta", "text.done")}
    text = {"response.reasoning_text.delta", "response.reasoning_text.done"}
    assert known["openai"] == summary | text
    assert known["northstar"] == summary | text | {"response.reasoning_part.added", "response.reasoning_part.done"}
    assert known["vllm"] == summary | text
    assert known["openresponses"] == summary | {"response.reasoning.delta", "response.reasoning.done"}


def test_required_response_fields_are_as_many_as_the_sources_say() -> None:
    """Six of the seed's nine, and twelve more in vLLM.

    31 in the Open Responses document; OpenAI's 14 and the status that it always sends.
    """
    required = {name: load_dialect(name).schema("response")["required"] for name in NAMES}
    assert {name: len(fields) for name, fields in required.items()} == {
        "northstar": 6,
        "openai": 15,
        "openresponses": 31,
        "vllm": 18,
    }


def test_levels_follow_the_line_of_dialects(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text('name = "own"\nbase = "openai"\n', "utf-8")
    rules = load_rules().values()
    assert any(rule.level_in("openai") is not rule.level for rule in rules)
    for rule in rules:
        for name in NAMES:
            assert load_dialect(name).level_of(rule) is rule.level_in(name)
        if "vllm" not in rule.levels:
            assert rule.level_in("vllm") is rule.level_in("northstar")
        assert load_dialect(own).level_of(rule) is rule.level_in("openai")


@pytest.mark.parametrize("name", NAMES)
def test_messages_have_the_form_that_the_request_schema_takes(name: str) -> None:
    dialect = load_dialect(name)
    message = {"role": "user", "content": "Hi"}
    typed = {"type": "message", **message}
    assert dialect.sound_requests.is_valid({"model": "m", "input": [typed]})
    takes_untyped = dialect.sound_requests.is_valid({"model": "m", "input": [message]})
    assert dialect.usual_form.input is (InputForm.LIST if takes_untyped else InputForm.TYPED_LIST)


@pytest.mark.parametrize("name", NAMES)
def test_output_items_go_back_without_what_an_input_must_not_have(name: str) -> None:
    dialect = load_dialect(name)
    text = {"type": "output_text", "text": "Hi.", "annotations": []}
    message = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [text]}
    call = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": "{}"}
    strange = {"type": "no_such_item", "id": "x"}
    for item in (message, call, strange, {}, None, "text"):
        assert dialect.as_input(item) == item
    thought = {"type": "reasoning_text", "text": "Hm."}
    reasoning = {"type": "reasoning", "id": "rs_1", "summary": [], "content": [thought]}
    back = dialect.as_input(reasoning)
    assert dialect.sound_requests.is_valid({"model": "m", "input": [back]})
    # Open Responses has null only for the content of a reasoning item in the input.
    assert reasoning.keys() - back.keys() == ({"content"} if name == "openresponses" else set())

"""Definitions that a schema takes from another one of its dialect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rejoinder.contract import dialect_names, load_dialect
from rejoinder.errors import ContractError
from rejoinder.validation import Validator

OWN = """
name = "own"
base = "openai"
[overlay.request.add."/$defs/Tool.Probe"]
type = "object"
properties = { type = { const = "probe" }, depth = { type = "integer" } }
required = ["type", "depth"]
[overlay.request.include]
"/$defs/Tool/anyOf" = [{ "$ref" = "#/$defs/Tool.Probe" }]
"""


def own(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "own.toml"
    path.write_text(text, "utf-8")
    return path


@pytest.mark.parametrize("name", dialect_names())
def test_nothing_is_left_to_borrow(name: str) -> None:
    dialect = load_dialect(name)
    assert "x-from" not in str(dialect.schema("response"))
    for type_, spec in dialect.events.items():
        schema = dialect.event_schema(type_)
        assert "x-from" not in str(schema)
        assert set(schema["properties"]) == set(spec.types), "what is borrowed must exist"
        Validator(schema)


def test_a_response_takes_what_the_request_of_the_dialect_has(tmp_path: Path) -> None:
    errors = load_dialect(own(tmp_path, OWN)).field_validator("response.completed", "response").errors
    wrong = {error.pointer for error in errors({"tools": [{"type": "probe"}, {"type": "probe", "depth": 1}]})}
    assert "/tools/0/depth" in wrong
    assert not any(pointer.startswith("/tools/1") for pointer in wrong)


@pytest.mark.parametrize("name", dialect_names())
@pytest.mark.parametrize(
    ("type_", "field", "good", "bad"),
    [
        ("response.output_item.added", "item", {"type": "example:own"}, {"type": "reasoning", "id": "rs_1"}),
        (
            "response.content_part.done",
            "part",
            {"type": "output_text", "text": "", "annotations": []},
            {"type": "output_text", "text": 1, "annotations": []},
        ),
        ("response.reasoning_summary_part.added", "part", {"type": "summary_text", "text": ""}, {}),
        ("response.output_text.delta", "logprobs", [], [{"token": 1}]),
        ("response.output_text.annotation.added", "annotation", None, {"type": "url_citation"}),
    ],
)
def test_fields_of_events(name: str, type_: str, field: str, good: Any, bad: Any) -> None:
    validator = load_dialect(name).field_validator(type_, field)
    assert validator.errors(good) == []
    assert validator.errors(bad) != []


def test_null_and_absent_are_alike_in_what_a_server_sends() -> None:
    validator = load_dialect("openai").field_validator("response.output_item.done", "item")
    call = {"type": "code_interpreter_call", "id": "ci_1", "container_id": "c", "status": "completed"}
    for item in (call, {**call, "code": None, "outputs": None}, {**call, "code": "1", "outputs": []}):
        assert validator.errors(item) == []
    assert [error.pointer for error in validator.errors({**call, "status": None})] == ["/status"]
    assert [error.pointer for error in validator.errors({**call, "outputs": [{"type": "logs"}]})] == ["/outputs/0/logs"]


@pytest.mark.parametrize("reference", ["request", "reply#/$defs/Tool", 7])
def test_a_reference_that_is_none(reference: Any, tmp_path: Path) -> None:
    path = own(tmp_path, f'name = "own"\n[overlay.response.add]\n"/properties/tool" = {{ x-from = {reference!r} }}\n')
    with pytest.raises(ContractError, match=r"own.toml: at /properties/tool, keyword 'x-from': .* is not of the form"):
        load_dialect(path)


def test_what_a_dialect_removes_is_left_open(tmp_path: Path) -> None:
    path = own(tmp_path, 'name = "own"\n[overlay.response.exclude]\n"/$defs/OutputItem/allOf" = []\n')
    dialect = load_dialect(path)
    assert dialect.field_validator("response.output_item.done", "item").errors({"type": "message"}) != []
    path.write_text('name = "own"\n[schemas]\nresponse = "r.json"\n', "utf-8")
    (tmp_path / "r.json").write_text(
        '{"type": "object", "properties": {"output": {"type": "array", "items": {"type": "object"}}}, "required": [],'
        ' "$defs": {}}',
        "utf-8",
    )
    assert load_dialect(path).field_validator("response.output_item.done", "item").errors({"type": "message"}) == []

from __future__ import annotations

from typing import Any

import pytest

from rejoinder.contract import SchemaVariant, load_dialect
from rejoinder.strategies import EndpointProfile, classify, one_change, one_factor, without_source
from rejoinder.validation import Validator

VALID = Validator(load_dialect("northstar").request_schema(SchemaVariant.GENERATION)).is_valid


def is_mended(body: Any) -> bool:
    return any(VALID(changed) for changed in one_change(body, "northstar"))


@pytest.mark.parametrize(
    "body",
    [
        {"input": 7},
        {"input": {"0": "text"}},
        {"input": [{"role": "nobody", "content": "Say hello."}]},
        {"input": [{"type": "message", "role": "user"}]},
        {"input": "Say hello.", "tools": [{"type": "function", "name": 7}]},
        {"input": "Say hello.", "tool_choice": "sometimes"},
        {"input": "Say hello.", "temperature": "hot"},
        "Say hello.",
        [],
    ],
)
def test_one_fault_goes_with_one_change(body: Any) -> None:
    assert not VALID(body)
    assert is_mended(body)


@pytest.mark.parametrize(
    "body",
    [
        {"input": [{"role": "nobody"}]},
        {"input": 7, "temperature": "hot"},
        {"input": [{"role": "nobody", "content": 7}]},
        {"input": "Say hello.", "tools": [{"type": "function", "name": 7}, {"type": "no_such_tool"}]},
        [{"input": 7}],
    ],
)
def test_two_faults_do_not(body: Any) -> None:
    assert not is_mended(body)


def test_nearly_all_mutants_have_one_fault() -> None:
    profile = EndpointProfile(model="parrot")
    mutants = [
        mutant.body
        for case in one_factor(profile=profile)[::60]
        for mutant in classify(case.body, profile=profile)
        if mutant.kind != "root" and not VALID(mutant.body)
    ]
    assert len(mutants) > 200
    assert sum(map(is_mended, mutants)) > 0.95 * len(mutants)


def test_the_body_is_not_changed() -> None:
    body = {"input": [{"role": "nobody", "content": [{"type": "input_text", "text": "a"}]}], "top_p": 7}
    before = repr(body)
    assert len(list(one_change(body, "openai"))) > 100
    assert repr(body) == before


def test_objects_without_their_source() -> None:
    tool = {"type": "mcp", "server_label": "maps"}
    assert list(without_source({"tools": [tool, {**tool, "server_url": "https://mcp.invalid/"}]})) == ["mcp"]
    assert list(without_source({"tools": [{**tool, "connector_id": "connector_gmail"}]})) == []
    parts = [{"type": "input_image", "image_url": None}, {"type": "input_file", "file_id": "file_1"}]
    assert list(without_source({"input": [{"role": "user", "content": parts}]})) == ["input_image"]


@pytest.mark.parametrize("dialect", ["northstar", "openai", "openresponses"])
def test_what_is_generated_has_its_source(dialect: str) -> None:
    assert [c.id for c in one_factor(profile=EndpointProfile(dialect=dialect)) if any(without_source(c.body))] == []

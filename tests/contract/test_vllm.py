"""The dialect vllm against facts of vLLM's source: bounds, unions, and what it takes for no request of its own."""

from __future__ import annotations

from typing import Any

import pytest

from rejoinder.contract import SchemaVariant, load_dialect, load_schema, request_schema
from rejoinder.errors import ContractError
from rejoinder.validation import Validator

VALID = Validator(request_schema(dialect="vllm"))
SOUND = Validator(request_schema(SchemaVariant.GENERATION, dialect="vllm"))
OTHER = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "x"}}


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ("cache_salt", ["s", "s" * 128, None], ["", "s" * 129, "a@b", "a/b", "a\\b", "a\x00b", 7]),
        ("priority", [0, -(2**63), 2**63 - 1], [2**63, -(2**63) - 1, None, "0"]),
        ("seed", [0, -(2**63), 2**63 - 1, None], [2**63, 1.5]),
        ("stop", ["END", ["a", "b", "c", "d"], [], None], [7, [7]]),
        ("min_p", [0, 1, None], [-0.1, 1.1]),
        ("presence_penalty", [-2, 2, None], [2.1, -2.1]),
        ("frequency_penalty", [-2, 2, None], [2.1, -2.1]),
        ("repetition_penalty", [0.1, 10, None], [0, -1]),
        ("temperature", [0, 2, None], [-1, 3]),
        ("top_p", [0.1, 1, None], [0, 1.1]),
        ("top_k", [-1, 0, 5, None], [-2]),
        ("structured_outputs", [{"choice": ["a"]}, {"json_object": True}, None], [{}, {"choice": []}, {"regex": 7}]),
        ("include_reasoning", [True, False], [None, "yes"]),
        ("mm_payload", ["tensors", "none"], ["all", None]),
        ("prompt_cache_retention", ["in_memory", "in-memory", "24h", None], ["48h"]),
        ("vllm_xargs", [{"a": "b", "c": [1, "d"]}, None], [{"a": {}}]),
        ("tools", [[{"type": "code_interpreter", "container": {"type": "auto"}}]], [None, [{"type": "no_such_tool"}]]),
    ],
)
def test_bounds(field: str, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        assert SOUND.errors({"input": "Hi", field: value}) == [], value
    for value in bad:
        assert not VALID.is_valid({"input": "Hi", field: value}), value


@pytest.mark.parametrize(
    "fields",
    [
        {"input": [OTHER]},
        {"input": "Hi", "stop": ["a", "b", "c", "d", "e"]},
        {"input": "Hi", "prompt": {"id": "pmpt_1"}},
        {"input": "Hi", "structured_outputs": {"regex": "["}},
        {"input": "Hi", "kv_transfer_params": {}},
    ],
)
def test_what_vllm_may_refuse_is_neither_sent_nor_surely_invalid(fields: dict[str, Any]) -> None:
    assert VALID.is_valid(fields)
    assert not SOUND.is_valid(fields)


def test_the_response_has_29_fields_beyond_northstar() -> None:
    vllm, northstar = (load_schema("response", dialect=name)["properties"] for name in ("vllm", "northstar"))
    assert len(vllm.keys() - northstar.keys()) == 29


def test_what_was_not_run_is_named() -> None:
    dialect = load_dialect("vllm")
    assert dialect.verified
    named = " ".join(dialect.not_run)
    assert all(name in named for name in ("prompt_cache_options", "safety_identifier", "spaces_between_special_tokens"))


def test_the_dialect_inherits_rules_and_a_custom_one_always_does(tmp_path: Any) -> None:
    assert load_dialect("vllm").family == ("vllm", "northstar")
    assert load_dialect("openai").family == ("openai",)
    own = tmp_path / "own.toml"
    own.write_text('name = "own"\nbase = "vllm"\n', "utf-8")
    assert load_dialect(own).family == ("own", "vllm", "northstar")
    own.write_text('name = "own"\ninherits_rules = false\n', "utf-8")
    with pytest.raises(ContractError, match="/inherits_rules"):
        load_dialect(own)


@pytest.mark.parametrize(
    ("mark", "place"),
    [
        ('at = "models"\nsays = "x"', "/mark/0"),
        ('at = "/models"', "/mark/0"),
        ('at = "/models"\nsays = "x"\nother = "y"', "/mark/0/other"),
        ('at = "/models"\nsays = "x"\nmatches = "["', "/mark/0/matches"),
        ('at = "/models"\nsays = 7', "/mark/0"),
    ],
)
def test_a_broken_mark_is_an_error(mark: str, place: str, tmp_path: Any) -> None:
    own = tmp_path / "own.toml"
    own.write_text(f'name = "own"\n[[mark]]\n{mark}\n', "utf-8")
    with pytest.raises(ContractError, match=place):
        load_dialect(own)

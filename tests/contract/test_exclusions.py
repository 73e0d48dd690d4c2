"""Request fields that a dialect does not take together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rejoinder.contract import dialect_names, load_dialect
from rejoinder.contract.exclusions import read_exclusions, without_excluded
from rejoinder.errors import ContractError
from rejoinder.sandbox import Sandbox, post


@pytest.mark.parametrize(
    ("text", "body", "applies"),
    [
        ("a b", {"a": 1, "b": 0}, True),
        ("a b", {"a": 1, "b": None}, False),
        ("a b", {"a": 1, "b": []}, False),
        ("a b", {"a": 1}, False),
        ("a=true b=null", {"a": True, "b": None}, True),
        ("a=true b=null", {"a": True}, False),
        ("a=true b", {"a": 1, "b": 1}, False),
        ('a="x" b.c', {"a": "x", "b": {"c": {"d": 1}}}, True),
        ('a="x" b.c', {"a": "x", "b": "c"}, False),
        ("a b c", {"a": 1, "b": 1}, False),
    ],
)
def test_when_values_exclude_each_other(text: str, body: dict[str, Any], applies: bool) -> None:
    (exclusion,) = read_exclusions([text], "own.toml")
    assert exclusion.applies(body) is applies


def test_the_last_field_goes_unless_it_must_stay() -> None:
    exclusions = read_exclusions(["a b", "b c"], "own.toml")
    body = {"a": 1, "b": 1, "c": 1}
    assert without_excluded(body, exclusions) == {"a": 1, "c": 1}
    assert without_excluded(body, exclusions, keep=["b"]) == {"b": 1}
    assert without_excluded(body, exclusions, keep=body) == body


@pytest.mark.parametrize(
    ("element", "words"),
    [
        ("a", "'a' must name two or more fields"),
        ("a.b a.c", "must name two or more fields"),
        ("a=[1] b", "only strings, numbers, booleans and null"),
        ("a=yes b", "'yes' is not JSON"),
        ("a. b", "'a.' does not name a field"),
    ],
)
def test_a_mistake_in_a_dialect_file_names_file_and_element(tmp_path: Path, element: str, words: str) -> None:
    file = tmp_path / "own.toml"
    file.write_text(f"name = 'own'\n[request]\nexclusive = ['background=true store=false', '{element}']\n")
    with pytest.raises(ContractError, match=words) as caught:
        load_dialect(file)
    assert f"{file}: at /request/exclusive/1, keyword 'exclusive'" in caught.value.message


@pytest.mark.parametrize("name", dialect_names())
def test_the_fields_of_every_dialect_exist(name: str) -> None:
    """A list that a dialect inherits may name fields that it lacks; its own list names none of these."""
    dialect = load_dialect(name)
    own = [one for one in dialect.exclusions if set(one.fields) <= dialect.parameters]
    assert own
    assert name == "openresponses" or len(own) == len(dialect.exclusions)


def test_the_sandbox_refuses_what_vllm_refuses() -> None:
    sandbox = Sandbox("vllm")
    text, choice = {"format": {"type": "text"}}, {"choice": ["yes", "no"]}
    for body, status in (
        ({"text": text}, 200),
        ({"structured_outputs": choice}, 200),
        ({"text": text, "structured_outputs": choice}, 400),
        ({"text": text, "structured_outputs": None}, 200),
        ({"background": True, "store": None}, 400),
        ({"background": True}, 200),
    ):
        exchange = sandbox.exchange(post({"input": "Hi", **body}))
        assert exchange.status == status, (body, exchange.body)
        if status == 400:
            assert exchange.json()["error"]["message"].startswith("These values exclude each other: ")

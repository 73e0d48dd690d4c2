"""Requests in every dialect: valid there, and covering what can be sent there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument

from rejoinder.contract import SchemaVariant, dialect_names, load_dialect, request_schema
from rejoinder.strategies import (
    Branches,
    EndpointProfile,
    content_parts,
    conversations,
    each_choice,
    edge_cases,
    input_items,
    one_factor,
    pairwise_cases,
    previous_input_messages,
    reasoning_configs,
    request_bodies,
    sample,
    surely_invalid,
    text_formats,
    tool_choices,
    tools,
    variants,
)
from rejoinder.strategies.profile import served
from rejoinder.validation import Validator

#: Call ids and their items are always sent, so that calls and outputs fit together; and every request has an input.
PAIRED = ("call_id=null", ".id=absent")
NO_INPUT = ("input=absent", "input=null")

MUTANTS = {"northstar": 1900, "openai": 3900, "openresponses": 400, "vllm": 900}
"""The least number of mutants in each dialect; the request of Open Responses has 9 classes of items."""

KINDS = {"root", "missing", "null", "type", "value", "extra"} | {
    f"type_{kind}" for kind in ("unknown", "case", "blank", "number", "missing", "null")
}


@pytest.mark.parametrize("dialect", dialect_names())
@pytest.mark.parametrize("pack", ["plain", "variant", "item", "all", 4])
def test_covering_sets_are_undisputed_and_complete(dialect: str, pack: str | int) -> None:
    profile = EndpointProfile(dialect=dialect, model="m")
    sound = Validator(request_schema(SchemaVariant.GENERATION, dialect=dialect))
    cases = each_choice(pack, profile=profile)  # type: ignore[arg-type]
    assert [case.id for case in cases if not sound.is_valid(case.body)] == []
    assert len({case.id for case in cases}) == len(cases)
    if pack != "plain":
        missing = Branches(served(profile)).report(case.body for case in cases).missing
        assert [name for name in missing if not name.endswith(PAIRED) and name not in NO_INPUT] == []
        assert len(missing) < 5


@pytest.mark.parametrize("dialect", dialect_names())
def test_mutants_are_surely_invalid_in_their_dialect(dialect: str) -> None:
    accepts = Validator(request_schema(SchemaVariant.PERMISSIVE, dialect=dialect)).is_valid
    mutants = surely_invalid(profile=EndpointProfile(dialect=dialect))
    assert len(mutants) >= MUTANTS[dialect]
    assert {mutant.kind for mutant in mutants} >= KINDS
    assert [mutant.id for mutant in mutants if accepts(mutant.body)] == []


@pytest.mark.slow(1)
@pytest.mark.parametrize("dialect", dialect_names())
@given(data=st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_random_requests_are_undisputed_in_their_dialect(dialect: str, data: st.DataObject) -> None:
    sound = Validator(request_schema(SchemaVariant.GENERATION, dialect=dialect))
    body = data.draw(request_bodies(profile=EndpointProfile(dialect=dialect, model="m")))
    assert sound.errors(body) == []


@pytest.mark.parametrize("dialect", dialect_names())
def test_edge_cases_are_made_for_every_dialect(dialect: str) -> None:
    assert {case.tier for case in edge_cases(profile=EndpointProfile(dialect=dialect), size=1000)} == {
        "valid",
        "edge",
        "raw",
    }


LIMITED = Path(__file__).with_name("limits.toml")
"""A dialect with every keyword that limits values."""

DIALECTS = [*dialect_names(), str(LIMITED)]

PARTS: dict[str, Callable[[str], st.SearchStrategy[Any]]] = {
    "bodies": lambda dialect: request_bodies(dialect=dialect),
    "conversations": lambda dialect: conversations(dialect=dialect, reasoning=True),
    "items": lambda dialect: st.builds(lambda item: {"input": [item]}, input_items(dialect=dialect)),
    "user": lambda dialect: st.builds(lambda part: _said(dialect, "user", part), content_parts(dialect=dialect)),
    "assistant": lambda dialect: st.builds(
        lambda part: _said(dialect, "assistant", part), content_parts(of="assistant", dialect=dialect)
    ),
    "tool": lambda dialect: st.builds(
        lambda part: {"input": [{"type": "function_call_output", "call_id": "call_1", "output": [part]}]},
        content_parts(of="tool", dialect=dialect),
    ),
    "tools": lambda dialect: st.builds(lambda tool: {"input": "", "tools": [tool]}, tools(dialect=dialect)),
    "tool choices": lambda dialect: st.builds(
        lambda choice: {"input": "", "tool_choice": choice}, tool_choices(dialect=dialect)
    ),
    "formats": lambda dialect: st.builds(
        lambda value: {"input": "", "text": {"format": value}}, text_formats(dialect=dialect)
    ),
    "reasoning": lambda dialect: st.builds(
        lambda value: {"input": "", "reasoning": value}, reasoning_configs(dialect=dialect)
    ),
}
"""Strategies of parts, in a request body of the dialect."""


def _said(dialect: str, role: str, part: Any) -> Any:
    """Return a body with a part in a message of a role, with what an assistant's message needs in some dialects."""
    message = {"type": "message", "role": role, "content": [part]}
    full = {**message, "id": "msg_1", "status": "completed"}
    sound = Validator(request_schema(SchemaVariant.GENERATION, dialect=dialect))
    return {"input": [message if sound.is_valid({"input": [message]}) else full]}


@pytest.mark.slow(4)
@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda name: Path(name).stem)
@pytest.mark.parametrize("name", PARTS)
def test_every_strategy_draws_from_the_dialect_with_all_health_checks(name: str, dialect: str) -> None:
    sound = Validator(request_schema(SchemaVariant.GENERATION, dialect=dialect))
    seen: list[Any] = []

    @settings(max_examples=40, database=None, deadline=None)
    @given(PARTS[name](dialect))
    def draw(body: Any) -> None:
        seen.append(body)
        assert sound.errors(body) == []

    draw()
    assert len(seen) > 1


@pytest.mark.slow(1)
@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda name: Path(name).stem)
def test_a_dialect_is_given_by_name_path_or_loaded(dialect: str) -> None:
    loaded = load_dialect(dialect)
    expected = sample(request_bodies(dialect=dialect), 10)
    assert sample(request_bodies(dialect=loaded), 10) == expected
    assert sample(request_bodies(dialect=Path(loaded.reference) if loaded.name == "limits" else loaded), 10) == expected
    assert list(variants(dialect=loaded)) == list(variants(dialect=dialect))
    assert each_choice(dialect=loaded) == each_choice(dialect=dialect)


def test_a_dialect_that_is_not_the_profiles_is_an_error_of_the_test_that_draws() -> None:
    strategy = request_bodies(dialect="openai", profile=EndpointProfile())
    with pytest.raises(InvalidArgument, match="dialect='openai' is not the profile's, which is 'northstar'"):
        strategy.validate()
    with pytest.raises(InvalidArgument, match="is not a dialect"):
        request_bodies(dialect="openay").validate()
    with pytest.raises(InvalidArgument, match="leaves anything of 'previous_input_messages'"):
        previous_input_messages(dialect="openai").validate()


@pytest.mark.parametrize("pack", ["plain", "variant", "item", "all", 4])
def test_covering_sets_keep_within_limits(pack: Any) -> None:
    sound = Validator(request_schema(SchemaVariant.GENERATION, dialect=LIMITED))
    cases = each_choice(pack, dialect=LIMITED)
    assert [sound.errors(case.body)[0].located for case in cases if not sound.is_valid(case.body)] == []
    if pack != "plain":
        missing = Branches.of_dialect(str(LIMITED)).report(case.body for case in cases).missing
        # Every other property of a window requires its unit, and it has one property at least.
        assert [name for name in missing if name not in ("window.unit=absent", "input=absent", "input=null")] == []


def test_single_factors_and_pairs_keep_within_limits() -> None:
    sound = Validator(request_schema(SchemaVariant.GENERATION, dialect=LIMITED))
    cases = [*one_factor(dialect=LIMITED), *pairwise_cases(dialect=LIMITED)]
    assert [sound.errors(case.body)[0].located for case in cases if not sound.is_valid(case.body)] == []


SMALLEST: list[tuple[str, Callable[[Any], bool], Any]] = [
    ("openai", lambda body: body.get("top_p") is not None, {"top_p": 0}),
    ("openresponses", lambda body: body.get("metadata"), {"metadata": {"_": ""}}),
    ("openresponses", lambda body: (body.get("temperature") or 0) > 1, {"temperature": 2}),
    ("vllm", lambda body: body.get("stop") == [], {"stop": []}),
    ("vllm", lambda body: isinstance(body["input"], str) and len(body["input"]) > 300, {"input": "0" * 301}),
    ("limits", lambda body: "numbers" in body, {"numbers": [10, 15]}),
    ("limits", lambda body: len(body.get("code", "")) == 5, {"code": "A0000"}),
    ("limits", lambda body: body.get("tree") not in (None, [], False, True), {"tree": [False]}),
    ("limits", lambda body: "to" in body.get("window", {}), {"window": {"unit": "token", "from": 0, "to": 0}}),
]
"""A dialect, what a faulty endpoint refuses, and what the plainest refused body has."""


@pytest.mark.slow(4)
@pytest.mark.parametrize(("dialect", "refused", "smallest"), SMALLEST, ids=[str(row[2]) for row in SMALLEST])
def test_failures_shrink_to_the_plainest_request(dialect: str, refused: Callable[[Any], bool], smallest: Any) -> None:
    place = str(LIMITED) if dialect == "limits" else dialect
    found = find(
        request_bodies(dialect=place),
        lambda body: bool(refused(body)),
        settings=settings(
            max_examples=20_000, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
        ),
    )
    plainest = sample(request_bodies(dialect=place), 1)[0]
    assert found == {**plainest, **smallest}

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import combinations, product
from typing import Any

import jsonschema_rs
import pytest
from hypothesis.errors import InvalidArgument

from rejoinder.contract import SchemaVariant, dialect_names, load_dialect, request_schema
from rejoinder.strategies import Branches, EndpointProfile, each_choice, variants
from rejoinder.strategies._conversation import called_by
from rejoinder.strategies.profile import served
from rejoinder.strategies.sets.systematic import one_factor, pairwise_cases

VALIDATOR = jsonschema_rs.Draft202012Validator(request_schema(SchemaVariant.GENERATION))
PACKS: list[Any] = ["variant", "item", "all", 8, 1]
PROFILES = [
    None,
    EndpointProfile(model="m"),
    EndpointProfile(unsupported_types=frozenset({"input_image", "custom"})),
]


@pytest.mark.parametrize("profile", PROFILES, ids=["whole", "model", "gaps"])
@pytest.mark.parametrize("pack", PACKS)
def test_every_branch_is_sent_and_every_body_valid(pack: Any, profile: EndpointProfile | None) -> None:
    cases = each_choice(pack, profile=profile)
    assert [case.id for case in cases if not VALIDATOR.is_valid(case.body)] == []
    branches = Branches() if profile is None else Branches(served(profile))
    assert branches.report(case.body for case in cases).missing == []


@pytest.mark.parametrize("dialect", dialect_names())
def test_every_branch_of_every_dialect_is_sent(dialect: str) -> None:
    missing = Branches.of_dialect(dialect).report(case.body for case in each_choice(dialect=dialect)).missing
    # A request without input continues a conversation, of which these sets have none.
    assert [name for name in missing if name not in ("input=absent", "input=null")] == []


@pytest.mark.parametrize("pack", ["plain", *PACKS])
def test_ids_are_unique_ascii_and_stable(pack: Any) -> None:
    cases = each_choice(pack)
    ids = [case.id for case in cases]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z0-9_.]+", id_) and not id_.endswith(".") for id_ in ids)
    assert all(case.intent.endswith(".") for case in cases)
    assert cases == each_choice(pack)


def test_bodies_are_not_shared() -> None:
    first = each_choice("variant")
    before = json.dumps([case.body for case in first])
    for case in first:
        _spoil(case.body)
    assert json.dumps([case.body for case in each_choice("variant")]) == before


def _spoil(value: Any) -> None:
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _spoil(inner)
    if isinstance(value, dict | list):
        value.clear()


def test_the_set_by_variant_has_one_plain_request_for_each_and_few_more() -> None:
    cases = each_choice("variant")
    plain = [case for case in cases if "item" in case.tags]
    assert [case.id for case in plain] == [f"item.{name}" for name in variants()]
    assert len(plain) == 44
    assert len(cases) <= 60


def test_known_ids() -> None:
    ids = {case.id for case in each_choice("item")}
    assert {
        "input.string",
        "item.message",
        "item.function_call_output.output.list.input_text",
        "item.computer_call.action.drag",
    } <= ids


def test_plain_requests_are_alike_only_where_the_contract_repeats_itself() -> None:
    by_body: dict[str, set[str]] = {}
    for case in each_choice("plain"):
        by_body.setdefault(json.dumps(case.body, sort_keys=True), set()).add(case.id.split(".")[1])
    assert all(len(types) == 1 for types in by_body.values())
    assert len(by_body) > 33


def _conversations() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    for pack in ("variant", "item", "all", 8):
        for case in each_choice(pack, profile=EndpointProfile(model="m")):
            if isinstance(case.body["input"], list):
                yield f"{pack}:{case.id}", case.body["input"]


def test_conversations_are_ones_that_a_client_could_have_had() -> None:
    for name, items in _conversations():
        assert items[0].get("role") in ("user", "system", "developer"), name
        assert items[-1].get("role") == "user" or called_by(items[-1]["type"]), name
        ids = [item["id"] for item in items if item.get("id") and item.get("type") not in ("item_reference", None)]
        ids = [id_ for id_ in ids if not id_.startswith("call_")]
        assert len(set(ids)) == len(ids), name
        open_calls: dict[str, set[str]] = {}
        for item in items:
            type_ = str(item.get("type"))
            question = called_by(type_)
            if type_ == "mcp_approval_response":
                assert item["approval_request_id"] in open_calls[question], name
            elif question:
                # Each output answers one call before it, and no two outputs the same one.
                call = item.get("call_id", item.get("id"))
                assert call in open_calls[question], name
                open_calls[question].remove(call)
            elif "call_id" in item:
                assert item["call_id"] not in open_calls.setdefault(type_, set()), name
                open_calls[type_].add(item["call_id"])
            elif type_ == "mcp_approval_request":
                open_calls.setdefault(type_, set()).add(item["id"])


def test_a_chosen_tool_is_declared() -> None:
    for case in each_choice("item"):
        choice = case.body.get("tool_choice")
        if isinstance(choice, dict) or choice == "required":
            assert case.body["tools"], case.id


def test_a_profile_shows_in_every_request() -> None:
    profile = EndpointProfile(model="m", max_output_tokens=3, fixed={"store": False})
    for case in each_choice("item", profile=profile):
        assert {"model": "m", "max_output_tokens": 3, "store": False}.items() <= case.body.items()
        assert "previous_response_id" not in case.body


@pytest.mark.parametrize("pack", [0, -1, "some"])
def test_a_pack_that_is_none_is_refused(pack: Any) -> None:
    with pytest.raises(InvalidArgument, match="pack"):
        each_choice(pack)


@pytest.mark.parametrize("profile", PROFILES, ids=["whole", "model", "gaps"])
def test_one_factor_covers_every_branch_by_single_changes(profile: EndpointProfile | None) -> None:
    cases = one_factor(profile=profile)
    assert [case.id for case in cases if not VALIDATOR.is_valid(case.body)] == []
    assert len({case.id for case in cases}) == len(cases)
    branches = Branches() if profile is None else Branches(served(profile))
    assert branches.report(case.body for case in cases).missing == []
    plain = cases[0].body
    for case in cases:
        if "field" in case.tags:
            changed = {name for name in case.body if name not in plain or case.body[name] != plain[name]}
            assert len(changed - {"tools"} or changed) == 1, case.id


def _state(body: dict[str, Any], name: str, levels: str) -> Any:
    if name not in body:
        return "absent"
    if levels == "value":
        return json.dumps(body[name], sort_keys=True)
    return "null" if body[name] is None and levels == "state" else "value"


@pytest.mark.parametrize("levels", ["presence", "state", "value"])
def test_pairwise_covers_every_pair_that_does_not_contradict_itself(levels: Any) -> None:
    cases = pairwise_cases(levels=levels)
    assert [case.id for case in cases if not VALIDATOR.is_valid(case.body)] == []
    names = sorted({name for case in cases for name in case.body} - {"input"})
    assert len(names) == 33
    found: dict[str, set[Any]] = {name: {_state(case.body, name, levels) for case in cases} for name in names}
    pairs = {
        (a, _state(case.body, a, levels), b, _state(case.body, b, levels))
        for case in cases
        for a, b in combinations(names, 2)
    }
    missing = {
        (a, b) for a, b in combinations(names, 2) for i, j in product(found[a], found[b]) if (a, i, b, j) not in pairs
    }
    # Only fields that constrain each other may lack a pair of their levels.
    exclusions = load_dialect().exclusions
    assert missing <= {("tool_choice", "tools"), *(tuple(sorted(one.fields)) for one in exclusions)}
    for case in cases:
        assert not any(one.applies(case.body) for one in exclusions)
        assert case.body.get("tools") or case.body.get("tool_choice") in (None, "auto", "none")


@pytest.mark.parametrize("dialect", dialect_names())
def test_no_set_has_fields_together_that_exclude_each_other(dialect: str) -> None:
    exclusions = load_dialect(dialect).exclusions
    branches = Branches.of_dialect(dialect)
    packed = each_choice("variant", dialect=dialect)
    for cases in (packed, one_factor(dialect=dialect), pairwise_cases(dialect=dialect, levels="state")):
        assert [(case.id, one.text) for case in cases for one in exclusions if one.applies(case.body)] == []
    assert [one for one in branches.report(case.body for case in packed).missing if not one.startswith("input")] == []


def test_pairwise_sets_stay_small() -> None:
    sizes = {levels: len(pairwise_cases(levels=levels)) for levels in ("presence", "state", "value")}
    assert sizes["presence"] <= 13
    assert sizes["state"] <= 25
    assert sizes["value"] <= 123


def test_pairwise_over_the_fields_of_items() -> None:
    cases = pairwise_cases(of="item", profile=EndpointProfile(model="m"))
    assert [case.id for case in cases if not VALIDATOR.is_valid(case.body)] == []
    assert {case.id.removeprefix("pair.").rpartition(".state.")[0] for case in cases} == set(
        variants(profile=EndpointProfile(model="m"))
    )

"""Plans: sizes, ids, bodies that are what their tags say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rejoinder.conformance.running.in_process import ManualClock, run_in_process
from rejoinder.conformance.running.plan import PLAN_NAMES, Plan, build_plan
from rejoinder.contract import SchemaVariant, dialect_names, load_dialect, load_rules, request_schema
from rejoinder.errors import UsageError
from rejoinder.model.exchange import Chunk, Exchange, Outcome, Request
from rejoinder.model.tags import FaultKind, Tag, with_fault, wrong_field_of
from rejoinder.sandbox import Sandbox
from rejoinder.validation import Validator
from rejoinder.wire.base_form import fit_body
from rejoinder.wire.client import encode_json
from rejoinder.wire.target import Target


def plan(name: str, dialect: str = "northstar", model: str | None = "m") -> Plan:
    return build_plan(name, load_dialect(dialect), model=model)


def reply(**usage: int) -> Exchange:
    body = encode_json({"usage": usage})
    return Exchange("x", Request("POST", "/v1/responses"), Outcome.COMPLETE, 200, chunks=(Chunk(0, body),))


def bodies(found: Plan) -> list[tuple[tuple[str, ...], Any]]:
    replies = {"uncapped": reply(output_tokens=100)}
    return [
        (planned.tags, planned.body(replies) if callable(planned.body) else planned.body)
        for case in found.cases
        for planned in case.requests
    ]


@pytest.mark.parametrize("dialect", dialect_names())
@pytest.mark.parametrize("name", PLAN_NAMES)
def test_valid_bodies_are_valid_beyond_dispute(name: str, dialect: str) -> None:
    spec = load_dialect(dialect)
    for tags, body in bodies(plan(name, dialect)):
        if "valid" in tags and body is not None:
            # Those made of replies are written in the usual form when they are sent.
            assert spec.sound_requests.errors(fit_body(body, spec.usual_form, {})) == []
            assert body["max_output_tokens"] >= load_dialect(dialect).request["min_output_tokens"]
            assert body["model"] == "m"
            assert [one.text for one in spec.exclusions if one.applies(body)] == []


def test_invalid_bodies_are_surely_invalid() -> None:
    permissive = Validator(request_schema(SchemaVariant.PERMISSIVE))
    # One request is wrong by its content type alone.
    found = [case for case in plan("full").cases if case.id != "refused.content-type"]
    invalid = [body for tags, body in bodies(Plan("full", tuple(found))) if "invalid" in tags]
    assert any(isinstance(body, bytes) for body in invalid)
    for body in invalid:
        if not isinstance(body, bytes) and not (isinstance(body, dict) and body.get("model") != "m"):
            assert permissive.errors(body) != []


@pytest.mark.parametrize("name", PLAN_NAMES)
def test_cases_have_unique_ascii_ids_and_intents(name: str) -> None:
    cases = plan(name).cases
    assert len({case.id for case in cases}) == len(cases)
    for case in cases:
        assert case.id.isascii()
        assert case.intent.endswith(".")
        roles = [planned.role for planned in case.requests]
        assert len(set(roles)) == len(roles)


def test_plans_grow() -> None:
    sizes = [plan(name).requests for name in PLAN_NAMES]
    assert sizes == sorted(sizes)
    assert 15 <= sizes[0] <= 18
    assert 100 <= sizes[1] <= 185
    assert all(plan(name).output_tokens > 0 for name in PLAN_NAMES)


def test_without_a_model_none_is_named() -> None:
    named = [body for tags, body in bodies(plan("quick", model=None)) if "valid" in tags and body and "model" in body]
    assert named == []


def test_no_request_id_is_sent_twice() -> None:
    given = [body.get("request_id") for _, body in bodies(plan("full")) if isinstance(body, dict)]
    sent = [name for name in given if isinstance(name, str)]
    assert sent
    assert len(set(sent)) == len(sent)


def test_a_cut_is_asked_for_only_when_the_answer_is_long_enough() -> None:
    [cut] = [case for case in plan("smoke").cases if case.id == "cut.story"]
    capped = cut.requests[1].body
    assert capped({"uncapped": reply(output_tokens=1)}) is None
    assert capped({"uncapped": reply(output_tokens=9)})["max_output_tokens"] == 4
    assert capped({"uncapped": reply(output_tokens=900)})["max_output_tokens"] == 16
    assert capped({"uncapped": reply()}) is None


def test_an_unknown_plan_is_told() -> None:
    with pytest.raises(UsageError, match='"fast" is not a test plan'):
        plan("fast")


@pytest.mark.parametrize("dialect", dialect_names())
def test_generated_cases_of_one_name_are_one_request_in_every_plan(dialect: str) -> None:
    quick, full = ({case.id: case for case in plan(name, dialect).cases} for name in ("quick", "full"))
    generated = [name for name in quick if name.startswith(("item.", "packed."))]
    assert generated
    for name in generated:
        if name in full:
            assert quick[name].requests[0].body == full[name].requests[0].body


def test_every_tag_is_declared() -> None:
    """A tag is one of ``Tag``, names a wrong field or the kind of a fault, or is a rule that its case was made for."""
    tags = {
        tag
        for name in PLAN_NAMES
        for dialect in dialect_names()
        for case in plan(name, dialect).cases
        for planned in case.requests
        for tag in planned.tags
    }
    declared = {*Tag, *load_rules(), *map(with_fault, FaultKind)}
    assert {tag for tag in tags if not wrong_field_of((tag,))} <= declared


def test_controls_hold_canaries_at_both_ends() -> None:
    clock, target = ManualClock(), Target("http://sandbox/v1/responses")
    found = plan("full", model=None)
    one = replace(found, cases=tuple(case for case in found.cases if case.id == "meaning.output-string"))
    [exchanges] = run_in_process(one, Sandbox("northstar", ("tool-outputs-dropped",), clock=clock), target, clock)
    texts = {exchange.role: exchange.request.json()["input"][0]["content"] for exchange in exchanges}
    assert texts["control"].startswith("The code word is")
    assert "\nThe code word is" in texts["control-stream"]

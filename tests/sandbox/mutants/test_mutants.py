"""Every operator finds places in a clean run, and its mutants differ from the clean sandbox there."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rejoinder.contract import load_dialect
from rejoinder.errors import UsageError
from rejoinder.model.exchange import Exchange, Request
from rejoinder.model.tags import Tag
from rejoinder.sandbox import Sandbox, post, sample_requests
from rejoinder.sandbox.mutants import OPERATORS, CleanRun, find_mutant, is_schema_valid, rerecorded

DIALECT = load_dialect("northstar")
HELLO = {"model": "parrot", "input": "Hello there, you", "temperature": 0.5}


@pytest.fixture(scope="module")
def clean() -> CleanRun:
    sandbox = Sandbox("northstar")
    return CleanRun(DIALECT, [answer(sandbox, one.request, one.case, *one.tags) for one in sample_requests()])


def answer(sandbox: Sandbox, request: Request, case: str = "case", *tags: str) -> Exchange:
    return sandbox.exchange(request, case=case, tags=tags)


def with_mutant(name: str) -> Sandbox:
    return Sandbox("northstar", variations=[find_mutant(name, "northstar")])


def created(sandbox: Sandbox, **fields: Any) -> Any:
    return answer(sandbox, post({**HELLO, **fields})).json()


def events(sandbox: Sandbox) -> list[Any]:
    body = answer(sandbox, post({**HELLO, "stream": True})).body.decode()
    return [json.loads(frame.partition("data: ")[2]) for frame in body.split("\n\n") if frame]


def types(sandbox: Sandbox) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events(sandbox)]


def test_operators_find_places_and_their_mutants_are_made_again_from_their_ids(clean: CleanRun) -> None:
    assert len(OPERATORS) > 30
    found = {name: operator.places(clean) for name, operator in OPERATORS.items()}
    assert sum(map(len, found.values())) > 2000
    for name, places in found.items():
        for place, seen in places.items():
            assert seen
            assert list(seen) == sorted(set(seen))
            mutant = find_mutant(f"{name}:{place}", "northstar")
            assert (mutant.id, mutant.operator, mutant.place) == (f"{name}:{place}", name, place)


@pytest.mark.parametrize("family", ["field-", "echo-", "event-", "header-", "operation-"])
def test_a_mutant_of_replies_changes_what_it_is_said_to_be_seen_at(clean: CleanRun, family: str) -> None:
    for name, operator in OPERATORS.items():
        if not name.startswith(family) or name in (
            "field-stale",
            "operation-stale",
            "operation-other",
            "event-swapped",
        ):
            continue
        for place, seen in list(operator.places(clean).items())[::7]:
            mutant = operator.mutant(place, "northstar")
            assert mutant.of_reply
            assert mutant.reply is not None
            for number in seen[:2]:
                old = clean.exchanges[number]
                new = rerecorded(old, mutant.reply, DIALECT)
                assert (new.body, new.status, new.headers) != (old.body, old.status, old.headers), mutant.id


def test_what_is_recorded_again_is_what_the_sandbox_sends(clean: CleanRun) -> None:
    for name in (
        "field-null:create/usage",
        "event-dropped:every/response.created",
        "header-dropped:create/content-type",
    ):
        sandbox = with_mutant(name)
        for sample, old in zip(sample_requests(), clean.exchanges, strict=True):
            sent = answer(sandbox, sample.request, sample.case, *sample.tags)
            mutant = find_mutant(name, "northstar")
            assert mutant.reply is not None
            recorded = rerecorded(old, mutant.reply, DIALECT)
            assert (sent.status, len(sent.body)) == (recorded.status, len(recorded.body))


def test_fields() -> None:
    whole = created(Sandbox("northstar"))
    usage = whole["usage"]
    text = whole["output"][0]["content"][0]["text"]

    def changed(name: str) -> Any:
        return created(with_mutant(f"{name}"))

    assert "usage" not in changed("field-deleted:create/usage")
    assert changed("field-deleted:create/output/[message]")["output"] == []
    assert changed("field-null:create/status")["status"] is None
    assert changed("field-retyped:create/usage/total_tokens")["usage"]["total_tokens"] == str(usage["total_tokens"])
    assert changed("field-emptied:create/output")["output"] == []
    assert changed("field-renamed:create/created_at")["createdAt"] == whole["created_at"]
    assert changed("field-borrowed:create/usage/input_tokens")["usage"]["input_tokens"] == usage["output_tokens"]
    assert changed("field-altered:create/status")["status"] in (
        "failed",
        "in_progress",
        "cancelled",
        "queued",
        "incomplete",
    )
    part = "create/output/[message]/content/[output_text]/text"
    assert text.startswith(changed(f"field-shortened:{part}")["output"][0]["content"][0]["text"])
    assert changed(f"field-doubled:{part}")["output"][0]["content"][0]["text"] == text + text
    reordered = changed(f"field-reordered:{part}")["output"][0]["content"][0]["text"]
    assert reordered.split() == text.split()[::-1]
    assert changed("echo-defaulted:create/temperature")["temperature"] == 1.0


def test_a_stale_field_is_that_of_the_reply_before() -> None:
    sandbox = with_mutant("field-stale:create/id")
    first, second, third = (created(sandbox)["id"] for _ in range(3))
    assert first == second != third


def test_a_mutant_is_limited_to_its_kind() -> None:
    name = "field-deleted:response.completed/response/usage"
    assert created(with_mutant(name)) == created(Sandbox("northstar"))
    [*others, last] = events(with_mutant(name))
    assert "usage" not in last["response"]
    assert all("usage" in event["response"] for event in others if "response" in event)


def test_events_move_and_their_numbers_stay_in_order() -> None:
    clean = types(Sandbox("northstar"))
    assert types(with_mutant("event-dropped:every/response.output_text.delta")) == [
        one for one in clean if one != "output_text.delta"
    ]
    assert len(types(with_mutant("event-doubled:first/response.output_text.delta"))) == len(clean) + 1
    swapped = types(with_mutant("event-swapped:every/response.created"))
    assert swapped[:2] == [clean[1], clean[0]]
    assert types(with_mutant("event-delayed:every/response.created"))[-1] == "created"
    for name in ("event-dropped:last/response.output_text.delta", "event-delayed:every/response.in_progress"):
        numbers = [event["sequence_number"] for event in events(with_mutant(name))]
        assert numbers == list(range(len(numbers)))


def test_a_branch_is_refused_and_nothing_else() -> None:
    for status in (400, 422, 500):
        sandbox = with_mutant(f"refused-{status}:temperature=value")
        assert answer(sandbox, post(HELLO)).status == status
        assert answer(sandbox, post({"model": "parrot", "input": "Hi"})).status == 200


def test_input_that_is_not_heard_is_not_repeated_and_costs_no_tokens() -> None:
    parts = [{"type": "input_text", "text": "apple"}, {"type": "input_image", "detail": "auto", "image_url": "data:,x"}]
    fields = {"input": [{"type": "message", "role": "user", "content": parts}]}
    branch = "input[array][][Message].content[]=ResponseInputImageParam"
    with_image, without = (
        created(Sandbox("northstar"), **fields),
        created(with_mutant(f"input-unheard:{branch}"), **fields),
    )
    assert without["usage"]["input_tokens"] < with_image["usage"]["input_tokens"]
    assert without["output"][0]["content"][0]["text"] == "apple"


def test_an_ignored_parameter_is_repeated() -> None:
    fields = {"tools": [{"type": "function", "name": "f", "parameters": {}}], "tool_choice": "required"}
    heard = created(Sandbox("northstar"), **fields)
    ignored = created(with_mutant("parameter-ignored:tool_choice=value"), **fields)
    assert [item["type"] for item in heard["output"]] == ["function_call"]
    assert [item["type"] for item in ignored["output"]] == ["message"]
    assert ignored["tool_choice"] == "required"


def test_what_is_kept_is_lost_repeated_or_of_another() -> None:
    def retrieved(name: str) -> Any:
        sandbox = with_mutant(name)
        made = [created(sandbox), created(sandbox, input="Another text")]
        found = answer(sandbox, Request("GET", f"/v1/responses/{made[1]['id']}", (), b"")).json()
        return made, found

    made, found = retrieved("kept-lost:output@plain")
    assert made[1]["output"]
    assert not found["output"]
    made, found = retrieved("kept-repeated:output@always")
    assert found["output"] == made[1]["output"] * 2
    made, found = retrieved("kept-elsewhere:output@always")
    assert found["output"] == made[0]["output"]
    made, found = retrieved("kept-of-another:response.temperature@always")
    assert found == made[1]
    made, found = retrieved("kept-unfinished:response.status@always")
    assert (made[1]["status"], found["status"]) == ("completed", "in_progress")
    made, found = retrieved("transition:not-stored@plain")
    assert "error" in found


@pytest.mark.parametrize(
    ("name", "status"),
    [("operation-404:retrieve", 404), ("operation-500:retrieve", 500), ("operation-202:retrieve", 202)],
)
def test_an_operation_is_refused(name: str, status: int) -> None:
    sandbox = with_mutant(name)
    made = created(sandbox)
    assert answer(sandbox, Request("GET", f"/v1/responses/{made['id']}", (), b"")).status == status


def test_an_operation_returns_an_earlier_reply() -> None:
    for name, of in (("operation-stale:create", "create"), ("operation-other:retrieve", "retrieve")):
        sandbox = with_mutant(name)
        made = [created(sandbox), created(sandbox, input="Another text")]
        found = answer(sandbox, Request("GET", f"/v1/responses/{made[1]['id']}", (), b"")).json()
        assert made[0] == made[1] if of == "create" else found == made[1]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("field-delete:create/usage", '"field-delete" is not an operator'),
        ("field-deleted:create", "names no field"),
        ("echo-defaulted:create/usage", "repeats no parameter"),
        ("event-dropped:second/response.created", "names no event"),
        ("refused-400:temprature=value", "is no branch"),
        ("kept-lost:output", "names no condition"),
        ("kept-lost:usage@always", "names nothing that is kept"),
        ("kept-unfinished:output@always", "names no field of a response"),
        ("transition:delete", "names no transition"),
        ("header-dropped:create", "names no header"),
    ],
)
def test_what_is_no_mutant_is_refused(name: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        find_mutant(name, "northstar")


def test_replies_are_valid_by_the_schemas_or_not(clean: CleanRun) -> None:
    assert all(is_schema_valid(exchange, DIALECT) for exchange in clean.exchanges)
    exchange = answer(Sandbox("northstar"), post(HELLO), "case", Tag.VALID)
    for name, valid in (("field-deleted:create/id", False), ("field-altered:create/created_at", True)):
        mutant = find_mutant(name, "northstar")
        assert mutant.reply is not None
        assert is_schema_valid(rerecorded(exchange, mutant.reply, DIALECT), DIALECT) is valid

"""Memory: what counts as lost, what a weak model is forgiven, and what may never come back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rejoinder.conformance.judgement import judge
from rejoinder.conformance.judging.turns import own_items
from rejoinder.model.exchange import Chunk, Exchange, Outcome, Request
from rejoinder.model.verdict import Status, Verdict

WORD, OTHER = "quartz-1234", "saffron-4321"
LINE = f"The code word is {WORD}."


def told(
    role: str,
    text: str,
    *,
    case: str = "meaning.slot",
    tags: tuple[str, ...] = ("MEM-01",),
    status: int = 200,
    state: str = "completed",
    id: str = "r",
    method: str = "POST",
    path: str = "/v1/responses",
    body: str | None = None,
    **request: Any,
) -> Exchange:
    part = {"type": "output_text", "text": text, "annotations": []}
    message = {"type": "message", "id": "m", "role": "assistant", "content": [part]}
    response = {"id": id, "object": "response", "status": state, "output": [message]}
    reply = response if status == 200 else {"error": {"message": "No."}}
    return Exchange(
        id=f"{case}/{role}",
        request=Request(method, path, (), json.dumps(request).encode()),
        outcome=Outcome.COMPLETE,
        status=status,
        headers=(("content-type", "application/json"),),
        chunks=(Chunk(0.0, (body or json.dumps(reply)).encode()),),
        case=case,
        role=role,
        tags=tags,
    )


def verdict(rule: str, *exchanges: Exchange) -> Verdict:
    # The dialect in which most of these rules are MUST.
    [found] = judge(exchanges, "openai", select=rule)
    return found


def slot(plain: str, stream: str, again: str, control: str, other: str, **fields: Any) -> list[Exchange]:
    answers = {"plain": plain, "stream": stream, "again": again, "confirm": again}
    asked = [told(role, text, instructions=LINE, input="?", **fields) for role, text in answers.items()]
    controls = {"control": control, "control-stream": other}
    return [*asked, *(told(role, text, input=f"{LINE} ?") for role, text in controls.items())]


@pytest.mark.parametrize(
    ("answers", "status"),
    [
        ((WORD, "?", "?", "?", "?"), Status.PASS),
        (("?", "?", WORD.upper(), "?", "?"), Status.PASS),
        (("?", "?", "?", WORD, WORD), Status.FAIL),
        (("?", "?", "?", WORD, "?"), Status.DECLINED),
        (("?", "?", "?", "?", "?"), Status.DECLINED),
    ],
)
def test_a_slot_is_lost_when_every_answer_lacks_its_word_and_the_controls_have_it(
    answers: tuple[str, str, str, str, str], status: Status
) -> None:
    assert verdict("MEM-01", *slot(*answers)).status is status


def test_one_answer_and_cut_answers_are_not_enough() -> None:
    alone = [x for x in slot("?", "?", "?", WORD, WORD) if x.role not in ("stream", "again", "confirm")]
    assert verdict("MEM-01", *alone).status is Status.DECLINED
    cut = slot("?", "?", "?", WORD, WORD, state="incomplete")
    assert verdict("MEM-01", *cut).status is Status.DECLINED


def test_a_slot_that_is_refused_is_not_lost() -> None:
    assert verdict("MEM-01", *slot("", "", "", WORD, WORD, status=400)).status is Status.NOT_APPLICABLE


def history(*outputs: str) -> list[dict[str, Any]]:
    return [{"type": "function_call_output", "call_id": "c", "output": text} for text in outputs]


@pytest.mark.parametrize(
    ("oslo", "cairo", "controls", "status"),
    [
        (WORD, OTHER, ("", ""), Status.PASS),
        (OTHER, WORD, (WORD, OTHER), Status.FAIL),
        # It takes the word that was told last for the right one.
        (WORD, WORD, (OTHER, OTHER), Status.DECLINED),
        (OTHER, OTHER, (OTHER, OTHER), Status.DECLINED),
        ("?", "?", ("?", "?"), Status.DECLINED),
    ],
)
def test_pairs_are_lost_when_both_calls_are_wrong(
    oslo: str, cairo: str, controls: tuple[str, str], status: Status
) -> None:
    tags = ("MEM-06",)
    said = {"oslo": oslo, "cairo": cairo}
    exchanges = [told(role, text, tags=tags, input=history(OTHER, WORD)) for role, text in said.items()]
    for role, control in zip(said, controls, strict=True):
        exchanges.append(told(f"{role}-again", said[role], tags=tags, input=history(OTHER, WORD)))
        exchanges.append(told(f"{role}-control", control, tags=tags, input=history(WORD, OTHER)))
    assert verdict("MEM-06", *exchanges).status is status


def test_words_of_other_requests_are_leaks() -> None:
    first = told("first", "OK", id="one", input=LINE)
    assert verdict("MEM-13", first, told("second", WORD, id="two", input=OTHER)).status is Status.FAIL
    # Its own words may come back, those of the chain, and those of nobody.
    for second in (
        told("second", OTHER, id="two", input=OTHER),
        told("second", WORD, id="two", input=OTHER, previous_response_id="one"),
        told("second", "walnut-1111", id="two", input=OTHER),
    ):
        assert verdict("MEM-13", first, second).status is Status.PASS
    assert verdict("MEM-13", first, told("second", WORD, id="two", input="Hi")).status is Status.NOT_APPLICABLE


def test_a_leak_may_be_anywhere_in_a_reply() -> None:
    first, second = told("first", "OK", id="one", input=LINE), told("second", "OK", id="two", input=OTHER)
    get = told("get", WORD, method="GET", path="/v1/responses/one")
    assert verdict("MEM-13", first, second, get).status is Status.PASS
    strange = told("get", WORD, method="GET", path="/v1/responses/two")
    assert verdict("MEM-13", first, second, strange).status is Status.FAIL
    refused = told("refused", "", status=400, body=f'{{"error": "{WORD}"}}', input="?")
    assert verdict("MEM-13", first, second, refused).status is Status.FAIL


@pytest.mark.parametrize(
    ("status", "text", "found"),
    [(404, "", Status.PASS), (400, "", Status.PASS), (200, WORD, Status.WARN), (200, "?", Status.WARN)],
)
def test_the_deleted_is_not_continued(status: int, text: str, found: Status) -> None:
    first = told("first", "OK", id="one", input=LINE)
    again = told("continued", text, status=status, tags=("MEM-14",), input="?", previous_response_id="one")
    assert verdict("MEM-14", first, again).status is found


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [("OK", "?", Status.PASS), ("OK", WORD, Status.FAIL), (f"OK, {WORD}", WORD, Status.PASS)],
)
def test_instructions_end_with_their_turn(before: str, after: str, found: Status) -> None:
    first = told("first", before, id="one", instructions=LINE, input="?")
    second = told("second", after, tags=("MEM-15",), input="?", previous_response_id="one")
    assert verdict("MEM-15", first, second).status is found


COPIED = {"type": "message", "id": "msg_1", "role": "assistant", "content": [{"type": "output_text", "text": LINE}]}


@pytest.mark.parametrize("with_id", [True, False])
def test_a_copy_of_the_input_in_the_output_is_no_answer(with_id: bool) -> None:
    """An endpoint that puts the input's assistant message into its output has not shown it to the model."""
    copied = COPIED if with_id else {name: value for name, value in COPIED.items() if name != "id"}
    own = {"type": "message", "id": "m", "role": "assistant", "content": [{"type": "output_text", "text": "No idea."}]}
    body = json.dumps({"id": "r", "object": "response", "status": "completed", "output": [copied, own]})
    fields: dict[str, Any] = {"tags": ("MEM-04",), "body": body, "input": [copied, {"role": "user", "content": "?"}]}
    asked = [told(role, "", **fields) for role in ("plain", "stream", "again", "confirm")]
    controls = [told(role, WORD, tags=("MEM-04",), input=f"{LINE} ?") for role in ("control", "control-stream")]
    assert verdict("MEM-04", *asked, *controls).status is Status.FAIL
    assert verdict("MEM-04", *asked[:1]).status is Status.DECLINED
    assert own_items(fields["input"], [own]) == [own]


def test_an_answer_in_the_words_of_the_input_is_an_answer() -> None:
    given = [{"role": "assistant", "content": LINE}, {"role": "user", "content": "?"}]
    assert verdict("MEM-04", told("plain", LINE, tags=("MEM-04",), input=given)).status is Status.PASS


def test_a_turn_after_one_with_an_item_reference_may_know_what_the_item_says() -> None:
    items = [{"type": "item_reference", "id": "m"}, {"role": "user", "content": "Go on."}]
    earlier = told("first", "OK", case="a", id="r1", input=LINE)
    referring = told("second", "OK", case="b", id="r2", input=items)
    last = told("third", WORD, case="b", id="r3", input=f"Say {OTHER}.", previous_response_id="r2")
    assert verdict("MEM-13", earlier, referring, last).status is Status.PASS
    unrelated = told("third", WORD, case="b", id="r3", input=f"Say {OTHER}.")
    assert verdict("MEM-13", earlier, referring, unrelated).status is Status.FAIL

"""Which requests are related, what of their responses is compared, and what is left alone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rejoinder.conformance.judgement import judge
from rejoinder.model.exchange import Chunk, Exchange, Outcome, Request
from rejoinder.model.tags import Tag
from rejoinder.model.verdict import Status, Verdict

TEXT = "Name three colours."
MESSAGES: dict[str, Any] = {"input": [{"role": "user", "content": TEXT}]}
STRING: dict[str, Any] = {"input": TEXT}
PARTS: dict[str, Any] = {
    "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": TEXT}]}]
}
TOOL: dict[str, Any] = {"type": "function", "name": "f", "parameters": {"type": "object"}}


def said(text: str) -> list[dict[str, Any]]:
    return [{"type": "message", "id": "m", "role": "assistant", "content": [{"type": "output_text", "text": text}]}]


def sent(
    id: str,
    request: dict[str, Any] | bytes,
    *,
    case: str = "c",
    http: int = 200,
    tags: tuple[str, ...] = (),
    **fields: Any,
) -> Exchange:
    """Return a request with the response object that it got: completed, with the given fields."""
    response = {"id": id, "object": "response", "status": "completed", "model": "m", "output": said("Red."), **fields}
    return Exchange(
        id=id,
        request=Request(
            "POST", "/v1/responses", (), request if isinstance(request, bytes) else json.dumps(request).encode()
        ),
        outcome=Outcome.COMPLETE,
        status=http,
        headers=(("content-type", "application/json"),),
        chunks=(Chunk(0.0, json.dumps(response if http == 200 else {"error": {"message": "No."}}).encode()),),
        case=case,
        role=id,
        tags=tags,
    )


def fetched(id: str, of: str, **fields: Any) -> Exchange:
    """Return the retrieval of a response."""
    response = {"id": of, "object": "response", "status": "completed", "model": "m", "output": said("Red."), **fields}
    return Exchange(
        id=id,
        request=Request("GET", f"/v1/responses/{of}"),
        outcome=Outcome.COMPLETE,
        status=200,
        headers=(("content-type", "application/json"),),
        chunks=(Chunk(0.0, json.dumps(response).encode()),),
        case="c",
        role=id,
    )


def verdict(rule: str, *exchanges: Exchange) -> Verdict:
    [found] = judge(exchanges, "northstar", select=rule)
    return found


def pointers(found: Verdict) -> list[str]:
    return [finding.evidence.pointer for finding in found.findings]


@pytest.mark.parametrize("other", [STRING, PARTS, {**MESSAGES, "request_id": "r"} | STRING])
@pytest.mark.parametrize("case", ["c", "another"])
def test_one_meaning_of_input_has_one_response(other: dict[str, Any], case: str) -> None:
    right = verdict("REL-01", sent("a", MESSAGES, top_p=1.0), sent("b", other, case=case, top_p=1.0))
    assert right.status is Status.PASS
    wrong = verdict("REL-01", sent("a", MESSAGES, top_p=1.0), sent("b", other, case=case, top_p=0.5))
    assert pointers(wrong) == ["/top_p"]
    assert wrong.findings[0].evidence.others == ("a",)


@pytest.mark.parametrize(
    ("others", "status"),
    [((400,), Status.WARN), ((500,), Status.WARN), ((429,), Status.NOT_APPLICABLE), ((200,), Status.PASS)],
)
def test_another_form_of_input_is_accepted_alike(others: tuple[int], status: Status) -> None:
    assert verdict("REL-01", sent("a", MESSAGES), sent("b", STRING, http=others[0])).status is status


@pytest.mark.parametrize(
    "other",
    [
        {"input": "Another text."},
        {**STRING, "temperature": 0.5},
        {"input": [{"role": "user", "content": TEXT, "id": "x"}]},
        {"input": [{"role": "developer", "content": TEXT}]},
    ],
)
def test_requests_with_different_meanings_are_not_compared(other: dict[str, Any]) -> None:
    assert verdict("REL-01", sent("a", MESSAGES), sent("b", other, top_p=0.5)).status is Status.NOT_APPLICABLE


@pytest.mark.parametrize("tag", [Tag.INVALID, Tag.EDGE, Tag.WRONG_KEY, Tag.SECOND_TENANT, Tag.UNJUDGED])
def test_requests_that_are_wrong_on_purpose_are_not_compared(tag: Tag) -> None:
    found = verdict("REL-01", sent("a", MESSAGES), sent("b", STRING, tags=(tag,), top_p=0.5))
    assert found.status is Status.NOT_APPLICABLE


@pytest.mark.parametrize(
    "fields",
    [
        {"created_at": 9, "completed_at": 10, "service_tier": "flex", "vendor_field": 7},
        {"top_logprobs": None, "metadata": {}},
        {"output": said("Blue."), "status": "incomplete", "usage": None},
    ],
)
def test_what_may_vary_is_no_problem(fields: dict[str, Any]) -> None:
    assert verdict("REL-01", sent("a", MESSAGES), sent("b", STRING, **fields)).status is Status.PASS


def test_fields_that_one_response_lacks_differ() -> None:
    assert pointers(verdict("REL-01", sent("a", MESSAGES, instructions="Hi."), sent("b", STRING))) == ["/instructions"]


@pytest.mark.parametrize(
    ("temperature", "texts", "found"),
    [
        (0, ("Red.", "Red.", "Blue."), ["/output/0/content/0/text"]),
        (0, ("Red.", "Blue.", "Green."), []),
        (0, ("Red.", "Red.", "Red."), []),
        (1, ("Red.", "Red.", "Blue."), []),
    ],
)
@pytest.mark.parametrize("cases", [("c", "c", "c"), ("c", "d", "e")])
def test_output_is_compared_with_one_that_was_repeated(
    temperature: int, texts: tuple[str, str, str], found: list[str], cases: tuple[str, str, str]
) -> None:
    requests = [{**form, "temperature": temperature} for form in (MESSAGES, MESSAGES, STRING)]
    exchanges = [
        sent(f"{number}", request, case=case, output=said(text))
        for number, (request, text, case) in enumerate(zip(requests, texts, cases, strict=True))
    ]
    assert pointers(verdict("REL-01", *exchanges)) == found


@pytest.mark.parametrize(
    ("one", "other", "fields", "found"),
    [
        ({}, {"temperature": None}, {"top_p": 0.5}, ["/top_p"]),
        ({}, {"temperature": None}, {"temperature": None}, []),
        ({}, {"temperature": None}, {"temperature": 0.5}, ["/temperature"]),
        ({}, {"parallel_tool_calls": True}, {"temperature": 0.5}, ["/temperature"]),
        ({"metadata": {"a": None}}, {"metadata": {}}, {"top_p": 0.5}, None),
        ({}, {"truncation": "auto"}, {"top_p": 0.5}, None),
        # Without tools another default may hold.
        ({}, {"tool_choice": "auto"}, {"top_p": 0.5}, None),
        ({"tools": [TOOL]}, {"tools": [TOOL], "tool_choice": "auto"}, {"top_p": 0.5}, ["/top_p"]),
    ],
)
def test_null_and_defaults_are_the_same_as_absent(
    one: dict[str, Any], other: dict[str, Any], fields: dict[str, Any], found: list[str] | None
) -> None:
    common: dict[str, Any] = {"temperature": 1.0, "top_p": 1.0}
    seen = verdict(
        "REL-02", sent("a", {**MESSAGES, **one}, **common), sent("b", {**MESSAGES, **other}, **common | fields)
    )
    assert pointers(seen) == (found or [])
    assert (seen.status is Status.NOT_APPLICABLE) is (found is None)


@pytest.mark.parametrize(("strict", "found"), [(None, []), (True, ["/text/format/strict"])])
def test_a_repeated_null_may_stand_where_an_absent_field_has_a_default(strict: bool | None, found: list[str]) -> None:
    plain = {"type": "json_schema", "name": "n", "schema": {}}
    one, other = ({"text": {"format": shape}} for shape in (plain, {**plain, "strict": None}))
    filled, repeated = ({"format": {**plain, "strict": value}} for value in (False, strict))
    seen = verdict(
        "REL-02", sent("a", {**MESSAGES, **one}, text=filled), sent("b", {**MESSAGES, **other}, text=repeated)
    )
    assert (pointers(seen), seen.judged) == (found, 1)


def test_the_order_of_fields_does_not_matter() -> None:
    first, second = b'{"input": "Hi", "store": true}', b'{ "store":true, "input":"H\\u0069" }'
    assert pointers(verdict("REL-03", sent("a", first, top_p=1.0), sent("b", second, top_p=0.5))) == ["/top_p"]
    assert verdict("REL-03", sent("a", first, top_p=1.0), sent("b", first, top_p=0.5)).status is Status.NOT_APPLICABLE


def test_storing_changes_store_only() -> None:
    stored, unstored = sent("a", MESSAGES, store=True, top_p=1.0), {**MESSAGES, "store": False}
    assert verdict("REL-04", stored, sent("b", unstored, store=False, top_p=1.0)).status is Status.PASS
    assert pointers(verdict("REL-04", stored, sent("b", unstored, store=False, top_p=0.5))) == ["/top_p"]


def test_a_background_response_is_compared_once_it_has_ended() -> None:
    queued = sent("b", {**MESSAGES, "background": True}, status="queued", output=[], background=True)
    plain = sent("a", MESSAGES, top_p=1.0, background=False)
    assert verdict("REL-05", plain, queued).status is Status.NOT_APPLICABLE
    found = verdict("REL-05", plain, queued, fetched("g", "b", background=True, top_p=0.5))
    assert [(finding.evidence.pointer, finding.evidence.exchange) for finding in found.findings] == [("/top_p", "g")]


@pytest.mark.parametrize(("temperature", "found"), [(1.0, []), (0.5, ["/temperature"])])
def test_a_history_is_the_same_by_id_and_as_input(temperature: float, found: list[str]) -> None:
    answer, more = {"role": "assistant", "content": "Red."}, {"role": "user", "content": "More."}
    first = sent("a", STRING)
    chained = sent("b", {"input": "More.", "previous_response_id": "a"}, previous_response_id="a", temperature=1.0)
    inline = sent("d", {"input": [*MESSAGES["input"], answer, more]}, temperature=temperature)
    own = sent("e", {"input": [*PARTS["input"], *said("Red."), more]}, temperature=temperature)
    assert pointers(verdict("REL-06", first, inline, chained)) == found
    assert pointers(verdict("REL-06", first, own, chained)) == found
    assert verdict("REL-06", first, chained).status is Status.NOT_APPLICABLE


@pytest.mark.parametrize("kind", ["reasoning", "vendor:note", None])
def test_a_history_that_may_lack_an_item_is_not_compared(kind: str | None) -> None:
    output = [{"type": kind, "id": "r", "summary": []}, *said("Red.")]
    first = sent("a", STRING, output=output)
    chained = sent("b", {"input": "More.", "previous_response_id": "a"}, temperature=1.0)
    inline = sent("d", {"input": [*MESSAGES["input"], *output, {"role": "user", "content": "More."}]}, temperature=0.5)
    assert verdict("REL-06", first, inline, chained).status is Status.NOT_APPLICABLE


def test_a_tool_is_repeated_alike_beside_others() -> None:
    other = {**TOOL, "name": "g"}
    alone = sent("a", {**STRING, "tools": [TOOL]}, tools=[{**TOOL, "strict": True}])
    request = {**STRING, "tools": [other, TOOL]}
    right = sent("b", request, case="d", tools=[other, {**TOOL, "strict": True}])
    wrong = sent("b", request, case="d", tools=[other, {**TOOL, "strict": False}])
    fewer = sent("b", request, case="d", tools=[TOOL])
    assert verdict("REL-07", alone, right).status is Status.PASS
    assert pointers(verdict("REL-07", alone, wrong)) == ["/tools/1/strict"]
    assert verdict("REL-07", alone, fewer).status is Status.NOT_APPLICABLE


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"created_at": 7, "top_p": 1.0}, []),
        ({"created_at": 9}, ["/created_at"]),
        ({"created_at": 7, "top_p": 0.5}, ["/top_p"]),
        # What the work settles, and what the first response leaves open.
        ({"created_at": 7, "completed_at": 9, "usage": {"input_tokens": 3}, "max_output_tokens": 64}, []),
    ],
)
def test_a_background_response_keeps_its_fields(fields: dict[str, Any], found: list[str]) -> None:
    queued = sent(
        "b",
        {**MESSAGES, "background": True},
        status="queued",
        output=[],
        created_at=7,
        top_p=1.0,
        max_output_tokens=None,
    )
    assert pointers(verdict("REL-08", queued, fetched("g", "b", **fields))) == found
    assert verdict("REL-08", sent("b", MESSAGES, created_at=7), fetched("g", "b", **fields)).status is (
        Status.NOT_APPLICABLE
    )

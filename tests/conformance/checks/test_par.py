"""Parameters: what shows that one has its effect, and when nothing can be shown."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from rejoinder.conformance.judgement import judge
from rejoinder.model.exchange import Chunk, Exchange, Outcome, Request
from rejoinder.model.verdict import Status, Verdict


def told(
    role: str,
    text: str = "Hi.",
    /,
    *,
    status: int = 200,
    tags: tuple[str, ...] = (),
    cached: int = 0,
    method: str = "POST",
    path: str = "/v1/responses",
    id: str = "r",
    fields: dict[str, Any] | None = None,
    **request: Any,
) -> Exchange:
    part = {"type": "output_text", "text": text, "annotations": []}
    message = {"type": "message", "id": "m", "role": "assistant", "content": [part]}
    usage = {"input_tokens": 99, "input_tokens_details": {"cached_tokens": cached}, "output_tokens": 1}
    response = {"id": id, "object": "response", "status": "completed", "output": [message], "usage": usage}
    reply = {**response, **(fields or {})} if status == 200 else {"error": {"message": "No."}}
    return Exchange(
        id=role,
        request=Request(method, path, (), json.dumps({"input": "?", **request}).encode()),
        outcome=Outcome.COMPLETE,
        status=status,
        headers=(("content-type", "application/json"),),
        chunks=(Chunk(0.0, json.dumps(reply).encode()),),
        case="c",
        role=role,
        tags=tags,
    )


def verdict(rule: str, *exchanges: Exchange, dialect: str = "northstar") -> Verdict:
    [found] = judge(exchanges, dialect, select=rule)
    return found


@pytest.mark.parametrize(
    ("status", "identity", "after", "found"),
    [
        (400, "", "Hi.", Status.PASS),
        (200, "fresh", "Hi.", Status.PASS),
        (200, "name", "Hi.", Status.WARN),
        (200, "fresh", "Other.", Status.WARN),
        (500, "", "Hi.", Status.WARN),
        (429, "", "Hi.", Status.NOT_APPLICABLE),
    ],
)
def test_a_taken_request_id(status: int, identity: str, after: str, found: Status) -> None:
    exchanges = [
        told("first", id="name", request_id="name"),
        told("get", method="GET", path="/v1/responses/name", id="name"),
        told("second", status=status, id=identity, tags=("taken",), request_id="name"),
        told("get-after", after, method="GET", path="/v1/responses/name", id="name"),
    ]
    assert verdict("PAR-01", *exchanges).status is found
    assert verdict("RSP-02", *exchanges).status is Status.PASS


@pytest.mark.parametrize(
    ("again", "salted", "found"),
    [(64, 0, Status.PASS), (64, 64, Status.FAIL), (0, 0, Status.NOT_APPLICABLE)],
)
def test_a_fresh_salt_finds_nothing(again: int, salted: int, found: Status) -> None:
    exchanges = told("once"), told("again", cached=again), told("salted", cached=salted, cache_salt="s")
    claimed = told("claimed", status=400, cache_salt={"text": "none"})
    assert verdict("PAR-02", *exchanges, claimed).status is found


def test_a_field_that_the_endpoint_does_not_know_is_not_tested() -> None:
    ignored = told("claimed", cache_salt={"text": "none"})
    exchanges = told("once"), told("again", cached=64), told("salted", cached=64, cache_salt="s")
    assert verdict("PAR-02", *exchanges, ignored).status is Status.NOT_APPLICABLE
    named = told("plain", id="other", request_id="name")
    assert verdict("PAR-06", named, told("claimed", request_id={})).status is Status.NOT_APPLICABLE
    assert verdict("PAR-06", named, told("claimed", status=400, request_id={})).status is Status.FAIL
    kept = told("plain", id="name", request_id="name")
    assert verdict("PAR-06", kept, told("claimed", status=400, request_id={})).status is Status.PASS


def test_without_a_store_a_taken_request_id_overwrites_nothing() -> None:
    missing = told("get", status=404, method="GET", path="/v1/responses/name")
    second = told("second", id="name", tags=("taken",), request_id="name")
    exchanges = told("first", id="name", request_id="name"), missing, second
    assert verdict("PAR-01", *exchanges).status is Status.NOT_APPLICABLE


@pytest.mark.parametrize(
    ("plain", "salted", "found"),
    [
        (("A", "A"), ("A", "A"), Status.PASS),
        (("A", "A"), ("B", "A"), Status.PASS),
        (("A", "A"), ("B", "B"), Status.WARN),
        (("A", "B"), ("C", "C"), Status.DECLINED),
    ],
)
def test_salts_change_no_answer(plain: tuple[str, str], salted: tuple[str, str], found: Status) -> None:
    roles = ("once", "again", "salted", "salted-otherwise")
    exchanges = [told(role, text) for role, text in zip(roles, (*plain, *salted), strict=True)]
    assert verdict("PAR-03", *exchanges).status is found


@pytest.mark.parametrize(
    ("sure", "greedy", "found"),
    [
        ("AAA", "AAA", Status.PASS),
        ("AAA", "BBB", Status.PASS),
        ("AAA", "ABA", Status.WARN),
        ("ABA", "CDE", Status.DECLINED),
    ],
)
def test_top_k_has_its_effect(sure: str, greedy: str, found: Status) -> None:
    answers = {f"sure-{n}": text for n, text in enumerate(sure, 1)}
    answers |= {f"greedy-{n}": text for n, text in enumerate(greedy, 1)}
    assert verdict("ERR-08", *(told(role, text) for role, text in answers.items())).status is found


@pytest.mark.parametrize(
    ("sure", "pushed", "found", "findings"),
    [("AAA", "B", Status.PASS, 0), ("AAA", "A", Status.PASS, 1), ("ABA", "A", Status.DECLINED, 0)],
)
def test_logit_bias_has_its_effect(sure: str, pushed: str, found: Status, findings: int) -> None:
    answers = {f"sure-{n}": text for n, text in enumerate(sure, 1)} | {"pushed": pushed}
    seen = verdict("PAR-07", *(told(role, text) for role, text in answers.items()))
    assert (seen.status, len(seen.findings)) == (found, findings)


@pytest.mark.parametrize(
    ("text", "request_fields", "found"),
    [
        ("Hi.", {}, Status.PASS),
        ("Hi.<|im_end|>", {}, Status.WARN),
        ("Hi.</s>\n", {}, Status.WARN),
        ("<|im_end|> ends a turn.", {}, Status.PASS),
        ("Hi.<|im_end|>", {"skip_special_tokens": False}, Status.NOT_APPLICABLE),
        ("Hi.<|im_end|>", {"input": "Say Hi.<|im_end|>"}, Status.PASS),
    ],
)
def test_end_marks(text: str, request_fields: dict[str, Any], found: Status) -> None:
    assert verdict("PAR-04", told("plain", text, **request_fields)).status is found


def test_large_errors_are_told() -> None:
    small = told("plain", status=400)
    assert verdict("ERR-10", small).status is Status.PASS
    body = b'{"error": {"message": "%b"}}' % (b"x" * 9000)
    large = replace(small, chunks=(Chunk(0.0, body),))
    assert verdict("ERR-10", large).status is Status.WARN


@pytest.mark.parametrize(
    ("back", "found"),
    [
        ([{"type": "web_search_preview"}], Status.PASS),
        ([{"type": "web_search"}], Status.PASS),
        ([], Status.PASS),
        ([{"type": "function", "name": "web_search"}], Status.FAIL),
    ],
)
def test_hosted_tools_stay_hosted(back: list[dict[str, Any]], found: Status) -> None:
    exchange = told("plain", fields={"tools": back}, tools=[{"type": "web_search_preview"}])
    assert verdict("ECH-01", exchange).status is found


def refused(field: str) -> Exchange:
    request: dict[str, Any] = {field: {"text": "none"}}
    return told("claimed", status=400, **request)


@pytest.mark.parametrize(
    ("stopped", "included", "without", "with_it"),
    [
        ("one two ", "one two three", Status.PASS, Status.PASS),
        ("one two ", "one two ", Status.PASS, Status.FAIL),
        ("one two three", "one two three", Status.FAIL, Status.DECLINED),
        ("one two three four", "one two three four", Status.FAIL, Status.DECLINED),
        ("Another text.", "one two three", Status.PASS, Status.DECLINED),
    ],
)
def test_stop(stopped: str, included: str, without: Status, with_it: Status) -> None:
    text = "one two three four"
    exchanges = [
        told("once", text),
        told("again", text),
        told("stopped", stopped, stop=["three"]),
        told("stop-included", included, stop="three", include_stop_str_in_output=True),
    ]
    assert verdict("PAR-08", *exchanges, refused("stop"), dialect="vllm").status is without
    assert verdict("PAR-09", *exchanges, refused("stop"), dialect="vllm").status is with_it
    knows_nothing = told("claimed", stop={"text": "none"})
    assert verdict("PAR-08", *exchanges, knows_nothing, dialect="vllm").status is Status.NOT_APPLICABLE


@pytest.mark.parametrize(("rule", "role", "field"), [("PAR-10", "seeded", "seed"), ("PAR-12", "min-p", "min_p")])
@pytest.mark.parametrize(
    ("sure", "free", "drawn", "found"),
    [
        ("aa", "bc", "ddd", Status.PASS),
        ("aa", "bc", "dde", Status.PASS),
        ("aa", "bc", "def", Status.WARN),
        ("aa", "bb", "def", Status.DECLINED),
        ("ab", "bc", "def", Status.DECLINED),
    ],
)
def test_draws_repeat(rule: str, role: str, field: str, sure: str, free: str, drawn: str, found: Status) -> None:
    request: dict[str, Any] = {field: 1}
    exchanges = [
        *(told(f"sure-{n}", text, temperature=0) for n, text in enumerate(sure, 1)),
        *(told(f"free-{n}", text, temperature=1) for n, text in enumerate(free, 1)),
        *(told(f"{role}-{n}", text, temperature=1, **request) for n, text in enumerate(drawn, 1)),
    ]
    assert verdict(rule, *exchanges, refused(field), dialect="vllm").status is found


@pytest.mark.parametrize("field", ["frequency_penalty", "repetition_penalty"])
@pytest.mark.parametrize(
    ("again", "times", "after", "found"),
    [
        ("", 30, "tap", Status.PASS),
        ("", 30, "", Status.WARN),
        ("", 5, "", Status.DECLINED),
        ("!", 30, "", Status.DECLINED),
    ],
)
def test_penalties(field: str, again: str, times: int, after: str, found: Status) -> None:
    text = " ".join(["tap"] * times)
    request: dict[str, Any] = {field: 2}
    exchanges = told("once", text), told("again", text + again), told("penalised", after or text, **request)
    assert verdict("PAR-11", *exchanges, refused(field), dialect="vllm").status is found


def listed(*tokens: tuple[str, float, str]) -> list[dict[str, Any]]:
    """Return log probabilities: each token at 0, and a rival that the token leads by the number."""
    return [
        {"token": token, "logprob": 0.0, "bytes": [], "top_logprobs": [{"token": token, "logprob": 0.0}, rival]}
        for token, lead, other in tokens
        for rival in [{"token": other, "logprob": -lead}]
    ]


@pytest.mark.parametrize(
    ("tokens", "again", "after", "found"),
    [
        # The second "a" leads the new "c" by 1, so that the penalty replaces it.
        ([("a", 9, "x"), ("b", 9, "x"), ("a", 1, "c")], "aba", "aba", Status.WARN),
        ([("a", 9, "x"), ("b", 9, "x"), ("a", 1, "c")], "aba", "abad", Status.WARN),
        ([("a", 9, "x"), ("b", 9, "x"), ("a", 1, "c")], "aba", "abc", Status.PASS),
        ([("a", 9, "x"), ("b", 9, "x"), ("a", 1, "c")], "abc", "aba", Status.DECLINED),
        # It leads by 2, or a token that the text has, or none; "b" is new.
        ([("a", 9, "x"), ("b", 9, "x"), ("a", 2, "c")], "aba", "aba", Status.DECLINED),
        ([("a", 9, "x"), ("b", 9, "x"), ("a", 1, "b")], "aba", "aba", Status.DECLINED),
        ([("a", 9, "x"), ("b", 1, "x"), ("c", 1, "x")], "abc", "abc", Status.DECLINED),
        # The tokens are not those of the text.
        ([("a", 9, "x"), ("e", 9, "x"), ("a", 1, "c")], "aba", "aba", Status.DECLINED),
        ([], "aba", "aba", Status.DECLINED),
    ],
)
def test_presence_penalty(tokens: list[Any], again: str, after: str, found: Status) -> None:
    text = "aba" if tokens[2:] != [("c", 1, "x")] else "abc"
    once = told("once", text)
    body = once.json()
    body["output"][0]["content"][0]["logprobs"] = listed(*tokens)
    once = replace(once, chunks=(Chunk(0.0, json.dumps(body).encode()),))
    exchanges = once, told("again", again), told("varied", after, presence_penalty=2)
    assert verdict("PAR-14", *exchanges, refused("presence_penalty"), dialect="vllm").status is found


@pytest.mark.parametrize(
    ("role", "constraint", "right", "wrong"),
    [
        ("chosen", {"choice": ["ochre", "mauve"]}, "mauve\n", "ochre and mauve"),
        ("matched", {"regex": "[A-Z]{2}-[0-9]{3}"}, "AB-123", "The code is AB-123."),
        ("parsed", {"json": {"type": "object", "required": ["city"]}}, '{"city": 1}', "{}"),
        ("parsed", {"json": {"type": "object", "required": ["city"]}}, '{"city": 1}', "Oslo"),
        ("derived", {"grammar": 'root ::= "amber" | "umber"'}, "umber", '"amber"'),
    ],
)
def test_structured_outputs(role: str, constraint: dict[str, Any], right: str, wrong: str) -> None:
    claimed = refused("structured_outputs")
    for text, found in ((right, Status.PASS), (wrong, Status.FAIL), ("", Status.NOT_APPLICABLE)):
        told_so = told(role, text, structured_outputs=constraint)
        assert verdict("PAR-13", told_so, claimed, dialect="vllm").status is found
    cut = told(role, wrong, structured_outputs=constraint, fields={"status": "incomplete"})
    assert verdict("PAR-13", cut, claimed, dialect="vllm").status is Status.NOT_APPLICABLE


@pytest.mark.parametrize(("tokens", "found"), [(99, Status.PASS), (98, Status.WARN)])
def test_a_rendered_prompt(tokens: int, found: Status) -> None:
    rendered = replace(
        told("rendered", path="/v1/responses/render"),
        chunks=(
            Chunk(0.0, json.dumps({"request_id": "r", "token_ids": [0] * tokens, "sampling_params": {}}).encode()),
        ),
    )
    assert verdict("PAR-15", told("first"), rendered, dialect="vllm").status is found


ORDER: dict[str, Any] = {
    "type": "object",
    "properties": {"zeta": {"type": "string"}, "alpha": {"type": "string"}, "mid": {"type": "string"}},
    "required": ["zeta", "alpha", "mid"],
    "additionalProperties": False,
}
SORTED = {**ORDER, "properties": {name: ORDER["properties"][name] for name in sorted(ORDER["properties"])}}


def shape(schema: dict[str, Any]) -> dict[str, Any]:
    return {"format": {"type": "json_schema", "name": "answer", "strict": True, "schema": schema}}


@pytest.mark.parametrize(
    ("text", "echo", "found"),
    [
        ('{"zeta": "a", "alpha": "b", "mid": "c"}', ORDER, Status.PASS),
        ('{"alpha": "b", "mid": "c", "zeta": "a"}', ORDER, Status.WARN),
        ('{"zeta": "a", "alpha": "b", "mid": "c"}', SORTED, Status.PASS),
        ("no JSON", ORDER, Status.NOT_APPLICABLE),
    ],
)
def test_keys_keep_their_order(text: str, echo: dict[str, Any], found: Status) -> None:
    exchange = told("plain", text, text=shape(ORDER), fields={"text": shape(echo)})
    assert verdict("PAR-16", exchange).status is found
    assert bool(verdict("PAR-27", exchange).findings) is (echo is SORTED)


def test_an_order_without_a_schema_is_not_tested() -> None:
    exchange = told("plain", '{"b": 1, "a": 2}', text={"format": {"type": "json_object"}})
    assert verdict("PAR-16", exchange).status is Status.NOT_APPLICABLE


@pytest.mark.parametrize("strict", [True, False])
def test_arguments_of_strict_tools_keep_their_order(strict: bool) -> None:
    tool = {"type": "function", "name": "f", "parameters": ORDER, "strict": strict}
    call = {"type": "function_call", "id": "c", "call_id": "c", "name": "f", "status": "completed"}
    call["arguments"] = json.dumps({"alpha": "b", "mid": "c", "zeta": "a"})
    exchange = told("plain", tools=[tool], fields={"output": [call], "tools": [tool]})
    assert verdict("PAR-16", exchange).status is (Status.WARN if strict else Status.NOT_APPLICABLE)


def thought(role: str, tokens: int, *, effort: str) -> Exchange:
    usage = {"input_tokens": 1, "output_tokens": 9, "output_tokens_details": {"reasoning_tokens": tokens}}
    return told(role, fields={"usage": usage}, reasoning={"effort": effort})


@pytest.mark.parametrize(
    ("high", "none", "found"),
    [
        ((5, 5), (5, 5), Status.WARN),
        ((5, 5), (0, 5), Status.PASS),
        ((5, 5), (0, 0), Status.PASS),
        ((0, 5), (5, 5), Status.DECLINED),
    ],
)
def test_effort_none_ends_reasoning(high: tuple[int, int], none: tuple[int, int], found: Status) -> None:
    exchanges = [
        thought(role, tokens, effort=effort)
        for effort, counts in (("high", high), ("none", none))
        for role, tokens in zip((f"effort-{effort}", f"effort-{effort}-again"), counts, strict=True)
    ]
    assert verdict("PAR-17", *exchanges).status is found


@pytest.mark.parametrize(
    ("sure", "free", "drawn", "temperature", "top_p"),
    [
        ("aaa", "bc", "aaa", Status.PASS, Status.PASS),
        ("aab", "bc", "aaa", Status.PASS, Status.DECLINED),
        ("aaa", "bc", "aad", Status.PASS, Status.PASS),
        ("aaa", "bc", "ade", Status.PASS, Status.WARN),
        ("abc", "bc", "aaa", Status.WARN, Status.DECLINED),
        # Without a difference at temperature 1 nothing shows an effect.
        ("aaa", "aa", "aaa", Status.DECLINED, Status.DECLINED),
    ],
)
def test_sampling(sure: str, free: str, drawn: str, temperature: Status, top_p: Status) -> None:
    exchanges = [
        *(told(f"sure-{n}", f"{text} same end", temperature=0) for n, text in enumerate(sure, 1)),
        *(told(f"free-{n}", f"{text} same end", temperature=1) for n, text in enumerate(free, 1)),
        *(told(f"nucleus-{n}", f"{text} same end", temperature=1, top_p=0.001) for n, text in enumerate(drawn, 1)),
    ]
    assert verdict("PAR-18", *exchanges).status is temperature
    assert verdict("PAR-19", *exchanges).status is top_p


def test_texts_that_part_late_begin_alike() -> None:
    ends = ("one", "two", "three")
    sure = [told(f"sure-{n}", f"rain falls down {end}", temperature=0) for n, end in enumerate(ends, 1)]
    free = [told(f"free-{n}", f"{end} other words", temperature=1) for n, end in enumerate(ends[:2], 1)]
    assert verdict("PAR-18", *sure, *free).status is Status.PASS


@pytest.mark.parametrize(
    ("entries", "count", "found"),
    [
        ([{"token": "Hi.", "logprob": 0.0, "top_logprobs": [{"token": "Hi.", "logprob": 0.0}]}], 2, Status.PASS),
        ([{"token": "Hi.", "logprob": 0.0, "top_logprobs": []}], 2, Status.WARN),
        ([{"token": "Hi.", "logprob": 0.0}], 2, Status.WARN),
        ([{"token": "Hi.", "logprob": 0.0}], 0, Status.NOT_APPLICABLE),
        ([], 2, Status.NOT_APPLICABLE),
    ],
)
def test_alternatives(entries: list[Any], count: int, found: Status) -> None:
    part = {"type": "output_text", "text": "Hi.", "annotations": [], "logprobs": entries}
    message = {"type": "message", "id": "m", "role": "assistant", "content": [part]}
    wanted = ["message.output_text.logprobs"]
    exchange = told("plain", fields={"output": [message]}, include=wanted, top_logprobs=count)
    assert verdict("PAR-20", exchange).status is found


@pytest.mark.parametrize(
    ("prompt", "text", "found"),
    [
        ("Answer in JSON.", '{"a": 1}', Status.PASS),
        ("Answer in JSON.", "Oslo", Status.FAIL),
        ("Answer in JSON.", "[1]", Status.FAIL),
        # Without a prompt for JSON, models need not write any.
        ("Where is it?", "Oslo", Status.NOT_APPLICABLE),
    ],
)
def test_json_mode(prompt: str, text: str, found: Status) -> None:
    assert (
        verdict("PAR-21", told("plain", text, input=prompt, text={"format": {"type": "json_object"}})).status is found
    )


@pytest.mark.parametrize(
    ("low", "high", "found"),
    [
        ("aa", "bb", Status.PASS),
        ("aa", "aa", Status.WARN),
        ("ab", "cc", Status.DECLINED),
        ("aa", "bc", Status.DECLINED),
    ],
)
def test_verbosity(low: str, high: str, found: Status) -> None:
    roles = ("terse", "terse-again", "wordy", "wordy-again")
    exchanges = [told(role, text) for role, text in zip(roles, low + high, strict=True)]
    assert verdict("PAR-22", *exchanges, dialect="openai").status is found


@pytest.mark.parametrize(
    ("summaries", "found"),
    [(([], []), Status.WARN), (([], ["S"]), Status.PASS), ((["S"],), Status.NOT_APPLICABLE)],
)
def test_summaries(summaries: tuple[list[str], ...], found: Status) -> None:
    def reply(role: str, texts: list[str]) -> Exchange:
        summary = [{"type": "summary_text", "text": text} for text in texts]
        item = {"type": "reasoning", "id": "r", "summary": summary}
        return told(role, fields={"output": [item]}, reasoning={"summary": "detailed"})

    exchanges = [reply(role, texts) for role, texts in zip(("plain", "again"), summaries, strict=False)]
    assert verdict("PAR-23", *exchanges, dialect="openai").status is found


def test_reasoning_that_is_only_counted_has_no_summary() -> None:
    usage = {"input_tokens": 1, "output_tokens": 9, "output_tokens_details": {"reasoning_tokens": 5}}
    fields, wanted = {"usage": usage}, {"summary": "detailed"}
    exchanges = [told(role, fields=fields, reasoning=wanted) for role in ("plain", "again")]
    assert verdict("PAR-23", *exchanges, dialect="openai").status is Status.WARN
    hidden = [told(role, reasoning=wanted) for role in ("plain", "again")]
    assert verdict("PAR-23", *hidden, dialect="openai").status is Status.NOT_APPLICABLE


@pytest.mark.parametrize(
    ("once", "filled", "found"),
    [
        (5, (64, 64), Status.PASS),
        (5, (5, 64), Status.PASS),
        (5, (5, 5), Status.WARN),
        (64, (64, 64), Status.DECLINED),
    ],
)
def test_ignore_eos(once: int, filled: tuple[int, int], found: Status) -> None:
    def used(role: str, tokens: int, **request: Any) -> Exchange:
        usage = {"input_tokens": 1, "output_tokens": tokens}
        return told(role, fields={"usage": usage}, max_output_tokens=64, **request)

    exchanges = [
        used("once", once),
        *(used(role, tokens, ignore_eos=True) for role, tokens in zip(("filled", "filled-again"), filled, strict=True)),
    ]
    assert verdict("PAR-24", *exchanges, refused("ignore_eos"), dialect="vllm").status is found
    unknown = told("claimed", ignore_eos={"text": "none"})
    assert verdict("PAR-24", *exchanges, unknown, dialect="vllm").status is Status.NOT_APPLICABLE


@pytest.mark.parametrize(
    ("shown", "hidden", "found"),
    [
        ((1, 1), (0, 0), Status.PASS),
        ((1, 1), (0, 1), Status.PASS),
        ((1, 1), (1, 1), Status.WARN),
        ((1, 0), (1, 1), Status.DECLINED),
    ],
)
def test_include_reasoning(shown: tuple[int, int], hidden: tuple[int, int], found: Status) -> None:
    def reply(role: str, items: int, **request: Any) -> Exchange:
        return told(role, fields={"output": [{"type": "reasoning", "id": "r", "summary": []}] * items}, **request)

    exchanges = [
        *(reply(role, n) for role, n in zip(("effort-high", "effort-high-again"), shown, strict=True)),
        *(
            reply(role, n, include_reasoning=False)
            for role, n in zip(("unreasoned", "unreasoned-again"), hidden, strict=True)
        ),
    ]
    claimed = refused("include_reasoning")
    assert verdict("PAR-25", *exchanges, claimed, dialect="vllm").status is found


@pytest.mark.parametrize(
    ("request_fields", "found"),
    [
        ({}, Status.WARN),
        ({"include": ["reasoning.encrypted_content"]}, Status.WARN),
        ({"include": ["message.output_text.logprobs"]}, Status.NOT_APPLICABLE),
        ({"top_logprobs": 2}, Status.NOT_APPLICABLE),
    ],
)
def test_logprobs_that_were_not_requested(request_fields: dict[str, Any], found: Status) -> None:
    entry = {"token": "Hi.", "logprob": 0.0}
    part = {"type": "output_text", "text": "Hi.", "annotations": [], "logprobs": [entry]}
    message = {"type": "message", "id": "m", "role": "assistant", "content": [part]}
    assert verdict("PAR-26", told("plain", fields={"output": [message]}, **request_fields)).status is found
    assert verdict("PAR-26", told("plain")).status is Status.PASS

"""Compaction in the sandbox: what comes back stands for the conversation, and only for who made it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rejoinder.contract import dialect_names, load_dialect
from rejoinder.model.exchange import Exchange, Request
from rejoinder.sandbox import Sandbox, post
from rejoinder.validation import Validator

Json = dict[str, Any]
WITH_COMPACT = [name for name in dialect_names() if "compact" in load_dialect(name).operations]
QUESTION = {"type": "message", "role": "user", "content": "What are the code words? Answer with the code words only."}


def message(role: str, text: str) -> Json:
    return {"type": "message", "role": role, "content": text}


def compacted(box: Sandbox, path: str = "/v1/responses/compact", headers: Any = (), **body: Any) -> Exchange:
    return box.exchange(post({"model": "parrot", **body}, path, headers))


def said(box: Sandbox, items: list[Json], headers: Any = ()) -> str:
    reply = box.exchange(post({"model": "parrot", "input": items}, headers=headers)).json()
    assert isinstance(reply, dict), items
    return str(reply["output"][-1]["content"][0]["text"])


@pytest.mark.parametrize("dialect", WITH_COMPACT)
def test_the_output_stands_for_the_conversation(dialect: str) -> None:
    box = Sandbox(dialect)
    talk = [message("user", "The first is quartz-1111."), message("assistant", "The second is saffron-2222.")]
    reply = compacted(box, input=talk, prompt_cache_key="key").json()
    assert isinstance(reply, dict)
    assert Validator(load_dialect(dialect).operations["compact"].reply).errors(reply) == []
    assert [item["type"] for item in reply["output"]] == ["message", "compaction"]
    assert "saffron-2222" not in json.dumps(reply)
    assert reply["usage"]["total_tokens"] == reply["usage"]["input_tokens"] + reply["usage"]["output_tokens"]
    assert set(said(box, [*reply["output"], QUESTION]).split()) == {"quartz-1111", "saffron-2222"}


@pytest.mark.parametrize("dialect", WITH_COMPACT)
def test_a_stored_response_is_compacted_by_its_id(dialect: str) -> None:
    box = Sandbox(dialect)
    first = box.exchange(post({"model": "parrot", "input": [message("user", "It is walnut-3333.")]})).json()
    assert isinstance(first, dict)
    reply = compacted(box, previous_response_id=first["id"]).json()
    assert isinstance(reply, dict)
    assert reply["id"] != first["id"]
    assert "walnut-3333" in said(box, [*reply["output"], QUESTION])
    assert compacted(box, previous_response_id="resp_none").status == 404


def test_what_was_compacted_can_be_compacted_again() -> None:
    box = Sandbox("openai")
    first = compacted(box, input=[message("user", "Hi."), message("assistant", "It is amber-4444.")]).json()
    assert isinstance(first, dict)
    second = compacted(box, input=[*first["output"], message("user", "Go on.")]).json()
    assert isinstance(second, dict)
    assert [item["type"] for item in second["output"]] == ["message", "message", "compaction"]
    assert "amber-4444" in said(box, [*second["output"], QUESTION])


def test_another_tenant_cannot_open_it() -> None:
    box = Sandbox("openai", key="one", second_key="two")
    keys = [(("authorization", f"Bearer {key}"),) for key in ("one", "two")]
    reply = compacted(box, headers=keys[0], input=[message("assistant", "It is amber-4444.")]).json()
    assert isinstance(reply, dict)
    assert "amber-4444" in said(box, [*reply["output"], QUESTION], keys[0])
    assert "amber-4444" not in said(box, [*reply["output"], QUESTION], keys[1])


@pytest.mark.parametrize("content", ["", "AAAA", "not base64 é", "QUJD" * 30])
def test_an_item_that_nobody_sealed_is_passed_over(content: str) -> None:
    items = [{"type": "compaction", "encrypted_content": content}, message("user", "Say hello.")]
    assert said(Sandbox("openai"), items) == "Say hello."


@pytest.mark.parametrize(("body", "param"), [({"input": "Hi"}, "model"), ({"model": "parrot", "input": 7}, "input")])
def test_invalid_bodies_are_refused(body: Json, param: str) -> None:
    exchange = Sandbox("openresponses").exchange(post(body, "/v1/responses/compact"))
    reply = exchange.json()
    assert isinstance(reply, dict)
    assert (exchange.status, reply["error"]["param"]) == (400, param)


def test_a_dialect_without_the_operation_has_nothing_there() -> None:
    assert compacted(Sandbox("northstar"), input="Hi").status == 404
    assert Sandbox("openai").exchange(Request("GET", "/v1/responses/compact", ())).status == 405


@given(st.lists(st.tuples(st.sampled_from(["user", "assistant"]), st.text(min_size=1, max_size=20)), max_size=6))
def test_user_messages_stay_and_no_turn_is_lost(turns: list[tuple[str, str]]) -> None:
    box = Sandbox("openai")
    reply = compacted(box, input=[message(role, text) for role, text in turns]).json()
    assert isinstance(reply, dict)
    *kept, sealed = reply["output"]
    assert [item["content"][0]["text"] for item in kept] == [text for role, text in turns if role == "user"]
    assert sealed["type"] == "compaction"
    counted = box.exchange(post({"model": "parrot", "input": reply["output"]}, "/v1/responses/input_tokens")).json()
    assert isinstance(counted, dict)
    assert counted["input_tokens"] == reply["usage"]["input_tokens"]

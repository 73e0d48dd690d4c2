"""What the parrot answers when it is asked for something in particular instead of repeating all it heard."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from rejoinder.sandbox import Sandbox, post

ASKED = "What are the code words? Answer with the code words only."


def said(*items: Any, **fields: Any) -> str:
    response = Sandbox().exchange(post({"input": [*items], **fields})).json()
    return "".join(part["text"] for item in response["output"] for part in item.get("content") or ())


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def call(identity: str, city: str) -> dict[str, Any]:
    return {"type": "function_call", "call_id": identity, "name": "look_up", "arguments": f'{{"city": "{city}"}}'}


def output(identity: str, text: str) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": identity, "output": text}


def test_code_words_come_from_every_part_of_the_input() -> None:
    data = base64.b64encode(b"It is amber-5555.").decode()
    file = {"type": "input_file", "file_data": f"data:text/plain;base64,{data}"}
    told = said(
        {"role": "system", "content": "It is walnut-2222."},
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "It is indigo-3333."}]},
        call("a", "Oslo"),
        output("a", "It is marble-4444."),
        {"role": "user", "content": [file, {"type": "input_text", "text": ASKED}]},
        instructions="It is quartz-1111.",
    )
    assert told == "quartz-1111 walnut-2222 indigo-3333 marble-4444 amber-5555"


def test_without_code_words_there_are_none() -> None:
    assert said(user(ASKED)) == "I know no code word."
    assert said(user("The code word is quartz-1111. Answer with OK only.")) == "OK."


@pytest.mark.parametrize(("city", "word"), [("Oslo", "one"), ("Cairo", "two"), ("Rome", "Nothing.")])
def test_outputs_are_found_by_call_id(city: str, word: str) -> None:
    asked = user(f"What did look_up return for {city}?")
    assert said(asked, call("a", "Oslo"), call("b", "Cairo"), output("b", "two"), output("a", "one")) == word


def test_the_last_call_with_an_id_counts() -> None:
    asked = user("What did look_up return for Cairo?")
    assert said(asked, call("a", "Oslo"), output("a", "one"), call("a", "Cairo"), output("a", "two")) == "two"


def test_a_pushed_token_is_all_that_is_said() -> None:
    assert set(said(user("Hi."), logit_bias={"300": 100}).split()) == {"token300"}
    assert said(user("Hi."), logit_bias={"300": 5}) == said(user("Hi."))


def test_messages_come_back_when_asked_for() -> None:
    body = {"input": [user("Hi.")], "enable_response_messages": True}
    response = Sandbox().exchange(post(body)).json()
    assert response["input_messages"] == body["input"]
    assert response["output_messages"] == response["output"]
    assert "input_messages" not in Sandbox().exchange(post({"input": "Hi."})).json()

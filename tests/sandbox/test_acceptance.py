"""The sandbox accepts its own dialect: every undisputed valid body is answered, but for what the documents refuse."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from rejoinder.contract import dialect_names
from rejoinder.model.exchange import Exchange
from rejoinder.sandbox import Sandbox, post
from rejoinder.strategies import Branches, EndpointProfile, each_choice, one_factor, request_bodies, sample

REFUSED = {
    r"There is no function call .*": "Open Responses and OpenAI's guides pair every function_call_output with a call.",
    r"tool_choice names a tool that is not among the tools\.": "A function or custom tool can be called if declared.",
    r"tool_choice\.tools\[\d+\] is not among the tools\.": "Open Responses: allowed_tools names a subset of tools.",
    r"tool_choice is required, but there are no tools\.": "OpenAI's document: required asks for a call of a tool.",
    r"tool_choice\.tools is empty, but a call is required\.": "The same: no response without a tool can obey.",
    r"tools\[\d+\]\.name must be 1 to 128 .*": "OpenAI's document limits the characters and the length of the name.",
}
"""What a body may be refused for, with the sentence that says so; the schema cannot express it."""

NOT_DRAWN = {"northstar": 89, "openai": 114, "openresponses": 73, "vllm": 89}
"""Branches of each contract that these sets do not draw, because they need ids of things that exist elsewhere."""


def bodies(dialect: str, sandbox: Sandbox) -> Iterator[dict[str, Any]]:
    first = sandbox.exchange(post({"input": "Hello."})).json()
    profile = EndpointProfile(
        dialect=dialect,
        previous_response_id=first["id"],
        item_id=first["output"][0]["id"],
        prompt_id="pmpt_1",
        file_id="file_1",
        file_url="https://files.invalid/note.txt",
        container_id="cntr_1",
    )
    for case in (*each_choice(profile=profile), *one_factor(profile=profile)):
        yield case.body
    yield from sample(request_bodies(profile=profile), 100, seed=1)


def refusal(exchange: Exchange) -> str:
    """Return the words of a refusal that nothing allows; empty otherwise."""
    if exchange.ok:
        return ""
    message = exchange.json()["error"]["message"]
    allowed = exchange.status in (400, 404) and any(re.fullmatch(words, message) for words in REFUSED)
    return "" if allowed else f"{exchange.status} {message}"


@pytest.mark.slow(10)
@pytest.mark.parametrize("dialect", dialect_names())
def test_every_valid_body_is_answered(dialect: str) -> None:
    sandbox, contract = Sandbox(dialect), Branches.of_dialect(dialect)
    answered: set[str] = set()
    refused: set[str] = set()
    for body in bodies(dialect, sandbox):
        exchange = sandbox.exchange(post(body))
        assert refusal(exchange) == "", body
        (answered if exchange.ok else refused).update(contract.of(body))
    assert refused & contract.all <= answered, "a branch that is refused in every body"
    assert len(contract.all - answered) <= NOT_DRAWN[dialect], sorted(contract.all - answered)

"""A strict server made from the types of the openai package: it refuses all that they do not allow, and breaks no rule.

The types are those of the client, so every body that a typed client can send is accepted.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

import openai.types.responses
import openai.types.shared_params
import pytest
from openai._types import SequenceNotStr
from openai.types.responses import response_create_params
from pydantic import ConfigDict, TypeAdapter, ValidationError
from typing_extensions import is_typeddict

from rejoinder.conformance.proof.matrix import SandboxSetup, observe
from rejoinder.model.verdict import Level
from rejoinder.sandbox import FREEDOMS, Freedom, RequestInfo, Sandbox, post
from rejoinder.sandbox import freedoms as catalogue
from rejoinder.sandbox.endpoint.reply import ApiError
from rejoinder.sandbox.fault import every_item, only, unset

NAME = "strict-openai-types"


def modules() -> Iterator[Any]:
    for package in (openai.types.responses, openai.types.shared_params):
        for found in pkgutil.iter_modules(package.__path__):
            yield importlib.import_module(f"{package.__name__}.{found.name}")


def whole(value: Any) -> Any:
    """Return the value with every number without a fraction as an integer, which JSON Schema takes it for."""
    if isinstance(value, dict):
        return {key: whole(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [whole(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def typed(item: Any) -> Any:
    """Return a user message without its id, which the types have in no input.

    The output of a compaction has it, and clients send that output back as it is.
    """
    if isinstance(item, dict) and item.get("role") == "user":
        return {name: value for name, value in item.items() if name != "id"}
    return item


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> Freedom:
    """Return the freedom of an endpoint that takes only what the types allow, down to the innermost object."""
    for module in modules():
        for name, value in list(vars(module).items()):
            if is_typeddict(value):
                monkeypatch.setattr(value, "__pydantic_config__", ConfigDict(extra="forbid"), raising=False)
            elif name == "Iterable" or value is SequenceNotStr:
                # pydantic reads an Iterable lazily and accepts whatever it holds.
                monkeypatch.setattr(module, name, list)
    types = response_create_params
    adapter: TypeAdapter[Any] = TypeAdapter(
        types.ResponseCreateParamsNonStreaming | types.ResponseCreateParamsStreaming
    )

    def parsed(body: dict[str, Any], _: RequestInfo) -> dict[str, Any]:
        items = body.get("input")
        sent = {**body, "input": [*map(typed, items)]} if isinstance(items, list) else body
        try:
            adapter.validate_python(whole(sent), strict=True)
        except ValidationError as error:
            where = ".".join(map(str, error.errors()[0]["loc"][1:])) or None
            param = where if where is None else where.split(".")[0]
            raise ApiError(400, f"Invalid value at {where}.", param=param, code="invalid_value") from None
        return body

    freedom = Freedom(
        id=NAME,
        title="Only what the types allow.",
        argument="The types.",
        parsed=parsed,
        **every_item(only("custom_tool_call", unset("status"))),  # the types have no status there
    )
    monkeypatch.setattr(catalogue, "_load", lambda _: {**FREEDOMS, NAME: freedom})
    return freedom


def test_the_strict_server_refuses_what_the_types_do_not_allow(strict: Freedom) -> None:
    sandbox = Sandbox("openai", freedoms=[strict.id])
    message = {"role": "user", "content": [{"type": "input_text", "text": "Hello."}]}
    tool = {"type": "function", "name": "f", "parameters": {}, "strict": True}
    good: list[dict[str, Any]] = [{"input": "Hi"}, {"input": [message], "tools": [tool], "stream": True}]
    bad: list[dict[str, Any]] = [
        {"input": "Hi", "top_k": 1},
        {"input": "Hi", "temperature": "1"},
        {"input": [{**message, "mood": "good"}]},
        {"input": "Hi", "tools": [{**tool, "x": 1}]},
        {"input": "Hi", "tools": [{"type": "function", "name": "f"}]},
    ]
    assert [sandbox.exchange(post(body)).status for body in good] == [200, 200]
    assert [sandbox.exchange(post(body)).status for body in bad] == [400] * len(bad)


@pytest.mark.slow(20)
@pytest.mark.parametrize("model", [None, "parrot-reasoning"])
def test_the_strict_server_breaks_no_rule(strict: Freedom, model: str | None) -> None:
    seen = observe(SandboxSetup("full", "openai", freedoms=(strict.id,), model=model))
    assert seen.errors == ()
    levels = (Level.MUST, Level.SHOULD)
    loud = {rule: found.evidence.message for rule, found in seen.findings.items() if found.level in levels}
    assert loud == {}

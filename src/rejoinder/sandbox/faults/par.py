"""Faults of parameters: names, caches, sampling, tools and forms that are taken and not kept to."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from rejoinder.model.exchange import parse_json
from rejoinder.sandbox.endpoint.reply import ApiError, Occasion
from rejoinder.sandbox.endpoint.tokens import Json
from rejoinder.sandbox.fault import PLAIN, Condition, Fault, at_end, items_of

_MUCH: Final = 64


def _cached(response: Json, _: str, occasion: Occasion) -> None:
    """Tell of cached tokens for every long input, whatever its salt."""
    usage = response.get("usage")
    if occasion.operation == "create" and isinstance(usage, dict) and usage["input_tokens"] > _MUCH:
        usage["input_tokens_details"] = {"cached_tokens": _MUCH, "cache_write_tokens": usage["input_tokens"] - _MUCH}


def _as_instructions(text: Callable[[Occasion], str]) -> dict[str, Any]:
    """Return the hooks that say a text to the model as its instructions, and do not tell."""

    def restore(response: Json, _: str, occasion: Occasion) -> None:
        if occasion.operation == "create":
            response["instructions"] = occasion.body.get("instructions")

    return {"request": lambda body, o: {**body, "instructions": text(o)}, "response": restore}


def _prioritised(body: Json, _: Occasion) -> Json:
    if body.get("priority"):
        raise ApiError(500, "Something went wrong.", code="server_error")
    return body


def _texts_changed(change: Callable[[str], str]) -> Callable[[Json], None]:
    def do(response: Json) -> None:
        for item in items_of(response):
            for part in item.get("content") or ():
                if part.get("type") == "output_text":
                    part["text"] = change(part["text"])

    return do


def _unquoted(text: str) -> str:
    """Return a JSON object whose strings of digits are numbers; any other text as it is."""
    value = parse_json(text)
    if not isinstance(value, dict):
        return text
    return json.dumps({k: int(v) if isinstance(v, str) and v.isdecimal() else v for k, v in value.items()})


def _drag_refused(body: Json, _: Occasion) -> Json:
    for item in body["input"] if isinstance(body["input"], list) else ():
        if item.get("type") == "computer_call" and item["action"]["type"] == "drag":
            raise ApiError(400, "drag is not supported.", param="input", code="unsupported_value")
    return body


def _checks_refused(body: Json, _: Occasion) -> Json:
    for item in body["input"] if isinstance(body["input"], list) else ():
        if item.get("acknowledged_safety_checks"):
            raise ApiError(400, "acknowledged_safety_checks is unknown.", param="input", code="unsupported_value")
    return body


def _coerced(response: Json, _: str, occasion: Occasion) -> None:
    """Repeat the tools that the endpoint runs as functions."""
    tools = response.get("tools")
    if occasion.operation == "create" and isinstance(tools, list):
        response["tools"] = [
            tool
            if tool["type"] in ("function", "custom")
            else {"type": "function", "name": tool["type"], "description": None, "parameters": None, "strict": None}
            for tool in tools
        ]


def _has(field: str) -> Condition:
    return Condition(f"only with {field}", lambda o: bool(o.body.get(field)))


def _is_shaped(occasion: Occasion) -> bool:
    text = occasion.body.get("text")
    shape = text.get("format") if isinstance(text, dict) else None
    return isinstance(shape, dict) and shape.get("type") == "json_schema" and not occasion.streamed


_SHAPED: Final = Condition("only plain, with a JSON Schema", _is_shaped)
_OWN: Final = ("northstar",)


def _breaks_down(status: int, body: Any, _: Occasion) -> tuple[int, Any]:
    return (500, body) if body["error"]["code"] == "duplicate_id" else (status, body)


FAULTS: Final = (
    Fault(
        id="taken-request-id-breaks-server",
        title="A request_id that is taken is answered with a server error.",
        breaks=("PAR-01",),
        dialects=_OWN,
        error=_breaks_down,
    ),
    Fault(
        id="taken-request-id-overwrites",
        title="A response takes the place of the one that has its request_id.",
        breaks=("PAR-01",),
        dialects=_OWN,
        replaces=True,
    ),
    Fault(
        id="cache-salt-ignored",
        title="Cached tokens are found whatever the cache_salt.",
        breaks=("PAR-02",),
        dialects=_OWN,
        response=_cached,
    ),
    Fault(
        id="cache-salt-heard",
        title="The cache_salt reaches the model as a text.",
        breaks=("PAR-03",),
        dialects=_OWN,
        when=_has("cache_salt"),
        **_as_instructions(lambda o: str(o.body.get("cache_salt"))),
    ),
    Fault(
        id="end-mark-shown",
        title="Texts end with the mark by which the model ends its turn.",
        breaks=("PAR-04",),
        when=PLAIN,
        response=at_end(_texts_changed(lambda text: f"{text}<|im_end|>")),
    ),
    Fault(
        id="response-messages-missing",
        title="enable_response_messages is ignored.",
        breaks=("PAR-05",),
        dialects=_OWN,
        request=lambda body, _: {**body, "enable_response_messages": None},
    ),
    Fault(
        id="top-k-ignored",
        title="top_k is ignored, and answers vary.",
        breaks=("ERR-08",),
        dialects=_OWN,
        when=_has("top_k"),
        **_as_instructions(lambda o: f"Answer number {o.number}."),
    ),
    Fault(
        id="logit-bias-ignored",
        title="logit_bias is ignored.",
        breaks=("ERR-08",),
        dialects=_OWN,
        request=lambda body, _: {**body, "logit_bias": None},
    ),
    Fault(
        id="priority-breaks-server",
        title="A priority is answered with a server error.",
        breaks=("ERR-05",),
        dialects=_OWN,
        request=_prioritised,
    ),
    Fault(
        id="schema-letters-lost",
        title="Answers to a JSON Schema lose their letters outside of ASCII.",
        breaks=("ACC-15",),
        when=_SHAPED,
        response=at_end(_texts_changed(lambda text: text.encode("ascii", "ignore").decode())),
    ),
    Fault(
        id="schema-digits-unquoted",
        title="In answers to a JSON Schema strings of digits become numbers.",
        breaks=("ACC-15",),
        when=_SHAPED,
        response=at_end(_texts_changed(_unquoted)),
    ),
    Fault(
        id="drag-refused",
        title="Computer calls with the action drag are refused in a history.",
        breaks=("TOL-11",),
        dialects=_OWN,
        request=_drag_refused,
    ),
    Fault(
        id="safety-checks-refused",
        title="The output of a computer call is refused when it acknowledges safety checks.",
        breaks=("TOL-11",),
        dialects=_OWN,
        request=_checks_refused,
    ),
    Fault(
        id="hosted-tools-coerced",
        title="Tools that the endpoint runs are repeated as functions.",
        breaks=("ECH-01",),
        dialects=("northstar", "openai"),
        response=_coerced,
    ),
)

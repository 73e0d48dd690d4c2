"""Freedoms of tools and their calls."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Final
from uuid import UUID

from rejoinder.sandbox.endpoint.generate import ResolvedRequest
from rejoinder.sandbox.endpoint.reply import RequestInfo
from rejoinder.sandbox.endpoint.tokens import Json
from rejoinder.sandbox.fault import answer_format
from rejoinder.sandbox.freedom import Freedom, FreedomList, cite
from rejoinder.sandbox.freedoms.citations import VLLM_RESPONSE
from rejoinder.sandbox.freedoms.rsp import ids

_CALL_ID: Final = (
    cite("openai-openapi", "FunctionToolCall.call_id, a string without a pattern"),
    cite("openresponses-openapi", "FunctionCall.call_id, a string without a pattern"),
)


def _short(text: str) -> str:
    return hashlib.blake2s(text.encode(), digest_size=5).hexdigest()


def _no_limit(body: Json, _: RequestInfo) -> Json:
    limit = body.get("max_tool_calls")
    return {**body, "max_tool_calls": None} if limit == 0 and isinstance(limit, int) else body


def _zero_again(response: Json, _: str, info: RequestInfo) -> None:
    if info.operation == "create" and "max_tool_calls" in response and info.body.get("max_tool_calls") == 0:
        response["max_tool_calls"] = 0


def _preamble(resolved: ResolvedRequest, _: RequestInfo) -> ResolvedRequest:
    # Where the request wants JSON, a message must be JSON, too.
    free = answer_format(resolved.body) in (None, "text")
    return replace(resolved, preamble="Let me look that up.") if free else resolved


FREEDOMS: Final = FreedomList(
    Freedom(
        id="call-ids-of-chat-completions",
        title="The call_id of a call looks like that of a chat completion.",
        sources=(*_CALL_ID, VLLM_RESPONSE),
        choice="form of call ids",
        new_id=ids(lambda id: f"chatcmpl-tool-{_short(id)}", "call_"),
    ),
    Freedom(
        id="call-ids-are-numbers",
        title="The call_id of a call consists of digits.",
        sources=_CALL_ID,
        choice="form of call ids",
        new_id=ids(lambda id: str(int(_short(id), 16)), "call_"),
    ),
    Freedom(
        id="call-ids-are-uuids",
        title="The call_id of a call is a UUID.",
        sources=_CALL_ID,
        choice="form of call ids",
        new_id=ids(lambda id: str(UUID(int=int(_short(id), 16))), "call_"),
    ),
    Freedom(
        id="call-ids-with-special-characters",
        title="The call_id of a call has slashes, plus signs and equals signs.",
        sources=_CALL_ID,
        choice="form of call ids",
        new_id=ids(lambda id: f"functions.get/{_short(id)}+0:1==", "call_"),
    ),
    Freedom(
        id="call-ids-of-nine-characters",
        title="The call_id of a call has 9 letters and digits.",
        sources=_CALL_ID,
        choice="form of call ids",
        new_id=ids(lambda id: _short(id)[:9], "call_"),
    ),
    Freedom(
        id="parallel-calls-never",
        title="The model calls one tool at a time, also where parallel calls are allowed.",
        sources=(
            cite("openai-openapi", "ParallelToolCalls: whether to allow"),
            cite("openresponses-openapi", "CreateResponseBody.parallel_tool_calls: may be called"),
        ),
        resolved=lambda resolved, _: replace(resolved, one_call=True),
    ),
    Freedom(
        id="message-before-calls",
        title="A message comes before the calls of a response.",
        sources=(cite("openresponses", "The Agentic loop"), cite("openai-functions", "Handling function calls")),
        argument="No document limits what else the output of a response with calls has.",
        resolved=_preamble,
    ),
    Freedom(
        id="max-tool-calls-zero-accepted",
        title="The endpoint accepts a max_tool_calls of 0.",
        sources=(
            cite("openai-openapi", "ModelResponseProperties.max_tool_calls, an integer without a minimum"),
            VLLM_RESPONSE,
        ),
        dialects=("northstar", "openai"),
        parsed=_no_limit,
        response=_zero_again,
    ),
)

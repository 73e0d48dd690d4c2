"""Freedoms of request parameters."""

from __future__ import annotations

from typing import Final

from rejoinder.sandbox.endpoint.reply import RequestInfo
from rejoinder.sandbox.endpoint.tokens import Json
from rejoinder.sandbox.freedom import Freedom, FreedomList, cite

_SAMPLING: Final = frozenset(
    {
        *("stop", "include_stop_str_in_output", "seed", "min_p", "frequency_penalty", "repetition_penalty"),
        *("presence_penalty", "structured_outputs", "ignore_eos", "include_reasoning"),
    }
)
_LONG: Final = 64
"""Tokens of a prompt from which this cache holds it."""


def _cached(response: Json, _: str, info: RequestInfo) -> None:
    usage = response.get("usage")
    if (
        info.operation not in ("create", "response")
        or not isinstance(usage, dict)
        or usage.get("input_tokens", 0) <= _LONG
    ):
        return
    details = usage.get("input_tokens_details")
    if isinstance(details, dict):
        usage["input_tokens_details"] = {**details, "cached_tokens": _LONG}


FREEDOMS: Final = FreedomList(
    Freedom(
        id="request-id-not-used",
        title="The endpoint ignores request_id and gives every response its own id.",
        dialects=("northstar",),
        sources=(
            cite("tzafon", "src/tzafon/types/response_create_params.py, request_id, without a sentence about the id"),
        ),
        parsed=lambda body, _: {name: value for name, value in body.items() if name != "request_id"},
    ),
    Freedom(
        id="cache-salt-not-known",
        title="The endpoint ignores cache_salt, as it does every field that it does not know, and caches long prompts.",
        dialects=("northstar",),
        sources=(cite("vllm", "Cache Salting, an option of vLLM", "docs/usage/security.md"),),
        argument="An endpoint that answers a wrong type in the field does not read it, so it promises nothing.",
        parsed=lambda body, _: {name: value for name, value in body.items() if name != "cache_salt"},
        response=_cached,
        excludes=("usage-details-absent", "usage-details-null", "cached-tokens-zero"),
    ),
    Freedom(
        id="sampling-fields-not-known",
        title="The endpoint does not know stop, seed, min_p, ignore_eos, penalties and structured_outputs.",
        dialects=("vllm",),
        sources=(cite("vllm-wheel", "vllm/entrypoints/serve/engine/protocol.py, OpenAIBaseModel, extra fields"),),
        argument="An endpoint that answers a wrong type in the field does not read it, so it promises nothing.",
        parsed=lambda body, _: {name: value for name, value in body.items() if name not in _SAMPLING},
    ),
)

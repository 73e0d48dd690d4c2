"""Freedoms of features that an endpoint lacks and refuses cleanly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rejoinder.contract import Feature, cite, load_features
from rejoinder.sandbox.endpoint.reply import ApiError, Reply, RequestInfo
from rejoinder.sandbox.endpoint.tokens import Json
from rejoinder.sandbox.fault import Visit
from rejoinder.sandbox.freedom import Freedom, FreedomList
from rejoinder.sandbox.freedoms.citations import STATUSES

_CLEAN: Final = "No document requires every feature; its statuses for an unsupported value allow a clean refusal."
_METHODS: Final = (
    cite("rfc9110", "section 15.5.5, 404 Not Found", "#section-15.5.5"),
    cite("rfc9110", "section 15.5.6, 405 Method Not Allowed", "#section-15.5.6"),
    cite("rfc9110", "section 15.6.2, 501 Not Implemented", "#section-15.6.2"),
)
_ONLY: Final = {
    "northstar": (
        *("request_id", "top_k", "logit_bias", "priority", "cache_salt", "previous_input_messages"),
        "response_messages",
    ),
    "openai": (
        *("web_search", "file_search", "code_interpreter", "image_generation", "mcp", "shell", "apply_patch"),
        *("delete", "input_items", "input_tokens", "conversations"),
    ),
    "vllm": ("stop", "seed", "min_p", "penalties", "structured_outputs", "render"),
}
"""Features that one dialect has."""
_NOT_NORTHSTAR: Final = ("compaction",)
_NOT_OPENRESPONSES: Final = ("json_object", "custom_tools", "computer_tool", "retrieve", "cancel")
_MANY: Final = (
    "streaming",
    "function_tools",
    "images",
    "json_schema",
    "background",
    "reasoning",
    "chaining",
    "logprobs",
)
"""Features that are refused with each status; the others with 400 only."""
_OPERATIONS: Final = {
    "retrieve": ("response", "GET"),
    "delete": ("response", "DELETE"),
    "cancel": ("cancel", "POST"),
    "input_items": ("input_items", "GET"),
    "input_tokens": ("input_tokens", "POST"),
    "conversations": ("create_conversation", "POST"),
    "render": ("render", "POST"),
    "compaction": ("compact", "POST"),
}


def _dialects(feature: str) -> tuple[str, ...]:
    """Return the dialects that have a feature, none for all."""
    for dialect, names in _ONLY.items():
        if feature in names:
            return (dialect,)
    if feature in _NOT_NORTHSTAR:
        return ("openai", "openresponses")
    return ("northstar", "openai") if feature in _NOT_OPENRESPONSES else ()


def _refused(feature: Feature, status: int) -> Freedom:
    """Return the freedom of an endpoint without a feature of create requests."""

    def hook(body: Json, _: RequestInfo) -> Json:
        if feature.is_used(body):
            field = feature.at[1:].partition("/")[0]
            raise ApiError(status, f"{field} is not supported.", param=field, code="unsupported_value")
        return body

    name = feature.name.replace("_", "-")
    return Freedom(
        id=f"{name}-unsupported" if status == 400 else f"{name}-unsupported-with-{status}",
        title=f"The endpoint refuses the feature {feature.name} with {status}.",
        dialects=_dialects(feature.name),
        sources=STATUSES,
        argument=_CLEAN,
        choice=f"feature {feature.name}",
        parsed=hook,
    )


def _missing(name: str, status: int) -> Freedom:
    """Return the freedom of an endpoint without an operation beside create."""
    operation, method = _OPERATIONS[name]

    def hook(visit: Visit) -> Reply | None:
        if (visit.info.operation, visit.method) == (operation, method):
            headers = (("allow", "POST"),) if status == 405 else ()
            raise ApiError(status, "This operation is not supported.", code="unsupported_operation", headers=headers)
        return None

    return Freedom(
        id=f"{name.replace('_', '-')}-unsupported-with-{status}",
        title=f"The endpoint refuses the operation {name} with {status}.",
        dialects=_dialects(name),
        sources=_METHODS,
        choice=f"operation {name}",
        override=hook,
    )


def _all() -> Iterator[Freedom]:
    for feature in load_features().values():
        # One function tool and two are forms of the same feature.
        if feature.at and feature.name != "parallel_calls":
            yield from (
                _refused(feature, status) for status in ((400, 404, 422, 501) if feature.name in _MANY else (400,))
            )
    for name in _OPERATIONS:
        yield from (_missing(name, status) for status in (404, 405, 501))


FREEDOMS: Final = FreedomList(*_all())

"""Freedoms of errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from rejoinder.sandbox.endpoint.tokens import Json
from rejoinder.sandbox.fault import ErrorHook, without_field
from rejoinder.sandbox.freedom import Freedom, FreedomList, cite

_ERROR_INFO: Final = cite("vllm", "ErrorInfo", "vllm/entrypoints/openai/engine/protocol.py#L68")
_ERRORS: Final = cite("openresponses", "Errors", "?plain=1#L419")


def _changed(change: Callable[[Json, int], Any]) -> ErrorHook:
    """Return a hook that replaces the error object of every refusal by what is made of it and the status."""
    return lambda status, body, _: (
        status,
        {**body, "error": change(body["error"], status)} if isinstance(body, dict) else body,
    )


FREEDOMS: Final = FreedomList(
    Freedom(
        id="status-as-error-code",
        title="The code of errors is the HTTP status as a number.",
        dialects=("northstar",),
        sources=(_ERROR_INFO,),
        choice="code of errors",
        error=_changed(lambda error, status: {**error, "code": status}),
    ),
    Freedom(
        id="no-error-param",
        title="Errors have no param.",
        dialects=("northstar", "openresponses"),
        sources=(_ERROR_INFO, _ERRORS),
        error=_changed(lambda error, _: without_field(error, "param")),
    ),
    Freedom(
        id="no-error-code",
        title="Errors have no code.",
        dialects=("openresponses",),
        sources=(_ERRORS,),
        choice="code of errors",
        error=_changed(lambda error, _: without_field(error, "code")),
    ),
    Freedom(
        id="own-error-types",
        title="The type of errors is none that the dialect lists.",
        sources=(_ERRORS, _ERROR_INFO),
        error=_changed(lambda error, _: {**error, "type": "acme_problem"}),
    ),
)

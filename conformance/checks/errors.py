"""The body of refused requests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rejoinder.conformance.registry import On, check
from rejoinder.conformance.view import View
from rejoinder.verdict import ABSENT, Problem


def _error(view: View) -> dict[str, Any] | None:
    body = view.exchange.json()
    error = body.get("error") if isinstance(body, dict) else None
    return error if isinstance(error, dict) else None


@check("ERR-01", On.REFUSAL)
def error_envelope(view: View) -> Iterator[Problem]:
    """The body must be a JSON object with an error object that has the keys type, message, param and code."""
    error = _error(view)
    if error is None:
        body = view.exchange.json()
        yield Problem(
            "The body of a refusal has no error object.",
            pointer="/error",
            expected='{"error": {"type": ..., "message": ..., "param": ..., "code": ...}}',
            actual=body if body is not None else view.exchange.body[:200],
            kind="none",
        )
        return
    for name in ("type", "message", "param", "code"):
        if name not in error:
            yield Problem(
                f"The error of a refusal lacks {name}.", pointer=f"/error/{name}", expected="present", actual=ABSENT
            )


@check("ERR-02", On.REFUSAL, needs=lambda view: _error(view) is not None)
def error_message_and_code(view: View) -> Iterator[Problem]:
    """The types of message, type and code are looked at where they are there."""
    error = _error(view) or {}
    message, kind, code = (error.get(name, ABSENT) for name in ("message", "type", "code"))
    if message is not ABSENT and (not isinstance(message, str) or not message.strip()):
        yield Problem(
            "The error message is not a sentence.",
            pointer="/error/message",
            expected="a non-empty string",
            actual=message,
        )
    if kind is not ABSENT and not isinstance(kind, str):
        yield Problem("The error type is not a string.", pointer="/error/type", expected="a string", actual=kind)
    if code is not ABSENT and code is not None and not isinstance(code, str):
        yield Problem(
            "The error code is not a string.", pointer="/error/code", expected="a string or null", actual=code
        )

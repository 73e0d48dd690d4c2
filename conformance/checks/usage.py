"""Token usage."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rejoinder.conformance.checks._problems import get, in_response, is_integer
from rejoinder.conformance.registry import On, check
from rejoinder.conformance.view import View
from rejoinder.verdict import ABSENT, Problem


def _usage(view: View) -> dict[str, Any]:
    usage = get(view.response, "usage")
    return usage if isinstance(usage, dict) else {}


@check("USG-01", On.RESPONSE, needs=lambda view: get(view.response, "status") in ("completed", "incomplete"))
def usage_at_the_end(view: View) -> Iterator[Problem]:
    """Usage must be an object on completed and incomplete responses."""
    usage = get(view.response, "usage")
    if not isinstance(usage, dict):
        yield in_response(view, "A finished response has no usage.", "/usage", expected="an object", actual=usage)


def _counts(view: View) -> list[Any]:
    return [_usage(view).get(name) for name in ("input_tokens", "output_tokens", "total_tokens")]


@check("USG-02", On.RESPONSE, needs=lambda view: all(is_integer(count) for count in _counts(view)))
def usage_adds_up(view: View) -> Iterator[Problem]:
    """total_tokens is compared with the sum of input_tokens and output_tokens."""
    given, made, total = _counts(view)
    if total != given + made:
        yield in_response(
            view, "The token counts do not add up.", "/usage/total_tokens", expected=given + made, actual=total
        )


@check("USG-03", On.RESPONSE, needs=lambda view: bool(_usage(view)))
def counts_are_counts(view: View) -> Iterator[Problem]:
    """Each count must be a non-negative integer; output_tokens must be positive when there is output text.

    input_tokens must be positive when the input was a non-empty string.
    """
    usage = _usage(view)
    sent = view.request.get("input")
    for name, positive in (
        ("input_tokens", isinstance(sent, str) and bool(sent.strip())),
        ("output_tokens", bool(view.text())),
        ("total_tokens", False),
    ):
        count = usage.get(name, ABSENT)
        if not is_integer(count) or count < 0:
            yield in_response(
                view,
                f"{name} is not a count.",
                f"/usage/{name}",
                expected="an integer, 0 or more",
                actual=count,
                kind="type",
            )
        elif positive and count == 0:
            yield in_response(
                view,
                f"{name} is zero though there was text.",
                f"/usage/{name}",
                expected="1 or more",
                actual=0,
                kind="zero",
            )

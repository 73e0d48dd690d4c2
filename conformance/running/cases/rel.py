"""One request at temperature 0, sent twice and in every other way that means the same."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final

from rejoinder.conformance.judging.roles import Role
from rejoinder.conformance.running.case import (
    LONG,
    ROOMY,
    TIME_TOOL,
    WEATHER_TOOL,
    CaseContext,
    PlannedCase,
    Replies,
    RequestSpec,
    call_outputs,
    completed_output,
    continuing,
    is_over,
    mirrored,
    stored_request,
    user,
)
from rejoinder.conformance.running.cases.ech import NULLABLE
from rejoinder.wire.base_form import fit_body

Body = dict[str, Any]
_KEPT: Final = ("input",)
"""The field whose form the requests are about: no base form changes it."""


def cases(context: CaseContext, plan: str) -> Iterator[PlannedCase]:
    """Yield the cases of a plan; only ``full`` has them."""
    if plan != "full":
        return
    text = context.body(
        input=user("Name three colours."),
        instructions="Answer in one short sentence.",
        metadata={"purpose": "relations"},
        temperature=0,
        max_output_tokens=ROOMY,
    )
    yield _ways(context, "text", "A prompt", text, _forms_of_input)
    calls = context.body(
        input=user("Use get_weather and get_time for Oslo, both at once."),
        tools=[WEATHER_TOOL, TIME_TOOL],
        temperature=0,
        max_output_tokens=LONG,
    )
    yield _ways(context, "calls", "A prompt for two function calls", calls)
    yield _histories(context, "text", text, lambda replies: user("Name one more."))
    streamed = {**text, "stream": True}
    yield _histories(context, "streamed", streamed, lambda replies: user("Name one more."))
    yield _histories(
        context, "calls", calls, lambda replies: call_outputs(completed_output(replies.get(Role.FIRST)), "12 degrees")
    )


def _forms_of_input(body: Body) -> dict[str, Body]:
    text = body["input"][0]["content"]
    message = {"type": "message", "role": "user", "content": text}
    return {
        "as-string": {"input": text},
        "untyped": {"input": user(text)},
        "typed": {"input": [message]},
        "in-parts": {"input": [{**message, "content": [{"type": "input_text", "text": text}]}]},
    }


def _ways(
    context: CaseContext, name: str, what: str, body: Body, forms: Callable[[Body], dict[str, Body]] = lambda _: {}
) -> PlannedCase:
    """Return the case of a request with all other ways to send it. If the endpoint refuses it, no other is sent."""
    nulls = {field: None for field in NULLABLE if field not in body and context.allows({**body, field: None})}
    ways = {
        **forms(body),
        "with-nulls": nulls,
        "with-defaults": _defaults(context, body),
        "unstored": {"store": False},
        "background": {"background": True},
        Role.STREAM: {"stream": True},
    }
    usual = fit_body(body, context.dialect.usual_form, {})
    specs = [
        RequestSpec(role, partial(_changed, fields=fields), keeps=_KEPT)
        for role, fields in ways.items()
        if usual != {**usual, **fields} and context.dialect.sound_requests.is_valid({**usual, **fields})
    ]
    return PlannedCase(
        f"related.{name}",
        f"{what} at temperature 0, sent twice and in every other way that means the same.",
        (
            RequestSpec(Role.PLAIN, body),
            stored_request(Role.GET, Role.PLAIN),
            RequestSpec(Role.AGAIN, partial(_changed, fields={}), keeps=_KEPT),
            *specs,
            stored_request(Role.GET_STREAMED, Role.STREAM),
            RequestSpec(Role.MIRRORED, _mirrored, keeps=_KEPT),
            stored_request(Role.POLL, "background", until=is_over),
        ),
    )


def _defaults(context: CaseContext, body: Body) -> Body:
    """Return the documented defaults of the fields that a body lacks."""
    known = context.dialect.request["defaults"]
    fields = {name: value for name, value in known.items() if name not in body}
    return {name: value for name, value in fields.items() if context.allows({**body, name: value})}


def _changed(replies: Replies, *, fields: Mapping[str, Any]) -> Body | None:
    """Return the body of the first request as it was sent, with other fields, if it was accepted.

    Options of the run may have set some of the fields. These stay, since they are demanded.
    """
    first = replies.get(Role.PLAIN)
    sent = first.request.json() if first is not None and first.ok else None
    return {**sent, **fields} if isinstance(sent, dict) else None


def _mirrored(replies: Replies) -> bytes | None:
    """Return the body of the first request with its fields in reverse order."""
    sent = _changed(replies, fields={})
    return None if sent is None else json.dumps(mirrored(sent)).encode()


def _histories(
    context: CaseContext, name: str, body: Body, further: Callable[[Replies], list[dict[str, Any]]]
) -> PlannedCase:
    """Return the case of a request that continues a response by its id, and twice with the history as input."""

    def inline(replies: Replies) -> Body | None:
        first = replies.get(Role.FIRST)
        sent = first.request.json() if first is not None and first.ok else None
        items, output = further(replies), completed_output(first)
        if not isinstance(sent, dict) or not items or not output:
            return None
        given = sent.get("input")
        if not isinstance(given, list):
            return None
        own = {name: value for name, value in sent.items() if name != "stream"}
        return {**own, "input": [*given, *context.sent_back(output), *items]}

    def chained(replies: Replies) -> Body | None:
        whole = inline(replies)
        return None if whole is None else continuing(Role.FIRST, {**whole, "input": further(replies)})(replies)

    return PlannedCase(
        f"related.history-{name}",
        "A request that continues a response by its id, and the same with the history as input, at temperature 0.",
        (
            RequestSpec(Role.FIRST, body),
            RequestSpec(Role.INLINE, inline),
            RequestSpec(Role.CHAINED, chained),
            RequestSpec("inline-again", inline),
        ),
    )

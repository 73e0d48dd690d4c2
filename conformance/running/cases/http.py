"""Requests that the endpoint must accept, and refusals with a fixed status: input forms, keys, methods, models."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from rejoinder.conformance.judging.roles import Role
from rejoinder.conformance.running.case import (
    ROOMY,
    WEATHER_TOOL,
    CaseContext,
    PlannedCase,
    Replies,
    RequestSpec,
    greeting,
    liveness_request,
    plain_and_streamed,
    refused,
    single,
    user,
)
from rejoinder.contract.examples import HOSTED_CALLS, IMAGE_URL
from rejoinder.model.tags import Tag, wrong_field

_NO_IMAGE: Final = f"data:image/png;base64,{base64.b64encode(b'This text is no image. ' * 8).decode()}"

_ODD_SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {
        "größe": {"anyOf": [{"type": "integer"}, {"type": "string"}, {"type": "null"}]},
        "child": {"$ref": "#/$defs/node"},
        "extra": {"type": "object", "additionalProperties": {"type": "number"}},
    },
    "required": ["größe", "child"],
    "$defs": {"node": {"type": "object", "properties": {"name": {}, "child": {"$ref": "#/$defs/node"}}}},
}


def cases(context: CaseContext, plan: str) -> Iterator[PlannedCase]:
    """Yield the cases of a plan."""
    yield from _smoke(context)
    if plan != "smoke":
        yield _parts(context)
    if plan == "full":
        yield from _inputs(context)
        yield from _history(context)
        yield from _refusals(context)


def _smoke(context: CaseContext) -> Iterator[PlannedCase]:
    """Yield a minimal stream, which every family with checks of streams uses, and the refusals of every plan."""
    body = context.body
    hello = body(input=user("Say hello."), stream=True)
    yield single("basic.stream", "A minimal streaming request.", hello, (Tag.VALID, Tag.BASIC), role=Role.STREAM)
    if context.form.stream_false:
        # All other requests say so; this one is about an endpoint that is not told.
        intent = "A minimal request without stream."
        yield single("basic.stream-absent", intent, greeting(context), (Tag.VALID, Tag.BASIC), keeps=("stream",))
    if not context.form.max_output_tokens:
        intent = "A minimal request with max_output_tokens."
        yield single("basic.max-output-tokens", intent, greeting(context), keeps=("max_output_tokens",))
    if not context.allows(body()):
        yield refused("no-input", "A request without input is refused.", body(), wrong_field("input"))
    yield refused(
        "broken-json",
        "A truncated JSON body is refused, and a minimal valid request succeeds after it.",
        b'{"input": "Say hello.", ',
        Tag.BROKEN,
        after=liveness_request(context),
    )
    absent = {**greeting(context), "model": "no-such-model"}
    listed = (Tag.UNLISTED_MODEL,) if context.lists_its_models else ()
    tags = (Tag.UNKNOWN_MODEL, *listed, wrong_field("model"))
    yield refused("unknown-model", "A model that does not exist is refused.", absent, *tags)
    nobody = [{"role": "nobody", "content": "Hi"}]
    yield refused(
        "stream",
        "An invalid streaming request is refused before the stream.",
        body(input=nobody, stream=True),
        wrong_field("input"),
    )


def _parts(context: CaseContext) -> PlannedCase:
    texts = [{"type": "input_text", "text": text} for text in ("My name is Ada.", "I live in Oslo.", "Who am I?")]
    return plain_and_streamed(
        "content.parts",
        "A user message with several text parts.",
        context.body(input=[{"role": "user", "content": texts}], max_output_tokens=ROOMY),
    )


def _inputs(context: CaseContext) -> Iterator[PlannedCase]:
    body = context.body
    image = [
        {"type": "input_text", "text": "What is in this image?"},
        {"type": "input_image", "image_url": IMAGE_URL, "detail": "auto"},
    ]
    elsewhere = [image[0], {**image[1], "image_url": "https://images.invalid/none.png"}]
    broken = [image[0], {**image[1], "image_url": _NO_IMAGE}]
    seen = plain_and_streamed(
        "content.image",
        "An image as a data URL, and a text in its place.",
        body(input=[{"role": "user", "content": image}]),
    )
    unsound = body(input=[{"role": "user", "content": broken}])

    def unseen(replies: Replies) -> dict[str, Any] | None:
        """Return the request whose image is none, for an endpoint that accepts images."""
        reply = replies.get(Role.PLAIN)
        return unsound if reply is not None and reply.ok else None

    yield replace(seen, requests=(*seen.requests, RequestSpec(Role.BROKEN_IMAGE, unseen, (Tag.EDGE,))))
    limited = [*user("Find Oslo."), *HOSTED_CALLS, *user("What did you find?")]
    yield single(
        "content.max-tool-calls",
        "Several hosted tool calls in the input with a max_tool_calls of 1.",
        body(input=limited, max_tool_calls=1, max_output_tokens=ROOMY),
    )
    yield plain_and_streamed(
        "content.image-address",
        "An image URL that does not resolve.",
        body(input=[{"role": "user", "content": elsewhere}]),
    )
    talk = [
        {"role": "system", "content": "You are a guide."},
        {"role": "developer", "content": "Keep to Norway."},
        {"role": "user", "content": "Where am I?"},
        {"role": "assistant", "content": "In Oslo."},
        {"role": "user", "content": "Since when?"},
    ]
    yield plain_and_streamed("content.roles", "Messages of every role.", body(input=talk))
    yield plain_and_streamed(
        "content.odd-schema",
        "A function with a recursive schema, open types and non-ASCII names.",
        body(
            input=user("Measure the tree."),
            tools=[{"type": "function", "name": "measure", "parameters": _ODD_SCHEMA}],
            max_output_tokens=ROOMY,
        ),
    )
    yield plain_and_streamed(
        "content.call-output",
        "A function call and its output as input.",
        body(
            input=[
                *user("What is the weather in Oslo?"),
                {"type": "function_call", "call_id": "call_1", "name": "get_weather", "arguments": '{"city": "Oslo"}'},
                {"type": "function_call_output", "call_id": "call_1", "output": "Rain in Oslo, 4 degrees"},
            ],
            tools=[WEATHER_TOOL],
            max_output_tokens=ROOMY,
        ),
    )


def _history(context: CaseContext) -> Iterator[PlannedCase]:
    body = context.body
    for item in HOSTED_CALLS:
        yield plain_and_streamed(
            f"content.history.{item['type']}",
            f"A {item['type']} item in the input.",
            body(input=[*user("Find Oslo."), item, *user("What did you find?")], max_output_tokens=ROOMY),
        )


def _refusals(context: CaseContext) -> Iterator[PlannedCase]:
    yield single(
        "refused.key",
        "A valid request with an invalid API key.",
        greeting(context),
        (Tag.WRONG_KEY,),
        role="wrong-key",
    )
    yield refused(
        "content-type",
        "A valid JSON body with the content type text/plain is refused.",
        greeting(context),
        headers=(("content-type", "text/plain"),),
    )
    intent = "PUT to the path of create."
    yield single("refused.method", intent, greeting(context), (Tag.WRONG_METHOD,), role="put", method="PUT")

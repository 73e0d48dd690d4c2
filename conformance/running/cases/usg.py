"""Requests that show what input_tokens counts, and requests whose input tokens are counted before they are sent."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from rejoinder.conformance.judging.roles import COUNTED_TEXT, Role, role_of
from rejoinder.conformance.judging.token_counts import SHORT, Growth, counted_tokens
from rejoinder.conformance.running.case import (
    WEATHER_TOOL,
    CaseContext,
    PlannedCase,
    Replies,
    RequestSpec,
    closed,
    final_response,
    operation_request,
    response_id,
    user,
)
from rejoinder.conformance.running.operations import end_of_conversation, in_conversation
from rejoinder.contract.examples import image_url

Body = dict[str, Any]

FILLER: Final = (
    "The harbour lies still in the morning, and the boats wait for the tide. A baker opens her shop and carries warm "
    "bread to the tables near the door. Two children feed the gulls, while an old man mends a blue net. Behind the "
    "church a gardener waters roses, and a grey cat sleeps on the wall. Later the wind rises, the sails fill, and the "
    "whole town smells of salt and rope."
)
"""A text of some eighty tokens that means nothing, for requests that count."""

_SHORT: Final = "Good."
_HELLO: Final = "Say hello."
_SIDE: Final = 256
"""Pixels on each side of an image: enough for models that count a small one as next to nothing."""


def cases(context: CaseContext, plan: str) -> Iterator[PlannedCase]:
    """Yield the cases of a plan; only ``full`` has them."""
    if plan == "full":
        yield _counted_text(context)
        yield from _counted_before(context)


# Texts, images and files at each place


def _counted_text(context: CaseContext) -> PlannedCase:
    """Return the case with a text at each place of a request, an image and a file, and the requests without them.

    Two requests have a text at all places of a kind: short, and long. Only if the second has too few tokens, or too
    many, or was refused, does each place get a request of its own.
    """

    def body(**fields: Any) -> Body:
        return context.body(**fields)

    def when(*, doubted: Callable[[Replies], bool], then: Body) -> Callable[[Replies], Body | None]:
        return lambda replies: then if doubted(replies) else None

    def singly(
        base: str, filled: tuple[str, str], at_places: Callable[[str], Mapping[str, Body]]
    ) -> Iterator[RequestSpec]:
        bodies = {role: body(**made) for role, made in at_places(FILLER).items()}
        shorts = {SHORT[role]: body(**made) for role, made in at_places(_SHORT).items() if role in SHORT}

        def doubted(replies: Replies) -> bool:
            together = _grown(replies, *filled, copies=len(bodies))
            measured = _input_tokens(replies, base) is not None and _grown(replies, Role.BARE, Role.TEXT) is not None
            return measured and (together is None or together.is_in_doubt)

        def again(replies: Replies) -> Body | None:
            """Return the first body whose text is not counted once, where only this request shows it."""
            seen = {role: _grown(replies, SHORT.get(role, base), role) for role in bodies}
            wrong = (bodies[role] for role, grown in seen.items() if grown is not None and grown.is_wrong)
            return next(wrong, None) if _input_tokens(replies, filled[1]) is None else None

        for role, made in {**shorts, **bodies}.items():
            yield RequestSpec(role, when(doubted=doubted, then=made))
        yield RequestSpec(role_of(filled[1], Role.AGAIN), again)

    def dropped(replies: Replies) -> bool:
        """Whether the image in a tool output adds no tokens, and the one in a message does."""
        control, seen = _added(replies, Role.BARE, Role.IMAGE), _added(replies, Role.CALLS, Role.IMAGE_OF_TOOL)
        return control is not None and seen is not None and Growth(seen, control).is_missing

    image = {"type": "input_image", "image_url": image_url(_SIDE), "detail": "auto"}
    data = base64.b64encode(FILLER.encode()).decode()
    file = {"type": "input_file", "filename": "note.txt", "file_data": f"data:text/plain;base64,{data}"}
    hello = {"type": "input_text", "text": _HELLO}
    of_tool = body(**_calls(parts=[{"type": "input_text", "text": _SHORT}, image]))
    messages, calls = (Role.MESSAGES, Role.MESSAGES_FILLED), (Role.CALLS, Role.CALLS_FILLED)
    return PlannedCase(
        COUNTED_TEXT,
        "A text at each place of a request, an image and a file, and the same requests without them.",
        (
            RequestSpec(Role.BARE, body(input=user(_HELLO))),
            RequestSpec(Role.TEXT, body(input=[*user(FILLER), *user(_HELLO)])),
            RequestSpec(Role.TEXT_AGAIN, body(input=[*user(FILLER), *user(_HELLO)])),
            RequestSpec(Role.TEXT_TWICE, body(input=[*user(FILLER), *user(FILLER), *user(_HELLO)])),
            RequestSpec(Role.MESSAGES, body(**_messages(_SHORT))),
            RequestSpec(Role.MESSAGES_FILLED, body(**_messages(FILLER))),
            *singly(Role.BARE, messages, _at_messages),
            RequestSpec(Role.CALLS, body(**_calls())),
            RequestSpec(Role.CALLS_FILLED, body(**_calls(FILLER, FILLER, FILLER, [_text(FILLER)]))),
            *singly(Role.CALLS, calls, _at_calls),
            RequestSpec(Role.IMAGE, body(input=[{"role": "user", "content": [hello, image]}])),
            RequestSpec(Role.IMAGE_OF_TOOL, of_tool),
            RequestSpec(role_of(Role.IMAGE_OF_TOOL, Role.AGAIN), when(doubted=dropped, then=of_tool)),
            RequestSpec(Role.FILE, body(input=[{"role": "user", "content": [hello, file]}])),
        ),
    )


def _text(text: str) -> Body:
    return {"type": "input_text", "text": text}


def _answer(text: str) -> Body:
    """Return an earlier answer in the form in which responses have it."""
    part = {"type": "output_text", "text": text, "annotations": []}
    return {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [part]}


def _messages(text: str) -> Body:
    """Return the fields of a request with a text at each of :data:`MESSAGE_PLACES`."""
    items = [
        {"role": "system", "content": text},
        {"role": "developer", "content": text},
        {"role": "user", "content": [_text(text), _text(_HELLO)]},
        {"role": "assistant", "content": text},
        *user(_SHORT),
        _answer(text),
        *user(_HELLO),
    ]
    return {"instructions": text, "input": items}


def _at_messages(text: str) -> dict[str, Body]:
    """Return the fields of requests with a text at one place, by role."""
    hello = user(_HELLO)
    return {
        Role.IN_INSTRUCTIONS: {"instructions": text, "input": hello},
        Role.IN_SYSTEM: {"input": [{"role": "system", "content": text}, *hello]},
        Role.IN_DEVELOPER: {"input": [{"role": "developer", "content": text}, *hello]},
        Role.IN_PART: {"input": [{"role": "user", "content": [_text(text), _text(_HELLO)]}]},
        Role.IN_ANSWER: {"input": [*user(_SHORT), {"role": "assistant", "content": text}, *hello]},
        Role.IN_ANSWER_PART: {"input": [*user(_SHORT), _answer(text), *hello]},
    }


def _calls(
    description: str = _SHORT, argument: str = _SHORT, output: str = _SHORT, parts: list[Body] | None = None
) -> Body:
    """Return the fields of a request with two calls and their outputs, one a string and one a list of parts."""
    tool = {
        "type": "function",
        "name": "find_note",
        "description": description,
        "parameters": closed({"topic": {"type": "string"}}),
        "strict": True,
    }

    def call(number: int, topic: str) -> Body:
        arguments = f'{{"topic": "{topic}"}}'
        return {"type": "function_call", "call_id": f"call_{number}", "name": "find_note", "arguments": arguments}

    def returned(number: int, said: Any) -> Body:
        return {"type": "function_call_output", "call_id": f"call_{number}", "output": said}

    items = [call(1, argument), returned(1, output), call(2, _SHORT), returned(2, parts or [_text(_SHORT)])]
    return {"input": [*user(_HELLO), *items], "tools": [tool]}


def _at_calls(text: str) -> dict[str, Body]:
    """Return the fields of requests with a text at one place of a call, its output or its tool, by role."""
    return {
        Role.IN_DEFINITION: _calls(description=text),
        Role.IN_ARGUMENTS: _calls(argument=text),
        Role.IN_OUTPUT: _calls(output=text),
        Role.IN_OUTPUT_PART: _calls(parts=[_text(text)]),
    }


def _input_tokens(replies: Replies, role: str) -> int | None:
    return counted_tokens(final_response(replies.get(role)), "input_tokens")


def _added(replies: Replies, base: str, role: str) -> int | None:
    """Return how many more input tokens a request has than another, ``None`` without both counts."""
    fewer, more = _input_tokens(replies, base), _input_tokens(replies, role)
    return None if fewer is None or more is None else more - fewer


def _grown(replies: Replies, base: str, role: str, *, copies: int = 1) -> Growth | None:
    """Return how many more input tokens a request has, and how many as many copies of the text in a message add."""
    one, grown = _added(replies, Role.BARE, Role.TEXT), _added(replies, base, role)
    return None if one is None or grown is None or one <= 0 else Growth(grown, one * copies)


# Input tokens that are counted before


def _counted_before(context: CaseContext) -> Iterator[PlannedCase]:
    """Yield the cases of the operation input_tokens, in dialects that have it."""
    operation = context.dialect.operations.get("input_tokens")
    if operation is None or operation.body is None:
        return
    fields = operation.body.get("properties", {})
    hello = context.body(input=user("Say hello."), instructions="Answer in one word.")

    def count(role: str, body: Callable[[Replies], dict[str, Any] | None]) -> RequestSpec:
        def counted(replies: Replies) -> dict[str, Any] | None:
            found = body(replies)
            return None if found is None else {name: value for name, value in found.items() if name in fields}

        return operation_request(context, role, "input_tokens", body=counted)

    def named(field: str, of: str, said: str = "Go on.") -> Callable[[Replies], dict[str, Any] | None]:
        def body(replies: Replies) -> dict[str, Any] | None:
            identity = response_id(replies, of)
            on = context.body(input=user(said), tools=[WEATHER_TOOL], tool_choice="none")
            return None if identity is None else {**on, field: identity}

        return body

    continued = named("previous_response_id", Role.FIRST)
    friendly = {**hello, "personality": "friendly"}
    yield PlannedCase(
        "usage.counted-history",
        "A request that continues a response is counted and sent, and one with a personality is counted.",
        (
            RequestSpec(Role.FIRST, hello),
            count(Role.COUNT, continued),
            RequestSpec(Role.CHAINED, continued),
            *((count(role_of(Role.COUNT, "personality"), lambda _: friendly),) if "personality" in fields else ()),
        ),
    )
    if "conversation" in fields and "create_conversation" in context.dialect.operations:
        talk = named("conversation", Role.TALK_CREATED)
        later = named("conversation", Role.TALK_CREATED, "Go on again.")
        here, first = in_conversation(Role.TALK_CREATED), in_conversation(Role.TALK_CREATED, _TALK_ITEMS)
        opening = {"items": [*user(FILLER), *hello["input"]]}
        yield PlannedCase(
            "usage.counted-conversation",
            "Two requests in a conversation, the first of them counted before. Between them an item is deleted.",
            (
                operation_request(context, Role.TALK_CREATED, "create_conversation", body=opening),
                count(Role.COUNT, talk),
                RequestSpec(Role.TALK_FIRST, talk),
                operation_request(context, _TALK_ITEMS, "list_conversation_items", here, query="order=asc"),
                operation_request(context, Role.TALK_ITEM_GONE, "delete_conversation_item", first),
                RequestSpec(Role.TALK_SECOND, lambda replies: later(replies) if _is_gone(replies) else None),
                end_of_conversation(context),
            ),
        )


_TALK_ITEMS: Final = "talk-items"


def _is_gone(replies: Replies) -> bool:
    """Whether an item of the conversation was deleted."""
    reply = replies.get(Role.TALK_ITEM_GONE)
    return reply is not None and reply.ok

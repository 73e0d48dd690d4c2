"""Stored responses: retrieved, deleted, listed and continued."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from rejoinder.conformance.judging.canaries import new_canary
from rejoinder.conformance.judging.limits import CONTEXT_FIELDS, context_lengths
from rejoinder.conformance.judging.problems import get
from rejoinder.conformance.judging.roles import Role, role_of
from rejoinder.conformance.running.case import (
    LONG,
    ROOMY,
    WEATHER_TOOL,
    CaseContext,
    PlannedCase,
    Replies,
    RequestSpec,
    call_outputs,
    closed,
    completed_output,
    continuing,
    final_response,
    included_values,
    operation_request,
    output_of,
    plain_and_streamed,
    response_id,
    stored_path,
    stored_request,
    unknown_id,
    user,
)
from rejoinder.conformance.running.cases.usg import FILLER
from rejoinder.conformance.running.operations import end_of_conversation, in_conversation
from rejoinder.contract.examples import IMAGE_URL
from rejoinder.model.tags import Tag, sent_for

# A form that holds the answer back from repeating what it was told.
_OK: Final[Mapping[str, Any]] = {
    "format": {"type": "json_schema", "name": "answer", "strict": True, "schema": closed({"answer": {"enum": ["OK"]}})}
}
_HISTORY: Final = 4 * LONG
"""Output tokens for a model that repeats a long history as a whole."""
_LATE: Final = 2.0
"""Seconds after which a response that could not be continued at once is continued again."""
_NOWHERE: Final = "http://127.0.0.1:9/rejoinder.png"


def cases(context: CaseContext, plan: str) -> Iterator[PlannedCase]:
    """Yield the cases of a plan."""
    if plan == "smoke":
        return
    hello = user("Say hello.")
    yield PlannedCase(
        "state.stored",
        "A response is stored by default and retrieved twice.",
        (
            RequestSpec(Role.FIRST, context.body(input=hello)),
            stored_request(Role.GET, Role.FIRST),
            stored_request(Role.GET_AGAIN, Role.FIRST),
        ),
    )
    if _converses(context):
        yield _conversation(context)
    yield _references(context, whole=plan == "full")
    if plan == "full":
        yield PlannedCase(
            "state.unknown-previous",
            "A request without and with an unknown previous_response_id.",
            (
                RequestSpec(Role.CONTROL, context.body(input=hello)),
                RequestSpec(
                    Role.PLAIN,
                    continuing(Role.CONTROL, context.body(input=hello), change=unknown_id),
                    (sent_for("STA-06"),),
                ),
            ),
        )
        yield plain_and_streamed(
            "content.not-stored",
            "A request with store false.",
            context.body(input=user("Forget this."), store=False, metadata={"run": "1"}),
        )
        yield from _storage(context)
        if _converses(context):
            yield from _conversations(context)
        yield _input_items(context)
        yield _listed_kinds(context)
        yield _memory(context, "string")
        yield _memory(context, "list")
        yield _memory(context, "unstored")
        yield _memory_of_calls(context)
        yield _siblings(context)
        yield _tenants(context)
        yield _continued(context)
        yield from _compaction(context)
        yield from _included(context)
        if context.allows(_phased(context)):
            yield PlannedCase(
                "state.input-items-phase",
                "The input items of a response with a phase of an assistant message.",
                (
                    RequestSpec(Role.FIRST, _phased(context)),
                    stored_request(Role.ASCENDING, Role.FIRST, "input_items", query="order=asc"),
                ),
            )
        yield _overflow(context)


def _storage(context: CaseContext) -> Iterator[PlannedCase]:
    hello = user("Say hello.")
    yield PlannedCase(
        "state.streamed",
        "A stored response with and without streaming, and one with store false.",
        (
            RequestSpec(Role.FIRST, context.body(input=hello)),
            stored_request(Role.GET, Role.FIRST),
            RequestSpec(Role.STREAMED, context.body(input=hello, stream=True)),
            stored_request(Role.GET_STREAMED, Role.STREAMED),
            RequestSpec(Role.UNSTORED, context.body(input=hello, store=False)),
            stored_request(Role.GET_UNSTORED, Role.UNSTORED),
            stored_request(Role.REPLAY, Role.FIRST, query="stream=true", deadline=20),
            stored_request(Role.CANCEL, Role.FIRST, "cancel", method="POST"),
            stored_request(Role.GET_AFTER, Role.FIRST),
        ),
    )
    yield PlannedCase(
        "state.unknown",
        "Retrieve, delete and cancel of an unknown response.",
        (
            RequestSpec(Role.FIRST, context.body(input=hello)),
            stored_request(Role.GET, Role.FIRST),
            stored_request(Role.GET_UNKNOWN, Role.FIRST, change=unknown_id),
            stored_request(Role.DELETE_UNKNOWN, Role.FIRST, method="DELETE", change=unknown_id),
            stored_request(Role.CANCEL_UNKNOWN, Role.FIRST, "cancel", method="POST", change=unknown_id),
            stored_request(Role.GET_AFTER, Role.FIRST),
        ),
    )
    yield PlannedCase(
        "state.deleted",
        "A response is deleted and retrieved again.",
        (
            RequestSpec(Role.FIRST, context.body(input=hello)),
            stored_request(Role.GET, Role.FIRST),
            stored_request(Role.DELETE, Role.FIRST, method="DELETE"),
            stored_request(Role.GET_DELETED, Role.FIRST),
            stored_request("delete-again", Role.FIRST, method="DELETE"),
        ),
    )

    if _converses(context):
        talk = _said_in(context, Role.TALK_CREATED, hello)
        yield PlannedCase(
            "state.two-histories",
            "A request with previous_response_id, one with conversation, one with both, and one with null.",
            (
                operation_request(context, Role.TALK_CREATED, "create_conversation", body={}),
                RequestSpec(Role.FIRST, context.body(input=hello)),
                RequestSpec(Role.CONTROL, continuing(Role.FIRST, context.body(input=hello)), ()),
                RequestSpec(Role.CONVERSATION, talk, ()),
                RequestSpec("both", _both(talk), (sent_for("STA-07"),)),
                RequestSpec("none", context.body(input=hello, conversation=None)),
                end_of_conversation(context),
            ),
        )


def _both(talk: Callable[[Replies], dict[str, Any] | None]) -> Callable[[Replies], dict[str, Any] | None]:
    """Return the body that names a conversation and a response that it continues."""

    def body(replies: Replies) -> dict[str, Any] | None:
        said = talk(replies)
        return None if said is None else continuing(Role.FIRST, said)(replies)

    return body


def _converses(context: CaseContext) -> bool:
    """Whether the dialect has conversations."""
    return "create_conversation" in context.dialect.operations


def _said_in(
    context: CaseContext,
    role: str,
    given: Any,
    *,
    as_object: bool = False,
    change: Callable[[str], str] = str,
    **fields: Any,
) -> Callable[[Replies], dict[str, Any] | None]:
    """Return the body of a request in the conversation that an earlier request created."""

    def body(replies: Replies) -> dict[str, Any] | None:
        identity = response_id(replies, role)
        if identity is None:
            return None
        named: Any = {"id": change(identity)} if as_object else change(identity)
        return context.body(**{"input": given, "conversation": named, **fields})

    return body


_OPENING: Final = [{"type": "message", "role": "user", "content": "My name is Ada."}]


def _conversation(context: CaseContext) -> PlannedCase:
    """Return the case that shows whether the endpoint has conversations at all."""
    return PlannedCase(
        "state.conversation",
        "A conversation is created, a response is added to it, its items are listed, and it is deleted.",
        (
            operation_request(context, Role.TALK_CREATED, "create_conversation", body={"items": _OPENING}),
            RequestSpec(Role.TALK_FIRST, _said_in(context, Role.TALK_CREATED, user("Say hello."))),
            operation_request(
                context,
                Role.TALK_LISTED,
                "list_conversation_items",
                in_conversation(Role.TALK_CREATED),
                query="order=asc&limit=100",
            ),
            _late_list(context, (Role.TALK_FIRST,)),
            end_of_conversation(context),
        ),
    )


def _late_list(context: CaseContext, roles: tuple[str, ...]) -> RequestSpec:
    """Return the request that lists the items again later, if the first list lacks the output of a response."""

    def ids(replies: Replies) -> tuple[str, ...] | None:
        page = replies.get(Role.TALK_LISTED)
        there = page.body.decode("utf-8", "replace") if page is not None else ""
        missing = any(str(item.get("id")) not in there for role in roles for item in output_of(replies.get(role)))
        return in_conversation(Role.TALK_CREATED)(replies) if missing else None

    query = "order=asc&limit=100"
    return operation_request(context, Role.TALK_LISTED_AFTER, "list_conversation_items", ids, query=query, wait=_LATE)


def _conversations(context: CaseContext) -> Iterator[PlannedCase]:
    hello = user("Say hello.")

    def ask(role: str, name: str, ids: Callable[[Replies], tuple[str, ...] | None], **fields: Any) -> RequestSpec:
        return operation_request(context, role, name, ids, **fields)

    here, nowhere = in_conversation(Role.TALK_CREATED), in_conversation(Role.TALK_CREATED, change=unknown_id)
    renamed = {"metadata": {"topic": "rejoinder", "state": "renamed"}}
    yield PlannedCase(
        "state.conversation-metadata",
        "A conversation is retrieved, updated and deleted.",
        (
            operation_request(
                context, Role.TALK_CREATED, "create_conversation", body={"metadata": {"topic": "rejoinder"}}
            ),
            ask(Role.TALK_GET, "retrieve_conversation", here),
            ask(Role.TALK_UPDATED, "update_conversation", here, body=renamed),
            ask(Role.TALK_GET_UPDATED, "retrieve_conversation", here),
            end_of_conversation(context),
            ask(Role.TALK_GET_DELETED, "retrieve_conversation", here),
        ),
    )
    texts = [{"type": "message", **message} for word in ("One.", "Two.", "Three.", "Four.") for message in user(word)]
    listed = ask(Role.TALK_LISTED, "list_conversation_items", here)

    def page_after(role: str, before: str) -> RequestSpec:
        return RequestSpec(
            role,
            method="GET",
            collection=listed.collection,
            path=lambda replies: None if _last_of(replies, before) is None else below(replies),
            query=lambda replies: f"order=asc&limit=2&after={_last_of(replies, before)}",
            tags=(),
        )

    assert callable(listed.path)
    below = listed.path
    yield PlannedCase(
        "state.conversation-items",
        "Items are added to a conversation, listed completely and in pages, retrieved and deleted.",
        (
            operation_request(context, Role.TALK_CREATED, "create_conversation", body={"items": _OPENING}),
            ask(Role.TALK_ADDED, "create_conversation_items", here, body={"items": texts}),
            listed,
            ask(Role.ASCENDING, "list_conversation_items", here, query="order=asc"),
            ask(Role.PAGE, "list_conversation_items", here, query="order=asc&limit=2"),
            page_after(Role.PAGE_AFTER, Role.PAGE),
            page_after(Role.PAGE_LAST, Role.PAGE_AFTER),
            ask(Role.TALK_ITEM, "retrieve_conversation_item", in_conversation(Role.TALK_CREATED, Role.TALK_ADDED)),
            ask(
                Role.TALK_ITEM_DELETED, "delete_conversation_item", in_conversation(Role.TALK_CREATED, Role.TALK_ADDED)
            ),
            ask(
                Role.TALK_GET_DELETED_ITEM,
                "retrieve_conversation_item",
                in_conversation(Role.TALK_CREATED, Role.TALK_ADDED),
            ),
            ask(Role.TALK_LISTED_AFTER, "list_conversation_items", here, query="order=asc"),
            end_of_conversation(context),
        ),
    )
    yield _conversation_of_calls(context)
    yield _conversation_memory(context)
    yield PlannedCase(
        "state.conversation-unknown",
        "Operations on a conversation that does not exist, and a request that names it.",
        (
            operation_request(context, Role.TALK_CREATED, "create_conversation", body={}),
            ask("empty", "list_conversation_items", here),
            RequestSpec(Role.CONTROL, _said_in(context, Role.TALK_CREATED, hello)),
            RequestSpec(
                Role.UNKNOWN,
                _said_in(context, Role.TALK_CREATED, hello, change=unknown_id),
                (sent_for("STA-23"),),
            ),
            ask(Role.TALK_GET_UNKNOWN, "retrieve_conversation", nowhere),
            ask(Role.TALK_UPDATE_UNKNOWN, "update_conversation", nowhere, body=renamed),
            ask(Role.TALK_LIST_UNKNOWN, "list_conversation_items", nowhere),
            ask(Role.TALK_DELETE_UNKNOWN, "delete_conversation", nowhere),
            end_of_conversation(context),
        ),
    )


def _conversation_memory(context: CaseContext) -> PlannedCase:
    """Return a case with a canary in an item of a conversation, and one in a response that belongs to it."""
    first, second = new_canary("quartz"), new_canary("saffron")
    opening = user(f"{FILLER}\nThe first code word is {first}.")
    said = user(f"The second code word is {second}. Answer with OK only.")
    question = user("List all code words so far in the order in which you heard them.")

    def told(replies: Replies) -> dict[str, Any] | None:
        return _said_in(context, Role.TALK_CREATED, said, temperature=0, stream=True)(replies)

    def chained(replies: Replies) -> dict[str, Any] | None:
        fields: dict[str, Any] = {"temperature": 0, "max_output_tokens": _HISTORY}
        return _said_in(context, Role.TALK_CREATED, question, as_object=True, **fields)(replies)

    def inline(replies: Replies) -> dict[str, Any] | None:
        text = _text(replies, Role.TALK_FIRST)
        turns = [*opening, *said, {"role": "assistant", "content": text}, *question]
        return _greedy_body(context, input=turns, max_output_tokens=_HISTORY) if text else None

    def doubted(replies: Replies) -> dict[str, Any] | None:
        model_can = all(_says(replies, Role.TALK_INLINE, word) for word in (first, second))
        known = all(_says(replies, Role.TALK_CHAINED, word) for word in (first, second))
        return chained(replies) if model_can and not known else None

    items = [{"type": "message", **message} for message in opening]
    return PlannedCase(
        "state.conversation-memory",
        "A canary in a conversation and one in its first response are repeated in the next.",
        (
            operation_request(context, Role.TALK_CREATED, "create_conversation", body={"items": items}),
            RequestSpec(Role.TALK_FIRST, told),
            RequestSpec(Role.TALK_INLINE, inline),
            RequestSpec(Role.TALK_CHAINED, chained),
            RequestSpec(role_of(Role.TALK_CHAINED, Role.AGAIN), doubted),
            operation_request(
                context,
                Role.TALK_LISTED,
                "list_conversation_items",
                in_conversation(Role.TALK_CREATED),
                query="order=asc&limit=100",
            ),
            _late_list(context, (Role.TALK_FIRST, Role.TALK_CHAINED)),
            end_of_conversation(context),
        ),
    )


def _last_of(replies: Replies, role: str) -> str | None:
    """Return the cursor of the page after one that an earlier request got, ``None`` at the end."""
    page = replies.get(role)
    body = page.json() if page is not None and page.ok else None
    last = body.get("last_id") if isinstance(body, dict) and body.get("has_more") is not False else None
    return last if isinstance(last, str) else None


def _input_items(context: CaseContext) -> PlannedCase:
    texts = [message for word in ("One.", "Two.", "Three.", "Four.", "Five.") for message in user(word)]
    listed = stored_path(Role.FIRST, "input_items")

    def page_after(role: str, before: str) -> RequestSpec:
        return RequestSpec(
            role,
            method="GET",
            path=lambda replies: None if _last_of(replies, before) is None else listed(replies),
            query=lambda replies: f"order=asc&limit=2&after={_last_of(replies, before)}",
            tags=(),
        )

    return PlannedCase(
        "state.input-items",
        "The input items of a response, listed completely and in pages.",
        (
            RequestSpec(Role.FIRST, context.body(input=texts)),
            RequestSpec(Role.LISTED, method="GET", path=listed, tags=()),
            RequestSpec(Role.ASCENDING, method="GET", path=listed, query="order=asc", tags=()),
            RequestSpec(Role.PAGE, method="GET", path=listed, query="order=asc&limit=2", tags=()),
            page_after(Role.PAGE_AFTER, Role.PAGE),
            page_after(Role.PAGE_LAST, Role.PAGE_AFTER),
        ),
    )


_TALK_OF_CALLS: Final = [
    {"type": "message", **user("What is the weather in Oslo?")[0]},
    {"type": "function_call", "call_id": "call_1", "name": "get_weather", "arguments": '{"city": "Oslo"}'},
    {"type": "function_call_output", "call_id": "call_1", "output": "Rain."},
    {"type": "message", "role": "assistant", "content": "It rains."},
    {"type": "message", **user("Thank you.")[0]},
]


def _conversation_of_calls(context: CaseContext) -> PlannedCase:
    def ask(role: str, name: str, **fields: Any) -> RequestSpec:
        return operation_request(context, role, name, in_conversation(Role.TALK_CREATED), **fields)

    return PlannedCase(
        "state.conversation-items-of-calls",
        "The items of a conversation with a function call, its output and an assistant message.",
        (
            operation_request(context, Role.TALK_CREATED, "create_conversation", body={"items": _TALK_OF_CALLS}),
            ask(Role.TALK_LISTED, "list_conversation_items"),
            ask(Role.ASCENDING, "list_conversation_items", query="order=asc"),
            end_of_conversation(context),
        ),
    )


def _listed_kinds(context: CaseContext) -> PlannedCase:
    return PlannedCase(
        "state.input-items-of-calls",
        "The input items of a response with a function call, its output and an assistant message.",
        (
            RequestSpec(Role.FIRST, context.body(input=_TALK_OF_CALLS, tools=[WEATHER_TOOL])),
            stored_request(Role.LISTED, Role.FIRST, "input_items"),
            stored_request(Role.ASCENDING, Role.FIRST, "input_items", query="order=asc"),
        ),
    )


def _continued(context: CaseContext) -> PlannedCase:
    """Return a case that continues responses of all kinds as soon as they end."""
    hello, on = user("Say hello."), user("Go on.")
    story = context.body(input=user("Tell a long story."), max_output_tokens=context.least_tokens)
    called = context.body(
        input=user("What is the weather in Oslo?"),
        tools=[WEATHER_TOOL],
        tool_choice="required",
        max_output_tokens=ROOMY,
    )

    def after(role: str, **fields: Any) -> Callable[[Replies], dict[str, Any] | None]:
        def body(replies: Replies) -> dict[str, Any] | None:
            identity = response_id(replies, role)
            ended = (final_response(replies.get(role)) or {}).get("status") in ("completed", "incomplete")
            if identity is None or not ended:
                return None
            answers = call_outputs(output_of(replies.get(role)), "Sunny, 22 degrees.")
            return context.body(**{"input": [*answers, *on], "previous_response_id": identity, **fields})

        return body

    def refused(role: str) -> Callable[[Replies], dict[str, Any] | None]:
        again = after(role)

        def body(replies: Replies) -> dict[str, Any] | None:
            reply = replies.get(role_of(Role.NEXT, role))
            return again(replies) if reply is not None and (reply.status or 0) >= 400 else None

        return body

    def each(role: str, body: dict[str, Any]) -> Iterator[RequestSpec]:
        yield RequestSpec(role, body)
        yield RequestSpec(role_of(Role.NEXT, role), after(role), ())
        yield RequestSpec(role_of(Role.LATE, role), refused(role), (), wait=_LATE)

    # What cannot be fetched makes some endpoints fail in the middle of a stream.
    image = {"type": "input_image", "image_url": _NOWHERE, "detail": "auto"}
    failing = [{"role": "user", "content": [{"type": "input_text", "text": "What is this?"}, image]}]

    def failed(role: str) -> Callable[[Replies], dict[str, Any] | None]:
        def body(replies: Replies) -> dict[str, Any] | None:
            has_failed = (final_response(replies.get("failing")) or {}).get("status") == "failed"
            return continuing(role, context.body(input=on))(replies) if has_failed else None

        return body

    return PlannedCase(
        "state.continued",
        "Plain, streamed, truncated, unstored and failed responses, and one with a tool call, are continued at once.",
        (
            *each(Role.PLAIN, context.body(input=hello)),
            *each(Role.STREAMED, context.body(input=hello, stream=True)),
            *each(Role.CUT, story),
            *each(Role.CALLED, called),
            RequestSpec(Role.UNSTORED, context.body(input=hello, store=False)),
            RequestSpec(Role.NEXT_UNSTORED, after(Role.UNSTORED), ()),
            RequestSpec(Role.UNKNOWN, continuing(Role.PLAIN, context.body(input=on), change=unknown_id), ()),
            RequestSpec("failing", after(Role.PLAIN, input=failing, stream=True), ()),
            RequestSpec(Role.NEXT_FAILING, failed("failing"), ()),
            RequestSpec(Role.NEXT_PLAIN_AGAIN, failed(Role.PLAIN), ()),
        ),
    )


def _memory(context: CaseContext, form: str) -> PlannedCase:
    """Return a case that sends a canary, continues the response, and lets the model repeat the canary.

    The same conversation in one request shows whether the model can repeat it at all.
    """
    first, second = new_canary("quartz"), new_canary("saffron")
    # One of the histories is long enough to show in input_tokens how often it is read.
    aside = f"{FILLER}\n" if form == "string" else ""
    opening_text = f"{aside}The first code word is {first}. Answer with OK only."
    question = f"The second code word is {second}. List all code words so far in the order in which you heard them."
    room = {"max_output_tokens": _HISTORY} if aside else {}

    def said(text: str) -> Any:
        return text if form == "string" else user(text)

    opening = context.body(input=said(opening_text), temperature=0)
    if form == "list":
        opening |= {"text": dict(_OK), "stream": True}

    def inline(replies: Replies) -> dict[str, Any] | None:
        text = _text(replies, Role.FIRST)
        if not text:
            return None
        history = [*user(opening_text), {"role": "assistant", "content": text}, *user(question)]
        return _greedy_body(context, input=history, **room)

    def chained(replies: Replies) -> dict[str, Any] | None:
        identity = response_id(replies, Role.FIRST)
        kept = {"store": False} if form == "unstored" else {}
        return (
            None
            if identity is None
            else _greedy_body(context, input=said(question), previous_response_id=identity, **kept, **room)
        )

    def doubted(replies: Replies) -> dict[str, Any] | None:
        model_can = _says(replies, Role.INLINE, first) and not _says(replies, Role.CHAINED, first)
        return chained(replies) if model_can else None

    again_text = "List all code words again in the order in which you heard them."
    again = _greedy_body(context, input=said(again_text), **room)

    def third(replies: Replies) -> dict[str, Any] | None:
        return continuing(Role.CHAINED, again)(replies) if form != "unstored" else None

    def third_doubted(replies: Replies) -> dict[str, Any] | None:
        model_can = _says(replies, Role.INLINE, first) and _says(replies, Role.CHAINED, first)
        return third(replies) if model_can and not _says(replies, Role.THIRD, first) else None

    return PlannedCase(
        f"state.memory-{form}",
        "A canary in a first turn, repeated in the next turn with store false."
        if form == "unstored"
        else f"A canary in a first turn ({form} input), repeated in the next turns.",
        (
            RequestSpec(Role.FIRST, opening),
            RequestSpec(Role.CHAINED, chained),
            RequestSpec(Role.INLINE, inline),
            RequestSpec("chained-again", doubted),
            RequestSpec(Role.THIRD, third),
            RequestSpec("third-again", third_doubted),
        ),
    )


def _memory_of_calls(context: CaseContext) -> PlannedCase:
    word = new_canary("quartz")
    question = user("Look up the password with get_weather.")
    wait, again = "Answer with OK only.", "What is the password? Answer with the password only."

    def output(replies: Replies) -> list[dict[str, Any]]:
        return context.sent_back(completed_output(replies.get(Role.FIRST)))

    def answers(replies: Replies) -> list[dict[str, Any]]:
        return call_outputs(output(replies), f"The password is {word}.")

    def answered(replies: Replies) -> dict[str, Any] | None:
        identity, given = response_id(replies, Role.FIRST), answers(replies)
        if identity is None or not given:
            return None
        turn = [*given, *user(wait)]
        return _greedy_body(context, input=turn, tools=[WEATHER_TOOL], text=dict(_OK), previous_response_id=identity)

    chained = continuing("answered", _greedy_body(context, input=user(again)))

    def inline(replies: Replies) -> dict[str, Any] | None:
        given, text = answers(replies), _text(replies, "answered")
        if not given or not text:
            return None
        turns = [*user(wait), {"role": "assistant", "content": text}, *user(again)]
        return _greedy_body(context, input=[*question, *output(replies), *given, *turns])

    def doubted(replies: Replies) -> dict[str, Any] | None:
        model_can = _says(replies, Role.INLINE, word) and not _says(replies, Role.CHAINED, word)
        return chained(replies) if model_can else None

    called = context.body(
        input=question, tools=[WEATHER_TOOL], tool_choice="required", temperature=0, max_output_tokens=LONG
    )
    return PlannedCase(
        "state.memory-calls",
        "The canary in a tool output of the second turn is repeated in the third.",
        (
            RequestSpec(Role.FIRST, called),
            RequestSpec("answered", answered, ()),
            RequestSpec(Role.CHAINED, chained),
            RequestSpec(Role.INLINE, inline, ()),
            RequestSpec("chained-again", doubted),
        ),
    )


def _references(context: CaseContext, *, whole: bool) -> PlannedCase:
    """Return a case that refers to an item of a stored response, which has a canary; without controls if not whole."""
    word = new_canary("saffron")
    opening = user(f"The code word is {word}. Answer with the code word only.")
    question = user("Which code word did you give? Answer with the code word only.")

    def messages(replies: Replies) -> list[dict[str, Any]]:
        found = [item for item in completed_output(replies.get(Role.FIRST)) if item.get("type") == "message"]
        return [item for item in found if isinstance(item.get("id"), str)]

    def referring(change: Callable[[str], str] = str) -> Callable[[Replies], dict[str, Any] | None]:
        def body(replies: Replies) -> dict[str, Any] | None:
            named = [{"type": "item_reference", "id": change(item["id"])} for item in messages(replies)]
            return _greedy_body(context, input=[*named, *question]) if named else None

        return body

    def inline(replies: Replies) -> dict[str, Any] | None:
        found = messages(replies)
        return _greedy_body(context, input=[*found, *question]) if found else None

    def doubted(replies: Replies) -> dict[str, Any] | None:
        model_can = _says(replies, Role.INLINE, word) and not _says(replies, Role.REFERENCED, word)
        return referring()(replies) if model_can else None

    requests = (
        RequestSpec(Role.FIRST, _greedy_body(context, input=opening)),
        RequestSpec(Role.REFERENCED, referring()),
        RequestSpec(Role.INLINE, inline, ()),
        RequestSpec(role_of(Role.REFERENCED, Role.AGAIN), doubted),
        RequestSpec(Role.UNKNOWN, referring(unknown_id), (sent_for("STA-28"),)),
    )
    intent = "A canary in an item of a stored response, to which a reference in the input leads."
    return PlannedCase("state.item-reference", intent, requests if whole else requests[:2])


def _compaction(context: CaseContext) -> Iterator[PlannedCase]:
    """Yield cases that compact a conversation with a canary and continue from what came back."""
    model = context.named_model
    if model is None or "compact" not in context.dialect.operations:
        return
    question = user("What are the code words? Answer with all code words only.")

    def compacted(**fields: Any) -> dict[str, Any]:
        return {"model": model, **fields}

    def said(text: str) -> dict[str, Any]:
        return {"type": "message", "role": "assistant", "content": text}

    def resumed(replies: Replies) -> dict[str, Any] | None:
        reply = replies.get(Role.COMPACTED)
        output = get(reply.json(), "output") if reply is not None and reply.ok else None
        return _greedy_body(context, input=[*output, *question]) if isinstance(output, list) and output else None

    def again(words: Sequence[str]) -> Callable[[Replies], dict[str, Any] | None]:
        def body(replies: Replies) -> dict[str, Any] | None:
            missed = (word for word in words if not _says(replies, Role.AFTER_COMPACTION, word))
            return resumed(replies) if any(_says(replies, Role.INLINE, word) for word in missed) else None

        return body

    def resuming(words: Sequence[str], inline: Any) -> tuple[RequestSpec, ...]:
        return (
            RequestSpec(Role.AFTER_COMPACTION, resumed, ()),
            RequestSpec(Role.INLINE, inline, ()),
            RequestSpec(role_of(Role.AFTER_COMPACTION, Role.AGAIN), again(words), ()),
        )

    word, reply = new_canary("quartz"), new_canary("cobalt")
    turns = [
        *user(f"The first code word is {word}."),
        said(f"I will remember it. The second code word is {reply}. Remember it, too."),
        *user("Good."),
        said("What is next?"),
    ]
    yield PlannedCase(
        "state.compacted",
        "A conversation with a canary is compacted, and the output is sent back with a question.",
        (
            RequestSpec(Role.COMPACTED, compacted(input=turns), (), path=("compact",)),
            *resuming((word, reply), _greedy_body(context, input=[*turns, *question])),
            RequestSpec(Role.WITHOUT_MODEL, {"input": user("Say hello.")}, (), path=("compact",)),
        ),
    )

    other = new_canary("saffron")
    opening = f"The code word is {other}. Answer with OK only."

    def continued(change: Callable[[str], str] = str) -> Callable[[Replies], dict[str, Any] | None]:
        return continuing(Role.FIRST, compacted(input=user("Go on.")), change=change)

    def inline(replies: Replies) -> dict[str, Any] | None:
        text = _text(replies, Role.FIRST)
        return _greedy_body(context, input=[*user(opening), said(text), *question]) if text else None

    yield PlannedCase(
        "state.compacted-response",
        "A stored response with a canary is compacted by its id, and the output is sent back with a question.",
        (
            RequestSpec(Role.FIRST, _greedy_body(context, input=user(opening), text=dict(_OK))),
            RequestSpec(Role.COMPACTED, continued(), (), path=("compact",)),
            *resuming((other,), inline),
            RequestSpec(Role.UNKNOWN, continued(unknown_id), (), path=("compact",)),
        ),
    )


def _included(context: CaseContext) -> Iterator[PlannedCase]:
    """Yield cases that retrieve a response and list its input with each value of ``include`` that the dialect has."""
    values = {name: included_values(context.dialect, name) for name in ("retrieve", "input_items")}
    hello = user("Say hello.")
    if not any(values.values()):
        return

    def including(value: str, *, as_list: bool = True) -> str:
        # The clients of the dialect send a list with brackets, its OpenAPI document describes one without.
        return f"include{'%5B%5D' if as_list else ''}={value}"

    yield PlannedCase(
        "state.include",
        "A response is retrieved and its input listed with each value of include.",
        (
            RequestSpec(Role.FIRST, context.body(input=hello)),
            stored_request(Role.GET, Role.FIRST),
            *(
                stored_request(role_of(Role.GET_INCLUDING, n), Role.FIRST, query=including(value))
                for n, value in enumerate(values["retrieve"], 1)
            ),
            stored_request(Role.LISTED, Role.FIRST, "input_items"),
            *(
                stored_request(role_of(Role.LISTED_INCLUDING, n), Role.FIRST, "input_items", query=including(value))
                for n, value in enumerate(values["input_items"], 1)
            ),
        ),
    )

    def twice(role: str, of: str, value: str, *below: str) -> Iterator[RequestSpec]:
        yield stored_request(role, of, *below, query=including(value))
        yield stored_request(role_of(role, Role.AGAIN), of, *below, query=including(value, as_list=False))

    encrypted, logprobs = "reasoning.encrypted_content", "message.output_text.logprobs"
    image = {"type": "input_image", "image_url": IMAGE_URL, "detail": "auto"}
    seen = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "What is this?"}, image]}]
    yield PlannedCase(
        "state.included-fields",
        "Responses with encrypted reasoning and logprobs, and an image in the input, retrieved with include.",
        (
            RequestSpec("encrypted", context.body(input=hello, reasoning={"effort": "low"}, include=[encrypted])),
            *twice(Role.GET_ENCRYPTED, "encrypted", encrypted),
            RequestSpec("logprobs", context.body(input=hello, include=[logprobs])),
            *twice(Role.GET_LOGPROBS, "logprobs", logprobs),
            RequestSpec("image", context.body(input=seen)),
            stored_request("listed-image-bare", "image", "input_items"),
            *twice(Role.LISTED_IMAGE, "image", "message.input_image.image_url", "input_items"),
        ),
    )


def _siblings(context: CaseContext) -> PlannedCase:
    word = new_canary("quartz")
    question = "What is the code word? Answer with the code word, or with NONE if you were given none."

    def after(role: str, text: str) -> Callable[[Replies], dict[str, Any] | None]:
        return continuing(role, _greedy_body(context, input=user(text)))

    return PlannedCase(
        "state.siblings",
        "Two responses continue the same one. A canary in one must not reach the other.",
        (
            RequestSpec(Role.PARENT, context.body(input=user("Say hello."), temperature=0)),
            RequestSpec(Role.CHILD, after(Role.PARENT, f"The code word is {word}.\n{FILLER}\nAnswer with OK only.")),
            RequestSpec(Role.SIBLING, after(Role.PARENT, question)),
            RequestSpec(Role.GRANDCHILD, after(Role.CHILD, question)),
        ),
    )


def _tenants(context: CaseContext) -> PlannedCase:
    """Return a case that stops unless the second tenant's key is good for a create request."""
    story = context.body(input=user("Tell a long story."), background=True, max_output_tokens=LONG)

    def ours(body: dict[str, Any]) -> Callable[[Replies], dict[str, Any] | None]:
        return lambda replies: None if response_id(replies, Role.THEIRS) is None else body

    on = context.body(input=user("Go on."))
    talk: tuple[RequestSpec, ...] = ()
    if _converses(context):
        created = operation_request(context, Role.TALK_CREATED, "create_conversation", body=ours({"items": _OPENING}))
        here = in_conversation(Role.TALK_CREATED)
        theirs = operation_request(context, Role.THEIR_TALK, "list_conversation_items", here, tenant=2)
        talk = (created, theirs, end_of_conversation(context))

    return PlannedCase(
        "state.tenants",
        "A second tenant's key is used to access the first tenant's responses.",
        (
            RequestSpec(Role.THEIRS, context.body(input=user("Say hello.")), tenant=2),
            RequestSpec(Role.FIRST, ours(context.body(input=user("Say hello.")))),
            stored_request(Role.GET, Role.FIRST),
            stored_request(Role.THEIR_GET, Role.FIRST, tenant=2),
            stored_request(Role.THEIR_LISTING, Role.FIRST, "input_items", tenant=2),
            RequestSpec(Role.THEIR_UNKNOWN, continuing(Role.FIRST, on, change=unknown_id), (), tenant=2),
            RequestSpec(Role.THEIR_CONTINUED, continuing(Role.FIRST, on), (), tenant=2),
            *talk,
            RequestSpec("story", ours(story)),
            stored_request(Role.THEIR_CANCEL, "story", "cancel", method="POST", tenant=2),
            stored_request(Role.GET_STORY, "story"),
            stored_request(Role.THEIR_DELETE, Role.FIRST, method="DELETE", tenant=2),
            stored_request(Role.GET_AFTER, Role.FIRST),
        ),
    )


def _greedy_body(context: CaseContext, **fields: Any) -> dict[str, Any]:
    return context.body(**{"temperature": 0, "max_output_tokens": ROOMY, **fields})


def _text(replies: Replies, role: str) -> str:
    contents = [item["content"] for item in output_of(replies.get(role)) if isinstance(item.get("content"), list)]
    parts = [part for content in contents for part in content if get(part, "type") == "output_text"]
    return "".join(str(part.get("text") or "") for part in parts)


def _says(replies: Replies, role: str, word: str) -> bool:
    return word in _text(replies, role)


def _phased(context: CaseContext) -> dict[str, Any]:
    """Return a request whose input has an assistant message with a phase."""
    said = {"type": "message", "role": "assistant", "content": "Let me look.", "phase": "commentary"}
    turns = ({"type": "message", **message} for text in ("Where is Oslo?", "And?") for message in user(text))
    first, last = turns
    return context.body(input=[first, said, last])


_LENGTHS: Final = (*CONTEXT_FIELDS, ("meta", "n_ctx"), ("meta", "n_ctx_train"))
"""Where servers list the context of a model, in tokens."""


def _listed_context(models: Any, model: str | None) -> int | None:
    """Return the largest context in tokens that a list of models has for a model, or for its first one.

    ``models`` is the body of ``GET /v1/models``. ``None`` where it has no context.
    """
    rows = [row for row in data if isinstance(row, dict)] if isinstance(data := get(models, "data"), list) else []
    row = next((row for row in rows if row.get("id") == model), rows[0] if rows and model is None else None)
    return max(context_lengths(row, _LENGTHS), default=None)


_WIDEST: Final = 40_000
"""The largest context, in tokens, that is filled: an input of some 200 KB."""
_SPARE: Final = 64
_MODELS: Final = "models"
"""The role of the request for the list of models, which no check needs."""


def _overflow(context: CaseContext) -> PlannedCase:
    """Return a case that sends more words than the context has tokens, if the endpoint lists the context.

    The control has a quarter as many words, which shows whether each counts.
    """

    def raining(replies: Replies, share: float) -> dict[str, Any] | None:
        reply = replies.get(_MODELS)
        length = _listed_context(reply.json(), context.model) if reply is not None and reply.ok else None
        if length is None or length > _WIDEST:
            return None
        words = int((length + _SPARE) * share)
        return context.body(input=user(" ".join(["rain"] * words)), truncation="disabled")

    def overflowing(replies: Replies) -> dict[str, Any] | None:
        return raining(replies, 1)

    def again(replies: Replies) -> dict[str, Any] | None:
        reply = replies.get(Role.OVERFLOWING)
        return overflowing(replies) if reply is not None and reply.ok else None

    return PlannedCase(
        "state.overflow",
        "A quarter of the context that GET /v1/models lists, and more words than it has, with truncation disabled.",
        (
            RequestSpec(_MODELS, method="GET", collection="models", tags=()),
            RequestSpec(Role.CONTROL, lambda replies: raining(replies, 0.25), (Tag.EDGE,)),
            RequestSpec(Role.OVERFLOWING, overflowing, (Tag.EDGE,)),
            RequestSpec(role_of(Role.OVERFLOWING, Role.AGAIN), again, (Tag.EDGE,)),
        ),
    )

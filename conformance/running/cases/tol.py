"""Tools: tool_choice, calls sent as input, outputs in both forms, and tool fields that must be refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final

from rejoinder.conformance.judging.canaries import new_canary
from rejoinder.conformance.judging.roles import INSTRUCTIONS_ANYWHERE, Role, role_of
from rejoinder.conformance.running.case import (
    LONG,
    NOTE_TOOL,
    ROOMY,
    TIME_TOOL,
    WEATHER_TOOL,
    BodyOf,
    CaseContext,
    PlannedCase,
    Replies,
    RequestSpec,
    call_outputs,
    closed,
    completed_output,
    output_of,
    plain_and_streamed,
    single,
    strict_format,
    user,
)
from rejoinder.contract.examples import COMPUTER_TOOL, IMAGE_URL
from rejoinder.model.tags import Tag, sent_for

Item = dict[str, Any]

_OPTIONAL: Final = ("id", "status")
"""Fields of items that clients leave out, or have as null, when they send them back."""
_OUTPUTS: Final[Mapping[str, tuple[str, Any]]] = {
    "function_call": ("function_call_output", "Rain."),
    "custom_tool_call": ("custom_tool_call_output", "Noted."),
    "computer_call": ("computer_call_output", {"type": "computer_screenshot", "image_url": IMAGE_URL}),
}
"""What answers a call, by its type: the type of the answer and its output."""


def cases(context: CaseContext, plan: str) -> Iterator[PlannedCase]:
    """Yield the cases of a plan."""
    if plan == "smoke":
        return
    yield _named(context)
    yield _sent_back(context)
    if plan == "full":
        yield from _calls(context)
        yield _calls_sent_back(context)
        yield _outputs(context)
        yield from _refusals(context)
        yield from _further(context)
        yield from _items(context)
        yield _reversed(context)
        yield _messages(context)
        yield from _typed(context)
        yield _referring(context)
        yield _empty(context)
        yield _named_like_tools(context)
        yield _refused_before(context)


def _named(context: CaseContext) -> PlannedCase:
    return plain_and_streamed(
        "tool.named",
        "A function call with a named tool_choice.",
        context.body(
            input=user("What is the weather in Oslo?"),
            tools=[WEATHER_TOOL],
            tool_choice={"type": "function", "name": "get_weather"},
            max_output_tokens=64,
        ),
    )


def _calls(context: CaseContext) -> Iterator[PlannedCase]:
    body = context.body
    yield plain_and_streamed(
        "content.one-call-at-a-time",
        "A prompt for two function calls with parallel_tool_calls false.",
        body(
            input=user("Use get_weather and get_time to tell me the weather and the time in Oslo."),
            tools=[WEATHER_TOOL, TIME_TOOL],
            parallel_tool_calls=False,
            max_output_tokens=ROOMY,
        ),
    )
    yield plain_and_streamed(
        "content.computer-call",
        "A computer tool call.",
        body(
            input=user("Look at the screen."),
            tools=[COMPUTER_TOOL],
            tool_choice={"type": "computer_use_preview"},
            truncation="auto",
            max_output_tokens=ROOMY,
        ),
    )


def _sent_back(context: CaseContext) -> PlannedCase:
    first = user("Say hello.")

    def again(replies: Replies) -> dict[str, Any] | None:
        output = context.sent_back(output_of(replies.get(Role.FIRST)))
        return context.body(input=[*first, *output, *_answers(output), *user("Say it again.")]) if output else None

    return PlannedCase(
        "tools.sent-back",
        "Output items are sent unchanged in the input of the next request.",
        (RequestSpec(Role.FIRST, context.body(input=first)), RequestSpec(Role.SENT_BACK, again, ())),
    )


def _calls_sent_back(context: CaseContext) -> PlannedCase:
    tools = [WEATHER_TOOL, TIME_TOOL]
    first = user("Use get_weather for Oslo.")

    def again(strip: bool) -> Any:
        def made(replies: Replies) -> dict[str, Any] | None:
            # Only a call that is whole can be answered.
            output = context.sent_back(completed_output(replies.get(Role.FIRST)))
            if not any(item.get("type") == "function_call" for item in output):
                return None
            items = [_bare(item) if strip else item for item in output]
            return context.body(input=[*first, *items, *_answers(items)], tools=tools)

        return made

    opening = context.body(input=first, tools=tools, tool_choice="required", max_output_tokens=LONG)
    return PlannedCase(
        "tools.call-sent-back",
        "A function call is sent with its output, with and without its ids.",
        (
            RequestSpec(Role.FIRST, opening),
            RequestSpec(Role.SENT_BACK, again(strip=False), ()),
            RequestSpec(Role.SENT_BACK_BARE, again(strip=True), ()),
        ),
    )


def _outputs(context: CaseContext) -> PlannedCase:
    word = new_canary("quartz")
    question = user("Look up the password with get_weather and answer with the password only.")
    call = _weather_call("call_1")

    def with_output(output: Any) -> dict[str, Any]:
        answer = {"type": "function_call_output", "call_id": "call_1", "output": output}
        return context.body(
            input=[*question, call, answer], tools=[WEATHER_TOOL], temperature=0, max_output_tokens=ROOMY
        )

    text = f"The password is {word}."
    listed = with_output([{"type": "input_text", "text": text}])

    def doubted(replies: Replies) -> dict[str, Any] | None:
        """Ask again only where the word came back from the string and not from the list."""
        return listed if _says(replies, Role.TEXT_OUTPUT, word) and not _says(replies, Role.LIST_OUTPUT, word) else None

    return PlannedCase(
        "tools.output-forms",
        "The output of a call as a string and as a list of content parts, with a canary.",
        (
            RequestSpec(Role.TEXT_OUTPUT, with_output(text)),
            RequestSpec(Role.LIST_OUTPUT, listed),
            RequestSpec(Role.LIST_OUTPUT_AGAIN, doubted),
        ),
    )


def _refusals(context: CaseContext) -> Iterator[PlannedCase]:
    question = user("What is the weather in Oslo?")
    named = {**WEATHER_TOOL, "name": "get the weather"}
    body = context.body(input=question, tools=[WEATHER_TOOL])
    control = RequestSpec(Role.CONTROL, body)
    tags = (Tag.EDGE, sent_for("TOL-09"))
    # Only what the dialect limits is surely wrong; what it does not is extreme at most.
    limits = context.dialect.request
    few = tags if limits["min_tool_calls"] else (Tag.EDGE,)
    odd = tags if limits["tool_names_limited"] else (Tag.EDGE,)
    yield PlannedCase(
        "tools.refused",
        "A valid tool, then an unknown tool_choice, a max_tool_calls of 0, and a tool name with a space.",
        (
            control,
            RequestSpec(Role.CHOICE, {**body, "tool_choice": "sometimes"}, tags),
            RequestSpec(Role.MAX_CALLS, {**body, "max_tool_calls": 0}, few),
            RequestSpec(Role.NAME, {**body, "tools": [named]}, odd),
        ),
    )
    chosen = {"type": "function", "name": WEATHER_TOOL["name"]}
    undeclared = (Tag.EDGE, sent_for("TOL-10"))
    yield PlannedCase(
        "tools.undeclared",
        "A tool_choice that names a declared function, and one that names an undeclared function.",
        (
            RequestSpec(Role.CONTROL, {**body, "tool_choice": chosen}),
            RequestSpec(Role.PLAIN, {**body, "tool_choice": {**chosen, "name": "no_such_tool"}}, undeclared),
        ),
    )
    orphan = {"type": "function_call_output", "call_id": "call_of_nobody", "output": "Rain."}
    yield PlannedCase(
        "tools.unknown-call",
        "A function_call_output with its call, and one with an unknown call_id.",
        (
            RequestSpec(Role.CONTROL, {**body, "input": [*question, _weather_call("call_of_nobody"), orphan]}),
            RequestSpec(Role.PLAIN, {**body, "input": [*question, orphan]}, (sent_for("TOL-08"),)),
        ),
    )


def _weather_call(call_id: str) -> Item:
    """Return a call of :data:`WEATHER_TOOL` in the form in which responses have it, which more endpoints accept."""
    return {
        "type": "function_call",
        "id": f"fc_{call_id}",
        "call_id": call_id,
        "name": WEATHER_TOOL["name"],
        "arguments": '{"city": "Oslo"}',
        "status": "completed",
    }


def _further(context: CaseContext) -> Iterator[PlannedCase]:
    body = context.body
    tools = [WEATHER_TOOL, TIME_TOOL]
    tempting = body(input=user("Use get_time for Oslo."), tools=tools, temperature=0, max_output_tokens=ROOMY)
    only_weather = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "get_weather"}]}
    yield PlannedCase(
        "tools.choice",
        "A prompt for a tool call, with tool_choice auto, none, and limited to another tool.",
        (
            RequestSpec(Role.TEMPTED, tempting),
            RequestSpec(Role.NONE, {**tempting, "tool_choice": "none"}),
            RequestSpec(Role.LIMITED, {**tempting, "tool_choice": only_weather}),
        ),
    )
    both = body(
        input=user("Use get_weather and get_time for Oslo, both at once."),
        tools=tools,
        tool_choice="required",
        parallel_tool_calls=False,
        temperature=0,
        max_output_tokens=LONG,
    )
    intent = "A prompt for two tool calls with parallel_tool_calls false."
    yield single("tools.single", intent, both, role="single")
    yield single(
        "tools.refused-answer",
        "tool_choice required with an unrelated prompt.",
        body(input=user("Write a poem."), tools=tools, tool_choice="required", max_output_tokens=LONG),
        role="required",
    )
    yield from _forced(context)
    yield _computer(context)
    yield from _computer_histories(context)


def _forced(context: CaseContext) -> Iterator[PlannedCase]:
    """Yield choices of a tool that are at odds with the question."""
    named = {"type": "function", "name": "get_weather"}
    limited = {"type": "allowed_tools", "mode": "required", "tools": [named]}
    choices: Mapping[str, tuple[Any, list[Mapping[str, Any]]]] = {
        "named": (named, [TIME_TOOL, WEATHER_TOOL]),
        "limited": (limited, [TIME_TOOL, WEATHER_TOOL]),
        "required": ("required", [WEATHER_TOOL]),
        "custom": ({"type": "custom", "name": "take_note"}, [TIME_TOOL, NOTE_TOOL]),
    }
    for name, (choice, tools) in choices.items():
        yield plain_and_streamed(
            f"tools.forced-{name}",
            "A prompt for one tool with a tool_choice that names another.",
            context.body(
                input=user("Use get_time for Oslo."),
                tools=tools,
                tool_choice=choice,
                temperature=0,
                max_output_tokens=LONG,
            ),
        )


def _computer(context: CaseContext) -> PlannedCase:
    first = user("Look at the screen.")

    def answered(replies: Replies) -> dict[str, Any] | None:
        output = context.sent_back(output_of(replies.get(Role.FIRST)))
        made = [item for item in output if item.get("type") == "computer_call"]
        outputs = [_output_for(item) for item in made]
        return context.body(input=[*first, *output, *outputs], tools=[COMPUTER_TOOL]) if made else None

    opening = context.body(
        input=first, tools=[COMPUTER_TOOL], tool_choice={"type": "computer_use_preview"}, max_output_tokens=ROOMY
    )
    return PlannedCase(
        "tools.computer",
        "A computer call and its screenshot.",
        (RequestSpec(Role.FIRST, opening), RequestSpec(Role.SCREENSHOT, answered, ())),
    )


_ACTIONS: Final[tuple[Mapping[str, Any], ...]] = (
    {"type": "screenshot"},
    {"type": "click", "button": "left", "x": 1, "y": 2},
    {"type": "double_click", "x": 1, "y": 2},
    {"type": "drag", "path": [{"x": 1, "y": 2}, {"x": 3, "y": 4}]},
    {"type": "keypress", "keys": ["CTRL", "A"]},
    {"type": "move", "x": 1, "y": 2},
    {"type": "scroll", "x": 1, "y": 2, "scroll_x": 0, "scroll_y": -5},
    {"type": "type", "text": "Oslo"},
    {"type": "wait"},
    {"type": "point_and_type", "text": "Oslo", "x": 1, "y": 2},
    {"type": "mouse_down", "x": 1, "y": 2},
    {"type": "mouse_up", "x": 1, "y": 2},
    {"type": "key_down", "keys": ["SHIFT"]},
    {"type": "key_up", "keys": ["SHIFT"]},
)


def _computer_histories(context: CaseContext) -> Iterator[PlannedCase]:
    def history(action: Mapping[str, Any], *checks: Mapping[str, Any]) -> dict[str, Any]:
        call = {
            "type": "computer_call",
            "id": "cu_1",
            "call_id": "call_1",
            "action": action,
            "pending_safety_checks": [*checks],
            "status": "completed",
        }
        given = _output_for(call)
        if checks:
            given["acknowledged_safety_checks"] = [*checks]
        return context.body(input=[*user("Look at the screen."), call, given], tools=[COMPUTER_TOOL], truncation="auto")

    safety = {"id": "check_1", "code": "malicious_instructions", "message": "Be careful."}
    requests = [RequestSpec(role_of(Role.ACTION, action["type"]), history(action)) for action in _ACTIONS]
    yield PlannedCase(
        "tools.computer-history",
        "Computer calls with each action, and with a safety check, in the history with their screenshots.",
        (*requests, RequestSpec("safety-check", history(_ACTIONS[0], safety))),
    )


def _says(replies: Replies, role: str, word: str) -> bool:
    reply = replies.get(role)
    return reply is not None and reply.ok and word.encode() in reply.body


def _bare(item: dict[str, Any]) -> dict[str, Any]:
    """Return a call without id and status; the contract lets no other output item stand without them."""
    if item.get("type") != "function_call":
        return item
    return {name: value for name, value in item.items() if name not in ("id", "status")}


def _unanswered(items: list[Item]) -> list[Item]:
    """Return the items without the calls that the server answered itself."""
    answered = {item.get("call_id") for item in items if str(item.get("type")).endswith("_output")}
    return [item for item in items if item.get("call_id") not in answered]


def _answers(items: list[Item]) -> list[Item]:
    return call_outputs(_unanswered(items), "Rain.")


# Round trips: what an endpoint gave out comes back as input, in every form that the contract lets it have.


def _items(context: CaseContext) -> Iterator[PlannedCase]:
    for kind, question, fields in (
        ("message", "Say hello.", {}),
        ("reasoning", "Is 91 a prime number?", {"reasoning": {"effort": "low"}, "max_output_tokens": 4 * ROOMY}),
        (
            "function_call",
            "What is the weather in Oslo?",
            {"tools": [WEATHER_TOOL], "tool_choice": "required", "max_output_tokens": LONG},
        ),
        (
            "custom_tool_call",
            "Note that the train leaves at nine.",
            {"tools": [NOTE_TOOL], "tool_choice": "required", "max_output_tokens": LONG},
        ),
        (
            "computer_call",
            "Look at the screen.",
            {"tools": [COMPUTER_TOOL], "tool_choice": {"type": "computer_use_preview"}, "max_output_tokens": ROOMY},
        ),
    ):
        opening = context.body(input=user(question), **fields)
        if context.allows(opening):
            yield PlannedCase(
                f"roundtrip.{kind}",
                f"An output item of type {kind} is sent unchanged, without optional fields, and with null for some.",
                (
                    RequestSpec(Role.FIRST, opening),
                    RequestSpec(Role.SENT_BACK, _again(context, opening, kind, lambda item: item), ()),
                    RequestSpec(Role.WITHOUT, _again(context, opening, kind, partial(_without, context)), ()),
                    RequestSpec(Role.NULLS, _again(context, opening, kind, _with_nulls), ()),
                ),
            )


def _again(context: CaseContext, opening: dict[str, Any], kind: str, form: Callable[[Item], Item | None]) -> BodyOf:
    """Return the body that sends an output back with its items of one type in a form, and with answers to its calls.

    There is none where the output has no such item, was not completed, or where ``form`` leaves none.
    """

    def body(replies: Replies) -> dict[str, Any] | None:
        items = context.sent_back(completed_output(replies.get(Role.FIRST)))
        formed = [form(item) if item.get("type") == kind else item for item in items]
        if not any(item.get("type") == kind for item in items) or None in formed:
            return None
        question = [] if any(item.get("type") in _OUTPUTS for item in items) else user("Go on.")
        turn = [*opening["input"], *(item for item in formed if item is not None), *_answered(items), *question]
        kept = {name: opening[name] for name in ("tools", "reasoning") if name in opening}
        return context.body(input=turn, **kept)

    return body


def _without(context: CaseContext, item: Item) -> Item | None:
    """Leave out the optional fields that the contract lets be left out; ``None`` where it lets none."""
    bare = item
    for name in _OPTIONAL:
        less = {key: value for key, value in bare.items() if key != name}
        if context.allows({"input": [less], "model": "m"}):
            bare = less
    return None if bare == item else bare


def _with_nulls(item: Item) -> Item:
    return {**item, **dict.fromkeys(_OPTIONAL)}


def _reversed(context: CaseContext) -> PlannedCase:
    """Return a case that answers the calls of one response in the order of the calls and against it."""
    opening = context.body(
        input=user("Use get_weather and get_time for Oslo, both at once."),
        tools=[WEATHER_TOOL, TIME_TOOL],
        max_output_tokens=LONG,
    )

    def answered(order: int) -> BodyOf:
        def body(replies: Replies) -> dict[str, Any] | None:
            items = context.sent_back(completed_output(replies.get(Role.FIRST)))
            answers = _answered(items)
            if len(answers) < 2:
                return None
            return context.body(input=[*opening["input"], *items, *answers[::order]], tools=opening["tools"])

        return body

    return PlannedCase(
        "roundtrip.parallel",
        "The outputs of two calls are sent in order and in reverse order.",
        (
            RequestSpec(Role.FIRST, opening),
            RequestSpec(Role.IN_ORDER, answered(1), ()),
            RequestSpec(Role.REVERSED, answered(-1), ()),
        ),
    )


def _messages(context: CaseContext) -> PlannedCase:
    """Return a case with system and developer messages at every place of an input."""
    turns = [*user("Where am I?"), {"role": "assistant", "content": "In Oslo."}, *user("Since when?")]
    requests = []
    for role in ("system", "developer"):
        said = {"role": role, "content": "Keep to Norway."}
        for place, name in ((0, "first"), (1, "second"), (2, "between"), (3, "last")):
            requests.append(RequestSpec(f"{role}-{name}", context.body(input=[*turns[:place], said, *turns[place:]])))
        beside = context.body(input=[said, *turns], instructions="Answer in one word.")
        requests.append(RequestSpec(f"{role}-instructions", beside))
    without = context.body(input=turns)
    return PlannedCase(
        INSTRUCTIONS_ANYWHERE,
        "A system or developer message at each position of a conversation, and beside instructions.",
        (
            RequestSpec(Role.CONTROL, without),
            *requests,
            RequestSpec(role_of(Role.CONTROL, Role.AGAIN), without),
        ),
    )


def _answered(items: list[Item]) -> list[Item]:
    return [_output_for(item) for item in _unanswered(items) if item.get("type") in _OUTPUTS]


def _output_for(call: Item) -> Item:
    kind, output = _OUTPUTS[str(call["type"])]
    return {"type": kind, "call_id": call.get("call_id"), "output": output}


_BOOKING: Final[Mapping[str, Any]] = closed(
    {
        "seats": {"type": "integer"},
        "quiet": {"type": "boolean"},
        "tip": {"type": "number"},
        "guests": {"type": "array", "items": {"type": "string"}},
        "address": closed({"city": {"type": "string"}}),
    }
)
"""Parameters of each type of JSON but strings, in no alphabetical order."""


def _typed(context: CaseContext) -> Iterator[PlannedCase]:
    """Yield prompts for a call with arguments of each type, of a strict tool and of one that is not."""
    tool = {"type": "function", "name": "book_table", "description": "Book a table.", "parameters": _BOOKING}
    question = "Use book_table for 3 seats in a quiet place in Oslo. Guests: Ada, Bo. Tip: 2.5."
    for name, strict in (("strict", True), ("loose", False)):
        yield plain_and_streamed(
            f"tools.typed-{name}",
            f"A prompt for a call with arguments of each type, of a tool with strict {str(strict).lower()}.",
            context.body(
                input=user(question),
                tools=[{**tool, "strict": strict}],
                tool_choice="required",
                temperature=0,
                max_output_tokens=LONG,
            ),
        )


def _referring(context: CaseContext) -> PlannedCase:
    """Return a case that sends one schema without and with a local reference, as text format and as parameters."""
    colour = {"enum": ["amber", "umber"]}
    inline = closed({"colour": colour})
    reference = {**closed({"colour": {"$ref": "#/$defs/colour"}}), "$defs": {"colour": colour}}

    def formed(role: str, schema: Mapping[str, Any]) -> RequestSpec:
        form = {"format": strict_format(schema)}
        return RequestSpec(role, context.body(input=user("Amber or umber?"), text=form, max_output_tokens=ROOMY))

    def called(role: str, schema: Mapping[str, Any]) -> RequestSpec:
        tool = {"type": "function", "name": "paint", "parameters": schema, "strict": True}
        return RequestSpec(role, context.body(input=user("Paint it amber."), tools=[tool], max_output_tokens=ROOMY))

    return PlannedCase(
        "tools.schema-reference",
        "A schema without and with a local reference, as text format and as parameters of a tool.",
        (
            formed(Role.FORMAT_INLINE, inline),
            formed(Role.FORMAT_REFERENCE, reference),
            called(Role.TOOL_INLINE, inline),
            called(Role.TOOL_REFERENCE, reference),
        ),
    )


def _empty(context: CaseContext) -> PlannedCase:
    body = context.body(input=user("Say hello."))
    return PlannedCase(
        "tools.empty",
        "A request without tools, and with an empty list of tools.",
        (
            RequestSpec(Role.CONTROL, body),
            RequestSpec(Role.EMPTY_AUTO, {**body, "tools": [], "tool_choice": "auto"}),
            RequestSpec(Role.EMPTY_NONE, {**body, "tools": [], "tool_choice": "none"}),
        ),
    )


_NAMES: Final = ("find_city", "find_street", "find_house", "find_river", "find_lake")
_SPECIAL_NAMES: Final = ("tool_search", "web_search", "python", "shell", "find-" + "x" * 59)


def _named_like_tools(context: CaseContext) -> PlannedCase:
    def history(names: tuple[str, ...]) -> dict[str, Any]:
        parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
        tools = [{"type": "function", "name": name, "parameters": parameters, "strict": False} for name in names]
        calls = [{**_weather_call(f"call_{number}"), "name": name} for number, name in enumerate(names)]
        turn = [item for call in calls for item in (call, *call_outputs([call], "Found."))]
        return context.body(input=[*user("Find Oslo."), *turn, *user("Thank you.")], tools=tools)

    return PlannedCase(
        "tools.special-names",
        "Functions and their calls with ordinary names, and with the names of hosted tools.",
        (RequestSpec(Role.CONTROL, history(_NAMES)), RequestSpec(Role.SPECIAL_NAMES, history(_SPECIAL_NAMES))),
    )


def _refused_before(context: CaseContext) -> PlannedCase:
    def history(part: Mapping[str, Any]) -> dict[str, Any]:
        said = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [part]}
        return context.body(input=[*user("Say a bad word."), said, *user("Say hello.")])

    return PlannedCase(
        "tools.refusal-sent-back",
        "An output message with text, and one with a refusal, in the history.",
        (
            RequestSpec(Role.CONTROL, history({"type": "output_text", "text": "No.", "annotations": []})),
            RequestSpec(Role.REFUSAL, history({"type": "refusal", "refusal": "No."})),
        ),
    )

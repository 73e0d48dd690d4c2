"""Input reaches the model: canaries in every part of an input, and canaries that must not come back.

The case of a slot sends a prompt for its canaries plain, and another one streamed. If neither response has them all, a
third prompt follows, and the same texts as one user message in both wordings, to show what the model can do. If it can
repeat them, another request follows. The tag of a request is the rule that its case is about.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rejoinder.conformance.judging.canaries import canaries_in, new_canary
from rejoinder.conformance.judging.roles import Role, role_of
from rejoinder.conformance.judging.turns import own_items
from rejoinder.conformance.running.case import (
    ROOMY,
    CaseContext,
    PlannedCase,
    Replies,
    RequestSpec,
    closed,
    output_of,
    response_id,
    stored_request,
    user,
)
from rejoinder.conformance.running.cases.usg import FILLER
from rejoinder.contract.examples import IMAGE_URL
from rejoinder.model.exchange import parse_json
from rejoinder.model.tags import Tag, sent_for

_Items = list[dict[str, Any]]
Ask = Callable[[str], dict[str, Any]]
"""Makes the fields of a request from the question."""

LOOK_UP: Final[Mapping[str, Any]] = {
    "type": "function",
    "name": "look_up",
    "description": "Look up the code word of a city.",
    "parameters": closed({"city": {"type": "string"}}),
    "strict": True,
}
_NOTES: Final[Mapping[str, Any]] = {"type": "custom", "name": "read_note", "description": "Read the note."}
# Reasoning models think before they say a word; others stop after it.
_TOKENS: Final = 4 * ROOMY
_ONE: Final = (
    "What is the code word? Answer with the code word only.",
    "Repeat the code word that you were given, and only that.",
    "Which code word was mentioned? Reply with only the code word.",
)
_ALL: Final = (
    "What are the code words? Answer with the code words only.",
    "Repeat all code words that you were given, and only those.",
    "Which code words were mentioned? Reply with only the code words.",
)
_OK: Final = "Answer with OK only."
_EARLIER_TURNS: Final = 12
# About 3,000 tokens, which the context of most models holds many times.
_AROUND: Final = 4
_LINES: Final = 160


@dataclass(frozen=True, slots=True)
class Slot:
    """A place in the input: its name, the rule about it, its text with a canary, and the request.

    ``sentences`` are the lines of the message that shows what the model can do, before the question; ``short`` those
    of the second such message; by default it is ``sentences`` after the question.
    """

    name: str
    rule: str
    intent: str
    sentences: tuple[str, ...]
    ask: Ask
    short: tuple[str, ...] = ()


def cases(context: CaseContext, plan: str) -> Iterator[PlannedCase]:
    """Yield the cases of a plan; only ``full`` has them."""
    if plan != "full":
        return
    for slots in (_instructions, _roles, _parts, _answers, _outputs, _long, _turns, _files, _hosted, _reasoning):
        for slot in slots():
            yield slot_case(context, slot)
    yield _parallel(context)
    yield _rounds(context)
    yield _chains(context)
    yield _deleted(context)
    yield _next_instructions(context)


def slot_case(context: CaseContext, slot: Slot) -> PlannedCase:
    """Return the case that asks what a slot holds."""
    canaries = canaries_in("\n".join(slot.sentences))
    questions = _ONE if len(canaries) == 1 else _ALL

    def prepared(fields: Mapping[str, Any]) -> dict[str, Any]:
        return context.body(**{"temperature": 0, "max_output_tokens": _TOKENS, **fields})

    def in_doubt(replies: Replies, *roles: str) -> bool:
        """Whether one of the requests was accepted, and no answer has all words."""
        accepted = any((reply := replies.get(role)) is not None and reply.ok for role in roles)
        return accepted and not any(_says_all(replies, role, canaries) for role in roles)

    def again(replies: Replies) -> dict[str, Any] | None:
        return prepared(slot.ask(questions[2])) if in_doubt(replies, Role.PLAIN, Role.STREAM) else None

    second = (*slot.short, questions[1]) if slot.short else (questions[1], *slot.sentences)

    def control(*lines: str, **fields: Any) -> Callable[[Replies], dict[str, Any] | None]:
        def body(replies: Replies) -> dict[str, Any] | None:
            if not in_doubt(replies, Role.PLAIN, Role.STREAM, Role.AGAIN):
                return None
            return prepared({"input": user("\n".join(lines)), **fields})

        return body

    def confirming(replies: Replies) -> dict[str, Any] | None:
        able = all(_says_all(replies, role, canaries) for role in (Role.CONTROL, Role.CONTROL_STREAM))
        return prepared(slot.ask(questions[1])) if able else None

    tags = (Tag.VALID, sent_for(slot.rule))
    return PlannedCase(
        f"meaning.{slot.name}",
        slot.intent,
        (
            RequestSpec(Role.PLAIN, prepared(slot.ask(questions[0])), tags),
            RequestSpec(Role.STREAM, prepared({**slot.ask(questions[1]), "stream": True}), tags),
            RequestSpec(Role.AGAIN, again, tags),
            # A model that repeats only the start or the end of its input must not pass for one that repeats canaries.
            RequestSpec(Role.CONTROL, control(*slot.sentences, questions[0]), tags),
            RequestSpec(Role.CONTROL_STREAM, control(*second, stream=True), tags),
            RequestSpec(Role.CONFIRM, confirming, tags),
        ),
        recalls=True,
    )


def tell(mark: str) -> str:
    """Return a sentence with a canary of this noun."""
    return f"The code word is {new_canary(mark)}."


def _with(*items: Mapping[str, Any], **fields: Any) -> Ask:
    """Return the request that has these items before the question."""
    return lambda question: {"input": [*items, *user(question)], **fields}


def _after(*items: Mapping[str, Any], **fields: Any) -> Ask:
    """Return the request in which the question comes first, then calls and their outputs."""
    return lambda question: {"input": [*user(question), *items], **fields}


def _message(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


def _text(text: str) -> dict[str, Any]:
    return {"type": "input_text", "text": text}


def _answered(text: str) -> dict[str, Any]:
    """Return an earlier answer in the form in which responses have it, which more endpoints take than others."""
    part = {"type": "output_text", "text": text, "annotations": []}
    return {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [part]}


def _instructions() -> Iterator[Slot]:
    sentence = tell("quartz")
    yield Slot(
        "instructions",
        "MEM-01",
        "A canary in instructions, with string input.",
        (sentence,),
        lambda question: {"input": question, "instructions": sentence},
    )
    beside, role = (
        f"The first code word is {new_canary('quartz')}.",
        f"The second code word is {new_canary('saffron')}.",
    )
    yield Slot(
        "instructions-and-system",
        "MEM-01",
        "A canary in instructions, and another in a system message.",
        (beside, role),
        _with(_message("system", role), instructions=beside),
    )


def _roles() -> Iterator[Slot]:
    for role, mark in (("user", "saffron"), ("system", "walnut"), ("developer", "indigo")):
        sentence = tell(mark)
        yield Slot(
            f"role-{role}",
            "MEM-02",
            f"A canary in a {role} message before the question.",
            (sentence,),
            _with(_message(role, sentence)),
        )
    system, developer = (f"Code word 1 is {new_canary('marble')}.", f"Code word 2 is {new_canary('cobalt')}.")
    talk = [_message("user", "Good morning."), _answered("Good morning.")]
    yield Slot(
        "roles-amid",
        "MEM-02",
        "Canaries in a system and a developer message in the middle of a conversation.",
        (system, developer),
        _with(*talk, _message("system", system), *talk, _message("developer", developer)),
    )


def _parts() -> Iterator[Slot]:
    sentences = tuple(
        f"Code word {n} is {new_canary(mark)}." for n, mark in enumerate(("cobalt", "juniper", "lantern"), 1)
    )
    yield Slot(
        "parts",
        "MEM-03",
        "Canaries in three text parts of one user message.",
        sentences,
        lambda question: {"input": [_message("user", [*map(_text, sentences), _text(question)])]},
    )
    system = (f"Code word 1 is {new_canary('meadow')}.", f"Code word 2 is {new_canary('pebble')}.")
    yield Slot(
        "parts-system",
        "MEM-03",
        "Canaries in two text parts of a system message.",
        system,
        _with(_message("system", [*map(_text, system)])),
    )
    image = {"type": "input_image", "image_url": IMAGE_URL, "detail": "auto"}
    behind = tell("velvet")
    yield Slot(
        "parts-after-image",
        "MEM-03",
        "A canary in a text part after an image.",
        (behind,),
        lambda question: {"input": [_message("user", [image, _text(behind), _text(question)])]},
    )


def _answers() -> Iterator[Slot]:
    first = _message("user", "Make up a code word.")
    sentence = tell("willow")
    yield Slot(
        "answer-string",
        "MEM-04",
        "A canary in an assistant message with string content.",
        (sentence,),
        _with(first, _message("assistant", sentence)),
    )
    sentences = (f"The first code word is {new_canary('amber')}.", f"The second code word is {new_canary('copper')}.")
    content = [{"type": "output_text", "text": text, "annotations": []} for text in sentences]
    whole = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": content}
    yield Slot(
        "answer-parts",
        "MEM-04",
        "Canaries in two output_text parts of an assistant message.",
        sentences,
        _with(_message("user", "Make up two code words."), whole),
    )
    refused = tell("harbor")
    refusal = [{"type": "refusal", "refusal": f"I will not tell a joke. {refused}"}]
    yield Slot(
        "answer-refusal",
        "MEM-11",
        "A canary in an earlier refusal.",
        (refused,),
        _with(_message("user", "Tell me a joke and a code word."), {**whole, "content": refusal}),
    )


def call(call_id: str, city: str) -> dict[str, Any]:
    """Return a call of :data:`LOOK_UP` as an item of a history."""
    return {"type": "function_call", "call_id": call_id, "name": "look_up", "arguments": f'{{"city": "{city}"}}'}


def output(call_id: str, said: Any) -> dict[str, Any]:
    """Return the output of a function call."""
    return {"type": "function_call_output", "call_id": call_id, "output": said}


def _outputs() -> Iterator[Slot]:
    sentence = tell("thistle")
    yield Slot(
        "output-string",
        "MEM-05",
        "A canary in the string output of a function call.",
        (sentence,),
        _after(call("call_1", "Oslo"), output("call_1", sentence), tools=[LOOK_UP]),
    )
    parts = (f"The first code word is {new_canary('quartz')}.", f"The second code word is {new_canary('saffron')}.")
    yield Slot(
        "output-parts",
        "MEM-05",
        "Canaries in two parts of the output of a function call.",
        parts,
        _after(call("call_1", "Oslo"), output("call_1", [*map(_text, parts)]), tools=[LOOK_UP]),
    )
    notes = (f"Code word 1 is {new_canary('walnut')}.", f"Code word 2 is {new_canary('indigo')}.")
    history: _Items = []
    outputs: tuple[Any, ...] = (notes[0], [_text(notes[1])])
    for number, said in enumerate(outputs, 1):
        name = {"call_id": f"call_{number}", "name": "read_note", "input": f"note {number}"}
        history.append({"type": "custom_tool_call", **name})
        history.append({"type": "custom_tool_call_output", "call_id": f"call_{number}", "output": said})
    yield Slot(
        "custom-outputs",
        "MEM-05",
        "Canaries in two outputs of a custom tool, a string and a list of parts.",
        notes,
        _after(*history, tools=[_NOTES]),
    )


def _turns() -> Iterator[Slot]:
    sentences = tuple(
        f"Code word {n} is {new_canary(mark)}." for n, mark in enumerate(("marble", "cobalt", "juniper"), 1)
    )
    places = {0: sentences[0], _EARLIER_TURNS // 2: sentences[1], _EARLIER_TURNS - 1: sentences[2]}
    items: _Items = []
    for turn in range(_EARLIER_TURNS):
        items.append(_message("user", places.get(turn, f"The bus number {turn} is blue.")))
        items.append(_answered(f"Noted, number {turn}."))
    yield Slot(
        "many-turns",
        "MEM-08",
        f"Canaries in the first, middle and last of {_EARLIER_TURNS} earlier turns.",
        sentences,
        _with(*items),
    )


def _long() -> Iterator[Slot]:
    lines = [f"Line {n}: the ferry of the harbour leaves at pier {n % 7}." for n in range(_LINES)]
    for place, mark, at in (("start", "lantern", 0), ("middle", "meadow", _LINES // 2), ("end", "pebble", _LINES)):
        sentence = tell(mark)
        text = "\n".join([*lines[:at], sentence, *lines[at:]])
        # What shows that the model can read as much: the word at the other end.
        elsewhere = (sentence, *lines) if place == "end" else (*lines, sentence)
        # And that it repeats a word at this place of a short message, with some lines around it.
        few = lines[:_AROUND]
        short = {"start": (sentence, *few), "middle": (*few, sentence, *few), "end": (*few, sentence)}[place]
        yield Slot(
            f"long-{place}",
            "MEM-09",
            f"A canary at the {place} of a long user message.",
            elsewhere,
            _with(_message("user", text)),
            short,
        )


def _files() -> Iterator[Slot]:
    def file(text: str) -> dict[str, Any]:
        data = base64.b64encode(f"{text}\n".encode()).decode()
        return {"type": "input_file", "filename": "note.txt", "file_data": f"data:text/plain;base64,{data}"}

    sentence = tell("velvet")
    yield Slot(
        "file",
        "MEM-10",
        "A canary in the text of a file.",
        (sentence,),
        lambda question: {"input": [_message("user", [file(sentence), _text(question)])]},
    )
    returned = tell("willow")
    yield Slot(
        "file-output",
        "MEM-10",
        "A canary in a file that a function call returned.",
        (returned,),
        _after(call("call_1", "Oslo"), output("call_1", [file(returned)]), tools=[LOOK_UP]),
    )


def _hosted() -> Iterator[Slot]:
    def slot(name: str, sentence: str, *items: dict[str, Any]) -> Slot:
        return Slot(
            f"hosted-{name}",
            "MEM-11",
            f"A canary in the history of a hosted tool: {name.replace('-', ' ')}.",
            (sentence,),
            _with(_message("user", "Read the note."), *items),
        )

    def item(kind: str, **fields: Any) -> dict[str, Any]:
        return {"type": kind, **fields}

    word = tell("amber")
    printed = {"stdout": word, "stderr": "", "outcome": item("exit", exit_code=0)}
    yield slot(
        "shell",
        word,
        item("shell_call", call_id="call_1", action={"commands": ["cat note.txt"]}),
        item("shell_call_output", call_id="call_1", output=[printed]),
    )
    word, command = tell("copper"), item("exec", command=["cat", "note.txt"], env={})
    yield slot(
        "local-shell",
        word,
        item("local_shell_call", id="lsh_1", call_id="call_1", status="completed", action=command),
        item("local_shell_call_output", id="call_1", output=word),
    )
    word, deletion = tell("harbor"), item("delete_file", path="note.txt")
    yield slot(
        "apply-patch",
        word,
        item("apply_patch_call", call_id="call_1", status="completed", operation=deletion),
        item("apply_patch_call_output", call_id="call_1", status="completed", output=word),
    )
    word = tell("thistle")
    yield slot(
        "mcp", word, item("mcp_call", id="mcp_1", server_label="notes", name="read", arguments="{}", output=word)
    )
    word = tell("quartz")
    code = {"container_id": "cntr_1", "code": "print(note)", "outputs": [item("logs", logs=word)]}
    yield slot("code-interpreter", word, item("code_interpreter_call", id="ci_1", status="completed", **code))
    word = tell("saffron")
    found = {"file_id": "file_1", "filename": "note.txt", "score": 0.9, "text": word}
    search = {"queries": ["code word"], "results": [found]}
    yield slot("file-search", word, item("file_search_call", id="fs_1", status="completed", **search))
    word = tell("walnut")
    yield slot(
        "approval",
        word,
        item("mcp_approval_request", id="mcpr_1", server_label="notes", name="delete", arguments="{}"),
        item("mcp_approval_response", approval_request_id="mcpr_1", approve=False, reason=word),
    )


def _reasoning() -> Iterator[Slot]:
    for form, mark in (("summary", "indigo"), ("content", "marble")):
        sentence = tell(mark)
        kind = "summary_text" if form == "summary" else "reasoning_text"
        item: dict[str, Any] = {"type": "reasoning", "id": "rs_1", "summary": []}
        item[form] = [{"type": kind, "text": sentence}]
        yield Slot(
            f"reasoning-{form}",
            "MEM-12",
            f"A canary in the {form} of a reasoning item.",
            (sentence,),
            _with(_message("user", "Make up a code word."), item, _answered("Done.")),
        )


# Calls and their outputs


def _which(city: str) -> str:
    return f"What did look_up return for {city}? Answer with the code word only."


def _pairing(
    context: CaseContext,
    name: str,
    rule: str,
    intent: str,
    sentences: Mapping[str, str],
    odd: Callable[[str], _Items],
    plain: Callable[[str], _Items],
) -> PlannedCase:
    """Return a case about what each call returned, in an odd history and, where in doubt, in a plain one."""

    def prepared(items: _Items, **fields: Any) -> dict[str, Any]:
        return context.body(input=items, tools=[LOOK_UP], temperature=0, max_output_tokens=_TOKENS, **fields)

    def doubt(city: str, replies: Replies) -> bool:
        return not _says_all(replies, city.lower(), canaries_in(sentences[city]))

    def only_if_doubted(items: Callable[[str], _Items], city: str, **fields: Any) -> Any:
        return lambda replies: prepared(items(_which(city)), **fields) if doubt(city, replies) else None

    tags = (Tag.VALID, sent_for(rule))
    requests = [RequestSpec(Role(city.lower()), prepared(odd(_which(city))), tags) for city in sentences]
    for city in sentences:
        requests.append(RequestSpec(role_of(city.lower(), Role.AGAIN), only_if_doubted(odd, city, stream=True), tags))
        requests.append(RequestSpec(role_of(city.lower(), Role.CONTROL), only_if_doubted(plain, city), tags))
    return PlannedCase(f"meaning.{name}", intent, tuple(requests), recalls=True)


def _parallel(context: CaseContext) -> PlannedCase:
    sentences = {"Oslo": tell("lantern"), "Cairo": tell("meadow")}
    calls = [call("call_a", "Oslo"), call("call_b", "Cairo")]
    outputs = [output("call_a", sentences["Oslo"]), output("call_b", sentences["Cairo"])]
    return _pairing(
        context,
        "parallel-calls",
        "MEM-06",
        "The outputs of two parallel calls in reverse order.",
        sentences,
        lambda question: [*user(question), *calls, *outputs[::-1]],
        lambda question: [*user(question), *calls, *outputs],
    )


def _rounds(context: CaseContext) -> PlannedCase:
    sentences = {"Oslo": tell("pebble"), "Cairo": tell("velvet")}

    def history(first: str, second: str) -> Callable[[str], _Items]:
        return lambda question: [
            *user("Look up Oslo."),
            call(first, "Oslo"),
            output(first, sentences["Oslo"]),
            _answered("I looked up Oslo."),
            *user(f"Now look up Cairo. Then tell me: {question}"),
            call(second, "Cairo"),
            output(second, sentences["Cairo"]),
        ]

    return _pairing(
        context,
        "rounds-of-calls",
        "MEM-07",
        "Two rounds of calls with the same call_id.",
        sentences,
        history("call_1", "call_1"),
        history("call_1", "call_2"),
    )


# What must not come back


def _continued(context: CaseContext, role: str, **fields: Any) -> Callable[[Replies], dict[str, Any] | None]:
    def body(replies: Replies) -> dict[str, Any] | None:
        identity = response_id(replies, role)
        if identity is None:
            return None
        return context.body(temperature=0, max_output_tokens=_TOKENS, previous_response_id=identity, **fields)

    return body


def _chains(context: CaseContext) -> PlannedCase:
    def opening(mark: str) -> dict[str, Any]:
        return context.body(input=user(f"{tell(mark)} {_OK}"), temperature=0, max_output_tokens=_TOKENS)

    return PlannedCase(
        "meaning.chains",
        "Two interleaved chains of responses with different canaries.",
        (
            RequestSpec("first-a", opening("willow")),
            RequestSpec("first-b", opening("amber")),
            RequestSpec("second-a", _continued(context, "first-a", input=user(_ALL[0]))),
            RequestSpec("second-b", _continued(context, "first-b", input=user(_ALL[0]))),
            RequestSpec("third-a", _continued(context, "second-a", input=user(_ALL[1]), stream=True)),
            RequestSpec("third-b", _continued(context, "second-b", input=user(_ALL[1]), stream=True)),
        ),
    )


def _deleted(context: CaseContext) -> PlannedCase:
    def deleted(replies: Replies) -> dict[str, Any] | None:
        reply = replies.get(Role.DELETE)
        again = _continued(context, Role.FIRST, input=user(_ONE[0]))
        return again(replies) if reply is not None and reply.ok else None

    opening = context.body(input=user(f"{tell('copper')} {_OK}"), temperature=0, max_output_tokens=_TOKENS)
    return PlannedCase(
        "meaning.deleted",
        "A response is deleted and then continued.",
        (
            RequestSpec(Role.FIRST, opening),
            stored_request(Role.DELETE, Role.FIRST, method="DELETE"),
            RequestSpec(Role.CONTINUED, deleted, (sent_for("MEM-14"),)),
        ),
    )


def _next_instructions(context: CaseContext) -> PlannedCase:
    sentence = tell("harbor")
    # Long enough to be seen in the input_tokens of later turns.
    instructions = f"{FILLER}\n{sentence}"
    first = context.body(input=user(_OK), instructions=instructions, temperature=0, max_output_tokens=_TOKENS)
    other = _continued(context, Role.FIRST, input=user(_ALL[0]), instructions=tell("thistle"))
    return PlannedCase(
        "meaning.next-instructions",
        "Turns without instructions and with other instructions, after one with instructions.",
        (
            RequestSpec(Role.FIRST, first),
            RequestSpec(Role.SECOND, _continued(context, Role.FIRST, input=user(_ONE[0])), (sent_for("MEM-15"),)),
            RequestSpec(
                "second-stream",
                _continued(context, Role.FIRST, input=user(_ONE[1]), stream=True),
                (sent_for("MEM-15"),),
            ),
            RequestSpec("second-other", other, (sent_for("MEM-15"),)),
        ),
    )


def _says_all(replies: Replies, role: str, canaries: Sequence[str]) -> bool:
    reply = replies.get(role)
    sent = parse_json(reply.request.body) if reply is not None else None
    given = sent.get("input") if isinstance(sent, dict) else None
    said = str(own_items(given, output_of(reply))).lower()
    return all(word in said for word in canaries)

"""One generator for every reply: a request becomes a list of stream events, and the response is what they add up to.

A plain reply is the response of the stream's terminal event, and that response is built by applying the events one by
one, so that the two kinds of response cannot disagree. What differs between dialects is read from the dialect's data.
"""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from rejoinder.contract import Dialect, load_dialect
from rejoinder.json_copy import copy_json
from rejoinder.sandbox.endpoint.sampling import constrained, random_words, shaped
from rejoinder.sandbox.endpoint.schema_instances import instance
from rejoinder.sandbox.endpoint.tokens import (
    IMAGE_TOKENS,
    Json,
    Segment,
    count_tokens,
    count_tool_tokens,
    direct_answer,
    last_user_text,
    segments,
    text_of,
    tokens,
)
from rejoinder.validation import SchemaError, Validator, pointer_keys

MODELS: Final = ("parrot", "parrot-reasoning", "parrot-refusal", "parrot-failing")

# A text of more tokens than this is repeated with its middle left out.
_LONGEST_PART: Final = 4096
# Asked for something long, the parrot repeats itself up to so many tokens.
_STORY: Final = re.compile(r"\b(long|story)\b", re.IGNORECASE)
_STORY_TOKENS: Final = 100
# A token that is pushed by so much is all that is said, so many times.
_PUSH: Final = 100
_PUSHED_TOKENS: Final = 8
_HIDDEN_TOKENS: Final = 6
# With high verbosity, the parrot adds this.
_VERBOSE: Final = "I said all that I heard."
_HARMFUL: Final = re.compile(r"\bpipe bombs?\b", re.IGNORECASE)
_REFUSAL: Final = "I'm sorry, but I can't repeat that."
_FAILURE: Final = ("server_error", "The model stopped in the middle of the answer.")

_ID_PREFIX: Final[Mapping[str, str]] = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "custom_tool_call": "ctc",
    "computer_call": "cu",
    "web_search_call": "ws",
    "file_search_call": "fs",
    "code_interpreter_call": "ci",
    "image_generation_call": "ig",
    "mcp_call": "mcp",
    "mcp_list_tools": "mcpl",
}
# Hosted tools: their item's fields that are filled in when it is done, with the value that they have until then.
_HOSTED: Final[Mapping[str, Mapping[str, Any]]] = {
    "web_search_call": {},
    "file_search_call": {"results": None},
    "code_interpreter_call": {"code": "", "outputs": None},
    "image_generation_call": {"result": None},
    "mcp_call": {"arguments": "", "output": None, "error": None},
    "mcp_list_tools": {},
}
# Tools that the client carries out, and the parrot therefore calls.
_CALLED: Final = {"function": "function_call", "custom": "custom_tool_call", "computer_use_preview": "computer_call"}
_WORKING: Final = ("searching", "interpreting", "generating")

CONTEXT: Final = 131_072
"""The context of the parrot in tokens, where a response states what is left of it."""

# Response fields that repeat the request, with the value that stands for an absent or null one.
ECHOED: Final[Mapping[str, Any]] = {
    "background": False,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "safety_identifier": None,
    "service_tier": "default",
    "store": True,
    "temperature": 1.0,
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}
# Echoed only where the dialect requires the field or the request sent it.
_ECHOED_ON_DEMAND: Final[Mapping[str, Any]] = {"presence_penalty": 0.0, "frequency_penalty": 0.0, "prompt": None}


@dataclass(frozen=True, slots=True)
class ResolvedRequest:
    """A request, understood: what the generator needs besides the dialect.

    ``items`` is the whole context: ``history_length`` items of the history, and then the ``fresh`` ones of this
    request, or what they stand for. ``id`` and ``created_at`` (whole Unix seconds) are given to the response; ``stem``
    is the part of an id that all items of the response share, and ``new_id`` makes the id to use of one. ``fails``
    makes the run break down in the middle. ``min_tokens`` makes the parrot repeat itself until the text is that long.
    ``one_call`` lets it call one tool at a time. ``template_tokens`` are counted with the input, and ``image_tokens``
    for each image; ``counted`` makes the numbers in usage of those of tokens, and ``uncounted`` are fields of the body
    that are left out. ``always_reasons`` makes it reason unprompted, ``reasoning_items`` is how many reasoning items
    come first where it does, and ``hidden_reasoning`` leaves out what they say. ``preamble`` is said in a message
    before calls, and ``first_item`` is added before all others.
    """

    body: Mapping[str, Any]
    items: Sequence[Json]
    fresh: Sequence[Json]
    id: str
    created_at: int
    model: str
    history_length: int = 0
    fails: bool = False
    min_tokens: int = 0
    conversation: str | None = None
    stem: str = "0"
    one_call: bool = False
    template_tokens: int = 0
    image_tokens: int = IMAGE_TOKENS
    counted: Callable[[int], int] = int
    uncounted: frozenset[str] = frozenset()
    always_reasons: bool = False
    reasoning_items: int = 1
    hidden_reasoning: bool = False
    preamble: str = ""
    first_item: Mapping[str, Any] | None = None
    new_id: Callable[[str], str] = str

    @property
    def input_tokens(self) -> int:
        """The number of input tokens: of the context and of all else in the body that the model reads."""
        read = {name: value for name, value in self.body.items() if name not in self.uncounted}
        beside = sum(len(tokens(text)) for text in beside_items(read)) + count_tool_tokens(read.get("tools") or ())
        return self.counted(self.template_tokens + count_tokens(self.items, self.image_tokens) + beside)

    @property
    def cached_tokens(self) -> int:
        """The number of input tokens of the history, which the endpoint has in its cache."""
        history = self.items[: self.history_length]
        return min(self.counted(count_tokens(history, self.image_tokens)), self.input_tokens) if history else 0


def generate(resolved: ResolvedRequest, dialect: Dialect) -> list[Json]:
    """Return the events of the reply in order, without sequence numbers; the last holds the terminal response."""
    return _Generation(resolved, dialect).run()


def base_response(resolved: ResolvedRequest, dialect: Dialect) -> Json:
    """Return the response object as it is before any output: every field there, status ``in_progress``."""
    body, required = resolved.body, set(dialect.response["required"])
    response: Json = {"id": resolved.id, "object": "response", "created_at": resolved.created_at}
    response["status"] = "in_progress"
    if dialect.response["completed_at"]:
        response["completed_at"] = None
    response |= {"error": None, "incomplete_details": None, "model": resolved.model, "output": [], "usage": None}
    for name, default in ECHOED.items():
        value = body.get(name)
        response[name] = copy_json(default if value is None else value)
    for name, default in _ECHOED_ON_DEMAND.items():
        value = body.get(name)
        if value is not None or name in required:
            response[name] = copy_json(default if value is None else value)
    if dialect.response["max_output_tokens_is_room"]:
        room = max(1, CONTEXT - resolved.input_tokens)
        response["max_output_tokens"] = min(response["max_output_tokens"] or room, room)
    if not response["tools"] and response["tool_choice"] == "auto":
        response["tool_choice"] = dialect.request["default_tool_choice_without_tools"] or "auto"
    if response["service_tier"] == "auto":
        response["service_tier"] = "default"
    if body.get("enable_response_messages") and "enable_response_messages" in dialect.parameters:
        response |= {"input_messages": [copy_json(item) for item in resolved.items], "output_messages": []}
    text = {key: value for key, value in (body.get("text") or {}).items() if value is not None}
    response["text"] = {"format": {"type": "text"}, **copy_json(text)}
    reasoning = body.get("reasoning") or {}
    response["reasoning"] = {"effort": None, "summary": None, **copy_json(reasoning)}
    response["tools"] = [_whole_tool(tool) for tool in response["tools"]]
    for name in dialect.response["required"]:
        response.setdefault(name, None)
    for name in ("text", "tool_choice"):
        if isinstance(body.get(name), dict):
            response[name] = _whole(response[name], _echo_validator(dialect.reference, name))
    if resolved.conversation is not None:
        response["conversation"] = {"id": resolved.conversation}
    return response


def beside_items(body: Mapping[str, Any]) -> Iterator[str]:
    """Yield the texts of a body that the model reads besides the items: instructions, earlier messages, variables."""
    instructions = body.get("instructions")
    if isinstance(instructions, str):
        yield instructions
    for message in body.get("previous_input_messages") or ():
        yield text_of(message.get("content"))
    for segment in _prompt_segments(body.get("prompt")):
        yield segment.text


def _whole_tool(tool: Json) -> Json:
    if tool.get("type") != "function":
        return tool
    return {"description": None, "parameters": None, "strict": None, **tool}


_MOST_FILLED: Final = 20
"""Fields of one echoed object that are filled in."""
_FILLED: Final[Mapping[str, Any]] = {"name": "answer", "strict": False, "mode": "auto"}
"""What fields of echoed objects have that the request may leave out, where the response must have them and not null."""


@cache
def _echo_validator(dialect: str, name: str) -> Validator:
    """Return the validator of a field of the response object."""
    schema = load_dialect(dialect).schema("response")
    return Validator({**schema["properties"].get(name, {}), "$defs": schema.get("$defs", {})})


def _whole(value: Json, validator: Validator) -> Json:
    """Return an object of the request with the fields that the response object must have: null, or with a default."""
    value = copy_json(value)
    shape = value.get("format")
    if isinstance(shape, dict) and "type" not in shape:  # Open Responses lets the format of a schema go without
        shape["type"] = "json_schema" if shape else "text"
    for _ in range(_MOST_FILLED):
        errors = validator.errors(value)
        lacking = (error.pointer for error in errors if error.keyword == "required" or _is_fillable(error))
        place = next(lacking, None)
        if place is None:
            break
        *path, name = pointer_keys(place)
        holder: Any = value
        for step in path:
            holder = holder[int(step)] if isinstance(holder, list) else holder[step]
        holder[name] = _FILLED.get(name)
    return value


def _is_fillable(error: SchemaError) -> bool:
    """Whether a field is null that may not be null in the response and has a default."""
    return error.actual is None and error.pointer.rpartition("/")[2] in _FILLED


class Accumulator:
    """Applies events to a response object, guided by the contract's annotations of every event type."""

    def __init__(self, response: Json, dialect: Dialect) -> None:
        self.response = response
        self._specs = dialect.events

    def item(self, index: int) -> Json:
        """Return the output item at that index as it is now."""
        item: Json = self.response["output"][index]
        return item

    def apply(self, event: Json) -> None:
        """Take over what the event says; events must come in order."""
        spec = self._specs[event["type"]]
        if spec.role == "delta":
            target = self._target(event, spec.container, spec.index)
            target[spec.field] = target.get(spec.field, "") + event["delta"]
            if event.get("logprobs"):
                target["logprobs"].extend(event["logprobs"])
        elif spec.role == "item.added":
            self.response["output"].append(copy_json(event["item"]))
        elif spec.role == "item.done":
            self.response["output"][event["output_index"]] = copy_json(event["item"])
        elif spec.role == "part.added":
            self.item(event["output_index"])[spec.container].append(copy_json(event["part"]))
        elif spec.role == "annotation":
            self._target(event, spec.container, spec.index)["annotations"].append(copy_json(event["annotation"]))

    def _target(self, event: Json, container: str, index: str) -> Json:
        item = self.item(event["output_index"])
        target: Json = item[container][event[index]] if index else item
        return target


@dataclass(slots=True)
class _Part:
    """A text part to be said, with annotations whose offsets count from the part's start."""

    text: str
    annotations: list[Json] = field(default_factory=list)


class _Cut(Exception):  # noqa: N818 - a signal, not an error
    """The token budget is spent."""


class _Failed(Exception):  # noqa: N818 - a signal, not an error
    """The generation fails, as the request demands."""


class _Generation:
    def __init__(self, resolved: ResolvedRequest, dialect: Dialect) -> None:
        self.resolved = resolved
        self.body = resolved.body
        self.dialect = dialect
        self.events: list[Json] = []
        self.fold = Accumulator(base_response(resolved, dialect), dialect)
        self.budget: int | None = self.body.get("max_output_tokens")
        self.output_tokens = 0
        self.reasoning_tokens = 0
        include = self.body.get("include") or ()
        self.logprobs = "message.output_text.logprobs" in include
        self.encrypted = "reasoning.encrypted_content" in include
        self.stem = resolved.stem
        self.said = last_user_text(resolved.items)

    def run(self) -> list[Json]:
        queued = bool(self.body.get("background"))
        self._snapshot("response.created", "queued" if queued else "in_progress")
        if queued:
            self._snapshot("response.queued", "queued")
        self._snapshot("response.in_progress", "in_progress")
        try:
            self._say()
        except _Cut:
            self._finish("incomplete", incomplete_details={"reason": "max_output_tokens"})
        except _Failed:
            code, message = _FAILURE
            self._emit("error", **error_event(self.dialect, code, message))
            self._finish("failed", error={"code": code, "message": message})
        else:
            self._finish("completed")
        return self.events

    # What to say

    def _say(self) -> None:
        if self.resolved.first_item is not None:
            self._whole(self.resolved.first_item)
        if self._reasons():
            for _ in range(self.resolved.reasoning_items):
                self._reasoning()
        choice, tools = _offered(self.body)
        calls = self._calls(choice, tools)
        if choice != "none":
            self._hosted_calls()
        if calls:
            if self.resolved.preamble:
                self._message([_Part(self.resolved.preamble)], "output_text")
            for tool in calls:
                self._call(tool)
            if self.resolved.fails:
                raise _Failed
            return
        if self.resolved.model.endswith("-refusal") or _HARMFUL.search(self.said):
            self._message([_Part(_REFUSAL)], "refusal")
        else:
            self._message(self._parts(), "output_text")
        if self.resolved.fails:
            raise _Failed

    def _reasons(self) -> bool:
        effort = (self.body.get("reasoning") or {}).get("effort")
        if self.body.get("include_reasoning") is False and "include_reasoning" in self.dialect.parameters:
            return False
        if effort is not None:
            return bool(effort != "none")
        return self.resolved.always_reasons or self.resolved.model.endswith("-reasoning")

    def _calls(self, choice: Any, tools: list[Json]) -> list[Json]:
        """Return the tools to call now, in order. Hosted tools are taken, but not carried out."""
        tools = [tool for tool in tools if _CALLED.get(tool["type"]) in self.dialect.item_types]
        if choice == "none" or not tools:
            return []
        if choice not in ("auto", "required"):
            return tools[:1]
        named = [tool for tool in tools if _mentions(self.said, str(tool.get("name", "")))]
        if choice == "required":
            calls = named or tools[:1]
        else:
            answered = _answered(self.resolved.items)
            meant = named or [tool for tool in tools if _mentions(self.said, _subject(str(tool.get("name", ""))))]
            calls = [tool for tool in meant if tool["name"] not in answered]
        one = self.resolved.one_call or self.body.get("parallel_tool_calls") is False
        return calls[:1] if one else calls

    def _parts(self) -> list[_Part]:
        shape = (self.body.get("text") or {}).get("format") or {}
        if shape.get("type") == "json_schema":
            return [_Part(_json(instance(shape.get("schema"), self.said)))]
        instructions = self.body.get("instructions")
        heard = segments(self.resolved.items, instructions if isinstance(instructions, str) else None)
        heard += _prompt_segments(self.body.get("prompt"))
        sampled: Json = {name: self.body.get(name) for name in self.dialect.parameters}
        if sampled.get("structured_outputs"):
            return [_Part(constrained(sampled["structured_outputs"], self.said))]
        pushed = _pushed(self.body.get("logit_bias"))
        if pushed:
            return [_Part(" ".join([f"token{pushed}"] * _PUSHED_TOKENS))]
        drawn = random_words(self.said, sampled, self.stem)
        if drawn:
            return [_Part(drawn)]
        direct = direct_answer(self.said, self.resolved.items, beside_items(self.body))
        parts = _join(heard if direct is None else [Segment(direct)])
        if shape.get("type") == "json_object":
            return [_Part(_json({"answer": "\n".join(part.text for part in parts)}))]
        wanted = max(self.resolved.min_tokens, _STORY_TOKENS if _STORY.search(self.said) else 0)
        if sampled.get("ignore_eos"):
            wanted = max(wanted, (self.budget or 0) + 1)
        missing = wanted - sum(len(tokens(part.text)) for part in parts)
        if missing > 0:
            again = " " + (parts[-1].text.strip() or "Hello.")
            parts[-1].text += again * -(-missing // len(tokens(again)))
        parts = [_shortened(part) for part in parts]
        for part in parts:
            part.text = shaped(part.text, sampled)
        if (self.body.get("text") or {}).get("verbosity") == "high":
            parts[-1].text += f" {_VERBOSE}"
        return parts

    # How to say it

    def _emit(self, kind: str, **fields: Any) -> None:
        event = {"type": kind, **fields}
        self.events.append(event)
        self.fold.apply(event)

    def _snapshot(self, kind: str, status: str) -> None:
        self.events.append({"type": kind, "response": {**self.fold.response, "status": status, "output": []}})

    def _finish(self, status: str, **fields: Any) -> None:
        response = self.fold.response
        response |= {"status": status, **fields}
        if status == "completed" and "completed_at" in response:
            response["completed_at"] = self.resolved.created_at
        if status != "failed":
            response["usage"] = self._usage()
        if "output_messages" in response:
            response["output_messages"] = copy_json(response["output"])
        self.events.append({"type": f"response.{status}", "response": response})

    def _usage(self) -> Json:
        heard, cached = self.resolved.input_tokens, self.resolved.cached_tokens
        return {
            "input_tokens": heard,
            "input_tokens_details": {
                "cached_tokens": cached,
                "cache_write_tokens": heard - cached,
            },
            "output_tokens": self.output_tokens,
            "output_tokens_details": {"reasoning_tokens": self.reasoning_tokens},
            "total_tokens": heard + self.output_tokens,
        }

    def _spend(self) -> bool:
        """Count one token of output; return whether none was left for it."""
        spent = self.budget is not None and self.output_tokens >= self.budget
        self.output_tokens += not spent
        return spent

    def _open(self, kind: str, **fields: Any) -> tuple[int, str]:
        """Announce an item; return its index and id."""
        index = len(self.fold.response["output"])
        item_id = self.resolved.new_id(f"{_ID_PREFIX[kind]}_{self.stem}{index:02x}")
        item = {"id": item_id, "type": kind, "status": "in_progress", **fields}
        self._emit("response.output_item.added", output_index=index, item=item)
        return index, item_id

    def _close(self, index: int, cut: bool, **fields: Any) -> None:
        """Close an item; raises :class:`_Cut` when the budget cut it."""
        item = {**copy_json(self.fold.item(index)), "status": "incomplete" if cut else "completed", **fields}
        self._emit("response.output_item.done", output_index=index, item=item)
        if cut:
            raise _Cut

    def _stream(self, event: str, text: str, **where: Any) -> bool:
        """Send a text as deltas; return whether the budget cut it."""
        delta = f"{event}.delta"
        with_logprobs = event == "response.output_text" and (
            self.logprobs or "logprobs" in self.dialect.events[delta].required
        )
        for token in tokens(text):
            if self._spend():
                return True
            if with_logprobs:
                self._emit(delta, **where, delta=token, logprobs=self._logprobs(token))
            else:
                self._emit(delta, **where, delta=token)
        return False

    def _logprobs(self, token: str) -> list[Json]:
        if not self.logprobs:
            return []

        def entry(text: str, rank: int) -> Json:
            # Any fixed negative number will do, as long as the alternatives are less likely.
            logprob = -(1 + zlib.crc32(text.encode()) % 1000) / 10_000 - rank
            return {"token": text, "bytes": list(text.encode()), "logprob": logprob}

        count = int(self.body.get("top_logprobs") or 0)
        top = [entry(token if rank == 0 else f"{token}{rank}", rank) for rank in range(count)]
        return [{**entry(token, 0), "top_logprobs": top}]

    def _message(self, parts: list[_Part], kind: str) -> None:
        index, item_id = self._open("message", role="assistant", content=[])
        cut = False
        for number, part in enumerate(parts):
            if self.budget is not None and self.output_tokens >= self.budget:
                cut = True
                break
            where = {"item_id": item_id, "output_index": index, "content_index": number}
            self._emit("response.content_part.added", **where, part=self._blank_part(kind))
            cut = self._stream(f"response.{kind}", part.text, **where)
            self._annotate(part, where)
            said = copy_json(self.fold.item(index)["content"][number])
            fields = {name: said[name] for name in ("text", "refusal") if name in said}
            if "logprobs" in said:
                fields["logprobs"] = said["logprobs"]
            self._emit(f"response.{kind}.done", **where, **fields)
            self._emit("response.content_part.done", **where, part=said)
            if cut:
                break
        self._close(index, cut)

    def _blank_part(self, kind: str) -> Json:
        if kind == "refusal":
            return {"type": "refusal", "refusal": ""}
        part: Json = {"type": "output_text", "text": "", "annotations": []}
        if self.logprobs or self.dialect.response["logprobs"]:
            part["logprobs"] = []
        return part

    def _annotate(self, part: _Part, where: Json) -> None:
        """Repeat the annotations that still lie within what was said."""
        said = len(self.fold.item(where["output_index"])["content"][where["content_index"]].get("text", ""))
        fits = self.dialect.field_validator("response.output_text.annotation.added", "annotation").is_valid
        inside = [a for a in part.annotations if not isinstance(a.get("end_index"), int) or a["end_index"] <= said]
        inside = [a for a in inside if fits(a)]
        for number, annotation in enumerate(inside):
            self._emit("response.output_text.annotation.added", **where, annotation_index=number, annotation=annotation)

    def _reasoning(self) -> None:
        count = len(tokens(self.said))
        index, item_id = self._open("reasoning", summary=[], content=[])
        before = self.output_tokens
        cut = self._hidden() if self.resolved.hidden_reasoning else self._thoughts(index, item_id, count)
        if not cut:
            cut = self._summary(index, item_id, count)
        self.reasoning_tokens += self.output_tokens - before
        fields: Json = {}
        if self.encrypted:
            fields["encrypted_content"] = base64.b64encode(f"{self.resolved.id}:{count}".encode()).decode()
        self._close(index, cut, **fields)

    def _whole(self, item: Mapping[str, Any]) -> None:
        """Add an item that is complete from the start."""
        index = len(self.fold.response["output"])
        whole = {**item, "id": self.resolved.new_id(f"it_{self.stem}{index:02x}")}
        self._emit("response.output_item.added", output_index=index, item={**whole, "status": "in_progress"})
        self._emit("response.output_item.done", output_index=index, item=whole)

    def _hidden(self) -> bool:
        """Spend the tokens of a few thoughts; return whether the budget cut them."""
        return any(self._spend() for _ in range(_HIDDEN_TOKENS))

    def _thoughts(self, index: int, item_id: str, count: int) -> bool:
        """Send what the model thinks; return whether the budget cut it."""
        where: Json = {"item_id": item_id, "output_index": index, "content_index": 0}
        # The dialects that have own events for reasoning parts and texts say so by listing them.
        events = self.dialect.events
        part = "response.reasoning_part" if "response.reasoning_part.added" in events else "response.content_part"
        text = "response.reasoning" if "response.reasoning.delta" in events else "response.reasoning_text"
        self._emit(f"{part}.added", **where, part={"type": "reasoning_text", "text": ""})
        cut = self._stream(text, f"The user said {count} words. I say them again.", **where)
        said = copy_json(self.fold.item(index)["content"][0])
        self._emit(f"{text}.done", **where, text=said["text"])
        self._emit(f"{part}.done", **where, part=said)
        return cut

    def _summary(self, index: int, item_id: str, count: int) -> bool:
        reasoning = self.body.get("reasoning") or {}
        kind = reasoning.get("summary") or reasoning.get("generate_summary")
        if kind is None:
            return False
        texts = ["Listening to the user.", f"Repeating {count} words."]
        for number, text in enumerate(texts if kind == "detailed" else texts[1:]):
            where = {"item_id": item_id, "output_index": index, "summary_index": number}
            self._emit("response.reasoning_summary_part.added", **where, part={"type": "summary_text", "text": ""})
            cut = self._stream("response.reasoning_summary_text", text, **where)
            said = copy_json(self.fold.item(index)["summary"][number])
            self._emit("response.reasoning_summary_text.done", **where, text=said["text"])
            self._emit("response.reasoning_summary_part.done", **where, part=said)
            if cut:
                return True
        return False

    def _call(self, tool: Json) -> None:
        index = len(self.fold.response["output"])
        call_id = self.resolved.new_id(f"call_{self.stem}{index:02x}")
        if tool["type"] == "computer_use_preview":
            index, _ = self._open(
                "computer_call", call_id=call_id, action={"type": "screenshot"}, pending_safety_checks=[]
            )
            self._close(index, self._spend())
            return
        name = tool["name"]
        if tool["type"] == "custom":
            index, item_id = self._open("custom_tool_call", call_id=call_id, name=name, input="")
            event, text, argument = "response.custom_tool_call_input", self.said or "parrot", "input"
        else:
            index, item_id = self._open("function_call", call_id=call_id, name=name, arguments="")
            event, argument = "response.function_call_arguments", "arguments"
            text = _json(instance(tool.get("parameters") or {"type": "object", "properties": {}}, self.said))
        cut = self._argument(event, argument, text, index, item_id, **({"name": name} if argument != "input" else {}))
        self._close(index, cut)

    def _argument(self, event: str, argument: str, text: str, index: int, item_id: str, **fields: Any) -> bool:
        """Stream a call's argument field and close it; return whether the budget cut it."""
        where = {"item_id": item_id, "output_index": index}
        if not {f"{event}.delta", f"{event}.done"} <= self.dialect.events.keys():
            self.fold.item(index)[argument] = text  # the dialect has it in the closed item only
            return self._spend()
        cut = self._stream(event, text, **where)
        self._emit(f"{event}.done", **where, **{argument: self.fold.item(index)[argument]}, **fields)
        return cut

    def _hosted_calls(self) -> None:
        """Repeat the hosted tool calls of this request's input, one of each kind."""
        done: set[str] = set()
        for heard in self.resolved.fresh:
            kind = heard.get("type")
            if not isinstance(kind, str) or kind not in _HOSTED or kind not in self.dialect.item_types:
                continue
            most = self.body.get("max_tool_calls")
            if kind not in done and _is_whole(heard) and (most is None or len(done) < most):
                done.add(kind)
                self._hosted_call(kind, heard)

    def _hosted_call(self, kind: str, heard: Json) -> None:
        late = {name: heard[name] for name in _HOSTED[kind] if name in heard}
        early = {k: copy_json(v) for k, v in heard.items() if k not in ("id", "type", "status", *late)}
        index, item_id = self._open(kind, **early, **{name: _HOSTED[kind][name] for name in late})
        where = {"item_id": item_id, "output_index": index}
        for step in ("in_progress", *_WORKING):
            self._progress(kind, step, where)
        cut = False
        text = next((name for name in ("code", "arguments") if isinstance(late.get(name), str)), None)
        if text is not None:
            event = f"response.{kind}_code" if text == "code" else f"response.{kind}_arguments"
            cut = self._argument(event, text, late.pop(text), index, item_id)
        if not cut:
            self._progress(kind, "completed", where)
        self._close(index, cut, **({} if cut else late))

    def _progress(self, kind: str, step: str, where: Json) -> None:
        """Send an event that reports the progress of a hosted tool, if the dialect has it."""
        if f"response.{kind}.{step}" in self.dialect.events:
            self._emit(f"response.{kind}.{step}", **where)


def error_event(dialect: Dialect, code: str, message: str) -> Json:
    """Return the fields of an ``error`` event besides its type, in the dialect's shape."""
    if dialect.stream["error_event"] == "nested":
        return {"error": {"type": "server_error", "code": code, "message": message, "param": None}}
    return {"code": code, "message": message, "param": None}


def _offered(body: Mapping[str, Any]) -> tuple[Any, list[Json]]:
    """Return the tool choice (``none``, ``auto``, ``required`` or ``forced``) and the tools that it leaves."""
    tools = list(body.get("tools") or ())
    choice = body.get("tool_choice") or "auto"
    if isinstance(choice, str):
        return choice, tools
    if choice["type"] == "allowed_tools":
        allowed = [(tool.get("type"), tool.get("name")) for tool in choice["tools"]]
        return choice.get("mode", "auto"), [tool for tool in tools if (tool["type"], tool.get("name")) in allowed]
    return "forced", [tool for tool in tools if is_choice(choice, tool)]


def is_choice(choice: Mapping[str, Any], tool: Mapping[str, Any]) -> bool:
    """Return whether a tool choice that names one tool names this one; a server's tool is named by its server."""
    name = "server_label" if tool["type"] == "mcp" else "name"
    return bool(choice["type"] == tool["type"] and choice.get(name) == tool.get(name))


def _mentions(text: str, name: str) -> bool:
    """Return whether the text holds the name as a whole word."""
    return bool(name) and re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text) is not None


def _subject(name: str) -> str:
    """Return the word for what a tool is about: ``weather`` of ``get_weather``; empty where its name has none."""
    verb, _, subject = name.rpartition("_")
    return subject if verb and len(subject) > 3 else ""


def _answered(items: Sequence[Json]) -> set[str]:
    """Return the names of the tools whose calls were answered since the last user message."""
    names = {item.get("call_id"): item.get("name") for item in items if item.get("name")}
    answered: set[str] = set()
    for item in items:
        if item.get("role") == "user":
            answered.clear()
        elif item.get("type") in ("function_call_output", "custom_tool_call_output"):
            answered.add(str(names.get(item.get("call_id"))))
    return answered


def _is_whole(item: Json) -> bool:
    """Return whether a hosted call of the input can stand in an output: no nulls in fields of fixed type."""
    strings = {"code_interpreter_call": ("container_id",), "mcp_call": ("name", "server_label", "arguments")}
    return all(isinstance(item.get(name), str) for name in strings.get(str(item.get("type")), ()))


def _pushed(bias: Any) -> str:
    """Return the token that logit_bias leaves no choice but to say, the empty string without one."""
    pushed = [token for token, value in (bias or {}).items() if token.isdecimal() and value >= _PUSH]
    return pushed[0] if pushed else ""


def _prompt_segments(prompt: Any) -> list[Segment]:
    """Return the texts of a prompt template's variables."""
    if not isinstance(prompt, Mapping) or not isinstance(prompt.get("variables"), Mapping):
        return []
    values = [value.get("text") if isinstance(value, Mapping) else value for value in prompt["variables"].values()]
    return [Segment(value) for value in values if isinstance(value, str) and value]


def _join(heard: Sequence[Segment]) -> list[_Part]:
    parts = [_Part("")]
    for segment in heard:
        if segment.new_part:
            parts.append(_Part(""))
        part = parts[-1]
        if part.text:
            part.text += "\n"
        part.annotations.extend(_shifted(a, len(part.text), len(segment.text)) for a in segment.annotations)
        part.text += segment.text
    if not any(part.text.strip() for part in parts):
        parts = [_Part("Hello.")]
    return [part for part in parts if part.text.strip()]


def _shifted(annotation: Json, offset: int, length: int) -> Json:
    """Move an annotation's offsets (code points) by where its text now stands, held within that text."""
    moved = copy_json(annotation)
    start, end = annotation.get("start_index"), annotation.get("end_index")
    if isinstance(start, int) and isinstance(end, int):
        start = min(max(start, 0), length)
        moved |= {"start_index": offset + start, "end_index": offset + min(max(end, start), length)}
    return moved


def _shortened(part: _Part) -> _Part:
    pieces = tokens(part.text)
    if len(pieces) <= _LONGEST_PART:
        return part
    half = _LONGEST_PART // 2
    return _Part("".join([*pieces[:half], " …", *pieces[-half:]]))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)

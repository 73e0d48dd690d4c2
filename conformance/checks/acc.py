"""Accumulation: the joined deltas against every place that repeats their text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

from rejoinder.conformance.judging.exchange_view import CaseView, ExchangeView
from rejoinder.conformance.judging.formats import NOT_JSON, declared_parameters, last_text, misfit, wanted_shape
from rejoinder.conformance.judging.json_diff import first_difference
from rejoinder.conformance.judging.problems import at_event, differing, get, in_exchange, in_response, quoted
from rejoinder.conformance.judging.registry import Declined, Subject, check
from rejoinder.conformance.judging.relations import can_compare, differences
from rejoinder.conformance.judging.roles import Role
from rejoinder.conformance.judging.turns import (
    TERMINAL,
    have_responses,
    response_of,
    retrieved,
    state,
    was_cut,
    whole_calls,
)
from rejoinder.fold import ItemTrace, PartTrace
from rejoinder.formatting import plural
from rejoinder.model.verdict import ABSENT, Problem

_CONTENT_TEXT: Final = "output_text"
_TOOL_INPUTS: Final = ("custom_tool_call", "mcp_call", "code_interpreter_call")
_TWINS: Final = (Role.PLAIN, Role.STREAM)


@dataclass(frozen=True, slots=True)
class _Text:
    """A streamed text and its position in the output."""

    item: ItemTrace
    part: PartTrace
    field: str
    place: int

    @property
    def within(self) -> tuple[str | int, ...]:
        """The path of the text in its item."""
        if self.part.container == "item":
            return (self.field,)
        return (self.part.container, self.item.place(self.part), self.field)

    @property
    def joined(self) -> str:
        """The joined deltas; without any, the text that the part or item had when it was added."""
        holder = self.item if self.part.container == "item" else self.part
        value = get(holder.announced, self.field)
        return value if not self.part.deltas_at and isinstance(value, str) else self.part.text


def _texts(view: ExchangeView, *families: str) -> list[_Text]:
    """Return the texts that were streamed by deltas or a typed done event of these families (part types)."""
    known = view.once(_texts_by_family)
    if len(families) == 1:
        return known.get(families[0], [])
    found = [text for family in families for text in known.get(family, ())]
    return sorted(found, key=lambda text: (text.item.position, text.part.container, text.part.position))


def _texts_by_family(view: ExchangeView) -> dict[str, list[_Text]]:
    found: dict[str, list[_Text]] = {}
    for item in view.fold.items:
        for part in item.parts:
            spec = part.spec
            if spec is not None and _is_placed(item, part):
                found.setdefault(spec.part, []).append(_Text(item, part, spec.field, view.fold.place(item)))
    return found


def _is_placed(item: ItemTrace, part: PartTrace) -> bool:
    """Whether the part that a text belongs to is known; PRT-02 reports indexes without a part."""
    announced = item.announced_parts(part.container)
    return part.container == "item" or announced in (0, len(item.of(part.container)))


def _pointer(path: tuple[str | int, ...]) -> str:
    return "".join(f"/{step}" for step in path)


def _differences(view: ExchangeView, text: _Text, *kinds: str) -> Iterator[Problem]:
    """Yield a problem for each place of these kinds that repeats a text, and differs from its joined deltas."""
    part = text.part
    for kind in kinds:
        value: Any = None
        if kind == "done":
            value = part.typed
        elif kind == "part":
            value = get(part.closed, text.field) if part.closed_at else None
        elif kind == "item":
            value = get(text.item.closed, *text.within) if text.item.closed_at else None
        elif kind == "response" and view.whole_output:
            value = get(view.whole_output, text.place, *text.within)
        if not isinstance(value, str) or value == (joined := text.joined):
            continue
        path = _pointer(text.within)
        if kind == "response":
            message, pointer = _sizes(joined, value, "the terminal response"), f"/output/{text.place}{path}"
            yield in_response(view, message, pointer, expected=joined, actual=value, kind=kind)
            continue
        numbers = {"done": part.typed_at, "part": part.closed_at, "item": text.item.closed_at}[kind]
        pointer = {"done": f"/{text.field}", "part": f"/part/{text.field}", "item": f"/item{path}"}[kind]
        event = view.events[numbers[0]]
        message = _sizes(joined, value, event.type)
        yield at_event(event, message, pointer, expected=joined, actual=value, kind=kind)


def _sizes(deltas: str, other: str, place: str) -> str:
    return (
        f"The joined deltas ({plural(len(deltas), 'character')}) differ from {place} "
        f"({plural(len(other), 'character')})."
    )


_PLACES: Final = ("done", "part", "item", "response")


def _everywhere(view: ExchangeView, *families: str) -> Iterator[Problem]:
    for text in _texts(view, *families):
        # A text in the item itself belongs to no part.
        places = _PLACES if text.part.container != "item" else ("done", "item", "response")
        yield from _differences(view, text, *places)


def _has(*families: str) -> Any:
    return lambda view: any(view.once(_texts_by_family).get(family) for family in families)


def _place_rule(rule: str, kind: str, where: str) -> None:
    """Register the check of a rule about one place that repeats the text of an output_text part."""

    def deltas_equal_place(view: ExchangeView) -> Iterator[Problem]:
        for text in _texts(view, _CONTENT_TEXT):
            yield from _differences(view, text, kind)

    deltas_equal_place.__doc__ = f"Joins the deltas of every `output_text` part and compares the text with {where}."
    check(rule, Subject.STREAM, needs=_has(_CONTENT_TEXT))(deltas_equal_place)


for _rule, _kind, _where in (
    ("ACC-01", "done", "`response.output_text.done`"),
    ("ACC-02", "part", "`response.content_part.done`"),
    ("ACC-03", "item", "`response.output_item.done` of its item"),
    ("ACC-04", "response", "the same part of the terminal response"),
):
    _place_rule(_rule, _kind, _where)


def _has_calls(view: ExchangeView) -> bool:
    return any(item.type == "function_call" for item in view.fold.items)


@check("ACC-05", Subject.STREAM, needs=_has_calls)
def argument_deltas_add_up(view: ExchangeView) -> Iterator[Problem]:
    """Joins the argument deltas of every function call and compares them with the done event, item and response.

    A done call needs `response.function_call_arguments.done` even if it has no delta.
    """
    yield from _everywhere(view, "function_call")
    for item in view.fold.items:
        if item.type == "function_call" and item.closed_at and not any(part.typed_at for part in item.of("item")):
            yield at_event(
                view.events[item.closed_at[0]],
                "A function call is done without response.function_call_arguments.done.",
                expected="response.function_call_arguments.done",
                kind="no done",
            )


def _family_rule(rule: str, families: tuple[str, ...], what: str, where: str) -> None:
    """Register the check of a rule about all places that repeat the texts of families of deltas."""

    def deltas_add_up(view: ExchangeView) -> Iterator[Problem]:
        yield from _everywhere(view, *families)

    deltas_add_up.__doc__ = f"Joins the deltas of every {what} and compares them with the done event, {where}."
    check(rule, Subject.STREAM, needs=_has(*families))(deltas_add_up)


_family_rule("ACC-06", ("refusal",), "refusal part", "part, item and response")
_family_rule("ACC-07", ("reasoning_text",), "reasoning part", "part, item and response")
_family_rule("ACC-08", ("summary_text",), "summary part", "part, item and response")
_family_rule("ACC-09", _TOOL_INPUTS, "tool input, MCP call and code", "item and response")


def _entries(value: Any) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _streamed_logprobs(view: ExchangeView) -> dict[tuple[Any, Any], list[dict[str, Any]]]:
    """Return the entries of all text deltas by the position of their part."""
    found: dict[tuple[Any, Any], list[dict[str, Any]]] = {}
    for event in view.by_type.get("response.output_text.delta", []):
        place = (event.data.get("output_index"), event.data.get("content_index"))
        found.setdefault(place, []).extend(_entries(event.data.get("logprobs")))
    return found


@check("ACC-10", Subject.STREAM, needs=lambda view: any(_streamed_logprobs(view).values()))
def logprobs_add_up(view: ExchangeView) -> Iterator[Problem]:
    """Joins the logprobs of the deltas of every part and compares them with those of `response.output_text.done`.

    A done event without logprobs is not compared: no document says that it repeats those of the deltas.
    """
    streamed = _streamed_logprobs(view)
    for event in view.by_type.get("response.output_text.done", []):
        joined = streamed.get((event.data.get("output_index"), event.data.get("content_index")), [])
        value = event.data.get("logprobs", ABSENT)
        if isinstance(value, list) and value and joined:
            message = "The joined logprobs of the deltas differ at {} from those of the done event."
            yield from differing(at_event, event, message, joined, value, "/logprobs", kind="done")


def _part_logprobs(view: ExchangeView) -> list[tuple[str, dict[str, Any], list[dict[str, Any]]]]:
    found = ((pointer, part, _entries(part.get("logprobs"))) for pointer, part in view.text_parts())
    return [(pointer, part, entries) for pointer, part, entries in found if entries]


@check("ACC-10", Subject.RESPONSE, needs=lambda view: bool(_part_logprobs(view)))
def logprobs_fit_the_text(view: ExchangeView) -> Iterator[Problem]:
    """Tests every `logprob` and the number of `top_logprobs` of every token in the final output.

    The joined bytes of the tokens must contain the text. Hidden tokens may come before and after it.
    """
    most = view.request.get("top_logprobs") or 0
    for pointer, part, entries in _part_logprobs(view):
        for n, entry in enumerate(entries):
            value, others = entry.get("logprob"), entry.get("top_logprobs")
            if isinstance(value, (int, float)) and value > 1e-6:
                where = f"{pointer}/logprobs/{n}/logprob"
                message = f"The logprob of token {n} is {quoted(value)}."
                yield in_response(view, message, where, expected="number of at most 0", actual=value)
            if isinstance(others, list) and len(others) > most:
                yield in_response(
                    view,
                    f"Token {n} has {plural(len(others), 'alternative')}, but top_logprobs is {most}.",
                    f"{pointer}/logprobs/{n}/top_logprobs",
                    expected=f"at most {plural(most, 'alternative')}",
                    actual=plural(len(others), "alternative"),
                )
        texts = [entry.get("bytes") for entry in entries]
        if all(_is_bytes(each) for each in texts) and isinstance(part.get("text"), str):
            joined = b"".join(bytes(each or ()) for each in texts)
            if part["text"].encode("utf-8", "replace") not in joined:
                yield in_response(
                    view,
                    "The joined bytes of the tokens do not contain the text.",
                    f"{pointer}/logprobs",
                    expected=part["text"],
                    actual=joined.decode("utf-8", "replace"),
                    kind="bytes",
                )


def _is_bytes(value: Any) -> bool:
    return isinstance(value, list) and all(type(byte) is int and 0 <= byte < 256 for byte in value)


def _plain_has_logprobs(case: CaseView) -> bool:
    plain, stream = case.get(Role.PLAIN), case.get(Role.STREAM)
    if plain is None or stream is None:
        return False
    return bool(_part_logprobs(plain)) and stream.is_stream and bool(stream.text())


@check("ACC-10", Subject.CASE, needs=_plain_has_logprobs)
def streams_have_logprobs_too(case: CaseView) -> Iterator[Problem]:
    """Sends one request with and without streaming, and searches both responses for logprobs."""
    (stream,) = case.having(Role.STREAM)
    if not any(_streamed_logprobs(stream).values()):
        yield in_exchange(
            stream,
            "The non-streaming response has logprobs, but no delta of the stream has any.",
            "/logprobs",
            event_type="response.output_text.delta",
            expected="non-empty array",
            actual=[],
            kind="missing",
        )


_BROKEN: Final = "\N{REPLACEMENT CHARACTER}"


@check("ACC-11", Subject.STREAM, needs=_has(_CONTENT_TEXT))
def characters_are_whole(view: ExchangeView) -> Iterator[Problem]:
    """Searches the deltas for the replacement character U+FFFD if the final text has none."""
    for text in _texts(view, _CONTENT_TEXT):
        joined = text.part.text
        whole = next((value for value in _repeats(view, text) if isinstance(value, str)), None)
        if whole is None or _BROKEN in whole or _BROKEN not in joined:
            continue
        for event in view.by_type.get("response.output_text.delta", []):
            delta = event.data.get("delta")
            if isinstance(delta, str) and _BROKEN in delta:
                message = "A delta contains U+FFFD, which the final text lacks: a character was split."
                yield at_event(event, message, "/delta", expected=whole, actual=joined)
                break


def _repeats(view: ExchangeView, text: _Text) -> Iterator[Any]:
    yield text.part.typed
    yield get(text.part.closed, text.field)
    yield get(text.item.closed, *text.within)
    yield get(view.whole_output, text.place, *text.within)


@check("ACC-12", Subject.STREAM, needs=lambda view: view.ended_well and view.whole_output is not None)
def stream_folds_to_its_end(view: ExchangeView) -> Iterator[Problem]:
    """Reconstructs the output from item, part and delta events and compares it with the terminal response.

    Items that are null in `response.output_item.done` are not compared. ITM-06 covers them. Neither are fields that
    the item's type does not have.
    """
    message = "The output reconstructed from the events differs at {} from the terminal response."
    yield from differing(in_response, view, message, *view.folded_and_final(), "/output")


# Fields that must be equal even if create or retrieve leaves them out.
_CORE: Final = ("id", "object", "created_at", "model", "status", "output", "error", "incomplete_details", "usage")


def _kept(case: CaseView) -> list[tuple[ExchangeView, ExchangeView]]:
    """Return every finished create request of a case with the first retrieve of its response.

    Left out are responses in the background, ids that were created twice, and what another request may have changed.
    """
    created: dict[str, ExchangeView | None] = {}
    pairs = []
    for view in case.views:
        path, _, query = view.exchange.request.path.partition("?")
        if view.is_create:
            response = response_of(view)
            if state(response) in TERMINAL and isinstance(identity := get(response, "id"), str):
                unique = identity not in created and not view.request.get("background")
                created[identity] = view if unique else None
        elif view.exchange.request.method != "GET":
            steps = unquote(path).split("/")
            created |= {identity: None for identity in created if identity in steps}
        elif not query and (response := retrieved(view)) is not None:
            first = created.get(str(response.get("id")))
            if first is not None and get(response, "object") == "response":
                pairs.append((first, view))
                created[str(response["id"])] = None
    return pairs


@check("ACC-13", Subject.CASE, needs=lambda case: bool(_kept(case)))
def retrieved_is_what_was_told(case: CaseView) -> Iterator[Problem]:
    """Retrieves a response right after its end and compares it with the response of create, field by field.

    A field that is null or missing in one of the two counts only if it is part of the result, such as `output`.
    """
    for created, fetched in _kept(case):
        left, right = response_of(created) or {}, retrieved(fetched) or {}
        for name in dict.fromkeys((*_CORE, *left)):
            before, after = left.get(name), right.get(name)
            if name not in _CORE and (before is None or after is None):
                continue
            message = "The retrieved response differs at {} from the one that create returned."
            yield from differing(in_exchange, fetched, message, before, after, f"/{name}")


def _are_twins(case: CaseView) -> bool:
    if not have_responses(case, *_TWINS):
        return False
    plain, stream = ({**view.request, "stream": ABSENT} for view in case.having(*_TWINS))
    # A response in the background is still to come.
    return plain.get("temperature") == 0 and not plain.get("background") and first_difference(plain, stream) is None


@check("ACC-14", Subject.CASE, needs=_are_twins)
def streamed_as_plain(case: CaseView) -> Iterator[Problem]:
    """Sends a request at temperature 0 with and without streaming. Compares status, item types and input tokens."""
    plain, stream = case.having(*_TWINS)
    for name, pointer, of in (
        ("status", "/status", lambda view: get(view.response, "status")),
        ("The list of item types", "/output", lambda view: [item.get("type") for item in view.output]),
        ("input_tokens", "/usage/input_tokens", lambda view: get(view.response, "usage", "input_tokens")),
    ):
        expected, actual = of(plain), of(stream)
        if expected != actual and ABSENT not in (expected, actual):
            yield in_response(
                stream,
                f"{name} is {quoted(actual)} with streaming and {quoted(expected)} without.",
                pointer,
                expected=expected,
                actual=actual,
            )


def _streaming_rule(rule: str, how: str) -> None:
    """Register the checks of a rule about one request with and without streaming."""

    def same_with_streaming(case: CaseView) -> Iterator[Problem | Declined]:
        yield from differences(case, rule)

    same_with_streaming.__doc__ = how
    for subject in (Subject.CASE, Subject.RUN):
        check(rule, subject, needs=can_compare(rule))(same_with_streaming)


_streaming_rule(
    "ACC-17",
    "Sends requests with and without streaming. The endpoint must accept or refuse both. Does not compare failed "
    "responses, or endpoints without streaming. BGR-08 covers background requests.",
)
_streaming_rule(
    "ACC-18",
    "Sends requests with and without streaming. Compares every field of the response object that the dialect defines, "
    "other than ids, times and what the model has a part in, and the names in `usage`. ACC-19 covers the output.",
)
_streaming_rule(
    "ACC-19",
    "Sends a request at temperature 0 with and without streaming, and one of the two again. Compares status, output "
    "and token counts. If the two equal requests have different outputs, the rule is not tested.",
)


@check("ACC-15", Subject.RESPONSE, needs=lambda view: wanted_shape(view) is not None and bool(last_text(view)))
def text_fits_its_schema(view: ExchangeView) -> Iterator[Problem]:
    """Validates the text of every completed response to a request with a strict JSON Schema of a closed object."""
    schema, text = wanted_shape(view), last_text(view)
    assert schema is not None
    wrong = misfit(text, schema)
    if wrong:
        yield in_response(
            view,
            "The output is not JSON." if wrong == NOT_JSON else f"The output does not match the schema: {wrong}.",
            "/output",
            expected="JSON that matches the schema",
            actual=text,
            kind="schema",
        )


@check("ACC-16", Subject.RESPONSE, needs=lambda view: bool(whole_calls(view)) and not was_cut(view))
def arguments_are_json(view: ExchangeView) -> Iterator[Problem]:
    """Parses the arguments of every complete function call. Validates them if the tool is strict.

    Arguments are not validated if several tools of the request have the name of the call.
    """
    strict = declared_parameters(view, strict=True)
    for i, item in whole_calls(view):
        wrong = misfit(item["arguments"], strict.get(str(item.get("name"))))
        if wrong:
            yield in_response(
                view,
                f"The arguments of a call of {quoted(item.get('name'))} "
                + ("are not JSON." if wrong == NOT_JSON else f"do not match the tool's parameters: {wrong}."),
                f"/output/{i}/arguments",
                expected="JSON that matches the tool's parameters",
                actual=item["arguments"],
                kind="syntax" if wrong == NOT_JSON else "schema",
            )

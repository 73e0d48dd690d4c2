"""Accumulation: what the deltas add up to against every place that repeats it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from rejoinder.conformance.judging.exchange_view import CaseView, ExchangeView
from rejoinder.conformance.judging.formats import last_text, misfit, wanted_shape
from rejoinder.conformance.judging.json_diff import first_difference
from rejoinder.conformance.judging.problems import at_event, differing, get, in_exchange, in_response, is_set
from rejoinder.conformance.judging.registry import Declined, Subject, check
from rejoinder.conformance.judging.roles import Role
from rejoinder.conformance.judging.turns import (
    TERMINAL,
    calls,
    have_responses,
    is_broken,
    is_rejected,
    response_of,
    retrieved,
    state,
    status_code,
    was_cut,
)
from rejoinder.fold import ItemTrace, PartTrace
from rejoinder.model.footer import FeatureState
from rejoinder.model.verdict import ABSENT, Problem

_CONTENT_TEXT: Final = "output_text"
_OWN: Final = ("stream", "stream_options", "request_id")
"""Fields in which the plain and the streamed form of one request differ."""
_FREE: Final = frozenset({*_OWN, "input", "service_tier", "include", "prompt_cache_key"})
"""Fields of the request that a response need not repeat alike each time."""
_TOOL_INPUTS: Final = ("custom_tool_call", "mcp_call", "code_interpreter_call")
_TWINS: Final = (Role.PLAIN, Role.STREAM)


@dataclass(frozen=True, slots=True)
class _Text:
    """A streamed text with the places that must repeat it."""

    item: ItemTrace
    part: PartTrace
    field: str
    place: int

    @property
    def within(self) -> tuple[str | int, ...]:
        """The path of the text inside its item."""
        if self.part.container == "item":
            return (self.field,)
        return (self.part.container, self.item.place(self.part), self.field)


def _texts(view: ExchangeView, *families: str) -> Iterator[_Text]:
    """Yield the texts that were streamed by deltas or a typed done event of these families (part types)."""
    for item in view.fold.items:
        for part in item.parts:
            spec = part.spec
            if spec is not None and spec.part in families and _is_placed(item, part):
                yield _Text(item, part, spec.field, view.fold.place(item))


def _is_placed(item: ItemTrace, part: PartTrace) -> bool:
    """Whether it is known which part of the item a text belongs to; PRT-02 tells of indexes that name no part."""
    parts = item.of(part.container)
    announced = sum(1 for other in parts if other.announced_at)
    return part.container == "item" or announced == len(parts) or not announced


def _pointer(path: tuple[str | int, ...]) -> str:
    return "".join(f"/{step}" for step in path)


def _differences(view: ExchangeView, text: _Text, *kinds: str) -> Iterator[Problem]:
    """Yield a problem for each place of these kinds that repeats a text, and differs from its joined deltas."""
    part, path = text.part, _pointer(text.within)
    for kind, place, value, numbers, pointer in (
        ("done", "done event", part.typed, part.typed_at, f"/{text.field}"),
        ("part", "closed part", get(part.closed, text.field), part.closed_at, f"/part/{text.field}"),
        ("item", "closed item", get(text.item.closed, *text.within), text.item.closed_at, f"/item{path}"),
    ):
        if kind in kinds and isinstance(value, str) and value != part.text:
            message = f"The joined deltas differ from the {place}."
            yield at_event(view.events[numbers[0]], message, pointer, expected=part.text, actual=value, kind=kind)
    value = get(view.whole_output, text.place, *text.within)
    if "response" in kinds and isinstance(value, str) and value != part.text:
        yield in_response(
            view,
            "The joined deltas differ from the terminal response.",
            f"/output/{text.place}{path}",
            expected=part.text,
            actual=value,
            kind="response",
        )


_PLACES: Final = ("done", "part", "item", "response")


def _everywhere(view: ExchangeView, *families: str) -> Iterator[Problem]:
    for text in _texts(view, *families):
        # What stands in the item itself has no part that is closed.
        places = _PLACES if text.part.container != "item" else ("done", "item", "response")
        yield from _differences(view, text, *places)


def _has(*families: str) -> Any:
    return lambda view: any(True for _ in _texts(view, *families))


def _place_rule(rule: str, kind: str, where: str) -> None:
    """Register the check of a rule about one place that repeats the text of an output_text part."""

    def deltas_equal_place(view: ExchangeView) -> Iterator[Problem]:
        for text in _texts(view, _CONTENT_TEXT):
            yield from _differences(view, text, kind)

    deltas_equal_place.__doc__ = f"The deltas of each output_text part are joined and compared with {where}."
    check(rule, Subject.STREAM, needs=_has(_CONTENT_TEXT))(deltas_equal_place)


for _rule, _kind, _where in (
    ("ACC-01", "done", "its response.output_text.done"),
    ("ACC-02", "part", "its response.content_part.done"),
    ("ACC-03", "item", "its item's response.output_item.done"),
    ("ACC-04", "response", "its place in the terminal response"),
):
    _place_rule(_rule, _kind, _where)


def _has_calls(view: ExchangeView) -> bool:
    return any(item.type == "function_call" for item in view.fold.items)


@check("ACC-05", Subject.STREAM, needs=_has_calls)
def argument_deltas_add_up(view: ExchangeView) -> Iterator[Problem]:
    """The argument deltas of each function call are joined and compared with done event, item and response.

    A closed call must have a done event even when it had no delta.
    """
    yield from _everywhere(view, "function_call")
    for item in view.fold.items:
        if item.type == "function_call" and item.closed_at and not any(part.typed_at for part in item.of("item")):
            yield at_event(
                view.events[item.closed_at[0]],
                "A function call is closed without response.function_call_arguments.done.",
                expected="response.function_call_arguments.done",
                kind="no done",
            )


def _family_rule(rule: str, families: tuple[str, ...], what: str, where: str) -> None:
    """Register the check of a rule about all places that repeat the texts of families of deltas."""

    def deltas_add_up(view: ExchangeView) -> Iterator[Problem]:
        yield from _everywhere(view, *families)

    deltas_add_up.__doc__ = f"The deltas of each {what} are joined and compared with done event, {where}."
    check(rule, Subject.STREAM, needs=_has(*families))(deltas_add_up)


_family_rule("ACC-06", ("refusal",), "refusal part", "part, item and response")
_family_rule("ACC-07", ("reasoning_text",), "reasoning part", "part, item and response")
_family_rule("ACC-08", ("summary_text",), "summary part", "part, item and response")
_family_rule("ACC-09", _TOOL_INPUTS, "tool input, MCP call and code", "item and response")


def _entries(value: Any) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _streamed_logprobs(view: ExchangeView) -> dict[tuple[Any, Any], list[dict[str, Any]]]:
    """Return the entries of all text deltas by the place of their part."""
    found: dict[tuple[Any, Any], list[dict[str, Any]]] = {}
    for event in view.by_type.get("response.output_text.delta", []):
        place = (event.data.get("output_index"), event.data.get("content_index"))
        found.setdefault(place, []).extend(_entries(event.data.get("logprobs")))
    return found


@check("ACC-10", Subject.STREAM, needs=lambda view: any(_streamed_logprobs(view).values()))
def logprobs_add_up(view: ExchangeView) -> Iterator[Problem]:
    """The logprobs of a part's deltas are joined and compared with those of its response.output_text.done."""
    streamed = _streamed_logprobs(view)
    for event in view.by_type.get("response.output_text.done", []):
        joined = streamed.get((event.data.get("output_index"), event.data.get("content_index")), [])
        value = event.data.get("logprobs", ABSENT)
        if isinstance(value, list) and joined:
            message = "The joined logprobs of the deltas differ from those of the done event."
            yield from differing(at_event, event, message, joined, value, "/logprobs", kind="done")


def _part_logprobs(view: ExchangeView) -> list[tuple[str, dict[str, Any], list[dict[str, Any]]]]:
    found = ((pointer, part, _entries(part.get("logprobs"))) for pointer, part in view.text_parts())
    return [(pointer, part, entries) for pointer, part, entries in found if entries]


@check("ACC-10", Subject.RESPONSE, needs=lambda view: bool(_part_logprobs(view)))
def logprobs_fit_the_text(view: ExchangeView) -> Iterator[Problem]:
    """In the final parts no logprob may be above 0, no token may have more alternatives than top_logprobs asked for.

    The joined bytes of the tokens must hold the text (tokens that are not shown may stand around it).
    """
    most = view.request.get("top_logprobs") or 0
    for pointer, part, entries in _part_logprobs(view):
        for n, entry in enumerate(entries):
            value, others = entry.get("logprob"), entry.get("top_logprobs")
            if isinstance(value, (int, float)) and value > 1e-6:
                yield in_response(
                    view, "A logprob is above 0.", f"{pointer}/logprobs/{n}/logprob", expected="0 or less", actual=value
                )
            if isinstance(others, list) and len(others) > most:
                yield in_response(
                    view,
                    "A token has more alternatives than top_logprobs asked for.",
                    f"{pointer}/logprobs/{n}/top_logprobs",
                    expected=f"at most {most}",
                    actual=len(others),
                )
        texts = [entry.get("bytes") for entry in entries]
        if all(_is_bytes(each) for each in texts) and isinstance(part.get("text"), str):
            joined = b"".join(bytes(each or ()) for each in texts)
            if part["text"].encode("utf-8", "replace") not in joined:
                yield in_response(
                    view,
                    "The bytes of the tokens do not join to the text.",
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
    """Where the plain reply to a request has logprobs, the text of the streamed one must have them."""
    (stream,) = case.having(Role.STREAM)
    if not any(_streamed_logprobs(stream).values()):
        yield in_exchange(
            stream,
            "The plain reply has logprobs, and the deltas of the streamed one have none.",
            "/logprobs",
            event_type="response.output_text.delta",
            expected="logprobs",
            actual=[],
            kind="missing",
        )


_BROKEN: Final = "\N{REPLACEMENT CHARACTER}"


@check("ACC-11", Subject.STREAM, needs=_has(_CONTENT_TEXT))
def characters_are_whole(view: ExchangeView) -> Iterator[Problem]:
    """The deltas of a text are searched for the replacement character where the text itself, as repeated, lacks it."""
    for text in _texts(view, _CONTENT_TEXT):
        joined = text.part.text
        whole = next((value for value in _repeats(view, text) if isinstance(value, str)), None)
        if whole is None or _BROKEN in whole or _BROKEN not in joined:
            continue
        for event in view.by_type.get("response.output_text.delta", []):
            delta = event.data.get("delta")
            if isinstance(delta, str) and _BROKEN in delta:
                message = "A character was broken at the border of two deltas."
                yield at_event(event, message, "/delta", expected=whole, actual=joined)
                break


def _repeats(view: ExchangeView, text: _Text) -> Iterator[Any]:
    yield text.part.typed
    yield get(text.part.closed, text.field)
    yield get(text.item.closed, *text.within)
    yield get(view.whole_output, text.place, *text.within)


@check("ACC-12", Subject.STREAM, needs=lambda view: view.ended_well and view.whole_output is not None)
def stream_folds_to_its_end(view: ExchangeView) -> Iterator[Problem]:
    """The output rebuilt from item, part and delta events is compared with the terminal response's output."""
    message = "The output rebuilt from the events differs from the terminal response."
    yield from differing(in_response, view, message, view.fold.output(), view.whole_output, "/output")


# What no two readings of the same response may differ in, even where one of them leaves it out.
_CORE: Final = ("id", "object", "created_at", "model", "status", "output", "error", "incomplete_details", "usage")


def _kept(case: CaseView) -> list[tuple[ExchangeView, ExchangeView]]:
    """Return each finished create request of a case with the retrieve of its response that followed it."""
    pairs = []
    for sent_as, fetched_as in ((Role.FIRST, Role.GET), (Role.STREAMED, Role.GET_STREAMED)):
        created, fetched = case.get(sent_as), case.get(fetched_as)
        if created is not None and fetched is not None and retrieved(fetched) is not None:
            pairs.append((created, fetched))
    return [(created, fetched) for created, fetched in pairs if state(response_of(created)) in TERMINAL]


@check("ACC-13", Subject.CASE, needs=lambda case: bool(_kept(case)))
def retrieved_is_what_was_told(case: CaseView) -> Iterator[Problem]:
    """A response is retrieved right after its end and compared with the reply to create, field by field.

    Fields that one of the two leaves out or has as null are not compared, unless they say what was answered.
    """
    for created, fetched in _kept(case):
        left, right = response_of(created) or {}, retrieved(fetched) or {}
        for name in dict.fromkeys((*_CORE, *left)):
            before, after = left.get(name), right.get(name)
            if name not in _CORE and (before is None or after is None):
                continue
            message = "The retrieved response differs from the one that create told."
            yield from differing(in_exchange, fetched, message, before, after, f"/{name}")


def _are_twins(case: CaseView) -> bool:
    if not _both_told(case):
        return False
    plain, stream = ({**view.request, "stream": ABSENT} for view in case.having(*_TWINS))
    return plain.get("temperature") == 0 and first_difference(plain, stream) is None


@check("ACC-14", Subject.CASE, needs=_are_twins)
def streamed_as_plain(case: CaseView) -> Iterator[Problem]:
    """A request at temperature 0 is sent plain and streamed; status, item types and input tokens are compared."""
    plain, stream = case.having(*_TWINS)
    for pointer, of in (
        ("/status", lambda view: get(view.response, "status")),
        ("/output", lambda view: [item.get("type") for item in view.output]),
        ("/usage/input_tokens", lambda view: get(view.response, "usage", "input_tokens")),
    ):
        expected, actual = of(plain), of(stream)
        if expected != actual and ABSENT not in (expected, actual):
            yield in_response(
                stream,
                "The streamed reply differs from the plain one to the same request.",
                pointer,
                expected=expected,
                actual=actual,
            )


def _asks_twice(case: CaseView) -> bool:
    """Whether a plain and a streamed request of the case are one but for that."""
    plain, stream = case.get(Role.PLAIN), case.get(Role.STREAM)
    if plain is None or stream is None or not stream.streamed or plain.streamed or plain.request.get("background"):
        return False
    bodies = [{name: value for name, value in view.request.items() if name not in _OWN} for view in (plain, stream)]
    return bool(bodies[0]) and bodies[0] == bodies[1]


def _taken(view: ExchangeView) -> bool | None:
    """Return whether a request was taken; ``None`` when its reply leaves that open."""
    status = status_code(view)
    if view.exchange.ok:
        # What failed may have been refused, or have broken on the way.
        return None if view.response is None or state(view.response) == "failed" else True
    return False if is_rejected(status) else None


def _both_answered(case: CaseView) -> bool:
    streaming = case.run_context.capabilities.get("streaming")
    lacking = streaming is not None and streaming.state is not FeatureState.SUPPORTED
    return _asks_twice(case) and not lacking and None not in map(_taken, case.having(*_TWINS))


@check("ACC-17", Subject.CASE, needs=_both_answered)
def taken_streamed_as_plain(case: CaseView) -> Iterator[Problem]:
    """Requests are sent plain and streamed; either both are accepted or neither, unless no stream is at all.

    Where a response failed nothing is compared. Requests in the background are left to BGR-08.
    """
    plain, stream = case.having(*_TWINS)
    if _taken(plain) is not _taken(stream):
        odd = stream if _taken(plain) else plain
        ways = ("plain", "streamed") if odd is stream else ("streamed", "plain")
        yield in_exchange(
            odd,
            f"A request that is accepted {ways[0]} is refused {ways[1]} with status {status_code(odd)}.",
            expected=200,
            actual=odd.exchange.json() or status_code(odd),
            kind=f"{ways[1]} {'5xx' if is_broken(status_code(odd)) else '4xx'}",
        )


@check("ACC-18", Subject.CASE, needs=lambda case: _asks_twice(case) and _both_told(case))
def same_fields_streamed_as_plain(case: CaseView) -> Iterator[Problem]:
    """Model and the fields that repeat the request are compared where both replies have a value for them.

    So are the names of the fields of usage. What was answered may differ and is left to ACC-19.
    """
    twins = case.having(*_TWINS)
    plain, stream = (view.response or {} for view in twins)
    message = "{} differs between the plain and the streamed reply to one request."
    for name in sorted({"model", *twins[0].dialect.parameters} - _FREE):
        if plain.get(name) is not None and stream.get(name) is not None:
            yield from differing(in_response, twins[1], message.format(name), plain[name], stream[name], f"/{name}")
    counts = [sorted(usage) for response in (plain, stream) if isinstance(usage := response.get("usage"), dict)]
    if len(counts) == 2 and counts[0] != counts[1]:
        yield in_response(twins[1], message.format("usage"), "/usage", expected=counts[0], actual=counts[1])


def _both_told(case: CaseView) -> bool:
    return have_responses(case, *_TWINS)


def _said(view: ExchangeView) -> list[dict[str, Any]]:
    """Return what a reply says, without what is new in every reply: ids, and probabilities."""
    return [
        {
            name: _contents(item[name]) if name in ("content", "summary") else item[name]
            for name in ("type", "role", "name", "arguments", "input", "content", "summary")
            if item.get(name) is not None
        }
        for item in view.output
    ]


def _contents(parts: Any) -> Any:
    if not isinstance(parts, list):
        return parts
    return [
        {name: get(part, name) for name in ("type", "text", "refusal") if is_set(get(part, name))} for part in parts
    ]


@check("ACC-19", Subject.CASE, needs=lambda case: _asks_twice(case) and have_responses(case, *_TWINS, Role.AGAIN))
def same_items_streamed_as_plain(case: CaseView) -> Iterator[Problem | Declined]:
    """A request at temperature 0 is sent plain, streamed, and plain again.

    Where the two plain replies say the same, the streamed one must say it too; where they do not, nothing is shown.
    """
    plain, stream, again = case.having(*_TWINS, Role.AGAIN)
    if _said(plain) != _said(again):
        yield Declined("The model answered the same request in two ways at temperature 0.")
        return
    message = "The streamed reply says something else than two plain replies to the same request."
    yield from differing(in_response, stream, message, _said(plain), _said(stream), "/output")


@check("ACC-15", Subject.RESPONSE, needs=lambda view: wanted_shape(view) is not None and bool(last_text(view)))
def text_fits_its_schema(view: ExchangeView) -> Iterator[Problem]:
    """Where a strict JSON Schema was asked for, the text of a completed answer is parsed and validated against it."""
    schema, text = wanted_shape(view), last_text(view)
    assert schema is not None
    wrong = misfit(text, schema)
    if wrong:
        yield in_response(view, f"The text does not fit the schema: {wrong}", "/output", actual=text, kind="schema")


def _whole_calls(view: ExchangeView) -> list[tuple[int, dict[str, Any]]]:
    return [
        (i, item)
        for i, item in calls(view, "function_call")
        if item.get("status") in (None, "completed") and isinstance(item.get("arguments"), str)
    ]


@check("ACC-16", Subject.RESPONSE, needs=lambda view: bool(_whole_calls(view)) and not was_cut(view))
def arguments_are_json(view: ExchangeView) -> Iterator[Problem]:
    """The arguments of calls that were not cut are parsed, and validated where the tool is declared strict."""
    tools = view.request.get("tools")
    strict = {
        tool.get("name"): tool.get("parameters")
        for tool in (tools if isinstance(tools, list) else ())
        if isinstance(tool, dict) and tool.get("strict") is True and isinstance(tool.get("parameters"), dict)
    }
    for i, item in _whole_calls(view):
        wrong = misfit(item["arguments"], strict.get(item.get("name")))
        if wrong:
            yield in_response(
                view,
                f"The arguments of a call are wrong: {wrong}",
                f"/output/{i}/arguments",
                expected="a JSON object that fits the tool's parameters",
                actual=item["arguments"],
                kind="syntax" if wrong == "it is not JSON." else "schema",
            )

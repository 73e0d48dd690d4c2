"""Token usage."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from rejoinder.conformance.judging.context import TokenScale
from rejoinder.conformance.judging.exchange_view import CaseView, ExchangeView
from rejoinder.conformance.judging.problems import get, in_exchange, in_response, is_integer, is_what, quoted
from rejoinder.conformance.judging.registry import Declined, Subject, check
from rejoinder.conformance.judging.roles import Role, role_of
from rejoinder.conformance.judging.token_counts import (
    CALL_PLACES,
    DEFINITION_PLACE,
    FEWEST,
    FEWEST_OF_IMAGE,
    MESSAGE_PLACES,
    Growth,
    added_tokens,
    characters,
    counts_whole,
    growth,
    input_tokens,
    is_scaled,
    miscounted,
    output_tokens,
    texts,
    unscaled,
)
from rejoinder.conformance.judging.turns import (
    continuations,
    crash_kind,
    is_answer,
    is_broken,
    is_rejected,
    response_of,
    status_code,
)
from rejoinder.model.tags import UNCERTAIN
from rejoinder.model.verdict import ABSENT, Problem

_CACHED: Final = ("input_tokens_details", "cached_tokens")
_REASONED: Final = ("output_tokens_details", "reasoning_tokens")
_TOTALS: Final = ((_CACHED, "input_tokens"), (_REASONED, "output_tokens"))
# Lists of counts that vLLM sends, by details object, with the path of the total that they add up to.
_PER_TURN: Final = (
    ("input_tokens_details", "input_tokens_per_turn", ("input_tokens",)),
    ("input_tokens_details", "cached_tokens_per_turn", _CACHED),
    ("output_tokens_details", "output_tokens_per_turn", ("output_tokens",)),
    ("output_tokens_details", "tool_output_tokens_per_turn", ("output_tokens_details", "tool_output_tokens")),
)
# Fields that control how the output is sent: requests that differ in no other field are equal.
_MANNER: Final = ("stream", "stream_options", "request_id", "user", "metadata", "store", "background")


_COUNTS: Final = ("input_tokens", "output_tokens", "total_tokens")


def _usage(view: ExchangeView) -> dict[str, Any]:
    usage = get(view.response, "usage")
    return usage if isinstance(usage, dict) else {}


@check("USG-01", Subject.RETURNED, needs=lambda view: get(view.response, "status") in ("completed", "incomplete"))
@check("USG-01", Subject.RESPONSE, needs=lambda view: get(view.response, "status") in ("completed", "incomplete"))
def usage_at_the_end(view: ExchangeView) -> Iterator[Problem]:
    """Tests that `usage` of every completed and incomplete response is an object."""
    usage = get(view.response, "usage")
    if not isinstance(usage, dict):
        message = f"usage of a response with status {quoted(get(view.response, 'status'))} {is_what(usage)}."
        wanted = "object with input_tokens, output_tokens and total_tokens"
        yield in_response(view, message, "/usage", expected=wanted, actual=usage)


def _counts(view: ExchangeView) -> list[Any]:
    return [_usage(view).get(name) for name in _COUNTS]


@check("USG-02", Subject.RETURNED, needs=lambda view: all(is_integer(count) for count in _counts(view)))
@check("USG-02", Subject.RESPONSE, needs=lambda view: all(is_integer(count) for count in _counts(view)))
def usage_adds_up(view: ExchangeView) -> Iterator[Problem]:
    """Compares `total_tokens` with the sum of `input_tokens` and `output_tokens`."""
    given, made, total = _counts(view)
    if total != given + made:
        message = f"total_tokens is {quoted(total)}, but input_tokens + output_tokens is {quoted(given + made)}."
        yield in_response(view, message, "/usage/total_tokens", expected=given + made, actual=total)


@check("USG-03", Subject.RETURNED, needs=lambda view: bool(_usage(view)))
@check("USG-03", Subject.RESPONSE, needs=lambda view: bool(_usage(view)))
def counts_are_counts(view: ExchangeView) -> Iterator[Problem]:
    """Tests that every count that `usage` has is a non-negative integer. USG-12 covers the others."""
    usage = _usage(view)
    for name in _COUNTS:
        count = usage.get(name)
        if count is not None and (not is_integer(count) or count < 0):
            yield in_response(
                view,
                f"{name} {is_what(count)}.",
                f"/usage/{name}",
                expected="non-negative integer",
                actual=count,
                kind="type",
            )


@check("USG-12", Subject.RETURNED, needs=lambda view: isinstance(get(view.response, "usage"), dict))
@check("USG-12", Subject.RESPONSE, needs=lambda view: isinstance(get(view.response, "usage"), dict))
def counts_are_there(view: ExchangeView) -> Iterator[Problem]:
    """Searches `usage` for the three counts. Null counts as missing."""
    usage = _usage(view)
    for name in _COUNTS:
        if usage.get(name) is None:
            yield in_response(
                view,
                f"{name} {is_what(usage.get(name, ABSENT))}.",
                f"/usage/{name}",
                expected="non-negative integer",
                actual=usage.get(name, ABSENT),
            )


def _has_text(view: ExchangeView) -> dict[str, bool]:
    """Return for each count that is an integer whether there is text to count."""
    sent = view.request.get("input")
    texts = {"input_tokens": isinstance(sent, str) and bool(sent.strip()), "output_tokens": bool(view.text())}
    return {name: text for name, text in texts.items() if is_integer(_usage(view).get(name))}


@check("USG-13", Subject.RESPONSE, needs=lambda view: any(_has_text(view).values()))
def text_is_counted(view: ExchangeView) -> Iterator[Problem]:
    """`input_tokens` must be positive if `input` is a non-empty string, `output_tokens` if the output has text."""
    for name, has_text in _has_text(view).items():
        if has_text and _usage(view)[name] == 0:
            yield in_response(
                view,
                f"{name} is 0, but the {name.partition('_')[0]} has text.",
                f"/usage/{name}",
                expected="positive integer",
                actual=0,
                kind="zero",
            )


@check("USG-04", Subject.RESPONSE, needs=lambda view: isinstance(get(view.response, "usage"), dict))
def details_are_there(view: ExchangeView) -> Iterator[Problem]:
    """Tests that both counts are non-negative integers."""
    for place in (_CACHED, _REASONED):
        count = get(_usage(view), *place)
        if not is_integer(count) or count < 0:
            pointer = "/usage/" + "/".join(place)
            message = f"{place[1]} {is_what(count)}."
            yield in_response(view, message, pointer, expected="non-negative integer", actual=count)


def _counts_details(view: ExchangeView) -> bool:
    usage = _usage(view)
    return any(is_integer(get(usage, *place)) and is_integer(get(usage, total)) for place, total in _TOTALS)


@check("USG-05", Subject.RETURNED, needs=_counts_details)
@check("USG-05", Subject.RESPONSE, needs=_counts_details)
def details_are_parts(view: ExchangeView) -> Iterator[Problem]:
    """Compares each detail, if present, with its total."""
    usage = _usage(view)
    for place, total in _TOTALS:
        part, whole = get(usage, *place), get(usage, total)
        if is_integer(part) and is_integer(whole) and part > whole:
            message, pointer = (
                f"{place[1]} is {quoted(part)}, but {total} is {quoted(whole)}.",
                "/usage/" + "/".join(place),
            )
            yield in_response(view, message, pointer, expected=f"integer of at most {whole}", actual=part)


def _reasoned(view: ExchangeView) -> bool:
    return any(
        isinstance(part, dict) and isinstance(part.get("text"), str) and bool(part["text"].strip())
        for _, item in view.items_by_type.get("reasoning", ())
        for part in (item.get("content") if isinstance(item.get("content"), list) else None) or ()
    )


@check("USG-06", Subject.RESPONSE, needs=lambda view: _reasoned(view) and is_integer(get(_usage(view), *_REASONED)))
def reasoning_is_counted(view: ExchangeView) -> Iterator[Problem]:
    """Tests responses with reasoning text. Hidden reasoning may count tokens without any text."""
    if get(_usage(view), *_REASONED) == 0:
        yield in_response(
            view,
            "reasoning_tokens is 0, but the output has reasoning text.",
            "/usage/output_tokens_details/reasoning_tokens",
            expected="positive integer",
            actual=0,
        )


def _is_limited(view: ExchangeView) -> bool:
    limit = view.request.get("max_output_tokens")
    return is_integer(limit) and limit > 0 and is_integer(_usage(view).get("output_tokens"))


@check("USG-07", Subject.RESPONSE, needs=_is_limited)
def limit_holds(view: ExchangeView) -> Iterator[Problem]:
    """Compares `output_tokens` with `max_output_tokens` of the request."""
    limit, count = view.request["max_output_tokens"], _usage(view)["output_tokens"]
    if count > limit:
        yield in_response(
            view,
            f"output_tokens is {quoted(count)}, but max_output_tokens is {quoted(limit)}.",
            "/usage/output_tokens",
            expected=f"integer of at most {limit}",
            actual=count,
        )


def _hosts_tools(view: ExchangeView) -> bool:
    """Whether a request offers a tool that the endpoint may run itself."""
    tools = view.request.get("tools")
    kinds = [get(tool, "type") for tool in tools] if isinstance(tools, list) else []
    return any(kind not in ("function", "custom") for kind in kinds)


def _content(view: ExchangeView) -> str | None:
    """Return the content of a request as text, equal for equal requests; ``None`` with state or hosted tools."""
    request = view.request
    stateful = any(request.get(name) is not None for name in ("conversation", "previous_response_id", "prompt"))
    if stateful or _hosts_tools(view):
        return None
    content = {name: value for name, value in request.items() if name not in _MANNER}
    return json.dumps(content, sort_keys=True)


def _repeated(case: CaseView) -> list[list[ExchangeView]]:
    """Return the views of a case with equal requests whose responses have input_tokens."""
    groups: dict[str, list[ExchangeView]] = {}
    for view in case.views:
        if not UNCERTAIN.isdisjoint(view.exchange.tags):
            continue
        content = _content(view) if is_integer(_usage(view).get("input_tokens")) else None
        if content is not None:
            groups.setdefault(content, []).append(view)
    return [group for group in groups.values() if len(group) > 1]


@check("USG-08", Subject.CASE, needs=lambda case: bool(_repeated(case)))
def repeats_count_the_same(case: CaseView) -> Iterator[Problem]:
    """Compares `input_tokens` of equal requests, with and without streaming. Leaves out hosted tools and history."""
    for first, *others in _repeated(case):
        expected = _usage(first)["input_tokens"]
        for other in others:
            actual = _usage(other)["input_tokens"]
            if actual != expected:
                yield in_response(
                    other,
                    f"Equal requests have {quoted(expected)} and {quoted(actual)} input tokens.",
                    "/usage/input_tokens",
                    expected=expected,
                    actual=actual,
                    kind="streamed" if other.streamed != first.streamed else "repeated",
                )


_BLOCK: Final = 16
"""Tokens of a block that an endpoint may count as a whole."""


def _chains(case: CaseView) -> list[tuple[ExchangeView, ExchangeView]]:
    """Return pairs of views whose second request continues the first with the same instructions, tools and model."""
    pairs = []
    for first, view in continuations(case):
        if first is view or not view.request.get("input"):
            continue
        alike = all(view.request.get(name) == first.request.get(name) for name in ("instructions", "tools", "model"))
        counted = all(is_integer(_usage(one).get("input_tokens")) for one in (first, view))
        if alike and counted and view.request.get("truncation") != "auto":
            pairs.append((first, view))
    return pairs


@check("USG-09", Subject.CASE, needs=lambda case: bool(_chains(case)) and not case.run_context.forgets)
def history_is_counted(case: CaseView) -> Iterator[Problem]:
    """Compares `input_tokens` of every request with `previous_response_id` and of the request it continues.

    Equal counts pass if they are a multiple of 16, since an endpoint may count whole blocks. Not tested where the
    endpoint ignores `previous_response_id` (STA-06).
    """
    for first, second in _chains(case):
        before, after = _usage(first)["input_tokens"], _usage(second)["input_tokens"]
        if after < before or (after == before and after % _BLOCK):
            yield in_response(
                second,
                f"input_tokens is {quoted(after)}. The request that this one continues has {quoted(before)}.",
                "/usage/input_tokens",
                expected=f"integer greater than {before}",
                actual=after,
            )


def _turns(view: ExchangeView) -> list[tuple[str, list[int], Any]]:
    """Return pointer, counts and total of every non-empty list of counts."""
    usage = _usage(view)
    found = []
    for details, name, total in _PER_TURN:
        counts = get(usage, details, name)
        if isinstance(counts, list) and counts and all(is_integer(count) for count in counts):
            found.append((f"/usage/{details}/{name}", counts, get(usage, *total)))
    return found


@check("USG-10", Subject.RESPONSE, needs=lambda view: bool(_turns(view)))
def turns_add_up(view: ExchangeView) -> Iterator[Problem]:
    """Adds up every list of counts and compares the sum with its total."""
    for pointer, counts, total in _turns(view):
        if is_integer(total) and sum(counts) != total:
            message = (
                f"{pointer.rpartition('/')[2]} adds up to {quoted(sum(counts))}, but the total is {quoted(total)}."
            )
            yield in_response(view, message, pointer, expected=total, actual=sum(counts))


def _counted(case: CaseView) -> list[tuple[ExchangeView, int, ExchangeView]]:
    """Return every count of the input_tokens operation with the responses to the same body.

    What a hosted tool adds to the input is known only afterwards, so bodies with one are left out.
    """
    pairs = []
    for view in case.views:
        path = view.exchange.request.path.partition("?")[0].rstrip("/")
        count = get(view.exchange.json(), "input_tokens")
        if not path.endswith("/responses/input_tokens") or not view.exchange.ok or not is_integer(count):
            continue
        request = view.request
        pairs += [
            (view, count, other)
            for other in case.views
            if other.is_create
            and is_integer(_usage(other).get("input_tokens"))
            and request
            and not _hosts_tools(other)
            and all(other.request.get(name) == value for name, value in request.items())
        ]
    return pairs


@check("USG-11", Subject.CASE, needs=lambda case: bool(_counted(case)))
def counting_agrees(case: CaseView) -> Iterator[Problem]:
    """Sends bodies to the input_tokens operation and to create, and compares the counts. Leaves out hosted tools."""
    for view, count, other in _counted(case):
        used = _usage(other)["input_tokens"]
        if count != used:
            message = f"The input_tokens operation returns {quoted(count)}, but usage.input_tokens is {quoted(used)}."
            yield in_exchange(view, message, "/input_tokens", expected=used, actual=count)


def _count_requests(case: CaseView) -> list[tuple[ExchangeView, ExchangeView]]:
    """Return the requests to the input_tokens operation, each with a create request that has the same fields.

    A field that create does not have, such as ``personality``, may be added.
    """
    pairs = []
    for view in case.views:
        if view.operation != "input_tokens" or not is_answer(status_code(view)) or not view.request:
            continue
        same = [
            other
            for other in case.views
            if response_of(other) is not None
            and all(
                other.request.get(name) == value
                for name, value in view.request.items()
                if name in view.dialect.parameters
            )
        ]
        pairs += [(view, same[0])] if same else []
    return pairs


def _counts_at_all(case: CaseView) -> bool:
    return "input_tokens" in case.run_context.operations and bool(_count_requests(case))


@check("USG-14", Subject.CASE, needs=_counts_at_all)
def counting_accepts_valid_requests(case: CaseView) -> Iterator[Problem]:
    """Sends the fields of create requests that the endpoint accepts to the input_tokens operation.

    Fields that the operation lacks are left out. The operation must succeed at least once in the run.
    """
    for view, other in _count_requests(case):
        status = status_code(view)
        if is_rejected(status):
            yield in_exchange(
                view,
                f"The input_tokens operation returned status {status} for a request that {other.exchange.id} shows as "
                "accepted.",
                expected=200,
                actual=status,
                kind=crash_kind(view) if is_broken(status) else "refused",
            )


def _compacted_usage(view: ExchangeView) -> dict[str, Any]:
    usage = get(view.exchange.json(), "usage") if view.operation == "compact" and view.exchange.ok else None
    counts = [get(usage, name) for name in ("input_tokens", "output_tokens", "total_tokens")]
    return usage if isinstance(usage, dict) and all(map(is_integer, counts)) else {}


@check("USG-02", Subject.EXCHANGE, needs=lambda view: bool(_compacted_usage(view)))
def total_of_compactions_is_the_sum(view: ExchangeView) -> Iterator[Problem]:
    """Adds up the counts in the `usage` of every compaction."""
    usage = _compacted_usage(view)
    total, expected = usage["total_tokens"], usage["input_tokens"] + usage["output_tokens"]
    if total != expected:
        yield in_exchange(
            view,
            f"total_tokens of a compaction is {quoted(total)}, but the sum is {quoted(expected)}.",
            "/usage/total_tokens",
            expected=expected,
            actual=total,
        )


# What input_tokens shows of the input


_MESSAGES: Final = (Role.MESSAGES, Role.MESSAGES_FILLED)
_CALLS: Final = (Role.CALLS, Role.CALLS_FILLED)


@check("USG-15", Subject.CASE, needs=lambda case: is_scaled(case, Role.MESSAGES_FILLED, *MESSAGE_PLACES))
def texts_of_messages_are_counted(case: CaseView) -> Iterator[Problem | Declined]:
    """Compares requests with a text of some eighty tokens at one place with the same request without it.

    A request with the text at all places comes first. Others follow only if it does not have all the tokens, or was
    refused. A place fails if its text adds less than a quarter of the tokens that it has in a user message, or more
    than 1.75 times as many, in two requests. Declined where two copies of a text in a user message do not add about
    twice the tokens of one, or equal requests differ.
    """
    yield from unscaled(case) or miscounted(case, Role.BARE, MESSAGE_PLACES, _MESSAGES)


@check("USG-16", Subject.CASE, needs=lambda case: is_scaled(case, Role.CALLS_FILLED, *CALL_PLACES))
def texts_of_calls_are_counted(case: CaseView) -> Iterator[Problem | Declined]:
    """Compares as USG-15 does: the arguments of a call, and its output as a string and as an `input_text` part."""
    yield from unscaled(case) or miscounted(case, Role.CALLS, CALL_PLACES, _CALLS)


@check("USG-17", Subject.CASE, needs=lambda case: is_scaled(case, Role.CALLS_FILLED, *DEFINITION_PLACE))
def tool_definitions_are_counted(case: CaseView) -> Iterator[Problem | Declined]:
    """Compares as USG-15 does: a function with a long description, and the same one with a short description."""
    yield from unscaled(case) or miscounted(case, Role.CALLS, DEFINITION_PLACE, _CALLS)


@check("USG-18", Subject.CASE, needs=lambda case: is_scaled(case, Role.IMAGE))
def images_are_counted(case: CaseView) -> Iterator[Problem | Declined]:
    """Compares a request with an image of 256 by 256 pixels with the same request without it."""
    if declined := unscaled(case):
        yield from declined
        return
    added = added_tokens(case, Role.BARE, Role.IMAGE)
    if added is None:
        yield Declined("The requests without and with an image do not both have input_tokens.")
    elif added <= 0 and case.run_context.token_scale is not None and case.run_context.token_scale.step > 1:
        yield Declined("The endpoint counts blocks of tokens, and an image may fit into one.")
    elif added <= 0:
        yield in_response(
            case.having(Role.IMAGE)[0],
            f"An image adds {quoted(added)} to input_tokens, so the endpoint ignores it.",
            "/usage/input_tokens",
            expected=f"integer greater than {input_tokens(case.get(Role.BARE))}",
            actual=input_tokens(case.get(Role.IMAGE)),
        )


@check("USG-19", Subject.CASE, needs=lambda case: is_scaled(case, Role.IMAGE_OF_TOOL))
def images_of_tools_are_counted(case: CaseView) -> Iterator[Problem | Declined]:
    """Compares what an image adds to `input_tokens` in a message and in the output of a function call.

    Two requests with the image in the output must add less than a quarter. Declined where an image in a message adds
    fewer than 24 tokens.
    """
    if declined := unscaled(case):
        yield from declined
        return
    again = role_of(Role.IMAGE_OF_TOOL, Role.AGAIN)
    control = added_tokens(case, Role.BARE, Role.IMAGE)
    added = [added_tokens(case, Role.CALLS, role) for role in (Role.IMAGE_OF_TOOL, again)]
    if control is None or added[0] is None:
        yield Declined("The requests with and without an image do not all have input_tokens.")
    elif control < FEWEST_OF_IMAGE:
        yield Declined(f"An image in a message adds only {quoted(control)} to input_tokens.")
    elif all(count is not None and Growth(count, control).is_missing for count in added):
        view = case.having(Role.IMAGE_OF_TOOL)[0]
        least = (input_tokens(case.get(Role.CALLS)) or 0) + control // 4
        yield in_response(
            view,
            f"An image in the output of a function call adds {quoted(added[0])} to input_tokens. "
            f"In a message it adds {quoted(control)}.",
            "/usage/input_tokens",
            expected=f"integer of at least {least}",
            actual=input_tokens(view),
        )


@check("USG-20", Subject.CASE, needs=lambda case: is_scaled(case, Role.FILE))
def files_are_counted(case: CaseView) -> Iterator[Problem | Declined]:
    """Compares a request with a text file of some eighty tokens with the same request without it.

    The file must add at least a quarter of the tokens that its text has in a user message.
    """
    if declined := unscaled(case):
        yield from declined
        return
    added, text = added_tokens(case, Role.BARE, Role.FILE), growth(case, Role.BARE, Role.TEXT)
    if added is None or text is None:
        yield Declined("The requests with and without a file do not all have input_tokens.")
    elif Growth(added, text.expected).is_missing:
        yield in_response(
            case.having(Role.FILE)[0],
            f"A text file of {round(text.expected)} tokens adds {quoted(added)} to input_tokens, so the endpoint "
            "ignores its text.",
            "/usage/input_tokens",
            expected=f"integer of at least {(input_tokens(case.get(Role.BARE)) or 0) + round(text.expected / 4)}",
            actual=input_tokens(case.get(Role.FILE)),
        )


_TWINS: Final = (
    (Role.FIRST, Role.CHAINED, Role.INLINE),
    (Role.TALK_FIRST, Role.TALK_CHAINED, Role.TALK_INLINE),
)
"""The roles of a first turn, of one that continues it, and of a request with the whole conversation as input."""
_PART: Final = 16
"""The counts of two forms of a conversation may differ by one part in this number."""


class _Twins(NamedTuple):
    """One conversation, continued and as input: both requests, their counts, and the output tokens of earlier turns.

    ``history`` is about how many tokens of the second count are earlier turns.
    """

    continued: ExchangeView
    whole: ExchangeView
    counts: tuple[int, int]
    said: int
    history: float

    @property
    def excess(self) -> int:
        return self.counts[0] - self.counts[1]


def _before(case: CaseView, view: ExchangeView) -> Iterator[ExchangeView]:
    """Yield the requests between the first of the case and one that continues it."""
    before = {later.exchange.id: first for first, later in continuations(case)}
    seen = {view.exchange.id}
    while (found := before.get(view.exchange.id)) is not None and found.exchange.id not in seen:
        seen.add(found.exchange.id)
        if found.exchange.role != Role.FIRST:
            yield found
        view = found


def _twins(case: CaseView) -> Iterator[_Twins]:
    """Yield the pairs of which the request with the whole conversation counts all of it.

    Those with calls are left out: an endpoint may keep the tools of an earlier turn.
    """
    scale = case.run_context.token_scale
    for first, continued, whole in _TWINS:
        counts = input_tokens(case.get(continued)), input_tokens(case.get(whole))
        if scale is None or counts[0] is None or counts[1] is None:
            continue
        chained, inline = case.having(continued, whole)
        said = sum(output_tokens(view) or 0 for view in [*case.having(first), *_before(case, chained)])
        if not counts_whole(inline, characters(inline.request)) or not _only_messages(inline.request.get("input")):
            continue
        fresh = scale.tokens_of(characters({"input": chained.request.get("input")}))
        yield _Twins(chained, inline, (counts[0], counts[1]), said, counts[1] - fresh)


def _only_messages(items: Any) -> bool:
    return isinstance(items, list) and all(isinstance(get(item, "role"), str) for item in items)


def _no_twins(case: CaseView) -> list[Declined]:
    """Return why the forms of the conversations of a case cannot be compared; empty if they can."""
    no_pair = Declined("No two forms of a conversation have input_tokens for all of their text.")
    return unscaled(case) or ([] if any(_twins(case)) else [no_pair])


def _has_twins(case: CaseView) -> bool:
    return not case.run_context.forgets and any(
        is_scaled(case, continued)
        and is_scaled(case, whole)
        and _only_messages(case.having(whole)[0].request.get("input"))
        for _, continued, whole in _TWINS
    )


@check("USG-21", Subject.CASE, needs=_has_twins)
def forms_of_conversations_count_alike(case: CaseView) -> Iterator[Problem | Declined]:
    """Compares a response that continues another, or a conversation, with the same turns as `input`.

    The continued one may have more by the output tokens of the earlier response, which may be reasoning. Eight tokens
    and a sixteenth are left as margin. Declined as USG-15 is.
    """
    if declined := _no_twins(case):
        yield from declined
        return
    scale = case.run_context.token_scale or TokenScale()
    for twins in _twins(case):
        margin = scale.slack + twins.counts[1] // _PART
        if not -margin <= twins.excess <= twins.said + margin:
            kind = "more" if twins.excess > 0 else "fewer"
            yield in_response(
                twins.continued,
                f"input_tokens is {quoted(twins.counts[0])}. The same conversation as input has "
                f"{quoted(twins.counts[1])} ({twins.whole.exchange.id}).",
                "/usage/input_tokens",
                expected=f"integer from {twins.counts[1] - margin} to {twins.counts[1] + twins.said + margin}",
                actual=twins.counts[0],
                kind=f"{twins.continued.exchange.role} {kind}",
            )


_MOST: Final = 0.75
"""The share of the tokens of earlier turns above which a difference is all of them."""


@check("USG-22", Subject.CASE, needs=_has_twins)
def history_is_counted_once(case: CaseView) -> Iterator[Problem | Declined]:
    """Compares the requests of USG-21, if the earlier turns have at least 40 tokens.

    The continued one reads the history twice if it has more by three quarters of the history, and by more than the
    output tokens of the earlier response. It does not read it if it has fewer by three quarters. A third turn does not
    read the first one if it has fewer than both turns before as `input`, by three quarters of the first.
    """
    if declined := _no_twins(case):
        yield from declined
        return
    scale = case.run_context.token_scale or TokenScale()
    for twins in _twins(case):
        if twins.history < FEWEST:
            continue
        part, whole = _MOST * twins.history, twins.counts[1]
        turns = [(twins.continued, whole - part, whole + max(part, twins.said + scale.slack))]
        third = case.get(Role.THIRD) if twins.continued.exchange.role == Role.CHAINED else None
        if third is not None:
            new = len(twins.continued.text()) + characters({"input": third.request.get("input")})
            turns.append((third, whole + scale.per_character * new - part, math.inf))
        for view, least, most in turns:
            count = input_tokens(view)
            if count is not None and not least <= count <= most:
                yield _reads_wrongly(twins, view, count, least, most)


def _reads_wrongly(twins: _Twins, view: ExchangeView, count: int, least: float, most: float) -> Problem:
    how = "reads this turn more than once" if count > most else "does not read this turn"
    return in_response(
        view,
        f"input_tokens is {quoted(count)}. Two turns of the conversation have {quoted(twins.counts[1])} as input "
        f"({twins.whole.exchange.id}), about {round(twins.history)} of them in the first turn. So the endpoint {how}.",
        "/usage/input_tokens",
        expected=f"integer of at least {round(least)}"
        if most == math.inf
        else f"integer from {round(least)} to {round(most)}",
        actual=count,
        kind=f"{view.exchange.role} {how}",
    )


class _Later(NamedTuple):
    """A turn, the request before it, and a text that must not reach the turn.

    ``what`` is the text in words. ``has`` says whether the text is in the count of the request before.
    """

    turn: ExchangeView
    before: ExchangeView
    text: str
    what: str
    has: bool


def _later_turns(case: CaseView) -> Iterator[_Later]:
    for first, turn in continuations(case):
        instructions = first.request.get("instructions")
        alike = turn.request.get("tools") in (None, first.request.get("tools"))
        if isinstance(instructions, str) and turn.request.get("instructions") is None and alike:
            yield _Later(turn, first, instructions, "the instructions of the earlier turn", has=True)
    parent, child, sibling = (case.get(role) for role in (Role.PARENT, Role.CHILD, Role.SIBLING))
    if parent is not None and child is not None and sibling is not None:
        text = "".join(texts(child.request.get("input")))
        yield _Later(sibling, parent, text, "the input of another branch", has=False)
    talk, gone, second = (case.get(role) for role in (Role.TALK_FIRST, Role.TALK_ITEM_GONE, Role.TALK_SECOND))
    created = case.get(Role.TALK_CREATED)
    if talk is not None and gone is not None and gone.exchange.ok and second is not None and created is not None:
        text = str(get(created.request, "items", 0, "content"))
        yield _Later(second, talk, text, "an item deleted from the conversation", has=True)


def _weighed(case: CaseView) -> Iterator[tuple[_Later, int]]:
    """Yield later turns with the most input tokens that they can have without the text."""
    scale = case.run_context.token_scale
    for later in _later_turns(case):
        said, before = output_tokens(later.before), input_tokens(later.before)
        if scale is None or scale.reason or said is None or before is None or input_tokens(later.turn) is None:
            continue
        text = scale.per_character * len(later.text)
        if text < FEWEST or (later.has and not counts_whole(later.before, len(later.text))):
            continue
        new = characters({"input": later.turn.request.get("input")})
        most = before + scale.per_character * new + (-text if later.has else text) / 2
        if later.before.request.get("instructions") is not None:
            # Where there are no instructions, an endpoint may give the model its own, as in the controls.
            old = characters({"input": later.before.request.get("input")})
            most = max(most, scale.tokens_of(old + new) + text / 2)
        yield later, round(most + said + scale.slack)


def _has_later_turns(case: CaseView) -> bool:
    context = case.run_context
    return (
        context.token_scale is not None
        and not context.forgets
        and any(input_tokens(later.turn) is not None and len(later.text) >= FEWEST for later in _later_turns(case))
    )


@check("USG-23", Subject.CASE, needs=_has_later_turns)
def dropped_content_is_not_counted(case: CaseView) -> Iterator[Problem | Declined]:
    """Compares turns with the one before: after long instructions, beside a long other branch, after a long item of the
    conversation was deleted.

    A turn may have the input tokens of the one before, its output tokens and those of the new input. It fails if it has
    more, and at least half of the text that must be left out. Declined as USG-15 is.
    """
    weighed = list(_weighed(case))
    if not weighed:
        yield from unscaled(case) or [Declined("No request has input_tokens for the text that later ones leave out.")]
    for later, most in weighed:
        count = input_tokens(later.turn)
        if count is not None and count > most:
            yield in_response(
                later.turn,
                f"input_tokens is {quoted(count)}, {quoted(input_tokens(later.before))} in the request before. "
                f"So it includes {later.what}.",
                "/usage/input_tokens",
                expected=f"integer of at most {most}",
                actual=count,
                kind=later.what,
            )

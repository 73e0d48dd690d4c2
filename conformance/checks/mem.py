"""Input reaches the model: every part of a request does, and nothing of unrelated requests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from rejoinder.conformance.judging.canaries import canaries_in
from rejoinder.conformance.judging.exchange_view import CaseView, ExchangeView
from rejoinder.conformance.judging.problems import get, in_exchange
from rejoinder.conformance.judging.recall import (
    ATTEMPTS,
    answers_to,
    canaries_of,
    forgotten,
    is_about,
    lack,
    text_with,
    text_without,
    unheard_words,
)
from rejoinder.conformance.judging.registry import Declined, Subject, check
from rejoinder.conformance.judging.roles import Role, role_of
from rejoinder.conformance.judging.turns import (
    cannot_repeat,
    crash_kind,
    have_responses,
    is_broken,
    is_refusal,
    must_refuse,
    response_of,
    says,
    status_code,
)
from rejoinder.model.tags import sent_for
from rejoinder.model.verdict import Problem

# How many whole answers about one of two calls have to lack its word.
_FEWEST_OF_CALL: Final = 2


def _slot_rule(rule: str, what: str) -> None:
    """Register the check of a rule about slots."""

    def heard(case: CaseView) -> Iterator[Problem | Declined]:
        yield from unheard_words(case)

    heard.__doc__ = (
        f"Canaries are placed {what}. Three requests ask the model to repeat them: with and without streaming, and "
        "in another wording. A canary fails only if all responses lack it, the model repeats all canaries from one "
        "user message in two wordings, and another response lacks it too."
    )
    check(rule, Subject.CASE, needs=is_about(rule, *ATTEMPTS))(heard)


for _rule, _what in (
    ("MEM-01", "in `instructions`, alone and with a system message"),
    ("MEM-02", "in messages of every role, at the start and in the middle of a conversation"),
    ("MEM-03", "in each of several text parts, and after an image"),
    ("MEM-04", "in earlier assistant messages, as a string and in `output_text` parts"),
    ("MEM-05", "in outputs of function and custom tools, as a string and in each part of a list"),
    ("MEM-08", "in the first, the middle and the last of a dozen earlier turns"),
    ("MEM-09", "at the start, in the middle and at the end of a message of some thousand tokens"),
    ("MEM-10", "in plain text files, in a message and in a tool output"),
    (
        "MEM-11",
        "in outputs of shell, patch, MCP, code and file search tools, in an approval reason and in a refusal",
    ),
    ("MEM-12", "in summary and content of a reasoning item"),
):
    _slot_rule(_rule, _what)


# Calls and their outputs


def _cities(case: CaseView) -> list[str]:
    return [
        view.exchange.role
        for view in case.views
        if not view.exchange.role.endswith((f"-{Role.AGAIN}", f"-{Role.CONTROL}"))
    ]


def _misses(case: CaseView, city: str) -> tuple[list[ExchangeView], bool]:
    """Return the answers about one call, and whether all of them lack its word though the control has it."""
    attempts = answers_to(case, city, role_of(city, Role.AGAIN))
    word = _word_of(case, city)
    return attempts, lack(attempts, word, _FEWEST_OF_CALL) and says(case.get(role_of(city, Role.CONTROL)), word)


def _word_of(case: CaseView, city: str) -> str:
    """Return the word that the output of the call about a city holds: outputs are in the order of the calls."""
    view = case.get(role_of(city, Role.CONTROL)) or case.get(city)
    canaries = canaries_of(view) if view is not None else []
    reverse = view is not None and view.exchange.role == city and sent_for("MEM-06") in view.exchange.tags
    ordered = canaries[::-1] if reverse else canaries
    place = _cities(case).index(city)
    return ordered[place] if place < len(ordered) else ""


_CITIES: Final = (Role.OSLO, Role.CAIRO)


@check("MEM-06", Subject.CASE, needs=is_about("MEM-06", *_CITIES))
def outputs_belong_to_their_calls(case: CaseView) -> Iterator[Problem | Declined]:
    """Two parallel calls get their outputs in reverse order. Two prompts ask what each call returned.

    The rule fails if every response about both calls lacks the canary, while with the outputs in order both are right.
    """
    found = {city: _misses(case, city) for city in _cities(case)}
    if all(missed for _, missed in found.values()):
        city = _cities(case)[0]
        view = found[city][0][-1]
        message = "Outputs of parallel calls in reverse order are matched to the wrong calls."
        yield in_exchange(view, message, "/output", expected=text_with(_word_of(case, city)), actual=view.text())
    elif not all(says(case.get(city), _word_of(case, city)) for city in found):
        yield Declined("The model did not name the outputs of the calls, even with the outputs in order.")


@check("MEM-07", Subject.CASE, needs=is_about("MEM-07", *_CITIES))
def rounds_stay_apart(case: CaseView) -> Iterator[Problem | Declined]:
    """Two rounds of calls have the same `call_id`, and the prompt asks what each of them returned.

    The rule fails if two responses about one call lack its canary, and the model repeats it with distinct `call_id`s.
    """
    for city in _cities(case):
        attempts, missed = _misses(case, city)
        if missed:
            last = attempts[-1]
            message = "A call or its output does not reach the model when another round has the same call_id."
            yield in_exchange(last, message, "/output", expected=text_with(_word_of(case, city)), actual=last.text())
        elif not any(says(view, _word_of(case, city)) for view in attempts):
            yield Declined("The model did not name the output of a call, even with distinct call_ids.")


# What must not come back


def _named(view: ExchangeView) -> str:
    """Return the response id in the path of an operation beside create, the empty string without one."""
    steps = [unquote(step) for step in urlsplit(view.exchange.request.path).path.strip("/").split("/")]
    place = steps.index("responses") + 1 if "responses" in steps else len(steps)
    return steps[place] if place < len(steps) else ""


def _identity(view: ExchangeView) -> Any:
    """Return the id of the response that a create request made, also where its stream has no end."""
    found = get(view.response, "id")
    if isinstance(found, str):
        return found
    first = view.events[0].data if view.is_stream and view.events else {}
    return get(first, "response", "id")


class _Ancestry:
    """Which requests an answer may know of: its own, those that it continues, and those of its conversation."""

    def __init__(self, views: tuple[ExchangeView, ...]) -> None:
        self._by_id: dict[str, list[ExchangeView]] = {}
        self._by_conversation: dict[str, list[ExchangeView]] = {}
        for view in views:
            identity = _identity(view) if view.is_create else None
            if isinstance(identity, str):
                self._by_id.setdefault(identity, []).append(view)
            if named := _conversation_of(view):
                self._by_conversation.setdefault(named, []).append(view)

    def requests(self, view: ExchangeView) -> list[ExchangeView]:
        """Return all of them."""
        left, seen = [view, *self._by_id.get(_named(view), ())], dict[str, ExchangeView]()
        while left:
            one = left.pop()
            if one.exchange.id in seen:
                continue
            seen[one.exchange.id] = one
            previous = one.request.get("previous_response_id")
            left += self._by_id.get(previous, ()) if isinstance(previous, str) else ()
            left += self._by_conversation.get(_conversation_of(one), ())
        return list(seen.values())


def _conversation_of(view: ExchangeView) -> str:
    """Return the id of the conversation that a request creates, names or is about; empty for none."""
    if view.requested is not None and view.requested.operation.segments[0] == "conversations":
        named = view.requested.ids.get("conversation_id") or get(view.body, "id")
    else:
        given = view.request.get("conversation")
        named = given.get("id") if isinstance(given, dict) else given
    return named if isinstance(named, str) else ""


def _said(view: ExchangeView) -> list[str]:
    """Return the canaries in all that came back; the deltas of a stream may hold them in pieces."""
    body = view.exchange.body.decode("utf-8", "replace")
    deltas = [event.data.get("delta") for event in view.events] if view.is_stream and view.response is None else []
    return canaries_in("\n".join([body, "".join(delta for delta in deltas if isinstance(delta, str))]))


def _refers(view: ExchangeView) -> bool:
    """Whether the input names items of other requests, or has them in encrypted form."""
    items = view.request.get("input")
    return isinstance(items, list) and any(
        isinstance(item, dict) and item.get("type") in (None, "item_reference", "compaction") and "role" not in item
        for item in items
    )


@check("MEM-13", Subject.RUN, needs=lambda run: sum(1 for view in run.views if canaries_of(view)) > 1)
def answers_are_made_of_ones_own_input(run: CaseView) -> Iterator[Problem]:
    """Each canary in a response is looked up in the requests that may contribute to the response.

    These are its own request, those of the responses that it continues or names, and those of its conversation. Each
    canary is used once in a run. Responses to which a request with item references or compaction items contributes are
    skipped.
    """
    ancestry = _Ancestry(run.views)
    owners = {word: view.exchange.id for view in reversed(run.views) for word in canaries_of(view)}
    for view in run.views:
        foreign = [word for word in _said(view) if word in owners]
        heard = ancestry.requests(view) if foreign else []
        if not heard or any(map(_refers, heard)):
            continue
        own = {word for one in heard for word in canaries_of(one)}
        for word in foreign:
            if word not in own:
                message = f"The response contains a canary of the unrelated request {owners[word]}."
                reply = view.text() or view.exchange.body[:500]
                yield in_exchange(view, message, expected=text_without(word), actual=reply)
                break


def _was_deleted(case: CaseView) -> bool:
    answered = any(must_refuse("MEM-14")(view) for view in case.having(Role.CONTINUED))
    return answered and not case.run_context.forgets


@check("MEM-14", Subject.CASE, needs=_was_deleted)
def the_deleted_is_not_continued(case: CaseView) -> Iterator[Problem]:
    """A response with a canary is deleted. A request that continues it must get a 4xx.

    Not tested where the endpoint ignores `previous_response_id` (STA-06).
    """
    (view,) = case.having(Role.CONTINUED)
    status = status_code(view)
    if is_refusal(status):
        return
    knows = any(says(view, word) for first in case.having(Role.FIRST) for word in canaries_of(first))
    yield in_exchange(
        view,
        "A deleted response was continued, and its content comes back."
        if knows
        else f"Continuing a deleted response returned status {status}.",
        "/previous_response_id",
        expected="4xx status",
        actual=status,
        kind="known" if knows else crash_kind(view) if is_broken(status) else "accepted",
    )


def _later_turns(case: CaseView) -> list[ExchangeView]:
    return [view for view in case.views if sent_for("MEM-15") in view.exchange.tags and response_of(view) is not None]


@check("MEM-15", Subject.CASE, needs=lambda case: have_responses(case, Role.FIRST) and bool(_later_turns(case)))
def instructions_end_with_their_turn(case: CaseView) -> Iterator[Problem]:
    """A canary is placed in the `instructions` of one turn. Turns that continue it ask the model for code words.

    The canary must not come back, unless the first response contains it and so adds it to the history.
    """
    (first,) = case.having(Role.FIRST)
    for word in canaries_in(str(first.request.get("instructions"))):
        if says(first, word):
            continue
        for view in _later_turns(case):
            if says(view, word):
                yield in_exchange(
                    view,
                    "A continued turn has content of the earlier turn's instructions.",
                    "/output",
                    expected=text_without(word),
                    actual=view.text(),
                )


@check("MEM-16", Subject.CASE, needs=lambda case: have_responses(case, Role.REFERENCED, Role.INLINE))
def referenced_items_are_known(case: CaseView) -> Iterator[Problem | Declined]:
    """A response with a canary is stored. A request names the message by `item_reference` and asks for the canary.

    The message itself is sent with the same question, too. If the model repeats the canary there, two misses with the
    reference are a problem.
    """
    (first,) = case.having(Role.FIRST)
    for word in canaries_of(first):
        if not says(case.get(Role.INLINE), word):
            yield cannot_repeat()
            return
        message = "The content of a referenced item did not reach the model. Sent as an item it does."
        yield from forgotten(case, Role.REFERENCED, word, message)

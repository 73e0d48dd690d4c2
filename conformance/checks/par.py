"""Parameters of sampling, caching and naming: their visible effect."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Any, Final

from rejoinder.conformance.judging.exchange_view import CaseView, ExchangeView
from rejoinder.conformance.judging.formats import declared_parameters, last_text, wanted_shape
from rejoinder.conformance.judging.problems import (
    differing,
    get,
    in_exchange,
    in_response,
    is_integer,
    is_number,
    quoted,
)
from rejoinder.conformance.judging.recall import ATTEMPTS, is_about, unheard_words
from rejoinder.conformance.judging.registry import Declined, Subject, check
from rejoinder.conformance.judging.roles import Role, role_of
from rejoinder.conformance.judging.turns import (
    UNSTABLE,
    are_alike,
    crash_kind,
    has_refusal,
    have_responses,
    is_answer,
    is_broken,
    is_refusal,
    response_of,
    retrieved,
    status_code,
    texts_of,
    was_cut,
    whole_calls,
)
from rejoinder.formatting import plural
from rejoinder.model.exchange import parse_json
from rejoinder.model.tags import Tag
from rejoinder.model.verdict import ABSENT, Problem
from rejoinder.validation import Validator, escape_key

_SALTED: Final = (Role.SALTED, Role.SALTED_OTHERWISE)
# The marks of common chat templates.
_END_MARK: Final = re.compile(
    r"(?:<\|(?:im_end|eot_id|eom_id|end|endoftext|end_of_text|return|call|END_OF_TURN_TOKEN)\|>"
    r"|<end_of_turn>|<｜end▁of▁sentence｜>|</s>)\s*\Z"
)


def _is_claimed(case: CaseView) -> bool:
    """Return whether the endpoint refused a wrong type in the field of the case, so that it knows the field."""
    return is_refusal(status_code(case.get(Role.CLAIMED)))


def _named(case: CaseView) -> list[tuple[ExchangeView, str]]:
    """Return the responses to requests of a case with a request_id that was not used before, with it."""
    named = ((view, view.request.get("request_id")) for view in case.views if Tag.TAKEN not in view.exchange.tags)
    return [(view, name) for view, name in named if isinstance(name, str) and name and view.response is not None]


@check("PAR-06", Subject.CASE, needs=lambda case: _is_claimed(case) and bool(_named(case)))
def request_id_is_taken_over(case: CaseView) -> Iterator[Problem]:
    """A request is sent with a `request_id`, with and without streaming. `id` of the response must equal it.

    Not tested where the endpoint accepts an object as `request_id`, because it does not know the field.
    """
    for view, name in _named(case):
        identity = get(view.response, "id")
        if identity != name:
            message = f"The response has id {quoted(identity)}, but the request has request_id {quoted(name)}."
            yield in_response(view, message, "/id", expected=name, actual=identity)


def _was_taken(case: CaseView) -> bool:
    kept = retrieved(case.get(Role.GET)) is not None
    second = case.having(Role.SECOND)
    return kept and any(Tag.TAKEN in view.exchange.tags and is_answer(status_code(view)) for view in second)


@check("PAR-01", Subject.CASE, needs=_was_taken)
def a_taken_request_id_is_not_given_again(case: CaseView) -> Iterator[Problem]:
    """A second request uses the `request_id` of a response, which is retrieved before and after it.

    Not tested where the first response cannot be retrieved.
    """
    (second,) = case.having(Role.SECOND)
    status, name = status_code(second), second.request.get("request_id")
    if is_broken(status) or get(second.response, "id") == name:
        yield in_exchange(
            second,
            f"A request with a used request_id returned status {status}."
            if is_broken(status)
            else "Two responses have the same id.",
            "/id",
            expected="4xx status or another id",
            actual=status if is_broken(status) else name,
            kind=crash_kind(second) if is_broken(status) else "given",
        )
    before = retrieved(case.get(Role.GET))
    for view in case.having(Role.GET_AFTER):
        after = retrieved(view)
        if before is not None and after is not None:
            message = "A request with a used request_id changed the existing response."
            yield from differing(in_exchange, view, message, before, after, kind="overwritten")


def _cached(view: ExchangeView | None) -> int:
    count = get(response_of(view), "usage", "input_tokens_details", "cached_tokens")
    return count if is_integer(count) else 0


@check(
    "PAR-02",
    Subject.CASE,
    needs=lambda case: _is_claimed(case) and have_responses(case, Role.SALTED) and _cached(case.get(Role.AGAIN)) > 0,
)
def a_fresh_salt_finds_nothing(case: CaseView) -> Iterator[Problem]:
    """A long prompt is sent twice without `cache_salt`, then with two new salts, which must have no cached tokens.

    Testing the rule needs an endpoint that reports cached tokens for the second request. An endpoint that accepts an
    object as `cache_salt` does not know the field, and is not tested.
    """
    for view in case.having(*_SALTED):
        if _cached(view) > 0:
            yield in_response(
                view,
                f"A request with a new cache_salt has {plural(_cached(view), 'cached input token')}.",
                "/usage/input_tokens_details/cached_tokens",
                expected=0,
                actual=_cached(view),
            )


@check("PAR-03", Subject.CASE, needs=lambda case: bool(texts_of(case, *_SALTED)))
def salts_change_no_answer(case: CaseView) -> Iterator[Problem | Declined]:
    """A prompt at temperature 0 is sent twice without `cache_salt` and twice with one.

    If both responses without it are identical, at least one of those with it must be the same.
    """
    if not are_alike(case, Role.ONCE, Role.AGAIN):
        yield Declined(UNSTABLE)
        return
    [plain, *_], salted = texts_of(case, Role.ONCE), texts_of(case, *_SALTED)
    view = case.get(_SALTED[0])
    if len(salted) == len(_SALTED) and plain not in salted and view is not None:
        yield in_response(
            view,
            "The output changes with cache_salt.",
            "/output",
            expected=plain,
            actual=salted[0],
        )


def _ends(view: ExchangeView) -> bool:
    """Whether the response has a text and continues no other, whose text it may repeat."""
    skips = view.request.get("skip_special_tokens") is not False
    return skips and not view.request.get("previous_response_id") and bool(view.text())


@check("PAR-04", Subject.RESPONSE, needs=_ends)
def texts_end_without_marks(view: ExchangeView) -> Iterator[Problem]:
    """The end of each text is compared with the end-of-turn tokens of common models, except those in the request."""
    sent = view.exchange.request.body.decode("utf-8", "replace")
    for pointer, part in view.text_parts():
        text = part.get("text")
        found = _END_MARK.search(text[-100:]) if isinstance(text, str) else None
        if found is not None and found.group().strip() not in sent:
            yield in_response(
                view,
                f"The text ends with the end-of-turn token {found.group().strip()}.",
                f"{pointer}/text",
                expected="text without end-of-turn token",
                actual=found.group(),
            )


@check(
    "PAR-05",
    Subject.RESPONSE,
    needs=lambda view: view.request.get("enable_response_messages") is True and not view.request.get("background"),
)
def asked_messages_are_there(view: ExchangeView) -> Iterator[Problem]:
    """If `enable_response_messages` is true, `input_messages` and `output_messages` must be lists."""
    for name in ("input_messages", "output_messages"):
        value: Any = get(view.response, name)
        if not isinstance(value, list):
            yield in_response(
                view,
                f"{name} is not a list, although enable_response_messages is true.",
                f"/{name}",
                expected="array",
                actual=ABSENT if value is None else value,
            )


_SURE: Final = tuple(role_of(Role.SURE, n) for n in (1, 2, 3))


@check("PAR-07", Subject.CASE, needs=lambda case: bool(texts_of(case, Role.PUSHED)))
def logit_bias_pushes(case: CaseView) -> Iterator[Problem | Declined]:
    """A prompt at temperature 0 is sent again with a `logit_bias` of 100 for one token.

    If the responses without it are identical, the response with it must differ from them.
    """
    view = case.get(Role.PUSHED)
    if not are_alike(case, *_SURE):
        yield Declined(UNSTABLE)
    elif view is not None and view.text() == texts_of(case, *_SURE)[0]:
        yield in_response(
            view,
            "A logit_bias of 100 does not change the response.",
            "/output",
            expected="effect of logit_bias",
            actual=view.text(),
            kind="logit_bias",
        )


@check("PAR-07", Subject.CASE, needs=is_about("PAR-07", *ATTEMPTS))
def earlier_messages_are_heard(case: CaseView) -> Iterator[Problem | Declined]:
    """A canary is placed in `previous_input_messages`. Three requests ask the model to repeat it: plain, streamed and
    in another wording. It fails only if all responses lack it, the model repeats it from a user message in two
    wordings, and another response lacks it too.
    """
    yield from unheard_words(case)


def _stop_of(view: ExchangeView) -> str:
    """Return the one stop string of a request."""
    stop = view.request.get("stop")
    return str(stop[0] if isinstance(stop, list) else stop)


def _is_stopped(case: CaseView) -> bool:
    view = case.get(Role.STOPPED)
    return _is_claimed(case) and view is not None and view.response is not None


@check("PAR-08", Subject.CASE, needs=_is_stopped)
def stop_ends_the_text(case: CaseView) -> Iterator[Problem]:
    """A word of the output of a prompt at temperature 0 is sent as `stop`. The text must not have that word.

    Not tested where the endpoint accepts an object as `stop`, because it does not know the field.
    """
    (view,) = case.having(Role.STOPPED)
    stop = _stop_of(view)
    if stop in view.text():
        yield in_response(
            view,
            f"The text has the stop string {quoted(stop)}.",
            "/output",
            expected=f"text without {quoted(stop)}",
            actual=view.text(),
        )


def _is_included(case: CaseView) -> bool:
    return _is_stopped(case) and have_responses(case, Role.STOP_INCLUDED)


@check("PAR-09", Subject.CASE, needs=_is_included)
def stop_string_is_included(case: CaseView) -> Iterator[Problem | Declined]:
    """The request with `stop` is sent again with `include_stop_str_in_output`. The text must end with the stop string.

    Tested if the output without `stop` is repeatable, and if `stop` ends it at that string.
    """
    stopped, included = case.having(Role.STOPPED, Role.STOP_INCLUDED)
    stop = _stop_of(stopped)
    if not are_alike(case, Role.ONCE, Role.AGAIN):
        yield Declined(UNSTABLE)
    elif stopped.text() != texts_of(case, Role.ONCE)[0].partition(stop)[0]:
        yield Declined("The output with stop is not the beginning of the output without it.")
    elif not included.text().endswith(stop):
        yield in_response(
            included,
            f"The text does not end with the stop string {quoted(stop)}, although include_stop_str_in_output is true.",
            "/output",
            expected=f"text that ends with {quoted(stop)}",
            actual=included.text(),
        )


def _drawn(role: str) -> tuple[str, ...]:
    return tuple(role_of(role, n) for n in (1, 2, 3))


def _are_drawn(role: str) -> Callable[[CaseView], bool]:
    """Return the condition that the endpoint knows the field of these requests and answered all three."""
    return lambda case: _is_claimed(case) and len(texts_of(case, *_drawn(role))) == len(_drawn(role))


def _always_differing(case: CaseView, role: str, field: str) -> Iterator[Problem | Declined]:
    """Yield a problem if no two texts with the field are the same, though texts without it show that they could be."""
    free = texts_of(case, *(role_of(Role.FREE, n) for n in (1, 2)))
    if not are_alike(case, *(role_of(Role.SURE, n) for n in (1, 2))):
        yield Declined(UNSTABLE)
    elif len(set(free)) < len((1, 2)):
        yield Declined("The model's responses at temperature 1 do not differ.")
    elif len(set(texts_of(case, *_drawn(role)))) == len(_drawn(role)):
        (view,) = case.having(_drawn(role)[-1])
        yield in_response(
            view,
            f"Three responses with the same {field} are all different.",
            "/output",
            expected=texts_of(case, *_drawn(role))[0],
            actual=view.text(),
        )


@check("PAR-10", Subject.CASE, needs=_are_drawn(Role.SEEDED))
def a_seed_repeats(case: CaseView) -> Iterator[Problem | Declined]:
    """A prompt is sent three times at temperature 1 with the same `seed`. At least two texts must be the same.

    Tested if texts at temperature 0 are the same, and texts at temperature 1 without `seed` differ.
    """
    yield from _always_differing(case, Role.SEEDED, "seed")


@check("PAR-12", Subject.CASE, needs=_are_drawn(Role.MIN_P))
def min_p_of_one_leaves_no_choice(case: CaseView) -> Iterator[Problem | Declined]:
    """A prompt is sent three times at temperature 1 with `min_p` 1, which leaves only the likeliest token.

    At least two texts must be the same. Tested if texts at temperature 0 are the same, and texts at temperature 1
    without `min_p` differ.
    """
    yield from _always_differing(case, Role.MIN_P, "min_p")


_REPEATED: Final = 20
"""How often a word must come in a row for a penalty to be sure to end the row."""


def _longest_row(text: str) -> int:
    """Return how often the same word comes in a row, at most."""
    return max((len(list(row)) for _, row in groupby(text.split())), default=0)


@check(
    "PAR-11",
    Subject.CASE,
    needs=lambda case: _is_claimed(case) and have_responses(case, Role.ONCE, Role.AGAIN, Role.PENALISED),
)
def a_penalty_ends_repetition(case: CaseView) -> Iterator[Problem | Declined]:
    """A prompt at temperature 0 asks for 40 times the same word. It is sent twice without a penalty, then with
    `frequency_penalty` 2, or with `repetition_penalty` 10. The text must change.

    Tested if both texts without it are the same and repeat one word at least 20 times in a row.
    """
    (view,) = case.having(Role.PENALISED)
    before = texts_of(case, Role.ONCE)[0]
    name = next(name for name in ("frequency_penalty", "repetition_penalty") if name in view.request)
    if not are_alike(case, Role.ONCE, Role.AGAIN):
        yield Declined(UNSTABLE)
    elif _longest_row(before) < _REPEATED:
        yield Declined("The model did not repeat the word.")
    elif view.text() == before:
        yield in_response(
            view,
            f"{name} does not change a text that repeats one word.",
            "/output",
            expected=f"effect of {name}",
            actual=view.text(),
            kind=name,
        )


_MARGIN: Final = 0.25
"""By how much a penalty must exceed the lead of a token, so that rounding in the engine does not matter."""


def _surely_replaced(view: ExchangeView, penalty: float) -> str:
    """Return the shortest beginning of a text that a penalty on repeated tokens rules out; empty where there is none.

    It ends with a token that is in the text before, and that leads a token which is not by less than the penalty.
    """
    if any(get(item, "type") == "reasoning" for item in view.output):
        return ""  # the tokens of reasoning count as said, and are not listed
    _, part = next(view.text_parts(), ("", {}))
    said: list[str] = []
    for entry in part.get("logprobs") or ():
        token, logprob = get(entry, "token"), get(entry, "logprob")
        if not isinstance(token, str) or not is_number(logprob) or "\ufffd" in token:
            return ""
        rivals = get(entry, "top_logprobs")
        for rival in rivals if isinstance(rivals, list) and token in said else ():
            lead = get(rival, "logprob")
            new = isinstance(get(rival, "token"), str) and rival["token"] not in (token, *said)
            if new and is_number(lead) and logprob - lead < penalty - _MARGIN:
                beginning = "".join([*said, token])
                return beginning if view.text().startswith(beginning) else ""
        said.append(token)
    return ""


@check(
    "PAR-14",
    Subject.CASE,
    needs=lambda case: _is_claimed(case) and have_responses(case, Role.ONCE, Role.AGAIN, Role.VARIED),
)
def a_penalty_prefers_new_tokens(case: CaseView) -> Iterator[Problem | Declined]:
    """A prompt at temperature 0 asks for a story, twice without a penalty and with the log probabilities of its tokens,
    then with `presence_penalty` 2. The penalty rules out a repeated token whose lead over a new one is less than 2.

    Tested if both texts without it are the same and have such a token. The text with the penalty must not begin with
    the text up to this token.
    """
    (view,) = case.having(Role.VARIED)
    if not are_alike(case, Role.ONCE, Role.AGAIN):
        yield Declined(UNSTABLE)
        return
    beginning = _surely_replaced(case.having(Role.ONCE)[0], 2)
    if not beginning:
        yield Declined("The text has no repeated token with log probabilities that a new token comes close to.")
    elif view.text().startswith(beginning):
        yield in_response(
            view,
            "presence_penalty 2 does not replace a repeated token that leads a new one by less than 2.",
            "/output",
            expected=f"text that does not begin with {quoted(beginning)}",
            actual=view.text(),
            kind="presence_penalty",
        )


_FORMS: Final = (Role.CHOSEN, Role.MATCHED, Role.PARSED, Role.DERIVED)
_GRAMMAR: Final = re.compile(r'"([^"]+)"')


def _formed(case: CaseView) -> list[ExchangeView]:
    """Return the complete responses to requests with a constraint, of an endpoint that knows the field."""
    views = [view for role in _FORMS for view in case.having(role)]
    complete = [view for view in views if get(view.response, "status") == "completed" and view.text()]
    return complete if _is_claimed(case) else []


def _follows(constraint: dict[str, Any], text: str) -> bool:
    """Return whether a text is one that the constraint allows, space around it aside."""
    text = text.strip()
    if "choice" in constraint:
        return text in constraint["choice"]
    if "regex" in constraint:
        return re.fullmatch(constraint["regex"], text) is not None
    if "grammar" in constraint:
        return text in _GRAMMAR.findall(constraint["grammar"])
    value = parse_json(text.encode())
    return value is not None and Validator(constraint["json"]).is_valid(value)


@check("PAR-13", Subject.CASE, needs=lambda case: bool(_formed(case)))
def constraints_are_followed(case: CaseView) -> Iterator[Problem]:
    """A prompt is sent with each kind of constraint: a choice, a regular expression, a JSON Schema, and a grammar.

    The text of a completed response must be one that the constraint allows. Not tested where the endpoint accepts an
    object without a constraint as `structured_outputs`, because it does not know the field.
    """
    for view in _formed(case):
        constraint = view.request["structured_outputs"]
        if not _follows(constraint, view.text()):
            (kind,) = constraint
            yield in_response(
                view,
                f"The text does not follow the {kind} of structured_outputs.",
                "/output",
                expected=constraint[kind],
                actual=view.text(),
                kind=kind,
            )


def _rendered(case: CaseView) -> int | None:
    """Return the number of tokens of a rendered prompt."""
    view = case.get(Role.RENDERED)
    ids = get(view.exchange.json(), "token_ids") if view is not None and view.exchange.ok else None
    return len(ids) if isinstance(ids, list) else None


def _prompt_tokens(case: CaseView) -> int | None:
    count = get(response_of(case.get(Role.FIRST)), "usage", "input_tokens")
    return count if is_integer(count) else None


@check("PAR-15", Subject.CASE, needs=lambda case: _rendered(case) is not None and _prompt_tokens(case) is not None)
def rendering_agrees(case: CaseView) -> Iterator[Problem]:
    """One body is sent to the render operation and to create. The number of `token_ids` is compared with
    `usage.input_tokens`.
    """
    (view,) = case.having(Role.RENDERED)
    count, used = _rendered(case), _prompt_tokens(case)
    if count != used:
        message = f"The rendered prompt has {count} tokens, but usage.input_tokens is {used}."
        yield in_exchange(view, message, "/token_ids", expected=used, actual=count)


def _orders(schema: Any, value: Any, pointer: str = "") -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield pointer, expected and actual order of the keys of each object that the schema names several keys of."""
    properties = get(schema, "properties")
    if isinstance(properties, dict) and isinstance(value, dict):
        expected, actual = (
            [name for name in properties if name in value],
            [name for name in value if name in properties],
        )
        if len(expected) > 1:
            yield pointer, expected, actual
        for name in expected:
            yield from _orders(properties[name], value[name], f"{pointer}/{escape_key(name)}")
    elif isinstance(value, list):
        for place, one in enumerate(value):
            yield from _orders(get(schema, "items"), one, f"{pointer}/{place}")


def _echoed_orders(schema: Any, echo: Any, pointer: str) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield pointer, expected and actual order of the keys of each ``properties`` of a schema and of its echo."""
    if isinstance(schema, dict) and isinstance(echo, dict):
        if pointer.endswith("/properties"):
            both = [name for name in schema if name in echo]
            if len(both) > 1:
                yield pointer, both, [name for name in echo if name in schema]
        for name, inner in schema.items():
            yield from _echoed_orders(inner, echo.get(name), f"{pointer}/{escape_key(name)}")


def _key_orders(view: ExchangeView) -> Iterator[tuple[str, list[str], list[str], str]]:
    """Yield pointer, expected order, actual order and kind of every object of strict output and strict arguments."""
    schema = wanted_shape(view)
    if schema is not None:
        for inner, expected, actual in _orders(schema, _parsed(last_text(view))):
            yield "/output", expected, actual, f"text{_placeless(inner)}"
    strict = declared_parameters(view, strict=True)
    for i, item in [] if was_cut(view) else whole_calls(view):
        for inner, expected, actual in _orders(strict.get(str(item.get("name"))), _parsed(item["arguments"])):
            yield f"/output/{i}/arguments", expected, actual, f"arguments{_placeless(inner)}"


def _parsed(text: str) -> Any:
    return parse_json(text.encode("utf-8", "replace"))


def _placeless(pointer: str) -> str:
    return "".join(f"/{part}" for part in pointer.split("/")[1:] if not part.isdigit())


def _echoed_schemas(view: ExchangeView) -> Iterator[tuple[str, Any, Any]]:
    """Yield pointer, sent and echoed value of the schemas in a response object: of the text format and of tools."""
    path = ("text", "format", "schema")
    yield "/text/format/schema", get(view.request, *path), get(view.response, *path)
    sent, echo = view.request.get("tools"), get(view.response, "tools")
    if isinstance(sent, list) and isinstance(echo, list) and len(sent) == len(echo):
        for place, (one, other) in enumerate(zip(sent, echo, strict=True)):
            yield f"/tools/{place}/parameters", get(one, "parameters"), get(other, "parameters")


@check("PAR-16", Subject.RESPONSE, needs=lambda view: any(True for _ in _key_orders(view)))
def keys_keep_their_order(view: ExchangeView) -> Iterator[Problem]:
    """The keys of strict output and of strict arguments are compared with the order of `properties` in the schema."""
    for pointer, expected, actual, kind in _key_orders(view):
        if expected != actual:
            what = "The output" if pointer == "/output" else "The call"
            message = f"{what} has the keys in another order than the schema."
            yield in_response(view, message, pointer, expected=expected, actual=actual, kind=kind)


def _all_echoed_orders(view: ExchangeView) -> Iterator[tuple[str, list[str], list[str]]]:
    for pointer, sent, echo in _echoed_schemas(view):
        yield from _echoed_orders(sent, echo, pointer)


@check("PAR-27", Subject.RESPONSE, needs=lambda view: any(True for _ in _all_echoed_orders(view)))
def echoed_keys_keep_their_order(view: ExchangeView) -> Iterator[Problem]:
    """The keys of `properties` in the schemas that the response object repeats are compared with the request."""
    for pointer, expected, actual in _all_echoed_orders(view):
        if expected != actual:
            message = "The echoed schema has the keys in another order than the request."
            yield in_response(view, message, pointer, expected=expected, actual=actual, kind="echo")


_EFFORTFUL: Final = (Role.EFFORT_HIGH, role_of(Role.EFFORT_HIGH, Role.AGAIN))
_EFFORTLESS: Final = (Role.EFFORT_NONE, role_of(Role.EFFORT_NONE, Role.AGAIN))


def _reasoned(view: ExchangeView) -> str:
    """Return what shows that the model reasoned, as the object of a sentence; empty where nothing does."""
    if any(item.get("type") == "reasoning" for item in view.output):
        return "a reasoning item"
    if any(event.type.startswith("response.reasoning") for event in view.events):
        return "reasoning events"
    count = get(view.response, "usage", "output_tokens_details", "reasoning_tokens")
    return plural(count, "reasoning token") if is_integer(count) and count > 0 else ""


@check("PAR-17", Subject.CASE, needs=lambda case: have_responses(case, *_EFFORTFUL, *_EFFORTLESS))
def effort_none_ends_reasoning(case: CaseView) -> Iterator[Problem | Declined]:
    """A prompt is sent twice with effort "high" and twice with "none", once of these streamed.

    A problem if both responses with "none" have reasoning, and both with "high".
    """
    if not all(_reasoned(view) for view in case.having(*_EFFORTFUL)):
        yield Declined('The responses with reasoning effort "high" show no reasoning.')
        return
    views = case.having(*_EFFORTLESS)
    found = [_reasoned(view) for view in views]
    if all(found):
        message = f'The response has {found[-1]}, although reasoning.effort is "none".'
        yield in_response(views[-1], message, "/output", expected="no reasoning", actual=found[-1])


_FIRST_WORDS: Final = 3
"""How many words of texts are compared. Rounding in an engine parts texts later."""

_FREE: Final = tuple(role_of(Role.FREE, n) for n in (1, 2))


def _openings(case: CaseView, *roles: str) -> list[str]:
    """Return the first words of the responses in these roles that have any."""
    return [" ".join(text.split()[:_FIRST_WORDS]) for text in texts_of(case, *roles) if text.strip()]


def _are_all_different(case: CaseView, *roles: str) -> bool:
    """Return whether no two of the responses begin alike, though two at temperature 1 show that they can."""
    found = _openings(case, *roles)
    return len(found) == len(roles) and len(set(found)) == len(roles)


def _unaffected(name: str) -> Declined:
    return Declined(f"The model's responses at temperature 1 do not differ, so no effect of {name} was seen.")


@check("PAR-18", Subject.CASE, needs=lambda case: len(_openings(case, *_SURE, *_FREE)) == len((*_SURE, *_FREE)))
def temperature_has_its_effect(case: CaseView) -> Iterator[Problem | Declined]:
    """A prompt for random words is sent three times at temperature 0 and twice at temperature 1.

    Two of the three texts must have the same first three words. Tested if the texts at temperature 1 differ.
    """
    if len(set(_openings(case, *_FREE))) < len(_FREE):
        yield _unaffected("temperature")
    elif _are_all_different(case, *_SURE):
        (view,) = case.having(_SURE[-1])
        yield in_response(
            view,
            "Three responses at temperature 0 begin with different words.",
            "/output",
            expected=texts_of(case, _SURE[0])[0],
            actual=view.text(),
        )


_NUCLEUS: Final = _drawn(Role.NUCLEUS)


@check("PAR-19", Subject.CASE, needs=lambda case: len(_openings(case, *_NUCLEUS)) == len(_NUCLEUS))
def top_p_leaves_no_choice(case: CaseView) -> Iterator[Problem | Declined]:
    """The prompt of PAR-18 is sent three times at temperature 1 with a `top_p` of 0.001.

    Two texts must have the same first three words. Tested if texts at temperature 0 begin alike, and those at
    temperature 1 without `top_p` do not.
    """
    if len(set(_openings(case, *_SURE))) != 1:
        yield Declined(UNSTABLE)
    elif len(set(_openings(case, *_FREE))) < len(_FREE):
        yield _unaffected("top_p")
    elif _are_all_different(case, *_NUCLEUS):
        (view,) = case.having(_NUCLEUS[-1])
        yield in_response(
            view,
            "Three responses with a top_p of 0.001 begin with different words.",
            "/output",
            expected=texts_of(case, _NUCLEUS[0])[0],
            actual=view.text(),
        )


def _includes_logprobs(view: ExchangeView) -> bool:
    included = view.request.get("include")
    return isinstance(included, list) and "message.output_text.logprobs" in included


def _ranked(view: ExchangeView) -> list[Any]:
    """Return the logprobs of a response that must have alternatives."""
    count = view.request.get("top_logprobs")
    if not _includes_logprobs(view) or not is_integer(count) or count < 1:
        return []
    return [
        entry for _, part in view.text_parts() if isinstance(part.get("logprobs"), list) for entry in part["logprobs"]
    ]


@check("PAR-20", Subject.RESPONSE, needs=lambda view: bool(_ranked(view)))
def logprobs_have_alternatives(view: ExchangeView) -> Iterator[Problem]:
    """Responses with logprobs are searched for alternatives, if the request has `top_logprobs` of 1 or more."""
    entries = _ranked(view)
    if not any(get(entry, "top_logprobs") not in (ABSENT, None, []) for entry in entries):
        yield in_response(
            view,
            f"No token has alternatives, although top_logprobs is {view.request['top_logprobs']}.",
            "/output",
            expected="non-empty top_logprobs",
            actual=get(entries[0], "top_logprobs"),
        )


def _is_json_wanted(view: ExchangeView) -> bool:
    """Whether a completed response must be JSON: the format says so, and the prompt, which some models need."""
    wanted = get(view.request, "text", "format", "type") == "json_object"
    spoken = view.request.get("input")
    return wanted and "json" in str(spoken).lower() and not was_cut(view) and not has_refusal(view)


@check("PAR-21", Subject.RESPONSE, needs=lambda view: _is_json_wanted(view) and bool(last_text(view)))
def json_mode_returns_json(view: ExchangeView) -> Iterator[Problem]:
    """The text of each completed response is parsed, if the input of the request mentions JSON."""
    text = last_text(view)
    if not isinstance(_parsed(text), dict):
        message = 'The output is not a JSON object, although text.format is "json_object".'
        yield in_response(view, message, "/output", expected="JSON object", actual=text)


_TERSE: Final = (Role.TERSE, role_of(Role.TERSE, Role.AGAIN))
_WORDY: Final = (Role.WORDY, role_of(Role.WORDY, Role.AGAIN))


@check("PAR-22", Subject.CASE, needs=lambda case: have_responses(case, *_TERSE, *_WORDY))
def verbosity_has_its_effect(case: CaseView) -> Iterator[Problem | Declined]:
    """A prompt at temperature 0 is sent twice with `text.verbosity` "low" and twice with "high".

    Tested if each pair has the same text. The texts of the pairs must differ.
    """
    if not are_alike(case, *_TERSE) or not are_alike(case, *_WORDY):
        yield Declined(UNSTABLE)
        return
    (view,) = case.having(_WORDY[-1])
    if view.text() == texts_of(case, *_TERSE)[0]:
        message = 'The text is the same with verbosity "low" and "high".'
        yield in_response(view, message, "/output", expected="effect of verbosity", actual=view.text())


def _summed_up(case: CaseView) -> list[ExchangeView]:
    """Return the completed responses to requests for a detailed summary that show reasoning."""
    wanted = [view for view in case.views if get(view.request, "reasoning", "summary") == "detailed"]
    return [view for view in wanted if get(view.response, "status") == "completed" and _reasoned(view)]


@check("PAR-23", Subject.CASE, needs=lambda case: len(_summed_up(case)) > 1)
def summaries_are_there(case: CaseView) -> Iterator[Problem]:
    """A prompt with `reasoning.summary` "detailed" is sent with and without streaming. A problem if both completed
    responses have reasoning items or count reasoning tokens, and neither has a summary.
    """
    views = _summed_up(case)
    reasoning = [item for view in views for item in view.output if item.get("type") == "reasoning"]
    if not any(item.get("summary") for item in reasoning):
        message = f'The response has {_reasoned(views[-1])} and no summary, although reasoning.summary is "detailed".'
        actual = reasoning[-1].get("summary", ABSENT) if reasoning else ABSENT
        kind = "summary" if reasoning else "item"
        yield in_response(views[-1], message, "/output", expected="non-empty summary", actual=actual, kind=kind)


_FILLED: Final = (Role.FILLED, role_of(Role.FILLED, Role.AGAIN))


def _output_tokens(view: ExchangeView) -> int:
    count = get(view.response, "usage", "output_tokens")
    return count if is_integer(count) else 0


@check("PAR-24", Subject.CASE, needs=lambda case: _is_claimed(case) and have_responses(case, Role.ONCE, *_FILLED))
def ignored_end_fills_the_limit(case: CaseView) -> Iterator[Problem | Declined]:
    """A short answer is requested without `ignore_eos`, and twice with it. The `output_tokens` of these must reach
    `max_output_tokens`, in one of them at least.

    Tested if the response without it is completed with fewer tokens.
    """
    (once,), filled = case.having(Role.ONCE), case.having(*_FILLED)
    most = filled[-1].request.get("max_output_tokens")
    if not is_integer(most) or get(once.response, "status") != "completed" or not 0 < _output_tokens(once) < most:
        yield Declined("The response without ignore_eos does not end before max_output_tokens.")
    elif any(map(has_refusal, filled)):
        yield Declined("The model refused to answer.")
    elif all(_output_tokens(view) < most for view in filled):
        message = f"With ignore_eos true, the response has {plural(_output_tokens(filled[-1]), 'output token')}."
        yield in_response(filled[-1], message, "/usage/output_tokens", expected=most, actual=_output_tokens(filled[-1]))


_SHOWN: Final = (Role.EFFORT_HIGH, role_of(Role.EFFORT_HIGH, Role.AGAIN))
_HIDDEN: Final = (Role.UNREASONED, role_of(Role.UNREASONED, Role.AGAIN))


def _has_reasoning_item(view: ExchangeView) -> bool:
    return any(item.get("type") == "reasoning" for item in view.output)


@check("PAR-25", Subject.CASE, needs=lambda case: _is_claimed(case) and have_responses(case, *_SHOWN, *_HIDDEN))
def reasoning_is_left_out(case: CaseView) -> Iterator[Problem | Declined]:
    """A prompt with reasoning effort "high" is sent twice, and twice with `include_reasoning` false.

    A problem if all of these responses have reasoning items.
    """
    if not all(map(_has_reasoning_item, case.having(*_SHOWN))):
        yield Declined('The responses with reasoning effort "high" show no reasoning.')
    elif all(map(_has_reasoning_item, views := case.having(*_HIDDEN))):
        message = "The response has a reasoning item, although include_reasoning is false."
        yield in_response(views[-1], message, "/output", expected="no reasoning item", actual="reasoning")


def _wants_no_logprobs(view: ExchangeView) -> bool:
    others = ("top_logprobs", "previous_response_id")
    return not _includes_logprobs(view) and not any(view.request.get(name) for name in others)


@check("PAR-26", Subject.RESPONSE, needs=lambda view: _wants_no_logprobs(view) and bool(view.text()))
def logprobs_need_a_request(view: ExchangeView) -> Iterator[Problem]:
    """The texts of responses to requests without `top_logprobs` and without logprobs in `include` must have none."""
    for pointer, part in view.text_parts():
        if part.get("logprobs"):
            message = "The text has logprobs, which the request does not include."
            found = part["logprobs"]
            yield in_response(view, message, f"{pointer}/logprobs", expected="empty or absent", actual=found)
            break

"""Echo: what response objects repeat of their request."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

from rejoinder.conformance.judging.exchange_view import CaseView, ExchangeView
from rejoinder.conformance.judging.problems import get, in_exchange, in_response, is_integer, is_number, is_set
from rejoinder.conformance.judging.registry import Subject, check
from rejoinder.conformance.judging.roles import Role
from rejoinder.conformance.judging.turns import continuations, status_code
from rejoinder.formatting import plural
from rejoinder.model.tags import UNCERTAIN, Tag
from rejoinder.model.verdict import ABSENT, Problem

# Fields whose value comes back as it is.
_PLACES: Final = (
    ("instructions",),
    ("tool_choice",),
    ("parallel_tool_calls",),
    ("previous_response_id",),
    ("truncation",),
    ("text", "format"),
    ("reasoning", "effort"),
    ("max_tool_calls",),
    ("user",),
)
# Numbers pass through single precision in some engines.
_PRECISION: Final = 1e-5


def _counts(view: ExchangeView) -> bool:
    """Whether the request is one whose values are to be repeated: of a good create, not of one that was corrected."""
    return view.response is not None and UNCERTAIN.isdisjoint(view.exchange.tags)


def _pointer(place: tuple[str, ...]) -> str:
    return "/" + "/".join(place)


def _is_there(view: ExchangeView, place: tuple[str, ...]) -> bool:
    """Whether the response has the field that holds the place; an object that is null has nothing to say."""
    if len(place) == 1:
        return get(view.response, *place) is not ABSENT
    return isinstance(get(view.response, place[0]), dict)


def _repeated(view: ExchangeView) -> list[tuple[str, ...]]:
    if not _counts(view):
        return []
    return [
        place
        for place in _PLACES
        if is_set(get(view.request, *place)) and _is_there(view, place) and not _means_nothing(view, place)
    ]


def _means_nothing(view: ExchangeView, place: tuple[str, ...]) -> bool:
    """Whether another value says the same: a choice between no tools, or what the endpoint ignores (STA-06)."""
    if place == ("tool_choice",):
        choices = (get(view.request, *place), get(view.response, *place))
        return not view.request.get("tools") and all(choice in ("auto", "none") for choice in choices)
    return place == ("previous_response_id",) and view.run_context.forgets


@check("ECH-01", Subject.RESPONSE, needs=lambda view: bool(_repeated(view)))
def fields_are_repeated(view: ExchangeView) -> Iterator[Problem]:
    """Each field that the request sets and the response object has is compared. Objects may have added fields.

    Inside objects, fields that the dialect does not require in the response may be null. RSP-05 covers fields that the
    response object lacks, BGR-01 `background`. Without tools, `tool_choice` "auto" and "none" mean the same.
    `instructions` may be a list of messages that has the text.
    """
    for place in _repeated(view):
        sent, back = get(view.request, *place), get(view.response, *place)
        if place == ("instructions",) and isinstance(back, list):
            back = "".join(_texts(back))
        if not _holds(back, _required(view, ".".join(place), sent, back)):
            yield in_response(
                view,
                f"{'.'.join(place)} differs from the request's value.",
                _pointer(place),
                expected=sent,
                actual=back,
            )


def _texts(items: list[Any]) -> Iterator[str]:
    """Yield the texts of a list of messages."""
    for item in items:
        content = get(item, "content")
        parts = content if isinstance(content, list) else [{"text": content}]
        yield from (part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str))


def _required(view: ExchangeView, place: str, sent: Any, back: Any) -> Any:
    """Return what was sent without the fields that an object in the response may lack, and does lack."""
    if not isinstance(sent, dict) or not isinstance(back, dict):
        return sent
    optional = view.dialect.response["echo_may_lack"]
    return {
        name: value for name, value in sent.items() if f"{place}.{name}" not in optional or back.get(name) is not None
    }


def _holds(back: Any, sent: Any, key: str = "") -> bool:
    """Return whether what came back says what was sent: equal, or an object with further fields."""
    if isinstance(sent, dict):
        if not isinstance(back, dict):
            return False
        return all(value is None or _holds(back.get(name), value, name) for name, value in sent.items())
    if isinstance(sent, list):
        if not isinstance(back, list):
            return False
        if key == "required":  # strict schemas come back with every property required
            return all(value in back for value in sent)
        return len(back) == len(sent) and all(_holds(one, other) for one, other in zip(back, sent, strict=True))
    if isinstance(sent, (int, float)) and not isinstance(sent, bool):
        return is_number(back) and math.isclose(back, sent, rel_tol=_PRECISION)
    return type(back) is type(sent) and bool(back == sent)


def _own_tools(value: Any) -> list[dict[str, Any]]:
    tools = value if isinstance(value, list) else []
    return [tool for tool in tools if isinstance(tool, dict) and tool.get("type") in ("function", "custom")]


@check(
    "ECH-01",
    Subject.RESPONSE,
    needs=lambda view: _counts(view) and bool(_own_tools(view.request.get("tools"))) and _is_there(view, ("tools",)),
)
def tools_are_repeated(view: ExchangeView) -> Iterator[Problem]:
    """Function and custom tools are matched by type and name. They must have the parameters that were sent.

    `description` and `strict` may be null or absent.
    """
    back = _own_tools(get(view.response, "tools"))
    for index, tool in enumerate(_own_tools(view.request.get("tools"))):
        twins = [twin for twin in back if all(twin.get(name) == tool.get(name) for name in ("type", "name"))]
        twin = twins[0] if twins else ABSENT
        if not any(_holds(twin, _required(view, "tools", tool, twin)) for twin in twins):
            yield in_response(
                view,
                f"Tool {tool.get('name')} differs from the request's."
                if is_set(twin)
                else f"Tool {tool.get('name')} is missing.",
                f"/tools/{index}",
                expected=tool,
                actual=twin,
            )


def _hosted_sent(view: ExchangeView) -> bool:
    """Whether the request has tools that the endpoint runs, and the response repeats tools."""
    tools = view.request.get("tools")
    sent = [tool for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []
    return _counts(view) and len(sent) > len(_own_tools(sent)) and isinstance(get(view.response, "tools"), list)


@check("ECH-01", Subject.RESPONSE, needs=_hosted_sent)
def hosted_tools_stay_hosted(view: ExchangeView) -> Iterator[Problem]:
    """If the request has hosted tools, the response object must have no function that the request lacks.

    Hosted tools may come back under another name of the same tool, or not at all.
    """
    sent = {tool.get("name") for tool in _own_tools(view.request.get("tools"))}
    for index, tool in enumerate(get(view.response, "tools")):
        if get(tool, "type") == "function" and tool.get("name") not in sent:
            yield in_response(
                view,
                "A hosted tool comes back as a function.",
                f"/tools/{index}",
                expected=[get(hosted, "type") for hosted in view.request["tools"]],
                actual=tool,
                kind="coerced",
            )


def _sampled(view: ExchangeView) -> bool:
    return _counts(view) and any(get(view.response, name) is not ABSENT for name in ("temperature", "top_p"))


@check("ECH-02", Subject.RESPONSE, needs=_sampled)
def sampling_is_repeated(view: ExchangeView) -> Iterator[Problem]:
    """Values are compared in single precision. `top_p` is not compared at temperature 0, where it has no effect.

    null is accepted where the request set no value.
    """
    for name in ("temperature", "top_p"):
        sent, back = get(view.request, name), get(view.response, name)
        if back is ABSENT or (back is None and not is_set(sent)):
            continue
        if not is_number(back):
            yield in_response(view, f"{name} is not a number.", f"/{name}", expected="number", actual=back, kind="type")
        elif is_number(sent) and not _settled_otherwise(view, name) and not _close(back, sent):
            yield in_response(view, f"{name} differs from the request's value.", f"/{name}", expected=sent, actual=back)


def _close(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=_PRECISION, abs_tol=_PRECISION)


def _settled_otherwise(view: ExchangeView, name: str) -> bool:
    """Whether engines replace the value: near-zero temperatures by a floor, top_p of greedy sampling by 1."""
    temperature = get(view.request, "temperature")
    near_zero = is_number(temperature) and temperature < 0.01
    return near_zero and (name == "top_p" or temperature > 0)


@check("ECH-03", Subject.RESPONSE, needs=lambda view: _counts(view) and _is_there(view, ("max_output_tokens",)))
def limit_is_repeated(view: ExchangeView) -> Iterator[Problem]:
    """`max_output_tokens` of the response object is compared with the request's, where present.

    An endpoint may lower the limit to what the model's context leaves.
    """
    sent, back = get(view.request, "max_output_tokens"), get(view.response, "max_output_tokens")
    if is_set(sent):
        # A limit written as 16.0 is an integer in JSON, and may come back as it was.
        if back != sent and not (is_number(back) and is_number(sent) and 0 < back <= sent):
            yield in_response(
                view,
                "max_output_tokens is not the request's value or a lower limit.",
                "/max_output_tokens",
                expected=sent,
                actual=back,
            )
    elif back is not None and not (is_integer(back) and back > 0):
        yield in_response(
            view,
            "max_output_tokens is neither null nor a positive integer.",
            "/max_output_tokens",
            expected="null or positive integer",
            actual=back,
            kind="type",
        )


def _defaulted(view: ExchangeView) -> list[tuple[tuple[str, ...], Any]]:
    """Return the places of the response that have a documented default, with it, where the request sets no value."""
    if not _counts(view):
        return []
    defaults = [(tuple(name.split(".")), value) for name, value in view.dialect.request["defaults"].items()]
    return [
        (place, value)
        for place, value in defaults
        if not is_set(get(view.request, place[0])) and is_set(get(view.response, *place))
    ]


@check("ECH-04", Subject.RESPONSE, needs=lambda view: bool(_defaulted(view)))
def defaults_are_documented(view: ExchangeView) -> Iterator[Problem]:
    """Fields that the request leaves out or sets to null are compared with the default, where the response has a value.

    Only defaults that the dialect documents are compared. Without tools, `tool_choice` may be "none". ECH-07 covers
    `store`, because some endpoints must not store responses.
    """
    for place, value in _defaulted(view):
        back = get(view.response, *place)
        if place == ("tool_choice",) and back == "none" and not view.request.get("tools"):
            continue
        if back != value or type(back) is not type(value):
            yield in_response(
                view,
                f"Default of {'.'.join(place)} differs from the documented default.",
                _pointer(place),
                expected=value,
                actual=back,
            )


def _has_metadata(view: ExchangeView) -> bool:
    return _counts(view) and bool(view.request.get("metadata")) and _is_there(view, ("metadata",))


@check("ECH-05", Subject.RESPONSE, needs=_has_metadata)
def metadata_round_trips(view: ExchangeView) -> Iterator[Problem]:
    """`metadata` of the response object must have the request's pairs, if present. One request has the most allowed.

    ECH-10 covers added pairs.
    """
    sent, back = view.request["metadata"], get(view.response, "metadata")
    if back == sent:
        return
    if not isinstance(back, dict):
        yield in_response(view, "metadata is not an object.", "/metadata", expected=sent, actual=back, kind="lost")
        return
    for kind, names in (
        ("lost", [name for name in sent if name not in back]),
        ("changed", [name for name in sent if name in back and back[name] != sent[name]]),
    ):
        if names:
            yield in_response(
                view,
                f"{plural(len(names), 'metadata pair')} of {len(sent)} {'was' if len(names) == 1 else 'were'} {kind}.",
                "/metadata",
                expected={name: sent[name] for name in names[:1]},
                actual={name: back[name] for name in names[:1] if name in back},
                kind=kind,
            )


@check(
    "ECH-10",
    Subject.RESPONSE,
    needs=lambda view: _has_metadata(view) and isinstance(get(view.response, "metadata"), dict),
)
def metadata_has_nothing_added(view: ExchangeView) -> Iterator[Problem]:
    """Compares the names of the pairs in `metadata` of the response object with those of the request."""
    sent, back = view.request["metadata"], get(view.response, "metadata")
    names = [name for name in back if name not in sent]
    if names:
        yield in_response(
            view,
            f"{plural(len(names), 'metadata pair')} {'was' if len(names) == 1 else 'were'} added.",
            "/metadata",
            expected="absent",
            actual={name: back[name] for name in names[:1]},
            kind="added",
        )


def _asked_for_tier(view: ExchangeView) -> bool:
    tier = view.request.get("service_tier")
    return _counts(view) and tier not in (None, "auto") and isinstance(get(view.response, "service_tier"), str)


@check("ECH-06", Subject.RESPONSE, needs=_asked_for_tier)
def service_tier_is_noted(view: ExchangeView) -> Iterator[Problem]:
    """A `service_tier` other than the requested one is reported."""
    wanted, got = view.request["service_tier"], get(view.response, "service_tier")
    if wanted != got:
        yield in_response(
            view, f'service_tier is "{got}", requested "{wanted}".', "/service_tier", expected=wanted, actual=got
        )


@check(
    "ECH-07",
    Subject.RESPONSE,
    needs=lambda view: _counts(view) and view.request.get("store") is False and _is_there(view, ("store",)),
)
def not_stored_is_said(view: ExchangeView) -> Iterator[Problem]:
    """If the request sets `store` to false, `store` of the response object must not be true."""
    if get(view.response, "store") is True:
        yield in_response(
            view, "store is true, although the request set it to false.", "/store", expected=False, actual=True
        )


def _looked_up(case: CaseView) -> list[tuple[ExchangeView, ExchangeView]]:
    """Return pairs of a response with ``store``, and the GET that looked for it afterwards.

    What was deleted in between or belongs to another tenant is left out; so is a 404 that does not name the id, which
    may mean that the endpoint knows no such operation.
    """
    created: dict[str, ExchangeView] = {}
    pairs = []
    for view in case.views:
        if Tag.SECOND_TENANT in view.exchange.tags:
            continue
        steps = view.exchange.request.path.partition("?")[0].rstrip("/").rpartition("/responses/")[2]
        identity = get(view.response, "id")
        if view.is_create and isinstance(identity, str) and isinstance(get(view.response, "store"), bool):
            created[identity] = view
        elif view.exchange.request.method == "DELETE":
            created.pop(steps, None)
        elif view.exchange.request.method == "GET" and steps in created:
            message = get(view.exchange.json(), "error", "message")
            named = isinstance(message, str) and steps in message
            if view.exchange.ok or (view.exchange.status == 404 and named):
                pairs.append((created[steps], view))
    return pairs


@check("ECH-07", Subject.CASE, needs=lambda case: bool(_looked_up(case)))
def stored_is_true(case: CaseView) -> Iterator[Problem]:
    """Responses are retrieved by id. A retrieve must succeed where `store` is true, and fail where it is false."""
    for view, lookup in _looked_up(case):
        says, found = get(view.response, "store"), lookup.exchange.ok
        if says != found:
            yield in_exchange(
                lookup,
                "store is true, but the response cannot be retrieved."
                if says
                else "store is false, but the response can be retrieved.",
                "/store",
                expected=found,
                actual=says,
                kind="lost" if says else "kept",
            )


def _absent_and_null(case: CaseView) -> bool:
    absent, nulls = case.get(Role.ABSENT), case.get(Role.NULLS)
    return absent is not None and absent.exchange.ok and status_code(nulls) not in (0, 429, 503)


@check("ECH-08", Subject.CASE, needs=_absent_and_null)
def null_is_absent(case: CaseView) -> Iterator[Problem]:
    """One request is sent without its optional fields, and with null for those that every source allows to be null.

    The second must succeed, and its response object must have the same values for those fields, null or none at all.
    """
    absent, nulls = case.having(Role.ABSENT, Role.NULLS)
    if not nulls.exchange.ok:
        message = f"A request with null for optional fields returned status {nulls.exchange.status}."
        reply = nulls.exchange.json() or nulls.exchange.status
        yield in_exchange(nulls, message, expected=200, actual=reply, kind="refused")
        return
    for name, value in nulls.request.items():
        one, other = (_or_none(get(view.response, name)) for view in (absent, nulls))
        # null in the response repeats the request and does not show another effect. RSP-05 covers its type.
        if value is None and other is not None and one != other:
            yield in_response(
                nulls,
                f"{name} differs between null and absent in the request.",
                f"/{name}",
                expected=one,
                actual=other,
            )


def _or_none(value: Any) -> Any:
    return None if value is ABSENT else value


def _continued(case: CaseView) -> list[tuple[ExchangeView, ExchangeView]]:
    """Return pairs of views of which the second continues the first, and only the first has instructions."""
    return [
        (first, view)
        for first, view in continuations(case)
        if isinstance(first.request.get("instructions"), str)
        and view.response is not None
        and not is_set(view.request.get("instructions"))
    ]


@check("ECH-09", Subject.CASE, needs=lambda case: bool(_continued(case)))
def instructions_end(case: CaseView) -> Iterator[Problem]:
    """`instructions` of a continued response must not be those of the earlier request."""
    for first, second in _continued(case):
        before, after = first.request["instructions"], get(second.response, "instructions")
        if after == before:
            yield in_response(
                second,
                "The response has the instructions of the earlier request.",
                "/instructions",
                expected=None,
                actual=after,
            )

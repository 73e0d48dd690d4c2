"""What input_tokens shows of the input: how an endpoint counts text, by controls, and what other texts add to it.

The controls are requests with no, one and two copies of a text, and the one with one copy again. From them comes the
number of tokens for each character of such a text. It is used with wide margins, since templates and blocks add to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import gcd
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from rejoinder.conformance.judging.context import TokenScale
from rejoinder.conformance.judging.exchange_view import CaseView, ExchangeView
from rejoinder.conformance.judging.problems import get, in_response, is_integer, quoted
from rejoinder.conformance.judging.registry import Declined
from rejoinder.conformance.judging.roles import COUNTED_TEXT, Role, role_of
from rejoinder.conformance.judging.turns import response_of
from rejoinder.model.verdict import Problem

MESSAGE_PLACES: Final[Mapping[str, str]] = MappingProxyType(
    {
        Role.IN_INSTRUCTIONS: "instructions",
        Role.IN_SYSTEM: "a system message",
        Role.IN_DEVELOPER: "a developer message",
        Role.IN_PART: "the first of two input_text parts",
        Role.IN_ANSWER: "an assistant message",
        Role.IN_ANSWER_PART: "an output_text part",
    }
)
"""The places of a text beside a message with string content, in words, by the role of the request."""

CALL_PLACES: Final[Mapping[str, str]] = MappingProxyType(
    {
        Role.IN_ARGUMENTS: "the arguments of a function call",
        Role.IN_OUTPUT: "the output of a function call",
        Role.IN_OUTPUT_PART: "an input_text part of the output of a function call",
    }
)
"""The places of a text in calls and their outputs."""

DEFINITION_PLACE: Final[Mapping[str, str]] = MappingProxyType({Role.IN_DEFINITION: "the description of a function"})
"""The place of a text in a tool definition."""

SHORT: Final[Mapping[str, str]] = MappingProxyType(
    {role: role_of(role, "short") for role in (Role.IN_INSTRUCTIONS, Role.IN_SYSTEM, Role.IN_DEVELOPER)}
)
"""The roles of requests with a short text where an endpoint may have its own text instead, by the role of the place."""

FEWEST: Final = 40
"""Tokens that a text must have for its count to show anything."""

FEWEST_OF_IMAGE: Final = 24
"""Tokens that an image must have for its count to show anything."""

_LARGEST: Final = 10**9
"""Tokens beyond which a number is no count of a request of a test plan."""
_NONE: Final = 0.25
"""The share of its tokens below which something is not counted at all."""
_TWICE: Final = 1.75
"""The share of its tokens above which a text is counted twice."""
_UNEVEN: Final = 0.25
"""By which share of the first copy of a text the second one may add more or fewer tokens."""
_ALL: Final = 0.9
"""The share of the tokens of several texts below which one of them may not be counted."""

_SMALLEST_BLOCK: Final = 8
"""Tokens of a block that an endpoint may count as a whole; counts have smaller factors by chance."""
_WHOLE: Final = 0.75
"""The share of the tokens of its text below which a request is no control for another."""

_OPAQUE: Final = frozenset(
    ("image_url", "file_data", "id", "call_id", "type", "role", "status", "filename", "detail", "tool_choice")
)
"""Fields whose strings are no text for the model."""

_CONTROLS: Final = (Role.BARE, Role.TEXT, Role.TEXT_AGAIN, Role.TEXT_TWICE)


class Growth(NamedTuple):
    """How many more input tokens a request has than another, and about how many its additional text should add."""

    grown: int
    expected: float

    @property
    def is_missing(self) -> bool:
        """Whether the text is not counted at all."""
        return self.grown < self.expected * _NONE

    @property
    def is_double(self) -> bool:
        """Whether the text is counted twice."""
        return self.grown > self.expected * _TWICE + TokenScale().slack

    @property
    def is_wrong(self) -> bool:
        """Whether the text is not counted once."""
        return self.is_missing or self.is_double

    @property
    def is_in_doubt(self) -> bool:
        """Whether one of several equal texts may be missing or counted twice."""
        return not self.expected * _ALL < self.grown < self.expected / _ALL


def counted_tokens(response: Any, name: str) -> int | None:
    """Return a count in the usage of a response object, ``None`` where it is no number that a count can be."""
    count = get(response, "usage", name)
    return count if is_integer(count) and 0 <= count <= _LARGEST else None


def input_tokens(view: ExchangeView | None) -> int | None:
    """Return the number of input tokens of a response, ``None`` without one."""
    return counted_tokens(response_of(view), "input_tokens")


def output_tokens(view: ExchangeView | None) -> int | None:
    """Return the number of output tokens of a response, ``None`` without one."""
    return counted_tokens(response_of(view), "output_tokens")


def characters(request: Mapping[str, Any]) -> int:
    """Return the number of characters of text in input, instructions and tools of a request."""
    return sum(map(len, texts([request.get(name) for name in ("instructions", "input", "tools")])))


def texts(value: Any) -> Iterator[str]:
    """Yield the strings in a value of a request that are text for the model."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for element in value:
            yield from texts(element)
    elif isinstance(value, dict):
        for name, inner in value.items():
            if name not in _OPAQUE:
                yield from texts(inner)


def measure_scale(views: Iterable[ExchangeView]) -> TokenScale | None:
    """Return how the endpoint counts text, from the controls of a run; ``None`` if the run sent none.

    Where the controls are not clean, the scale has a reason in place of numbers.
    """
    found: dict[str, ExchangeView] = {}
    for view in views:
        if view.exchange.case == COUNTED_TEXT and view.exchange.role in _CONTROLS:
            found.setdefault(view.exchange.role, view)
    if not found:
        return None
    bare, once, again, twice = (input_tokens(found.get(role)) for role in _CONTROLS)
    if bare is None or once is None or again is None or twice is None:
        return TokenScale(reason="The responses to the control requests have no input_tokens.")
    if once != again:
        return TokenScale(reason=f"Equal requests have {quoted(once)} and {quoted(again)} input_tokens.")
    if once <= bare:
        return TokenScale(reason="input_tokens does not grow with the text of a user message.")
    together = gcd(bare, once, twice)
    step = together & -together  # blocks have a power of two
    step = step if step >= _SMALLEST_BLOCK else 1
    first, second = once - bare, twice - once
    if first < FEWEST or abs(second - first) > max(first * _UNEVEN, step):
        return TokenScale(reason=f"Two equal texts add {quoted(first)} and {quoted(second)} input_tokens.")
    sizes = [characters(found[role].request) for role in (Role.BARE, Role.TEXT_TWICE)]
    return TokenScale((twice - bare) / max(1, sizes[1] - sizes[0]), bare, sizes[0], step)


def is_scaled(case: CaseView, *roles: str) -> bool:
    """Return whether the run measured how the endpoint counts text, and answered one of these requests."""
    return case.run_context.token_scale is not None and any(response_of(view) for view in case.having(*roles))


def unscaled(case: CaseView) -> list[Declined]:
    """Return the reason why counts of the case show nothing; empty if they show something."""
    scale = case.run_context.token_scale
    return [Declined(scale.reason)] if scale is not None and scale.reason else []


def growth(case: CaseView, base: str, role: str) -> Growth | None:
    """Return how many more input tokens a request has than its base, ``None`` without both counts.

    ``None``, too, where its additional text has fewer tokens than :data:`FEWEST`.
    """
    before, after, scale = case.get(base), case.get(role), case.run_context.token_scale
    added = added_tokens(case, base, role)
    if before is None or after is None or added is None or scale is None:
        return None
    expected = scale.per_character * (characters(after.request) - characters(before.request))
    return Growth(added, expected) if expected >= FEWEST else None


def miscounted(
    case: CaseView, base: str, places: Mapping[str, str], filled: tuple[str, str]
) -> Iterator[Problem | Declined]:
    """Yield the places at which a text is not counted, or counted twice.

    ``places`` are their names by the roles of the requests that have a long text there and nowhere else; ``base`` is
    the role of the request without it, for places where :data:`SHORT` names no request with a short text. ``filled``
    are the roles of a request with a short text at all places, and with a long one: if the second has all tokens that
    it should have, no other request was needed. If it was refused, one of the others must have been sent again, and be
    miscounted again.
    """
    bases = {role: SHORT.get(role, base) for role in places}
    found = {role: growth(case, bases[role], role) for role in places}
    together = growth(case, *filled)
    if not any(found.values()) and (together is None or together.is_in_doubt):
        yield Declined("No two requests that differ in one text have input_tokens.")
    repeated = role_of(filled[1], Role.AGAIN)
    again = next((role for role in places if _are_equal(case.get(role), case.get(repeated))), None)
    confirmed = growth(case, bases[again], repeated) if again is not None else None
    if not (together is not None and together.is_in_doubt) and not (confirmed is not None and confirmed.is_wrong):
        return
    for role, name in places.items():
        seen = found[role]
        if seen is not None and seen.is_wrong:
            yield _miscount(case, role, bases[role], name, seen)


def _are_equal(first: ExchangeView | None, second: ExchangeView | None) -> bool:
    return first is not None and second is not None and first.request == second.request


def _miscount(case: CaseView, role: str, base: str, name: str, seen: Growth) -> Problem:
    view, before = case.having(role)[0], case.having(base)[0]
    how = "counted twice" if seen.is_double else "not counted"
    least = (input_tokens(before) or 0) + round(seen.expected * _NONE)
    most = (input_tokens(before) or 0) + round(seen.expected * _TWICE)
    return in_response(
        view,
        f"The text in {name} is {how}: its {round(seen.expected)} tokens add {quoted(seen.grown)} to "
        f"input_tokens ({before.exchange.id} does not have it).",
        "/usage/input_tokens",
        expected=f"integer from {least} to {most}",
        actual=input_tokens(view),
        kind=f"{role} {how}",
    )


def counts_whole(view: ExchangeView, length: int) -> bool:
    """Return whether a request has about as many input tokens as a text of this length in characters, or more."""
    scale, count = view.run_context.token_scale, input_tokens(view)
    return scale is not None and count is not None and count >= scale.tokens_of(length) * _WHOLE


def added_tokens(case: CaseView, base: str, role: str) -> int | None:
    """Return how many more input tokens a request has than its base, ``None`` without both counts."""
    fewer, more = input_tokens(case.get(base)), input_tokens(case.get(role))
    return None if fewer is None or more is None else more - fewer

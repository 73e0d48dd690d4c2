"""Plans: which requests a check run sends, and what each is for.

A plan is a list of cases; a case is one or more requests that belong together. Bodies come from
``rejoinder.strategies`` or are written here where a rule needs a particular situation (a stream, a call, a cut, a
refusal).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

from rejoinder.contract import Dialect
from rejoinder.errors import UsageError
from rejoinder.exchange import Exchange
from rejoinder.strategies import Environment, each_choice

Replies = Mapping[str, Exchange]
BodyOf = Callable[[Replies], Any]

TINY: Final = 16
"""Tokens that a generated request may have answered; the smallest that every dialect allows."""

LONG: Final = 128
"""Tokens for the few requests that need an answer of some length."""

WEATHER_TOOL: Final[Mapping[str, Any]] = {
    "type": "function",
    "name": "get_weather",
    "description": "Look up the weather of a city.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string", "description": "Name of the city."}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}


@dataclass(frozen=True, slots=True)
class Planned:
    """One request of a case.

    ``body`` is a JSON value, exact bytes, or a function of the replies that earlier requests of the case got, which may
    return ``None`` to say that there is nothing to ask. ``role`` names the request inside its case. The tag ``valid``
    says that the body is valid beyond dispute, ``basic`` that no endpoint may refuse it, ``invalid`` that it must be
    refused.
    """

    role: str
    body: Any | BodyOf
    tags: tuple[str, ...] = ("valid",)
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class PlannedCase:
    """Requests that belong together; they are sent one after the other. ``intent`` is one sentence."""

    id: str
    intent: str
    requests: tuple[Planned, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """A named list of cases with their upper cost."""

    name: str
    cases: tuple[PlannedCase, ...] = field(repr=False)

    @property
    def requests(self) -> int:
        """How many requests the plan sends."""
        return sum(len(case.requests) for case in self.cases)

    @property
    def output_tokens(self) -> int:
        """An upper bound of the tokens that the plan has generated."""
        return sum(_cap(request.body) for case in self.cases for request in case.requests)


PLAN_NAMES: Final = ("smoke", "quick", "full")


def build_plan(name: str, dialect: Dialect, *, model: str | None = None) -> Plan:
    """Return a plan for an endpoint with that model (``None``: requests name no model).

    ``smoke``: is this a Responses endpoint, does it stream right (about 20 requests). ``quick``: every input variant in
    its simplest form, plain and streamed. ``full``: every branch of the contract, one instance of an item at a time,
    plain and streamed. Raises :class:`UsageError` for another name.
    """
    if name not in PLAN_NAMES:
        raise UsageError(f"There is no plan {name!r}.", f"Choose one of {', '.join(PLAN_NAMES)}.")
    cases = list(_core(model, dialect.request["min_output_tokens"]))
    if name != "smoke":
        environment = Environment(model=model, max_output_tokens=TINY)
        generated = each_choice("variant" if name == "quick" else "item", environment)
        cases.extend(_both(case.id, case.intent, case.body) for case in generated)
    return Plan(name, tuple(cases))


def _core(model: str | None, least: int) -> Iterator[PlannedCase]:
    """Yield the cases that every plan has: the situations that rules speak of.

    ``least`` is the smallest max_output_tokens that the dialect allows.
    """

    def body(**fields: Any) -> dict[str, Any]:
        named = {} if model is None else {"model": model}
        return {**named, "max_output_tokens": TINY, **fields}

    def user(text: str) -> list[dict[str, Any]]:
        return [{"role": "user", "content": text}]

    hello = "Say hello."
    yield PlannedCase(
        "basic.input",
        "A string input and a list of one user message are the same question.",
        (
            Planned("string", body(input=hello, temperature=0), ("valid", "basic")),
            Planned("list", body(input=user(hello), temperature=0), ("valid", "basic")),
        ),
    )
    yield PlannedCase(
        "basic.stream",
        "The simplest question, streamed.",
        (Planned("stream", body(input=user(hello), stream=True), ("valid", "basic")),),
    )
    yield PlannedCase(
        "stream.long",
        "A longer streamed answer, so that deltas have something to add up.",
        (Planned("stream", body(input=user("Tell a story."), max_output_tokens=LONG, stream=True)),),
    )
    yield PlannedCase(
        "stream.multibyte",
        "A streamed answer with letters outside of ASCII, which split badly.",
        (
            Planned(
                "stream",
                body(
                    input=user("Repeat this: Grüße aus Köln, 日本語, naïve café 🙂."), max_output_tokens=64, stream=True
                ),
            ),
        ),
    )
    yield _both(
        "tool.required",
        "A function call that tool_choice demands.",
        body(
            input=user("What is the weather in Oslo?"),
            tools=[WEATHER_TOOL],
            tool_choice="required",
            max_output_tokens=64,
        ),
    )
    yield _both(
        "tool.named",
        "A function call that tool_choice names.",
        body(
            input=user("What is the weather in Oslo?"),
            tools=[WEATHER_TOOL],
            tool_choice={"type": "function", "name": "get_weather"},
            max_output_tokens=64,
        ),
    )
    # Small models answer some of these in a word; one long answer is enough.
    for name, text in (("story", "Tell a long story"), ("count", "Count from one to fifty."), ("hello", "Hello")):
        yield _cut(name, body(input=text, temperature=0, max_output_tokens=LONG), least)
    yield _both(
        "reasoning.effort",
        "A question with reasoning asked for.",
        body(input=user("Is 91 a prime number?"), reasoning={"effort": "low", "summary": "auto"}, max_output_tokens=64),
    )
    yield from _refusals(body, user)


def _refusals(body: Callable[..., dict[str, Any]], user: Callable[[str], Any]) -> Iterator[PlannedCase]:
    def refused(case: str, intent: str, content: Any) -> PlannedCase:
        return PlannedCase(f"refused.{case}", intent, (Planned("plain", content, ("invalid",)),))

    without_input = body()
    yield refused("no-input", "A body without input is refused.", without_input)
    yield refused("input-type", "An input that is a number is refused.", body(input=7))
    yield refused("broken-json", "A body that is not JSON is refused.", b'{"input": "Say hello.", ')
    nobody = [{"role": "nobody", "content": "Hi"}]
    yield refused("role", "A message with an unknown role is refused.", body(input=nobody))
    absent = body(model="no-such-model", input=user("Hi"))
    yield refused("unknown-model", "A model that is not there is refused.", absent)


def _cut(name: str, whole: dict[str, Any], least: int) -> PlannedCase:
    """Return a case that asks the same again with about half of the tokens that the whole answer took."""

    def capped(replies: Replies) -> dict[str, Any] | None:
        reply = replies["uncapped"].json()
        usage = reply.get("usage") if isinstance(reply, dict) else None
        used = usage.get("output_tokens") if isinstance(usage, dict) else None
        if not isinstance(used, int) or used < 2 * least:
            return None
        return {**whole, "max_output_tokens": max(least, min(TINY, used // 2))}

    def streamed(replies: Replies) -> dict[str, Any] | None:
        body = capped(replies)
        return None if body is None else {**body, "stream": True}

    return PlannedCase(
        f"cut.{name}",
        "The same question at temperature 0 without and with a limit of tokens that is too small for the answer.",
        (Planned("uncapped", whole), Planned("capped", capped), Planned("capped-stream", streamed)),
    )


def _both(case: str, intent: str, body: dict[str, Any]) -> PlannedCase:
    """Return a case that sends one body plain and streamed, each under a request_id of its own where it has one."""

    def under(role: str) -> dict[str, Any]:
        return {**body, "request_id": f"rejoinder-{case}-{role}-{uuid4().hex[:12]}"} if "request_id" in body else body

    return PlannedCase(
        case, intent, (Planned("plain", under("plain")), Planned("stream", {**under("stream"), "stream": True}))
    )


def _cap(body: Any) -> int:
    cap = body.get("max_output_tokens") if isinstance(body, dict) else 0
    return cap if isinstance(cap, int) else LONG

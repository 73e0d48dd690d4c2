"""Parameters of sampling, caching and naming, each with its visible effect."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from uuid import uuid4

from rejoinder.conformance.judging.roles import Role, role_of
from rejoinder.conformance.running.case import (
    LONG,
    ROOMY,
    TINY,
    CaseContext,
    PlannedCase,
    Replies,
    RequestSpec,
    claimed,
    closed,
    output_text,
    response_id,
    single,
    user,
)
from rejoinder.model.exchange import parse_json
from rejoinder.model.tags import Tag

# Caches hold whole blocks of tokens, so that only a long prompt shows them.
_LINES: Final = 60
_TAPS: Final = 40
_AT_RANDOM: Final = "Write down twelve words that you choose at random."
_NARROW: Final = 0.001
"""A top_p that leaves the likeliest token only."""
# A token that every vocabulary has (those before it may be bytes), pushed so hard that nothing else can be said.
_PUSHED: Final = {"300": 100}
# How many of the likeliest tokens a response names at each place.
_RIVALS: Final = 5

CONSTRAINTS: Final[Mapping[str, Mapping[str, Any]]] = {
    Role.CHOSEN: {"choice": ["ochre", "mauve"]},
    Role.MATCHED: {"regex": "[A-Z]{2}-[0-9]{3}"},
    Role.PARSED: {"json": closed({"city": {"type": "string", "maxLength": 20}, "visited": {"type": "boolean"}})},
    Role.DERIVED: {"grammar": 'root ::= "amber" | "umber"'},
}
"""A constraint of each kind, by the role of the request that has it."""


def cases(context: CaseContext, plan: str) -> Iterator[PlannedCase]:
    """Yield the cases of a plan: only ``full`` has them, and only for the fields that the dialect names."""
    if plan != "full":
        return
    yield _sampled(context)
    yield _effortless(context)
    yield _verbose(context)
    question = user("Where is the Eiffel Tower? Answer in JSON.")
    formed = context.body(input=question, text={"format": {"type": "json_object"}}, max_output_tokens=ROOMY)
    if context.allows(formed):
        yield single("parameters.json-object", "A prompt for JSON with the text format json_object.", formed)
    if context.dialect.response["request_id"]:
        yield _taken(context)
    if "cache_salt" in context.dialect.parameters:
        yield _salted(context)
    if "priority" in context.dialect.parameters:
        yield PlannedCase(
            "parameters.priority",
            "A priority, which an endpoint without priority scheduling may refuse.",
            (
                RequestSpec("default", context.body(input=user("Say hello."), priority=0), (Tag.VALID, Tag.EDGE)),
                RequestSpec("other", context.body(input=user("Say hello."), priority=7), (Tag.EDGE,)),
            ),
        )
    if {"stop", "include_stop_str_in_output"} <= context.dialect.parameters:
        yield _stopped(context)
    if "seed" in context.dialect.parameters:
        yield _drawn(context, "seed", Role.SEEDED, 1234)
    if "min_p" in context.dialect.parameters:
        yield _drawn(context, "min_p", Role.MIN_P, 1)
    for name, value in (("frequency_penalty", 2), ("repetition_penalty", 10)):
        if name in context.dialect.parameters:
            yield _penalised(context, name, value)
    if {"presence_penalty", "top_logprobs"} <= context.dialect.parameters:
        yield _varied(context)
    if "ignore_eos" in context.dialect.parameters:
        yield _filled(context)
    if "include_reasoning" in context.dialect.parameters:
        yield _unreasoned(context)
    if "structured_outputs" in context.dialect.parameters:
        yield _constrained(context)
    if "render" in context.dialect.operations:
        body = context.body(input=user("Say hello."), temperature=0)
        yield PlannedCase(
            "parameters.render",
            "One body is sent to the render operation and to create.",
            (RequestSpec(Role.FIRST, body), RequestSpec(Role.RENDERED, body, (), path=("render",))),
        )
    if "enable_response_messages" in context.dialect.parameters:
        body = context.body(input=user("Say hello."), enable_response_messages=True)
        yield single("parameters.response-messages", "A request with enable_response_messages.", body)


def _sampled(context: CaseContext) -> PlannedCase:
    body = context.body(input=user(_AT_RANDOM), max_output_tokens=2 * TINY)
    sure, free = {**body, "temperature": 0}, {**body, "temperature": 1}
    narrowed = [*(RequestSpec(role_of(Role.NUCLEUS, n), {**free, "top_p": _NARROW}) for n in (1, 2, 3))]
    if "top_k" in context.dialect.parameters:
        narrowed += (RequestSpec(role_of(Role.GREEDY, n), {**free, "top_k": 1}) for n in (1, 2, 3))
    if "logit_bias" in context.dialect.parameters:
        narrowed.append(RequestSpec(Role.PUSHED, {**sure, "logit_bias": _PUSHED}))
    return PlannedCase(
        "parameters.sampling",
        "A prompt at temperature 0 and 1, and with each parameter that leaves only the likeliest token.",
        (
            *(RequestSpec(role_of(Role.SURE, n), sure) for n in (1, 2, 3)),
            *(RequestSpec(role_of(Role.FREE, n), free) for n in (1, 2)),
            *narrowed,
        ),
    )


def _effortless(context: CaseContext) -> PlannedCase:
    body = context.body(input=user("Is 91 a prime number?"), max_output_tokens=4 * ROOMY)
    high, none = {**body, "reasoning": {"effort": "high"}}, {**body, "reasoning": {"effort": "none"}}
    return PlannedCase(
        "parameters.effort-none",
        "A prompt with reasoning effort high and none, each twice.",
        (
            RequestSpec(Role.EFFORT_HIGH, high),
            RequestSpec(role_of(Role.EFFORT_HIGH, Role.AGAIN), high),
            RequestSpec(Role.EFFORT_NONE, none),
            RequestSpec(role_of(Role.EFFORT_NONE, Role.AGAIN), {**none, "stream": True}),
        ),
    )


def _verbose(context: CaseContext) -> PlannedCase:
    body = context.body(input=user("Why does it rain?"), temperature=0, max_output_tokens=LONG)

    def twice(role: str, verbosity: str) -> Iterator[RequestSpec]:
        said = {**body, "text": {"verbosity": verbosity}}
        yield RequestSpec(role, said)
        yield RequestSpec(role_of(role, Role.AGAIN), said)

    return PlannedCase(
        "parameters.verbosity",
        "A prompt at temperature 0 with low and high verbosity, each twice.",
        (*twice(Role.TERSE, "low"), *twice(Role.WORDY, "high")),
    )


def _stopped(context: CaseContext) -> PlannedCase:
    body = context.body(input=user("Count from one to ten, in words."), temperature=0, max_output_tokens=ROOMY)

    def stop(replies: Replies) -> str:
        """Return a word from the middle of what the model says, or one letter of it; empty where there is none."""
        text = output_text(replies, Role.ONCE)
        words = re.findall(r"[A-Za-z]{2,}", text) if " " in text else re.findall(r"[A-Za-z]", text)
        return words[len(words) // 2] if len(words) > 1 else ""

    def stopped(replies: Replies) -> dict[str, Any] | None:
        return {**body, "stop": [stop(replies)]} if stop(replies) else None

    def included(replies: Replies) -> dict[str, Any] | None:
        return {**body, "stop": stop(replies), "include_stop_str_in_output": True} if stop(replies) else None

    return PlannedCase(
        "parameters.stop",
        "A prompt at temperature 0, twice without stop, and with a word of its output as stop string.",
        (
            RequestSpec(Role.ONCE, body),
            RequestSpec(Role.AGAIN, body),
            RequestSpec(Role.STOPPED, stopped),
            RequestSpec(Role.STOP_INCLUDED, included),
            claimed(context, "stop"),
        ),
    )


def _drawn(context: CaseContext, field: str, role: str, value: float) -> PlannedCase:
    body = context.body(input=user(_AT_RANDOM), max_output_tokens=ROOMY, temperature=1)
    return PlannedCase(
        f"parameters.{field.replace('_', '-')}",
        f"A prompt at temperature 0, at temperature 1, and at temperature 1 with {field}.",
        (
            *(RequestSpec(role_of(Role.SURE, n), {**body, "temperature": 0}) for n in (1, 2)),
            *(RequestSpec(role_of(Role.FREE, n), body) for n in (1, 2)),
            *(RequestSpec(role_of(role, n), {**body, field: value}) for n in (1, 2, 3)),
            claimed(context, field),
        ),
    )


def _penalised(context: CaseContext, field: str, value: float) -> PlannedCase:
    prompt = user(f"Repeat this line as it is: {'tap ' * _TAPS}")
    body = context.body(input=prompt, temperature=0, max_output_tokens=LONG)
    return PlannedCase(
        f"parameters.{field.replace('_', '-')}",
        f"A prompt with a repeated word at temperature 0, twice without and once with {field}.",
        (
            RequestSpec(Role.ONCE, body),
            RequestSpec(Role.AGAIN, body),
            RequestSpec(Role.PENALISED, {**body, field: value}),
            claimed(context, field),
        ),
    )


def _varied(context: CaseContext) -> PlannedCase:
    body = context.body(
        input=user("Write a short story about a fox, a crow and a piece of cheese."),
        temperature=0,
        max_output_tokens=LONG,
        include=["message.output_text.logprobs"],
        top_logprobs=_RIVALS,
    )
    if "repetition_penalty" in context.dialect.parameters:
        body["repetition_penalty"] = 1
    return PlannedCase(
        "parameters.presence-penalty",
        "A prompt for a story at temperature 0 with log probabilities, twice without and once with presence_penalty.",
        (
            RequestSpec(Role.ONCE, body, (Tag.EDGE,)),
            RequestSpec(Role.AGAIN, body, (Tag.EDGE,)),
            RequestSpec(Role.VARIED, {**body, "presence_penalty": 2}, (Tag.EDGE,)),
            claimed(context, "presence_penalty"),
        ),
    )


def _filled(context: CaseContext) -> PlannedCase:
    body = context.body(input=user("Say hello."), temperature=0, max_output_tokens=LONG)
    filled = {**body, "ignore_eos": True}
    return PlannedCase(
        "parameters.ignore-eos",
        "A prompt for a short answer, without and with ignore_eos.",
        (
            RequestSpec(Role.ONCE, body),
            RequestSpec(Role.FILLED, filled),
            RequestSpec(role_of(Role.FILLED, Role.AGAIN), filled),
            claimed(context, "ignore_eos"),
        ),
    )


def _unreasoned(context: CaseContext) -> PlannedCase:
    question = user("Is 91 a prime number?")
    body = context.body(input=question, reasoning={"effort": "high"}, max_output_tokens=4 * ROOMY)
    hidden = {**body, "include_reasoning": False}
    return PlannedCase(
        "parameters.include-reasoning",
        "A prompt with reasoning effort high, twice without and twice with include_reasoning false.",
        (
            RequestSpec(Role.EFFORT_HIGH, body),
            RequestSpec(role_of(Role.EFFORT_HIGH, Role.AGAIN), body),
            RequestSpec(Role.UNREASONED, hidden),
            RequestSpec(role_of(Role.UNREASONED, Role.AGAIN), hidden),
            claimed(context, "include_reasoning"),
        ),
    )


def _constrained(context: CaseContext) -> PlannedCase:
    body = context.body(input=user("Say hello, and name the code AB-123."), temperature=0, max_output_tokens=LONG)
    forms = {role: {**body, "structured_outputs": constraint} for role, constraint in CONSTRAINTS.items()}
    return PlannedCase(
        "parameters.structured-outputs",
        "A prompt with each kind of constraint on its output.",
        (
            *(RequestSpec(role, form, (Tag.EDGE,)) for role, form in forms.items()),
            claimed(context, "structured_outputs"),
        ),
    )


def _taken(context: CaseContext) -> PlannedCase:
    name = f"rejoinder-taken-{uuid4().hex[:12]}"

    def taken(replies: Replies) -> str | None:
        """Return the request_id that was sent, which a rerun changes, where the response has it as its id."""
        reply = replies.get(Role.FIRST)
        sent = parse_json(reply.request.body) if reply is not None else None
        identity = response_id(replies, Role.FIRST)
        return identity if isinstance(sent, dict) and identity == sent.get("request_id") else None

    def path(replies: Replies) -> tuple[str, ...] | None:
        identity = taken(replies)
        return None if identity is None else (identity,)

    def again(replies: Replies) -> dict[str, Any] | None:
        identity, kept = taken(replies), replies.get(Role.GET)
        # Without a store there is nothing that a second response could take the place of.
        if identity is None or kept is None or not kept.ok:
            return None
        return context.body(input=user("Count to three."), request_id=identity)

    return PlannedCase(
        "parameters.request-id-taken",
        "Two requests have the same request_id.",
        (
            RequestSpec(Role.FIRST, context.body(input=user("Say hello."), request_id=name)),
            RequestSpec(Role.GET, method="GET", path=path, tags=()),
            RequestSpec(Role.SECOND, again, (Tag.TAKEN,)),
            RequestSpec(Role.GET_AFTER, method="GET", path=path, tags=()),
        ),
    )


def _salted(context: CaseContext) -> PlannedCase:
    # A beginning of its own keeps earlier runs out of the cache.
    lines = [f"Log {uuid4().hex}.", *(f"Line {n}: pump {n % 7} runs." for n in range(_LINES)), "Say hello."]
    body = context.body(input=user("\n".join(lines)), temperature=0)
    return PlannedCase(
        "parameters.cache-salt",
        "A long prompt at temperature 0, twice without and twice with a new cache_salt.",
        (
            RequestSpec(Role.ONCE, body),
            RequestSpec(Role.AGAIN, body),
            RequestSpec(Role.SALTED, {**body, "cache_salt": uuid4().hex}),
            RequestSpec(Role.SALTED_OTHERWISE, {**body, "cache_salt": uuid4().hex}),
            claimed(context, "cache_salt"),
        ),
    )

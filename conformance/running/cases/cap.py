"""Probes of the model's capabilities, and a request for each feature that no other case uses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from rejoinder.conformance.judging.canaries import new_canary
from rejoinder.conformance.judging.roles import Role
from rejoinder.conformance.running.case import (
    ROOMY,
    WEATHER_TOOL,
    CaseContext,
    PlannedCase,
    RequestSpec,
    closed,
    plain_and_streamed,
    single,
    user,
)
from rejoinder.contract import features_of
from rejoinder.model.tags import Tag
from rejoinder.wire.base_form import fit_body

_OF_STORED: Final = ("chaining", "item_references")
"""Features whose requests name what is stored, so that only cases with an earlier response can send them."""
_ROOM: Final = 4 * ROOMY
"""Tokens for an answer that is short, after reasoning that may not be."""


def cases(context: CaseContext, plan: str) -> Iterator[PlannedCase]:
    """Yield the probes, the same in every plan."""
    yield from probes(context)


def probes(context: CaseContext) -> Iterator[PlannedCase]:
    """Yield the questions that show the model's abilities, on which checks of many families depend."""
    body = context.body
    hello = "Say hello."
    listed = fit_body(body(input=user(hello)), context.dialect.usual_form, {})["input"]
    yield PlannedCase(
        "basic.input",
        "One prompt as a string and as a list with one user message.",
        (
            RequestSpec(Role.STRING, body(input=hello, temperature=0), (Tag.VALID, Tag.BASIC), keeps=("input",)),
            RequestSpec(Role.LIST, body(input=listed, temperature=0), (Tag.VALID, Tag.BASIC), keeps=("input",)),
        ),
    )
    word = new_canary("quartz")
    question = user(f"The code word is {word}. Answer with the code word only.")
    yield single(
        "probe.word",
        "A prompt to repeat a canary.",
        body(input=question, temperature=0, max_output_tokens=_ROOM),
        (Tag.VALID, Tag.BASIC, Tag.ASKS_REPEAT),
    )
    yield plain_and_streamed(
        "tool.required",
        "A function call with tool_choice required.",
        body(
            input=user("What is the weather in Oslo?"),
            tools=[WEATHER_TOOL],
            tool_choice="required",
            max_output_tokens=ROOMY,
        ),
    )
    answer: dict[str, Any] = {
        "type": "json_schema",
        "name": "capital",
        "strict": True,
        "schema": closed({"city": {"type": "string"}, "continent": {"enum": ["Africa", "America", "Asia", "Europe"]}}),
    }
    capital = user("What is the capital of Norway, and on which continent?")
    yield single(
        "probe.schema",
        "Output that follows a JSON Schema.",
        body(input=capital, text={"format": answer}, temperature=0, max_output_tokens=_ROOM),
    )


def feature_cases(context: CaseContext, others: Iterable[PlannedCase]) -> Iterator[PlannedCase]:
    """Yield a case for each feature of the dialect that no valid request of these other cases uses."""
    bodies = [
        request.body
        for case in others
        for request in case.requests
        if Tag.VALID in request.tags and isinstance(request.body, dict)
    ]
    for feature in features_of(context.dialect):
        if feature.example and feature.name not in _OF_STORED and not any(feature.is_used(body) for body in bodies):
            yield plain_and_streamed(
                f"feature.{feature.name}",
                f"A request that uses the feature {feature.name}.",
                context.body(**{"input": "Say hello.", **feature.example}),
            )

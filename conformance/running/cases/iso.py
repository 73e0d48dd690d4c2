"""Isolation: concurrent requests, with clients that disconnect or read slowly."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final

from rejoinder.conformance.judging.canaries import new_canary
from rejoinder.conformance.judging.roles import SLOW_READER, Role, role_of
from rejoinder.conformance.running.case import (
    ROOMY,
    CaseContext,
    PlannedCase,
    Replies,
    RequestSpec,
    final_response,
    liveness_request,
    user,
)
from rejoinder.model.tags import Tag

_AT_ONCE: Final = 6
_MARKS: Final = ("amber", "copper", "harbor", "thistle", "velvet", "willow")
_SLOW_READ: Final = 0.4
"""Seconds that a slow reader lets pass after each read."""
_LARGE_READ: Final = 0.1
"""The same for a reader of a large stream, each of whose reads takes more."""
_RESET: Final = 0.05
"""Seconds after which a reader resets its connection."""


def cases(context: CaseContext, plan: str) -> Iterator[PlannedCase]:
    """Yield the cases of a plan."""
    if plan != "full":
        return
    yield _parallel(context)
    yield _aborted(context)
    yield _slow(context)
    yield _reset(context)


def _body_with(context: CaseContext, word: str) -> Callable[[Replies], dict[str, Any]]:
    """Return a stream's body with a word in its text, and in its metadata if those of the first one were taken."""
    without = context.body(
        input=user(f"The code word is {word}. Answer with the code word only."),
        temperature=0,
        max_output_tokens=ROOMY,
        stream=True,
    )

    def body(replies: Replies) -> dict[str, Any]:
        first = replies.get(Role.SOLO)
        return without if first is None or not first.ok else {**without, "metadata": {"code_word": word}}

    return body


def _alone(context: CaseContext) -> RequestSpec:
    body = _body_with(context, new_canary("meadow"))({})
    return RequestSpec(Role.SOLO, {**body, "metadata": {"code_word": "none"}}, (Tag.VALID, Tag.ISOLATION))


def _beside(context: CaseContext, role: str, canaries: list[str], **fields: dict[str, Any]) -> Iterator[RequestSpec]:
    """Yield streams that go together, one for each word; ``fields`` holds further fields of some, by role."""
    for number, word in enumerate(canaries, 1):
        name = role_of(role, number)
        yield RequestSpec(
            name,
            _body_with(context, word),
            (Tag.VALID, Tag.ISOLATION),
            beside=number > 1,
            **fields.get(name.replace("-", "_"), {}),
        )


def _parallel(context: CaseContext) -> PlannedCase:
    canaries = [new_canary(mark) for mark in _MARKS]

    def missed(number: int, word: str) -> Callable[[Replies], dict[str, Any] | None]:
        """Ask once more, alone, where the word was missed twice: perhaps the model cannot say it."""
        ask = _body_with(context, word)

        def body(replies: Replies) -> dict[str, Any] | None:
            reply = [replies.get(role) for role in (role_of(Role.ONE, number), role_of(Role.TWO, number))]
            answered = all(found is not None and found.ok for found in reply)
            repeated = [word in str((final_response(found) or {}).get("output")) for found in reply]
            return ask(replies) if answered and not any(repeated) else None

        return body

    controls = [
        RequestSpec(role_of(Role.CONTROL, n), missed(n, word), (Tag.VALID, Tag.ISOLATION))
        for n, word in enumerate(canaries, 1)
    ]
    return PlannedCase(
        "isolation.parallel",
        "Concurrent streams, each with its own canary, twice.",
        (_alone(context), *_beside(context, Role.ONE, canaries), *_beside(context, Role.TWO, canaries), *controls),
    )


def _aborted(context: CaseContext) -> PlannedCase:
    drawn = random.Random(f"isolation {context.seed}")
    leaving = sorted(drawn.sample(range(1, _AT_ONCE), _AT_ONCE // 2))
    fields = {f"stream_{number}": {"read_limit": drawn.randint(1, 1500)} for number in leaving}
    canaries = [new_canary(mark) for mark in _MARKS]
    return PlannedCase(
        "isolation.aborted",
        "The client closes some of several concurrent streams after a few bytes.",
        (_alone(context), *_beside(context, Role.STREAM, canaries, **fields), liveness_request(context)),
    )


def _slow(context: CaseContext) -> PlannedCase:
    canaries = [new_canary(mark) for mark in _MARKS[:4]]
    return PlannedCase(
        SLOW_READER,
        "One of several concurrent streams is read slowly.",
        (
            _alone(context),
            *_beside(context, Role.STREAM, canaries, stream_1={"pace": _SLOW_READ}),
            liveness_request(context),
        ),
    )


def slow_and_large(context: CaseContext, size: int) -> PlannedCase:
    """Return the case of a slow reader whose stream repeats a text of ``size`` characters in several events.

    From 2 MB on, the stream is larger than what the kernel keeps for a reader, so the endpoint has to wait for it.
    """
    canaries = [new_canary(mark) for mark in _MARKS[:3]]
    slow, *others = _beside(context, Role.STREAM, canaries, stream_1={"pace": _LARGE_READ})
    body = _body_with(context, canaries[0])

    def large(replies: Replies) -> dict[str, Any]:
        return {**body(replies), "user": "u" * size}

    return PlannedCase(
        f"{SLOW_READER}-large",
        "One of several concurrent streams is large and is read slowly.",
        (_alone(context), replace(slow, body=large), *others, liveness_request(context)),
    )


def _reset(context: CaseContext) -> PlannedCase:
    canaries = [new_canary(mark) for mark in _MARKS[:4]]
    fields = {f"stream_{number}": {"deadline": _RESET * number} for number in range(1, 4)}
    return PlannedCase(
        "isolation.reset",
        "The client resets some of several concurrent streams at once, perhaps before the response begins.",
        (_alone(context), *_beside(context, Role.STREAM, canaries, **fields), liveness_request(context)),
    )

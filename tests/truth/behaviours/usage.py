"""What the endpoint reports of tokens."""

from __future__ import annotations

from functools import partial

from tests.truth.answers import ABSENT, Answer, Kind, Usage, tokens
from tests.truth.expect import case, near, rate, says, slo, totals
from tests.truth.server import Call, behaviour

usage = partial(behaviour, "usage")
CLOSED = "--concurrency 4 --duration 3s"
ESTIMATED = ("tokens", "token rate", "tpot")
"""What the server cannot know where tokens are estimated from the text."""


@usage(
    "1,000 tokens of reasoning that are not streamed, then 16 of text, 20 ms apart.",
    case(
        f"{CLOSED} --max-output-tokens 2000 --slo 'tpot:p90<5ms'",
        near("tpot:p50", 20, within=5),
        slo("tpot:p90<5ms", False),
    ),
)
async def hidden_reasoning(call: Call) -> None:
    await call.answer(Answer(tokens(gap=0.02), Usage(1016, reasoning=1000)))


@usage("8 tokens of reasoning that are streamed, then 8 of text.", case(CLOSED, near("tpot:p50", 10, within=4)))
async def shown_reasoning(call: Call) -> None:
    await call.answer(Answer(tokens(8, kind=Kind.REASONING) + tokens(8, first=0.13)))


@usage("No `usage`.", case(CLOSED, rate("ok_output_tokens", 320, 0.2), without=ESTIMATED))
async def usage_absent(call: Call) -> None:
    await call.answer(Answer(usage=ABSENT))


@usage("`usage` is null.", case(CLOSED, rate("ok_output_tokens", 320, 0.2), without=ESTIMATED))
async def usage_null(call: Call) -> None:
    await call.answer(Answer(usage="null"))


@usage("Every 2nd answer has no `usage`.", case(CLOSED, rate("ok_output_tokens", 320, 0.2), without=ESTIMATED))
async def usage_half(call: Call) -> None:
    await call.answer(Answer(usage=ABSENT if call.number % 2 else None))


@usage("`usage` counts no tokens.", case(CLOSED, rate("ok_output_tokens", 320, 0.2), without=ESTIMATED))
async def usage_zero(call: Call) -> None:
    await call.answer(Answer(usage=Usage(0)))


@usage(
    "`usage` counts 10 tokens a word.", case(f"{CLOSED} --max-output-tokens 2000", near("ttft:p50", 50), says("usage"))
)
async def usage_wrong(call: Call) -> None:
    await call.answer(Answer(usage=Usage(160)))


@usage(
    "A prompt takes 400 ms once, and 50 ms from the cache.",
    case(
        f"{CLOSED} --no-canaries",
        near("ttft:p50", 50),
        totals("input_tokens", 1000),
        bodies=({"input": "Hello.", "stream": True},),
    ),
)
async def prefix(call: Call) -> None:
    known = call.shared(set[str])
    text = str(call.body["input"])
    hit = text in known
    known.add(text)
    await call.answer(Answer(tokens(first=0.05 if hit else 0.4), Usage(16, input=1000, cached=900 if hit else 0)))

"""When the pieces of a whole answer come."""

from __future__ import annotations

from functools import partial

from tests.truth.answers import Answer, Delta, Kind, Usage, tokens
from tests.truth.expect import case, missing, near, rate, slo, together
from tests.truth.server import Call, behaviour

timing = partial(behaviour, "timing")
CLOSED = "--concurrency 4 --duration 3s"
TOOLS = """--extra-body '{"tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}]}'"""
BASE = (near("ttft:p50", 50), near("itl:p50", 10), near("e2e:p50", 200), near("tpot:p50", 10, within=4))


@timing(
    "16 tokens, the first after 50 ms, then one each 10 ms.",
    case(CLOSED, *BASE, rate("ok", 20), rate("ok_output_tokens", 320)),
    case("--rate 20 --duration 4s", *BASE, rate("ok", 20), rate("started", 20, 0.03)),
    case("--concurrency 8 --requests 8", near("ttft:p50", 50), together(8), seconds=1),
    case("--concurrency 1 --requests 1", near("ttft:p50", 50), seconds=1),
    case("--concurrency 8 --requests 40", near("e2e:p50", 200), together(8), rate("ok", 40, 0.2), seconds=2),
    case("--concurrency 8 --requests 200", rate("ok", 40), rate("ok_output_tokens", 640), seconds=6),
    case("--rate 10 --requests 20", rate("ok", 10, 0.15), seconds=3),
    case(
        "--rate 20 --duration 4s --slo 'requests>=19/s' --slo 'error<1%' --slo 'goodput>=95%'",
        slo("requests>=19/s", True),
        slo("error<1%", True),
        slo("goodput>=95%", True),
    ),
)
async def base(call: Call) -> None:
    await call.answer()


@timing(
    "Head and events before the first token are there at once, the first token after 300 ms.",
    case(CLOSED, near("ttfb:p50", 0), near("ttfe:p50", 0), near("ttft:p50", 300), near("e2e:p50", 450)),
)
async def created_early(call: Call) -> None:
    await call.answer(Answer(tokens(first=0.3)))


@timing(
    "The head comes after 150 ms, the first event after 200 ms, the first token after 250 ms.",
    case(CLOSED, near("ttfb:p50", 150), near("ttfe:p50", 200), near("ttft:p50", 250)),
)
async def late_head(call: Call) -> None:
    await call.answer(Answer(tokens(first=0.25), head=0.15, created=0.2))


@timing(
    "The head comes after 600 ms.",
    case("--rate 20 --duration 3s --slo 'goodput>=19/s' --slo 'ttft<1s'", rate("ok", 20), slo("goodput>=19/s", True)),
    case("--concurrency 4 --duration 4s", near("ttfb:p50", 600), near("ttft:p50", 600)),
)
async def slow_head(call: Call) -> None:
    await call.answer(Answer(tokens(4, first=0.6), head=0.6))


@timing(
    "Tokens come over 650 ms.",
    case(
        "--rate 20 --duration 4s --slo 'requests>=19/s' --slo 'error<1%'", rate("ok", 20), slo("requests>=19/s", True)
    ),
)
async def slow_body(call: Call) -> None:
    await call.answer(Answer(tokens(13, gap=0.05)))


@timing("Empty deltas from 50 ms on, the first that is not empty after 200 ms.", case(CLOSED, near("ttft:p50", 200)))
async def empty_deltas(call: Call) -> None:
    empty = tuple(Delta(0.05 + 0.01 * number, "") for number in range(10))
    await call.answer(Answer(empty + tokens(8, first=0.2), Usage(8)))


@timing(
    "Reasoning from 50 ms on, text from 500 ms on.",
    case(CLOSED, near("ttft:p50", 50), near("ttfo:p50", 500), near("e2e:p50", 570)),
)
async def reasoning_first(call: Call) -> None:
    await call.answer(Answer(tokens(8, gap=0.05, kind=Kind.REASONING) + tokens(8, first=0.5)))


@timing("A refusal, the first piece after 50 ms.", case(CLOSED, near("ttft:p50", 50), near("ttfo:p50", 50)))
async def refusal(call: Call) -> None:
    await call.answer(Answer(tokens(kind=Kind.REFUSAL)))


@timing(
    "A function call, the first piece of its arguments after 100 ms.",
    case(f"{CLOSED} {TOOLS}", near("ttft:p50", 100), near("e2e:p50", 120)),
)
async def tool_call(call: Call) -> None:
    deltas = zip((0.1, 0.11, 0.12), ('{"a"', ": ", "1}"), strict=True)
    await call.answer(Answer(tuple(Delta(at, text, Kind.ARGUMENTS) for at, text in deltas)))


@timing(
    "4 tokens in each of 8 deltas, 40 ms apart.",
    case(CLOSED, near("itl:p50", 40), near("tpot:p50", 10, within=4), rate("ok_output_tokens", 4 / 0.33 * 32)),
)
async def several_tokens(call: Call) -> None:
    await call.answer(Answer(tokens(8, gap=0.04), Usage(32)))


@timing("One token in 4 deltas, 10 ms apart.", case(CLOSED, near("itl:p50", 10), near("tpot:p50", 40)))
async def parts_of_tokens(call: Call) -> None:
    await call.answer(Answer(tokens(32), Usage(8)))


@timing(
    "After 8 tokens nothing for 500 ms, then the other 8 at once.",
    case(CLOSED, near("max_gap:p50", 500), near("e2e:p50", 620), near("tpot:p50", 35, within=10)),
)
async def burst_after_stall(call: Call) -> None:
    await call.answer(Answer(tokens(8) + tokens(8, first=0.62, gap=0)))


@timing("A single delta.", case(CLOSED, near("ttft:p50", 50), missing("tpot"), missing("itl"), missing("max_gap")))
async def one_delta(call: Call) -> None:
    await call.answer(Answer(tokens(1)))


@timing(
    "10,000 deltas in 2 s.",
    case(
        "--concurrency 1 --duration 5s --max-output-tokens 20000",
        near("e2e:p50", 2050, within=100),
        near("tpot:p50", 0.2, within=0.1),
        seconds=7,
        without=("itl",),  # reads join what writes kept apart
    ),
)
async def ten_thousand_deltas(call: Call) -> None:
    await call.answer(call.shared(lambda: Answer(tokens(10_000, gap=0.0002))))


@timing("The terminal event comes 300 ms after the last token.", case(CLOSED, near("tail:p50", 300)))
async def late_end(call: Call) -> None:
    await call.answer(Answer(tokens(), ends_at=0.5))


@timing("Tokens come after 5 and 25 ms in turn.", case(CLOSED, near("itl:p90", 25), near("tpot:p50", 15, within=5)))
async def uneven(call: Call) -> None:
    times = [0.05]
    for number in range(16):
        times.append(times[-1] + (0.025 if number % 2 else 0.005))
    await call.answer(Answer(tuple(Delta(at, "w ") for at in times)))


@timing("Each gap is 5 ms longer than the one before.", case(CLOSED, near("max_gap:p50", 80), near("e2e:p50", 730)))
async def slower_and_slower(call: Call) -> None:
    times = [0.05]
    for number in range(1, 17):
        times.append(times[-1] + 0.005 * number)
    await call.answer(Answer(tuple(Delta(at, "w ") for at in times)))


@timing(
    "Text is in `done` events only.",
    case(
        CLOSED,
        missing("ttft"),
        missing("itl"),
        near("e2e:p50", 200),
        without=("outcomes", "exit code", "ok rate", "token rate"),
    ),
)
async def no_deltas(call: Call) -> None:
    await call.answer(Answer(deltas_sent=False))


@timing("The clock of the server is an hour ahead.", case(CLOSED, *BASE))
async def clock_ahead(call: Call) -> None:
    await call.answer(Answer(created_at=1_900_000_000))


@timing("The clock of the server is at zero.", case(CLOSED, *BASE))
async def clock_at_zero(call: Call) -> None:
    await call.answer(Answer(created_at=0), headers=("Date: Thu, 01 Jan 1970 00:00:00 GMT",))


@timing(
    "A plain JSON body after 200 ms.",
    case(
        f"{CLOSED} --slo 'e2e<400ms' --slo 'goodput>=95%'",
        near("e2e:p50", 200),
        missing("ttft"),
        rate("ok", 20),
        slo("goodput>=95%", True),
        bodies=({"input": "Hello.", "stream": False},),
    ),
)
async def plain_json(call: Call) -> None:
    await call.answer()


@timing(
    "A response in the background that is there after 700 ms.",
    case(
        "--concurrency 2 --duration 4s",
        near("e2e:p50", 800, within=100),
        profile='[[requests]]\nname = "late"\nprompt = "Hello."\nbackground = { poll = 0.2 }\n',
        without=("ttfb", "ttfe", "e2e", "ok rate", "token rate", "nothing after the end"),
    ),
)
async def background(call: Call) -> None:
    await call.answer(Answer(tokens(2, first=0.6, gap=0.1)))

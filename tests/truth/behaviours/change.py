"""Servers that change while they are under load."""

from __future__ import annotations

from functools import partial

from tests.truth.answers import Answer, tokens
from tests.truth.expect import case, code, departs, near, rate, requests, share, slo
from tests.truth.server import Call, behaviour

change = partial(behaviour, "change")


@change(
    "The server is silent from 2 to 4 s: what comes then is answered after it.",
    case(
        "--rate 25 --duration 8s --slo 'ttft:p90<300ms'",
        rate("started", 25, 0.03),
        departs("queue", "drift", "change", "beginning"),
        slo("ttft:p90<300ms", False),
        seconds=9,
    ),
    case("--concurrency 1 --duration 6s", near("ttft:p50", 50), seconds=7),
)
async def pause(call: Call) -> None:
    if 2 <= call.since_start < 4:
        call.base = call.server.seen[0].at + 4
    await call.answer(Answer(tokens(4)))


@change(
    "The first 20 requests take 1 s, the others 50 ms.",
    case("--concurrency 4 --duration 9s", near("ttft:p50", 50), departs("beginning"), seconds=10),
    case("--concurrency 4 --duration 4s --warm-up 30", near("ttft:p50", 50), near("ttft:p90", 50), seconds=13),
)
async def warm_up(call: Call) -> None:
    await call.answer(Answer(tokens(first=1.0 if call.number < 20 else 0.05)))


@change(
    "Each request takes 4 ms longer than the one before.",
    case("--rate 20 --duration 6s", near("ttft:p50", 290), departs("drift", "queue"), seconds=8),
)
async def drift(call: Call) -> None:
    await call.answer(Answer(tokens(4, first=0.05 + 0.004 * call.number)))


@change(
    "From 3 s on the first token takes 500 ms instead of 50.",
    case("--rate 20 --duration 6s", near("ttft:p90", 500), departs("change"), seconds=7),
)
async def slow_half_way(call: Call) -> None:
    await call.answer(Answer(tokens(4, first=0.05 if call.since_start < 3 else 0.5)))


@change(
    "From 2 s on every request is refused with 500.",
    case(
        "--rate 20 --duration 4s --slo 'error<60%'",
        share("http_5xx", 0.5, 0.05),
        slo("error<60%", True),
        departs("change"),
        seconds=5,
    ),
    case("--concurrency 4 --duration 4s", near("ttft:p50", 50), departs("change"), seconds=5),
    case("--rate 20 --duration 20s --abort-on 'error>30%'", requests(50, 160), code(1), without=("steady",), seconds=7),
)
async def bad_half_way(call: Call) -> None:
    if call.since_start < 2:
        await call.answer()
    else:
        call.refuse(500)


@change(
    "From 2 s on nothing is answered.",
    case(
        "--rate 10 --duration 4s --timeout 3s --slo 'error<10%'",
        slo("error<10%", False),
        departs("queue", "change"),
        seconds=9,
    ),
)
async def silent_half_way(call: Call) -> None:
    if call.since_start >= 2:
        await call.hang()
    await call.answer()

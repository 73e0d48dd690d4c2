"""Servers with a capacity: slots, queues, limits, service times that depend on the load."""

from __future__ import annotations

import asyncio
import random
import time
from functools import partial

from tests.truth.answers import Answer, tokens
from tests.truth.expect import case, departs, highest, knee, near, not_below, rate, share, slo
from tests.truth.server import Call, behaviour

capacity = partial(behaviour, "capacity")
SERVICE = Answer(tokens(15))
"""190 ms of service."""


async def served(call: Call, slots: asyncio.Semaphore, answer: Answer = SERVICE) -> None:
    """Answer once a slot is free."""
    async with slots:
        call.base = time.monotonic()
        await call.answer(answer)


@capacity(
    "4 slots of 190 ms: 21.05 requests/s.",
    case("--concurrency 4 --duration 4s", near("e2e:p50", 190), rate("ok", 20.5, 0.1)),
    case(
        "--concurrency 8 --duration 5s",
        near("e2e:p50", 380),
        near("ttft:p50", 240),
        rate("ok", 20.5, 0.1),
    ),
    case(
        "--rate 26 --duration 6s --slo 'e2e:p99<3s' --slo 'error<1%'",
        rate("started", 26, 0.05),
        rate("ok", 20.5, 0.1),
        slo("error<1%", True),
        departs("queue", growth=5.5),
        seconds=9,
    ),
    case(
        "--rate 60 --duration 5s --slo 'e2e:p90<3s'",
        slo("e2e:p90<3s", False),
        departs("queue", growth=39),
        not_below("e2e:p90", 8500),
        seconds=20,
    ),
    case("--find-rate 15..30 --slo 'e2e:p99<3s' --duration 4s", highest(0.95, 21.06, slots=4), seconds=300),
    case("--find-rate 15..30 --slo 'e2e:p99<400ms' --duration 4s", highest(0.85, 21.06, slots=4), seconds=300),
    case("--find-concurrency 4..16 --slo 'e2e:p90<500ms' --duration 4s", highest(7, 10), seconds=300),
    case("--sweep 1,2,4,8 --duration 3s", knee(4), seconds=16),
)
async def queue4(call: Call) -> None:
    await served(call, call.shared(lambda: asyncio.Semaphore(4)))


@capacity("One slot of 50 ms.", case("--concurrency 4 --duration 3s", near("e2e:p50", 200), rate("ok", 19, 0.12)))
async def queue1(call: Call) -> None:
    await served(call, call.shared(lambda: asyncio.Semaphore(1)), Answer(tokens(2, first=0.04)))


@capacity(
    "4 slots and 4 places to wait; others are refused with 503.",
    case("--rate 60 --duration 3s", share("http_5xx", 0.62, 0.1), rate("ok", 20.5, 0.1)),
    case("--rate 15 --duration 4s", rate("ok", 15)),
)
async def bounded_queue(call: Call) -> None:
    slots = call.shared(lambda: asyncio.Semaphore(4))
    waiting = len(slots._waiters or ())
    if waiting >= 4:
        call.refuse(503)
        return
    await served(call, slots)


@capacity(
    "The gap between tokens grows with the requests in flight: 2 ms for each.",
    case("--concurrency 2 --duration 3s", near("itl:p50", 4, within=5)),
    case("--concurrency 8 --duration 4s", near("itl:p50", 16, within=6)),
)
async def grows_with_load(call: Call) -> None:
    load = call.shared(lambda: [0])
    load[0] += 1
    try:
        await call.answer(Answer(tokens(gap=0.002 * load[0])))
    finally:
        load[0] -= 1


@capacity(
    "More than 10 requests in a second are refused with 429.",
    case("--rate 20 --duration 4s", share("http_429", 0.5, 0.06), rate("ok", 10, 0.15)),
    case("--rate 8 --duration 4s --slo 'error<1%'", rate("ok", 8), slo("error<1%", True)),
)
async def limit_of_10(call: Call) -> None:
    admitted = call.shared(list[float])
    admitted[:] = [at for at in admitted if at > call.at - 1]
    if len(admitted) >= 10:
        call.refuse(429, "Retry-After: 1")
        return
    admitted.append(call.at)
    await call.answer()


@capacity(
    "Requests are admitted each 200 ms.",
    case("--rate 20 --duration 4s", near("e2e:p50", 250, within=40), rate("ok", 20)),
)
async def batches(call: Call) -> None:
    call.base = call.server.seen[0].at + 0.2 * (1 + call.since_start // 0.2)
    await call.answer(Answer(tokens(11)))


@capacity(
    "2 slots, with service times drawn from a seed.",
    case("--rate 8 --duration 6s --arrivals poisson", rate("ok", 8, 0.35), seconds=7),
)
async def drawn_service(call: Call) -> None:
    slots, dice = call.shared(lambda: (asyncio.Semaphore(2), random.Random(7)))
    await served(call, slots, Answer(tokens(10, first=dice.uniform(0.02, 0.2))))


@capacity(
    "Every 2nd answer takes 100 ms, the others 500 ms.",
    case("--concurrency 4 --duration 4s", near("e2e:p90", 500), rate("ok", 4 / 0.3, 0.1)),
    case("--rate 10 --duration 4s --slo 'e2e<300ms' --slo 'goodput>=90%'", slo("goodput>=90%", False)),
)
async def bimodal(call: Call) -> None:
    await call.answer(Answer(tokens(6, first=0.05 if call.number % 2 else 0.45)))


@capacity("One in ten takes 1 s.", case("--rate 20 --duration 5s", near("e2e:p50", 100), near("e2e:p95", 1000)))
async def one_in_ten(call: Call) -> None:
    await call.answer(Answer(tokens(6, first=0.05 if call.number % 10 else 0.95)))


@capacity(
    "Every 5th answer is healthy and takes 7 s.",
    case(
        "--rate 10 --duration 3s --slo 'e2e:p90<1s'",
        not_below("e2e:p90", 7000),
        slo("e2e:p90<1s", False),
        seconds=11,
    ),
)
async def slow_fifth(call: Call) -> None:
    await call.answer(Answer(tokens(6)) if call.number % 5 else Answer(tokens(60, gap=0.118)))


@capacity(
    "Healthy streams of 13 s, longer than the run.",
    case(
        "--concurrency 4 --duration 2s",
        near("ttft:p50", 50),
        near("e2e:p50", 13000),
        near("itl:p50", 205),
        seconds=16,
    ),
)
async def longer_than_the_run(call: Call) -> None:
    await call.answer(Answer(tokens(64, gap=12.95 / 63)))

"""Answers that are refused, fail, break off or never come."""

from __future__ import annotations

import time
from functools import partial

from tests.truth.answers import Answer, End, Piece, pieces, response_object, tokens
from tests.truth.expect import case, code, departs, missing, near, not_below, requests, share, silent, slo
from tests.truth.server import Call, Fate, behaviour

outcomes = partial(behaviour, "outcomes")
CLOSED = "--concurrency 4 --duration 3s"


def every(call: Call, number: int) -> bool:
    """Return whether this is every so many-th create."""
    return call.number % number == number - 1


@outcomes(
    "Every 5th request gets a head and `response.created`, and then nothing.",
    case(
        "--rate 10 --duration 4s --timeout 4s --slo 'ttft:p90<300ms' --slo 'error<1%' --slo 'goodput>=95%'",
        share("error", 0.2),
        slo("ttft:p90<300ms", None),
        slo("error<1%", False),
        slo("goodput>=95%", False),
        code(1),
        silent("40 of 40"),
        departs("queue", growth=2),
        seconds=8,
    ),
    case("--concurrency 5 --requests 20 --timeout 3s", share("error", 0.2), not_below("e2e:p90", 3000), seconds=8),
)
async def hang(call: Call) -> None:
    await call.answer(most=0 if every(call, 5) else None)
    if call.seen.end is None:
        await call.hang()


@outcomes(
    "No request gets anything.",
    case("--concurrency 4 --duration 2s --timeout 2s", not_below("ttfb:p50", 2000), code(1, 2), seconds=4),
    case("--rate 10 --duration 2s --timeout 3s --slo 'error<1%'", slo("error<1%", False), code(1, 2), seconds=5),
)
async def hang_all(call: Call) -> None:
    await call.hang()


@outcomes(
    "Every 4th stream stops after 8 tokens and stays open.",
    case("--concurrency 4 --duration 4s --timeout 2s", near("ttft:p50", 50), near("ttft:p90", 50), seconds=7),
)
async def hang_in_stream(call: Call) -> None:
    await call.answer(most=8 if every(call, 4) else None)
    if call.seen.end is None:
        await call.hang()


@outcomes(
    "Every 4th request is worked on for 300 ms, then its connection is reset without a byte.",
    case("--concurrency 4 --requests 80", share("transport", 0.25, 0.001), code(1)),
    case("--concurrency 1 --duration 4s --slo 'error<1%'", slo("error<1%", False), code(1)),
)
async def reset_quarter(call: Call) -> None:
    if not every(call, 4):
        await call.answer()
        return
    await call.until(0.3)
    call.reset()


@outcomes(
    "Every 2nd connection is reset at once.", case("--concurrency 4 --requests 40", share("transport", 0.5, 0.001))
)
async def reset_before_head(call: Call) -> None:
    if every(call, 2):
        call.reset()
    else:
        await call.answer()


@outcomes(
    "Every 2nd connection is closed at once.", case("--concurrency 4 --requests 40", share("transport", 0.5, 0.001))
)
async def close_before_head(call: Call) -> None:
    if every(call, 2):
        call.close(Fate.TRANSPORT)
    else:
        await call.answer()


@outcomes("Every 4th connection is reset after the head.", case(CLOSED, share("transport", 0.25)))
async def reset_after_head(call: Call) -> None:
    if not every(call, 4):
        await call.answer()
        return
    call.head()
    await call.until(0.1)
    call.reset()


@outcomes("Every 4th connection is reset after 8 tokens.", case(CLOSED, share("transport", 0.25), near("ttft:p90", 50)))
async def reset_in_stream(call: Call) -> None:
    await call.answer(most=8 if every(call, 4) else None)
    if call.seen.end is None:
        call.reset()


@outcomes("Every 4th connection is closed after 8 tokens.", case(CLOSED, share("transport", 0.25)))
async def close_in_stream(call: Call) -> None:
    await call.answer(most=8 if every(call, 4) else None)
    if call.seen.end is None:
        call.close(Fate.TRANSPORT)


@outcomes("Every 4th body ends after 8 tokens without a terminal event.", case(CLOSED, share("truncated", 0.25)))
async def no_terminal_event(call: Call) -> None:
    await call.answer(most=8 if every(call, 4) else None)
    if call.seen.end is None:
        call.seen.fate, call.seen.gone = Fate.TRUNCATED, time.monotonic()
        call.write(b"0\r\n\r\n")


@outcomes("Every 4th response fails after 8 tokens.", case(CLOSED, share("failed", 0.25)))
async def failed(call: Call) -> None:
    await call.answer(Answer(tokens(8), end=End.FAILED) if every(call, 4) else Answer())


@outcomes("Every 4th stream has an error event.", case(CLOSED, share("failed", 0.25)))
async def error_event(call: Call) -> None:
    await call.answer(Answer(tokens(8), end=End.ERROR) if every(call, 4) else Answer())


@outcomes(
    "A content filter cuts every 2nd response.",
    case(f"{CLOSED} --slo 'output_tokens>250/s'", share("incomplete", 0.5, 0.05), slo("output_tokens>250/s", False)),
)
async def incomplete_by_filter(call: Call) -> None:
    await call.answer(Answer(end=End.CUT_BY_FILTER) if every(call, 2) else Answer())


@outcomes("`max_output_tokens` cuts every response.", case(f"{CLOSED} --max-output-tokens 16", near("e2e:p50", 200)))
async def incomplete_by_limit(call: Call) -> None:
    await call.answer(Answer(end=End.CUT_BY_LIMIT))


@outcomes(
    "Every 3rd request is refused at once with 429 and a Retry-After of 1 s.",
    case("--rate 20 --duration 3s --slo 'http_429<50%'", share("http_429", 0.333), slo("http_429<50%", True), code(0)),
    case("--concurrency 4 --requests 60", share("http_429", 0.333, 0.001), code(1)),
)
async def refused_429(call: Call) -> None:
    if every(call, 3):
        call.refuse(429, "Retry-After: 1")
    else:
        await call.answer()


@outcomes(
    "All requests are refused with 429.",
    case(CLOSED, missing("ttft"), missing("e2e"), share("http_429", 1), requests(4, 200)),
)
async def refused_all(call: Call) -> None:
    call.refuse(429, "Retry-After: 1")


@outcomes(
    "Every 4th request is refused with 503 after 100 ms.", case(CLOSED, share("http_5xx", 0.25), near("e2e:p90", 200))
)
async def refused_503(call: Call) -> None:
    if every(call, 4):
        await call.until(0.1)
        call.refuse(503)
    else:
        await call.answer()


@outcomes("Every 4th request is refused with 400.", case("--rate 20 --duration 3s", share("http_4xx", 0.25)))
async def refused_400(call: Call) -> None:
    if every(call, 4):
        call.refuse(400)
    else:
        await call.answer()


@outcomes(
    "Every 2nd reply has status 200 and an error as its body.",
    case(CLOSED, share("nonconforming", 0.5, 0.06), without=("failed_latency",)),
)
async def error_with_200(call: Call) -> None:
    if every(call, 2):
        call.refuse(200, fate=Fate.NONCONFORMING)
    else:
        await call.answer()


@outcomes(
    "All replies have status 200 and an error as their body.",
    case(CLOSED, share("nonconforming", 1), requests(4, 200), without=("failed_latency",)),
)
async def error_with_200_all(call: Call) -> None:
    call.refuse(200, fate=Fate.NONCONFORMING)


@outcomes(
    "Every reply is a redirect.", case(CLOSED, share("nonconforming", 1), requests(4, 200), without=("failed_latency",))
)
async def redirect(call: Call) -> None:
    call.reply(307, {}, "Location: /elsewhere", fate=Fate.NONCONFORMING)


@outcomes(
    "Every 2nd stream is sent twice.",
    case(
        CLOSED,
        share("nonconforming", 0.5, 0.06),
        near("ttft:p50", 50),
        without=("itl", "max_gap", "tail", "tpot", "tokens", "in flight"),
    ),
)
async def sent_twice(call: Call) -> None:
    answer = Answer()
    twice = every(call, 2)
    await call.answer(answer, ended=not twice, fate=Fate.NONCONFORMING if twice else None)
    if twice:
        call.base += 0.25
        await call.play([Piece(piece.at, piece.data) for piece in pieces(answer, call.body, call.number)])
        call.write(b"0\r\n\r\n")


@outcomes(
    "The server closes after 20 answers and accepts nobody.",
    case(
        "--concurrency 2 --duration 20s --timeout 5s",
        without=("outcomes", "started", "nothing after the end", "ttft", "ttfo", "e2e", "steady"),
        seconds=10,
    ),
)
async def dies(call: Call) -> None:
    if call.number < 20:
        await call.answer()
    else:
        call.server.refuse_connections()
        call.reset()


@outcomes("A stream request gets a whole JSON body.", case(CLOSED, share("nonconforming", 1), missing("ttft")))
async def json_for_stream(call: Call) -> None:
    call.seen.answer = answer = Answer()
    await call.until(answer.done_at)
    call.reply(200, response_object(call.body, answer, "completed", []), fate=Fate.NONCONFORMING)

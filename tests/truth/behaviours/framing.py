"""How the bytes of a whole answer are cut and framed."""

from __future__ import annotations

import asyncio
from functools import partial

from tests.truth.answers import Answer, pieces, tokens
from tests.truth.expect import case, missing, near, rate
from tests.truth.server import Call, Fate, behaviour

framing = partial(behaviour, "framing")
CLOSED = "--concurrency 4 --duration 3s"
BASE = (near("ttft:p50", 50), near("itl:p50", 10), near("e2e:p50", 200))


@framing("Lines end with CRLF.", case(CLOSED, *BASE))
async def crlf(call: Call) -> None:
    await call.answer(framing=lambda data: data.replace(b"\n", b"\r\n"))


@framing("Lines end with CR.", case(CLOSED, *BASE))
async def cr(call: Call) -> None:
    await call.answer(framing=lambda data: data.replace(b"\n", b"\r"))


@framing(
    "The whole answer comes in one segment after 200 ms.",
    case(CLOSED, near("ttft:p50", 200), near("e2e:p50", 200), missing("itl"), missing("tpot"), rate("ok", 20)),
)
async def one_segment(call: Call) -> None:
    await call.answer(whole=True)


@framing("A comment each 10 ms until the first token after 200 ms.", case(CLOSED, near("ttft:p50", 200)))
async def comments(call: Call) -> None:
    call.head()
    for number in range(20):
        await call.until(0.01 * number)
        call.write(b"d\r\n: keep-alive\n\r\n")
    await call.play(pieces(Answer(tokens(first=0.2), created=0.2), call.body, call.number))
    call.seen.answer, call.seen.fate = Answer(tokens(first=0.2)), Fate.OK
    call.write(b"0\r\n\r\n")


@framing("The first delta is cut in the middle of its line for 100 ms.", case(CLOSED, near("ttft:p50", 150)))
async def cut_delta(call: Call) -> None:
    call.seen.answer = answer = Answer(tokens(first=0.15))
    found = pieces(answer, call.body, call.number)
    first = next(place for place, piece in enumerate(found) if "content" in piece.marks)
    call.head()
    await call.play(found[:first])
    await call.until(0.05)
    half = len(found[first].data) // 2
    call.write(b"%x\r\n%s\r\n" % (half, found[first].data[:half]))
    await call.until(0.15)
    rest = found[first].data[half:]
    call.write(b"%x\r\n%s\r\n" % (len(rest), rest))
    call.note(list(found[first].marks))
    await call.play(found[first + 1 :])
    call.seen.fate = Fate.OK
    call.write(b"0\r\n\r\n")


@framing("The connection is closed after each reply, which says so.", case(CLOSED, *BASE, rate("ok", 20)))
async def closes_announced(call: Call) -> None:
    await call.answer(headers=("Connection: close",))
    call.close(None)


@framing("The body ends with the connection.", case(CLOSED, *BASE, rate("ok", 20)))
async def ends_with_connection(call: Call) -> None:
    await call.answer(headers=("Connection: close",), chunked=False)
    call.close(None)


@framing(
    "The connection is closed after each reply, which does not say so.",
    # A request that meets the end of its connection is lost, and never sent again.
    case(
        CLOSED,
        missing("failed_latency"),
        without=("outcomes", "exit code", "started", "ttfb", "ttfe", "ttft", "ttfo", "e2e"),
    ),
)
async def closes_unannounced(call: Call) -> None:
    await call.answer()
    await asyncio.sleep(0.001)
    call.close(None)


@framing("Each event is cut into chunks of 20 bytes.", case(CLOSED, *BASE))
async def small_chunks(call: Call) -> None:
    await call.answer(chunked=False, headers=("Transfer-Encoding: chunked",), framing=_in_small_chunks)
    call.write(b"0\r\n\r\n")


def _in_small_chunks(data: bytes) -> bytes:
    parts = (data[place : place + 20] for place in range(0, len(data), 20))
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)


@framing("Data is spread over two `data` lines.", case(CLOSED, *BASE))
async def two_data_lines(call: Call) -> None:
    await call.answer(framing=lambda data: data.replace(b',"sequence_number"', b',\ndata: "sequence_number"'))


@framing(
    "The terminal event comes after 200 ms, but the body has no end.",
    case(
        "--concurrency 4 --duration 3s --timeout 2s",
        near("ttft:p50", 50),
        near("e2e:p50", 200),
        without=("outcomes", "exit code", "ok rate", "token rate", "concurrency kept"),
        seconds=6,
    ),
)
async def no_end(call: Call) -> None:
    call.seen.stays_open = True
    await call.answer(ended=False)
    await call.hang()

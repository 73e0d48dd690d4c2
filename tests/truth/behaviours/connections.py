"""What connections cost."""

from __future__ import annotations

from functools import partial

from tests.truth.answers import Answer, tokens
from tests.truth.expect import Expectation, case, near
from tests.truth.server import Call, behaviour
from tests.truth.truth import Met

connections = partial(behaviour, "connections")


def _little(met: Met) -> str:
    """By Little's law the mean latency is requests in flight by throughput."""
    assert met.concurrency is not None
    found = met.reported("e2e", "mean")
    first, last = met.seen[0].at, max(one.over or 0.0 for one in met.seen)
    truth = met.concurrency * (last - first) / len(met.seen)
    if found is None or not 0.75 * truth <= found.seconds <= 1.25 * truth:
        return f"the mean E2E latency is {found}, by Little's law {1e3 * truth:.0f} ms"
    return ""


@connections(
    "One connection is accepted at a time, each after 100 ms, and closed after its answer.",
    case(
        "--concurrency 4 --duration 8s",
        Expectation("mean e2e by Little's law", _little, timed=True),
        without=(
            "ttfb",
            "ttfe",
            "ttft",
            "ttfo",
            "e2e",
            "nothing after the end",
            "in flight",
            "concurrency kept",
        ),  # the log does not know when the client began
        seconds=12,
    ),
    slow_accept=0.1,
)
async def slow_accept(call: Call) -> None:
    await call.answer(Answer(tokens(3, gap=0.02)), headers=("Connection: close",))
    call.close(None)


@connections(
    "The first request of each connection waits for 200 ms.",
    case("--concurrency 4 --requests 100", near("ttft:p50", 50), near("ttft:max", 250), seconds=6),
)
async def first_of_connection_slow(call: Call) -> None:
    await call.answer(Answer(tokens(4, first=0.25 if call.seen.connected else 0.05)))

"""A sandbox in this process as an httpx transport, for endpoints that tests give to a state machine."""

from __future__ import annotations

from collections.abc import Callable

import httpx

from rejoinder.conformance.running.in_process import ManualClock
from rejoinder.model.exchange import Request
from rejoinder.sandbox import Sandbox

Watch = Callable[[Request], object]
Refuse = Callable[[httpx.Request], httpx.Response | None]


def reach(
    sandbox: Sandbox,
    clock: ManualClock,
    watch: Watch = lambda request: None,
    refuse: Refuse = lambda request: None,
) -> httpx.MockTransport:
    """Return a transport to a sandbox in this process; replies let time pass on its clock only."""

    async def answer(request: httpx.Request) -> httpx.Response:
        headers = tuple((name.lower(), value) for name, value in request.headers.items())
        sent = Request(request.method, request.url.raw_path.decode("ascii"), headers, request.content)
        watch(sent)
        if (refusal := refuse(request)) is not None:
            return refusal
        reply = sandbox.handle(sent)
        pieces = list(reply.chunks)
        clock.elapse(0.02 + sum(piece.delay for piece in pieces))
        return httpx.Response(reply.status, headers=list(reply.headers), content=b"".join(p.data for p in pieces))

    return httpx.MockTransport(answer)

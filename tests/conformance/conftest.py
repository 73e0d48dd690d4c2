"""A sandbox behind an httpx transport, and runs against it without a network."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from rejoinder.model.exchange import Exchange, Request
from rejoinder.sandbox import Sandbox
from rejoinder.wire.client import Client
from rejoinder.wire.target import Target

if TYPE_CHECKING:  # Hypothesis wants to be loaded after pytest has configured itself
    from rejoinder.conformance.running.engine import CheckRun
    from rejoinder.conformance.running.plan import Plan

Answer = Callable[[httpx.Request], Coroutine[None, None, httpx.Response]]


@pytest.fixture
def answering() -> Callable[..., Answer]:
    """Return a function that makes what answers requests as the sandbox does with some faults."""

    def make(*faults: str) -> Answer:
        sandbox = Sandbox("northstar", faults)

        async def answer(request: httpx.Request) -> httpx.Response:
            headers = tuple((name.lower(), value) for name, value in request.headers.items())
            path = request.url.raw_path.decode("ascii")
            reply = sandbox.handle(Request(request.method, path, headers, request.content))
            content = b"".join(piece.data for piece in reply.chunks)
            return httpx.Response(reply.status, headers=list(reply.headers), content=content)

        return answer

    return make


@pytest.fixture
def conducted() -> Callable[..., CheckRun]:
    """Return a function that lets ``work`` send what it wants to an endpoint that answers so, and returns the run."""
    from rejoinder.conformance.running.engine import CheckRun
    from rejoinder.conformance.running.plan import Plan

    def run(
        answer: Answer, work: Callable[[CheckRun], Awaitable[None]], *, plan: Plan | None = None, **settings: Any
    ) -> CheckRun:
        async def go() -> CheckRun:
            target = Target(url="http://sandbox/v1/responses", model="parrot")
            async with Client(target.url, transport=httpx.MockTransport(answer)) as client:
                sender = CheckRun(client, target, plan or Plan("test", ()), **settings)
                await work(sender)
                return sender

        return asyncio.run(go())

    return run


@pytest.fixture
def fires() -> Callable[..., bool | None]:
    """Return a function that says whether a rule has findings; ``None`` when it had nothing to judge."""

    def look(rule: str, *exchanges: Exchange, dialect: str = "northstar") -> bool | None:
        from rejoinder.conformance.judgement import judge

        [verdict] = judge(list(exchanges), dialect, select=rule)
        assert verdict.status.value != "error", verdict.reason
        return bool(verdict.findings) if verdict.judged else None

    return look

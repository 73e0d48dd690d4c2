"""The endpoint that a state machine talks to: how requests reach it, and which operations it has."""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx

from rejoinder.conformance.running.case import TINY, final_response, output_of, unknown_id, user
from rejoinder.contract import Dialect, load_dialect
from rejoinder.model.exchange import Exchange
from rejoinder.model.tags import Tag, sent_for
from rejoinder.wire.client import Client, ClientOptions
from rejoinder.wire.request_options import RequestOptions
from rejoinder.wire.target import Target, find_target

Result = TypeVar("Result")

ASGIApp = Callable[..., Awaitable[None]]
Endpoint = str | httpx.AsyncBaseTransport | ASGIApp
"""A URL, an ASGI application, or an ``httpx`` transport that reaches an endpoint in another way."""

_IN_PROCESS: Final = "http://rejoinder.invalid"
"""The address of an endpoint that is no URL."""
_LATE: Final = 2.0
"""Seconds after which a continuation that was refused is sent once more."""
_LACKING: Final = (404, 405, 501)
DELETED: Final = (200, 202, 204)
"""The statuses with which an endpoint deletes."""


class EndpointConnection:
    """Sends requests one after the other, on an event loop of its own, and counts them.

    ``sleep`` is called with seconds to let pass. Nothing is sent before :meth:`open`.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        dialect: str | Path | Dialect,
        model: str | None = None,
        key: str | None = None,
        request: RequestOptions | None = None,
        deadline: float = 60.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.dialect = dialect if isinstance(dialect, Dialect) else load_dialect(dialect)
        self.deadline = deadline
        self.sleep = sleep
        self.sent = 0
        self._endpoint = endpoint
        self._model = model
        self._key = key
        self._request = request or RequestOptions()
        self._runner: asyncio.Runner | None = None
        self._client: Client | None = None
        self._target: Target | None = None

    @property
    def target(self) -> Target:
        """The endpoint as it was found by :meth:`open`."""
        assert self._target is not None, "open() comes first"
        return self._target

    def open(self) -> None:
        """Find the endpoint, once.

        Raises what :func:`~rejoinder.wire.target.find_target` raises where there is none.
        """
        if self._target is None:
            self._run(self._find())

    def close(self) -> None:
        """Close the event loop; a later request opens another one."""
        if self._runner is not None:
            self._runner.close()
        self._runner = self._client = None

    def send(
        self, method: str, path: str, body: Any = None, *, id: str, role: str, tags: Iterable[str] = ()
    ) -> Exchange:
        """Send one request and return what came back. Nothing that the endpoint does raises."""
        self.sent += 1
        headers = (("content-type", "application/json"),) if body is not None else ()
        return self._run(
            self._connected().send(
                method, path, body, headers=headers, id=id, role=role, tags=tags, deadline=self.deadline
            )
        )

    def operation_path(self, name: str, response_id: str = "", query: str = "") -> tuple[str, str]:
        """Return method and path of an operation of the dialect, with the query."""
        operation = self.dialect.operations[name]
        below = operation.path.partition("/responses")[2]
        steps = [step for step in below.split("/") if step]
        path = self.target.path(*(response_id if step == "{response_id}" else step for step in steps))
        if query:
            path += ("&" if "?" in path else "?") + query
        return operation.method, path

    def _run(self, work: Coroutine[Any, Any, Result]) -> Result:
        if self._runner is None:
            self._runner = asyncio.Runner()
            weakref.finalize(self, _close, self._runner)
        return self._runner.run(work)

    def _connected(self) -> Client:
        if self._client is None:
            transport = self._transport()
            url = self._endpoint if isinstance(self._endpoint, str) else _IN_PROCESS
            self._client = Client(url, key=self._key, options=ClientOptions(request=self._request), transport=transport)
        return self._client

    def _transport(self) -> httpx.AsyncBaseTransport | None:
        if isinstance(self._endpoint, str):
            return None
        if isinstance(self._endpoint, httpx.AsyncBaseTransport):
            return self._endpoint
        return httpx.ASGITransport(app=self._endpoint, raise_app_exceptions=False)

    async def _find(self) -> None:
        url = self._endpoint if isinstance(self._endpoint, str) else _IN_PROCESS
        self._target, exchanges = await find_target(
            url,
            key=self._key,
            model=self._model,
            dialect=self.dialect.reference,
            deadline=self.deadline,
            request=self._request,
            client=self._connected(),
        )
        self.sent += len(exchanges)


def _close(runner: asyncio.Runner) -> None:
    with suppress(RuntimeError):  # another loop runs in this thread
        runner.close()


@dataclass(frozen=True)
class Survey:
    """What one request of each kind showed of an endpoint.

    ``supported`` names the operations of the dialect that succeeded, and ``stream``, ``background``, ``continue`` and
    ``reference`` (an item named by its id) where these did. ``controls`` are the exchanges that checks compare others
    with, by role. ``exchanges`` are all, in order.
    """

    supported: frozenset[str]
    controls: Mapping[str, Exchange]
    exchanges: tuple[Exchange, ...]

    def control(self, name: str, role: str) -> list[Exchange]:
        """Return the exchange of that name in another role; nothing where it was not sent."""
        found = self.controls.get(name)
        return [] if found is None else [replace(found, role=role)]


def response_id_of(exchange: Exchange | None) -> str:
    """Return the id of the response that a create request got, the empty string without one."""
    identity = (final_response(exchange) or {}).get("id")
    return identity if isinstance(identity, str) else ""


def survey(connection: EndpointConnection) -> Survey:
    """Send one request of each kind and delete what was created.

    Raises :class:`~rejoinder.errors.RejoinderError` where there is no endpoint.
    """
    connection.open()
    return _Surveyor(connection).run()


class _Surveyor:
    def __init__(self, connection: EndpointConnection) -> None:
        self._connection = connection
        self._exchanges: list[Exchange] = []
        self._controls: dict[str, Exchange] = {}
        self._supported: set[str] = set()

    def run(self) -> Survey:
        created = self._create("created")
        if identity := response_id_of(created):
            self._streams()
            self._continues(created, identity)
            self._operations(identity)
        return Survey(frozenset(self._supported), self._controls, tuple(self._exchanges))

    def _create(self, name: str, tags: tuple[str, ...] = (Tag.VALID,), **fields: Any) -> Exchange:
        target = self._connection.target
        body = target.fit(target.body(**{"input": user("Say hello."), "max_output_tokens": TINY, **fields}))
        return self._send(name, "POST", target.path(), body, tags)

    def _send(self, name: str, method: str, path: str, body: Any = None, tags: tuple[str, ...] = ()) -> Exchange:
        exchange = self._connection.send(method, path, body, id=f"survey/{name}", role=name, tags=tags)
        self._exchanges.append(exchange)
        self._controls[name] = exchange
        return exchange

    def _operation(self, name: str, identity: str) -> Exchange | None:
        if name not in self._connection.dialect.operations:
            return None
        return self._send(name, *self._connection.operation_path(name, identity))

    def _streams(self) -> None:
        streamed = self._create("streamed", stream=True)
        if response_id_of(streamed):
            self._supported.add("stream")

    def _continues(self, created: Exchange, identity: str) -> None:
        if "previous_response_id" not in self._connection.dialect.parameters:
            return
        continued = self._create("continued", (), previous_response_id=identity)
        if not response_id_of(continued):
            self._connection.sleep(_LATE)
            continued = self._create("continued-late", (), previous_response_id=identity)
        if response_id_of(continued):
            self._controls["continued"] = continued
            self._supported.add("continue")
            self._create("unknown", (sent_for("STA-06"),), previous_response_id=unknown_id(identity))
        items = [item["id"] for item in output_of(created) if isinstance(item.get("id"), str)]
        if items and "item_reference" in self._connection.dialect.item_types:
            reference = {"type": "item_reference", "id": items[0]}
            if response_id_of(self._create("reference", (), input=[reference, *user("Go on.")])):
                self._supported.add("reference")

    def _operations(self, identity: str) -> None:
        for name in ("retrieve", "input_items"):
            found = self._operation(name, identity)
            if found is not None and found.ok:
                self._supported.add(name)
        self._background(identity)
        deleted = self._operation("delete", identity)
        if deleted is not None and deleted.status in DELETED:
            self._supported.add("delete")
            for other in [response_id_of(exchange) for exchange in self._exchanges]:
                if other and other != identity:
                    self._connection.send(*self._connection.operation_path("delete", other), id="", role="")

    def _background(self, identity: str) -> None:
        running = identity
        if "background" in self._connection.dialect.parameters and "retrieve" in self._supported:
            background = self._create("background", (), background=True)
            if response_id_of(background):
                self._supported.add("background")
                running = response_id_of(background)
        cancel = self._operation("cancel", running)
        if cancel is not None and cancel.status is not None and cancel.status not in _LACKING:
            self._supported.add("cancel")

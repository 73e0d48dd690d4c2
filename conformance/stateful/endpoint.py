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

from rejoinder.conformance.judging.problems import get
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

Ids = Mapping[str, str] | tuple[str, ...] | str
"""The ids in the path of an operation: by their names, the last ones in their order, or the last one alone."""

_IN_PROCESS: Final = "http://rejoinder.invalid"
"""The address of an endpoint that is no URL."""
LATE: Final = 2.0
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

    def operation_path(self, name: str, ids: Ids = (), query: str = "") -> tuple[str, str]:
        """Return method and path of an operation of the dialect, with the query.

        ``ids`` are the ids in its path: by their names, or the last ones in their order. Raises :class:`ValueError`
        for an id that is missing.
        """
        operation = self.dialect.operations[name]
        if not isinstance(ids, Mapping):
            given = (ids,) if isinstance(ids, str) else ids
            ids = dict(zip(operation.ids[::-1], given[::-1], strict=False))
        collection, below = operation.below(ids)
        path = self.target.path(*below, collection=collection)
        if query:
            path += ("&" if "?" in path else "?") + query
        return operation.method, path

    def parameters(self, name: str) -> frozenset[str]:
        """Return the names of the query parameters that an operation of the dialect has."""
        operation = self.dialect.operations.get(name)
        schema = operation.query if operation is not None else None
        return frozenset((schema or {}).get("properties", {}))

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

    ``supported`` names the operations of the dialect that succeeded, and ``stream``, ``background``, ``continue``,
    ``reference`` (an item named by its id), ``converse`` (a response in a conversation) and ``compact by id`` where
    these did. ``controls`` are the exchanges that checks compare others with, by role. ``exchanges`` are all, in order.
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


def compaction_body(connection: EndpointConnection, **fields: Any) -> dict[str, Any] | None:
    """Return the body of a request to compact; ``None`` where no model is known, or the dialect lacks a field."""
    operation = connection.dialect.operations.get("compact")
    known = ((operation.body if operation is not None else None) or {}).get("properties", {})
    target = connection.target
    model = target.model or next(iter(target.models), None)
    if model is None or not fields.keys() <= known.keys():
        return None
    body: dict[str, Any] = target.fit_input({"model": model, **fields})
    return body


def message(text: str) -> dict[str, Any]:
    """Return a user message as an item of a conversation."""
    return {"type": "message", "role": "user", "content": text}


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
        self._made: list[str] = []

    def run(self) -> Survey:
        created = self._create("created")
        if identity := response_id_of(created):
            self._streams()
            self._continues(created, identity)
            self._compacts(identity)
            self._converses()
            self._operations(identity)
        return Survey(frozenset(self._supported), self._controls, tuple(self._exchanges))

    def _create(self, name: str, tags: tuple[str, ...] = (Tag.VALID,), **fields: Any) -> Exchange:
        target = self._connection.target
        body = target.fit(target.body(**{"input": user("Say hello."), "max_output_tokens": TINY, **fields}))
        exchange = self._send(name, "POST", target.path(), body, tags)
        if identity := response_id_of(exchange):
            self._made.append(identity)
        return exchange

    def _send(self, name: str, method: str, path: str, body: Any = None, tags: tuple[str, ...] = ()) -> Exchange:
        exchange = self._connection.send(method, path, body, id=f"survey/{name}", role=name, tags=tags)
        self._exchanges.append(exchange)
        self._controls[name] = exchange
        return exchange

    def _operation(self, name: str, ids: Ids, body: Any = None) -> Exchange | None:
        if name not in self._connection.dialect.operations:
            return None
        return self._send(name, *self._connection.operation_path(name, ids), body)

    def _succeeds(self, name: str, ids: Ids = (), body: Any = None) -> Exchange | None:
        """Send a request for an operation and return what came back; ``None`` where it did not succeed."""
        exchange = self._operation(name, ids, body)
        if exchange is None or not exchange.ok:
            return None
        self._supported.add(name)
        return exchange

    def _streams(self) -> None:
        streamed = self._create("streamed", stream=True)
        if response_id_of(streamed):
            self._supported.add("stream")

    def _continues(self, created: Exchange, identity: str) -> None:
        if "previous_response_id" not in self._connection.dialect.parameters:
            return
        continued = self._create("continued", (), previous_response_id=identity)
        if not response_id_of(continued):
            self._connection.sleep(LATE)
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

    def _compacts(self, identity: str) -> None:
        body = compaction_body(self._connection, input=user("Say hello."))
        if body is None or self._succeeds("compact", (), body) is None:
            return
        found = self._controls["compact"]
        body = compaction_body(self._connection, previous_response_id=identity)
        if body is not None and self._succeeds("compact", (), body) is not None:
            self._supported.add("compact by id")
        self._controls["compact by id"], self._controls["compact"] = self._controls["compact"], found

    def _converses(self) -> None:
        created = self._succeeds("create_conversation", (), {"items": [message("Hello.")], "metadata": {"topic": "a"}})
        found = created.json() if created is not None else None
        identity = get(found, "id")
        if not isinstance(identity, str):
            self._supported.discard("create_conversation")
            return
        self._succeeds("retrieve_conversation", identity)
        self._succeeds("update_conversation", identity, {"metadata": {"topic": "b"}})
        self._succeeds("list_conversation_items", identity)
        added = self._succeeds("create_conversation_items", identity, {"items": [message("Hello again.")]})
        item = get(added.json(), "data", 0, "id") if added is not None else None
        if isinstance(item, str):
            self._succeeds("retrieve_conversation_item", (identity, item))
            self._succeeds("delete_conversation_item", (identity, item))
        if "conversation" in self._connection.dialect.parameters:
            said = self._create("converse", (), conversation=identity)
            if response_id_of(said):
                self._supported.add("converse")
        self._succeeds("delete_conversation", identity)

    def _operations(self, identity: str) -> None:
        for name in ("retrieve", "input_items"):
            self._succeeds(name, identity)
        self._background(identity)
        deleted = self._operation("delete", identity)
        if deleted is not None and deleted.status in DELETED:
            self._supported.add("delete")
            for other in self._made:
                if other != identity:
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

"""The target: from what a person types to an endpoint that is known to answer.

:func:`find_target` completes the address, picks a model and sends one smallest good request, so that a wrong address,
a missing key or a dead server is reported in one sentence before anything is checked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn
from urllib.parse import quote

from rejoinder.contract import DEFAULT_DIALECT
from rejoinder.errors import NotAnEndpointError, TargetError, UnauthorizedError, UnreachableError
from rejoinder.model.exchange import Exchange, Outcome
from rejoinder.wire.address import candidate_addresses, parse_address
from rejoinder.wire.client import NO_CONNECTION, NO_HANDSHAKE, Client, ClientOptions

CASE: Final = "preflight"

_SECURE_PORT: Final = re.compile(rb"to (an? )?(HTTPS|TLS|SSL)(-enabled)? (server|port)", re.IGNORECASE)
_NO_MODEL: Final = re.compile(r"\bmodel\b|model_not_found", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Target:
    """An endpoint that answers.

    ``url`` is the full address of the create endpoint, query included. ``model`` is ``None`` when none was given and
    the endpoint lists none; requests then leave ``model`` out. ``key`` and ``second_key``, that of another tenant,
    never show in a ``repr``. ``dialect`` is the name of the dialect it is judged by. ``models`` are the ids that the
    endpoint lists, ``server`` its Server header, ``warnings`` sentences on what the preflight found odd.
    """

    url: str
    model: str | None = None
    key: str | None = field(default=None, repr=False)
    dialect: str = DEFAULT_DIALECT
    models: tuple[str, ...] = ()
    server: str = ""
    warnings: tuple[str, ...] = ()
    second_key: str | None = field(default=None, repr=False)

    def path(self, *parts: str) -> str:
        """Return the absolute path of the create endpoint, or of what ``parts`` name below it, query included.

        ``target.path(response_id, "input_items")`` is the path of a response's input items; parts are escaped, since
        they come from the endpoint.
        """
        below = "".join("/" + quote(part.encode("utf-8", "replace"), safe="") for part in parts)
        return parse_address(self.url).below(below)

    def body(self, **fields: Any) -> dict[str, Any]:
        """Return a request body with the target's model, if it has one, and the given fields."""
        return {**({} if self.model is None else {"model": self.model}), **fields}


async def find_target(
    url: str,
    *,
    key: str | None = None,
    model: str | None = None,
    dialect: str = DEFAULT_DIALECT,
    deadline: float = 120.0,
    options: ClientOptions | None = None,
    client: Client | None = None,
) -> tuple[Target, list[Exchange]]:
    """Find the endpoint behind ``url``; return it and the exchanges that it took (case ``preflight``).

    Sends ``GET .../models`` (role ``models``, never fatal) and one smallest good request
    (role ``plain``) with ``deadline`` seconds to answer, to each of the addresses that
    :func:`~rejoinder.wire.address.candidate_addresses` gives until one is not 404 or 405.
    A client is made from ``key`` and ``options`` and closed again, unless ``client`` is given, which then must have
    been made for the same host and key.

    Raises :class:`UsageError` for a URL or key that cannot be used, :class:`UnreachableError` when there is no
    connection or no answer, :class:`UnauthorizedError` for 401 and 403, :class:`NotAnEndpointError` when something else
    answers, :class:`TargetError` when the endpoint does not know the model or the client was stopped. Their
    ``exchanges`` hold what was gathered. An error in JSON (400, 5xx) is none of these: it is left to the
    rules, and noted in ``Target.warnings``.
    """
    candidates = [address.url for address in candidate_addresses(url)]
    owned = Client(candidates[0], key=key, options=options) if client is None else None
    search = _TargetFinder(client or owned or _unreachable(), key, model, dialect, deadline)
    try:
        for candidate in candidates:
            target = await search.try_at(candidate, last=candidate == candidates[-1])
            if target is not None:
                return target, search.exchanges
    finally:
        if owned is not None:
            await owned.aclose()
    return _unreachable()


def _unreachable() -> NoReturn:
    raise AssertionError("the last candidate either is the target or raises")


@dataclass(slots=True)
class _TargetFinder:
    client: Client
    key: str | None
    model: str | None
    dialect: str
    deadline: float
    exchanges: list[Exchange] = field(default_factory=list)

    async def try_at(self, url: str, *, last: bool) -> Target | None:
        """Return the target at this address, or ``None`` when its path is not there and others are left to try."""
        target = Target(url=url, model=self.model, key=self.key, dialect=self.dialect)
        models: tuple[str, ...] = ()
        if self.model is None:
            models = await self._models(url)
            target = Target(url, models[0] if models else None, self.key, self.dialect, models)
        exchange = await self._send("POST", target.path(), target.body(input="Hi", max_output_tokens=16), "plain")
        self._transport(url, exchange)
        await self._status(target, exchange)
        if exchange.status in (404, 405):
            if not last:
                return None
            tried = [other.request.path for other in self.exchanges if other.request.method == "POST"]
            self._fail(
                NotAnEndpointError,
                f"No Responses endpoint found: POST {' and '.join(tried)} returned {exchange.status}.",
                "Check the path of the URL. It is the base URL of the API, with or without /v1.",
            )
        body = exchange.json()
        if exchange.content_type != "text/event-stream" and not isinstance(body, dict):
            self._foreign(url, exchange)
        warnings = _warnings(exchange, body)
        if self.model is not None:
            models = await self._models(url)
            if models and self.model not in models:
                warnings.append(
                    f'GET /v1/models does not list the model "{self.model}". It lists {_list(list(models))}.'
                )
        return Target(
            url=url,
            model=target.model,
            key=self.key,
            dialect=self.dialect,
            models=models,
            server=_line(exchange.header("server"), 80),
            warnings=tuple(warnings),
        )

    async def _models(self, url: str) -> tuple[str, ...]:
        """Return the ids that the endpoint lists; empty when it has no usable list."""
        address = parse_address(url)
        path = address._replace(path=address.path.removesuffix("/responses")).below("/models")
        exchange = await self._send("GET", path, None, "models", min(10.0, self.deadline))
        unconnected = exchange.detail.startswith((NO_CONNECTION, NO_HANDSHAKE))
        if unconnected or exchange.outcome in (Outcome.REFUSED, Outcome.TLS, Outcome.CANCELLED):
            self._transport(url, exchange)
        listed = exchange.json() if exchange.ok else None
        if isinstance(listed, dict):
            listed = listed.get("data", listed.get("models"))
        names = [entry.get("id") if isinstance(entry, dict) else entry for entry in _as_list(listed)]
        return tuple(name for name in names if isinstance(name, str) and name)

    async def _send(self, method: str, path: str, body: Any, role: str, deadline: float | None = None) -> Exchange:
        exchange = await self.client.send(
            method,
            path,
            body,
            id=f"{CASE}-{len(self.exchanges) + 1}",
            case=CASE,
            role=role,
            deadline=self.deadline if deadline is None else deadline,
        )
        self.exchanges.append(exchange)
        return exchange

    def _transport(self, url: str, exchange: Exchange) -> None:
        """Raise when there was no connection or no whole answer."""
        outcome, detail = exchange.outcome, exchange.detail
        secure = url.startswith("https:")
        if outcome is Outcome.CANCELLED:
            self._fail(TargetError, detail)
        if outcome is Outcome.REFUSED:
            hint = "Check the host name." if "host name" in detail else "Is the server running? Is the port right?"
            self._fail(UnreachableError, detail, hint)
        if outcome is Outcome.TLS:
            if "certificate" in detail:
                hint = "For a self-signed certificate, set SSL_CERT_FILE to a file with it or its authority."
            else:
                hint = f"If the server uses plain HTTP, use {_other_scheme(url)}."
            self._fail(UnreachableError, detail, hint)
        if outcome is Outcome.PROTOCOL and exchange.status is None:
            hint = "Check the port. The server there uses another protocol."
            if not secure and "TLS" in detail:
                hint = f"Use {_other_scheme(url)}."
            self._fail(NotAnEndpointError, detail, hint)
        if outcome is Outcome.TIMEOUT:
            if detail.startswith(NO_HANDSHAKE):
                hint = f"If the server uses plain HTTP, use {_other_scheme(url)}."
            elif detail.startswith(NO_CONNECTION):
                hint = "Check host, port and firewalls."
            else:
                hint = "Is the server overloaded or still loading its model? Try again when it is ready."
            self._fail(UnreachableError, detail, hint)
        if outcome is Outcome.CUT and exchange.status is None:
            hint = "Check the log of the server."
            if not secure:
                hint += f" If the server uses TLS, use {_other_scheme(url)}."
            self._fail(UnreachableError, detail, hint)

    async def _status(self, target: Target, exchange: Exchange) -> None:
        """Raise for statuses with which nothing can be tested."""
        status, url = exchange.status, target.url
        if status in (401, 403):
            refused = "rejected the API key" if self.key else "requires an API key"
            self._fail(
                UnauthorizedError,
                f"{url} {refused} (status {status}).",
                "Put the API key into REJOINDER_API_KEY, or name another variable with --api-key-env.",
            )
        if status is not None and 300 <= status < 400:
            where = _line(exchange.header("location"), 200)
            self._fail(
                NotAnEndpointError,
                f"{url} redirects{f' to {where}' if where else ''} (status {status}).",
                "Use the final URL. rejoinder follows no redirects, because an API key must not go to another host.",
            )
        if status == 400 and url.startswith("http:") and _SECURE_PORT.search(exchange.body[:4096]):
            self._fail(NotAnEndpointError, f"{url} uses TLS, not plain HTTP.", f"Use {_other_scheme(url)}.")
        if status == 404 and target.model is not None and _NO_MODEL.search(_error_text(exchange.json())):
            models = target.models or await self._models(url)
            known = f"GET /v1/models lists {_list(list(models))}." if models else "Choose another model with --model."
            self._fail(TargetError, f'{url} has no model "{target.model}".', known)

    def _foreign(self, url: str, exchange: Exchange) -> NoReturn:
        """Raise for an answer that is neither a JSON object nor an event stream."""
        head = exchange.body[:200].lstrip().lower()
        if exchange.content_type == "text/html" or head.startswith((b"<!doctype", b"<html")):
            what = "an HTML page"
        elif not exchange.body:
            what = "an empty body"
        elif exchange.json() is not None:
            what = "JSON that is not an object"
        else:
            what = "something that is not JSON"
        self._fail(
            NotAnEndpointError,
            f"{url} returned {what} (status {exchange.status}), so it is not a Responses endpoint.",
            "Check the URL. A proxy or web server may have answered instead of the endpoint.",
        )

    def _fail(self, error: type[TargetError], message: str, hint: str = "") -> NoReturn:
        if self.client.proxy:
            hint += f" The request used the proxy {self.client.proxy}. Add the host to NO_PROXY to bypass it."
        raise error(message, hint.strip(), self.exchanges)


def _warnings(exchange: Exchange, body: Any) -> list[str]:
    """Return sentences about an unusual response that the rules will check."""
    status = exchange.status
    if exchange.outcome is not Outcome.COMPLETE:
        return [f"The response to the first request is incomplete: {exchange.detail}"]
    if not exchange.ok:
        text = _line(_error_text(body), 200)
        return [f"The endpoint refused the first request with status {status}{f': {text}' if text else ''}."]
    if not isinstance(body, dict):
        return ["The endpoint answered the first request with an event stream, although stream is not set."]
    if body.get("object") != "response" and "output" not in body:
        return ["The endpoint answered the first request with JSON that is not a response object."]
    return []


def _error_text(body: Any) -> str:
    """Return the words of a refusal: code, param and message, wherever servers put them."""
    if not isinstance(body, Mapping):
        return ""
    error = body.get("error", body)
    if isinstance(error, str):
        return error
    if not isinstance(error, Mapping):
        return ""
    parts = [error.get(name) for name in ("code", "param", "message", "detail")]
    return " ".join(part for part in parts if isinstance(part, str))


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _list(names: list[str]) -> str:
    first = [_line(name, 100) for name in names[:5]]
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(first) + more


def _line(text: str, limit: int) -> str:
    """Return an endpoint's text on one line, without control characters and cut, fit for a terminal."""
    text = " ".join("".join(char if char.isprintable() else " " for char in text).split()).rstrip(".")
    return text if len(text) <= limit else text[:limit] + "…"


def _other_scheme(url: str) -> str:
    scheme, _, rest = url.partition(":")
    return f"{'http' if scheme == 'https' else 'https'}:{rest}"

"""The target: from what a person types to an endpoint that is known to answer.

:func:`find_target` completes the address, picks a model and sends a smallest good request, so that a wrong address, a
missing key or a dead server is reported in one sentence before anything is checked. Where the endpoint refuses that
request, it sends the same in other forms until one is accepted: the base form, in which all other requests are sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any, Final, NoReturn
from urllib.parse import quote

from msgspec import structs

from rejoinder.budgets import MODEL_NAME, MODELS, MODELS_SECONDS, ReplyBudget
from rejoinder.contract import DEFAULT_DIALECT, load_dialect
from rejoinder.errors import NotAnEndpointError, TargetError, UnauthorizedError, UnreachableError, UsageError
from rejoinder.model.base_form import USUAL_FORM, BaseForm, InputForm
from rejoinder.model.error_text import error_text
from rejoinder.model.exchange import NO_CONNECTION, NO_HANDSHAKE, Exchange, Outcome, parse_json
from rejoinder.wire.address import candidate_addresses, parse_address
from rejoinder.wire.base_form import fit_body, fit_input
from rejoinder.wire.client import Client, ClientOptions
from rejoinder.wire.dialect_choice import AUTO, STREAM, VERSION, Choice, better_than, choose
from rejoinder.wire.headers import key_header
from rejoinder.wire.pacing import BUSY, MAX_WAIT, Pacer, retry_after
from rejoinder.wire.redact import MIN_SECRET
from rejoinder.wire.request_options import RequestOptions
from rejoinder.wire.sse import read_events

CASE: Final = "preflight"
RESPONSES: Final = "responses"
"""The collection of the create endpoint: the last segment of its path."""

_SECURE_PORT: Final = re.compile(rb"to (an? )?(HTTPS|TLS|SSL)(-enabled)? (server|port)", re.IGNORECASE)
_NO_MODEL: Final = re.compile(r"\bmodel\b|model_not_found", re.IGNORECASE)
_ABOUT_STREAM: Final = re.compile(r"stream", re.IGNORECASE)
_ABOUT_INPUT: Final = re.compile(r"\binput\b|\bstr(ing)?\b|\blist\b|\barray\b", re.IGNORECASE)
_ABOUT_LIMIT: Final = re.compile(r"max_(output_)?tokens", re.IGNORECASE)
_BUSY_RETRIES: Final = 3
_SINGLE: Final = 4
"""Changes of the first request that are tried alone; if all are refused in the same words, pairs of them are not."""

_TRY: Final = (
    "If the endpoint needs more, add a field with --extra-body JSON or a header with --header 'Name: value'. Or name "
    "another model with --model, or the header of the API key with --api-key-header."
)


@dataclass(frozen=True, slots=True)
class Target:
    """An endpoint that answers.

    ``url`` is the full address of the create endpoint, query included. ``model`` is ``None`` when none was given and
    the endpoint lists none, or refuses requests that name one; requests then leave ``model`` out. ``key`` and
    ``second_key``, that of another tenant, never show in a ``repr``. ``dialect`` is the name of the dialect it is
    judged by. ``models`` are the ids that the endpoint lists, ``server`` its Server header, ``warnings`` sentences on
    what the preflight found odd. ``form`` is the form of a request that it accepts, ``request`` what every request has
    besides. ``chosen`` says why rejoinder chose the dialect, ``better`` which other dialect the endpoint marks as its
    own. ``proxy`` is the address of the proxy through which it was found; empty for none.
    """

    url: str
    model: str | None = None
    key: str | None = field(default=None, repr=False)
    dialect: str = DEFAULT_DIALECT
    models: tuple[str, ...] = ()
    server: str = ""
    warnings: tuple[str, ...] = ()
    second_key: str | None = field(default=None, repr=False)
    form: BaseForm = USUAL_FORM
    request: RequestOptions = field(default_factory=RequestOptions)
    chosen: Choice | None = None
    better: Choice | None = None
    proxy: str = ""

    def path(self, *parts: str, collection: str = RESPONSES) -> str:
        """Return the absolute path of the create endpoint, or of what ``parts`` name below it, query included.

        ``target.path(response_id, "input_items")`` is the path of a response's input items; parts are escaped, since
        they come from the endpoint. Another ``collection``, such as ``conversations``, stands beside the create
        endpoint.
        """
        below = "".join("/" + quote(part.encode("utf-8", "replace"), safe="") for part in parts)
        address = parse_address(self.url)
        if collection != RESPONSES:
            address = address._replace(path=f"{address.path.rpartition('/')[0]}/{collection}")
        return address.below(below)

    def body(self, **fields: Any) -> dict[str, Any]:
        """Return a request body with the target's model, if it has one, and the given fields."""
        return {**({} if self.model is None else {"model": self.model}), **fields}

    def fit(self, body: Any, *, keeps: tuple[str, ...] = ()) -> Any:
        """Return a create body as the endpoint takes it, as :func:`~rejoinder.wire.base_form.fit_body` does."""
        return fit_body(body, self.form, self.request.extra_body, keeps=keeps)

    def fit_input(self, body: Any) -> Any:
        """Return the body of an operation beside create, as :func:`~rejoinder.wire.base_form.fit_input` does."""
        return fit_input(body, self.form.input)

    def key_header(self, key: str) -> tuple[str, str]:
        """Return the header that carries a key to this endpoint."""
        return key_header(key, self.request.key_header)

    def client_options(self) -> ClientOptions:
        """Return the options of a client for this endpoint."""
        return ClientOptions(request=self.request)


async def find_target(
    url: str,
    *,
    key: str | None = None,
    model: str | None = None,
    dialect: str = DEFAULT_DIALECT,
    deadline: float = 120.0,
    request: RequestOptions | None = None,
    options: ClientOptions | None = None,
    client: Client | None = None,
    pacer: Pacer | None = None,
) -> tuple[Target, list[Exchange]]:
    """Find the endpoint behind ``url``; return it and the exchanges that it took (case ``preflight``).

    Sends ``GET .../models`` (role ``models``, never fatal) and one smallest good request (role ``plain``) with
    ``deadline`` seconds to answer, to each of the addresses that
    :func:`~rejoinder.wire.address.candidate_addresses` gives until one is not 404 or 405. Where the reply is no
    response object, the same request is sent in other forms (role ``form``): with ``stream: false``, as a stream, with
    other forms of ``input``, without a model that nobody named, without ``max_output_tokens``. A Retry-After of up to
    30 seconds is waited out, as long as all such waits of a request fit into ``deadline``.

    With the dialect :data:`~rejoinder.wire.dialect_choice.AUTO` up to five more requests are sent, which show which
    dialect fits.

    ``request`` is what a user adds to every request. A client is made from ``key``, ``request`` and ``options`` and
    closed again, unless ``client`` is given, which then must have been made for the same host, key and options.
    ``pacer`` says when requests may start; by default the rate limit of ``request`` does.

    Raises :class:`UsageError` for a URL or key that cannot be used, :class:`UnreachableError` when there is no
    connection or no answer, :class:`UnauthorizedError` for 401 and 403, :class:`NotAnEndpointError` when something else
    answers, :class:`TargetError` when the endpoint does not know the model, refuses every form or is busy for too long,
    or the client was stopped. Their ``exchanges`` hold what was gathered. What is broken in one form only is none of
    these: it is left to the rules, and noted in ``Target.warnings``.
    """
    candidates = [address.url for address in candidate_addresses(url)]
    if key and len(key) >= MIN_SECRET and key in url:
        raise UsageError("The URL contains the API key.", "Remove it. REJOINDER_API_KEY is sent with every request.")
    request = request or RequestOptions()
    if client is None:
        client = owned = Client(candidates[0], key=key, options=replace(options or ClientOptions(), request=request))
    else:
        owned = None
    pacer = pacer or Pacer(request.rate_limit)
    first = DEFAULT_DIALECT if dialect == AUTO else dialect
    search = _TargetFinder(client, key, model, first, deadline, request, pacer)
    try:
        for candidate in candidates:
            target = await search.try_at(candidate, last=candidate == candidates[-1])
            if target is not None and dialect == AUTO:
                target = await search.choose(target)
            if target is not None:
                # Without a stream, the shape alone is no reason to name another dialect.
                better = better_than(target.dialect, search.exchanges)
                return replace(target, better=better if better and better.clear else None), search.exchanges
    finally:
        if owned is not None:
            await owned.aclose()
    return _unreachable()


def _unreachable() -> NoReturn:
    raise AssertionError("the last candidate either is the target or raises")


class _Quality(IntEnum):
    """What a reply to a smallest good request shows, the best last."""

    REFUSED = 0
    BROKEN = 1
    ODD = 2
    GOOD = 3


@dataclass(frozen=True, slots=True)
class _Attempt:
    """A smallest good request in one form, and its reply."""

    form: BaseForm
    model: str | None
    streamed: bool
    exchange: Exchange

    @property
    def quality(self) -> _Quality:
        exchange, status = self.exchange, self.exchange.status
        if status is None or exchange.outcome is not Outcome.COMPLETE or status >= 500:
            return _Quality.BROKEN
        if not exchange.ok:
            return _Quality.REFUSED
        body = exchange.json()
        if self.streams:
            kinds = _event_types(exchange)
            if not kinds:
                return _Quality.BROKEN
            if kinds[0] in ("error", "response.failed"):
                return _Quality.REFUSED
            return _Quality.GOOD if self.streamed else _Quality.ODD
        if not isinstance(body, dict):
            return _Quality.BROKEN
        good = not self.streamed and (body.get("object") == "response" or "output" in body)
        return _Quality.GOOD if good else _Quality.ODD

    @property
    def streams(self) -> bool:
        """Whether the reply is an event stream."""
        return self.exchange.ok and self.exchange.content_type == "text/event-stream"

    @property
    def words(self) -> str:
        """The endpoint's own words, in one line and fit for a terminal."""
        return _line(error_text(self.exchange), 200)


@dataclass(slots=True)
class _TargetFinder:
    client: Client
    key: str | None
    model: str | None
    dialect: str
    deadline: float
    request: RequestOptions
    pacer: Pacer
    exchanges: list[Exchange] = field(default_factory=list)
    listed: dict[str, tuple[str, ...]] = field(default_factory=dict)

    async def try_at(self, url: str, *, last: bool) -> Target | None:
        """Return the target at this address, or ``None`` when its path is not there and others are left to try."""
        usual = load_dialect(self.dialect).usual_form
        target = Target(url, self.model, self.key, self.dialect, form=usual, request=self.request)
        if self.model is None:
            models = await self._models(url)
            target = replace(target, model=models[0] if models else None, models=models)
        first = await self._attempt(target, usual, target.model, role="plain")
        exchange = first.exchange
        self._transport(url, exchange)
        self._busy(url, exchange)
        await self._status(target, exchange)
        if exchange.status in (404, 405) and not self._refuses_model(target, exchange):
            if not last:
                return None
            tried = [other.request.path for other in self.exchanges if other.request.method == "POST"]
            self._fail(
                NotAnEndpointError,
                f"No Responses endpoint found: POST {' and '.join(tried)} returned {exchange.status}.",
                "Check the path of the URL. It is the base URL of the API, with or without /v1.",
            )
        found = await self._accepted(target, first)
        warnings = _warnings(first, found)
        warnings += [
            f"The model list is not used. {exchange.detail}"
            for exchange in self.exchanges
            if exchange.role == "models" and exchange.outcome is Outcome.TOO_LARGE
        ]
        models = target.models
        if self.model is not None:
            models = await self._models(url)
            if models and self.model not in models:
                warnings.append(
                    f'GET /v1/models does not list the model "{self.model}". It lists {_list(list(models))}.'
                )
        return replace(
            target,
            model=found.model,
            models=models,
            server=_line(found.exchange.header("server"), 80),
            warnings=tuple(warnings),
            form=found.form,
            proxy=self.client.proxy,
        )

    async def choose(self, target: Target) -> Target:
        """Return the target with the dialect that fits it, after two more requests.

        They are ``GET /version``, and the smallest good request as a stream. If the dialect writes requests in another
        form than the default one, the endpoint is tried again in that form.
        """
        root = parse_address(target.url)
        root = root._replace(path=re.sub(r"(/v1)?/responses/?$", "", root.path))
        await self._send("GET", root.below("/version"), None, VERSION, min(MODELS_SECONDS, self.deadline))
        await self._attempt(target, target.form, target.model, streamed=True, role=STREAM)
        choice = choose(self.exchanges)
        usual, self.dialect = load_dialect(self.dialect).usual_form, choice.dialect
        found = target
        if load_dialect(choice.dialect).usual_form != usual:
            found = await self.try_at(target.url, last=True) or target
        return replace(found, dialect=choice.dialect, chosen=choice)

    async def _attempt(
        self, target: Target, form: BaseForm, model: str | None, *, streamed: bool = False, role: str = "form"
    ) -> _Attempt:
        """Send a smallest good request in a form."""
        target = replace(target, form=form, model=model)
        body = target.body(input=[{"role": "user", "content": "Hi"}], max_output_tokens=16)
        body = target.fit({**body, "stream": True} if streamed else body)
        exchange = await self._send("POST", target.path(), body, role)
        return _Attempt(form, model, streamed, exchange)

    async def _accepted(self, target: Target, first: _Attempt) -> _Attempt:
        """Return the first attempt that shows a form that the endpoint takes; raise when none does.

        Its form says whether plain requests are answered.
        """
        if first.quality is _Quality.GOOD:
            return first
        if first.streams and first.quality is _Quality.ODD:
            # Whatever comes of it, the endpoint takes this form, if only as a stream.
            again = await self._attempt(target, _with(first.form, stream_false=True), first.model)
            return again if again.quality is _Quality.GOOD else replace(first, form=_with(first.form, plain=False))
        attempts = [first]
        for form, model, streamed in self._forms(target, first):
            if len(attempts) > (1 if first.exchange.status is None else _SINGLE) and self._hopeless(attempts):
                break
            attempt = await self._attempt(target, form, model, streamed=streamed)
            if attempt.exchange.outcome is Outcome.CANCELLED:
                self._fail(TargetError, attempt.exchange.detail)
            if not streamed and attempt.streams and attempt.quality is _Quality.ODD:
                attempt = await self._attempt(target, _with(form, stream_false=True), model)
            attempts.append(attempt)
            if attempt.quality is _Quality.GOOD:
                return replace(attempt, form=_with(attempt.form, plain=not streamed))
            if attempt.exchange.outcome is Outcome.TIMEOUT:
                break
        odd = next((attempt for attempt in attempts if attempt.quality is _Quality.ODD), None)
        return odd or self._refused_all(target, first, attempts)

    def _forms(self, target: Target, first: _Attempt) -> Iterator[tuple[BaseForm, str | None, bool]]:
        """Yield other forms of the first request as form, model and whether to stream; what it hints at comes first."""
        words, broken, usual = first.words, first.quality is _Quality.BROKEN, first.form
        # An endpoint that needs types may take strings as well, but a string shows nothing of lists.
        lists = [form for form in (InputForm.TYPED_LIST, InputForm.LIST) if form is not usual.input]
        inputs = [*lists, InputForm.STRING]
        if _ABOUT_INPUT.search(words):
            inputs.reverse()
        changes = [(_with(usual, input=form), False) for form in inputs]
        about_stream = _ABOUT_STREAM.search(words) is not None
        if about_stream and not broken:
            changes.insert(0, (_with(usual, stream_false=True), False))
        changes.insert(int(not broken) if about_stream else 0 if broken else len(changes), (usual, True))
        pairs = [(_with(usual, input=form), True) for form in inputs]
        # A model that a person named is not left out.
        if self.model is None and target.model is not None:
            about_model = _NO_MODEL.search(words) is not None and not broken
            changes.insert(0 if about_model else len(changes), (_with(usual, model=False), False))
            unnamed = [(_with(usual, input=form, model=False), False) for form in inputs]
            pairs = pairs + unnamed if broken else unnamed + pairs
        unlimited = [(_with(usual, max_output_tokens=False), False)]
        unlimited += [(_with(usual, input=form, max_output_tokens=False), False) for form in inputs]
        about_limit = _ABOUT_LIMIT.search(words) is not None and not broken
        every = unlimited + changes + pairs if about_limit else changes + pairs + unlimited
        for form, streams in every:
            yield form, target.model if form.model else None, streams

    @staticmethod
    def _hopeless(attempts: list[_Attempt]) -> bool:
        """Return whether the endpoint refused everything in the same words, which are about something else."""
        return len({(attempt.exchange.status, attempt.words) for attempt in attempts}) == 1

    def _refused_all(self, target: Target, first: _Attempt, attempts: list[_Attempt]) -> NoReturn:
        """Raise for an endpoint that takes no form of a smallest good request."""
        url, status = target.url, first.exchange.status
        self._transport(url, first.exchange, whole=False)
        if first.exchange.outcome is not Outcome.COMPLETE:
            detail = first.exchange.detail
            self._fail(TargetError, f"{url} sent no complete response: {detail}", "Check the log of the server.")
        if status is not None and (first.exchange.ok or (status >= 500 and _is_page(first.exchange))):
            self._foreign(url, first.exchange)
        words = first.words
        self._fail(
            TargetError,
            f"{url} refused a minimal request in each of {len(attempts)} forms (status {status})"
            f"{f': {words}' if words else ''}.",
            "Check the log of the server." if first.quality is _Quality.BROKEN else _TRY,
        )

    async def _models(self, url: str) -> tuple[str, ...]:
        """Return the ids that the endpoint lists; empty when it has no usable list. It is asked once at each path."""
        address = parse_address(url)
        path = address._replace(path=address.path.removesuffix("/responses")).below("/models")
        if path in self.listed:
            return self.listed[path]
        limit = min(MODELS_SECONDS, self.deadline)
        exchange = await self._send("GET", path, None, "models", limit, budget=MODELS)
        if exchange.timed_out_connecting or exchange.outcome in (Outcome.REFUSED, Outcome.TLS, Outcome.CANCELLED):
            self._transport(url, exchange)
        listed = exchange.json() if exchange.ok else None
        if isinstance(listed, dict):
            listed = listed.get("data", listed.get("models"))
        names = [entry.get("id") if isinstance(entry, dict) else entry for entry in _as_list(listed)]
        self.listed[path] = tuple(name for name in names if isinstance(name, str) and _is_name(name))
        return self.listed[path]

    async def _send(
        self,
        method: str,
        path: str,
        body: Any,
        role: str,
        deadline: float | None = None,
        *,
        budget: ReplyBudget | None = None,
    ) -> Exchange:
        deadline = self.deadline if deadline is None else deadline
        waited = 0.0
        for retries_left in reversed(range(_BUSY_RETRIES + 1)):
            started = await self.pacer.wait()
            exchange = await self.client.send(
                method,
                path,
                body,
                id=f"{CASE}-{len(self.exchanges) + 1}",
                case=CASE,
                role=role,
                deadline=deadline,
                budget=budget,
            )
            self.exchanges.append(exchange)
            wait = retry_after(exchange) if exchange.status in BUSY else None
            waited += wait or 0.0
            if wait is None or wait > MAX_WAIT or waited > deadline or not retries_left or self.client.stopped:
                break
            self.pacer.busy(started, wait)
        return exchange

    def _busy(self, url: str, exchange: Exchange) -> None:
        """Raise when the endpoint has no time for us."""
        wait = retry_after(exchange) if exchange.status in BUSY else None
        if wait is not None or exchange.status == 429:
            when = "" if wait is None else f", Retry-After {wait:.0f} s"
            words = _line(error_text(exchange), 200)
            self._fail(
                TargetError,
                f"{url} is busy (status {exchange.status}{when}){f': {words}' if words else ''}.",
                "Try again later. --rate-limit N/min keeps requests below a limit of the endpoint.",
            )

    def _transport(self, url: str, exchange: Exchange, *, whole: bool = True) -> None:
        """Raise when there was no connection, or (unless ``whole``) no answer at all.

        A connection that was closed without a reply may be a fault of one kind of request, so it is not the end.
        """
        outcome, detail = exchange.outcome, exchange.detail
        secure = url.startswith("https:")
        if outcome is Outcome.CANCELLED:
            self._fail(TargetError, detail)
        if outcome is Outcome.REFUSED:
            hint = "Check the host name." if "host name" in detail else "Is the server running? Is the port right?"
            self._fail(UnreachableError, detail, hint)
        if outcome is Outcome.TLS:
            if "invalid certificate" in detail:
                hint = "For a self-signed certificate, name a file with it or its authority in --ca-file."
            elif "certificate" in detail or "unknown ca" in detail:
                hint = (
                    "If the server needs a client certificate, name it with --client-cert FILE and --client-key FILE."
                )
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
        if outcome is Outcome.CUT and exchange.status is None and not whole:
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
                "Put the API key into REJOINDER_API_KEY, or name another variable with --api-key-env. If the endpoint "
                "expects it in another header than Authorization, name that header with --api-key-header.",
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
        if self.model is not None and self._refuses_model(target, exchange):
            models = target.models or await self._models(url)
            known = f"GET /v1/models lists {_list(list(models))}." if models else "Choose another model with --model."
            self._fail(TargetError, f'{url} has no model "{target.model}".', known)

    def _refuses_model(self, target: Target, exchange: Exchange) -> bool:
        words = _error_text(exchange.json())
        return exchange.status == 404 and target.model is not None and _NO_MODEL.search(words) is not None

    def _foreign(self, url: str, exchange: Exchange) -> NoReturn:
        """Raise for an answer that is neither a JSON object nor an event stream."""
        if _is_page(exchange):
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


def _is_page(exchange: Exchange) -> bool:
    """Return whether a reply is an HTML page."""
    head = exchange.body[:200].lstrip().lower()
    return exchange.content_type == "text/html" or head.startswith((b"<!doctype", b"<html"))


def _event_types(exchange: Exchange) -> list[str]:
    """Return the types of the events of a stream, as their data names them."""
    found = [parse_json(event.data) for event in read_events(exchange.chunks)[0]]
    return [str(data.get("type", "")) for data in found if isinstance(data, dict)]


def _with(form: BaseForm, **fields: Any) -> BaseForm:
    return structs.replace(form, **fields)


def _warnings(first: _Attempt, found: _Attempt) -> list[str]:
    """Return sentences about unusual responses that the rules will check."""
    exchange, words = first.exchange, first.words
    text = f": {words}" if words and not exchange.ok else ""
    if found.form.stream_false:
        if first.streams:
            return ["The endpoint answered the first request with an event stream, although stream is not set."]
        return ["The endpoint refuses requests without stream."]
    if found is first:
        if first.quality is _Quality.GOOD:
            return []
        return ["The endpoint answered the first request with JSON that is not a response object."]
    if found.form.plain:
        return []  # the form says what the first request lacked
    if first.streams:
        return ["The endpoint answers non-streaming requests with an event stream, with and without stream: false."]
    if exchange.status is None or exchange.outcome is not Outcome.COMPLETE:
        return [f"Streaming requests work, but the first non-streaming request failed: {exchange.detail}"]
    if exchange.ok:
        return ["Streaming requests work, but the response to the first non-streaming request is not a JSON object."]
    return [f"Streaming requests work, but the first non-streaming request returned status {exchange.status}{text}."]


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


def _is_name(name: str) -> bool:
    """Return whether this can be the name of a model; control characters and lone surrogates cannot be passed on."""
    return 0 < len(name) <= MODEL_NAME and name.isprintable()


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

"""The sandbox: requests in, replies out, without any server library."""

from __future__ import annotations

import hashlib
import math
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import count, zip_longest
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from rejoinder.contract import DEFAULT_DIALECT, Dialect, Operation, load_dialect, requested_operation
from rejoinder.errors import UsageError
from rejoinder.json_copy import copy_json
from rejoinder.model.exchange import SLOW_READS, Chunk, Exchange, Headers, Outcome, Request
from rejoinder.sandbox.endpoint.compaction import compact, expanded
from rejoinder.sandbox.endpoint.conversations import StoredConversation, kept_id, page, whole_page
from rejoinder.sandbox.endpoint.generate import MODELS, ResolvedRequest, base_response, generate
from rejoinder.sandbox.endpoint.items import listed
from rejoinder.sandbox.endpoint.reply import (
    JSON_HEADERS,
    ApiError,
    Piece,
    Reply,
    RequestInfo,
    encode,
    header,
    reply_with,
)
from rejoinder.sandbox.endpoint.request_parsing import (
    check_create,
    check_operation,
    check_page,
    conversation_id,
    read_json,
)
from rejoinder.sandbox.endpoint.sampling import check_constraint
from rejoinder.sandbox.endpoint.store import Store, Stored
from rejoinder.sandbox.endpoint.tokens import Json
from rejoinder.sandbox.fault import Variation, Visit
from rejoinder.sandbox.faults import load_endpoints, load_faults
from rejoinder.sandbox.freedom import Freedom, conflicts
from rejoinder.sandbox.freedoms import load_freedoms
from rejoinder.sandbox.variations import check_freedoms, find

_CONVERSES: Final = "create_conversation"
"""The operation of dialects that have conversations."""
_CONVERSATIONS: Final = "/v1/conversations"
# A background run takes at least this long, so that it can be polled and cancelled.
_BACKGROUND_SECONDS: Final = 0.25
_OBFUSCATION: Final = re.compile(rb'"obfuscation":"\w*",|,"obfuscation":"\w*"')
_EVENT_STREAM: Final[Headers] = (("content-type", "text/event-stream; charset=utf-8"), ("cache-control", "no-cache"))
_TYPE_OF_STATUS: Final[Mapping[int, str]] = {
    401: "authentication_error",
    404: "not_found_error",
    429: "rate_limit_error",
    500: "server_error",
}
_OUTCOME_OF_STATUS: Final[Mapping[str, str]] = {"completed": "ok", "incomplete": "incomplete", "failed": "failed"}


class Sandbox:
    """A deterministic endpoint for ``POST /v1/responses`` and the operations beside it, that repeats what it hears.

    ``dialect`` is the name or file of the dialect that it speaks. ``faults`` are ids from
    :func:`rejoinder.sandbox.load_faults`; each breaks one thing, after extensions have changed the endpoint.
    ``freedoms`` are ids from :func:`rejoinder.sandbox.load_freedoms`; with each it does one thing in another way
    that the dialect leaves open. ``variations`` are further ones, such as mutants, which come last. ``token_delay`` is
    the time in seconds before each token of output. Ids depend on ``seed`` and on the number of the request only. With
    ``key`` every request but ``/health`` needs it, or ``second_key``, as bearer token; what is stored belongs to the
    key that it was made with. ``min_tokens`` makes short answers repeat themselves up to that many tokens. ``hold`` is
    how many seconds a connection stays open under a fault that does not close it. ``clock`` gives the Unix time in
    seconds.

    Safe to use from several threads. Raises :class:`~rejoinder.errors.UsageError` for an unknown fault or freedom and
    for freedoms that exclude each other, and :class:`~rejoinder.errors.ContractError` for an unknown dialect.
    """

    def __init__(
        self,
        dialect: str = DEFAULT_DIALECT,
        faults: Iterable[str] = (),
        token_delay: float = 0.0,
        seed: int = 0,
        key: str | None = None,
        *,
        freedoms: Iterable[str] = (),
        variations: Iterable[Variation] = (),
        second_key: str | None = None,
        min_tokens: int = 0,
        hold: float = 30.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.dialect = load_dialect(dialect)
        self.variations: tuple[Variation, ...] = (
            *load_endpoints(),
            *_freedoms(freedoms, self.dialect),
            *(find(name, self.dialect, load_faults(), "fault") for name in faults),
            *variations,
        )
        self.token_delay = token_delay
        self.seed = seed
        self.key = key
        self.second_key = second_key
        self.min_tokens = min_tokens
        self.hold = hold
        self._clock = clock
        self._lock = threading.Lock()
        self._ids = count()
        self._store = Store(self._new_id)
        self._counts: Counter[str] = Counter()
        self._number = 0
        # For faults: the body of the last create request, and those of the requests still in flight by number.
        self._previous: Mapping[str, Any] = {}
        self._in_flight: dict[int, Mapping[str, Any]] = {}

    @property
    def counts(self) -> dict[str, int]:
        """How many create requests there were, by outcome, as a copy.

        ``started`` is all of them. Once its reply is over, each counts as ``ok``, ``incomplete``, ``failed``,
        ``truncated`` (no terminal event), ``http_4xx``, ``http_429``, ``http_5xx`` or ``aborted`` (the client stopped
        reading). ``other`` counts requests to other operations.
        """
        with self._lock:
            return dict(self._counts)

    def handle(self, request: Request) -> Reply:
        """Answer one request; what cannot be answered is refused in the error envelope.

        The reply counts as over when its chunks were read to the end or their iterator was closed.
        """
        operation, argument = route(request, self.dialect)
        info = self._info(request, operation)
        variations = [variation for variation in self.variations if variation.when(info)]
        outcome = ""
        try:
            self.authorise(request, operation)
            if operation == "create":
                for variation in variations:
                    if variation.received is not None:
                        request = variation.received(request, info)
                if request is not info.request:
                    info = replace(info, request=request, body=_object_in(request))
                reply, outcome = self._create(request, info, variations)
            else:
                reply = self._other(request, info, argument, variations)
        except ApiError as error:
            reply = self._refusal(error, info, variations)
        except RecursionError:
            reply = self._refusal(ApiError(400, "The body is nested too deeply."), info, variations)
        for variation in variations:
            if variation.reply is not None:
                reply = variation.reply(reply, info)
        if operation == "create":
            reply.chunks = self._counted(reply.chunks, outcome or _http_outcome(reply.status), info.number)
            return reply
        with self._lock:
            self._counts["other"] += 1
        return reply

    def exchange(
        self, request: Request, *, case: str = "", role: str = "", tags: Sequence[str] = (), id: str = ""
    ) -> Exchange:
        """Answer one request in this process and return the exchange that a client would have recorded.

        No time passes: the chunks carry the times at which they would have arrived.
        """
        started = self._clock()
        reply = self.handle(request)
        identity = id or f"{case or 'sandbox'}/{role or self._number}"
        return record(request, reply, id=identity, case=case, role=role, tags=tags, started_at=started)

    def _info(self, request: Request, operation: str) -> RequestInfo:
        # Faults see the body as parsed; without faults the one strict parse of the create operation is enough.
        body = _object_in(request) if operation == "create" and self.variations else {}
        with self._lock:
            previous, others = self._previous, tuple(self._in_flight.values())
            if operation == "create":
                self._number += 1
                self._counts["started"] += 1
                if self.variations:
                    self._previous = self._in_flight[self._number] = body
            return RequestInfo(request, operation, body, self.dialect, self._number, previous, others)

    def authorise(self, request: Request, operation: str = "create") -> None:
        """Raise :class:`ApiError` for an unknown operation (an empty one), and where the key is missing or wrong."""
        if not operation:
            raise ApiError(404, f"There is nothing at {request.path[:200]}.", code="not_found")
        if self.key is None or operation == "health":
            return
        given = header(request, "authorization")
        if given not in (f"Bearer {self.key}", f"Bearer {self.second_key}"):
            what = "The API key is wrong." if given else "The API key is missing."
            raise ApiError(401, what, code="invalid_api_key", headers=(("www-authenticate", "Bearer"),))

    def forget(self) -> None:
        """Forget all that is stored."""
        with self._lock:
            self._store = Store(self._new_id)

    # Creating

    def _create(self, request: Request, info: RequestInfo, variations: Sequence[Variation]) -> tuple[Reply, str]:
        if request.method != "POST":
            raise ApiError(405, "Use POST.", code="method_not_allowed", headers=(("allow", "POST"),))
        parsed = read_json(request)
        for variation in variations:
            if variation.parsed is not None and isinstance(parsed, dict):
                parsed = variation.parsed(parsed, info)
        body = check_create(parsed, self.dialect, MODELS)
        if "structured_outputs" in self.dialect.parameters:
            check_constraint(body)
        for variation in variations:
            if variation.request is not None:
                body = variation.request(body, info)
        now = self._clock()
        with self._lock:
            fails = any(variation.fails for variation in variations)
            resolved = self._resolve(body, info, now, variations, fails=fails)
        for variation in variations:
            if variation.resolved is not None:
                resolved = variation.resolved(resolved, info)
        events = generate(resolved, self.dialect)
        response: Json = events[-1]["response"]
        background = body.get("background") is True
        seconds = self.token_delay * (response["usage"] or {}).get("output_tokens", 0)
        stored = None
        if body.get("store") is not False:
            stored = Stored(
                response=response,
                running={**base_response(resolved, self.dialect)},
                context=[*resolved.items, *response["output"]],
                input_items=_with_ids(resolved),
                background=background,
                ready_at=now + max(seconds, _BACKGROUND_SECONDS) if background else now,
                owner=info.key,
            )
            with self._lock:
                if any(variation.replaces for variation in variations):
                    self._store.remove(resolved.id)
                if not self._store.put(stored):
                    taken = f"There is a response {resolved.id[:200]!r} already."
                    raise ApiError(400, taken, param="request_id", code="duplicate_id")
                for variation in variations:
                    if variation.on_store is not None:
                        variation.on_store(stored, self._store, info)
        if resolved.conversation is not None:
            self._add_to_conversation(resolved, response, stored, info, variations)
        if body.get("stream") is True:
            return self._stream(events, stored, info, variations)
        if response["status"] == "failed" and not background:
            error = response["error"]
            raise ApiError(500, error["message"], code=error["code"])
        if background:
            response, seconds = {**base_response(resolved, self.dialect), "status": "queued"}, 0.0
        reply = self._plain(response, info, variations, delay=seconds)
        return reply, _OUTCOME_OF_STATUS.get(response["status"], "ok")

    def _add_to_conversation(
        self,
        resolved: ResolvedRequest,
        response: Json,
        stored: Stored | None,
        info: RequestInfo,
        variations: Sequence[Variation],
    ) -> None:
        """Add input and output of a response to its conversation, once the response has completed."""
        items = [*_with_ids(resolved), *response["output"]]
        for variation in variations:
            if variation.added is not None:
                items = variation.added(items, info)

        def when_done() -> list[Json] | None:
            if stored is not None and stored.is_running(self._clock()):
                return None
            was_cut_off = response["status"] == "failed" or (stored is not None and stored.cancelled)
            return [] if was_cut_off else items

        with self._lock:
            conversation = self._conversation(str(resolved.conversation), info)
            conversation.add_when_done(when_done)
            conversation.settle(self._store.conversations.new_item_id)

    def _conversation(self, conversation_id: str, info: RequestInfo, param: str | None = None) -> StoredConversation:
        shown = (one for one in self.variations if one.all_tenants is not None and one.when(info))
        open_to_all = any(one.all_tenants is not None and one.all_tenants(info) for one in shown)
        found = self._store.conversations.get(conversation_id, None if open_to_all else info.key)
        if found is None:
            raise _missing("conversation", conversation_id, "conversation_not_found", param)
        return found

    def _resolve(
        self, body: Json, info: RequestInfo, now: float, variations: Sequence[Variation], *, fails: bool
    ) -> ResolvedRequest:
        """Find what the request refers to and give it an id."""
        given = body.get("input")  # a dialect may let it be absent, or null
        if isinstance(given, str):
            given = [{"type": "message", "role": "user", "content": given}]
        fresh: list[Json] = [self._referenced(item, index, info, variations) for index, item in enumerate(given or [])]
        history: list[Json] = []
        previous = body.get("previous_response_id")
        conversation = conversation_id(body) if _CONVERSES in self.dialect.operations else None
        if previous is not None:
            stored = self._own(previous, info, variations)
            if stored is None or now < stored.found_at:
                raise _missing("response", previous, "previous_response_not_found", "previous_response_id")
            if stored.is_running(now) or stored.cancelled or stored.response["status"] == "failed":
                what = f"The response {previous[:200]!r} is not finished."
                raise ApiError(400, what, param="previous_response_id", code="previous_response_not_finished")
            history = stored.context
        elif conversation is not None:
            history = list(self._conversation(conversation, info, "conversation").items)
        heard = expanded(fresh, self._seal(info))
        _check_outputs([*history, *heard], fresh)
        hexes = _hexes(f"{self.seed}/{info.number}")
        given_id = body.get("request_id") if self.dialect.response["request_id"] else None
        new_id = partial(_new_id, variations, info)
        model = body.get("model") or MODELS[0]
        return ResolvedRequest(
            body=body,
            items=[*history, *heard],
            fresh=fresh,
            id=given_id or new_id(f"resp_{hexes}"),
            stem=(given_id or hexes)[:40],
            new_id=new_id,
            created_at=int(now),
            model=model,
            history_length=len(history),
            fails=fails or model.endswith("-failing"),
            min_tokens=self.min_tokens,
            conversation=conversation,
        )

    def _seal(self, info: RequestInfo) -> str:
        """Return the key that seals the compaction items of a tenant."""
        return f"{self.seed} {info.key}"

    def _referenced(
        self, item: Json, index: int, info: RequestInfo, variations: Sequence[Variation], field: str = "input"
    ) -> Json:
        """Return the item that a reference means, any other item as it is."""
        if item.get("type") not in (None, "item_reference") or "role" in item:
            return item
        found = self._store.item(item["id"], info.key)
        for variation in variations:
            if variation.referenced is not None:
                found = variation.referenced(found, info)
        if found is None:
            raise _missing("item", item["id"], "item_not_found", f"{field}[{index}].id")
        return found

    def _plain(
        self, response: Json, info: RequestInfo, variations: Sequence[Variation], *, delay: float = 0.0
    ) -> Reply:
        if variations:
            response = copy_json(response)
            for variation in variations:
                if variation.response is not None:
                    variation.response(response, "plain", info)
        return self._send(200, JSON_HEADERS, [Piece(delay, encode(response))], info, variations)

    def _stream(
        self, events: list[Json], stored: Stored | None, info: RequestInfo, variations: Sequence[Variation]
    ) -> tuple[Reply, str]:
        if variations:
            events = copy_json(events)
            for variation in variations:
                if variation.response is not None:
                    for event in events:
                        if "response" in event:
                            variation.response(event["response"], event["type"], info)
            for variation in variations:
                if variation.events is not None:
                    events = variation.events(events, info)
        first = self.dialect.stream["first_sequence_number"]
        numbered = [_numbered(event, number) for number, event in enumerate(events, first)]
        for variation in variations:
            if variation.numbered is not None:
                numbered = variation.numbered(numbered, info)
        pieces = self._frames(numbered, info, variations)
        if stored is not None and stored.background:
            if numbered:
                # The end comes when the run is done, not before.
                last = len(numbered) - 1
                early = _BACKGROUND_SECONDS - sum(piece.delay for piece in pieces)
                pieces[last] = pieces[last]._replace(delay=pieces[last].delay + max(early, 0.0))
            numbers = [event.get("sequence_number") for event in numbered]
            stored.stream = list(zip_longest(numbers, pieces))
        outcome = next((_outcome(event) for event in reversed(numbered) if _outcome(event)), "truncated")
        reply = self._send(200, _EVENT_STREAM, pieces, info, variations)
        if stored is not None and stored.background:
            reply.chunks = _until_cancelled(reply.chunks, stored, lambda: self._end(stored, info, variations))
        if stored is not None and any(variation.on_reader_left is not None for variation in variations):
            reply.chunks = self._watched(reply.chunks, stored, variations)
        return reply, outcome

    def _frames(self, numbered: list[Json], info: RequestInfo, variations: Sequence[Variation]) -> list[Piece]:
        framing = [variation.frame for variation in variations if variation.frame is not None]
        pieces = []
        for event in numbered:
            kind = str(event.get("type"))
            data = b"event: %b\ndata: %b\n\n" % (kind.encode(), encode(event))
            for frame in framing:
                data = frame(data, event, info)
            pieces.append(Piece(self.token_delay if kind.endswith(".delta") else 0.0, data))
        if self.dialect.stream["done_sentinel"] == "required":
            pieces.append(Piece(0.0, b"data: [DONE]\n\n"))
        return pieces

    def _send(
        self, status: int, headers: Headers, pieces: list[Piece], info: RequestInfo, variations: Sequence[Variation]
    ) -> Reply:
        for variation in variations:
            if variation.body is not None:
                pieces = variation.body(pieces, info)
            if variation.head is not None:
                status, headers = variation.head(status, headers, info)
        headers = (*headers, ("x-request-id", f"req_{self.seed}_{info.number}"))
        reply = Reply(status, headers, iter(pieces))
        for variation in variations:
            if variation.on_end is not None:
                reply = variation.on_end(reply, info, self.hold)
        for variation in variations:
            if variation.on_read is not None:
                reply.chunks = variation.on_read(reply.chunks, info, self._clock)
        return reply

    def _refusal(self, error: ApiError, info: RequestInfo, variations: Sequence[Variation]) -> Reply:
        kinds = self.dialect.response.get("error_types", {})
        other = "server_error" if error.status >= 500 else "invalid_request_error"
        kind = kinds.get(str(error.status), _TYPE_OF_STATUS.get(error.status, other))
        status = error.status
        body: Any = {"error": {"type": kind, "message": error.message, "param": error.param, "code": error.code}}
        for variation in variations:
            if variation.error is not None:
                status, body = variation.error(status, body, info)
        data = body if isinstance(body, bytes) else encode(body)
        reply = Reply(status, (*JSON_HEADERS, *error.headers), iter([Piece(0.0, data)]))
        for variation in variations:
            if variation.on_refusal is not None:
                reply = variation.on_refusal(reply, info)
        return reply

    # Everything else

    def _other(self, request: Request, info: RequestInfo, argument: str, variations: Sequence[Variation]) -> Reply:
        operation, method = info.operation, request.method
        for variation in variations:
            if variation.override is not None:
                with self._lock:
                    stored = self._own(argument, info, variations)
                    talk = self._store.conversations.get(argument, info.key)
                    visit = Visit(self._store, stored, info, _query(request), self._clock(), self.hold, talk)
                    reply = variation.override(visit)
                if reply is not None:
                    return reply
        if urlsplit(request.path).path.startswith(_CONVERSATIONS):
            return self._converse(request, info, variations)
        if operation == "response":
            if method == "GET":
                return self._retrieve(request, info, argument, variations)
            if method == "DELETE":
                return self._delete(info, argument, variations)
            raise ApiError(405, "Use GET or DELETE.", code="method_not_allowed", headers=(("allow", "GET, DELETE"),))
        wanted = "POST" if operation in ("cancel", "input_tokens", "render", "compact") else "GET"
        if method != wanted:
            raise ApiError(405, f"Use {wanted}.", code="method_not_allowed", headers=(("allow", wanted),))
        if operation == "cancel":
            return self._cancel(info, argument, variations)
        if operation == "input_items":
            return self._input_items(request, info, argument, variations)
        if operation == "input_tokens":
            return self._input_tokens(request, info, variations)
        if operation == "render":
            return self._render(request, info, variations)
        if operation == "compact":
            return self._compact(request, info, variations)
        if operation == "models":
            return self._models(argument, info, variations)
        return reply_with({"status": "ok"})

    def _retrieve(
        self, request: Request, info: RequestInfo, response_id: str, variations: Sequence[Variation]
    ) -> Reply:
        query = _query(request)
        now = self._clock()
        with self._lock:
            stored = self._found(response_id, info, variations)
            response = stored.current(now)
        self._checked("retrieve", request)
        if query.get("stream") != "true":
            return self._plain(response, info, variations)
        if not stored.stream:
            raise ApiError(400, "The response has no stream to replay.", param="stream", code="not_streamed")
        after = query.get("starting_after")
        if after is not None and not (after.isdecimal() and len(after) < 16):
            what = "starting_after must be a sequence number."
            raise ApiError(400, what, param="starting_after", code="invalid_value")
        since = -1 if after is None else int(after)
        replayed = [(number, piece) for number, piece in stored.stream if not isinstance(number, int) or number > since]
        if stored.cancelled:
            # No event tells of a cancel, unless a variation has one.
            end = self._end(stored, info, variations) if len(replayed) >= _ends(stored) else []
            replayed = replayed[: -_ends(stored)] + [(None, piece) for piece in end]
        pieces = [piece for _, piece in replayed]
        if query.get("include_obfuscation") == "false":
            pieces = [piece._replace(data=_OBFUSCATION.sub(b"", piece.data)) for piece in pieces]
        if not stored.is_running(now):
            return self._send(200, _EVENT_STREAM, [piece._replace(delay=0.0) for piece in pieces], info, variations)
        reply = self._send(200, _EVENT_STREAM, pieces, info, variations)
        reply.chunks = _until_cancelled(reply.chunks, stored, lambda: self._end(stored, info, variations))
        return reply

    def _checked(self, name: str, request: Request) -> Json:
        """Return the parsed body of a request for an operation that the dialect may have; refuse what is invalid in it.

        Where the dialect lacks the operation nothing is checked, and there is no body.
        """
        operation = self.dialect.operations.get(name)
        return {} if operation is None else check_operation(operation, request)[1]

    def _end(self, stored: Stored, info: RequestInfo, variations: Sequence[Variation]) -> list[Piece]:
        """Return the pieces that end the stream of a cancelled response; none without a variation."""
        last = max((number for number, _ in stored.stream if isinstance(number, int)), default=0)
        events = [
            {**variation.cancelled(copy_json(stored.response), info), "sequence_number": last}
            for variation in variations
            if variation.cancelled is not None
        ]
        for event in events:
            for variation in variations:
                if variation.response is not None:
                    variation.response(event["response"], event["type"], info)
        return self._frames(events, info, variations) if events else []

    def _delete(self, info: RequestInfo, response_id: str, variations: Sequence[Variation]) -> Reply:
        with self._lock:
            self._found(response_id, info, variations)
            self._store.remove(response_id)
        return self._reply({"id": response_id, "object": "response", "deleted": True}, info, variations)

    def _cancel(self, info: RequestInfo, response_id: str, variations: Sequence[Variation]) -> Reply:
        now = self._clock()
        with self._lock:
            stored = self._found(response_id, info, variations)
            if not stored.background:
                raise ApiError(400, "Only a background response can be cancelled.", code="not_cancellable")
            if stored.is_running(now):
                stored.cancelled = True
            response = stored.current(now)
        return self._plain(response, info, variations)

    def _input_items(
        self, request: Request, info: RequestInfo, response_id: str, variations: Sequence[Variation]
    ) -> Reply:
        known = self.dialect.operations.get("input_items")
        query = check_page(request) if known is None else check_operation(known, request)[0]
        with self._lock:
            listing = page(self._found(response_id, info, variations).input_items, query)
        self._checked("input_items", request)
        for variation in variations:
            if variation.listing is not None:
                variation.listing(listing, info)
        return self._reply(listing, info, variations)

    # Conversations

    def _converse(self, request: Request, info: RequestInfo, variations: Sequence[Variation]) -> Reply:
        """Answer a request for an operation on conversations."""
        requested = requested_operation(self.dialect.operations.values(), request.method, request.path)
        if requested is None:
            raise ApiError(405, "The path does not take this method.", code="method_not_allowed")
        operation, ids = requested
        query, body = check_operation(operation, request)
        with self._lock:
            if operation.name == _CONVERSES:
                items = self._all_referenced(body.get("items") or [], info)
                made = self._store.conversations.create({**body, "items": items}, info.key, self._clock())
                return self._reply(made.resource, info, variations)
            found = self._conversation(ids["conversation_id"], info)
            if "item_id" in ids:
                return self._item(operation, found, ids["item_id"], info, variations)
            if operation.name == "create_conversation_items":
                added = found.add(self._all_referenced(body["items"], info), self._store.conversations.new_item_id)
                return self._reply(whole_page(added), info, variations)
            if operation.name == "list_conversation_items":
                return self._reply(page(found.items, query), info, variations)
            if operation.name == "update_conversation":
                found.metadata = body["metadata"]
            elif operation.name == "delete_conversation":
                self._store.conversations.remove(found.id)
                deleted = {"id": found.id, "object": "conversation.deleted", "deleted": True}
                return self._reply(deleted, info, variations)
            return self._reply(found.resource, info, variations)

    def _item(
        self,
        operation: Operation,
        conversation: StoredConversation,
        item_id: str,
        info: RequestInfo,
        variations: Sequence[Variation],
    ) -> Reply:
        """Return an item of a conversation, or delete it."""
        place = next((i for i, item in enumerate(conversation.items) if item["id"] == item_id), None)
        if place is None:
            raise _missing("item", item_id, "item_not_found")
        if operation.method == "DELETE":
            del conversation.items[place]
            return self._reply(conversation.resource, info, variations)
        return self._reply(copy_json(conversation.items[place]), info, variations)

    def _all_referenced(self, items: Sequence[Json], info: RequestInfo) -> list[Json]:
        return [self._referenced(item, index, info, (), "items") for index, item in enumerate(items)]

    def _new_id(self, prefix: str) -> str:
        return kept_id(prefix, next(self._ids), self.seed)

    def _input_tokens(self, request: Request, info: RequestInfo, variations: Sequence[Variation]) -> Reply:
        self._checked("input_tokens", request)
        body = _object(read_json(request))
        body = check_create({**body, "input": body.get("input") or []}, self.dialect, MODELS)
        with self._lock:
            resolved = self._resolve({**body, "request_id": None}, info, self._clock(), (), fails=False)
        for variation in variations:
            if variation.resolved is not None:
                resolved = variation.resolved(resolved, info)
        counted = {"object": "response.input_tokens", "input_tokens": resolved.input_tokens}
        return self._reply(counted, info, variations)

    def _render(self, request: Request, info: RequestInfo, variations: Sequence[Variation]) -> Reply:
        body = check_create(read_json(request), self.dialect, MODELS)
        with self._lock:
            resolved = self._resolve(body, info, self._clock(), (), fails=False)
        for variation in variations:
            if variation.resolved is not None:
                resolved = variation.resolved(resolved, info)
        rendered = {
            "request_id": resolved.id,
            "token_ids": list(range(max(1, resolved.input_tokens))),
            "sampling_params": {},
            "model": resolved.model,
        }
        return self._reply(rendered, info, variations)

    def _compact(self, request: Request, info: RequestInfo, variations: Sequence[Variation]) -> Reply:
        """Compact a conversation, in the dialects that define the operation."""
        if "compact" not in self.dialect.operations:
            raise ApiError(404, "There is nothing at /v1/responses/compact.", code="not_found")
        body = self._checked("compact", request)
        body = check_create({**body, "input": body.get("input") or []}, self.dialect, MODELS)
        with self._lock:
            name = _hexes(f"{self.seed}/compaction/{next(self._ids)}")
            resolved = self._resolve({**body, "request_id": None}, info, self._clock(), variations, fails=False)
        resolved = replace(resolved, id=resolved.new_id(f"resp_{name}"), stem=name)
        keeps = not any(variation.compacts_messages for variation in variations)
        return self._reply(compact(resolved, self._seal(info), keeps_messages=keeps), info, variations)

    def _models(self, name: str, info: RequestInfo, variations: Sequence[Variation]) -> Reply:
        models = [{"id": model, "object": "model", "created": 0, "owned_by": "rejoinder"} for model in MODELS]
        if not name:
            return self._reply({"object": "list", "data": models}, info, variations)
        for model in models:
            if model["id"] == name:
                return self._reply(model, info, variations)
        raise ApiError(404, f"The model {name[:200]!r} does not exist.", param="model", code="model_not_found")

    def _reply(self, body: Json, info: RequestInfo, variations: Sequence[Variation]) -> Reply:
        """Return a success whose body is no response object."""
        for variation in variations:
            if variation.other_reply is not None:
                variation.other_reply(body, info)
        return reply_with(body)

    def _own(self, response_id: str, info: RequestInfo, variations: Sequence[Variation]) -> Stored | None:
        """Return the response of that id if it belongs to who asks, or a fault shows it to anyone."""
        stored = self._store.get(response_id)
        if stored is None or stored.owner == info.key:
            return stored
        return (
            stored
            if any(variation.all_tenants is not None and variation.all_tenants(info) for variation in variations)
            else None
        )

    def _found(self, response_id: str, info: RequestInfo, variations: Sequence[Variation]) -> Stored:
        stored = self._own(response_id, info, variations)
        if stored is None:
            raise _missing("response", response_id, "response_not_found")
        return stored

    def _watched(self, chunks: Iterator[Piece], stored: Stored, variations: Sequence[Variation]) -> Iterator[Piece]:
        whole = False
        try:
            yield from chunks
            whole = True
        finally:
            if not whole:
                with self._lock:
                    for variation in variations:
                        if variation.on_reader_left is not None:
                            variation.on_reader_left(stored)

    def _counted(self, chunks: Iterator[Piece], outcome: str, number: int) -> Iterator[Piece]:
        ended = "aborted"
        try:
            yield from chunks
            ended = outcome
        finally:
            with self._lock:
                self._counts[ended] += 1
                self._in_flight.pop(number, None)


def _until_cancelled(chunks: Iterator[Piece], stored: Stored, end: Callable[[], Sequence[Piece]]) -> Iterator[Piece]:
    """Yield the pieces of a background stream until its response is cancelled, perhaps during a wait, then an end."""
    for piece in chunks:
        if piece.delay:
            yield Piece(piece.delay, b"")
        if stored.cancelled:
            yield from end()
            return
        yield piece._replace(delay=0.0)


def _ends(stored: Stored) -> int:
    """Return how many pieces at the end of a background stream tell that it ended: the last event, and what follows."""
    numbered = [place for place, (number, _) in enumerate(stored.stream) if number is not None]
    return len(stored.stream) - numbered[-1] if numbered else len(stored.stream)


def record(
    request: Request,
    reply: Reply,
    *,
    id: str,
    case: str = "",
    role: str = "",
    tags: Sequence[str] = (),
    started_at: float = 0.0,
    deadline: float = math.inf,
    read_limit: float = math.inf,
    pace: float = 0.0,
    elapse: Callable[[float], None] = lambda seconds: None,
) -> Exchange:
    """Read a reply and return the exchange that a client would have recorded, without letting time pass.

    ``deadline`` (seconds) and ``read_limit`` (bytes) end the reading early, with the outcome that a client gives it.
    ``pace`` is how many seconds a slow reader lets pass after each of its first ``SLOW_READS`` chunks,
    which it passes to ``elapse``.
    """
    now, size, chunks = 0.0, 0, []
    outcome = Outcome.CUT if reply.cut else Outcome.COMPLETE
    for delay, data in reply.chunks:
        now += delay
        if now > deadline:
            break
        part = data if size + len(data) <= read_limit else data[: int(read_limit) - size]
        if part:
            chunks.append(Chunk(now, part))
        size += len(data)
        if size > read_limit:
            outcome = Outcome.TOO_LARGE
            break
        if pace and len(chunks) <= SLOW_READS:
            now += pace
            elapse(pace)
    else:
        now += reply.hold
    if now > deadline:
        now, outcome = deadline, Outcome.TIMEOUT
    close = getattr(reply.chunks, "close", None)
    if close is not None:
        close()
    return Exchange(
        id=id,
        request=request,
        outcome=outcome,
        status=reply.status,
        headers=reply.headers,
        chunks=tuple(chunks),
        case=case,
        role=role,
        tags=tuple(tags),
        started_at=started_at,
        headers_at=0.0,
        ended_at=now,
        detail="the connection closed before the response was complete" if outcome is Outcome.CUT else "",
    )


def post(body: Any, path: str = "/v1/responses", headers: Headers = ()) -> Request:
    """Return a JSON request to the sandbox; ``body`` is any JSON value, or bytes to be sent as they are."""
    data = body if isinstance(body, bytes) else encode(body)
    return Request("POST", path, (("content-type", "application/json"), *headers), data)


def _freedoms(names: Iterable[str], dialect: Dialect) -> tuple[Freedom, ...]:
    order = list(load_freedoms())
    check_freedoms(dialect, order)
    found = [find(name, dialect, load_freedoms(), "freedom") for name in names]
    freedoms = tuple(sorted(found, key=lambda freedom: order.index(freedom.id)))
    for first, second in conflicts(freedoms):
        raise UsageError(
            f'Freedoms "{first.id}" and "{second.id}" exclude each other.', "Start the sandbox with one of them."
        )
    return freedoms


def route(request: Request, dialect: Dialect) -> tuple[str, str]:
    """Return the operation that a path names, and its argument; the empty operation for an unknown path.

    Operations on conversations have the names of the dialect.
    """
    steps = [unquote(step) for step in urlsplit(request.path).path.strip("/").split("/")]
    match steps:
        case ["health"]:
            return "health", ""
        case ["v1", "models"]:
            return "models", ""
        case ["v1", "models", name]:
            return "models", name
        case ["v1", "responses"]:
            return "create", ""
        case ["v1", "responses", ("input_tokens" | "render" | "compact") as operation]:
            return operation, ""
        case ["v1", "responses", response_id]:
            return "response", response_id
        case ["v1", "responses", response_id, ("cancel" | "input_items") as operation]:
            return operation, response_id
        case ["v1", "conversations", *_] if _CONVERSES in dialect.operations:
            known = dialect.operations.values()
            requested = requested_operation(known, request.method, request.path)
            if requested is not None:
                return requested.operation.name, requested.ids.get("conversation_id", "")
            methods = {operation.method for operation in known}
            if any(requested_operation(known, method, request.path) for method in methods):
                return "conversations", ""
    return "", ""


def _hexes(text: str) -> str:
    return hashlib.blake2s(text.encode(), digest_size=12).hexdigest()


def _check_outputs(history: Sequence[Json], fresh: Sequence[Json]) -> None:
    """Refuse the output of a function call that nobody made."""
    calls = {item.get("call_id") for item in (*history, *fresh) if not str(item.get("type")).endswith("_output")}
    for index, item in enumerate(fresh):
        call = item.get("call_id")
        if item.get("type") == "function_call_output" and call is not None and call not in calls:
            raise _missing("function call", call, "call_not_found", f"input[{index}].call_id", status=400)


def _missing(what: str, name: str, code: str, param: str | None = None, *, status: int = 404) -> ApiError:
    return ApiError(status, f"There is no {what} {name[:200]!r}.", param=param, code=code)


def _query(request: Request) -> dict[str, str]:
    return {key: values[-1] for key, values in parse_qs(urlsplit(request.path).query).items()}


def _object_in(request: Request) -> Mapping[str, Any]:
    """Return the JSON object in the body of a request, an empty one where there is none."""
    parsed: Any = request.json() if request.body else None
    return parsed if isinstance(parsed, dict) else {}


def _object(value: Any) -> Json:
    if not isinstance(value, dict):
        raise ApiError(400, "The body must be an object.", code="invalid_value")
    return value


def _numbered(event: Json, number: int) -> Json:
    first = {"type": event["type"]} if "type" in event else {}
    return {**first, "sequence_number": number, **event}


def _new_id(variations: Sequence[Variation], info: RequestInfo, id: str) -> str:
    for variation in variations:
        if variation.new_id is not None:
            id = variation.new_id(id, info)
    return id


def _with_ids(resolved: ResolvedRequest) -> list[Json]:
    return [
        listed(item, partial(resolved.new_id, f"in_{resolved.stem}{index:02x}"))
        for index, item in enumerate(resolved.fresh)
    ]


def _outcome(event: Json) -> str:
    return _OUTCOME_OF_STATUS.get(str(event.get("type")).removeprefix("response."), "")


def _http_outcome(status: int) -> str:
    return "http_429" if status == 429 else f"http_{status // 100}xx"

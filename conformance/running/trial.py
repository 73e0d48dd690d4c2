"""Trials: cases that are sent one after the other to see whether a finding shows, and what is right about them.

A smaller trial proves something only if a correct endpoint passes it and takes its requests. The embedded sandbox and
the schema are free, so every trial is held against both before it is sent.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final
from uuid import uuid4

from rejoinder.conformance.running.case import PlannedCase, Replies, RequestSpec
from rejoinder.conformance.running.in_process import dry_run
from rejoinder.conformance.running.script import BodyTemplate, PathTemplate, QueryTemplate
from rejoinder.contract import Dialect
from rejoinder.errors import RejoinderError
from rejoinder.formatting import one_line
from rejoinder.model.exchange import Chunk, Exchange, parse_json
from rejoinder.model.tags import ON_PURPOSE, Tag
from rejoinder.strategies import one_change, without_source
from rejoinder.validation import SchemaError
from rejoinder.wire.client import encode_json
from rejoinder.wire.target import Target

Trial = tuple[PlannedCase, ...]
"""Cases that are sent one after the other; the last one shows the finding."""

Place = tuple[int, str]
"""A request in a trial: the number of its case, and its role."""

_LARGEST_MENDED: Final = 16 * 1024
"""Bytes of a body beyond which nothing is changed to see whether it has one fault or several."""

_CHANGES: Final = 5_000
"""Changes of a body that are tried for that; each takes some microseconds."""

_NAMED: Final = re.compile(r"'[^']*'|\"[^\"]*\"|`[^`]*`|\d+")


@dataclass(frozen=True, slots=True)
class Soundness:
    """What is right and wrong about one request by the schema and by a correct endpoint.

    ``faults`` are the places and keywords of the schema that the body breaks, and ``single`` whether one change mends
    them all; ``status`` is that of the sandbox, and ``refusal`` says apart what it refuses.
    """

    faults: frozenset[tuple[str, str]]
    status: int | None
    refusal: str = ""
    single: bool = False

    @property
    def sound(self) -> bool:
        """Whether the request is valid beyond dispute, and a correct endpoint takes it."""
        return not self.faults and self.taken

    @property
    def taken(self) -> bool:
        """Whether a correct endpoint answers with 2xx."""
        return self.status is not None and 200 <= self.status < 300


class Screen:
    """Holds trials against the schema and the sandbox, which cost no request to the endpoint."""

    def __init__(self, target: Target, dialect: Dialect) -> None:
        self._target = target
        self._dialect = dialect
        self.validator = dialect.sound_requests
        self._dry: dict[str, list[list[Exchange]]] = {}
        self._single: dict[bytes, bool] = {}

    def exchanges(self, trial: Trial) -> list[list[Exchange]]:
        """Return what a correct endpoint makes of a trial, case by case; nothing for a dialect that it cannot speak."""
        key = key_of(trial)
        if key not in self._dry:
            try:
                self._dry[key] = dry_run(trial, self._dialect.reference, self._target.model)
            except RejoinderError:  # a custom dialect
                self._dry[key] = [[] for _ in trial]
        return self._dry[key]

    def soundness(self, trial: Trial) -> dict[Place, Soundness]:
        """Return how each request of a trial stands; requests that the sandbox never gets to are left out."""
        found: dict[Place, Soundness] = {}
        for number, (case, sent) in enumerate(zip(trial, self.exchanges(trial), strict=True)):
            roles = {planned.role: planned for planned in case.requests}
            for exchange in sent:
                if exchange.role in roles:
                    body = exchange.request.body
                    faults = self.faults(body) if is_create(roles[exchange.role]) else frozenset()
                    refusal = "" if exchange.ok else _refusal(exchange)
                    single = bool(faults) and self._is_single(body)
                    found[number, exchange.role] = Soundness(faults, exchange.status, refusal, single)
            if not sent:
                for role, planned in roles.items():
                    if is_create(planned) and not callable(planned.body):
                        body = bytes_of(planned.body)
                        faults = self.faults(body)
                        found[number, role] = Soundness(faults, 200, single=bool(faults) and self._is_single(body))
        return found

    def faults(self, body: bytes) -> frozenset[tuple[str, str]]:
        """Return keyword and place, without list indexes, of everything in a body that the dialect does not allow."""
        value = parse_json(body)
        if value is None:
            return frozenset({("json", "")})
        missing = frozenset(("source", kind) for kind in without_source(value))
        if self.validator.is_valid(value):
            return missing
        return missing | {
            (error.keyword, re.sub(r"/\d+", "/*", error.pointer)) for error in self.validator.errors(value)
        }

    def _is_single(self, body: bytes) -> bool:
        """Return whether one change makes a body valid, so that it has one fault only.

        A union hides further faults behind the first one: its alternatives all fail, whatever else is wrong.
        """
        key = hashlib.sha256(body).digest()
        if key not in self._single:
            value = parse_json(body) if len(body) <= _LARGEST_MENDED else None
            changes = () if value is None else one_change(value, self._dialect.reference)
            self._single[key] = any(
                self.validator.is_valid(changed) and not any(without_source(changed))
                for changed in islice(changes, _CHANGES)
            )
        return self._single[key]

    def allows(self, trial: Trial, before: Mapping[Place, Soundness]) -> bool:
        """Return whether a trial that was made of another has no fault that the other had not.

        ``before`` is the soundness of the other. What a correct endpoint accepted it must accept, what it refused it
        must refuse for the same reason, or accept as valid.
        """
        now = self.soundness(trial)
        for number, planned in ((number, planned) for number, case in enumerate(trial) for planned in case.requests):
            place = number, planned.role
            if place not in now:
                if place in before:
                    return False
                continue
            old, new = before.get(place), now[place]
            if old is None or not new.faults <= old.faults or (old.single and new.faults and not new.single):
                return False
            # An extreme request may be refused for any reason, or answered.
            same = Tag.EDGE in planned.tags or (new.taken == old.taken and new.refusal == old.refusal)
            if not same and not (new.sound and not old.sound):
                return False
        return True

    def settled(self, trial: Trial, before: Mapping[Place, Soundness]) -> Trial:
        """Return a trial with the tags that it should have: what is free of faults is tagged as valid."""
        now = self.soundness(trial)
        cases = []
        for number, case in enumerate(trial):
            requests = []
            for planned in case.requests:
                old, new = before.get((number, planned.role)), now.get((number, planned.role))
                mended = old is not None and new is not None and new.sound and not old.sound
                requests.append(replace(planned, tags=(Tag.VALID,)) if mended and is_create(planned) else planned)
            cases.append(replace(case, requests=tuple(requests)))
        return tuple(cases)

    def fault(self, trial: Trial) -> str:
        """Return in one sentence what is wrong with the requests of a trial themselves; empty when they are valid."""
        soundness = self.soundness(trial)
        for number, (case, sent) in enumerate(zip(trial, self.exchanges(trial), strict=True)):
            replies = {exchange.role: exchange for exchange in sent}
            for planned in case.requests:
                own, reply = soundness.get((number, planned.role)), replies.get(planned.role)
                if Tag.WRONG_KEY in planned.tags:
                    return "The request is invalid on purpose: the API key is wrong."
                if own is None or own.sound or not is_create(planned):
                    continue
                words = self._words(planned, reply)
                if words:
                    on_purpose = " on purpose" if ON_PURPOSE.intersection(planned.tags) else ""
                    return f"The request is invalid{on_purpose}: {words}"
        return ""

    def _words(self, planned: RequestSpec, reply: Exchange | None) -> str:
        body = reply.request.body if reply is not None else bytes_of(planned.body)
        value = parse_json(body)
        if value is None and body:
            return "the body is not JSON."
        errors: list[SchemaError] = self.validator.errors(value)
        if errors:
            return f"{one_line(errors[0].located, 300)}."
        error = (reply.json() or {}).get("error") if reply is not None and isinstance(reply.json(), dict) else None
        message = error.get("message") if isinstance(error, dict) else None
        return (
            f"a correct endpoint refuses it ({one_line(message, 300).rstrip('.')})." if isinstance(message, str) else ""
        )


def is_create(planned: RequestSpec) -> bool:
    """Return whether a request creates a response, so that the schema speaks of its body."""
    return planned.method == "POST" and planned.path == () and planned.body is not None


def _refusal(exchange: Exchange) -> str:
    """Return what distinguishes the refusals of the sandbox: status, code, field, and its words without values."""
    body = exchange.json()
    error = body.get("error") if isinstance(body, dict) else None
    found = error if isinstance(error, dict) else {}
    words = _NAMED.sub("", str(found.get("message", "")))
    param = re.sub(r"\d+", "*", str(found.get("param")))
    return json.dumps([exchange.status, found.get("code"), param, words])


def fresh(case: PlannedCase) -> PlannedCase:
    """Return a case that can be sent again: every name that a request gives itself is replaced by a new one.

    The functions of the case see replies in which the old names stand, since they may compare with them.
    """
    # A name that is wrong on purpose stays as it is.
    bodies = [p.body for p in case.requests if isinstance(p.body, dict) and Tag.INVALID not in p.tags]
    names = {body["request_id"] for body in bodies if isinstance(body.get("request_id"), str)}
    makes = any(callable(planned.body) for planned in case.requests)
    if not names and not makes:
        return case
    new = {name: _another(name) for name in names}

    def renamed(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        name = value.get("request_id")
        if isinstance(name, str) and name not in new.values():
            new.setdefault(name, _another(name))
        return _mapped(value, new)

    def as_before(replies: Replies) -> Replies:
        old = {later: name for name, later in new.items()}
        return {role: _with_names(reply, old) for role, reply in replies.items()} if old else replies

    def body(make: Any) -> Any:
        if isinstance(make, BodyTemplate):
            return BodyTemplate(renamed(make.value))
        return (lambda replies: renamed(make(as_before(replies)))) if callable(make) else renamed(make)

    def path(make: Any) -> Any:
        if not callable(make):
            return tuple(new.get(part, part) for part in make)
        if isinstance(make, PathTemplate):
            return make

        def made(replies: Replies) -> tuple[str, ...] | None:
            below = make(as_before(replies))
            return None if below is None else tuple(new.get(part, part) for part in below)

        return made

    def query(make: Any) -> Any:
        if not callable(make) or isinstance(make, QueryTemplate):
            return make
        return lambda replies: make(as_before(replies))

    requests = (
        planned
        if Tag.INVALID in planned.tags and not callable(planned.body)
        else replace(planned, body=body(planned.body), path=path(planned.path), query=query(planned.query))
        for planned in case.requests
    )
    return replace(case, requests=tuple(requests))


def _another(name: str) -> str:
    return f"{name[:200]}-{uuid4().hex[:12]}"


def _mapped(value: Any, names: Mapping[str, str]) -> Any:
    """Return a JSON value in which strings that are a name are replaced."""
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, dict):
        return {name: _mapped(child, names) for name, child in value.items()}
    return [_mapped(child, names) for child in value] if isinstance(value, list) else value


def _with_names(reply: Exchange, names: Mapping[str, str]) -> Exchange:
    """Return an exchange in which names are replaced, in what was sent as in what came back."""

    def named(data: bytes) -> bytes:
        for name, other in names.items():
            data = data.replace(name.encode("utf-8", "surrogatepass"), other.encode("utf-8", "surrogatepass"))
        return data

    sent = replace(reply.request, body=named(reply.request.body))
    return replace(reply, request=sent, chunks=tuple(Chunk(chunk.t, named(chunk.data)) for chunk in reply.chunks))


def object_of(body: Any, largest: int) -> dict[str, Any] | None:
    """Return the JSON object that a request's body is, perhaps with references in it; ``None`` for anything else."""
    if isinstance(body, BodyTemplate):
        body = body.value
    if isinstance(body, bytes):
        body = parse_json(body) if len(body) <= largest else None
    return body if isinstance(body, dict) else None


def bytes_of(body: Any) -> bytes:
    """Return the bytes of a body; what a template takes from replies counts as its name."""
    if isinstance(body, BodyTemplate):
        return json.dumps(body.value, default=repr).encode()
    return b"" if body is None or callable(body) else body if isinstance(body, bytes) else encode_json(body)


def key_of(trial: Trial) -> str:
    """Return what distinguishes two trials of one run."""
    return json.dumps([[case.id, list(_parts(case))] for case in trial])


def _parts(case: PlannedCase) -> Iterator[Any]:
    for planned in case.requests:
        make = planned.body if callable(planned.body) and not isinstance(planned.body, BodyTemplate) else None
        digest = hashlib.sha256(bytes_of(planned.body)).hexdigest() if make is None else f"made {planned.role}"
        yield [planned.role, planned.method, digest]


def size_of(trial: Trial) -> tuple[int, int, int]:
    """Return the number of requests in a trial, of the functions that make bodies, and of the bytes in the others."""
    requests: Sequence[RequestSpec] = [planned for case in trial for planned in case.requests]
    made = sum(callable(planned.body) and not isinstance(planned.body, BodyTemplate) for planned in requests)
    return len(requests), made, sum(len(bytes_of(planned.body)) for planned in requests)

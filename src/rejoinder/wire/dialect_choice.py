"""Choosing a dialect for an endpoint: from what it says of itself, and from the shape of its first replies.

A shipped dialect fits by its marks, which its file lists, or by shape: its response schema accepts the first response
object, it has all events of the first stream with their fields, and the stream ends as it says. Without a stream, the
response object decides alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from rejoinder.contract import DEFAULT_DIALECT, Dialect, Mark, dialect_label, dialect_names, load_dialect
from rejoinder.formatting import join_list, one_line, plural
from rejoinder.model.exchange import Exchange, Outcome, parse_json
from rejoinder.validation import pointer_keys
from rejoinder.wire.sse import read_events

AUTO: Final = "auto"
"""The name that stands for the dialect that fits an endpoint."""

VERSION, STREAM = "version", "stream"
"""The roles of the two requests that are sent to choose a dialect."""

_SNAPSHOTS: Final = ("response.completed", "response.incomplete", "response.failed")


@dataclass(frozen=True, slots=True)
class Choice:
    """The dialect that fits an endpoint, and why, as the end of a sentence; ``clear`` if it is marked as its own."""

    dialect: str
    reason: str
    clear: bool = False

    @property
    def sentence(self) -> str:
        """The choice in one line."""
        return f"Dialect {dialect_label(self.dialect)}: {self.reason}."

    @property
    def hint(self) -> str:
        """What a run without ``auto`` shows, in one line."""
        return f"Hint: {self.reason}. --dialect {self.dialect} fits: {dialect_label(self.dialect)}"


@dataclass(frozen=True, slots=True)
class _Evidence:
    """What the endpoint sent, as one JSON object that marks point into.

    ``document`` has the headers of the first response under ``headers`` (names in lower case), the JSON bodies of
    ``GET /version`` and ``GET /v1/models`` under ``version`` and ``models``, and the first response object under
    ``response``. ``events`` are the events of the first stream, or ``None`` without one, ``done`` is whether
    ``data: [DONE]`` ended it.
    """

    document: Mapping[str, Any]
    events: tuple[Mapping[str, Any], ...] | None
    done: bool

    @property
    def response(self) -> Mapping[str, Any] | None:
        """The first response object, ``None`` if there was none."""
        found = self.document.get("response")
        return found if isinstance(found, Mapping) else None


def choose(exchanges: Iterable[Exchange]) -> Choice:
    """Return the shipped dialect that fits the endpoint of these exchanges best; the default one if none stands out.

    Marks decide first: the dialect with the most of them. If the first response object breaks its schema, a dialect
    that fits by shape goes before it. Of the dialects that fit by shape, the one that requires most fields is chosen.
    """
    evidence = _gather(exchanges)
    return _best(evidence) or _default(evidence)


def better_than(dialect: str, exchanges: Iterable[Exchange]) -> Choice | None:
    """Return the shipped dialect that fits the endpoint of these exchanges better than the one in use, if one does.

    That is a dialect that the endpoint marks as its own. A dialect that fits by its shape is better than the default
    one, and than one that does not fit; its choice is not ``clear``.
    """
    evidence, used = _gather(exchanges), load_dialect(dialect)
    choice = _best(evidence)
    if choice is None or choice.dialect in (DEFAULT_DIALECT, *used.lineage):
        return None
    return choice if choice.clear or used.name == DEFAULT_DIALECT or not _fits(used, evidence) else None


def _best(evidence: _Evidence) -> Choice | None:
    """Return the dialect that stands out by its marks or its shape, if one does."""
    dialects = [load_dialect(name) for name in dialect_names()]
    marks = {dialect.name: [mark.says for mark in dialect.marks if _shows(evidence, mark)] for dialect in dialects}
    fitting = [dialect for dialect in dialects if _fits(dialect, evidence)]
    most = max(len(found) for found in marks.values())
    marked = [dialect for dialect in dialects if most and len(marks[dialect.name]) == most]
    if len(marked) == 1 and (marked[0] in fitting or not _special(fitting)):
        return Choice(marked[0].name, ", and ".join(marks[marked[0].name]), clear=True)
    best = _special(fitting)
    return None if best is None else Choice(best.name, _why(best, evidence))


def _default(evidence: _Evidence) -> Choice:
    """Return the default dialect, with what speaks against the others."""
    misfits = {name: _misfit(load_dialect(name), evidence) for name in dialect_names()}
    found = "; ".join(f"for {name}, {misfit}" for name, misfit in misfits.items() if misfit)
    if evidence.response is None or not found:
        return Choice(DEFAULT_DIALECT, "the default, because nothing that the endpoint sent points to another one")
    which = "no dialect" if misfits[DEFAULT_DIALECT] else "no other dialect"
    return Choice(DEFAULT_DIALECT, f"the default, because {which} fits: {found}")


def _required(dialect: Dialect) -> int:
    return len(dialect.response_validator.schema["required"])


def _special(fitting: list[Dialect]) -> Dialect | None:
    """Return the dialect that requires more than all others that fit, and than the default dialect."""
    ranked = sorted(fitting, key=_required, reverse=True)
    if not ranked or _required(ranked[0]) <= _required(load_dialect(DEFAULT_DIALECT)):
        return None
    return None if len(ranked) > 1 and _required(ranked[1]) == _required(ranked[0]) else ranked[0]


def _fits(dialect: Dialect, evidence: _Evidence) -> bool:
    """Return whether all that the endpoint sent is of the dialect; what is not takes longer to say."""
    valid = evidence.response is not None and dialect.response_validator.is_valid(evidence.response)
    return valid and not _stream_misfit(dialect, evidence)


def _misfit(dialect: Dialect, evidence: _Evidence) -> str:
    """Return what the endpoint sent that is not of the dialect, as a clause; empty where all of it is."""
    if evidence.response is None:
        return "there is no response object"
    errors = dialect.response_validator.errors(evidence.response)
    missing = [error.pointer[1:] for error in errors if error.keyword == "required" and error.pointer.count("/") == 1]
    if missing:
        return f"the response object lacks {join_list(missing, 4)}"
    if errors:
        return f"the response object is wrong at {errors[0].pointer}"
    return _stream_misfit(dialect, evidence)


def _stream_misfit(dialect: Dialect, evidence: _Evidence) -> str:
    """Return what of the first stream is not of the dialect, as a clause; empty where all is, or without a stream."""
    if evidence.events is None:
        return ""
    if evidence.done and dialect.stream["done_sentinel"] == "absent":
        return "data: [DONE] ends the stream"
    if not evidence.done and dialect.stream["done_sentinel"] == "required":
        return "the stream ends without data: [DONE]"
    unknown = [event["type"] for event in evidence.events if not _knows(dialect, event)]
    return f"the event {one_line(unknown[0], 80)} is unknown or lacks a field" if unknown else ""


def _knows(dialect: Dialect, event: Mapping[str, Any]) -> bool:
    """Return whether the dialect has an event of that type, whose required fields this one has.

    Events of a vendor's own, such as ``acme:progress``, may be in any stream.
    """
    spec = dialect.events.get(event["type"])
    if spec is None:
        return ":" in event["type"].strip(":") or event["type"] in dialect.stream["ignored_events"]
    return event.keys() >= set(spec.required)


def _why(dialect: Dialect, evidence: _Evidence) -> str:
    found = [f"the response object has all {plural(_required(dialect), 'field')} that {dialect.name} requires"]
    if evidence.done:
        found.append("data: [DONE] ends the stream")
    return ", and ".join(found)


def _shows(evidence: _Evidence, mark: Mark) -> bool:
    value: Any = evidence.document
    for key in pointer_keys(mark.at):
        if isinstance(value, Mapping) and key in value:
            value = value[key]
        elif isinstance(value, list) and key.isdecimal() and int(key) < len(value):
            value = value[int(key)]
        else:
            return False
    return not mark.matches or re.search(mark.matches, str(value)) is not None


def _gather(exchanges: Iterable[Exchange]) -> _Evidence:
    document: dict[str, Any] = {}
    events: tuple[Mapping[str, Any], ...] | None = None
    done = False
    for exchange in exchanges:
        if events is not None and "response" in document and "headers" in document:
            break  # what a dialect is chosen by comes with the first requests
        request = exchange.request
        path = request.path.partition("?")[0].rstrip("/")
        if not exchange.ok or exchange.outcome is not Outcome.COMPLETE:
            continue
        if request.method == "GET" and path.endswith("/version"):
            document.setdefault("version", exchange.json())
        elif request.method == "GET" and path.endswith("/models"):
            document.setdefault("models", exchange.json())
        elif request.method == "POST" and path.endswith("/responses"):
            document.setdefault("headers", {name.lower(): value for name, value in exchange.headers})
            if exchange.content_type != "text/event-stream":
                body = exchange.json()
                if isinstance(body, dict) and "output" in body:
                    document.setdefault("response", body)
            elif events is None:
                sent = [event for event in read_events(exchange.chunks)[0] if event.has_data]
                done = any(event.data == "[DONE]" for event in sent)
                bodies = [parse_json(event.data) for event in sent]
                found = [body for body in bodies if isinstance(body, dict) and isinstance(body.get("type"), str)]
                events = tuple(found) or None
                last = next(
                    (body["response"] for body in found if body["type"] in _SNAPSHOTS and "response" in body), None
                )
                if last is not None and "response" not in document:
                    document["response"] = last
    return _Evidence(document, events, done)

"""The compliance suite that the authors of a dialect publish: what it sends, and its verdict on the replies.

``official.toml`` restates the suite as data. The plan ``official`` sends its requests as they are. This module tests
the replies as the suite does, so that its verdict stands beside those of the rules. The two may differ: the suite takes
a model that calls no tool for a failure, and rules look at much that the suite does not.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

import msgspec

from rejoinder.conformance.judging.exchange_view import ExchangeView
from rejoinder.conformance.judging.problems import is_integer
from rejoinder.contract import Dialect, load_dialect, load_documents
from rejoinder.formatting import one_line, plural
from rejoinder.model.exchange import Exchange
from rejoinder.model.footer import SuiteCaseResult, SuiteResult, SuiteVerdict
from rejoinder.model.tags import Tag
from rejoinder.validation import Validator

PLAN: Final = "official"
"""The name of the plan that sends the suite."""

_REASONS: Final = 20
"""Reasons of one case that are kept."""


@dataclass(frozen=True, slots=True)
class SuiteCase:
    """One case of the suite; the fields are described in ``official.toml``."""

    name: str
    title: str
    path: str = ""
    body: Mapping[str, Any] | None = None
    model: bool = True
    streamed: bool = False
    statuses: tuple[int, ...] = (200,)
    valid: str = ""
    expects: tuple[str, ...] = ()
    unsent: str = ""

    @property
    def id(self) -> str:
        """The id of the case in a run."""
        return f"{PLAN}.{self.name}"


@dataclass(frozen=True, slots=True)
class Suite:
    """A compliance suite: the dialect that it tests, and where it is published at which revision."""

    name: str
    dialect: str
    url: str
    revision: str
    cases: tuple[SuiteCase, ...]


@cache
def load_suite() -> Suite:
    """Return the official suite."""
    table = tomllib.loads(files("rejoinder.conformance.judging").joinpath("official.toml").read_text("utf-8"))
    document = load_documents()[table["document"]]
    cases = msgspec.convert(table["case"], tuple[SuiteCase, ...])
    return Suite(table["name"], table["dialect"], document["url"], document["revision"], cases)


def suite_of(dialect: Dialect) -> Suite | None:
    """Return the suite that tests a dialect, or the one that it is based on; ``None`` if there is none."""
    suite = load_suite()
    return suite if suite.dialect in dialect.lineage else None


@dataclass(frozen=True, slots=True)
class _Reply:
    """A reply as the suite sees it: its JSON object, for a stream that of the terminal event, and the stream's events.

    ``raw`` is ``None`` where there is no JSON.
    """

    view: ExchangeView
    raw: Any

    @property
    def output(self) -> list[Any]:
        found = self.raw.get("output") if isinstance(self.raw, dict) else None
        return found if isinstance(found, list) else []


def _field(name: str, wanted: str, reply: _Reply) -> Iterator[str]:
    found = reply.raw.get(name) if isinstance(reply.raw, dict) else None
    if found != wanted:
        yield f"{name} is {_shown(found)}, expected {_shown(wanted)}."


def _output(reply: _Reply) -> Iterator[str]:
    if not reply.output:
        yield "output has no items."


def _item(kind: str, reply: _Reply) -> Iterator[str]:
    if not any(isinstance(item, dict) and item.get("type") == kind for item in reply.output):
        yield f'output has no item of type "{kind}".'


def _events(reply: _Reply) -> Iterator[str]:
    if not reply.view.events:
        yield "The stream has no events."
    for event in reply.view.events:
        if not event.is_json:
            yield f"Event {event.number} is not JSON: {event.error}."
        elif event.type not in reply.view.dialect.events:
            yield f'Event {event.number} has the type "{one_line(event.type, 80)}", which the specification lacks.'
        elif not is_integer(event.data.get("sequence_number")):
            yield f"Event {event.number} ({event.type}) has no integer sequence_number."
        elif errors := _event_validator(reply.view.dialect.reference, event.type).errors(event.value):
            yield f"Event {event.number} ({event.type}) does not match its schema: {one_line(errors[0].located, 200)}."


@cache
def _event_validator(dialect: str, kind: str) -> Validator:
    return Validator(load_dialect(dialect).event_schema(kind))


EXPECTATIONS: Final[Mapping[str, Callable[[_Reply], Iterator[str]]]] = {
    "output": _output,
    "completed": lambda reply: _field("status", "completed", reply),
    "events": _events,
    "item function_call": lambda reply: _item("function_call", reply),
    "item compaction": lambda reply: _item("compaction", reply),
    "object response.compaction": lambda reply: _field("object", "response.compaction", reply),
}
"""What a case may expect of a reply, by the name in ``official.toml``: each function yields a sentence per fault."""


def measure_suite(exchanges: Iterable[Exchange]) -> SuiteResult:
    """Return the verdict of the suite on each of its cases, from the exchanges of a run of the plan ``official``."""
    suite = load_suite()
    dialect = load_dialect(suite.dialect)
    sent = {exchange.case: exchange for exchange in exchanges if Tag.UNJUDGED not in exchange.tags}
    results = [_result(case, sent.get(case.id), dialect) for case in suite.cases]
    return SuiteResult(name=suite.name, url=suite.url, revision=suite.revision, cases=results)


def _result(case: SuiteCase, exchange: Exchange | None, dialect: Dialect) -> SuiteCaseResult:
    if exchange is None:
        reason = case.unsent or "The run ended before the case."
        return SuiteCaseResult(case=case.name, title=case.title, verdict=SuiteVerdict.NOT_SENT, reasons=[reason])
    reasons = list(_faults(case, exchange, dialect))
    more = [f"{plural(len(reasons) - _REASONS, 'more reason')}."] if len(reasons) > _REASONS else []
    return SuiteCaseResult(
        case=case.name,
        title=case.title,
        verdict=SuiteVerdict.FAILED if reasons else SuiteVerdict.PASSED,
        reasons=[*reasons[:_REASONS], *more],
        exchange=exchange.id,
    )


def _faults(case: SuiteCase, exchange: Exchange, dialect: Dialect) -> Iterator[str]:
    if exchange.status not in case.statuses:
        wanted = " or ".join(map(str, case.statuses))
        found = exchange.detail or f"The endpoint returned status {exchange.status}"
        yield f"{found.rstrip('.')}, expected {wanted}."
        return
    if not case.valid:
        return
    view = ExchangeView(exchange, dialect)
    terminal = view.fold.terminal if case.streamed else None
    raw = (terminal.response if terminal else None) if case.streamed else exchange.json()
    validator = _reply_validator(dialect.reference, case.valid)
    if raw is None:
        yield "The stream has no terminal event." if case.streamed else "The body is not JSON."
    else:
        for error in validator.errors(raw):
            yield f"The {'response object' if case.valid == 'response' else 'reply'} does not match its schema: " + (
                f"{one_line(error.located, 200)}."
            )
    reply = _Reply(view, raw)
    for name in case.expects:
        yield from EXPECTATIONS[name](reply)


@cache
def _reply_validator(dialect: str, name: str) -> Validator:
    spec = load_dialect(dialect)
    return spec.response_validator if name == "response" else Validator(spec.operations[name].reply)


def _shown(value: Any) -> str:
    return f'"{one_line(value, 80)}"' if isinstance(value, str) else "null" if value is None else one_line(value, 80)

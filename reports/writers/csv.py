"""CSV of requests: one row for each recorded exchange and each measured request, for spreadsheets and data frames."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from io import StringIO
from typing import Any, Final

from rejoinder.formatting import as_number, inert, one_line
from rejoinder.model.exchange import Exchange
from rejoinder.model.metrics import Place, rows_shown
from rejoinder.model.runfile import Run
from rejoinder.model.samples import RequestSample

_FORMULA: Final = re.compile("(^|;)( *[\"']* *)(?=[=+\\-@\uff1d\uff0b\uff0d\uff20])")
"""Where a formula begins: at the start of a cell, or after a semicolon, at which spreadsheets split a line where the
comma is the decimal separator. The full-width signs begin one in East Asian spreadsheets; quotation marks vanish."""
_RECORDED: Final = ("source", "id", "case", "role", "tags", "method", "path", "outcome", "started_at")
_TOKENS: Final = ("input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens", "estimated_tokens")
_MEASURED: Final = ("t", "intended", "status", "waited", "chunks", "deltas", *_TOKENS, "worker")


def columns() -> tuple[str, ...]:
    """Return the columns, the same for every run; numbers stand in their columns bare, and are empty without one."""
    times = (row.name for row in rows_shown(Place.REQUEST))
    return (
        *_RECORDED,
        *("request_bytes", "reply_bytes", "weight", *_MEASURED[:3]),
        *times,
        *_MEASURED[3:],
        *("rules", "known", "detail"),
    )


def render_csv(run: Run) -> str:
    """Return every request of the run as CSV in UTF-8 with a header row.

    ``source`` is ``check`` for recorded exchanges and ``load`` for measured requests. All times are seconds:
    ``started_at`` is Unix time, ``t`` and ``intended`` count from the start of the load, all others from the start of
    the request. ``waited`` is how long a request without an end was waited for. ``rules`` are those that an exchange is
    evidence against, ``known`` those of them that a baseline expects there. ``e2e`` of an exchange is the time to the
    end of its reply. No cell begins a formula.
    """
    file = StringIO()
    writer = csv.DictWriter(file, columns(), restval="", lineterminator="\n")
    writer.writeheader()
    for row in _rows(run):
        writer.writerow({name: _cell(value) for name, value in row.items() if value is not None})
    return file.getvalue()


def _rows(run: Run) -> Iterator[dict[str, Any]]:
    broken, known = _broken(run, known=False), _broken(run, known=True)
    for exchange in run.exchanges:
        yield _exchange(exchange, broken.get(exchange.id, []), known.get(exchange.id, []))
    for sample in run.samples_of(RequestSample):
        numbers = {name: getattr(sample, name) for name in _MEASURED}
        yield {
            **{"source": "load", "outcome": sample.outcome.value, **numbers, **sample.times},
            "weight": None if sample.weight == 1 else sample.weight,
            "rules": " ".join(sample.rules),
            "detail": sample.detail,
        }


def _exchange(exchange: Exchange, rules: list[str], known: list[str]) -> dict[str, Any]:
    return {
        "source": "check",
        "id": exchange.id,
        "case": exchange.case,
        "role": exchange.role,
        "tags": " ".join(exchange.tags),
        "method": exchange.request.method,
        "path": exchange.request.path,
        "outcome": exchange.outcome.value,
        "started_at": as_number(exchange.started_at) or None,
        "request_bytes": len(exchange.request.body),
        "reply_bytes": len(exchange.body),
        "status": as_number(exchange.status),
        "ttfb": as_number(exchange.headers_at),
        "e2e": as_number(exchange.ended_at),
        "chunks": len(exchange.chunks),
        "rules": " ".join(rules),
        "known": " ".join(known),
        "detail": exchange.detail,
    }


def _broken(run: Run, *, known: bool) -> dict[str, list[str]]:
    """Return the rules that an exchange is evidence against, all or those that a baseline expects.

    Of other exchanges of the same finding the run says the case only.
    """
    broken: dict[str, list[str]] = {}
    for verdict in run.verdicts:
        for finding in verdict.findings:
            if known and finding.known is None:
                continue
            rules = broken.setdefault(finding.evidence.exchange, [])
            if verdict.rule not in rules:
                rules.append(verdict.rule)
    return broken


def _cell(value: Any) -> str:
    if isinstance(value, (int, float)):
        return f"{value:.6f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
    # An apostrophe before the sign makes it text.
    return _FORMULA.sub(r"\1\2'", inert(one_line(value, 300)))

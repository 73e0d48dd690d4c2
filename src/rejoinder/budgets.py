"""Budgets: how much of a reply and of an input file is read. Everything that reads one takes its limits from here.

A reply that is over a limit is cut there and recorded as cut (the outcome ``too_large``); what was cut is held against
nobody. Content codings are never decoded, so the size of a body is its size on the wire.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

from rejoinder.formatting import plural

KIB: Final = 1024
MIB: Final = 1024 * KIB

DEPTH: Final = 100
"""Nesting of JSON beyond which nothing is parsed; no reply of the contract comes near."""


@dataclass(frozen=True, slots=True)
class ReplyBudget:
    """What is read of one reply. Sizes are bytes.

    ``head``: status line and headers, and again for all interim (1xx) replies. ``trailers``: after a chunked body.
    ``body``: the body without its framing. ``lines``: line feeds in it; an event of a stream has two or three.
    ``values``: commas, brackets and braces in it, of which each value of a JSON document beside the first needs one.
    ``chunks``: reads that the body came in. ``weight``: memory that the body may take in all, as :func:`weight_of`
    estimates it.
    """

    body: int
    head: int = 100 * KIB
    trailers: int = 100 * KIB
    lines: int = 200_000
    values: int = 500_000
    chunks: int = 50_000
    weight: int = 1024 * MIB


CHECK: Final = ReplyBudget(body=8 * MIB, weight=40 * MIB)
"""A reply to a request of a check. (``head`` and ``trailers`` are those of httpcore, which reads them.)"""
CHECK_RUN: Final = 240 * MIB
"""Memory that the replies of a check may take together, as :func:`weight_of` estimates it."""
CHECK_RESERVE: Final = 80 * MIB
"""What of it is for replies that weigh no more than :data:`CHECK_LEAST`."""
CHECK_SHARE: Final = 4
"""A larger reply gets at most this part, a quarter, of what else is left."""
CHECK_LEAST: Final = 256 * KIB
"""A reply may always weigh this much, while there is any budget left; a usual stream weighs a third of it."""

REQUEST_TIMEOUTS: Final = 3
"""Timeouts that a request of a check may take with all that belongs to it: waits for a busy endpoint, repetitions and
polling."""
CASE_SPARE_TIMEOUTS: Final = 2
"""Timeouts that a case of a check may take besides one for each of its steps."""

PREFLIGHT_SECONDS: Final = 60.0
"""Seconds that each request to find the endpoint may take at most, whatever --timeout is."""
PREFLIGHT_LEAST: Final = 10.0
"""Seconds that it may take before a load run, whose --timeout limits silence only, if that is less."""
SUSPENSION_LIMIT: Final = 3.0
"""Seconds for which rejoinder may be suspended (SIGSTOP, Ctrl-Z) before that counts: an open loop would catch up with
all that it missed in one burst, and the time of a request in flight says nothing of the endpoint."""

LOAD: Final = ReplyBudget(body=16 * MIB, lines=400_000, values=1_000_000, chunks=400_000)
"""A reply to a request of a load run."""
LOAD_STREAM: Final = 4 * MIB
"""Bytes of a reply in flight that every request of a load run may hold."""
LOAD_LONG: Final = 48 * MIB
"""Bytes that replies in flight above :data:`LOAD_STREAM` may hold together, in each load generator process."""
LOAD_WAITING: Final = 48 * MIB
"""Bytes that may wait for the analysis worker of a load generator process before new requests wait."""
LOAD_SAMPLED: Final = 24 * MIB
"""Bytes that may wait for it before only some replies are tested against all rules."""
LOAD_EVIDENCE: Final = 1 * MIB
"""Bytes of a body that the run file of a load run keeps."""

MODELS: Final = replace(CHECK, body=2 * MIB, values=100_000)
"""A model list."""
MODELS_SECONDS: Final = 10.0
"""Seconds that the model list may take, if not less by --timeout."""
MODEL_NAME: Final = 512
"""Characters of the name of a model; longer ones are left out."""
METRICS: Final = 4 * MIB
"""Bytes of a page of metrics."""
METRICS_SECONDS: Final = 2.0
"""Seconds that the page may take in all."""

INPUT_TOML: Final = 4 * MIB
"""Bytes of a TOML file, a dialect or the file of --extra-body."""
INPUT_OPENAPI: Final = 16 * MIB
"""Bytes of an OpenAPI document."""
SCHEMA_PLACES: Final = 200_000
"""Objects and lists of a contract schema when its references are followed; the largest shipped one has under 20,000."""
INPUT_CERTIFICATES: Final = 4 * MIB
"""Bytes of a file of certificates or of a key."""
INPUT_BODIES: Final = 64 * MIB
"""Bytes of a file of request bodies."""
INPUT_BODY_VALUES: Final = 1_000_000
"""Commas, brackets and braces of one line of them, or of all of them in a JSON array."""
INPUT_TRACE: Final = 128 * MIB
"""Bytes of a trace."""
INPUT_RUN_LINE: Final = 128 * MIB
"""Bytes of one line of a run file."""
INPUT_RUN: Final = 1024 * MIB
"""Bytes of a run file that are read."""
INPUT_RUN_LINES: Final = 2_000_000
"""Lines of a run file that are read; ten times those of a check of a day, or of a load."""
INPUT_RUN_DAMAGE: Final = 1000
"""Damaged lines of a run file that are described."""
INPUT_RUN_PIPE: Final = 256 * MIB
"""Bytes of a run file that is a pipe or device."""
INPUT_VALUES: Final = 4_000_000
"""Commas, brackets and braces of a JSON document in a file of a user, or of one line of a run file."""
INPUT_DIGITS: Final = 300
"""Digits of an integer in JSON of a user, of which a floating-point number can be made. TOML has 64 bits."""
INPUT_SECONDS: Final = 10.0
"""Seconds that a pipe or device may send nothing."""
INPUT_TOKENS: Final = 2_000_000
"""Tokens of the input of one request, as a profile or trace may want it."""

MAX_EVENT: Final = 16 * MIB
"""Bytes of one event that the event-stream reader keeps."""
MAX_EVENTS: Final = 300_000
"""Events of one stream that it reads."""

_BYTE: Final = 4
_LINE: Final = 200
_VALUE: Final = 32
_ARRAY: Final = 100
_OBJECT: Final = 240
_CHUNK: Final = 64
_STRUCTURE: Final = re.compile(rb"[,\[{]")


def weight_of(body: bytes, chunks: int) -> int:
    """Return about how many bytes of memory a body takes while it is tested; ``chunks`` is their number."""
    return _weight(body, chunks)


class ReplyMeter:
    """Counts a body against its budget, piece by piece.

    ``size`` is how many bytes were kept. ``exceeded`` is empty until a limit is reached, and then says which;
    ``overweight`` is whether that is the weight.
    """

    __slots__ = ("_budget", "_chunks", "_lines", "_values", "_weight", "exceeded", "overweight", "size")

    def __init__(self, budget: ReplyBudget) -> None:
        self.size = 0
        self.exceeded = ""
        self.overweight = False
        self._budget = budget
        self._chunks = self._lines = self._values = self._weight = 0

    def take(self, data: bytes) -> bytes:
        """Count the next piece and return what may be kept of it: all of it, or what comes before the first limit."""
        if self.exceeded or not data:
            return b""
        budget = self._budget
        limits = []
        heavy = f"content for more than {budget.weight // KIB:,} KiB of memory"
        if self.size + len(data) > budget.body:
            limits.append((budget.body - self.size, f"more than {plural(budget.body, 'byte')}"))
        lines, values = data.count(b"\n"), _values(data)
        if self._lines + lines > budget.lines:
            at = _place(rb"\n", data, budget.lines - self._lines)
            limits.append((at, f"more than {plural(budget.lines, 'line')}"))
        if self._values + values > budget.values:
            at = _place(_STRUCTURE, data, budget.values - self._values)
            limits.append((at, f"more than {plural(budget.values, 'JSON value')}"))
        weight = _weight(data, 1)
        if self._weight + weight > budget.weight:  # estimated as if it were spread evenly over the piece
            left = max(0, budget.weight - self._weight)
            limits.append((len(data) * left // weight, heavy))
        if self._chunks >= budget.chunks:
            limits.append((0, f"more than {plural(budget.chunks, 'chunk')}"))
        if limits:
            at, self.exceeded = min(limits, key=lambda limit: limit[0])
            self.overweight = self.exceeded == heavy
            data = data[:at]
        self.size += len(data)
        self._lines += lines
        self._values += values
        self._weight += weight
        self._chunks += 1
        return data

    @property
    def cut(self) -> str:
        """What was exceeded and where the reply was cut, as a sentence without its capital letter and full stop."""
        return f"the response has {self.exceeded}: rejoinder stopped reading after {plural(self.size, 'byte')}"


def _weight(data: bytes, chunks: int) -> int:
    values = _VALUE * data.count(b",") + _ARRAY * data.count(b"[") + _OBJECT * data.count(b"{")
    return _BYTE * len(data) + _LINE * data.count(b"\n") + values + _CHUNK * chunks


def _values(data: bytes) -> int:
    return data.count(b",") + data.count(b"[") + data.count(b"{")


def _place(pattern: bytes | re.Pattern[bytes], data: bytes, number: int) -> int:
    """Return where the match after ``number`` matches begins."""
    return next(islice(re.finditer(pattern, data), number, None)).start()

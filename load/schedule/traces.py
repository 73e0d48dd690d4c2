"""Recorded traffic to replay: when requests came, and how long they and their answers were.

Three public formats are read, recognised by their first line:

- Mooncake: one JSON object a line with ``timestamp`` (ms), ``input_length``, ``output_length`` and ``hash_ids``, where
  equal ids stand for equal blocks of 512 tokens, so that shared prefixes are replayed as such.
- BurstGPT: CSV with ``Timestamp`` (s), ``Request tokens`` and ``Response tokens``.
- Azure: CSV with ``TIMESTAMP`` (date and time), ``ContextTokens`` and ``GeneratedTokens``.
"""

from __future__ import annotations

import csv
import math
from array import array
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import lru_cache
from itertools import chain
from typing import Final, NamedTuple, TextIO

from rejoinder.budgets import INPUT_TOKENS, INPUT_TRACE
from rejoinder.errors import UsageError
from rejoinder.formatting import plural
from rejoinder.input_file import open_text, parse_json_file

BLOCK_TOKENS: Final = 512
"""Tokens that one hash id of a Mooncake trace stands for."""
_MAX_ENTRIES: Final = 1_000_000
_MAX_TOKENS: Final = 10_000_000
_MOST_LISTED: Final = 3
_BLOCK: Final = 1 << 63
_COLUMNS: Final = {
    "BurstGPT": ("Timestamp", "Request tokens", "Response tokens"),
    "Azure": ("TIMESTAMP", "ContextTokens", "GeneratedTokens"),
}


class TraceEntry(NamedTuple):
    """One request of a trace; ``offset`` is in seconds from the first one. ``blocks`` are ids of shared prefixes."""

    offset: float
    input_tokens: int
    output_tokens: int
    blocks: tuple[int, ...] = ()


class Trace:
    """The requests of a trace in the order of their times, kept in columns: objects would take ten times the memory.

    ``entries`` may come in any order, and their times begin anywhere.
    """

    __slots__ = ("_blocks", "_ends", "_inputs", "_order", "_outputs", "offsets")

    def __init__(self, entries: Iterable[TraceEntry]) -> None:
        times = array("d")
        self._inputs, self._outputs = array("I"), array("I")
        self._blocks, self._ends = array("q"), array("Q")
        for entry in entries:
            times.append(entry.offset)
            self._inputs.append(entry.input_tokens)
            self._outputs.append(entry.output_tokens)
            self._blocks.extend(entry.blocks)
            self._ends.append(len(self._blocks))
        self._order = array("I", sorted(range(len(times)), key=times.__getitem__))
        first = min(times, default=0.0)
        self.offsets = array("d", (times[row] - first for row in self._order))
        """Seconds from the first request to each."""

    def __len__(self) -> int:
        return len(self.offsets)

    def __getitem__(self, place: int) -> TraceEntry:
        row = self._order[place]
        blocks = self._blocks[self._ends[row - 1] if row else 0 : self._ends[row]]
        return TraceEntry(self.offsets[place], self._inputs[row], self._outputs[row], tuple(blocks))


@lru_cache(maxsize=4)
def read_trace(path: str) -> Trace:
    """Return the requests of a trace file in the order of their times.

    Raises :class:`UsageError` for a file in none of the formats, and for bad lines, with file and line number.
    """
    listed: list[str] = []
    invalid = 0

    def valid() -> Iterator[TraceEntry]:
        nonlocal invalid
        count = 0
        with open_text(path, INPUT_TRACE) as file:
            for number, entry in _entries(path, file):
                if isinstance(entry, str):
                    invalid += 1
                    if invalid <= _MOST_LISTED:
                        listed.append(f"line {number}: {entry}")
                else:
                    count += 1
                    yield entry
                if count > _MAX_ENTRIES:
                    raise UsageError(f"{path} has more than {_MAX_ENTRIES:,} requests.", "Cut the trace.")

    try:
        found = Trace(valid())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else f"not a text file: {error}"
        raise UsageError(f"Cannot read the trace {path}: {reason}.", "Check the path given to --trace.") from error
    if invalid:
        more = f"; and {invalid - _MOST_LISTED:,} more" if invalid > _MOST_LISTED else ""
        lines = "; ".join(listed)
        raise UsageError(f"{path} has {plural(invalid, 'invalid line')}: {lines}{more}.", "Correct or remove them.")
    if not found:
        raise UsageError(f"{path} contains no requests.", "Use a trace in the format of Mooncake, BurstGPT or Azure.")
    return found


def _entries(path: str, file: TextIO) -> Iterator[tuple[int, TraceEntry | str]]:
    """Yield line number and entry, or what is wrong with the line."""
    head = file.readline()
    lines = chain([head], file)
    if head.lstrip().startswith("{"):
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield number, _mooncake(line)
        return
    rows = csv.reader(lines)
    names = [name.strip() for name in next(rows, [])]
    for columns in _COLUMNS.values():
        if all(column in names for column in columns):
            places = [names.index(column) for column in columns]
            for row in rows:
                if row:
                    yield rows.line_num, _row(row, places, columns)
            return
    raise UsageError(
        f"{path}, line 1: unknown trace format.",
        "Use JSON lines (Mooncake), or CSV with the columns of BurstGPT or Azure: "
        + " or ".join(",".join(columns) for columns in _COLUMNS.values())
        + ".",
    )


def _mooncake(line: str) -> TraceEntry | str:
    try:
        record = parse_json_file(line)
    except ValueError as error:
        return f"not JSON ({error})"
    if not isinstance(record, dict):
        return "not a JSON object"
    numbers = []
    for name in ("timestamp", "input_length", "output_length"):
        value = record.get(name)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return f"{name} is not a number" if name in record else f"{name} is missing"
        try:
            numbers.append(float(value))
        except OverflowError:
            return f"{name} is out of range"
    blocks = record.get("hash_ids", [])
    if not isinstance(blocks, list) or not all(type(block) is int and -_BLOCK <= block < _BLOCK for block in blocks):
        return "hash_ids is not a list of whole numbers of 64 bits"
    return _entry(numbers[0] / 1e3, numbers[1], numbers[2], tuple(blocks))


def _row(row: list[str], places: list[int], columns: tuple[str, ...]) -> TraceEntry | str:
    if len(row) <= max(places):
        return f"only {plural(len(row), 'column')}"
    numbers = []
    for place, column in zip(places, columns, strict=True):
        text = row[place].strip()
        try:
            if column == "TIMESTAMP":
                numbers.append(datetime.fromisoformat(text).timestamp())
            else:
                numbers.append(float(text))
        except ValueError:
            return f"{column} is {text[:40]!r}"
    time, given, made = numbers
    return _entry(time, given, made)


def _entry(time: float, given: float, made: float, blocks: tuple[int, ...] = ()) -> TraceEntry | str:
    if not math.isfinite(time):
        return f"the time is {time}"
    for tokens, most in ((given, INPUT_TOKENS), (made, _MAX_TOKENS)):
        if not 0 <= tokens <= most or tokens != int(tokens):
            return f"{tokens:g} is not a number of tokens"
    # A request without any input, and an answer without any output, cannot be asked for.
    return TraceEntry(time, max(1, int(given)), max(1, int(made)), blocks)

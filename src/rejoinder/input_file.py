"""Files that people give to rejoinder, read within limits: of their size, and of what is parsed from them.

All code that reads a file of a user does so here. A path may be a device or a pipe, which need not end, and a file may
hold anything; what is over a limit is an error with a sentence, never a crash or all of the memory.
"""

from __future__ import annotations

import errno
import io
import json
import os
import select
import stat
import tomllib
from pathlib import Path
from typing import Any, Final, TextIO

from rejoinder.budgets import DEPTH, INPUT_DIGITS, INPUT_SECONDS, INPUT_TOML, INPUT_VALUES

_READ: Final = 1 << 20
_BITS: Final = 1 << 63


class _Reader(io.RawIOBase):
    """The bytes of a file of at most ``limit`` bytes; see :func:`read_bytes`."""

    def __init__(self, path: Path | str, limit: int) -> None:
        self._path, self._limit, self._left = path, limit, limit
        self._descriptor = -1
        # Without O_NONBLOCK the opening of a pipe waits for somebody who writes into it.
        self._descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        mode = os.fstat(self._descriptor).st_mode
        self._waits = not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)) and hasattr(select, "poll")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._waits:
            _wait(self._descriptor)
        piece = os.read(self._descriptor, min(len(buffer), self._left + 1))
        self._left -= len(piece)
        if self._left < 0:
            raise OSError(errno.EFBIG, f"it is larger than {self._limit:,} bytes", str(self._path))
        buffer[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        if not self.closed and self._descriptor >= 0:
            os.close(self._descriptor)
        super().close()


def read_bytes(path: Path | str, limit: int = INPUT_TOML) -> bytearray:
    """Return the content of a file of at most ``limit`` bytes.

    Raises ``OSError`` with a reason in ``strerror`` for one that cannot be read or is larger, and for a pipe or device
    that sends nothing for :data:`~rejoinder.budgets.INPUT_SECONDS` seconds.
    """
    data = bytearray()
    with _Reader(path, limit) as file:
        while piece := file.read(_READ):
            data += piece
    return data


def open_text(path: Path | str, limit: int) -> TextIO:
    """Open a UTF-8 file of many lines, with or without a byte order mark, which is read as it is needed.

    Reading raises what :func:`read_text` does.
    """
    return io.TextIOWrapper(io.BufferedReader(_Reader(path, limit), _READ), encoding="utf-8-sig")


def read_text(path: Path | str, limit: int = INPUT_TOML) -> str:
    """Return the text of a UTF-8 file, as :func:`read_bytes` does; raises ``UnicodeDecodeError`` for other bytes."""
    return read_bytes(path, limit).decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")


def check_file(path: Path | str, limit: int) -> None:
    """Check a file that a library reads, perhaps more than once.

    Raises ``OSError`` with a reason in ``strerror`` for one that is not there, no regular file, or larger than
    ``limit`` bytes.
    """
    found = Path(path).stat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    if found.st_size > limit:
        raise OSError(errno.EFBIG, f"it is larger than {limit:,} bytes", str(path))


def parse_toml(text: str) -> dict[str, Any]:
    """Return a TOML document; raises ``ValueError`` with a reason for one that is invalid or over a limit."""
    try:
        table = tomllib.loads(text)
    except RecursionError:
        raise ValueError(f"it is nested more than {DEPTH} levels deep") from None
    _check(table, _BITS, "64 bits")
    return table


def parse_json_file(text: str, values: int = INPUT_VALUES) -> Any:
    """Return a JSON document; raises ``ValueError`` with a reason for one that is invalid or over a limit.

    NaN and infinities, which JSON does not have, are invalid. ``values`` is how many commas, brackets and braces it may
    have.
    """
    if text.count(",") + text.count("[") + text.count("{") > values:
        raise ValueError(f"it has more than {values:,} values")
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError(f"it is nested more than {DEPTH} levels deep") from None
    _check(value, 10**INPUT_DIGITS, f"{INPUT_DIGITS} digits")
    return value


def _check(value: Any, limit: int, size: str) -> None:
    """Raise ``ValueError`` for a value that is nested too deeply, or has an integer that is too large."""
    level = [value]
    for _ in range(DEPTH + 1):
        below: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                below.extend(one.values())
            elif isinstance(one, list):
                below.extend(one)
            elif isinstance(one, int) and not -limit <= one < limit:
                raise ValueError(f"an integer has more than {size}")
        level = below
    if level:
        raise ValueError(f"it is nested more than {DEPTH} levels deep")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _wait(descriptor: int) -> None:
    """Wait until a pipe or device can be read or has ended."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN | select.POLLHUP)
    if not poll.poll(INPUT_SECONDS * 1000):
        raise OSError(errno.ETIMEDOUT, f"nothing came from it for {INPUT_SECONDS:g} s")

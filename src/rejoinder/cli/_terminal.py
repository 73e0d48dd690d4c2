"""The only way of the commands to standard output and standard error: every text is harmless when it gets there.

A run is worth more than its progress on the terminal. Text for an output that is gone (a pipe without a reader, a
terminal that was closed) is dropped, and so is text that standard error cannot take.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from contextlib import suppress
from io import StringIO
from typing import IO, TYPE_CHECKING, Any, cast

import click

from rejoinder.cli._secrets import clean
from rejoinder.errors import UsageError
from rejoinder.formatting import encodable, terminal_text

if TYPE_CHECKING:
    from rich.console import RenderableType


def echo(text: str = "", *, err: bool = False, nl: bool = True) -> None:
    """Print text to standard output, or to standard error with ``err``, and a line feed unless ``nl`` is false.

    Credentials are masked (:func:`rejoinder.cli._secrets.clean`). Names of models, messages of endpoints and unknown
    keys of input files are only text there: no control character acts on the terminal, and no line is a command of a CI
    system (:func:`rejoinder.formatting.terminal_text`). Signs that the encoding of the output lacks are replaced.

    Raises :class:`UsageError` when standard output cannot be written to.
    """
    file = sys.stderr if err else sys.stdout
    if file is None:  # the process was started without it
        return
    try:
        file.write(encodable(terminal_text(clean(text)), file.encoding) + ("\n" if nl else ""))
        file.flush()
    except OSError as error:
        _give_up(file, error, err=err)


def show(renderable: RenderableType, *, err: bool = False) -> None:
    """Print a summary whose lines went through :func:`rejoinder.reports.terminal_text.shown`, with colour if it may.

    Raises :class:`UsageError` when standard output cannot be written to.
    """
    from rich.console import Console

    Console(file=output(err=err)).print(renderable)


def echo_usage(error: click.ClickException) -> None:
    """Print an error of the command line as click does, with its usage and hint."""
    page = StringIO()
    error.show(page)
    echo(page.getvalue(), err=True, nl=False)


def output(*, err: bool = False) -> IO[str]:
    """Return standard output, or standard error with ``err``, as a file for a console of rich.

    Raises :class:`UsageError` on writing when standard output cannot be written to.
    """
    return cast("IO[str]", _Output(err=err))


class _Output:
    """What :func:`output` returns; it writes to what is the standard output or standard error at that moment."""

    def __init__(self, *, err: bool) -> None:
        self._err = err

    @property
    def _file(self) -> Any:
        file = sys.stderr if self._err else sys.stdout
        # A live display of rich puts a file of its own in the place of both.
        return StringIO() if file is None else getattr(file, "rich_proxied_file", file)

    def write(self, text: str) -> int:
        """Write a text and return its length."""
        file = self._file
        try:
            file.write(text)
        except OSError as error:
            _give_up(file, error, err=self._err)
        return len(text)

    def flush(self) -> None:
        """Write what is buffered."""
        file = self._file
        try:
            file.flush()
        except OSError as error:
            _give_up(file, error, err=self._err)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def drop_unwritten() -> None:
    """Drop what standard output could not take: Python would fail on it again at its end and exit with 120.

    It is for a failure that was reported already, of what :func:`echo` and :func:`output` did not write: help of click.
    """
    if sys.stdout is not None:
        try:
            sys.stdout.flush()
        except OSError as error:
            with suppress(UsageError):
                _give_up(sys.stdout, error, err=False)


def _give_up(file: Any, error: OSError, *, err: bool) -> None:
    """Drop everything that is still printed to an output that failed; raise unless that is as good as printed."""
    gone = error.errno == errno.EPIPE
    with suppress(OSError, ValueError):  # it has no descriptor
        descriptor = file.fileno()
        # A terminal that was closed gives the error of a broken disk.
        gone = gone or (error.errno == errno.EIO and stat.S_ISCHR(os.fstat(descriptor).st_mode))
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, descriptor)  # what is buffered would fail again when Python ends
        os.close(null)
    if not (gone or err):
        raise UsageError(
            f"Cannot write to standard output: {error.strerror}.", "Free space there, or send the output elsewhere."
        ) from error

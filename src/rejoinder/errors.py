"""Errors that people meet.

Every error says in one sentence what was wrong and where, and in a hint what to do next. The command line prints
both and exits with ``exit_code``; nobody sees a traceback for a mistake of the user or of the endpoint::

    RejoinderError
    ├── UsageError        a wrong option, setting or file name
    ├── TargetError       the endpoint cannot be tested at all
    │   ├── UnreachableError   no connection: name, port, TLS, time-out, closed
    │   ├── UnauthorizedError  the endpoint wants (another) key
    │   └── NotAnEndpointError something answers, but not the Responses API
    ├── BaselineError     a baseline file that cannot be used
    ├── RunFileError      a run file that cannot be read
    │   └── RunWriteError      a run file that cannot be written
    └── ContractError     a contract file, overlay or schema that cannot be used
        └── ExtensionError     an extension that cannot be used
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, ClassVar, Final

from rejoinder.formatting import terminal_text

if TYPE_CHECKING:
    from rejoinder.model.exchange import Exchange

__all__ = [
    "EXIT_CODES",
    "BaselineError",
    "ContractError",
    "ExitCode",
    "ExtensionError",
    "NotAnEndpointError",
    "RejoinderError",
    "RunFileError",
    "RunWriteError",
    "TargetError",
    "UnauthorizedError",
    "UnreachableError",
    "UsageError",
    "suggest",
]


class ExitCode(IntEnum):
    """The exit codes of the commands; :data:`EXIT_CODES` says what each means."""

    PASSED = 0
    FAILED = 1
    NOT_TESTED = 2
    INCOMPLETE = 3
    CLIENT_BOUND = 4
    INTERRUPTED = 130


EXIT_CODES: Final[Mapping[ExitCode, str]] = {
    ExitCode.PASSED: "Nothing failed.",
    ExitCode.FAILED: "A MUST rule failed, a request under load failed, or an SLO or regression limit was missed.",
    ExitCode.NOT_TESTED: "Nothing could be tested: wrong usage, no connection, or no response.",
    ExitCode.INCOMPLETE: "The run ended early: the endpoint stopped answering, a process died, or writing failed.",
    ExitCode.CLIENT_BOUND: "The load generator, not the endpoint, limited the load (CLIENT-BOUND).",
    ExitCode.INTERRUPTED: "Interrupted with Ctrl-C, SIGTERM or SIGHUP. The report covers what was recorded until then.",
}
"""The meaning of each exit code, as the documentation shows it."""


class RejoinderError(Exception):
    """Base of all errors that are shown to people.

    ``message`` is one sentence with what and where; ``hint`` one sentence with what to do next (may be empty). Both may
    quote an endpoint or a file: no character of theirs acts on a terminal, and no line is a command of a CI system.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.NOT_TESTED

    def __init__(self, message: str, hint: str = "") -> None:
        self.message = terminal_text(message)
        self.hint = terminal_text(hint)
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


class UsageError(RejoinderError):
    """A wrong option, setting or file name."""


class TargetError(RejoinderError):
    """The endpoint cannot be tested at all.

    ``exchanges`` holds what was sent and received until then, for the run file.
    """

    def __init__(self, message: str, hint: str = "", exchanges: Sequence[Exchange] = ()) -> None:
        super().__init__(message, hint)
        self.exchanges: tuple[Exchange, ...] = tuple(exchanges)


class UnreachableError(TargetError):
    """No connection could be made, or the endpoint hung or closed before it answered."""


class UnauthorizedError(TargetError):
    """The endpoint answered 401 or 403."""


class NotAnEndpointError(TargetError):
    """Something answers at the URL, but it does not speak the Responses API."""


class BaselineError(RejoinderError):
    """A baseline file that cannot be used; names file, line and field."""


class RunFileError(RejoinderError):
    """A run file that cannot be read: missing, empty, foreign, or of a newer format."""


class RunWriteError(RunFileError):
    """A run file that cannot be written: no space, no permission, removed. What was written before is kept."""

    exit_code: ClassVar[ExitCode] = ExitCode.INCOMPLETE


class ContractError(RejoinderError):
    """A contract file, overlay or schema that cannot be used; names file and pointer."""


class ExtensionError(ContractError):
    """An extension that cannot be used; names the extension, its file and, where there is one, the line."""


def suggest(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """Return a hint for a name that is not known: the known one that is closest, or else the given sentence."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"Did you mean {near[0]}?" if near else otherwise

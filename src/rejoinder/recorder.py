"""A run that is being recorded: its folder, its run file, and its endpoint."""

from __future__ import annotations

import asyncio
import contextlib
import platform
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from rejoinder import CATALOGUE_VERSION, __version__
from rejoinder.budgets import PREFLIGHT_SECONDS
from rejoinder.contract import DEFAULT_DIALECT, extension_records
from rejoinder.errors import ExitCode, RejoinderError, RunWriteError, TargetError, UsageError
from rejoinder.model.exchange import Exchange
from rejoinder.model.footer import Footer
from rejoinder.model.header import ExtensionRecord, RunTarget, new_header
from rejoinder.model.runfile import RunWriter
from rejoinder.model.tags import Tag
from rejoinder.wire.redact import Redactor, query_secrets, shown_url

if TYPE_CHECKING:
    from rejoinder.wire.request_options import RequestOptions
    from rejoinder.wire.target import Target


@dataclass(slots=True)
class RunRecorder:
    """A run file that is being written into ``folder``.

    ``command`` is the command line as a person would type it; ``began`` is Unix time in seconds; ``found`` what finding
    the endpoint took, which :meth:`header` writes after the header.
    """

    folder: Path
    writer: RunWriter
    command: list[str]
    began: float = field(default_factory=time.time)
    found: tuple[Exchange, ...] = ()
    secrets: dict[str, None] = field(default_factory=dict, repr=False)
    names: set[str] = field(default_factory=set, repr=False)
    open: bool = False
    """Whether the header was written and the footer was not."""

    def header(self, target: Target | None, *, url: str, model: str | None, dialect: str, **fields: Any) -> None:
        """Write the header, and what finding the endpoint took; ``target`` is ``None`` when there is none."""
        described = RunTarget(url=shown_url(url), model=model, dialect=dialect)
        if target is not None:
            self.protect(target.url, target.key, target.second_key, request=target.request)
            described = RunTarget(
                url=shown_url(target.url),
                model=target.model,
                dialect=dialect,
                server=target.server,
                form=target.form,
                request=target.request.record(),
                dialect_reason=target.chosen.reason if target.chosen else "",
            )
        self.write_header(described, **fields)
        for exchange in self.found:
            self.writer.exchange(exchange.tagged(Tag.UNJUDGED))

    def protect(self, url: str, *keys: str | None, request: RequestOptions | None = None) -> None:
        """Keep keys, secret headers and the credentials in a URL out of the run file."""
        found = [*keys, *query_secrets(url), *(request.secrets() if request else ())]
        self.secrets.update(dict.fromkeys(secret for secret in found if secret))
        self.names |= request.secret_names() if request else set()
        self.writer.mask = Redactor(*self.secrets, headers=self.names).text

    def write_header(self, target: RunTarget, **fields: Any) -> None:
        """Write the header with what every header says: when, by which versions and extensions, by which command."""
        self.open = True
        self.writer.header(
            new_header(
                target,
                started_at=self.began,
                tool={"rejoinder": __version__, "python": platform.python_version()},
                command=[shown_url(word) for word in self.command],
                catalogue=CATALOGUE_VERSION,
                extensions=[msgspec.convert(record, ExtensionRecord) for record in extension_records()],
                **fields,
            )
        )

    def footer(self, exit_code: int, **fields: Any) -> None:
        """Write the footer with the exit code."""
        self.writer.footer(Footer(ended_at=time.time(), exit_code=exit_code, **fields))
        self.open = False

    def abort(self, error: BaseException) -> None:
        """Write the footer of a run that was interrupted, or whose run file could not be written, if it has none yet.

        That may fail, too: the file then ends with its last whole line.
        """
        if not self.open:
            return
        with contextlib.suppress(RunWriteError):
            if isinstance(error, RejoinderError):
                self.footer(error.exit_code, problem=str(error))
            else:
                self.footer(ExitCode.INTERRUPTED, interrupted=True)

    def discover(
        self,
        url: str,
        *,
        key: str | None,
        second_key: str | None = None,
        model: str | None,
        dialect: str,
        request: RequestOptions | None = None,
        deadline: float = PREFLIGHT_SECONDS,
    ) -> Target:
        """Find the endpoint; ``request`` is what every request has besides.

        Each request may take ``deadline`` seconds, but no more than :data:`~rejoinder.budgets.PREFLIGHT_SECONDS`.

        When there is none, the run file is finished with what was gathered before the :class:`TargetError` is raised.
        Raises :class:`UsageError` when the two keys are the same.
        """
        from rejoinder.wire.dialect_choice import AUTO
        from rejoinder.wire.target import find_target  # an HTTP client, which a recheck does not need

        if second_key is not None and second_key == key:
            raise UsageError("The second API key is the same as the first.", "Use the key of a second tenant.")
        deadline = min(deadline, PREFLIGHT_SECONDS)
        self.protect(url, key, second_key, request=request)
        try:
            target, exchanges = asyncio.run(
                find_target(url, key=key, model=model, dialect=dialect, deadline=deadline, request=request)
            )
        except TargetError as error:
            self.found = error.exchanges
            self.header(None, url=url, model=model, dialect=DEFAULT_DIALECT if dialect == AUTO else dialect)
            self.footer(error.exit_code, problem=str(error))
            raise
        self.found = tuple(exchanges)
        return replace(target, second_key=second_key)

"""What the commands that make a run share: options, the folder, the endpoint, reports and the closing words."""

from __future__ import annotations

import asyncio
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from rejoinder import __version__
from rejoinder.errors import TargetError, UsageError

if TYPE_CHECKING:
    from rejoinder.exchange import Exchange
    from rejoinder.runfile import Run, RunWriter
    from rejoinder.wire.target import Target

RUNS: Final = "rejoinder-runs"

Function = TypeVar("Function", bound=Callable[..., Any])


def endpoint_options(function: Function) -> Function:
    """Add the argument URL and the options that say which endpoint, as whom, and where results go."""
    from rejoinder.contract import DEFAULT_DIALECT, dialect_names

    for decorate in reversed(
        (
            click.argument("url"),
            click.option(
                "--model", metavar="M", help="Model to ask for; by default the first that GET /v1/models lists."
            ),
            click.option(
                "--dialect",
                type=click.Choice(dialect_names()),
                default=DEFAULT_DIALECT,
                show_default=True,
                help="Which specification the endpoint is held to.",
            ),
            click.option(
                "--api-key-env",
                metavar="NAME",
                default="REJOINDER_API_KEY",
                show_default=True,
                help="Environment variable that holds the key.",
            ),
            click.option(
                "--out",
                type=click.Path(path_type=Path, file_okay=False),
                metavar="DIR",
                help=f"Folder for the results; by default a new one below {RUNS}/.",
            ),
        )
    ):
        function = decorate(function)
    return function


def read_key(variable: str) -> str | None:
    """Return the key that an environment variable holds; an unset default variable means no key.

    Raises :class:`UsageError` when a variable was named that is not set.
    """
    key = os.environ.get(variable)
    if not key and variable != "REJOINDER_API_KEY":
        raise UsageError(
            f"The variable {variable} that --api-key-env names is not set.", "Set it, or leave the option out."
        )
    return key or None


def new_folder(out: Path | None) -> Path:
    """Return the folder for a run's results; it is made if it is not there.

    Without a name it is a new one below ``rejoinder-runs/``, named by the time. Raises :class:`UsageError` when it
    cannot be made or already holds a run.
    """
    if out is None:
        stamp = time.strftime("%Y%m%d-%H%M%S")
        names = [stamp, *(f"{stamp}-{n}" for n in range(2, 100))]
        out = next(path for path in (Path(RUNS, name) for name in names) if not path.exists())
    if (out / "run.ndjson").exists():
        raise UsageError(
            f"{out} already holds a run.", "Name another folder with --out; recorded runs are not overwritten."
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"The folder {out} cannot be made: {error.strerror}.", "Name another with --out.") from error
    return out


@dataclass(slots=True)
class Recording:
    """A run file that is being written; ``began`` is Unix time in seconds, ``found`` what finding the endpoint took."""

    folder: Path
    writer: RunWriter
    began: float
    found: tuple[Exchange, ...] = ()

    def header(self, target: Target | None, *, url: str, model: str | None, dialect: str, **fields: Any) -> None:
        """Write the header, and what finding the endpoint took; ``target`` is ``None`` when there is none."""
        found = {"url": url, "model": model, "dialect": dialect}
        if target is not None:
            found |= {"url": target.url, "model": target.model, "server": target.server}
        self.writer.header(
            started_at=self.began,
            tool={"rejoinder": __version__, "python": platform.python_version()},
            command=shown_command(),
            target=found,
            **fields,
        )
        for exchange in self.found:
            self.writer.exchange(exchange.tagged("unjudged"))

    def footer(self, exit_code: int, **fields: Any) -> None:
        """Write the footer with the exit code."""
        self.writer.footer(ended_at=time.time(), exit_code=exit_code, **fields)


@contextmanager
def recording(out: Path | None) -> Iterator[Recording]:
    """Open a run file in a folder for results and close it in the end."""
    from rejoinder.runfile import RunWriter

    folder = new_folder(out)
    with RunWriter(folder / "run.ndjson") as writer:
        yield Recording(folder, writer, time.time())


def shown_command() -> list[str]:
    """Return the command line as a person would type it."""
    return ["rejoinder", *sys.argv[1:]]


def discover(recording: Recording, url: str, *, key: str | None, model: str | None, dialect: str) -> Target:
    """Find the endpoint. When there is none the run file is finished with what was gathered, and the error raised."""
    from rejoinder.wire.target import find_target

    try:
        target, exchanges = asyncio.run(find_target(url, key=key, model=model, dialect=dialect, deadline=60.0))
    except TargetError as error:
        recording.found = error.exchanges
        recording.header(None, url=url, model=model, dialect=dialect)
        recording.footer(error.exit_code, problem=str(error))
        recording.writer.close()
        if error.exchanges:
            write_reports(recording.folder)
            click.echo(f"What was gathered is in {recording.folder}.", err=True)
        raise
    recording.found = tuple(exchanges)
    return target


def write_reports(folder: Path) -> Run:
    """Write report.html and junit.xml beside a finished run.ndjson and return the run that they show."""
    from rejoinder.reports import render_html, render_junit
    from rejoinder.runfile import read_run

    run = read_run(folder)
    write_text(folder / "report.html", render_html(run))
    write_text(folder / "junit.xml", render_junit(run))
    return run


def close_run(recording: Recording) -> None:
    """Write the reports of a finished run and print the closing summary."""
    from rich.console import Console

    from rejoinder.reports import summarize

    run = write_reports(recording.folder)
    folder = recording.folder
    paths = {"report": str(folder / "report.html"), "run file": str(folder / "run.ndjson")}
    Console().print(summarize(run, paths=paths))


def write_text(path: Path, text: str) -> None:
    """Write a report; raises :class:`UsageError` when the place cannot be written to."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.", "Name another file.") from error

"""What the commands that make a run share: options, the folder, the endpoint, reports and the closing words."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from rejoinder.errors import TargetError, UsageError
from rejoinder.settings import KEY_VARIABLE, SECOND_KEY_VARIABLE

if TYPE_CHECKING:
    from rejoinder.conformance.baseline import Baseline
    from rejoinder.model.runfile import Run
    from rejoinder.recorder import RunRecorder

RUNS: Final = "rejoinder-runs"

Function = TypeVar("Function", bound=Callable[..., Any])


def file_option(
    flag: str, text: str, metavar: str = "F", *, dash: bool = False, **settings: Any
) -> Callable[[Function], Function]:
    """Return an option that names a file; with ``dash``, ``-`` stands for standard output."""
    kind = click.Path(path_type=Path, dir_okay=False, allow_dash=dash)
    return click.option(flag, type=kind, metavar=metavar, help=text, **settings)


def key_option(flag: str, default: str, text: str) -> Callable[[Function], Function]:
    """Return an option that names an environment variable."""
    return click.option(flag, metavar="NAME", default=default, show_default=True, help=text)


def out_option(text: str) -> Callable[[Function], Function]:
    """Return the option that names the folder of a run."""
    return click.option("--out", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help=text)


api_key_option: Final = key_option("--api-key-env", KEY_VARIABLE, "Environment variable that holds the key.")
timeout_option: Final = click.option(
    "--timeout",
    type=click.FloatRange(min=0.1),
    default=120.0,
    show_default=True,
    metavar="S",
    help="Seconds that one request may take.",
)
select_option: Final = click.option(
    "--select", default="*", show_default=True, metavar="RULES", help="Judge these rules only: SSE-*, ITM-05, ..."
)
markdown_option: Final = file_option(
    "--markdown", "Write Markdown to F, bounded for a CI step summary; - is standard output.", dash=True
)
quiet_option: Final = click.option("--quiet", "-q", is_flag=True, help="No progress; only the closing summary.")


def endpoint_options(function: Function) -> Function:
    """Add the argument URL and the options that say which endpoint, as whom, and where results go."""
    from rejoinder.contract import DEFAULT_DIALECT, dialect_names

    function = out_option(f"Folder for the results; by default a new one below {RUNS}/.")(function)
    function = click.option(
        "--dialect",
        metavar="D",
        default=DEFAULT_DIALECT,
        show_default=True,
        help=f"Which specification it is held to: {', '.join(dialect_names())}, or a dialect file of your own.",
    )(api_key_option(function))
    text = "Model to ask for; by default the first that GET /v1/models lists."
    return click.argument("url")(click.option("--model", metavar="M", help=text)(function))


def baseline_options(function: Function) -> Function:
    """Add the options that say which failures are known."""
    text = "Fail when the baseline expects failures that do not occur any more."
    function = click.option("--baseline-strict", is_flag=True, help=text)(function)
    text = "Known failures: they stay visible and do not fail the run. `rejoinder baseline` writes the file."
    return file_option("--baseline", text, "FILE")(function)


def load_baseline(path: Path | None, *, strict: bool) -> Baseline | None:
    """Return the baseline that the options name; raises :class:`UsageError` for a strict one without a file."""
    from rejoinder.conformance.baseline import read_baseline

    if path is None and strict:
        raise UsageError("--baseline-strict has no baseline to be strict about.", "Name one with --baseline FILE.")
    return None if path is None else read_baseline(path)


def read_key(variable: str, option: str = "--api-key-env") -> str | None:
    """Return the key that an environment variable holds; an unset default variable means no key.

    Raises :class:`UsageError` when ``option`` named a variable that is not set.
    """
    key = os.environ.get(variable)
    if not key and variable not in (KEY_VARIABLE, SECOND_KEY_VARIABLE):
        raise UsageError(f"The variable {variable} that {option} names is not set.", "Set it, or leave the option out.")
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


@contextmanager
def recording(out: Path | None) -> Iterator[RunRecorder]:
    """Open a run file in a folder for results and close it in the end.

    When no endpoint is found, reports of what was gathered are written too; a run that never began leaves nothing.
    """
    from rejoinder.model.runfile import RunWriter
    from rejoinder.recorder import RunRecorder

    folder = new_folder(out)
    try:
        with RunWriter(folder / "run.ndjson") as writer:
            yield RunRecorder(folder, writer, ["rejoinder", *sys.argv[1:]])
    except TargetError:
        write_reports(folder)
        click.echo(f"What was gathered is in {folder}.", err=True)
        raise
    except UsageError:
        file = folder / "run.ndjson"
        if file.exists() and not file.stat().st_size:
            file.unlink()
            with suppress(OSError):  # the folder holds other things
                folder.rmdir()
        raise


def write_reports(folder: Path) -> Run:
    """Write report.html and junit.xml beside a finished run.ndjson and return the run that they show."""
    from rejoinder.model.runfile import read_run
    from rejoinder.reports import render_html, render_junit

    run = read_run(folder)
    write_text(folder / "report.html", render_html(run))
    write_text(folder / "junit.xml", render_junit(run))
    return run


def close_run(recorder: RunRecorder) -> Run:
    """Write the reports of a finished run, print the closing summary, and return the run."""
    from rich.console import Console

    from rejoinder.reports import summarize

    folder = recorder.folder
    run = write_reports(folder)
    paths = {"report": str(folder / "report.html"), "run file": str(folder / "run.ndjson")}
    Console().print(summarize(run, paths=paths))
    return run


def write_text(path: Path, text: str) -> None:
    """Write a report; raises :class:`UsageError` when the place cannot be written to."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.", "Name another file.") from error

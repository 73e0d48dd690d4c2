"""What commands share: options, the folder of a run, reports and the final summary."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from rejoinder.cli._help import ENDPOINT, OUTPUT, RULES, Argument, GroupedOption
from rejoinder.cli._secrets import protect
from rejoinder.cli._terminal import echo, show
from rejoinder.errors import RejoinderError, RunWriteError, TargetError, UsageError
from rejoinder.interrupts import interrupts
from rejoinder.settings import KEY_VARIABLE, RATE_LIMIT, REQUEST_OPTIONS, RESEND, SECOND_KEY_VARIABLE, parse_rate

if TYPE_CHECKING:
    from rejoinder.cli._progress import Steps
    from rejoinder.conformance.baseline import Baseline
    from rejoinder.model.header import RequestRecord
    from rejoinder.model.runfile import Run
    from rejoinder.recorder import RunRecorder
    from rejoinder.wire.request_options import RequestOptions
    from rejoinder.wire.target import Target

RUNS: Final = "rejoinder-runs"
_RUN_FILE: Final = b'{"kind":"header","format":"rejoinder-run"'
"""How every run file begins."""

Function = TypeVar("Function", bound=Callable[..., Any])


class FiniteRange(click.FloatRange):
    """A range of numbers without NaN, which is in every range, and infinities."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{number} is not a finite number.", param, ctx)
        return number


def file_option(
    flag: str, text: str, metavar: str = "FILE", *, dash: bool = False, group: str = "", **settings: Any
) -> Callable[[Function], Function]:
    """Return an option that names a file; with ``dash``, ``-`` is standard output."""
    kind = click.Path(path_type=Path, dir_okay=False, allow_dash=dash)
    grouped: dict[str, Any] = {"cls": GroupedOption, "group": group} if group else {}
    return click.option(flag, type=kind, metavar=metavar, help=text, **grouped, **settings)


def key_option(flag: str, default: str, text: str) -> Callable[[Function], Function]:
    """Return an option that names an environment variable."""
    return click.option(
        flag, cls=GroupedOption, group=ENDPOINT, metavar="NAME", default=default, show_default=True, help=text
    )


def dialect_option(text: str, default: str | None = None, group: str = RULES) -> Callable[[Function], Function]:
    """Return the option that names a dialect or a dialect file."""
    return click.option(
        "--dialect",
        cls=GroupedOption,
        group=group,
        metavar="DIALECT",
        default=default,
        show_default=default is not None,
        help=text,
    )


run_argument: Final = click.argument(
    "run",
    cls=Argument,
    type=click.Path(path_type=Path),
    description="Run file (run.ndjson), or the folder that contains it.",
)
out_option: Final = click.option(
    "--out",
    cls=GroupedOption,
    group=OUTPUT,
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help=f"Folder for the results. Default: a new folder in {RUNS}/.",
)
recorded_dialect_option: Final = dialect_option(
    "Dialect to check against: a name, a dialect file, or auto for the one that fits. Default: the dialect of RUN."
)
api_key_option: Final = key_option("--api-key-env", KEY_VARIABLE, "Environment variable with the API key.")
second_key_option: Final = key_option(
    "--second-key-env",
    SECOND_KEY_VARIABLE,
    "Environment variable with the API key of a second tenant, used to test tenant isolation.",
)
timeout_option: Final = click.option(
    "--timeout",
    cls=GroupedOption,
    group=ENDPOINT,
    type=FiniteRange(min=0.1),
    default=120.0,
    show_default=True,
    metavar="SECONDS",
    help="Timeout of a whole request, in seconds. Waiting for a busy endpoint and polling take as long at most.",
)
resend_option: Final = click.option("--resend", cls=GroupedOption, group=ENDPOINT, is_flag=True, help=RESEND)
select_option: Final = click.option(
    "--select",
    cls=GroupedOption,
    group=RULES,
    default="*",
    show_default=True,
    metavar="RULES",
    help="Check these rules only: ids separated by commas, where * matches any characters. Example: SSE-*,ITM-05.",
)
markdown_option: Final = file_option(
    "--markdown", "Write Markdown, short enough for a CI job summary. Use - for standard output.", dash=True
)
quiet_option: Final = click.option(
    "--quiet",
    "-q",
    cls=GroupedOption,
    group=OUTPUT,
    is_flag=True,
    help="Show no progress, only the final summary.",
)


def endpoint_options(function: Function) -> Function:
    """Add the argument URL and the options for the endpoint, its dialect and the folder for results."""
    from rejoinder.contract import DEFAULT_DIALECT

    function = out_option(function)
    text = (
        "Dialect of the API to check against: a name from the list below, the path of your own dialect file, or auto "
        "to choose the one that fits the endpoint."
    )
    function = dialect_option(text, DEFAULT_DIALECT, ENDPOINT)(function)
    model = click.option(
        "--model",
        cls=GroupedOption,
        group=ENDPOINT,
        metavar="NAME",
        help="Model to request. Default: the first model that GET /v1/models lists.",
    )
    url = click.argument("url", cls=Argument, description="Base URL of the API, with or without /v1.")
    return url(model(api_key_option(function)))


def say_choice(steps: Steps, target: Target) -> None:
    """Show why rejoinder chose the dialect, or which one the endpoint marks as its own."""
    if target.chosen is not None:
        steps.say(f"Dialect chosen: {target.chosen.reason}")
    elif target.better is not None:
        steps.say(target.better.hint)


def request_options(function: Function) -> Function:
    """Add the options that say what to add to every request, and the rate limit."""
    for name, row in reversed([*REQUEST_OPTIONS.items(), ("rate_limit", RATE_LIMIT)]):
        kind: dict[str, Any] = {"multiple": True} if row.multiple else {}
        if row.is_file:
            kind["type"] = click.Path()
        if row is RATE_LIMIT:
            kind["type"] = parse_rate
        flag = f"--{name.replace('_', '-')}"
        function = click.option(flag, cls=GroupedOption, group=ENDPOINT, metavar=row.metavar, help=row.help, **kind)(
            function
        )
    return function


def read_requests(options: dict[str, Any], *keys: str | None, recorded: RequestRecord | None = None) -> RequestOptions:
    """Take the values of :func:`request_options` out of a command's, and return what they add to every request.

    What is not given is as in a recorded run. ``keys`` are the keys in use. Raises
    :class:`UsageError` for what cannot be used.
    """
    from rejoinder.wire.request_options import read_request_options

    given = {name: options.pop(name) for name in (*REQUEST_OPTIONS, "rate_limit")}
    if recorded is not None:
        given["extra_body"] = given["extra_body"] or (json.dumps(recorded.extra_body) if recorded.extra_body else None)
        given["header"] = given["header"] or [f"{name}: {value}" for name, value in recorded.headers]
        given["header_env"] = given["header_env"] or [f"{name}={value}" for name, value in recorded.header_env.items()]
        given["api_key_header"] = given["api_key_header"] or recorded.api_key_header
    request = read_request_options(**given, keys=keys)
    protect(*request.secrets())
    return request


def baseline_options(function: Function) -> Function:
    """Add the options for known failures."""
    text = "Also fail if a failure that the baseline expects does not occur."
    strict = click.option("--baseline-strict", cls=GroupedOption, group=RULES, is_flag=True, help=text)
    text = "File of known failures. They are reported but do not fail the run. `rejoinder baseline update` writes it."
    return file_option("--baseline", text, group=RULES)(strict(function))


def load_baseline(path: Path | None, *, strict: bool) -> Baseline | None:
    """Return the baseline that the options name; raises :class:`UsageError` for a strict one without a file."""
    from rejoinder.conformance.baseline import read_baseline

    if path is None and strict:
        raise UsageError("--baseline-strict needs a baseline.", "Add --baseline FILE.")
    return None if path is None else read_baseline(path)


def read_key(variable: str, option: str = "--api-key-env") -> str | None:
    """Return the key that an environment variable holds; an unset default variable means no key.

    Raises :class:`UsageError` when ``option`` named a variable that is not set.
    """
    key = os.environ.get(variable)
    if not key and variable not in (KEY_VARIABLE, SECOND_KEY_VARIABLE):
        raise UsageError(
            f"{option} names the environment variable {variable}, which is not set.",
            f"Set {variable}, or omit {option}.",
        )
    protect(key)
    return key or None


def new_folder(out: Path | None) -> Path:
    """Return the folder for a run's results; it is made if it is not there.

    Without a name it is a new one below ``rejoinder-runs/``, named by the time. Raises :class:`UsageError` when it
    cannot be made or already holds a run.
    """
    if out is not None:
        _make(out)
        try:
            # Of two commands that begin at the same time, one gets the folder.
            (out / "run.ndjson").touch(exist_ok=False)
        except FileExistsError as error:
            raise UsageError(
                f"{out} already contains a run.",
                "Choose another folder with --out. Recorded runs are never overwritten.",
            ) from error
        except OSError:  # the run file cannot be opened then, which says why
            pass
        return out
    stamp = time.strftime("%Y%m%d-%H%M%S")
    number = 1
    while True:
        folder = _runs() / (stamp if number == 1 else f"{stamp}-{number}")
        try:
            _make(folder, new=True)
        except FileExistsError:  # a run that began in the same second
            number += 1
        else:
            return folder


def _make(folder: Path, *, new: bool = False) -> None:
    """Make a folder; raises ``FileExistsError`` if it must be ``new`` and is not, :class:`UsageError` if it cannot."""
    try:
        folder.mkdir(parents=True, exist_ok=not new)
    except OSError as error:
        if new and isinstance(error, FileExistsError) and folder.is_dir():
            raise
        raise UsageError(
            f"Cannot create the folder {folder}: {error.strerror}.", "Choose another folder with --out."
        ) from error


def _runs() -> Path:
    """Return the folder for new runs: below this one, or beside it if it is the folder of a run."""
    here = Path.cwd()
    if not (here / "run.ndjson").exists():
        return Path(RUNS)
    return here.parent if here.parent.name == RUNS else here.parent / RUNS


@contextmanager
def recording(out: Path | None) -> Iterator[RunRecorder]:
    """Open a run file in a folder for results and close it in the end.

    When no endpoint is found, the reports of the attempt are written if a response came or ``out`` names the folder.
    Otherwise, and when the run never began, nothing is left behind.

    A run that is interrupted before it can end in order, or that cannot be written to its end, is reported as far as it
    was recorded.
    """
    from rejoinder.model.runfile import RunWriter
    from rejoinder.recorder import RunRecorder

    folder = new_folder(out)
    try:
        with RunWriter(folder / "run.ndjson") as writer:
            recorder = RunRecorder(folder, writer, ["rejoinder", *sys.argv[1:]])
            try:
                yield recorder
            except (KeyboardInterrupt, RunWriteError) as error:
                with finishing():
                    recorder.abort(error)
                raise
    except (KeyboardInterrupt, RunWriteError):
        with finishing():
            _report_partial(folder)
        raise
    except TargetError as error:
        if out is None and all(exchange.status is None for exchange in error.exchanges):
            _remove(folder)
        else:
            with suppress(UsageError):  # why there is no endpoint is worth more
                write_reports(folder)
                echo(f"The report of the attempt is {folder / 'report.html'}.", err=True)
        raise
    except UsageError:
        file = folder / "run.ndjson"
        if file.exists() and not file.stat().st_size:
            _remove(folder)
        raise


@contextmanager
def finishing() -> Iterator[None]:
    """Let the first interrupt inside the block pass: what was gathered is still written. The second ends it."""
    seen = 0

    def handle() -> None:
        nonlocal seen
        seen += 1
        if seen > 1:
            raise KeyboardInterrupt

    with interrupts(handle):
        yield


def _report_partial(folder: Path) -> None:
    """Report what was recorded of a run that did not end in order; what cannot be written is left out."""
    file = folder / "run.ndjson"
    if not file.exists() or not file.stat().st_size:
        _remove(folder)
        return
    with suppress(RejoinderError):
        write_reports(folder)
        echo(f"The report of what was recorded is {folder / 'report.html'}.", err=True)


def read_recorded(path: Path) -> Run:
    """Return a recorded run, and say so if a command is still writing it."""
    from rejoinder.model.runfile import read_run

    run = read_run(path)
    if run.being_written:
        echo(f"{path} is still being written. Only what it contains so far is used.", err=True)
    return run


def dialect_of(run: Run, given: str | None) -> tuple[str, str]:
    """Return the dialect to check a recorded run against, and why rejoinder chose it, empty if it did not.

    It is the given one, or that of the run. The name ``auto`` is the one that fits its exchanges, which is printed.
    Raises :class:`~rejoinder.errors.ContractError` for one that cannot be used; its hint says what to do about the
    dialect of a run whose file has been moved or removed.
    """
    from rejoinder.contract import load_dialect
    from rejoinder.errors import ContractError
    from rejoinder.wire.dialect_choice import AUTO, choose

    if given == AUTO:
        chosen = choose(run.exchanges)
        echo(chosen.sentence)
        return chosen.dialect, chosen.reason
    dialect = given or run.header.target.dialect
    try:
        load_dialect(dialect)
    except ContractError as error:
        if given or Path(dialect).exists():
            raise
        raise ContractError(
            f"The run was checked against the dialect {dialect}: {error.message}", "Give its file with --dialect."
        ) from error
    return dialect, run.header.target.dialect_reason if dialect == run.header.target.dialect else ""


def _remove(folder: Path) -> None:
    """Remove a run file, and its folders if they are empty then."""
    (folder / "run.ndjson").unlink(missing_ok=True)
    for place in (folder, *([Path(RUNS)] if folder.parent == Path(RUNS) else [])):
        with suppress(OSError):  # the folder holds other things
            place.rmdir()


def write_reports(folder: Path, run: Run | None = None) -> None:
    """Write report.html and junit.xml beside a finished run.ndjson, whose ``run`` is read unless it is given."""
    from rejoinder.model.runfile import read_run
    from rejoinder.reports import render_html, render_junit

    run = run or read_run(folder)
    write_text(folder / "report.html", render_html(run))
    write_text(folder / "junit.xml", render_junit(run))


def save_reports(folder: Path) -> tuple[Run, RunWriteError | None]:
    """Write the reports of a finished run; return the run, and why the reports could not be written if they could not.

    The first interrupt does not prevent it.
    """
    from rejoinder.model.runfile import read_run

    with finishing():
        run = read_run(folder)
        try:
            write_reports(folder, run)
        except UsageError as error:
            hint = "`rejoinder report` writes the reports of a run file to another folder."
            return run, RunWriteError(error.message, hint)
    return run, None


def close_run(recorder: RunRecorder) -> Run:
    """Write the reports of a finished run, print the closing summary, and return the run.

    Raises :class:`RunWriteError` when the reports cannot be written, after the summary, or the summary cannot.
    """
    from rejoinder.reports import summarize

    folder = recorder.folder
    paths = {"report": str(folder / "report.html"), "run file": str(folder / "run.ndjson")}
    run, problem = save_reports(folder)
    if problem is not None:
        del paths["report"]
    try:
        show(summarize(run, paths=paths))
        if problem is None:
            _name_better_dialect(run)
    except UsageError as error:  # the run and its reports are whole
        problem = problem or RunWriteError(error.message, f"The report is {folder / 'report.html'}.")
    if problem is not None:
        raise problem
    return run


def _name_better_dialect(run: Run) -> None:
    """Name the dialect that fits the responses of a run better; one that the endpoint marks was named at the start."""
    from rejoinder.wire.dialect_choice import better_than

    target = run.header.target
    better = None if target.dialect_reason else better_than(target.dialect, run.exchanges)
    if better is not None and not better.clear:
        echo(better.hint, err=True)


def _is_run_file(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_RUN_FILE)) == _RUN_FILE


def write_text(path: Path, text: str) -> None:
    """Write a report, whole or not at all.

    Raises :class:`UsageError` when the place cannot be written to, and when it is a run file.
    """
    try:
        if path.is_file() and _is_run_file(path):
            raise UsageError(f"{path} is a run file, which a report would replace.", "Choose another path.")
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not (path.is_file() and not path.is_symlink()):  # a device, a pipe, a link
            path.write_text(text, encoding="utf-8", errors="backslashreplace")
            return
        part = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            part.write_text(text, encoding="utf-8", errors="backslashreplace")
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"Cannot write {path}: {error.strerror}.", "Choose another path.") from error

"""The command line: each command is a module of its own, imported when it runs."""

from __future__ import annotations

import errno
import importlib
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NoReturn

import click

from rejoinder import CATALOGUE_VERSION, __version__
from rejoinder.cli._extension import add_extension_option
from rejoinder.cli._help import Group
from rejoinder.cli._secrets import clean
from rejoinder.cli._terminal import drop_unwritten, echo, echo_usage
from rejoinder.errors import EXIT_CODES, ExitCode, RejoinderError, UsageError, suggest
from rejoinder.formatting import one_line
from rejoinder.garbage import collect_rarely
from rejoinder.interrupts import INTERRUPTS
from rejoinder.settings import Kind, load_settings, options_of

COMMANDS: Final[Mapping[str, str]] = {
    "check": "Check every response of an endpoint against the API contract.",
    "load": "Measure latency and throughput of an endpoint under load.",
    "recheck": "Check the responses of a recorded run again, offline.",
    "replay": "Reproduce one finding of a recorded run.",
    "baseline": "Maintain a file of known failures.",
    "report": "Write a run as HTML, JUnit, Markdown, CTRF, CSV or badge.",
    "diff": "Show what changed between two runs.",
    "compare": "Show several runs side by side on one HTML page.",
    "rules": "List the rules, or explain one.",
    "dialect": "Show and compare dialects, or make one from an OpenAPI document.",
    "sandbox": "Serve the built-in test endpoint, correct or with faults.",
    "demo": "Check and load the sandbox, and write one report.",
}
"""The commands with their summaries; ``rejoinder.cli.<name>`` defines each."""
_COMPLETION: Final[Mapping[str, str]] = {
    "bash": 'eval "$(_REJOINDER_COMPLETE=bash_source rejoinder)"',
    "zsh": 'eval "$(_REJOINDER_COMPLETE=zsh_source rejoinder)"',
    "fish": "_REJOINDER_COMPLETE=fish_source rejoinder | source",
}
"""The line that switches completion on, by shell; it belongs into the shell's start-up file."""
_NAMES: Final = frozenset({errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.EACCES})
"""Errors of the name of a file."""
_FULL: Final = frozenset({errno.ENOSPC, errno.EFBIG, errno.EDQUOT})
"""Errors of a disk, a file or a quota that takes no more."""


class _Commands(Group):
    """Imports ``rejoinder.cli.<name>`` when a command is run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return _load(cmd_name) if cmd_name in COMMANDS else None

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            # click would print an empty line first, which fails where the terminal is gone.
            raise click.Abort from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            hint = suggest(args[0], COMMANDS, "`rejoinder --help` lists the commands.")
            raise UsageError(f'"{args[0]}" is not a rejoinder command.', hint)
        # Settings are read when it is clear that a command runs, so that --help works in any folder.
        name, command, rest = super().resolve_command(ctx, args)
        if name is not None and not {"--help", "-h"} & set(rest):
            ctx.default_map = {name: load_settings(_Options(), name)}
        return name, command, rest


class _Options(Mapping[str, Mapping[str, Kind]]):
    """The options of every command. Imports a command's module when its options are looked up."""

    def __getitem__(self, name: str) -> Mapping[str, Kind]:
        return options_of(_load(name))

    def __contains__(self, name: object) -> bool:
        return name in COMMANDS

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


def _load(name: str) -> click.Command:
    command = importlib.import_module(f"rejoinder.cli.{name}").command
    assert isinstance(command, click.Command)
    add_extension_option(command)
    return command


def _print_version(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        echo(f"rejoinder {__version__}, rules {CATALOGUE_VERSION}")
        ctx.exit()


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    sections={
        "Settings": {
            "REJOINDER_<OPTION>": "Environment variable for any option. Example: REJOINDER_MODEL.",
            "rejoinder.toml": 'The same options in the current folder. Example: model = "tiny".',
            "pyproject.toml": "The same options in the table [tool.rejoinder].",
            "REJOINDER_API_KEY": "API key of the endpoint. It is never written to a file.",
        },
        "Shell completion": _COMPLETION,
    },
    exit_codes=EXIT_CODES,
    examples=[
        ("Watch it work on the built-in sandbox.", "rejoinder demo"),
        ("Check a server, then open the report that it names.", "rejoinder check http://127.0.0.1:8000"),
        (
            "Send 16 concurrent requests for 30 seconds.",
            "rejoinder load http://127.0.0.1:8000 --concurrency 16 --duration 30s",
        ),
    ],
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the versions of rejoinder and of its rules, and exit.",
)
def cli() -> None:
    """Conformance and load tests for servers that implement POST /v1/responses.

    rejoinder generates requests, checks every response and stream event against the API contract, measures latency
    under load, and writes a self-contained HTML report.
    """


def main(args: list[str] | None = None) -> NoReturn:
    """Run the command line and exit. Errors of a user or of an endpoint are printed as a sentence and a hint."""
    collect_rarely()
    for number in INTERRUPTS:
        if signal.getsignal(number) is signal.SIG_DFL:
            # As Ctrl-C. Process 1 of a container would not even end with the default.
            signal.signal(number, signal.default_int_handler)
    try:
        code = cli.main(args=args, prog_name="rejoinder", standalone_mode=False)
    except RejoinderError as error:
        echo(f"Error: {error.message}", err=True)
        if error.hint:
            echo(f"  {error.hint}", err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        echo_usage(error)
        sys.exit(ExitCode.NOT_TESTED)
    except (click.Abort, KeyboardInterrupt):
        echo("Interrupted.", err=True)
        sys.exit(ExitCode.INTERRUPTED)
    except Exception as error:
        if sentences := _surroundings(error):
            echo("Error: {}\n  {}".format(*sentences), err=True)
            drop_unwritten()
        else:  # a bug: the sentence goes to the terminal, the traceback to a file
            echo(f"Error: rejoinder crashed: {type(error).__name__}: {error}", err=True)
            attach = _keep_traceback(traceback.format_exc())
            echo(f"  This is a bug. Please report it{attach}. The folder of the run keeps what was recorded.", err=True)
        sys.exit(ExitCode.NOT_TESTED)
    sys.exit(code if isinstance(code, int) else 0)


def _surroundings(error: Exception) -> tuple[str, str] | None:
    """Return what is wrong around the command and what to do, for an error that no code of its own can expect."""
    if isinstance(error, MemoryError):
        return "rejoinder has no memory left.", "Use smaller files, or raise the memory limit of the process."
    if not isinstance(error, OSError):
        return None
    if error.errno in _FULL:
        return f"Cannot write {error.filename or 'the output'}: {error.strerror}.", "Free space there."
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return f"rejoinder cannot open more files: {error.strerror}.", "Raise the limit with `ulimit -n 4096`."
    try:
        Path.cwd()
    except OSError:
        return "The current folder does not exist.", "Change to another folder."
    if error.errno in _NAMES and error.filename:
        return f"Cannot use {one_line(str(error.filename), 200)}: {error.strerror}.", "Check the name."
    return None


def _keep_traceback(text: str) -> str:
    """Write a traceback to a temporary file; return what a person does with it, as a part of a sentence."""
    try:
        with tempfile.NamedTemporaryFile("w", prefix="rejoinder-crash-", suffix=".txt", delete=False) as file:
            file.write(clean(text))
    except OSError as error:
        return f" (the traceback could not be written to a temporary file: {error.strerror})"
    return f" and attach {file.name}"

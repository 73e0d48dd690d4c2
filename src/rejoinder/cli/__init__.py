"""The command line: each command is a module of its own, imported when it runs."""

from __future__ import annotations

import importlib
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping
from typing import Final, NoReturn

import click

from rejoinder import __version__
from rejoinder.cli._extension import add_extension_option
from rejoinder.errors import EXIT_CODES, ExitCode, RejoinderError
from rejoinder.settings import Kind, load_settings, options_of

COMMANDS: Final[Mapping[str, str]] = {
    "check": "Send a test plan to an endpoint and check every response.",
    "load": "Measure latency and throughput of an endpoint under load.",
    "recheck": "Judge a recorded run again, offline.",
    "replay": "Send the requests of one finding again.",
    "baseline": "Maintain a file of known failures.",
    "report": "Write a recorded run as HTML, JUnit, Markdown, CTRF, CSV or badge.",
    "diff": "Show what changed from one run to another.",
    "compare": "Show several runs side by side on one HTML page.",
    "rules": "List the rules, or explain one.",
    "sandbox": "Serve a reference endpoint, correct or with faults.",
    "demo": "Check and load the embedded endpoint, and write one report.",
}
"""The commands and the lines that ``rejoinder --help`` shows for them; ``rejoinder.cli.<name>`` defines each."""


class _Commands(click.Group):
    """Imports ``rejoinder.cli.<name>`` when a command is run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return _load(cmd_name) if cmd_name in COMMANDS else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(code.value), meaning) for code, meaning in EXIT_CODES.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
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


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="rejoinder")
def cli() -> None:
    """Hold an endpoint that implements POST /v1/responses to its word.

    Options may also be set as REJOINDER_<OPTION> in the environment, in rejoinder.toml, or in the table
    [tool.rejoinder] of pyproject.toml. The endpoint's key is read from REJOINDER_API_KEY.
    """


def main(args: list[str] | None = None) -> NoReturn:
    """Run the command line and exit. Errors of a user or of an endpoint are printed as one sentence."""
    try:
        code = cli.main(args=args, prog_name="rejoinder", standalone_mode=False)
    except RejoinderError as error:
        click.echo(f"Error: {error.message}", err=True)
        if error.hint:
            click.echo(f"  {error.hint}", err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(ExitCode.NOT_TESTED)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        sys.exit(ExitCode.INTERRUPTED)
    except Exception as error:  # a defect of ours: the sentence goes to the terminal, the traceback to a file
        click.echo(f"Error: rejoinder itself failed: {type(error).__name__}: {error}", err=True)
        with tempfile.NamedTemporaryFile("w", prefix="rejoinder-crash-", suffix=".txt", delete=False) as file:
            file.write(traceback.format_exc())
        click.echo(f"  Please report it with {file.name}. What a run had gathered is in its folder.", err=True)
        sys.exit(ExitCode.NOT_TESTED)
    sys.exit(code if isinstance(code, int) else 0)

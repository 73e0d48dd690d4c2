"""The command line. Each command is a module of its own that loads what it needs only when it is called."""

from __future__ import annotations

import importlib
import sys
import tempfile
import traceback
from typing import Any, Final, NoReturn

import click

from rejoinder import __version__
from rejoinder.errors import RejoinderError

COMMANDS: Final = (
    *("check", "load", "recheck", "replay", "baseline", "report", "diff", "compare"),
    *("rules", "sandbox", "demo"),
)


class _Commands(click.Group):
    """Loads ``rejoinder.cli.<name>`` when a command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"rejoinder.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        # Settings are read when it is clear that a command runs, so that --help works in any folder.
        name, command, rest = super().resolve_command(ctx, args)
        if not {"--help", "-h"} & set(rest):
            ctx.default_map = _settings(self, ctx)
        return name, command, rest


def _settings(group: click.Group, ctx: click.Context) -> dict[str, Any]:
    from rejoinder.settings import known_options, load_settings

    for name in group.list_commands(ctx):
        loaded = group.get_command(ctx, name)
        assert loaded is not None
        group.add_command(loaded, name)
    return dict(load_settings(known_options(group)))


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="rejoinder")
def cli() -> None:
    """Hold an endpoint that implements POST /v1/responses to its word.

    Options may also be set as REJOINDER_<OPTION> in the environment, in rejoinder.toml, or in the table
    [tool.rejoinder] of pyproject.toml. The endpoint's key is read from REJOINDER_API_KEY.

    Exit codes: 0 nothing failed, 1 failures, 2 nothing could be tested, 4 the load generator was the bottleneck,
    130 interrupted.
    """


def main(args: list[str] | None = None) -> NoReturn:
    """Run the command line and exit; errors that people meet are told in a sentence."""
    try:
        code = cli.main(args=args, prog_name="rejoinder", standalone_mode=False)
    except RejoinderError as error:
        click.echo(f"Error: {error.message}", err=True)
        if error.hint:
            click.echo(f"  {error.hint}", err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        sys.exit(130)
    except Exception as error:  # a defect of ours: the sentence goes to the terminal, the traceback to a file
        click.echo(f"Error: rejoinder itself failed: {type(error).__name__}: {error}", err=True)
        with tempfile.NamedTemporaryFile("w", prefix="rejoinder-crash-", suffix=".txt", delete=False) as file:
            file.write(traceback.format_exc())
        click.echo(f"  Please report it with {file.name}. What a run had gathered is in its folder.", err=True)
        sys.exit(2)
    sys.exit(code if isinstance(code, int) else 0)

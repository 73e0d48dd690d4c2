"""The option ``--extension``, which every command has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


def add_extension_option(command: click.Command) -> None:
    """Add the option to a command and to the commands in it; adding it a second time does nothing."""
    if not any(isinstance(param, ExtensionOption) for param in command.params):
        command.params.append(ExtensionOption())
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            add_extension_option(inner)


class ExtensionOption(click.Option):
    """Puts the extensions of the named folders to use before the command looks at its other options."""

    def __init__(self) -> None:
        super().__init__(
            ["--extension"],
            type=click.Path(path_type=Path),
            multiple=True,
            metavar="DIR",
            is_eager=True,
            expose_value=False,
            callback=_use,
            help="Folder with your own rules, checks, sandbox faults and cases. Can be given more than once.",
        )


def _use(context: click.Context, option: click.Parameter, folders: tuple[Path, ...]) -> Any:
    from rejoinder.extensions import extensions

    if folders or (extensions() and not context.resilient_parsing):
        from rejoinder.conformance.extending import use_extensions

        use_extensions(folders or None)

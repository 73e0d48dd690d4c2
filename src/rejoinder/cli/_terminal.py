"""The only way of the commands to standard output and standard error: every text is harmless when it gets there."""

from __future__ import annotations

import sys
from io import StringIO
from typing import TYPE_CHECKING

import click

from rejoinder.cli._secrets import clean
from rejoinder.formatting import encodable, terminal_text

if TYPE_CHECKING:
    from rich.console import RenderableType


def echo(text: str = "", *, err: bool = False, nl: bool = True) -> None:
    """Print text to standard output, or to standard error with ``err``, and a line feed unless ``nl`` is false.

    Credentials are masked (:func:`rejoinder.cli._secrets.clean`). Names of models, messages of endpoints and unknown
    keys of input files are only text there: no control character acts on the terminal, and no line is a command of a CI
    system (:func:`rejoinder.formatting.terminal_text`). Signs that the encoding of the output lacks are replaced.
    """
    file = sys.stderr if err else sys.stdout
    click.echo(encodable(terminal_text(clean(text)), file.encoding), err=err, nl=nl)


def show(renderable: RenderableType, *, err: bool = False) -> None:
    """Print a summary whose lines went through :func:`rejoinder.reports.terminal_text.shown`, with colour if it may."""
    from rich.console import Console

    Console(stderr=err).print(renderable)


def echo_usage(error: click.ClickException) -> None:
    """Print an error of the command line as click does, with its usage and hint."""
    page = StringIO()
    error.show(page)
    echo(page.getvalue(), err=True, nl=False)

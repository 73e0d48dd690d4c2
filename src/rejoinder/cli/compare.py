"""``rejoinder compare``: several runs side by side."""

from __future__ import annotations

from pathlib import Path

import click

from rejoinder.cli._help import Argument, Page
from rejoinder.cli._run import file_option, read_recorded, write_text
from rejoinder.cli._terminal import echo
from rejoinder.errors import UsageError


@click.command(
    "compare",
    cls=Page,
    examples=[
        ("Compare three servers.", "rejoinder compare runs/vllm runs/sglang runs/llama.cpp --html compared.html")
    ],
)
@click.argument(
    "runs",
    cls=Argument,
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path),
    metavar="RUN RUN...",
    description="Two or more runs: run files or their folders.",
)
@file_option("--html", "HTML page to write.", default="comparison.html", show_default=True)
def command(runs: tuple[Path, ...], html: Path) -> int:
    """Write one HTML page with a column for each run and a row for each rule and load figure."""
    from rejoinder.reports import render_comparison

    if len(runs) < 2:
        raise UsageError("A comparison needs at least two runs.", "Use `rejoinder report` for a single run.")
    write_text(html, render_comparison([read_recorded(run) for run in runs]))
    echo(f"Compared {len(runs)} runs: {html}")
    return 0

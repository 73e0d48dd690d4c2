"""``rejoinder compare``: many runs side by side."""

from __future__ import annotations

from pathlib import Path

import click

from rejoinder.cli._run import file_option, write_text
from rejoinder.errors import UsageError


@click.command("compare")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN RUN...")
@file_option("--html", "Write the HTML page to F.", default="comparison.html", show_default=True)
def command(runs: tuple[Path, ...], html: Path) -> int:
    r"""Set runs side by side on one page: rules as rows, targets as columns, what was found behind every cell.

    Each RUN is a run.ndjson or the folder that holds it. Example:

    \b
        rejoinder compare runs/vllm runs/sglang runs/llama.cpp --html comparison.html
    """
    from rejoinder.model.runfile import read_run
    from rejoinder.reports import render_comparison

    if len(runs) < 2:
        raise UsageError("A comparison needs two runs or more.", "`rejoinder report` shows a single run.")
    write_text(html, render_comparison([read_run(run) for run in runs]))
    click.echo(f"{len(runs)} runs compared: {html}")
    return 0

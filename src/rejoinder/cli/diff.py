"""``rejoinder diff``: what changed between two runs."""

from __future__ import annotations

from pathlib import Path

import click

from rejoinder.cli._help import Argument, Page
from rejoinder.cli._run import file_option, markdown_option, read_recorded, write_text
from rejoinder.cli._terminal import echo
from rejoinder.errors import ExitCode


@click.command(
    "diff",
    cls=Page,
    exit_codes={0: "AFTER has no new failure.", 1: "AFTER has a new failure.", 2: "A run could not be read."},
    examples=[
        ("Compare two runs on a page.", "rejoinder diff runs/monday runs/tuesday --html diff.html"),
        ("Print the differences as Markdown.", "rejoinder diff runs/monday runs/tuesday --markdown -"),
    ],
)
@click.argument(
    "before", cls=Argument, type=click.Path(path_type=Path), description="The earlier run: a run file or its folder."
)
@click.argument(
    "after", cls=Argument, type=click.Path(path_type=Path), description="The later run: a run file or its folder."
)
@file_option("--html", "Write an HTML page.")
@markdown_option
def command(before: Path, after: Path, html: Path | None, markdown: Path | None) -> int:
    """Show what changed from BEFORE to AFTER: new and fixed findings, verdicts, SLOs and load figures.

    Findings are matched by fingerprint, which does not depend on wording, ids or positions.
    """
    from rejoinder.reports import diff_runs, render_diff_html, render_diff_markdown, render_diff_text

    diff = diff_runs(read_recorded(before), read_recorded(after))
    if html is not None:
        write_text(html, render_diff_html(diff))
    to_stdout = str(markdown) == "-"
    if markdown is not None:
        text = render_diff_markdown(diff)
        if to_stdout:
            echo(text)
        else:
            write_text(markdown, text)
    echo(render_diff_text(diff), nl=False, err=to_stdout)
    for name, path in (("page", html), ("markdown", None if to_stdout else markdown)):
        if path is not None:
            echo(f"  {name}  {path}", err=to_stdout)
    return ExitCode.FAILED if diff.new_failures else ExitCode.PASSED

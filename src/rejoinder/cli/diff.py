"""``rejoinder diff``: what changed from one run to another."""

from __future__ import annotations

from pathlib import Path

import click

from rejoinder.cli._run import file_option, markdown_option, write_text
from rejoinder.errors import ExitCode


@click.command("diff")
@click.argument("before", type=click.Path(path_type=Path))
@click.argument("after", type=click.Path(path_type=Path))
@file_option("--html", "Write the HTML page to F.")
@markdown_option
def command(before: Path, after: Path, html: Path | None, markdown: Path | None) -> int:
    r"""Compare the runs BEFORE and AFTER: new, fixed and lasting findings, changed verdicts and load figures.

    Findings are told apart by their fingerprints, which outlive wording, ids and positions. The exit code is 1 when
    something fails that did not before. Example:

    \b
        rejoinder diff runs/monday runs/tuesday --html diff.html
    """
    from rejoinder.model.runfile import read_run
    from rejoinder.reports import diff_runs, render_diff_html, render_diff_markdown, render_diff_text

    diff = diff_runs(read_run(before), read_run(after))
    if html is not None:
        write_text(html, render_diff_html(diff))
    to_stdout = str(markdown) == "-"
    if markdown is not None:
        text = render_diff_markdown(diff)
        if to_stdout:
            click.echo(text)
        else:
            write_text(markdown, text)
    click.echo(render_diff_text(diff), nl=False, err=to_stdout)
    for name, path in (("page", html), ("markdown", None if to_stdout else markdown)):
        if path is not None:
            click.echo(f"  {name}  {path}", err=to_stdout)
    return ExitCode.FAILED if diff.new_failures else ExitCode.PASSED

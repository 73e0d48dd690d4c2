"""``rejoinder report``: write reports of a recorded run."""

from __future__ import annotations

from pathlib import Path

import click

from rejoinder.cli._run import file_option, markdown_option, write_text


@click.command("report")
@click.argument("run", type=click.Path(path_type=Path))
@file_option("--html", "Write the HTML page to F.")
@file_option("--junit", "Write JUnit XML to F.")
@markdown_option
@file_option("--ctrf", "Write Common Test Report JSON to F.")
@file_option("--badge", "Write JSON for a README badge to F.")
@file_option("--csv", "Write a table of all recorded and measured requests to F.")
def command(run: Path, markdown: Path | None, **files: Path | None) -> int:
    r"""Write reports of RUN, a run.ndjson or the folder that holds it, and print its summary.

    A run file that was cut short or damaged gives what can be read. Example:

    \b
        rejoinder report rejoinder-runs/20260101-120000 --markdown -
    """
    from rich.console import Console

    from rejoinder import reports
    from rejoinder.model.runfile import read_run

    loaded = read_run(run)
    written: dict[str, str] = {}
    for option, name, render in (
        ("html", "report", reports.render_html),
        ("junit", "junit", reports.render_junit),
        ("ctrf", "ctrf", reports.render_ctrf),
        ("badge", "badge", reports.render_badge),
        ("csv", "csv", reports.render_csv),
    ):
        path = files[option]
        if path is not None:
            write_text(path, render(loaded))
            written[name] = str(path)
    if markdown is not None:
        text = reports.render_markdown(loaded)
        if str(markdown) == "-":
            click.echo(text)
        else:
            write_text(markdown, text)
            written["markdown"] = str(markdown)
    # What goes to standard output on request is not mixed with the summary.
    Console(stderr=str(markdown) == "-").print(reports.summarize(loaded, paths=written))
    return 0

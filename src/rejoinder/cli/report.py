"""``rejoinder report``: write the reports of a recorded run."""

from __future__ import annotations

from pathlib import Path

import click

from rejoinder.cli._help import Page
from rejoinder.cli._run import file_option, markdown_option, read_recorded, run_argument, write_text
from rejoinder.cli._terminal import echo, show


@click.command(
    "report",
    cls=Page,
    examples=[
        ("Print Markdown for a pull request.", "rejoinder report rejoinder-runs/nightly --markdown -"),
        ("Write a page and a JUnit file.", "rejoinder report rejoinder-runs/nightly --html r.html --junit r.xml"),
    ],
)
@run_argument
@file_option("--html", "Write an HTML page.")
@file_option("--junit", "Write JUnit XML.")
@markdown_option
@file_option("--ctrf", "Write Common Test Report Format (CTRF) JSON.")
@file_option("--badge", "Write JSON for a badge of shields.io.")
@file_option("--csv", "Write a CSV table with one row for each request.")
def command(run: Path, markdown: Path | None, **files: Path | None) -> int:
    """Write reports of RUN and print its summary.

    A damaged or incomplete run file is reported as far as it is readable.
    """
    from rejoinder import reports

    loaded = read_recorded(run)
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
            echo(text)
        else:
            write_text(markdown, text)
            written["markdown"] = str(markdown)
    # Markdown on standard output is not mixed with the summary.
    show(reports.summarize(loaded, paths=written), err=str(markdown) == "-")
    return 0

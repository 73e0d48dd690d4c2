"""``rejoinder report``: write reports of a recorded run."""

from __future__ import annotations

from pathlib import Path

import click

from rejoinder.cli._run import write_text


@click.command("report")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), metavar="F", help="Write the HTML page to F.")
@click.option("--junit", type=click.Path(path_type=Path, dir_okay=False), metavar="F", help="Write JUnit XML to F.")
@click.option(
    "--markdown",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    metavar="F",
    help="Write Markdown to F, bounded for a CI step summary; - is standard output.",
)
@click.option(
    "--ctrf", type=click.Path(path_type=Path, dir_okay=False), metavar="F", help="Write Common Test Report JSON to F."
)
@click.option(
    "--badge", type=click.Path(path_type=Path, dir_okay=False), metavar="F", help="Write JSON for a README badge to F."
)
@click.option(
    "--csv",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="F",
    help="Write a table of all recorded and measured requests to F.",
)
def command(
    run: Path,
    html: Path | None,
    junit: Path | None,
    markdown: Path | None,
    ctrf: Path | None,
    badge: Path | None,
    csv: Path | None,
) -> int:
    r"""Write reports of RUN, a run.ndjson or the folder that holds it, and print its summary.

    A run file that was cut short or damaged gives what can be read. Example:

    \b
        rejoinder report rejoinder-runs/20260101-120000 --markdown -
    """
    from rich.console import Console

    from rejoinder.model.runfile import read_run
    from rejoinder.reports import (
        render_badge,
        render_csv,
        render_ctrf,
        render_html,
        render_junit,
        render_markdown,
        summarize,
    )

    loaded = read_run(run)
    written: dict[str, str] = {}
    for name, path, render in (
        ("report", html, render_html),
        ("junit", junit, render_junit),
        ("ctrf", ctrf, render_ctrf),
        ("badge", badge, render_badge),
        ("csv", csv, render_csv),
    ):
        if path is not None:
            write_text(path, render(loaded))
            written[name] = str(path)
    if markdown is not None:
        text = render_markdown(loaded)
        if str(markdown) == "-":
            click.echo(text)
        else:
            write_text(markdown, text)
            written["markdown"] = str(markdown)
    # What goes to standard output on request is not mixed with the summary.
    Console(stderr=str(markdown) == "-").print(summarize(loaded, paths=written))
    return 0

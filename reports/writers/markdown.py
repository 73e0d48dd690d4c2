"""Markdown for the step summary of a CI job, or for an issue: bounded, and safe to paste."""

from __future__ import annotations

from rejoinder.model.runfile import Run
from rejoinder.reports.markdown_text import bounded
from rejoinder.reports.model import read_report
from rejoinder.reports.parts import in_markdown


def render_markdown(run: Run, limit: int = 60_000) -> str:
    """Return the run as Markdown of at most ``limit`` bytes.

    The verdict, the counts and the load figures always come; findings follow, the worst first, as many as fit. GitHub
    takes 1 MiB for a step summary and 65,536 characters for a comment; the default fits both. Text from the endpoint
    makes no markup, no link and no mention.
    """
    report = read_report(run)
    text = ""
    for part in in_markdown():
        value = report.get(part)
        if value is not None and part.markdown is not None:
            text += "".join(f"{line}\n" for line in part.markdown(value, report, limit - len(text.encode())))
    return bounded(text, limit)

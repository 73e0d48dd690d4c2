"""What people see of a run: an HTML page, JUnit XML, CTRF JSON, Markdown, CSV, a badge, and a summary for the terminal.

Two runs are compared by :func:`diff_runs`, whose result has writers of its own.

Every writer is a pure function of a :class:`rejoinder.model.runfile.Run`: it reads no file, no clock and no network,
and never fails over strange content, because everything in a run that came from an endpoint is hostile until shown
otherwise.
"""

from __future__ import annotations

from rejoinder.reports.diff import Diff, diff_runs
from rejoinder.reports.writers.badge import render_badge
from rejoinder.reports.writers.compare import render_comparison
from rejoinder.reports.writers.csv import render_csv
from rejoinder.reports.writers.ctrf import render_ctrf
from rejoinder.reports.writers.diff import render_diff_html, render_diff_markdown, render_diff_text
from rejoinder.reports.writers.html import render_html
from rejoinder.reports.writers.junit import render_junit
from rejoinder.reports.writers.markdown import render_markdown
from rejoinder.reports.writers.terminal import Summary, summarize

__all__ = [
    "Diff",
    "Summary",
    "diff_runs",
    "render_badge",
    "render_comparison",
    "render_csv",
    "render_ctrf",
    "render_diff_html",
    "render_diff_markdown",
    "render_diff_text",
    "render_html",
    "render_junit",
    "render_markdown",
    "summarize",
]

"""A run that is small enough to count by hand, and the forms of one part."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from rejoinder.model.exchange import Chunk, Exchange, Outcome, Request
from rejoinder.model.footer import Footer
from rejoinder.model.header import RunTarget, new_header
from rejoinder.model.runfile import Run
from rejoinder.model.verdict import Finding, Known, Level, Problem, Status, Verdict
from rejoinder.reports import render_html, summarize
from rejoinder.reports.model import ReportModel, read_report

START = 1_790_000_000.0


def exchange(name: str) -> Exchange:
    """Return an answer of 10 bytes."""
    request = Request("POST", "/v1/responses", (("content-type", "application/json"),), b'{"input":"Hi"}')
    headers = (("content-type", "application/json"),)
    chunks = (Chunk(0.1, b'{"id":"r"}'),)
    return Exchange(name, request, Outcome.COMPLETE, 200, headers, chunks, "case-1", ended_at=0.25)


@pytest.fixture
def checked() -> Run:
    """Return a check of six rules: one passed, one warned, one failed with three findings, three not judged."""
    problem = Problem("The text is wrong.", "/output/0", event=2, exchange="x1", expected="a", actual="b")
    other = Problem("The id is missing.", "/id", exchange="x1")
    findings = [
        Finding("EVT-02", Level.MUST, problem, 3, ["case-1", "case-2"]),
        Finding("EVT-02", Level.MUST, other, 1, ["case-1"]),
        Finding("EVT-02", Level.MUST, Problem("Known.", "/k", exchange="x1"), 7, ["case-1"], known=Known("bug 9")),
    ]
    warned = Finding("SSE-03", Level.SHOULD, Problem("A comment is long."), 2, ["case-2"])
    return Run(
        new_header(
            RunTarget(url="http://h:1/v1/responses", model="m 1", dialect="northstar", server="s"),
            started_at=START,
            command=["rejoinder", "check", "http://h:1", "--model", "m 1"],
            tool={"rejoinder": "0.1", "python": "3.12"},
            plan="quick",
            seed=7,
            cases={"case-1": "Plain text"},
            required=["tools"],
        ),
        [exchange("x1"), exchange("x2")],
        [
            Verdict("EVT-01", Level.MUST, Status.PASS, 5),
            Verdict("EVT-02", Level.MUST, Status.FAIL, 10, 4, "", findings),
            Verdict("SSE-03", Level.SHOULD, Status.WARN, 8, 2, "", [warned]),
            Verdict("LIF-01", Level.MUST, Status.ERROR, reason="The connection broke."),
            Verdict("LIF-02", Level.MUST, Status.NOT_APPLICABLE, reason="No stream."),
            Verdict("LIF-03", Level.MUST, Status.NOT_APPLICABLE, reason="No stream."),
        ],
        footer=Footer(ended_at=START + 38.4, exit_code=1, warnings=["GET /v1/models answered 404."]),
    )


def _text(html: str) -> str:
    html = re.sub(r"<svg.*?</svg>", "", html, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


@pytest.fixture
def table() -> Callable[[Run, str], list[list[str]]]:
    """Return the function that reads the first table after a mark on the page of a run: rows of texts of cells."""

    def read(run: Run, mark: str) -> list[list[str]]:
        page = render_html(run)
        begin = page.index("<table", page.index(mark))
        rows = re.findall(r"<tr.*?</tr>", page[begin : page.index("</table>", begin)], re.DOTALL)
        return [[_text(cell) for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL)] for row in rows]

    return read


@pytest.fixture
def section() -> Callable[[Run, str, str], str]:
    """Return the function that reads the text between two marks on the page of a run."""

    def read(run: Run, begin: str, end: str) -> str:
        page = render_html(run)
        at = page.index(begin)
        return _text(page[at : page.index(end, at)])

    return read


@pytest.fixture
def forms() -> Callable[[Any, Run], tuple[list[str], list[str]]]:
    """Return the function that gives the lines of a part in Markdown and on a terminal of 80 columns."""

    def read(part: Any, run: Run) -> tuple[list[str], list[str]]:
        report = read_report(run)
        value = report[part]
        markdown = part.markdown(value, report, 60_000) if part.markdown else []
        terminal = part.terminal(value, report, 80) if part.terminal else []
        return list(markdown), [line.plain.rstrip() for line in terminal]

    return read


@pytest.fixture(scope="session")
def run_of() -> Callable[..., Run]:
    """Return the function that makes a run of sample lines."""
    header = new_header(RunTarget(url="", model=None, dialect="northstar"))
    return lambda *samples: Run(header, samples=list(samples), footer=Footer(ended_at=1.0, exit_code=0))


@pytest.fixture(scope="session")
def report_of(run_of: Any) -> Callable[..., ReportModel]:
    """Return the function that makes the report model of a run of sample lines."""
    return lambda *samples: read_report(run_of(*samples))


@pytest.fixture(scope="session")
def screen() -> Callable[[Run], str]:
    """Return the function that gives the closing summary as a wide terminal shows it."""

    def show(run: Run) -> str:
        text = StringIO()
        Console(file=text, width=200).print(summarize(run))
        return text.getvalue()

    return show


@pytest.fixture(scope="session")
def words(check_page: Any) -> Callable[[Run], str]:
    """Return the function that gives the texts of the page of a run as one line."""
    return lambda run: " ".join("".join(check_page(render_html(run)).texts).split())

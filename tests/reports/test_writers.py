"""Every writer, on every example run and on runs that no one would write."""

from __future__ import annotations

import html
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree as ET

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from msgspec import inspect
from rich.console import Console

from rejoinder.model.exchange import Chunk, Exchange, Outcome, Request
from rejoinder.model.footer import Footer
from rejoinder.model.header import Header, RunTarget, new_header
from rejoinder.model.histogram import Histogram
from rejoinder.model.metrics import Place, rows_shown
from rejoinder.model.outcomes import RequestOutcome
from rejoinder.model.runfile import Run, RunWriter, read_run
from rejoinder.model.samples import KINDS, LoadSample, step_latencies
from rejoinder.model.verdict import ABSENT, Finding, Level, Minimal, Problem, Reruns, Status, Verdict
from rejoinder.reports import (
    render_badge,
    render_csv,
    render_ctrf,
    render_html,
    render_junit,
    render_markdown,
    summarize,
)
from rejoinder.reports.model import read_report
from rejoinder.reports.parts.verdict import PART as VERDICT
from rejoinder.reports.parts.verdict import RunVerdict
from rejoinder.reports.parts.warnings import PART as WARNINGS

NAMES = ["typical", "green", "checked", "empty", "unreachable", "load", "many", "hostile"]
HEADER = new_header(RunTarget(url="", model=None, dialect="northstar"))
ACTIVE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")


def verdict(run: Run) -> RunVerdict:
    """Return the verdict that every report of a run begins with."""
    return read_report(run)[VERDICT]


@pytest.mark.slow(1)
@pytest.mark.parametrize("name", NAMES)
def test_every_writer_takes_every_example(
    name: str, examples: ModuleType, check_page: Any, surfaces: ModuleType
) -> None:
    run = examples.EXAMPLES[name]()
    check_page(render_html(run))
    check_junit(render_junit(run), surfaces)
    markdown = render_markdown(run)
    assert len(markdown.encode()) <= 60_000
    check_markdown(markdown)
    assert surfaces.obeyed(markdown) == []
    summary = summarize(run, {"report": "out/report.html"})
    for width in range(20, 201, 9):
        plain = summary.plain(width)
        assert not ACTIVE.search(plain)
        assert surfaces.obeyed(plain) == []
    assert summary.plain().count("\n") <= 100


def test_writers_are_pure(examples: ModuleType) -> None:
    for write in (render_html, render_junit, render_markdown):
        assert write(examples.typical()) == write(examples.typical())


# Runs that no one would write: every field that a file or an endpoint can choose, chosen freely.

MARKS = [
    "::error::",
    "##[error]",
    "##vso[x]",
    "##teamcity[x]",
    "section_start:1:x",
    "travis_fold:x",
    "--- ",
    "+++",
    "=1",
]
MARKS += ["[[ATTACHMENT|x]]", "words ", "-1;=2", "#12", "@octocat", "https://evil.example/", "www.evil.example"]
NAUGHTY = st.sampled_from([*"<>&'\"`|*_[]()\x1b\u202e\ud800\x00\n\r{}%#@", *MARKS])
TEXT = st.lists(st.characters(codec=None) | NAUGHTY, max_size=30).map("".join)
SCALAR = st.none() | st.booleans() | st.integers() | st.floats() | TEXT
ANYTHING = st.recursive(SCALAR, lambda c: st.lists(c, max_size=3) | st.dictionaries(TEXT, c, max_size=3), max_leaves=8)
LEVELS = st.sampled_from(Level)
RULES = st.sampled_from(["EVT-02", "USG-02", "NEW-99"]) | TEXT


def values_of(kind: Any) -> st.SearchStrategy[Any]:
    """Return whatever a type of the run file allows, up to its bounds."""
    match kind:
        case inspect.Metadata():
            return values_of(kind.type)
        case inspect.IntType():
            return st.integers(kind.ge, kind.le)
        case inspect.FloatType():
            return st.floats(kind.ge, kind.le, allow_nan=False)
        case inspect.StrType():
            return TEXT
        case inspect.BoolType():
            return st.booleans()
        case inspect.NoneType():
            return st.none()
        case inspect.AnyType():
            return ANYTHING
        case inspect.EnumType():
            return st.sampled_from(kind.cls)
        case inspect.LiteralType():
            return st.sampled_from(kind.values)
        case inspect.UnionType():
            return st.one_of(*map(values_of, kind.types))
        case inspect.ListType():
            return st.lists(values_of(kind.item_type), max_size=3)
        case inspect.TupleType():
            return st.tuples(*map(values_of, kind.item_types))
        case inspect.DictType():
            return st.dictionaries(values_of(kind.key_type), values_of(kind.value_type), max_size=3)
        case inspect.StructType() if kind.cls is Histogram:
            return st.lists(st.floats(0, 1e9), max_size=9).map(histogram_of)
        case inspect.StructType():
            fields = {known.name: values_of(known.type) for known in kind.fields}
            for name, metrics in FLAT.items():
                if name in fields:
                    fields[name] = st.dictionaries(st.sampled_from(metrics), st.floats(-1e12, 1e12), max_size=3)
            return st.builds(kind.cls, **fields)
    raise TypeError(kind)


FLAT = {"times": [row.name for row in rows_shown(Place.REQUEST)], "latencies": list(step_latencies())}
"""The names under which a line holds the entries of these fields."""


def histogram_of(values: list[float]) -> Histogram:
    found = Histogram()
    for value in values:
        found.add(value)
    return found


SAMPLES = st.one_of(*(values_of(inspect.type_info(kind)) for kinds in KINDS.values() for kind in kinds))


HEADERS = values_of(inspect.type_info(Header))
FOOTERS = st.none() | values_of(inspect.type_info(Footer))


@st.composite
def runs(draw: st.DrawFn) -> Run:
    """Runs whose texts, numbers and samples are anything that JSON can hold."""
    ids = draw(st.lists(TEXT, max_size=3, unique=True))
    exchanges = []
    for name in ids:
        chunks = draw(st.lists(st.tuples(st.floats(), st.binary(max_size=60) | TEXT.map(_bytes)), max_size=4))
        media = draw(st.sampled_from(["text/event-stream", "application/json", ""]) | TEXT)
        exchanges.append(
            Exchange(
                id=name,
                request=Request(draw(TEXT), draw(TEXT), ((draw(TEXT), draw(TEXT)),), draw(TEXT.map(_bytes))),
                outcome=draw(st.sampled_from(Outcome)),
                status=draw(st.none() | st.integers()),
                headers=(("content-type", media),),
                chunks=tuple(Chunk(t, data) for t, data in chunks),
                case=draw(TEXT),
                ended_at=draw(st.floats()),
                detail=draw(TEXT),
            )
        )
    problems = st.builds(
        Problem,
        message=TEXT,
        pointer=TEXT,
        event=st.none() | st.integers(),
        event_type=TEXT,
        expected=st.just(ABSENT) | ANYTHING,
        actual=st.just(ABSENT) | ANYTHING,
        kind=TEXT,
        offset=st.none() | st.integers(),
        exchange=st.sampled_from(ids) if ids else TEXT,
    )
    findings = st.builds(Finding, RULES, LEVELS, problems, count=st.integers(1), cases=st.lists(TEXT, max_size=9))
    verdicts = st.builds(
        Verdict,
        RULES,
        LEVELS,
        st.sampled_from(Status),
        judged=st.integers(0),
        failed=st.integers(0),
        reason=TEXT,
        findings=st.lists(findings, max_size=3),
    )
    return Run(
        header=draw(HEADERS),
        exchanges=exchanges,
        verdicts=draw(st.lists(verdicts, max_size=4)),
        samples=draw(st.lists(SAMPLES, max_size=5)),
        footer=draw(FOOTERS),
        damage=draw(st.lists(TEXT, max_size=3)),
    )


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


@pytest.mark.slow(8)
@settings(max_examples=120, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(run=runs(), width=st.integers(20, 200))
def test_no_run_breaks_a_writer_or_gets_through_it(run: Run, width: int, check_page: Any, surfaces: ModuleType) -> None:
    check_page(render_html(run))
    assert check_junit(render_junit(run), surfaces).tag == "testsuites"
    markdown = render_markdown(run, limit=4000)
    assert len(markdown.encode()) <= 4000
    check_markdown(markdown)
    assert surfaces.obeyed(markdown) == []
    for write in (render_ctrf, render_badge, render_csv):
        text = write(run)
        text.encode()
        assert not ACTIVE.search(text)
        assert surfaces.obeyed(text) == []
    assert list(surfaces.formulas(render_csv(run))) == []
    for shown in strings_of(json.loads(render_ctrf(run))):
        assert surfaces.obeyed(shown) == []
    summary = summarize(run, {"report": "r.html"})
    assert not ACTIVE.search(summary.plain(width))
    assert surfaces.obeyed(summary.plain(width)) == []
    assert all(line.cell_len <= width for line in summary.lines(width))


def strings_of(value: Any) -> Iterator[str]:
    """Yield every string of a JSON value."""
    if isinstance(value, dict):
        yield from (text for pair in value.items() for part in pair for text in strings_of(part))
    elif isinstance(value, list):
        yield from (text for child in value for text in strings_of(child))
    elif isinstance(value, str):
        yield value


def check_junit(text: str, surfaces: ModuleType) -> ET.Element:
    """Assert that a JUnit report is XML without anything that its readers obey, and return it as they parse it."""
    root = ET.fromstring(text.encode())
    assert surfaces.obeyed(text) == []
    for element in root.iter():
        for shown in (element.text or "", *element.attrib.values()):
            assert surfaces.obeyed(shown) == []
            assert not ACTIVE.search(shown)
    return root


def check_markdown(text: str) -> None:
    """Assert that Markdown renders without anything that text from an endpoint could have made."""
    assert not ACTIVE.search(text)
    # GitHub's reader takes raw HTML, tables and bare links; so does this one.
    rendered = MarkdownIt("commonmark", {"html": True}).enable("table").render(text)
    assert set(re.findall(r"<(/?[a-zA-Z][^\s>]*)", rendered)) <= {
        f"{slash}{tag}"
        for slash in ("", "/")
        for tag in [
            "h2",
            "h3",
            "p",
            "strong",
            "code",
            "table",
            "thead",
            "tbody",
            "tr",
            "th",
            "td",
            "ul",
            "li",
            "br",
            "blockquote",
            "span",
            "em",
        ]
    }
    assert "<!--" not in rendered
    assert "<a " not in rendered
    # GitHub and GitLab look for mentions and references in the texts that are not code.
    shown = re.sub(r"<[^>]*>", "\0", re.sub(r"<code[^>]*>.*?</code>", "", rendered, flags=re.DOTALL))
    assert not re.search(r"[#!]\d|@\w|\bGH-\d|://", html.unescape(shown), re.IGNORECASE), shown


def test_a_run_file_gives_the_same_report(examples: ModuleType, tmp_path: Path) -> None:
    run = examples.typical()
    with RunWriter(tmp_path / "run.ndjson") as writer:
        writer.header(run.header)
        for exchange in run.exchanges:
            writer.exchange(exchange)
        for verdict in run.verdicts:
            writer.verdict(verdict)
        for sample in run.samples:
            writer.sample(sample)
        assert run.footer is not None
        writer.footer(run.footer)
    again = read_run(tmp_path)
    assert again.damage == []
    again.path = None  # the replay command names it
    for write in (render_html, render_junit, render_markdown):
        assert write(again) == write(run)


# The page


def test_the_page_forbids_everything_but_itself(examples: ModuleType, check_page: Any) -> None:
    text = render_html(examples.hostile())
    page = check_page(text)
    policy = next(a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    script = re.search(r"<script>.*?</script>", text, re.DOTALL)
    assert script is not None
    assert "alert" not in script.group()
    assert text.index("Content-Security-Policy") < text.index("<style>")


def test_the_policy_names_the_hashes_of_style_and_script(examples: ModuleType) -> None:
    import base64
    import hashlib

    text = render_html(examples.green())
    for tag in ("style", "script"):
        match = re.search(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        assert match is not None
        digest = base64.b64encode(hashlib.sha256(match.group(1).encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in text


def test_the_page_names_no_other_place(examples: ModuleType) -> None:
    text = render_html(examples.green())
    found = set(re.findall(r"https?://[^\s\"'<]+", text))
    assert found == {
        "http://127.0.0.1:8000/v1/responses",
        "http://127.0.0.1:8000",
    }


def test_the_page_says_what_matters(examples: ModuleType, check_page: Any) -> None:
    run = examples.typical()
    page = check_page(render_html(run))
    text = " ".join("".join(page.texts).split())
    for expected in (
        "Does not conform",
        "MUST rules checked failed.",
        "1,119 of 1,200 requests succeeded; 9 never ended (longer than 2.00 s).",
        "1 SHOULD rule failed",
        "Event 4 has no sequence_number.",
        "No stream ended in an error.",
        "GET /v1/models answered 404",
        "rejoinder check http://127.0.0.1:8000 --model tiny-llm --plan full",
        "authorization: Bearer $REJOINDER_API_KEY",
        "variant 0 of the input union",
        "TTFT",
        "1,200",
    ):
        assert expected in text, expected
    for finding in (finding for verdict in run.verdicts for finding in verdict.findings):
        assert any(a.get("id") == f"f-{finding.fingerprint}" for _, a in page.elements)


def test_the_page_is_reachable_and_readable(examples: ModuleType, check_page: Any) -> None:
    page = check_page(render_html(examples.typical()))
    for tag, attributes in page.elements:
        if tag == "th":
            assert attributes.get("scope") in ("col", "row", "rowgroup")
        drawn = tag == "svg" and attributes.get("class") in ("bar", "ticks", "plot", "plot tall")
        if drawn and attributes.get("aria-hidden") != "true":
            assert attributes.get("role") == "img"
            assert attributes.get("aria-label")
        if tag in ("select", "input"):
            assert attributes.get("aria-label")
    ids = {attributes.get("id") for _, attributes in page.elements}
    for tag, attributes in page.elements:
        href = attributes.get("href") or ""
        if tag in ("a", "use") and "?" not in href:
            assert href[1:] in ids, href
    assert page.count("h1") == 1


@pytest.mark.parametrize(
    ("name", "headline"),
    [
        ("green", "Conforms"),
        ("empty", "Nothing was tested"),
        ("unreachable", "Nothing was tested"),
        ("load", "1,119 of 1,200 requests succeeded; 9 never ended (longer than 2.00 s)"),
    ],
)
def test_headlines(name: str, headline: str, examples: ModuleType) -> None:
    run = examples.EXAMPLES[name]()
    found = verdict(run)
    assert found.headline == headline
    assert f"</svg>{headline}</h1>" in render_html(run)


def _judged(*statuses: Status, **fields: Any) -> Run:
    verdicts = [Verdict(f"EVT-0{n}", Level.MUST, status, judged=1) for n, status in enumerate(statuses, 1)]
    return Run(HEADER, verdicts=verdicts, footer=Footer(ended_at=1.0, exit_code=0), **fields)


def test_a_run_with_errors_is_not_settled() -> None:
    found = verdict(_judged(Status.PASS, Status.ERROR))
    assert (found.headline, found.sentence) == (
        "Inconclusive",
        "1 of 1 MUST rules checked passed. Also: 1 rule could not be checked.",
    )
    assert verdict(_judged(Status.ERROR)).headline == "Nothing could be checked"
    assert verdict(_judged(Status.NOT_APPLICABLE)).headline == "Nothing was checked"
    assert verdict(_judged(Status.PASS, Status.WARN)).headline == "Conforms, with warnings"


def test_a_run_that_was_cut_short_conforms_to_nothing() -> None:
    run = _judged(Status.PASS)
    assert verdict(run).headline == "Conforms"
    for footer in (None, Footer(ended_at=2.0, exit_code=130, interrupted=True)):
        run.footer = footer
        assert (verdict(run).severity, verdict(run).headline) == ("error", "Inconclusive")
        assert "The run was" in verdict(run).sentence
        badge = json.loads(render_badge(run))
        assert (badge["message"], badge["color"]) == ("partial run", "lightgrey")
    run = _judged(Status.PASS, Status.FAIL)
    run.footer = None
    assert verdict(run).headline == "Does not conform"


def test_conforms_is_said_of_a_whole_run_only() -> None:
    run = _judged(Status.PASS, Status.PASS)
    run.header = msgspec.structs.replace(HEADER, select="EVT-*")
    assert verdict(run)[:3] == ("pass", "2 selected rules passed", "Only rules that match EVT-* were checked.")
    assert json.loads(render_badge(run))["message"] == "partial run"
    run = _judged(Status.PASS, Status.WARN)
    run.header = msgspec.structs.replace(HEADER, select="EVT-*")
    assert verdict(run)[:2] == ("warn", "1 of 2 selected rules passed")
    run = _judged(Status.PASS)
    run.footer = Footer(ended_at=1.0, exit_code=0, unsent=7)
    assert verdict(run)[:2] == ("error", "Inconclusive")
    assert "before it sent 7 requests" in verdict(run).sentence
    assert json.loads(render_badge(run))["message"] == "partial run"
    # A failure is proof even in a part of a run.
    run = _judged(Status.PASS, Status.FAIL)
    run.footer = Footer(ended_at=1.0, exit_code=1, unsent=7)
    assert json.loads(render_badge(run))["message"] == "1 of 2 rules failed"


def test_conforms_is_not_said_where_rules_are_blocked() -> None:
    run = _judged(Status.PASS, Status.BLOCKED, Status.BLOCKED)
    assert verdict(run)[:2] == ("warn", "No failures, 2 rules blocked")
    assert "2 rules blocked" in verdict(run).sentence
    assert json.loads(render_badge(run))["message"] == "1 of 1 rule passed, 2 blocked"
    assert verdict(_judged(Status.FAIL, Status.BLOCKED)).headline == "Does not conform"
    assert "1 rule blocked" in verdict(_judged(Status.FAIL, Status.BLOCKED)).sentence


def test_a_plan_that_does_not_test_every_rule_says_so() -> None:
    run = _judged(Status.PASS, Status.NOT_APPLICABLE)
    run.header = msgspec.structs.replace(HEADER, plan="smoke")
    assert verdict(run)[:3] == ("pass", "Conforms", "1 of 1 rule checked passed. Plan smoke did not test 1 rule.")


def test_a_run_that_was_cut_short_says_so() -> None:
    run = _judged(Status.PASS)
    run.footer = None
    run.damage = ["line 9: not a JSON object (cut short?)"]
    warnings = read_report(run)[WARNINGS]
    assert "no footer" in warnings[0]
    assert "line 9" in warnings[1]
    run.footer = Footer(ended_at=2.0, exit_code=130, interrupted=True)
    assert "interrupted" in read_report(run)[WARNINGS][0]


def test_rules_that_the_catalogue_lacks_are_shown() -> None:
    finding = Finding("NEW-99", Level.MUST, Problem("newer than us"), 2)
    verdict = Verdict("NEW-99", Level.MUST, Status.FAIL, 2, 2, "", [finding])
    run = Run(HEADER, verdicts=[verdict], footer=Footer(ended_at=1.0, exit_code=1))
    assert "newer than us" in render_html(run)
    assert "NEW-99" in read_report(run)[WARNINGS][0]


def test_pages_stay_small(examples: ModuleType) -> None:
    assert len(render_html(examples.typical(500)).encode()) < 350_000


@pytest.mark.slow(1)
def test_thousands_of_findings_are_bounded(examples: ModuleType, check_page: Any) -> None:
    run = examples.many(5000)
    begun = time.process_time()
    text = render_html(run)
    assert time.process_time() - begun < 10
    assert len(text.encode()) < 600_000
    page = check_page(text)
    assert len(page.elements) < 16_000
    written = sum(a.get("class") == "finding" for _, a in page.elements)
    named = sum((a.get("id") or "").startswith("f-") for _, a in page.elements)
    assert 40 <= written <= 80
    assert named <= 400
    # Every rule has its heaviest finding on the page, and the page says how many it leaves out.
    for verdict in run.verdicts:
        heaviest = max(verdict.findings, key=lambda finding: finding.count)
        assert f'id="f-{heaviest.fingerprint}"' in text
    total = sum(len(verdict.findings) for verdict in run.verdicts)
    prose = " ".join("".join(page.texts).split())
    assert f"{total:,} findings in total." in prose
    assert f"{total - named:,} findings are only counted here" in prose


def test_the_bound_holds_however_findings_are_spread(examples: ModuleType) -> None:
    few = [_rule(f"EVT-0{n}", 1250) for n in range(1, 5)]
    for verdicts in (few, [_rule("EVT-02", 5000)]):
        text = render_html(Run(HEADER, examples.exchanges(), verdicts, [], Footer(ended_at=1.0, exit_code=1)))
        assert len(text.encode()) < 600_000


def _rule(name: str, count: int) -> Verdict:
    findings = [
        Finding(name, Level.MUST, Problem("wrong", kind=f"k{n}", exchange="x-stream"), 1, ["a" * 40])
        for n in range(count)
    ]
    return Verdict(name, Level.MUST, Status.FAIL, count, count, "", findings)


def test_megabytes_are_cut(examples: ModuleType) -> None:
    run = examples.typical()
    body = b'{"x":"' + b"y" * 5_000_000 + b'"}'
    big = examples.plain("x-plain", "case", body)
    run.exchanges = [big if e.id == "x-plain" else e for e in run.exchanges]
    assert len(render_html(run)) < 350_000


def _alike(count: int) -> Run:
    findings = [
        Finding(
            "SSE-03", Level.MUST, Problem("An event has no event field.", event_type=f"response.x{n}"), 90 - n, ["a"]
        )
        for n in range(count)
    ]
    verdict = Verdict("SSE-03", Level.MUST, Status.FAIL, 9, 9, "", findings)
    return Run(HEADER, verdicts=[verdict], footer=Footer(ended_at=1.0, exit_code=1))


def test_findings_that_say_the_same_get_a_line(check_page: Any) -> None:
    text = render_html(_alike(60))
    page = check_page(text)
    assert sum(a.get("class") == "finding" for _, a in page.elements) == 1
    assert "40 further places" in text
    assert "19 more places in the run file" in " ".join("".join(page.texts).split())
    assert sum((a.get("id") or "").startswith("f-") for _, a in page.elements) == 41


def test_the_worst_findings_do_not_repeat_themselves() -> None:
    text = summarize(_alike(60)).plain()
    assert text.count("SSE-03") == 1
    assert "60 places" in text


def test_a_random_finding_says_its_rate_and_a_minimal_request_is_shown() -> None:
    run = _alike(2)
    first, second = run.verdicts[0].findings
    first.reruns, first.evidence = Reruns(3, 1), msgspec.structs.replace(first.evidence, kind="another")
    request = Request("POST", "/v1/responses", (), b'{"input":"\x1b[31m` | smallest"}')
    second.reruns, second.minimal, second.count = Reruns(3, 3), Minimal(request, "x9", 2), 900
    text = render_markdown(run)
    assert "reproduced in 1 of 3 reruns" in text
    assert 'minimal requests: ``POST /v1/responses {"input":' in text
    summary = summarize(run).plain(120)
    assert "reproduced in 3 of 3 reruns" in summary
    assert "smallest" in summary
    assert "after 1 other request of the case" in summary
    assert "\x1b" not in text + summary


# JUnit


@pytest.mark.parametrize("name", NAMES)
def test_junit_has_the_shape_that_ci_systems_read(name: str, examples: ModuleType) -> None:
    # The common subset of what Jenkins' xunit plugin, GitLab and Azure DevOps read: names of elements and attributes,
    # properties first, and one result at most for each case.
    root = ET.fromstring(render_junit(examples.EXAMPLES[name]()).encode())
    counts = {"tests", "failures", "errors", "skipped", "time"}
    assert root.tag == "testsuites"
    assert set(root.attrib) == {"name", *counts}
    for suite in root:
        assert suite.tag == "testsuite"
        assert {"name", *counts} <= set(suite.attrib) <= {"name", "timestamp", *counts}
        assert all(suite.attrib[name].isdigit() for name in counts - {"time"})
        assert float(suite.attrib["time"]) >= 0
        assert [element.tag for element in suite][:1] == ["properties"]
        seen = set()
        for case in suite.findall("testcase"):
            assert set(case.attrib) == {"classname", "name", "time"}
            seen.add((case.attrib["classname"], case.attrib["name"]))
            tags = [element.tag for element in case]
            assert set(tags) <= {"properties", "failure", "error", "skipped", "system-out"}
            assert sum(tag in ("failure", "error", "skipped") for tag in tags) <= 1
            assert len(tags) == len(set(tags))
            for element in case:
                assert element.tag != "properties" or element is case[0]
                if element.tag in ("failure", "error", "skipped"):
                    assert set(element.attrib) <= {"message", "type"}
        if name not in ("hostile",):  # two verdicts on one rule are not a run of ours
            assert len(seen) == len(suite.findall("testcase"))


def test_junit_counts_what_it_holds(examples: ModuleType) -> None:
    root = ET.fromstring(render_junit(examples.typical()).encode())
    suite = root.find("testsuite")
    assert suite is not None
    cases = suite.findall("testcase")
    assert suite.get("tests") == str(len(cases))
    for kind, attribute in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        assert suite.get(attribute) == str(sum(case.find(kind) is not None for case in cases))
    assert (suite.get("failures"), suite.get("errors"), suite.get("skipped")) == ("5", "1", "3")
    failed = next(case for case in cases if (case.get("name") or "").startswith("EVT-02"))
    failure = failed.find("failure")
    assert failure is not None
    assert failure.get("message") == "Event 4 has no sequence_number."
    assert "Event 4 has no sequence_number. response.output_text.delta /sequence_number" in (failure.text or "")
    assert {p.get("name"): p.get("value") for p in failed.iter("property")}["level"] == "MUST"


def test_load_decides_with_the_rules(examples: ModuleType, loads: ModuleType) -> None:
    def loaded(outcome: RequestOutcome) -> list[Any]:
        sink = loads.Memory()
        sent = [loads.Sent(t, 0.1, tokens=1) for t in range(4)] + [loads.Sent(4, outcome=outcome, tokens=1)]
        loads.result_of(sent, sink, notes=["the machine slept"])
        return [sample for sample in sink.samples if isinstance(sample, LoadSample)]

    run = examples.green()
    run.samples = loaded(RequestOutcome.CENSORED)
    headline = "Conforms, but under load 4 of 5 requests succeeded; 1 never ended (longer than 200 µs)"
    assert verdict(run).headline == headline
    assert ET.fromstring(render_junit(run).encode()).get("failures") == "1"
    run.samples = loaded(RequestOutcome.TIMEOUT)
    assert verdict(run).headline == headline
    root = ET.fromstring(render_junit(run).encode())
    assert root.get("failures") == "1"
    failure = root.find(".//testcase[@name='load']/failure")
    assert failure is not None
    assert failure.get("message") == "4 of 5 requests succeeded; 1 never ended (longer than 200 µs)."
    run.verdicts = []
    run.samples = loaded(RequestOutcome.OK)
    assert (verdict(run).severity, verdict(run).headline) == ("warn", "5 of 5 requests succeeded")


@pytest.mark.parametrize("name", ["empty", "unreachable", "load"])
def test_junit_has_an_error_when_the_run_says_nothing(name: str, examples: ModuleType) -> None:
    root = ET.fromstring(render_junit(examples.EXAMPLES[name]()).encode())
    assert root.get("errors") == "1"
    assert root.find(".//testcase[@name='run']/error") is not None


# Markdown


@pytest.mark.parametrize("limit", [300, 2000, 60_000])
def test_markdown_keeps_to_its_limit(limit: int, examples: ModuleType) -> None:
    for name in ("many", "typical", "hostile"):
        assert len(render_markdown(examples.EXAMPLES[name](), limit=limit).encode()) <= limit


def test_markdown_of_hostile_text_renders_as_text(examples: ModuleType) -> None:
    text = render_markdown(examples.hostile())
    check_markdown(text)
    assert "```` " in text


def test_markdown_names_findings_in_order(examples: ModuleType) -> None:
    text = render_markdown(examples.typical())
    order = [text.index(part) for part in ("## ❌", "| Family", "### Load", "### Failures", "### Warnings")]
    assert order == sorted(order)


# Terminal


def test_the_summary_fits_a_screen(examples: ModuleType) -> None:
    text = summarize(examples.typical(), {"report": "rejoinder-runs/x/report.html"}).plain()
    assert text.count("\n") <= 56
    assert all(len(line) <= 80 for line in text.splitlines())
    assert text.startswith("✗ Does not conform\n")
    assert "rejoinder-runs/x/report.html" in text


def test_long_paths_stay_whole(examples: ModuleType) -> None:
    path = "/" + "very-long/" * 20 + "report.html"
    assert path in summarize(examples.green(), {"report": path}).plain(40)


def _printed(run: Run, **options: Any) -> str:
    out = StringIO()
    Console(file=out, width=80, legacy_windows=False, **options).print(summarize(run))
    return out.getvalue()


def test_colour_is_the_consoles_business(examples: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    run = examples.hostile()
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[" in _printed(run, force_terminal=True, color_system="standard")
    coloured = _printed(run, force_terminal=True, color_system="standard")
    assert set(re.findall("\x1b.", coloured)) == {"\x1b["}
    assert set(re.findall("\x1b\\[[0-9;]*(.)", coloured)) == {"m"}
    monkeypatch.setenv("NO_COLOR", "1")
    assert not re.search("\x1b\\[[0-9;]*3[0-9]m", _printed(run, force_terminal=True, color_system="standard"))
    assert "\x1b" not in _printed(run)


def test_terminals_without_utf8_get_ascii(examples: ModuleType) -> None:
    from io import BytesIO, TextIOWrapper

    raw = BytesIO()
    console = Console(file=TextIOWrapper(raw, "ascii"), width=80)
    for name in ("typical", "hostile", "load"):
        console.print(summarize(examples.EXAMPLES[name]()))
    console.file.flush()
    assert raw.getvalue().startswith(b"x Does not conform")


# The package


def test_reports_import_no_engine() -> None:
    script = (
        "import sys, rejoinder.reports as r, rejoinder.model.runfile as f, rejoinder.model.header as h;"
        " run = f.Run(h.new_header(h.RunTarget(url='', model=None, dialect='')));"
        " r.render_html(run); r.summarize(run);"
        "bad = ('rejoinder.conformance', 'rejoinder.load', 'rejoinder.strategies', 'httpx', 'locust', 'gevent',"
        " 'hypothesis', 'pytest'); print([m for m in sys.modules if m.startswith(bad)])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_features_that_are_not_there_are_told_with_their_evidence(examples: ModuleType) -> None:
    run = examples.typical()
    run.header.required = ["images"]
    markdown = render_markdown(run)
    assert "`images` (required) | refused | x\\-refused · status 422 · Images are not supported\\." in markdown
    assert "did not repeat a canary" in markdown
    summary = summarize(run).plain()
    assert "1 effect seen" in " ".join(summary.split())
    assert "refused: images" in summary


def test_a_real_check_says_what_it_found(examples: ModuleType, check_page: Any) -> None:
    run = examples.checked()
    assert run.damage == []
    assert verdict(run).headline == "Does not conform"
    page = " ".join("".join(check_page(render_html(run)).texts).split())
    found = {one.rule for one in run.verdicts if one.status is Status.FAIL}
    assert "EVT-02" in found
    root = ET.fromstring(render_junit(run).encode())
    failed = {case.get("name", "").split()[0] for case in root.iter("testcase") if case.find("failure") is not None}
    assert failed == found
    for rule in found:
        assert rule in page
    assert verdict(examples.sandboxed()).headline == "Conforms"

"""The figures of a load as a whole."""

from __future__ import annotations

import json
from types import ModuleType
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from rejoinder.model.outcomes import RequestOutcome
from rejoinder.model.samples import LoadSample, RequestSample, SearchResult
from rejoinder.reports import render_ctrf, render_html, render_junit, render_markdown
from rejoinder.reports.parts.latencies import latency_of
from rejoinder.reports.parts.load import PART as LOAD
from rejoinder.reports.parts.timeline import PART as TIMELINE
from rejoinder.reports.parts.verdict import PART as VERDICT
from rejoinder.reports.rules import Severity


def test_the_ledger_must_add_up(loads: ModuleType, report_of: Any) -> None:
    timeout = loads.Sent(1, outcome=RequestOutcome.TIMEOUT)
    samples = loads.recorded([*(loads.Sent(t, 0.1, tokens=1) for t in range(7)), timeout, timeout])
    samples[-1].started = 10
    load = report_of(*samples)[LOAD]
    assert [(line.outcome, line.amount) for line in load.ledger] == [("ok", 7), ("timeout", 2)]
    assert load.warnings == ["The outcomes add up to 9, but 10 requests were started."]


def test_a_run_that_died_is_counted_from_its_requests(loads: ModuleType, report_of: Any) -> None:
    truncated = loads.Sent(1, 0.1, outcome=RequestOutcome.TRUNCATED)
    requests = loads.recorded([loads.Sent(0, 0.1), truncated])[:2]
    requests[0].weight = 4
    load = report_of(*requests)[LOAD]
    assert (load.started, load.ok, load.bad) == (5, 4, 1)
    assert "ended early" in load.warnings[0]


def test_a_run_that_died_counts_no_unchecked_response_as_good(loads: ModuleType, report_of: Any) -> None:
    outcomes = [RequestOutcome.OK] * 3 + [RequestOutcome.NONCONFORMING] + [RequestOutcome.UNJUDGED] * 40
    lines = loads.recorded([loads.Sent(n / 10, 0.1, outcome=outcome) for n, outcome in enumerate(outcomes)])
    load = report_of(*(line for line in lines if isinstance(line, RequestSample)))[LOAD]
    assert (load.ok, load.bad) == (33, 11)
    assert load.good_text == "about 33 of 44 requests succeeded (estimate, with 99 % confidence at least 3)"
    total = lines[-1]
    assert isinstance(total, LoadSample)
    total.judged, total.unjudged_voided = 4, None  # as in runs of older versions
    old = report_of(*lines)[LOAD]
    assert (old.good_text, old.caution) == (load.good_text, "")


def test_the_figures_of_a_run_are_those_of_its_requests(
    loads: ModuleType, report_of: Any, forms: Any, run_of: Any
) -> None:
    # One a second from 0 to 9, each of 4 tokens; the 6th and the 7th end badly.
    sent = [loads.Sent(float(t), 0.1, [0.1, 0.1, 0.2], tokens=4, tail=0.0) for t in range(10)]
    sent[5].outcome = sent[6].outcome = RequestOutcome.FAILED
    samples = loads.recorded(sent, rate=1.0)
    report = report_of(*samples)
    load, timeline = report[LOAD], report[TIMELINE]
    assert (load.started, load.ok, load.bad) == (10, 8, 2)
    # From the first end, at 0.5 s, to the last end before 10 s: nine more end, of which two failed.
    assert timeline.window == (0.5, 9.5)
    assert load.rate == pytest.approx(7 / 9, abs=1e-3)
    assert load.tokens_rate == pytest.approx(4 * 7 / 9, abs=1e-3)
    e2e = latency_of(report, "e2e")
    assert e2e is not None
    assert (e2e.n, e2e.percentile(50), e2e.values.longest) == (
        8,
        (pytest.approx(0.5, rel=1e-3), False, None),
        (0.5, False, None),
    )
    assert [(point.started, point.finished, point.failed) for point in timeline.points[4:8]] == [
        (1, 1, 0), (1, 1, 1), (1, 1, 1), (1, 1, 0)
    ]  # fmt: skip
    markdown, terminal = forms(LOAD, run_of(*samples))
    assert markdown[2].endswith(
        "8 of 10 requests succeeded (80.0 %) · 0.78 successful requests/s · 3.11 output tokens/s"
        " (over 0.500 s to 9.5 s)"
    )
    assert terminal[1].endswith("8 of 10 requests succeeded, 0.78/s, 3.11 output tokens/s")
    assert terminal[2].strip() == "Rates over 0.500 s to 9.5 s."
    assert "Other outcomes: 2 failed." in report[VERDICT].sentence


def test_the_page_begins_with_the_same_figures(loads: ModuleType, run_of: Any, section: Any) -> None:
    sent = [loads.Sent(t / 10, 0.1, [0.1], tokens=2, tail=0.0) for t in range(100)]
    text = section(run_of(*loads.recorded(sent, ["ttft:p50<1s", "ttft:p99<10ms"])), '<dl class="kpis">', "</dl>")
    for figure in ("Measurement VALID", "SLOs 1 missed", "Requests 100", "Succeeded 100 %", "Fully checked 100 %"):
        assert figure in text, figure
    assert "TTFT p50 100 ms" in text


def test_only_the_load_line_decides_on_validity(loads: ModuleType, report_of: Any) -> None:
    samples = loads.load_samples(notes=["the machine slept"])
    load, total = report_of(*samples)[LOAD], samples[-1]
    assert isinstance(total, LoadSample)
    assert (load.verdict, load.reasons) == ("SUSPECT", ["the machine slept"])
    assert load.rate == total.rates.ok_per_s


def test_an_objective_of_a_share_decides_how_many_may_end_badly(loads: ModuleType, run_of: Any, report_of: Any) -> None:
    sent = [loads.Sent(t / 10, 0.1, tokens=1) for t in range(98)]
    sent += [loads.Sent(9.0, outcome=RequestOutcome.HTTP_5XX, status=500)] * 2
    alone, allowed = loads.recorded(sent), loads.recorded(sent, ["error<5%"])
    assert (report_of(*alone)[LOAD].bad, report_of(*alone)[LOAD].intolerable) == (2, 2)
    assert (report_of(*allowed)[LOAD].bad, report_of(*allowed)[LOAD].intolerable) == (2, 0)
    assert "2 of 100 requests failed" in render_html(run_of(*alone))
    assert "98 of 100 requests succeeded" in render_html(run_of(*allowed))
    assert "1 SLO missed" in render_html(run_of(*loads.recorded(sent, ["error<1%"])))


def test_a_limit_on_one_outcome_allows_no_other(loads: ModuleType, report_of: Any) -> None:
    sent = [loads.Sent(t / 10, 0.1, tokens=1) for t in range(97)]
    sent += [loads.Sent(9.0, outcome=RequestOutcome.HTTP_429, status=429)] * 2
    sent += [loads.Sent(9.0, outcome=RequestOutcome.TIMEOUT)]
    assert report_of(*loads.recorded(sent, ["http_429<5%"]))[LOAD].intolerable == 1
    assert report_of(*loads.recorded(sent, ["http_429<5%", "timeout<5%"]))[LOAD].intolerable == 0


@pytest.mark.parametrize("how", ["aborted", "found none"])
def test_a_run_that_fails_without_a_failed_request_fails_everywhere(
    loads: ModuleType, run_of: Any, report_of: Any, how: str
) -> None:
    samples = loads.recorded([loads.Sent(t / 10, 0.1, tokens=1) for t in range(100)])
    total = samples[-1]
    assert isinstance(total, LoadSample)
    reason = "--abort-on ttft:p99>5s ended the run: 6.00 s after 40 requests."
    if how == "aborted":
        total.aborted = reason
    else:
        total.search = SearchResult(kind="rate", steps=[], range=(8.0, 9.0), next=8.0, reason="the queue grew")
        reason = "Highest rate that meets every SLO: below 8 requests/s."
    verdict = report_of(*samples)[VERDICT]
    assert verdict.severity is Severity.FAIL
    assert reason in f"{verdict.headline}. {verdict.sentence}"
    failures = ET.fromstring(render_junit(run_of(*samples)).encode()).findall(".//testcase[@name='load']/failure")
    assert [reason in failure.attrib["message"] for failure in failures] == [True]
    assert json.loads(render_ctrf(run_of(*samples)))["results"]["summary"]["failed"] == 1


def test_nothing_answered_is_a_page_too(examples: ModuleType, words: Any) -> None:
    text = words(examples.nothing_answered())
    assert "1 SLO missed" in text
    assert "no response was a stream with content" in text
    assert "0 of 20 requests succeeded. Other outcomes: 20 transport: no connection." in text
    assert "Latency by percentile" not in text


def test_why_there_are_no_rates_makes_no_markup(loads: ModuleType, run_of: Any) -> None:
    samples = loads.recorded([loads.Sent(0.0, 0.1, tokens=1)])
    samples[-1].no_rates = "*none*\x0b ::error::"
    text = render_markdown(run_of(*samples))
    assert "\x0b" not in text
    assert "*none*" not in text.replace("\\*", "")
    assert "no rates: " in text.replace("\\", "")


def test_other_outcomes_have_their_commonest_reasons(
    loads: ModuleType, run_of: Any, report_of: Any, words: Any
) -> None:
    def failed(t: float, detail: str, outcome: RequestOutcome = RequestOutcome.TRANSPORT) -> Any:
        return loads.Sent(t, outcome=outcome, status=None, tail=0.01, detail=detail)

    sent = [failed(t / 10, "the connection broke: Connection reset by peer") for t in range(17)]
    sent += [failed(2, f"the server closed the connection after {size:,} bytes") for size in (900, 1200, 31)]
    sent += [failed(2, "no connection"), failed(2, "no address")]
    sent += [failed(3, "HTTP 429: slow down", RequestOutcome.HTTP_429)]
    sent += [loads.Sent(t / 10, 0.1, tokens=1) for t in range(60)]
    samples = loads.recorded(sent)
    reasons = ", ".join(
        [
            "the connection broke: Connection reset by peer ×17",
            "the server closed the connection after … bytes ×3",
            "others ×2",
        ]
    )
    assert report_of(*samples)[LOAD].others_text == (
        f"Other outcomes: 22 transport: {reasons}; 1 http_429: HTTP 429: slow down."
    )
    assert reasons in words(run_of(*samples))
    # Of a run too long to keep every request, the counts are not known.
    few = [sample for number, sample in enumerate(samples) if number != 3]
    assert "×" not in report_of(*few)[LOAD].others_text.partition(";")[0]
    assert "22 transport: the connection broke: Connection reset by peer, " in report_of(*few)[LOAD].others_text


@pytest.mark.slow(2)
def test_pages_of_long_loads_stay_small(loads: ModuleType, examples: ModuleType) -> None:
    text = render_html(examples.loaded(loads.load_samples(900.0, 4.0)))
    assert len(text.encode()) < 300_000

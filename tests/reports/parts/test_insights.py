"""What stands out in a load."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType
from typing import Any

import msgspec
import pytest

from rejoinder.model.outcomes import RequestOutcome
from rejoinder.model.samples import TokenDetails
from rejoinder.reports.parts.insights import PART as INSIGHTS


@pytest.mark.slow(1)
def test_what_stands_out_is_said_the_worst_first(
    loads: ModuleType, examples: ModuleType, run_of: Any, report_of: Any, words: Any
) -> None:
    def mixed_up(sent: Any) -> Any:
        if sent.outcome is RequestOutcome.OK and sent.slot % 2:
            sent = replace(sent, outcome=RequestOutcome.UNJUDGED)
        return replace(sent, foreign=sent.slot in (3, 5, 7))

    samples = loads.load_samples(change=mixed_up)
    share = samples[-1].unjudged_bound
    text = words(run_of(*samples))
    for expected in (
        "Cross-talk: 3 responses contain the canary of another request.",
        f"at most {100 * share:.1f} % (99 % confidence). Goodput, errors and rates allow for it.",
        "Stalls: ",
        "TTFT (client)",
        "tool call",
    ):
        assert expected in text, expected
    severities = [insight.severity for insight in report_of(*samples)[INSIGHTS]]
    assert severities == sorted(severities, key=("fail", "warn", "info", "pass").index)
    quiet = words(examples.healthy_load())
    assert "No cross-talk" in quiet
    assert "1,200 of 1,200 requests succeeded" in quiet


def test_stalls_are_counted_against_the_median(loads: ModuleType, report_of: Any) -> None:
    found = report_of(loads.histogram("itl", [0.02] * 97 + [0.19, 0.21, 0.5]))[INSIGHTS]
    (stalls,) = [insight.text for insight in found if insight.text.startswith("Stalls")]
    assert "2 of 100 inter-token gaps (2.0 %) exceeded 200 ms (median 20.0 ms, maximum 500 ms)." in stalls


def a_load(loads: ModuleType, **fields: Any) -> list[Any]:
    """Return a closed loop of four requests whose totals have these values."""
    sent = [loads.Sent(t / 2, 0.1, [0.1], tokens=2) for t in range(4)]
    samples: list[Any] = loads.recorded(sent, rate=None, concurrency=2)
    samples[-1] = msgspec.structs.replace(samples[-1], **fields)
    return samples


@pytest.mark.parametrize(
    ("details", "sentence"),
    [
        (
            TokenDetails(responses=80, too_many=79),
            "Implausible usage: more output_tokens than the text can have, in 79 of 80 responses.",
        ),
        (TokenDetails(responses=80, too_few=1), "fewer output_tokens than the text can have, in 1 of 80 responses."),
        (TokenDetails(responses=1, zero_tokens=1), "0 output_tokens for a text, in 1 of 1 response."),
        (
            TokenDetails(responses=80, estimated=500, estimated_responses=40),
            "Estimated tokens: usage has no output tokens in 40 of 80 responses. Estimated from the text: "
            "500 (50.0 %) of all output tokens.",
        ),
        (TokenDetails(cached=900, cached_of=1000), "Cached input tokens: 900 of 1,000 (90.0 %)."),
        (
            TokenDetails(reasoning=800, not_streamed=750),
            "Reasoning tokens: 800 of 1,000 output tokens (80.0 %). 750 of them were not streamed, so TPOT leaves "
            "them out.",
        ),
    ],
)
def test_tokens_are_told_apart_everywhere(
    loads: ModuleType, run_of: Any, forms: Any, words: Any, details: TokenDetails, sentence: str
) -> None:
    run = run_of(*a_load(loads, tokens=details, output_tokens=1000))
    markdown, terminal = forms(INSIGHTS, run)
    assert sentence in words(run)
    assert sentence in " ".join(markdown).replace("\\", "")
    assert sentence in " ".join(" ".join(terminal).split())


def test_a_rate_with_estimated_tokens_says_so(loads: ModuleType, run_of: Any, screen: Any, words: Any) -> None:
    details = TokenDetails(responses=4, estimated=500, estimated_responses=2)
    run = run_of(*a_load(loads, tokens=details, output_tokens=1000))
    assert "output tokens/s (50.0 % estimated)" in screen(run)
    assert "/s, 50.0 % estimated" in words(run)
    assert "estimated" not in screen(run_of(*a_load(loads)))


@pytest.mark.parametrize(
    ("mode", "metric", "longest", "told"),
    [
        ("closed", "ttft", 2.02, "Pause: the longest TTFT was 2.02 s, 101 times the median (20.0 ms)."),
        ("closed", "e2e", 2.02, "Pause: the longest E2E latency was 2.02 s, 101 times the median (20.0 ms)."),
        ("closed", "ttft", 0.4, ""),
        ("open", "ttft", 2.02, ""),
    ],
)
def test_a_closed_loop_that_met_a_pause_points_to_the_open_loop(
    loads: ModuleType, report_of: Any, mode: str, metric: str, longest: float, told: str
) -> None:
    totals = a_load(loads, mode=mode)[-1]
    found = report_of(loads.histogram(metric, [0.02] * 99 + [longest]), totals)[INSIGHTS]
    pauses = [insight.text for insight in found if insight.text.startswith("Pause")]
    assert [text.startswith(told) for text in pauses] == ([True] if told else [])
    assert all("open loop (--rate)" in text for text in pauses)


def test_many_connections_and_what_refusals_ask_for_are_told(loads: ModuleType, report_of: Any) -> None:
    totals = a_load(loads)[-1]
    lines = [loads.histogram("connect", [0.1, 0.3, 0.3]), loads.histogram("tls", [0.02] * 3)]
    lines += [loads.histogram("failed_latency", [0.1] * 14), loads.histogram("retry_after", [1.0] * 11 + [30.0])]
    texts = " ".join(insight.text for insight in report_of(*lines, totals)[INSIGHTS])
    assert "3 of 4 requests (75.0 %) opened a connection (TCP connect p50 300 ms, longest 300 ms; TLS" in texts
    assert "Retry-After: 1.00 s to 30.0 s, in 12 of 14 error responses. A load does not wait for it." in texts
    few = report_of(loads.histogram("connect", [0.1]), totals)[INSIGHTS]
    assert not any("Connections" in insight.text for insight in few)

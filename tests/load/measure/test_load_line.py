"""The totals of a run, against runs that are worked out by hand and against a slow reference of plain definitions."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rejoinder.load.measure.load_line import load_line, rates_within, steady_window
from rejoinder.load.measure.measure import Measurement, take_times
from rejoinder.load.measure.recording import Receives, Recording
from rejoinder.load.measure.self_check import SelfCheck
from rejoinder.load.measure.stats import GAP_BOUNDS, RunStats
from rejoinder.load.measure.tokens import Tokens
from rejoinder.load.objectives.slo import RequestLimits, parse_slos
from rejoinder.load.settings import LoadSettings
from rejoinder.model.exchange import Exchange, Outcome, Request
from rejoinder.model.outcomes import RequestOutcome
from rejoinder.model.samples import PERCENTILES, Rates, percentile_field

OK, CENSORED, CANCELLED = RequestOutcome.OK, RequestOutcome.CENSORED, RequestOutcome.CANCELLED
SUCCEEDED = (OK, RequestOutcome.UNJUDGED)
ANSWERED = (*SUCCEEDED, RequestOutcome.NONCONFORMING, RequestOutcome.INCOMPLETE)
CLOSED = LoadSettings(url="http://127.0.0.1", concurrency=4, duration=10.0, ramp=0.0)
OPEN = LoadSettings(url="http://127.0.0.1", rate=1.0, duration=10.0)
EXCHANGE = Exchange("x", Request("POST", "/"), Outcome.COMPLETE, 200)


class Sent(NamedTuple):
    """A request, in whole milliseconds from the start of the run: when it began, and after that each read of content
    with its tokens, and the end.
    """

    start: int
    content: Sequence[tuple[int, int]]
    length: int
    outcome: RequestOutcome = OK
    input_tokens: int = 0

    @property
    def end(self) -> int:
        """When it ended."""
        return self.start + self.length

    @property
    def tokens(self) -> int:
        """How many tokens came."""
        return sum(tokens for _, tokens in self.content)

    @property
    def answered(self) -> bool:
        """Whether it came to an end of its own."""
        return self.outcome in ANSWERED


def stats_of(requests: Sequence[Sent], limits: Sequence[str] = (), shift: float = 0.0) -> RunStats:
    """Return the statistics of requests that begin ``shift`` milliseconds later, so that nothing falls on the edge of
    two seconds, where the last digit of a sum would decide.
    """
    stats = RunStats()
    for sent in requests:
        begun, ended = round((sent.start + shift) * 1e6), round((sent.end + shift) * 1e6)
        recording = Recording(0, begun, begun, begun, ended, 0.0, "complete", "", b"", Receives())
        measured = Measurement(
            outcome=sent.outcome,
            content=[(at / 1000, tokens) for at, tokens in sent.content],
            deltas=sent.tokens,
            end=sent.length / 1000 if sent.answered else None,
            usage={"input_tokens": sent.input_tokens, "output_tokens": sent.tokens},
        )
        measured.tokens = Tokens(sent.tokens, sent.tokens, pieces=measured.content)
        take_times(None, measured)  # type: ignore[arg-type]
        stats.add(recording, EXCHANGE, measured, 0, 0, RequestLimits(parse_slos(limits)))
    return stats


def users(number: int, length: int, issued: int) -> list[Sent]:
    """Return a closed loop by hand: a user more each second, from 0.5 s on, each with one request after the other.

    A token comes each half second. What is in flight when the run ends is cut off.
    """
    found = []
    for user in range(number):
        for start in range(500 + 1000 * user, issued, length):
            whole = start + length <= issued
            content = [(at, 1) for at in range(500, length + 1, 500) if start + at <= issued]
            found.append(Sent(start, content, min(length, issued - start), OK if whole else CENSORED, input_tokens=10))
    return found


def test_a_closed_loop_by_hand() -> None:
    requests = users(4, length=2000, issued=10_000)
    line = load_line(stats_of(requests), [SelfCheck(started=len(requests))], CLOSED, issued=10.0)
    # In flight at the end of each second: 1, 2, 3, 4, 4, ... and all four when the run ends, where they are cut off.
    assert line.window == (4.0, 10.0)
    # A ends at 2.5, 4.5, 6.5, 8.5, B at 3.5, 5.5, 7.5, 9.5, C at 4.5, 6.5, 8.5, D at 5.5, 7.5, 9.5: 12 of these in 6 s.
    assert line.rates.ok_per_s == line.rates.finished_per_s == line.rates.good_per_s == 2.0
    # As many began, since each user goes on at once: at 4.5, 6.5 and 8.5, or 5.5, 7.5 and 9.5.
    assert line.rates.started_per_s == 2.0
    # Four users with 2 tokens a second each are 48 tokens in 6 s. Those of requests that were cut off do not count,
    # which are those of A and C at 9 and 9.5.
    assert line.rates.ok_output_tokens_per_s == line.rates.output_tokens_per_s == pytest.approx(44 / 6, abs=1e-3)
    # Input tokens count when the first content comes: A's at 5 and 7, B's at 4, 6 and 8, C's at 5 and 7, D's as B's.
    assert line.rates.input_tokens_per_s == pytest.approx(100 / 6, abs=1e-3)
    # What was cut off is no success, and counts in the second in which the run ends.
    assert line.rates.failed_per_s == 0
    assert line.rates_whole_run.failed_per_s == pytest.approx(4 / 11, abs=1e-3)
    assert line.rates_whole_run.ok_per_s == pytest.approx(14 / 11, abs=1e-3)
    assert line.rates_whole_run.ok_output_tokens_per_s == pytest.approx(14 * 4 / 11, abs=1e-3)
    assert line.outcomes == {"ok": 14, "censored": 4}
    assert (line.started, line.good, line.output_tokens, line.input_tokens) == (18, 14, 56, 140)


def test_an_open_loop_by_hand() -> None:
    # One request each second from 0 to 7 s, 1.4 s long, with 3 tokens after 0.2 and 5 at the end; the last fails.
    requests = [Sent(1000 * number, [(200, 3), (1400, 5)], 1400, input_tokens=7) for number in range(8)]
    requests[-1] = requests[-1]._replace(outcome=RequestOutcome.FAILED)
    line = load_line(stats_of(requests, shift=0.25), [SelfCheck(started=8)], OPEN, issued=7.25)
    # The window begins after the median length, 1.4 s, and ends with the last start.
    assert line.window == (1.4, 7.25)
    length = 7.25 - 1.4
    # One starts in each second: 0.6 of second 1, all of 2 to 6, and a quarter of second 7.
    assert line.rates.started_per_s == pytest.approx((0.6 + 5 + 0.25) / length, abs=1e-3) == 1.0
    # One ends in each second from 1 to 8, of which the last failed.
    assert line.rates.ok_per_s == pytest.approx((0.6 + 5 + 0.25) / length, abs=1e-3)
    assert line.rates.failed_per_s == 0.0
    assert line.rates_whole_run.failed_per_s == pytest.approx(1 / 9, abs=1e-3)
    # In each second from 1 to 6 come 8 tokens; in second 7 only the last 5 of the request begun at 6 s.
    assert line.rates.ok_output_tokens_per_s == pytest.approx((0.6 * 8 + 5 * 8 + 0.25 * 5) / length, abs=1e-3)
    assert line.rates.input_tokens_per_s == pytest.approx((0.6 * 7 + 5 * 7) / length, abs=1e-3)


@pytest.mark.parametrize(
    ("length", "issued", "window"),
    [
        (300, 10.0, (0.3, 10.0)),
        (300, 9.9994, (0.3, 9.999)),
        (300, 0.5, (0.25, 0.5)),  # more than half is never left out
        (6000, 10.0, (5.0, 10.0)),
    ],
)
def test_an_open_loop_is_steady_after_the_median_end(length: int, issued: float, window: tuple[float, float]) -> None:
    # Of three the median is the second; one that failed has no end to end.
    lengths = [length - 100, length, length + 100]
    requests = [Sent(0, [], each) for each in lengths] + [Sent(0, [], 9000, RequestOutcome.TIMEOUT)] * 3
    assert steady_window(stats_of(requests), OPEN, issued) == pytest.approx(window, abs=1e-3)
    assert steady_window(RunStats(), OPEN, issued) == (0.0, round(issued, 3))


def test_a_closed_loop_without_a_steady_second_gets_what_follows_the_ramp() -> None:
    requests = [Sent(100, [], 300), Sent(600, [], 200)]
    for ramp, issued, window in ((0.25, 0.9, (0.25, 0.9)), (5.0, 0.9, (0.9, 0.9)), (0.1239, 0.8888, (0.124, 0.889))):
        assert steady_window(stats_of(requests), replace(CLOSED, ramp=ramp), issued) == window
    # A window without a length has no rates.
    rates = rates_within(stats_of(requests), (0.9, 0.9))
    assert {getattr(rates, name) for name in Rates.__struct_fields__} == {0.0, None}


def test_the_ramp_and_the_drain_are_left_out() -> None:
    long = Sent(200, [], 9500)
    pairs = [Sent(1000 * second + begun, [], 1000) for second in range(2, 7) for begun in (-500, -400)]
    assert steady_window(stats_of([long, *pairs]), CLOSED, issued=8.0) == (2.0, 6.0)
    # What was issued ends the window, whatever was in flight then.
    assert steady_window(stats_of([long, *pairs]), CLOSED, issued=4.9) == (2.0, 4.0)


@pytest.mark.parametrize(("in_dip", "window"), [(8, (1.0, 9.0)), (7, (1.0, 4.0))])
def test_the_load_is_steady_while_four_of_five_are_in_flight(in_dip: int, window: tuple[float, float]) -> None:
    # Ten in flight at the end of each second from 0 to 8, but ``in_dip`` at the end of second 4. Of two windows as
    # long as each other the first is taken.
    steady = [Sent(500, [], 8500)] * in_dip
    others = [Sent(500, [], 4000), Sent(5200, [], 3800)] * (10 - in_dip)
    assert steady_window(stats_of([*steady, *others]), CLOSED, issued=10.0) == window


@pytest.mark.parametrize(
    ("window", "seconds"),
    [((0, 10), 10), ((0, 4), 4), ((2.25, 5), 2.75), ((2.25, 5.5), 3.25), ((2.2, 2.7), 0.5), ((8, 12), 2)],
)
def test_a_second_that_is_partly_in_the_window_counts_by_that_part(window: tuple[float, float], seconds: float) -> None:
    # One request in each second from 0 to 9 s, each of 4 tokens in its own second.
    requests = [Sent(1000 * number, [(100, 4)], 500) for number in range(10)]
    rates, length = rates_within(stats_of(requests), window), window[1] - window[0]
    assert rates.ok_per_s == rates.started_per_s == pytest.approx(seconds / length, abs=1e-3)
    assert rates.ok_output_tokens_per_s == pytest.approx(4 * seconds / length, abs=1e-3)


def test_a_part_of_a_busy_second_counts_by_its_length() -> None:
    stats = stats_of([Sent(1000, [], 500)] * 8)
    # Half of the second in which all eight ran, and one second in which none did.
    assert rates_within(stats, (1.5, 3.0)).ok_per_s == pytest.approx(8 * 0.5 / 1.5, abs=1e-3)


# The reference: every definition taken word for word, over single requests and thousandths of seconds.


def reference_window(requests: Sequence[Sent], settings: LoadSettings, issued: float) -> tuple[float, float]:
    """Return the steady window by trying out every one."""
    if settings.mode == "open":
        lengths = sorted(sent.length / 1000 for sent in requests if sent.answered)
        median = lengths[math.ceil(len(lengths) / 2) - 1] if lengths else 0.0
        return min(median, issued / 2), issued

    def in_flight(second: int) -> int:
        return sum(sent.start < 1000 * second <= sent.end for sent in requests)

    last = max((sent.end // 1000 + 1 for sent in requests), default=0)
    levels = [in_flight(second) for second in range(last + 1)]
    windows = [
        (begin, end)
        for begin in range(last + 1)
        for end in range(begin + 1, last + 1)
        if end <= issued and all(level and level >= 0.8 * max(levels) for level in levels[begin : end + 1])
    ]
    if windows:
        begin, end = max(windows, key=lambda window: (window[1] - window[0], -window[0]))
        return float(begin), float(end)
    return min(settings.ramp_seconds, issued), issued


def proven(requests: Sequence[Sent]) -> Sequence[RequestOutcome]:
    """Return the outcomes of requests that are known to be good: the unchecked ones only beside checked ones.

    None of these was voided by a rule here, so none of the others is.
    """
    return SUCCEEDED if any(sent.outcome is OK for sent in requests) else (OK,)


def reference_rates(requests: Sequence[Sent], window: tuple[float, float], limit: int) -> dict[str, float]:
    """Return each rate: what fell into a second is spread over the second, and counts by the part in the window."""
    fell: Counter[tuple[str, int]] = Counter()
    succeeded = proven(requests)
    for sent in requests:
        good = sent.outcome in succeeded and bool(sent.content) and sent.content[0][0] < limit
        fell["started", sent.start // 1000] += 1
        fell["finished", sent.end // 1000] += 1
        fell["failed", sent.end // 1000] += sent.outcome not in (*SUCCEEDED, CANCELLED)
        fell["ok", sent.end // 1000] += sent.outcome in succeeded
        fell["good", sent.end // 1000] += good
        if sent.answered:
            for at, tokens in sent.content:
                fell["output_tokens", (sent.start + at) // 1000] += tokens
                fell["ok_output_tokens", (sent.start + at) // 1000] += tokens * (sent.outcome in succeeded)
            if sent.content:
                fell["input_tokens", (sent.start + sent.content[0][0]) // 1000] += sent.input_tokens
    low, high = window
    rates = dict.fromkeys((name.removesuffix("_per_s") for name in Rates.__struct_fields__), 0.0)
    del rates["uncached_input_tokens"]  # not known: no usage has cached_tokens
    for (name, second), amount in fell.items():
        inside = max(0.0, min(high, second + 1) - max(low, second))
        rates[name] += amount * inside / (high - low) if high > low else 0.0
    return rates


@st.composite
def small_runs(draw: st.DrawFn) -> list[Sent]:
    found = []
    for _ in range(draw(st.integers(0, 12))):
        gaps = draw(st.lists(st.tuples(st.integers(0, 1500), st.integers(1, 9)), max_size=4))
        content, at = [], 0
        for gap, tokens in gaps:
            at += gap + 1
            content.append((at, tokens))
        outcome = draw(st.sampled_from([OK, OK, OK, *RequestOutcome]))
        length = at + draw(st.integers(1, 1500))
        found.append(Sent(draw(st.integers(0, 8000)), content, length, outcome, draw(st.integers(0, 9))))
    return found


@given(small_runs(), st.sampled_from([CLOSED, OPEN, replace(CLOSED, ramp=2.5)]), st.integers(1, 9000))
@pytest.mark.slow(1)
def test_totals_are_those_of_the_reference(requests: list[Sent], settings: LoadSettings, issued_ms: int) -> None:
    issued = issued_ms / 1000
    settings = replace(settings, slos=("ttft<700.5ms", "goodput>=50%"))
    stats = stats_of(requests, settings.slos, shift=0.25)
    line = load_line(stats, [SelfCheck(started=len(requests))], settings, issued=issued)

    expected = reference_window(requests, settings, issued)
    assert line.window == pytest.approx(expected, rel=1e-3, abs=2e-3)
    whole = (0.0, max([issued, *(sent.end // 1000 + 1 for sent in requests)]))
    for found, window in ((line.rates, line.window), (line.rates_whole_run, whole)):
        wanted = reference_rates(requests, window, limit=701)
        assert {name: getattr(found, f"{name}_per_s") for name in wanted} == pytest.approx(wanted, abs=1e-3)

    outcomes = Counter(sent.outcome for sent in requests)
    assert (line.outcomes, line.started) == (dict(outcomes), len(requests))
    within = [sent for sent in requests if sent.content and sent.content[0][0] < 701]
    good = sum(sent.outcome in proven(requests) for sent in within)
    unknown = RequestOutcome.UNJUDGED in {sent.outcome for sent in within} - set(proven(requests))
    counted = len(requests) - outcomes[CANCELLED]
    assert line.good == good
    assert line.slos[1].value == (pytest.approx(good / counted) if counted and not unknown else None)
    answered = [sent for sent in requests if sent.answered]
    assert line.output_tokens == sum(sent.tokens for sent in answered)
    assert line.input_tokens == sum(sent.input_tokens for sent in answered)

    values = {
        "e2e": [sent.length for sent in answered],
        "ttft": [sent.content[0][0] for sent in answered if sent.content],
        "itl": [b[0] - a[0] for sent in answered for a, b in zip(sent.content, sent.content[1:], strict=False)],
        "tail": [sent.length - sent.content[-1][0] for sent in answered if sent.content],
    }
    lines = {found.metric: found for found in line.percentiles}
    for metric, measured in values.items():
        assert (lines[metric].n if metric in lines else 0) == len(measured)
        for percent in PERCENTILES if measured else ():
            shown = getattr(lines[metric], percentile_field(percent))
            # Shown when at least one value would lie above, or up to the median.
            if percent > 50 and len(measured) * (100 - percent) / 100 < 1 - 1e-9:
                assert (shown.value, shown.value_needs) == (None, round(100 / (100 - percent)))
            else:
                rank = math.ceil(round(len(measured) * percent / 100, 9))
                assert shown.value == pytest.approx(sorted(measured)[max(rank, 1) - 1] / 1000, rel=1e-3)


@given(small_runs())
def test_seconds_are_those_of_the_reference(requests: list[Sent]) -> None:
    lines = stats_of(requests, shift=0.25).second_samples()
    assert len(lines) == max((sent.end // 1000 + 1 for sent in requests), default=0)
    for line in lines:
        begin, end = 1000 * line.t, 1000 * line.t + 1000

        def inside(at: int, begin: int = begin, end: int = end) -> bool:
            return begin <= at < end

        assert line.started == sum(inside(sent.start) for sent in requests)
        assert line.finished == sum(inside(sent.end) for sent in requests)
        assert line.failed == sum(inside(sent.end) and sent.outcome not in (*SUCCEEDED, CANCELLED) for sent in requests)
        assert line.in_flight == sum(sent.start < end <= sent.end for sent in requests)
        answered = [sent for sent in requests if sent.answered]
        came = [(sent.start + at, tokens) for sent in answered for at, tokens in sent.content]
        assert line.output_tokens == pytest.approx(sum(tokens for at, tokens in came if inside(at)), abs=0.051)
        begun = [sent for sent in answered if sent.content and inside(sent.start + sent.content[0][0])]
        firsts = sorted(sent.content[0][0] for sent in begun)
        if firsts:
            assert line.ttft_p50 == pytest.approx(firsts[math.ceil(len(firsts) / 2) - 1] / 1000, rel=1e-3)
            assert line.ttft_p99 == pytest.approx(firsts[-1] / 1000, rel=1e-3)
        else:
            assert (line.ttft_p50, line.ttft_p99) == (None, None)
        gaps: Counter[int] = Counter()
        for sent in answered:
            for (before, _), (after, _) in zip(sent.content, sent.content[1:], strict=False):
                if inside(sent.start + after):
                    gaps[max(bound for bound in (0, *GAP_BOUNDS) if bound <= after - before)] += 1
        assert line.gaps == gaps

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

from rejoinder.load.measure.load_line import load_line
from rejoinder.load.measure.measure import Measurement, take_times
from rejoinder.load.measure.recording import Receives, Recording
from rejoinder.load.measure.self_check import SelfCheck
from rejoinder.load.measure.stats import GAP_BOUNDS, RunStats
from rejoinder.load.measure.throughput import slice_width
from rejoinder.load.measure.tokens import Tokens
from rejoinder.load.objectives.slo import RequestLimits, parse_slos
from rejoinder.load.settings import LoadSettings
from rejoinder.model.exchange import Exchange, Outcome, Request
from rejoinder.model.outcomes import RequestOutcome
from rejoinder.model.samples import PERCENTILES, Rates, percentile_field

OK, CENSORED = RequestOutcome.OK, RequestOutcome.CENSORED
CANCELLED, UNOPENED = RequestOutcome.CANCELLED, RequestOutcome.UNOPENED
SUCCEEDED = (OK, RequestOutcome.UNJUDGED)
NOT_FAILED = (*SUCCEEDED, CANCELLED, UNOPENED, RequestOutcome.LOST)
ANSWERED = (*SUCCEEDED, RequestOutcome.NONCONFORMING, RequestOutcome.INCOMPLETE)
UNENDED = (
    RequestOutcome.TRUNCATED,
    RequestOutcome.TRANSPORT,
    RequestOutcome.TIMEOUT,
    RequestOutcome.TOO_LARGE,
    CENSORED,
)
CLOSED = LoadSettings(url="http://127.0.0.1", concurrency=4, duration=10.0, ramp=0.0)
OPEN = LoadSettings(url="http://127.0.0.1", rate=1.0, duration=10.0)
EXCHANGE = Exchange("x", Request("POST", "/"), Outcome.COMPLETE, 200, role="stream")


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

    @property
    def unended(self) -> bool:
        """Whether nobody knows when it would have come to an end."""
        return self.outcome in UNENDED

    @property
    def counted(self) -> bool:
        """Whether what came of it counts."""
        return self.answered or self.unended


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
    settings = replace(CLOSED, ramp=3.6)
    line = load_line(stats_of(requests), [SelfCheck(started=len(requests))], settings, issued=10.0)
    # All four are in flight after the ramp. The last start is at 9.5, with the ends of B and D.
    assert line.window == (3.6, 9.5)
    assert line.in_flight == 4.0
    # A and C end at 4.5, 6.5, 8.5, B and D at 5.5, 7.5, 9.5: 12 ends in 5.9 s.
    assert (
        line.rates.ok_per_s == line.rates.finished_per_s == line.rates.good_per_s == pytest.approx(12 / 5.9, abs=1e-3)
    )
    # As many began, since each user goes on at once.
    assert (line.started_window, line.rates.started_per_s) == ((3.6, 9.5), pytest.approx(12 / 5.9, abs=1e-3))
    # Tokens come each half second: of A and C at 4, 4.5, 5 ... 9.5, of B and D too. Of these 4 belong to requests that
    # were cut off: those of A and C at 9 and 9.5.
    assert line.rates.output_tokens_per_s == pytest.approx(48 / 5.9, abs=1e-3)
    assert line.rates.ok_output_tokens_per_s == pytest.approx(44 / 5.9, abs=1e-3)
    # Input tokens count when the first content comes: of A and C at 5, 7 and 9, of B and D at 4, 6 and 8.
    assert line.rates.input_tokens_per_s == pytest.approx(120 / 5.9, abs=1e-3)
    # What was cut off is no success, and counts when the run ends, after the window. All 18 end by 10 s.
    assert line.rates.failed_per_s == 0
    assert line.rates_whole_run.failed_per_s == pytest.approx(4 / 10, abs=1e-3)
    assert line.rates_whole_run.ok_per_s == pytest.approx(14 / 10, abs=1e-3)
    assert line.rates_whole_run.started_per_s == pytest.approx(18 / 10, abs=1e-3)
    assert line.rates_whole_run.ok_output_tokens_per_s == pytest.approx(14 * 4 / 10, abs=1e-3)
    assert line.outcomes == {"ok": 14, "censored": 4}
    # What was cut off after 1.5 s had 3 tokens (A and C), after 0.5 s one (B and D).
    assert (line.started, line.good, line.output_tokens, line.input_tokens) == (18, 14, 56 + 8, 180)
    assert line.waited == {"censored": (0.5, 1.5)}
    e2e = next(found for found in line.percentiles if found.metric == "e2e")
    # Of 18 lengths two are over 0.5 s, two over 1.5 s, and 14 are 2 s. So the 9th is 2 s, the 17th 2 s at least.
    assert (e2e.n, e2e.p50.value, e2e.p50.at_least) == (18, pytest.approx(2.0, rel=1e-3), False)
    assert (e2e.p90.value, e2e.p90.at_least) == (pytest.approx(2.0, rel=1e-3), True)
    # Every first token came.
    ttft = next(found for found in line.percentiles if found.metric == "ttft")
    assert (ttft.n, ttft.p90.value, ttft.p90.at_least) == (18, 0.5, False)


def test_the_ramp_is_part_of_a_window_that_is_not_told_of_it() -> None:
    line = load_line(stats_of(users(4, length=2000, issued=10_000)), [], CLOSED, issued=10.0)
    # From the first start on. One user is in flight for 9 s, the others for 8, 7 and 6 s.
    assert (line.window, line.in_flight) == ((0.5, 9.5), pytest.approx(30 / 9, abs=1e-3))


def test_an_open_loop_by_hand() -> None:
    # One request each second from 0 to 7 s, 1.4 s long, with 3 tokens after 0.2 and 5 at the end; the last fails.
    requests = [Sent(1000 * number, [(200, 3), (1400, 5)], 1400, input_tokens=7) for number in range(8)]
    requests[-1] = requests[-1]._replace(outcome=RequestOutcome.FAILED)
    line = load_line(stats_of(requests, shift=0.25), [SelfCheck(started=8)], OPEN, issued=7.25)
    # From the first end to the last end while requests were started.
    assert line.window == (1.40025, 6.40025)
    assert line.rates.ok_per_s == 1.0
    assert line.rates.failed_per_s == 0.0
    assert line.in_flight == pytest.approx(1.4, abs=2e-3)
    # Starts count for as long as requests were started.
    assert (line.started_window, line.rates.started_per_s) == ((0, 7.25), pytest.approx(8 / 7.25, abs=1e-3))
    assert line.rates_whole_run.failed_per_s == pytest.approx(1 / 8.40025, abs=1e-3)
    # In each second come 8 tokens.
    assert line.rates.ok_output_tokens_per_s == pytest.approx(8, abs=1e-3)
    assert line.rates.input_tokens_per_s == pytest.approx(7, abs=1e-3)


def test_a_window_without_a_length_has_no_rates_and_says_why() -> None:
    alone = load_line(stats_of([Sent(0, [], 300)]), [], OPEN, issued=1.0)
    assert (alone.rates.ok_per_s, alone.no_rates) == (None, "only one request ended")
    assert "ok_per_s" not in alone.to_json()["rates"]
    # Over the whole run there is one.
    assert alone.rates_whole_run.ok_per_s == 1.0
    nothing = load_line(RunStats(), [], CLOSED, issued=0.0)
    assert (nothing.rates, nothing.in_flight, nothing.no_rates) == (Rates(), None, "no request was sent")


# The reference: every definition taken word for word, over single requests and thousandths of seconds.


def proven(requests: Sequence[Sent]) -> Sequence[RequestOutcome]:
    """Return the outcomes of requests that are known to be good: the unchecked ones only beside checked ones.

    None of these was voided by a rule here, so none of the others is.
    """
    return SUCCEEDED if any(sent.outcome is OK for sent in requests) else (OK,)


def counted(requests: Sequence[Sent], low: float, high: float, limit: int) -> dict[str, float]:
    """Return what falls after ``low`` and not after ``high``, in seconds."""
    found = dict.fromkeys((name.removesuffix("_per_s") for name in Rates.__struct_fields__), 0.0)

    def inside(at: int) -> bool:
        return low < (at + 0.25) / 1000 <= high

    succeeded = proven(requests)
    for sent in requests:
        good = sent.outcome in succeeded and bool(sent.content) and sent.content[0][0] < limit
        found["started"] += inside(sent.start)
        found["finished"] += inside(sent.end)
        found["failed"] += inside(sent.end) and sent.outcome not in NOT_FAILED
        found["ok"] += inside(sent.end) and sent.outcome in succeeded
        found["good"] += inside(sent.end) and good
        if sent.counted:
            for at, tokens in sent.content:
                came = tokens * inside(sent.start + at)
                found["output_tokens"] += came
                found["ok_output_tokens"] += came * (sent.outcome in succeeded)
            if sent.content:
                found["input_tokens"] += sent.input_tokens * inside(sent.start + sent.content[0][0])
    del found["uncached_input_tokens"]  # not known: no usage has cached_tokens
    return found


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

    low, high = line.window
    # Counts are exact to a slice at either edge, and over the whole run.
    widths = [slice_width(round(edge * 1e3)) / 1e3 for edge in (low, high)]
    least = counted(requests, low + widths[0], high - widths[1], limit=701)
    most = counted(requests, low - widths[0], high + widths[1], limit=701)
    # Where nothing was checked, successes are not known, but for none at all.
    unknown = {"ok", "good", "ok_output_tokens"} if requests and line.unjudged and not line.outcomes.get(OK) else set()
    for name in least if high > low else ():
        rate = getattr(line.rates, f"{name}_per_s")
        if name in unknown:
            assert not rate
        elif name != "started":
            assert least[name] - 0.01 <= rate * (high - low) <= most[name] + 0.01
    if unknown:
        assert (line.rates.ok_per_s, line.rates_whole_run.ok_per_s) == (None, None)
    length = max([issued, *((sent.end + 0.25) / 1000 for sent in requests)])
    for name, amount in counted(requests, -1, length, limit=701).items():
        found = getattr(line.rates_whole_run, f"{name}_per_s")
        assert found == (pytest.approx(amount / length, abs=1e-3) if requests else None) or not amount

    outcomes = Counter(sent.outcome for sent in requests)
    assert (line.outcomes, line.started) == (dict(outcomes), len(requests))
    within = [sent for sent in requests if sent.content and sent.content[0][0] < 701]
    good = sum(sent.outcome in proven(requests) for sent in within)
    open_goodput = RequestOutcome.UNJUDGED in {sent.outcome for sent in within} - set(proven(requests))
    asked = len(requests) - outcomes[CANCELLED] - outcomes[UNOPENED]
    assert line.good == good
    assert line.slos[1].value == (pytest.approx(good / asked) if asked and not open_goodput else None)
    counted_ones = [sent for sent in requests if sent.counted]
    answered = [sent for sent in requests if sent.answered]
    assert line.output_tokens == sum(sent.tokens for sent in counted_ones)
    assert line.input_tokens == sum(sent.input_tokens for sent in counted_ones)

    values = {
        "e2e": [sent.length for sent in answered],
        "ttft": [sent.content[0][0] for sent in counted_ones if sent.content],
        "itl": [b[0] - a[0] for sent in counted_ones for a, b in zip(sent.content, sent.content[1:], strict=False)],
        "tail": [sent.length - sent.content[-1][0] for sent in answered if sent.content],
    }
    waits = {
        "e2e": [sent.length for sent in requests if sent.unended],
        "ttft": [sent.length for sent in requests if sent.unended and not sent.content],
    }
    lines = {found.metric: found for found in line.percentiles}
    for metric, ended in values.items():
        measured = [*ended, *waits.get(metric, [])]
        endless = [*ended, *(math.inf for _ in waits.get(metric, []))]
        assert (lines[metric].n if metric in lines else 0) == len(measured)
        for percent in PERCENTILES if measured else ():
            shown = getattr(lines[metric], percentile_field(percent))
            # Shown when at least one value would lie above, or up to the median.
            if percent > 50 and len(measured) * (100 - percent) / 100 < 1 - 1e-9:
                assert (shown.value, shown.value_needs) == (None, round(100 / (100 - percent)))
            else:
                rank = max(1, math.ceil(round(len(measured) * percent / 100, 9)))
                smallest, largest = sorted(measured)[rank - 1], sorted(endless)[rank - 1]
                assert shown.value == pytest.approx(smallest / 1000, rel=1e-3)
                assert smallest < largest if shown.at_least else largest == pytest.approx(smallest, rel=1e-3)


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
        assert line.failed == sum(inside(sent.end) and sent.outcome not in NOT_FAILED for sent in requests)
        assert line.in_flight == sum(sent.start < end <= sent.end for sent in requests)
        counted = [sent for sent in requests if sent.counted]
        came = [(sent.start + at, tokens) for sent in counted for at, tokens in sent.content]
        assert line.output_tokens == pytest.approx(sum(tokens for at, tokens in came if inside(at)), abs=0.051)
        begun = [sent for sent in counted if sent.content and inside(sent.start + sent.content[0][0])]
        firsts = sorted(sent.content[0][0] for sent in begun)
        if firsts:
            assert line.ttft_p50 == pytest.approx(firsts[math.ceil(len(firsts) / 2) - 1] / 1000, rel=1e-3)
            assert line.ttft_p99 == pytest.approx(firsts[-1] / 1000, rel=1e-3)
        else:
            assert (line.ttft_p50, line.ttft_p99) == (None, None)
        gaps: Counter[int] = Counter()
        for sent in counted:
            for (before, _), (after, _) in zip(sent.content, sent.content[1:], strict=False):
                if inside(sent.start + after):
                    gaps[max(bound for bound in (0, *GAP_BOUNDS) if bound <= after - before)] += 1
        assert line.gaps == gaps

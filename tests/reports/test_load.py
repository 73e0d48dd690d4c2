"""The load part: distributions, ledger, seconds, charts, as read from what the real writers write."""

from __future__ import annotations

import io
import math
import random
import re
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from rejoinder.model.outcomes import RequestOutcome
from rejoinder.model.runfile import Run
from rejoinder.model.samples import LoadSample, Repeat, Sample, SearchStep, SecondSample, StreamSample
from rejoinder.reports import render_html, render_markdown, summarize
from rejoinder.reports._charts import gap_chart, path, percentile_chart, search_charts, stall_map, timeline_charts
from rejoinder.reports._load import Load, read_load
from rejoinder.reports._streams import lane_of


def run(*samples: Sample) -> Run:
    return Run({}, samples=list(samples), footer={"ended_at": 1.0})


def load_of(*samples: Sample) -> Load:
    load = read_load(run(*samples))
    assert load is not None
    return load


def totals(samples: list[Sample]) -> LoadSample:
    """Return the ``load`` line of a run, which tests may change."""
    load = samples[-1]
    assert isinstance(load, LoadSample)
    return load


def screen(found: Run) -> str:
    """Return the closing summary as a wide terminal shows it."""
    text = io.StringIO()
    Console(file=text, width=200).print(summarize(found))
    return text.getvalue()


def test_percentiles_are_nearest_rank(loads: ModuleType) -> None:
    dice = random.Random(5)
    values = [dice.lognormvariate(-3, 1) for _ in range(5000)]
    distribution = load_of(loads.histogram("ttft", values)).distribution("ttft")
    assert distribution is not None
    for p in (50.0, 90.0, 99.0, 99.9):
        exact = sorted(values)[math.ceil(p / 100 * 5000 - 1e-9) - 1]
        found = distribution.percentile(p)
        assert found == pytest.approx(exact, rel=1e-3)
    assert distribution.quantile(1.0) == pytest.approx(max(values), abs=1e-6)
    assert distribution.mean == pytest.approx(sum(values) / 5000, abs=1e-6)


def test_percentiles_of_too_few_values_say_so_everywhere(loads: ModuleType, check_page: Any) -> None:
    few, many = load_of(loads.histogram("ttft", [0.1] * 99), loads.histogram("e2e", [1.0] * 1000)).distributions
    assert (few.word(90), few.percentile(99), few.word(99)) == ("100 ms", None, "needs n 100")
    assert many.percentile(99.9) is not None
    found = run(*loads.recorded([loads.Sent(t / 10, 0.1, [0.01], tokens=2) for t in range(99)]))
    assert "p99 needs n 100" in screen(found)
    assert "| needs n 100 | needs n 1,000 |" in render_markdown(found)
    page = render_html(found)
    check_page(page)
    assert "<dt>TTFT p99</dt><dd>needs n 100</dd>" in page
    sure = {line.metric: line for line in totals(found.samples).percentiles}["ttft"]
    assert (sure.p99.value, sure.p99.value_needs, sure.p99.needs) == (None, 100, 662)
    assert (sure.p90.value, sure.p90.value_needs) == (0.1, None)


def test_the_ledger_must_add_up(loads: ModuleType) -> None:
    timeout = loads.Sent(1, outcome=RequestOutcome.TIMEOUT)
    samples = loads.recorded([*(loads.Sent(t, 0.1, tokens=1) for t in range(7)), timeout, timeout])
    totals(samples).started = 10
    load = load_of(*samples)
    assert [(entry.outcome, entry.amount) for entry in load.ledger] == [("ok", 7), ("timeout", 2)]
    assert load.warnings == ["The outcomes add up to 9, but 10 requests were started."]


def test_steps_of_a_search_that_was_cut_short_are_shown(examples: ModuleType) -> None:
    for whole, level in ((examples.sweep(), "2 in flight"), (examples.rate_search(), "100 requests/s")):
        steps = whole.samples_of(SearchStep)[:3]
        found = run(*steps)
        load = load_of(*steps)
        assert (load.started, load.ok, load.whole) == (sum(step.started for step in steps),) * 2 + (False,)
        assert load.search is not None
        assert "cut short after 3 steps" in load.search.sentence
        assert load.search.sentence in screen(found)
        assert level in screen(found)
        assert render_markdown(found).count("| VALID |") == 3


def test_repeats_that_were_cut_short_are_shown(examples: ModuleType) -> None:
    repeats = examples.compared().samples_of(Repeat)[:3]
    load = load_of(*repeats)
    assert (load.started, load.ok, load.bad, load.whole) == (900, 894, 6, False)
    assert "the other" in screen(run(*repeats))
    assert render_markdown(run(*repeats)).count("| VALID |") == 3


def test_a_run_that_died_is_counted_from_its_requests(loads: ModuleType) -> None:
    truncated = loads.Sent(1, 0.1, outcome=RequestOutcome.TRUNCATED)
    requests = loads.recorded([loads.Sent(0, 0.1), truncated])[:2]
    requests[0].weight = 4
    load = load_of(*requests)
    assert (load.started, load.ok, load.bad) == (5, 4, 1)
    assert "ended early" in load.warnings[0]


def test_the_figures_of_a_run_are_those_of_its_requests(loads: ModuleType) -> None:
    # One a second from 0 to 9, each of 4 tokens; the 6th and the 7th end badly.
    sent = [loads.Sent(float(t), 0.1, [0.1, 0.1, 0.2], tokens=4, tail=0.0) for t in range(10)]
    sent[5].outcome = sent[6].outcome = RequestOutcome.FAILED
    load = load_of(*loads.recorded(sent, rate=1.0))
    assert (load.started, load.ok, load.bad) == (10, 8, 2)
    # Steady from 0.5 s, when half of the first requests had ended, to 10 s: of the first second one half counts.
    assert load.window == (0.5, 10.0)
    assert load.rate == pytest.approx((0.5 + 7) / 9.5, abs=1e-3)
    assert load.tokens_rate == pytest.approx(4 * (0.5 + 7) / 9.5, abs=1e-3)
    e2e = load.distribution("e2e")
    assert e2e is not None
    assert (e2e.n, e2e.percentile(50), e2e.high) == (8, pytest.approx(0.5, rel=1e-3), 0.5)
    assert [(second.started, second.finished, second.failed) for second in load.seconds[4:8]] == [
        (1, 1, 0), (1, 1, 1), (1, 1, 1), (1, 1, 0)
    ]  # fmt: skip


def test_only_the_load_line_decides_on_validity(loads: ModuleType) -> None:
    samples = loads.load_samples(notes=["the machine slept"])
    load = load_of(*samples)
    assert (load.verdict, load.reasons) == ("SUSPECT", ["the machine slept"])
    assert load.rate == totals(samples).rates.ok_per_s
    assert len(load.slowest) == 10
    longest = max(sent.length for sent in loads.requests_with_a_stall())
    assert load.slowest[0].length == pytest.approx(longest, abs=1e-6)


def test_long_runs_are_drawn_with_fewer_points() -> None:
    seconds = [
        SecondSample(t=t, started=2, finished=2, failed=0, in_flight=t % 7, output_tokens=0.0, ttft_p99=0.1)
        for t in range(3601)
    ]
    load = load_of(*seconds)
    assert load.step == 21
    assert len(load.seconds) <= 180
    assert load.seconds[0].started == 2
    charts = timeline_charts(load)
    assert all(len(curve.path) < 20_000 for chart in charts for curve in chart.curves)


def test_charts_of_nothing_are_left_out(loads: ModuleType) -> None:
    load = load_of(*loads.recorded([]))
    assert percentile_chart(load) is None
    assert gap_chart(load) is None
    assert timeline_charts(load) == []


def test_charts_say_what_they_show(loads: ModuleType) -> None:
    load = load_of(*loads.cached(loads.load_samples))
    chart = percentile_chart(load)
    assert chart is not None
    assert [curve.name for curve in chart.curves] == ["Time to first token", "Gap between tokens", "End to end"]
    assert "median" in chart.summary
    strips = timeline_charts(load)
    assert [chart.title for chart in strips] == [
        "Requests per second",
        "In flight",
        "Output tokens per second",
        "Time to first token",
        "Server: requests",
        "Server: shares",
        "GPU power, W",
        "GPU memory, MiB",
    ]
    assert [curve.name for curve in strips[3].curves] == ["p50", "p99", "mean that the server measured"]
    assert "waiting at most" in strips[4].summary
    for drawn in (chart, gap_chart(load), *timeline_charts(load)):
        assert drawn is not None
        for tick in (*drawn.x, *drawn.y, *drawn.marks):
            assert -0.5 <= tick.at <= 100.5


@given(st.lists(st.tuples(st.floats(0, 1000), st.floats(0, 100)), max_size=5), st.booleans())
def test_paths_hold_numbers_only(points: list[tuple[float, float]], area: bool) -> None:
    assert set(path(points, area=area)) <= set("MLz0123456789. -")


def words(page: Any) -> str:
    """Return the texts of a page as one line."""
    return " ".join("".join(page.texts).split())


def test_objectives_say_by_how_much_and_how_sure(loads: ModuleType) -> None:
    # First tokens after 50 ms but for 2 % after 600 ms; of 1,000 requests 950 keep the limit of 300 ms for each.
    sent = [loads.Sent(t / 100, 0.6 if t % 50 == 0 else 0.05, [0.01], tokens=2) for t in range(1000)]
    for bad in sent[1:31]:
        bad.outcome = RequestOutcome.TRUNCATED
    slos = ("ttft:p50<60ms", "ttft:p99<300ms", "e2e:p99.9<9s", "goodput>=94%", "output_tokens>50/s", "ttft<300ms")
    load = load_of(*loads.recorded(sent, [*slos, "tail:mean<0.1ms"]))
    found = {o.text: (o.severity, o.word, o.value, o.margin, o.n, o.bound) for o in load.objectives}
    assert found == {
        "ttft:p50<60ms": ("pass", "met", "50.0 ms", "17 % to spare", "970", "≤ 50.0 ms"),
        "ttft:p99<300ms": ("fail", "missed", "600 ms", "100 % over", "970", "≤ 600 ms"),
        "e2e:p99.9<9s": ("warn", "met, not certain", "610 ms", "93 % to spare", "970", "needs n 6,636"),
        "goodput>=94%": ("warn", "met, not certain", "95.0 %", "1 % to spare", "1,000", "≥ 93.2 %"),
        "output_tokens>50/s": ("pass", "met", "193/s", "286 % to spare", "970", "–"),
        "ttft<300ms": ("info", "each request", "600 ms", "", "970", "–"),
        "tail:mean<0.1ms": ("fail", "missed", "200 µs", "100 % over", "970", "–"),
    }
    assert [o.text for o in load.missed] == ["ttft:p99<300ms", "tail:mean<0.1ms"]
    # The limit stands in the middle of the bar.
    assert [o.at for o in load.objectives[:2]] == [pytest.approx(100 * 0.05 / 0.06 / 2), pytest.approx(100, abs=0.1)]


def test_an_objective_of_a_share_decides_how_many_may_end_badly(loads: ModuleType) -> None:
    sent = [loads.Sent(t / 10, 0.1, tokens=1) for t in range(98)]
    sent += [loads.Sent(9.0, outcome=RequestOutcome.HTTP_5XX, status=500)] * 2
    alone, allowed = run(*loads.recorded(sent)), run(*loads.recorded(sent, ["error<5%"]))
    assert (load_of(*alone.samples).bad, load_of(*alone.samples).intolerable) == (2, 2)
    assert (load_of(*allowed.samples).bad, load_of(*allowed.samples).intolerable) == (2, 0)
    assert "Not every request ended well" in render_html(alone)
    assert "Enough requests ended well" in render_html(allowed)
    assert "1 objective missed" in render_html(run(*loads.recorded(sent, ["error<1%"])))


def test_percentiles_carry_their_bounds(loads: ModuleType, check_page: Any) -> None:
    samples = loads.cached(loads.load_samples)
    ttft = load_of(*samples).distribution("ttft")
    assert ttft is not None
    p99, rare = ttft.bound(99.0), ttft.bound(99.9)
    assert p99 is not None
    assert rare is not None
    assert p99.bound is not None
    assert rare.needs == 6636
    text = words(check_page(render_html(run(*samples))))
    assert "needs 6,636" in text


def test_a_sweep_shows_its_knee(examples: ModuleType, check_page: Any) -> None:
    sweep = examples.sweep()
    search = load_of(*sweep.samples).search
    assert search is not None
    first, second = search_charts(search)
    assert [mark.label for mark in first.marks] == ["knee at 32"]
    assert [point.shape for point in first.points].count("ring") == 1
    # Two of the nine steps have too few requests for a p99.
    assert len(second.points) == 27 - 2
    for chart in (first, second):
        assert all(-0.5 <= place <= 100.5 for point in chart.points for place in (point.x, point.y))
    assert first.table is not None
    assert [row[0] for row in first.table.rows][4:7] == ["16", "32 (knee)", "64"]
    text = words(check_page(render_html(sweep)))
    assert "The knee is at 32 requests in flight: 1,766 tok/s with a first token p99 of 164 ms." in text
    assert "the generator was the limit, so the endpoint may bear more" in text
    assert "There is no knee" in words(check_page(render_html(examples.sweep(3, False))))


@pytest.mark.parametrize(
    ("highest", "told"),
    [
        (22.4, "The highest rate that kept the objectives is 22.12 requests per second."),
        (None, "No rate that was tried kept the objectives, not even 4 requests per second."),
    ],
)
def test_a_search_shows_what_was_kept(highest: float | None, told: str, examples: ModuleType, check_page: Any) -> None:
    found = examples.rate_search(highest)
    search = load_of(*found.samples).search
    assert search is not None
    (chart,) = search_charts(search)
    kept = [step.met for step in search.steps]
    shapes = [point.shape for point in chart.points]
    assert (shapes.count("dot"), shapes.count("cross")) == (kept.count(True), kept.count(False))
    assert kept.count(True) == (6 if highest else 0)
    text = words(check_page(render_html(found)))
    assert told in text
    assert "missed: ttft:p99<300ms" in text


def test_changes_are_shown_with_every_repeat(examples: ModuleType, check_page: Any) -> None:
    compared = examples.compared()
    load = load_of(*compared.samples)
    assert load.repeats is not None
    assert len(load.repeats.rows) == 10
    dots = load.repeats.dots["ttft:p99<+10%"]
    assert (len(dots.ours), len(dots.others)) == (5, 5)
    assert min(dots.ours) > max(dots.others)
    assert dots.before is not None
    assert dots.limit is not None
    assert all(0 <= place <= 100 for place in (*dots.ours, *dots.others, dots.before, dots.limit))
    assert [o.text for o in load.missed if o.of_change] == ["ttft:p99<+10%"]
    (change,) = [o for o in load.objectives if o.text == "ttft:p99<+10%"]
    text = words(check_page(render_html(compared)))
    for expected in (change.value, change.margin, "p = 0.004", "5 and 5", "cannot tell", "this endpoint"):
        assert expected in text, expected


def second(t: int, gaps: dict[int, int]) -> SecondSample:
    return SecondSample(t=t, started=1, finished=1, failed=0, in_flight=0, output_tokens=1.0, gaps=gaps)


def test_the_stall_map_has_every_gap_where_it_ended() -> None:
    load = load_of(second(0, {5: 90, 10: 10}), second(1, {5: 80}), second(2, {5: 70, 2000: 1}))
    found = stall_map(load)
    assert found is not None
    assert found.table.head == [
        "from",
        *(f"≥ {name}" for name in ["5 ms", "10 ms", "20 ms", "50 ms", "100 ms", "200 ms", "500 ms", "1 s", "2 s"]),
    ]
    assert [row[1] for row in found.table.rows] == ["90", "80", "70"]
    assert found.table.rows[2][-1] == "1"
    assert found.rows == 9
    assert sum(path.count("M") for path, _ in found.shades) == 5
    assert "the longest, of 2 s or more, ended at 2 s" in found.summary


def test_stall_maps_of_long_runs_are_bounded() -> None:
    gaps = {figure * 10**power: 7**power for power in range(5) for figure in (1, 2, 5)}
    found = stall_map(load_of(*(second(t, gaps) for t in range(7200))))
    assert found is not None
    assert len(found.table.rows) <= 100
    assert sum(len(path) for path, _ in found.shades) < 40_000


def test_timelines_mark_first_token_and_longest_silence(loads: ModuleType, check_page: Any) -> None:
    samples = loads.cached(loads.load_samples)
    load = load_of(*samples)
    assert len(load.slowest) == 10
    slow = load.slowest[0]
    assert slow.ttft is not None
    assert slow.max_gap is not None
    assert slow.gap_from is not None
    assert slow.gap_to is not None
    assert slow.first_at == pytest.approx(100 * slow.ttft / slow.length)
    assert slow.gap_to - slow.gap_from == pytest.approx(100 * slow.max_gap / slow.length, abs=0.1)
    assert list(slow.ticks) == ["content", "frame", "end"]
    assert [row.type for row in slow.rows if row.longest] == ["response.output_text.delta"]
    told = sum(row.skipped + row.amount for row in slow.rows) + slow.after
    assert told == slow.events
    text = words(check_page(render_html(run(*samples))))
    assert slow.summary in text


@given(
    st.lists(
        st.tuples(st.floats(-1, 20), st.floats(0, 5), st.text(max_size=80), st.integers(0, 400)),
        min_size=1,
        max_size=40,
    )
)
def test_timelines_hold_whatever_the_events_are(events: list[tuple[float, float, str, int]]) -> None:
    lines = [(begin, begin + length, kind, amount, 0) for begin, length, kind, amount in events]
    stream = StreamSample(
        t=0.0, outcome=RequestOutcome.OK, worker=0, slot=0, duration=3.0, times={"ttft": 0.5}, events=lines
    )
    (slow,) = load_of(stream).slowest
    assert slow.events == sum(amount for begin, _, _, amount in events if begin >= 0)
    assert sum(row.skipped + row.amount for row in slow.rows) + slow.after == slow.events
    for ticks in slow.ticks.values():
        places = [int(place) for place in re.findall(r"M(\d+) ", ticks)]
        assert places == sorted(set(places))
        assert all(0 <= place <= 250 for place in places)


def test_events_are_told_apart() -> None:
    assert lane_of("response.output_text.delta") == "content"
    assert lane_of("response.completed") == lane_of("error") == "end"
    assert lane_of("response.output_item.added") == "frame"


def test_what_stands_out_is_said(loads: ModuleType, examples: ModuleType, check_page: Any) -> None:
    def mixed_up(sent: Any) -> Any:
        if sent.outcome is RequestOutcome.OK and sent.slot % 2:
            sent = replace(sent, outcome=RequestOutcome.UNJUDGED)
        return replace(sent, foreign=sent.slot in (3, 5, 7))

    samples = loads.load_samples(change=mixed_up)
    share = totals(samples).unjudged_bound
    text = words(check_page(render_html(run(*samples))))
    for expected in (
        "Cross-talk: 3 answers show the token of another request. The endpoint mixes answers up.",
        f"Going by those that were judged, at most {100 * share:.1f} % of the others break one (99 %).",
        "Stalls: ",
        "First token, client − server",
        "tool call",
    ):
        assert expected in text, expected
    quiet = words(check_page(render_html(examples.healthy_load())))
    assert "No cross-talk" in quiet
    assert "Every request ended well" in quiet


def test_nothing_answered_is_a_page_too(examples: ModuleType, check_page: Any) -> None:
    text = words(check_page(render_html(examples.nothing_answered())))
    assert "1 objective missed" in text
    assert "nothing was measured" in text
    assert "0 % of 20 requests ended well (20 transport)" in text
    assert "Latency by percentile" not in text


def test_pages_of_long_loads_stay_small(loads: ModuleType, examples: ModuleType) -> None:
    text = render_html(examples.loaded(loads.load_samples(900.0, 4.0)))
    assert len(text.encode()) < 300_000

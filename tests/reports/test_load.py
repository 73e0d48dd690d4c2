"""The load part: distributions, ledger, seconds, charts."""

from __future__ import annotations

import io
import math
import random
import re
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from rejoinder.model.runfile import Run
from rejoinder.reports import render_html, render_markdown, summarize
from rejoinder.reports._charts import gap_chart, path, percentile_chart, search_charts, stall_map, timeline_charts
from rejoinder.reports._load import read_load
from rejoinder.reports._streams import lane_of


def run(*samples: dict[str, object]) -> Run:
    return Run({}, samples=list(samples), footer={"ended_at": 1.0})


def test_percentiles_are_nearest_rank(examples: ModuleType) -> None:
    dice = random.Random(5)
    values = [dice.lognormvariate(-3, 1) for _ in range(5000)]
    load = read_load(run(examples.histogram("ttft", values)))
    assert load is not None
    distribution = load.distribution("ttft")
    assert distribution is not None
    for p in (50.0, 90.0, 99.0, 99.9):
        exact = sorted(values)[math.ceil(p / 100 * 5000 - 1e-9) - 1]
        found = distribution.percentile(p)
        assert found == pytest.approx(exact, rel=1e-3)
    assert distribution.quantile(1.0) == pytest.approx(max(values), abs=1e-6)
    assert distribution.mean == pytest.approx(sum(values) / 5000, abs=1e-6)


def test_percentiles_need_enough_values(examples: ModuleType) -> None:
    load = read_load(run(examples.histogram("ttft", [0.1] * 99), examples.histogram("e2e", [1.0] * 1000)))
    assert load is not None
    few, many = load.distributions
    assert few.percentile(90) is not None
    assert few.percentile(99) is None
    assert many.percentile(99.9) is not None


def test_the_ledger_must_add_up() -> None:
    load = read_load(run({"what": "load", "started": 10, "outcomes": {"ok": 7, "timeout": 2}}))
    assert load is not None
    assert [entry.outcome for entry in load.ledger] == ["ok", "timeout"]
    assert load.warnings == ["The outcomes add up to 9, but 10 requests were started."]


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ([{"concurrency": 1}, {"concurrency": 2}], "2 in flight"),
        ([{"rate": 4.0, "met": True}, {"rate": 8.0, "met": False}], "8 requests/s"),
        ([{"of": "endpoint", "repeat": 0}, {"of": "against", "repeat": 0, "figures": {"ttft:p50": 0.1}}], "the other"),
    ],
)
def test_the_steps_of_a_search_that_was_cut_short_are_shown(steps: list[dict[str, Any]], told: str) -> None:
    common = {"what": "step", "started": 5, "outcomes": {"ok": 4, "timeout": 1}, "ok_per_s": 2.0, "verdict": "VALID"}
    found = run(*({**common, **step} for step in steps))
    load = read_load(found)
    assert load is not None
    assert (load.started, load.ok, load.whole) == (10, 8, False)
    screen, markdown = io.StringIO(), render_markdown(found)
    Console(file=screen, width=200).print(summarize(found))
    assert told in screen.getvalue()
    assert markdown.count("| VALID |") == len(steps)
    if load.search:
        assert "cut short after 2 steps" in load.search.sentence
        assert load.search.sentence in screen.getvalue()


def test_a_run_that_died_is_counted_from_its_requests() -> None:
    load = read_load(run({"what": "request", "outcome": "ok"}, {"what": "request", "outcome": "truncated"}))
    assert load is not None
    assert (load.started, load.ok, load.bad) == (2, 1, 1)
    assert "ended early" in load.warnings[0]


def test_only_the_load_line_decides_on_validity(examples: ModuleType) -> None:
    load = read_load(Run({}, samples=examples.load_samples(verdict="SUSPECT", reasons=["a", "b"])))
    assert load is not None
    assert (load.verdict, load.reasons) == ("SUSPECT", ["a", "b"])
    assert load.rate == pytest.approx(28.375)
    assert len(load.slowest) == 10
    assert load.slowest[0].e2e == max(r["e2e"] for r in examples.load_samples() if r["what"] == "request")


def test_long_runs_are_drawn_with_fewer_points() -> None:
    seconds = [{"what": "second", "t": t, "started": 2, "in_flight": t % 7, "ttft_p99": 0.1} for t in range(3601)]
    load = read_load(run(*seconds))
    assert load is not None
    assert load.step == 21
    assert len(load.seconds) <= 180
    assert load.seconds[0].started == 2
    charts = timeline_charts(load)
    assert all(len(curve.path) < 20_000 for chart in charts for curve in chart.curves)


def test_charts_of_nothing_are_left_out() -> None:
    load = read_load(run({"what": "load", "started": 0, "outcomes": {}}))
    assert load is not None
    assert percentile_chart(load) is None
    assert gap_chart(load) is None
    assert timeline_charts(load) == []


def test_charts_say_what_they_show(examples: ModuleType) -> None:
    load = read_load(Run({}, samples=examples.load_samples()))
    assert load is not None
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


def test_objectives_say_by_how_much_and_how_sure(examples: ModuleType) -> None:
    load = read_load(
        run({"what": "load", "started": 1200, "outcomes": {"ok": 1200}, "slos": examples.objectives(1094, 1200)})
    )
    assert load is not None
    found = {o.text: (o.severity, o.word, o.value, o.margin, o.n, o.bound) for o in load.objectives}
    assert found == {
        "ttft:p50<60ms": ("pass", "met", "56.4 ms", "6 % to spare", "1,200", "≤ 58.2 ms"),
        "ttft:p99<300ms": ("fail", "missed", "820 ms", "173 % over", "1,200", "≤ 880 ms"),
        "e2e:p99.9<9s": ("warn", "met, not certain", "4.10 s", "54 % to spare", "1,200", "needs n 6,636"),
        "goodput>=85%": ("warn", "met, not certain", "91.2 %", "7 % to spare", "1,200", "≥ 84.0 %"),
        "output_tokens>500/s": ("pass", "met", "1,180/s", "136 % to spare", "1,200", "–"),
        "ttft<300ms": ("info", "each request", "900 ms", "", "1,200", "–"),
        "tpot:p50<1s": ("fail", "missed", "–", "", "0", "needs n 7"),
    }
    assert [o.text for o in load.missed] == ["ttft:p99<300ms", "tpot:p50<1s"]
    # The limit stands in the middle of the bar.
    assert [o.at for o in load.objectives[:2]] == [pytest.approx(47), 100]


def test_an_objective_of_a_share_decides_how_many_may_end_badly(examples: ModuleType) -> None:
    bad = {"what": "load", "started": 100, "outcomes": {"ok": 98, "http_5xx": 2}}
    slo = {
        "text": "error<5%",
        "metric": "error",
        "statistic": "share",
        "limit": 0.05,
        "n": 100,
        "value": 0.02,
        "met": True,
    }
    alone, allowed = read_load(run(bad)), read_load(run({**bad, "slos": [slo]}))
    assert alone is not None
    assert allowed is not None
    assert (alone.bad, alone.intolerable) == (2, 2)
    assert (allowed.bad, allowed.intolerable) == (2, 0)
    assert "Not every request ended well" in render_html(run(bad))
    assert "Enough requests ended well" in render_html(run({**bad, "slos": [slo]}))
    missed = {**slo, "value": 0.2, "met": False}
    assert "1 objective missed" in render_html(run({**bad, "slos": [missed]}))


def test_percentiles_carry_their_bounds(examples: ModuleType, check_page: Any) -> None:
    load = read_load(Run({}, samples=examples.load_samples()))
    assert load is not None
    ttft = load.distribution("ttft")
    assert ttft is not None
    assert ttft.bounds[99.0].value is not None
    assert ttft.bounds[99.9].needs == 6636
    text = words(check_page(render_html(Run({}, samples=examples.load_samples()))))
    assert "needs 6,636" in text


def test_a_sweep_shows_its_knee(examples: ModuleType, check_page: Any) -> None:
    sweep = examples.sweep()
    load = read_load(sweep)
    assert load is not None
    assert load.search is not None
    first, second = search_charts(load.search)
    assert [mark.label for mark in first.marks] == ["knee at 32"]
    assert [point.shape for point in first.points].count("ring") == 1
    assert len(second.points) == 27
    for chart in (first, second):
        assert all(-0.5 <= place <= 100.5 for point in chart.points for place in (point.x, point.y))
    assert first.table is not None
    assert [row[0] for row in first.table.rows][4:7] == ["16", "32 (knee)", "64"]
    text = words(check_page(render_html(sweep)))
    assert "The knee is at 32 requests in flight: 1,797 tok/s with a first token p99 of 380 ms." in text
    assert "the generator was the limit, so the endpoint may bear more" in text
    assert "There is no knee" in words(check_page(render_html(examples.sweep(5, None))))


@pytest.mark.parametrize(
    ("highest", "told"),
    [
        (22.4, "The highest rate that kept the objectives is 22.4 requests per second."),
        (None, "No rate that was tried kept the objectives, not even 4 requests per second."),
    ],
)
def test_a_search_shows_what_was_kept(highest: float | None, told: str, examples: ModuleType, check_page: Any) -> None:
    found = examples.rate_search(highest)
    load = read_load(found)
    assert load is not None
    (chart,) = search_charts(load.search)
    shapes = [point.shape for point in chart.points]
    assert (shapes.count("dot"), shapes.count("cross")) == ((6, 10) if highest else (0, 16))
    text = words(check_page(render_html(found)))
    assert told in text
    assert "missed: ttft:p99<300ms" in text


def test_changes_are_shown_with_every_repeat(examples: ModuleType, check_page: Any) -> None:
    gated = examples.gated()
    load = read_load(gated)
    assert load is not None
    assert load.repeats is not None
    assert len(load.repeats.rows) == 10
    dots = load.repeats.dots["ttft:p99<+10%"]
    assert (len(dots.ours), len(dots.others)) == (5, 5)
    assert min(dots.ours) > max(dots.others)
    assert all(0 <= place <= 100 for place in (*dots.ours, *dots.others, dots.before, dots.limit))
    assert [o.text for o in load.missed if o.of_change] == ["ttft:p99<+10%"]
    text = words(check_page(render_html(gated)))
    for expected in ("+30.0 %", "200 ms to 260 ms", "p = 0.004", "5 and 5", "cannot tell", "this endpoint"):
        assert expected in text, expected


def test_the_stall_map_has_every_gap_where_it_ended(examples: ModuleType) -> None:
    load = read_load(
        run(
            {"what": "second", "t": 0, "gaps": {"5": 90, "10": 10}},
            {"what": "second", "t": 1, "gaps": {"5": 80}},
            {"what": "second", "t": 2, "gaps": {"5": 70, "2000": 1}},
        )
    )
    assert load is not None
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
    gaps = {str(figure * 10**power): 7**power for power in range(5) for figure in (1, 2, 5)}
    load = read_load(run(*({"what": "second", "t": t, "gaps": gaps} for t in range(7200))))
    assert load is not None
    found = stall_map(load)
    assert found is not None
    assert len(found.table.rows) <= 100
    assert sum(len(path) for path, _ in found.shades) < 40_000


def test_timelines_mark_first_token_and_longest_silence(examples: ModuleType, check_page: Any) -> None:
    load = read_load(Run({}, samples=examples.load_samples()))
    assert load is not None
    assert len(load.slowest) == 10
    slow = load.slowest[0]
    assert slow.first_at == pytest.approx(100 * slow.ttft / slow.length)
    assert slow.gap_to - slow.gap_from == pytest.approx(100 * slow.max_gap / slow.length, abs=0.1)
    assert list(slow.ticks) == ["content", "frame", "end"]
    assert [row.type for row in slow.rows if row.longest] == ["response.output_text.delta"]
    told = sum(row.skipped + row.amount for row in slow.rows) + slow.after
    assert told == slow.events
    text = words(check_page(render_html(Run({}, samples=examples.load_samples()))))
    assert slow.summary in text


@given(
    st.lists(
        st.tuples(st.floats(-1, 20), st.floats(0, 5), st.text(max_size=80), st.integers(-2, 400)),
        min_size=1,
        max_size=40,
    )
)
def test_timelines_hold_whatever_the_events_are(events: list[tuple[float, float, str, int]]) -> None:
    lines = [[begin, begin + length, kind, amount, 0] for begin, length, kind, amount in events]
    load = read_load(run({"what": "stream", "outcome": "ok", "duration": 3.0, "ttft": 0.5, "events": lines}))
    assert load is not None
    (slow,) = load.slowest
    assert slow.events == sum(amount for begin, _, _, amount in events if amount > 0 and begin >= 0)
    assert sum(row.skipped + row.amount for row in slow.rows) + slow.after == slow.events
    for ticks in slow.ticks.values():
        places = [int(place) for place in re.findall(r"M(\d+) ", ticks)]
        assert places == sorted(set(places))
        assert all(0 <= place <= 250 for place in places)


def test_events_are_told_apart() -> None:
    assert lane_of("response.output_text.delta") == "content"
    assert lane_of("response.completed") == lane_of("error") == "end"
    assert lane_of("response.output_item.added") == "frame"


def test_what_stands_out_is_said(examples: ModuleType, check_page: Any) -> None:
    mixed = examples.load_samples(cross_talk=3, judged=600, unjudged_bound=0.031)
    text = words(check_page(render_html(Run({}, samples=mixed))))
    for expected in (
        "Cross-talk: 3 answers show the token of another request. The endpoint mixes answers up.",
        "Going by those that were judged, at most 3.1 % of the others break one (99 %).",
        "Stalls: ",
        "First token, client − server",
        "+38.4 ms",
        "tool call",
    ):
        assert expected in text, expected
    quiet = words(check_page(render_html(examples.healthy_load())))
    assert "No cross-talk" in quiet
    assert "Every request ended well" in quiet


def test_nothing_answered_is_a_page_too(examples: ModuleType, check_page: Any) -> None:
    text = words(check_page(render_html(examples.nothing_answered())))
    assert "Not every request ended well" in text
    assert "nothing was measured" in text
    assert "Latency by percentile" not in text


def test_pages_of_long_loads_stay_small(examples: ModuleType) -> None:
    text = render_html(
        Run(examples.header(plan=None), samples=examples.load_samples(900, 4.0), footer=examples.footer())
    )
    assert len(text.encode()) < 300_000

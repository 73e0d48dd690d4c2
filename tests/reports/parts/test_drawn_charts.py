"""Every chart of a page, read back from what is drawn, against runs whose figures are worked out by hand."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rejoinder.load.measure.stats import GAP_BOUNDS
from rejoinder.model.exchange import Chunk, Exchange, Outcome, Request
from rejoinder.model.footer import Acceptance, CoverageResult
from rejoinder.model.histogram import Histogram
from rejoinder.model.outcomes import RequestOutcome
from rejoinder.model.samples import (
    ChangeResult,
    HistogramSample,
    Repeat,
    SearchResult,
    SearchStep,
    SecondSample,
    Side,
    SloResult,
    StreamSample,
    Validity,
)
from rejoinder.model.verdict import Problem
from rejoinder.reports import render_comparison, render_html
from rejoinder.reports.parts.stalls import GAP_STEPS

Axis = Callable[[float], float]


def values_of(points: Sequence[tuple[float, float]], x: Axis, y: Axis) -> list[tuple[float, float]]:
    """Return what positions say."""
    return [(x(across), y(down)) for across, down in points]


def near(series: Sequence[tuple[float, float]], x: float, y: float) -> list[Any]:
    """Return a series to compare with what was read, to ``x`` and ``y`` of each axis."""
    return [(pytest.approx(across, abs=x), pytest.approx(up, abs=y)) for across, up in series]


def read(chart: Any, drawn: ModuleType, time: Axis) -> dict[str, list[list[tuple[float, float]]]]:
    """Return the pieces of the series of a strip by their names, as values."""
    up = drawn.linear(chart.y, zero=100.0)
    names = chart.legend or dict.fromkeys(chart.curves, chart.title)
    return {
        names[style]: [[(t - 0.5, value) for t, value in values_of(piece, time, up)] for piece in found]
        for style, found in chart.curves.items()
    }


def sent_by_hand(loads: ModuleType) -> list[Any]:
    """Return five requests of an open loop of 4 s."""
    return [
        loads.Sent(0.1, 0.2, [0.3], tokens=2),  # content at 0.3 and 0.6
        loads.Sent(0.2, 0.5, [1.0], tokens=4),  # content at 0.7 and 1.7
        loads.Sent(1.3, outcome=RequestOutcome.HTTP_429, status=429, tail=0.1),
        loads.Sent(2.5, 0.1, [0.1, 0.1], tokens=3),  # content at 2.6, 2.7 and 2.8
        loads.Sent(2.9, outcome=RequestOutcome.TIMEOUT, status=None, tail=1.5),  # ends at 4.4
    ]


def test_the_strips_show_each_second(loads: ModuleType, run_of: Any, drawn: ModuleType) -> None:
    charts = drawn.charts(render_html(run_of(*loads.recorded(sent_by_hand(loads), duration=4.0))))
    requests, flying, tokens, ttft = charts[:4]
    time = drawn.linear(ttft.x)
    assert time(0) == pytest.approx(0, abs=0.01)
    assert time(100) == pytest.approx(5, abs=0.01)

    def strip(chart: Any, axis: float, **series: Sequence[Sequence[tuple[float, float]]]) -> None:
        assert read(chart, drawn, time) == {
            name: [near(piece, 0.01, axis / 900) for piece in found] for name, found in series.items()
        }

    strip(
        requests,
        2,
        started=[list(enumerate([2, 1, 2, 0, 0]))],
        finished=[list(enumerate([1, 2, 1, 0, 1]))],
        failed=[list(enumerate([0, 1, 0, 0, 1]))],
    )
    strip(flying, 1, **{flying.title: [list(enumerate([1, 0, 1, 1, 0]))]})
    strip(tokens, 4, **{tokens.title: [list(enumerate([4, 2, 3, 0, 0]))]})
    # Of two values the first is the median and the second the p99; in second 1 no first token came.
    strip(ttft, 0.5, p50=[[(0, 0.2)], [(2, 0.1)]], p99=[[(0, 0.5)], [(2, 0.1)]])
    # Rates are computed from the second end, after the p95 of the durations, to the last end before 4 s.
    assert [time(mark.at) for mark in ttft.marks] == [pytest.approx(1.4, abs=0.01), pytest.approx(2.8, abs=0.01)]
    # What failed is an area, and lines of the grid stand at the labels.
    page = render_html(run_of(*loads.recorded(sent_by_hand(loads), duration=4.0)))
    assert page.count('class="fail area"') == 1
    for chart in charts[:3]:
        assert [float(y) for y in re.findall(r"M0 ([\d.]+)h1000", chart.grid)] == [
            pytest.approx(label.at, abs=0.06) for label in chart.y
        ]


def test_a_point_of_several_seconds_is_their_mean_their_worst_or_their_sum(run_of: Any, drawn: ModuleType) -> None:
    """Of 181 s two make a point."""
    seconds = [
        SecondSample(
            t=t,
            started=t % 4,
            finished=1,
            failed=t % 2,
            in_flight=t,
            output_tokens=10.0 * (t % 2),
            ttft_p50=0.1 * (1 + t % 2),
            ttft_p99=0.5 + 0.1 * (t % 2),
            server={"running": float(t % 2), "preemptions": 1.0, "cache_use": 0.25 + 0.5 * (t % 2)},
        )
        for t in range(181)
    ]
    requests, flying, tokens, ttft, server, shares = drawn.charts(render_html(run_of(*seconds)))
    time = drawn.linear(shares.x)
    # The last point has only one second.
    whole = range(0, 180, 2)

    def value(chart: Any, name: str) -> list[tuple[float, float]]:
        (piece,) = read(chart, drawn, time)[name]
        return [(t - 0.5, found) for t, found in piece]

    def pairs(last: float, *of: float) -> list[tuple[float, float]]:
        return [*((t, of[t // 2 % len(of)]) for t in whole), (180, last)]

    assert value(requests, "started") == near(pairs(0.0, 0.5, 2.5), 0.2, 0.004)
    assert value(requests, "finished") == near(pairs(1, 1), 0.2, 0.004)
    assert value(requests, "failed") == near(pairs(0.0, 0.5), 0.2, 0.004)
    assert value(flying, flying.title) == near([*((t, t + 1) for t in whole), (180, 180)], 0.2, 0.3)
    assert value(tokens, tokens.title) == near(pairs(0, 5), 0.2, 0.006)
    # The median of two medians is the upper one; of the p99 the worst counts.
    assert value(ttft, "p50") == near(pairs(0.1, 0.2), 0.2, 0.001)
    assert value(ttft, "p99") == near(pairs(0.5, 0.6), 0.2, 0.001)
    running, preemptions = list(server.legend.values())
    assert value(server, running) == near(pairs(0, 0.5), 0.2, 0.003)
    assert value(server, preemptions) == near(pairs(1, 2), 0.2, 0.003)
    # Shares are drawn on an axis up to 1, whatever the largest is.
    assert value(shares, shares.title) == near(pairs(25, 50), 0.2, 0.2)
    assert drawn.linear(shares.y, zero=100.0)(0) == pytest.approx(100)


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value of the nearest rank."""
    return sorted(values)[max(1, math.ceil(round(share * len(values), 6))) - 1]


def test_percentiles_stand_at_their_share(loads: ModuleType, run_of: Any, drawn: ModuleType) -> None:
    values = {
        "ttft": [0.001 * 1.01**k for k in range(600)],  # 1 to 388 ms
        "itl": [0.0002 * (1 + k % 100) for k in range(5000)],  # 0.2 to 20 ms
        "e2e": [3.0 + 0.02 * k for k in range(40)],  # 3 to 3.8 s
    }
    run = run_of(*(loads.histogram(metric, found) for metric, found in values.items()))
    chart = drawn.charts(render_html(run))[0]
    share, seconds = drawn.nines(chart.x), drawn.logarithmic(chart.y)
    # 5,000 values fill three nines.
    assert [label.text for label in chart.x] == ["p50", "p90", "p99", "p99.9"]
    assert share(100) == pytest.approx(99.9)
    styles = {found[0]: style for style, (found,) in chart.curves.items()}
    assert len(styles) == 3
    # Styles stand in the order of the table of metrics, as in the legend.
    for style, metric in zip("abc", ("ttft", "itl", "e2e"), strict=True):
        (line,) = chart.curves[style]
        assert len(line) == 121
        for across, up in values_of(line, share, seconds):
            # The place of a point is known to a twentieth of a percent of the plot.
            low, high = (
                quantile(values[metric], min(1.0, max(0.0, 1 - (1 - across / 100) * 10**error)))
                for error in (0.002, -0.002)
            )
            assert low * 0.993 <= up <= high * 1.007
        # A curve ends where its values do: at 600 that is before three nines.
        assert share(line[-1][0]) == pytest.approx(100 - 100 / min(1000, len(values[metric])), abs=0.02)
        assert seconds(line[0][1]) == pytest.approx(min(values[metric]), rel=0.005)


def test_bars_of_gaps_have_their_share_of_the_gaps(loads: ModuleType, run_of: Any, drawn: ModuleType) -> None:
    # From 10 ms to 1.5 s: 600, 300, 99 and 1 of 1,000.
    amounts = {0.0105: 600, 0.0505: 300, 0.2505: 99, 1.505: 1}
    values = [value for value, amount in amounts.items() for _ in range(amount)]
    charts = drawn.charts(render_html(run_of(loads.histogram("itl", values))))
    (chart,) = [chart for chart in charts if chart.bars]
    seconds = drawn.logarithmic(chart.x)
    share = drawn.linear(chart.y, zero=100.0)
    found = [(seconds(left), seconds(right), share(100 - height)) for left, right, height in chart.bars]
    assert len(found) == 4
    for (low, high, of_all), (value, amount) in zip(found, amounts.items(), strict=True):
        # A bar is as wide as its bin but for a gap of 8 % on each side.
        step = (high / low) ** (0.08 / 0.84)
        assert low / step * 0.999 <= value <= high * step * 1.001
        # The least height that can be seen is 1.2 % of the highest bar.
        assert of_all == pytest.approx(max(100 * amount / 1000, 0.012 * 60), abs=0.1)
    # The bins are equal on the scale and fill it: 60 from the p0.1 to the longest.
    widths = [math.log(high / low) / 0.84 for low, high, _ in found]
    assert widths == pytest.approx([math.log(1.505 / 0.0105) / 60] * 4, rel=0.04)
    marks = [(mark.text.split()[0], seconds(mark.at)) for mark in chart.marks]
    assert marks == [("p50", pytest.approx(0.0105, rel=0.01)), ("p99", pytest.approx(0.2505, rel=0.01))]


@settings(max_examples=25)
@given(values=st.lists(st.floats(1e-4, 20), min_size=2, max_size=60), times=st.integers(1, 40))
def test_all_gaps_are_in_a_bar(values: list[float], times: int, run_of: Any, drawn: ModuleType) -> None:
    made = Histogram()
    for value in values * times:
        made.add(value)
    charts = drawn.charts(render_html(run_of(HistogramSample(metric="itl", values=made, unit="us"))))
    (chart,) = [chart for chart in charts if chart.bars]
    highest = max(height for _, _, height in chart.bars)
    assert highest == pytest.approx(84, abs=0.06)
    assert all(0 <= left < right <= 100.01 for left, right, _ in chart.bars)
    # The label of the axis has two digits, a coordinate one decimal. Bars under the least height are drawn higher.
    top = drawn.value_of(chart.y[0].text)
    seen = sum(height / 84 * top for _, _, height in chart.bars)
    rounding = 0.06 / 84 * top * len(chart.bars)
    assert 94 - rounding <= seen <= 106 + rounding + 0.012 * top * len(chart.bars)


def cells(page: str, drawn: ModuleType) -> tuple[list[tuple[float, float, float, int, int]], Any]:
    """Return the cells of the map of gaps: begin, end, least length, and the least and most gaps by the legend."""
    (figure,) = re.findall(r'<figure class="chart heat">.*?</figure>', page, re.DOTALL)
    legend = re.findall(r'class="h(\d)"/></svg>(?:up to )?([\d,]+) gaps?</span>', figure)
    most = {shade: int(amount.replace(",", "")) for shade, amount in legend}
    least, before = {}, 0
    for shade, amount in sorted(most.items()):
        least[shade], before = before + 1, amount
    (tall,) = re.findall(r'viewBox="0 0 1000 (\d+)"', figure)
    plot, axis = figure.split('class="xaxis"')
    x = [drawn.Label(float(at), text) for at, text in re.findall(r'x="([\d.]+)%" y="12"[^>]*>([^<]*)<', axis)]
    y = [(float(at), text) for at, text in re.findall(r'y="([\d.]+)%" dy="4"[^>]*>([^<]*)<', plot)]
    time = drawn.linear(x)
    found = []
    for path, shade in re.findall(r'<path d="([^"]*)" class="h(\d)"', figure):
        for left, row, width, back in re.findall(r"M([\d.]+) (\d+)h([\d.]+)v1H([\d.]+)z", path):
            assert left == back
            # A label stands at the lower edge of its row.
            edge = 100 * (int(row) + 1) / int(tall)
            (label,) = [text for at, text in y if at == pytest.approx(edge, abs=0.01)] or [""]
            begin, end = time(float(left) / 10), time((float(left) + float(width)) / 10)
            found.append((begin, end, drawn.value_of(label) if label else math.nan, least[shade], most[shade]))
    return sorted(found), y


def test_the_map_has_each_gap_in_its_cell(run_of: Any, drawn: ModuleType) -> None:
    gaps = [{5: 32, 10: 8}, {5: 2}, {}, {5: 16, 10: 4, 20: 1}]
    seconds = [
        SecondSample(t=t, started=1, finished=1, failed=0, in_flight=0, output_tokens=1.0, gaps=found)
        for t, found in enumerate(gaps)
    ]
    found, labels = cells(render_html(run_of(*seconds)), drawn)
    expected = [(t, t + 1, bound / 1000, amount) for t, row in enumerate(gaps) for bound, amount in row.items()]
    assert len(found) == len(expected) == 6
    for (begin, end, length, least, most), (t, until, bound, amount) in zip(found, expected, strict=True):
        assert (begin, end) == (pytest.approx(t, abs=0.01), pytest.approx(until, abs=0.01))
        assert length == pytest.approx(bound)
        # The colour says between which numbers the cell has.
        assert least <= amount <= most
    assert [text for _, text in labels] == ["5 ms", "10 ms", "20 ms"]
    assert [at for at, _ in labels] == sorted((at for at, _ in labels), reverse=True)


@settings(max_examples=40)
@given(
    first=st.dictionaries(st.sampled_from([0, 1, 2, 5, 10, 100, 1000]), st.integers(1, 100_000), min_size=1),
    second=st.dictionaries(st.sampled_from([0, 1, 2, 5, 10, 100, 1000]), st.integers(1, 300), min_size=1),
)
def test_colours_mean_what_the_legend_says(
    first: dict[int, int], second: dict[int, int], run_of: Any, drawn: ModuleType
) -> None:
    seconds = [
        SecondSample(t=t, started=1, finished=1, failed=0, in_flight=0, output_tokens=1.0, gaps=found)
        for t, found in enumerate((first, second))
    ]
    found, _ = cells(render_html(run_of(*seconds)), drawn)
    expected = [(t, amount) for t, gaps in enumerate((first, second)) for _, amount in sorted(gaps.items())]
    assert len(found) == len(expected)
    for t in (0, 1):
        mine = [(least, most) for begin, _, _, least, most in found if round(begin) == t]
        amounts = sorted(amount for at, amount in expected if at == t)
        for (least, most), amount in zip(sorted(mine), amounts, strict=True):
            assert least <= amount <= most


def sweep(*steps: tuple[int, float, dict[str, float]], knee: int | None) -> SearchResult:
    """Return a sweep of steps: requests in flight, output tokens a second, times."""
    found = [
        SearchStep(
            concurrency=level, started=100, outcomes={RequestOutcome.OK: 100}, verdict=Validity.VALID,
            ok_per_s=tokens / 10, output_tokens_per_s=tokens, good=100, latencies=times, slos=[], met=None,
        )
        for level, tokens, times in steps
    ]  # fmt: skip
    return SearchResult(kind="sweep", steps=found, best=max(tokens for _, tokens, _ in steps), knee=knee)


def search_run(search: SearchResult, loads: ModuleType, run_of: Any) -> Any:
    """Return a run whose totals have a search."""
    *_, load = loads.recorded([loads.Sent(0.1, 0.1, tokens=1)], duration=1.0)
    load.search = search
    return run_of(load)


SWEEP = [
    (1, 50.0, {"ttft_p50": 0.02, "ttft_p99": 0.03, "e2e_p50": 0.5}),
    (4, 190.0, {"ttft_p50": 0.025, "e2e_p50": 0.6}),  # too few requests for a p99
    (16, 430.0, {"ttft_p50": 0.05, "ttft_p99": 0.2, "e2e_p50": 0.9}),
    (64, 460.0, {"ttft_p50": 0.3, "ttft_p99": 1.4, "e2e_p50": 3.0}),
]


def test_a_sweep_is_drawn_over_its_levels(loads: ModuleType, run_of: Any, drawn: ModuleType) -> None:
    first, second = drawn.charts(render_html(search_run(sweep(*SWEEP, knee=16), loads, run_of)))
    level, tokens = drawn.logarithmic(first.x), drawn.linear(first.y, zero=100.0)
    brought = [(level_, tokens_) for level_, tokens_, _ in SWEEP]
    (line,) = first.curves["a"]
    assert values_of(line, level, tokens) == [
        (pytest.approx(x, rel=0.01), pytest.approx(y, abs=0.6)) for x, y in brought
    ]
    assert values_of([(sign.x, sign.y) for sign in first.signs], level, tokens) == [
        (pytest.approx(x, rel=0.01), pytest.approx(y, abs=0.3)) for x, y in brought
    ]
    assert [sign.shape for sign in first.signs] == ["dot", "dot", "ring", "dot"]
    assert {sign.style for sign in first.signs} == {"a"}
    assert [level(mark.at) for mark in first.marks] == [pytest.approx(16, rel=0.01)]

    reached, seconds = drawn.linear(second.x, zero=0.0), drawn.logarithmic(second.y)
    for style, figure in (("b", "ttft_p99"), ("a", "ttft_p50"), ("c", "e2e_p50")):
        expected = [(tokens_, times[figure]) for _, tokens_, times in SWEEP if figure in times]
        near_ = [(pytest.approx(x, abs=0.6), pytest.approx(y, rel=0.006)) for x, y in expected]
        (line,) = second.curves[style]
        assert values_of(line, reached, seconds) == near_
        signs = [sign for sign in second.signs if sign.style == style]
        assert values_of([(sign.x, sign.y) for sign in signs], reached, seconds) == near_
        assert [sign.shape for sign in signs] == ["ring" if x == 430 else "dot" for x, _ in expected]
        # The steps are named along the uppermost curve.
        assert [sign.label for sign in signs] == (["1", "16", "64"] if figure == "ttft_p99" else [""] * 4)
    assert [reached(mark.at) for mark in second.marks] == [pytest.approx(430, abs=0.6)]


def rates(*steps: tuple[float, bool, dict[str, float]], highest: float | None) -> SearchResult:
    """Return a search for the highest rate: rate, whether the limits were kept, times."""
    found = [
        SearchStep(
            rate=rate, started=100, outcomes={RequestOutcome.OK: 100}, verdict=Validity.VALID, ok_per_s=rate,
            output_tokens_per_s=0.0, good=100, latencies=times, slos=[], met=met,
        )
        for rate, met, times in steps
    ]  # fmt: skip
    return SearchResult(kind="rate", steps=found, range=(1.0, 64.0), highest=highest)


@pytest.mark.parametrize("figure", ["ttft_p99", "ttft_p50"])
def test_a_search_for_a_rate_is_drawn_over_the_rates(
    figure: str, loads: ModuleType, run_of: Any, drawn: ModuleType
) -> None:
    steps = [(1.0, True, 0.02), (64.0, False, 2.0), (8.0, True, 0.05), (22.6, False, 0.4)]
    search = rates(*((rate, met, {figure: time}) for rate, met, time in steps), highest=8.0)
    (chart,) = drawn.charts(render_html(search_run(search, loads, run_of)))
    rate, seconds = drawn.logarithmic(chart.x), drawn.logarithmic(chart.y)
    found = [(rate(sign.x), seconds(sign.y), sign.shape, sign.style) for sign in chart.signs]
    assert found == [
        (pytest.approx(x, rel=0.01), pytest.approx(y, rel=0.01), *(("dot", "pass") if met else ("cross", "fail")))
        for x, met, y in sorted(steps)
    ]
    assert [(rate(mark.at), mark.text.split()[-1]) for mark in chart.marks] == [(pytest.approx(8, rel=0.01), "8")]
    assert figure.removeprefix("ttft_") in chart.title


def repeat(of: Side, value: float | None) -> Repeat:
    figures = {} if value is None else {"ttft:p99": value}
    return Repeat(of=of, repeat=0, started=1, outcomes={}, verdict=Validity.VALID, figures=figures)


@pytest.mark.parametrize(
    ("ours", "others", "before", "limit"),
    [
        ([0.13, 0.14, 0.12], [0.1, 0.11, 0.09], 0.1, 0.2),
        ([1.3, 1.35], [1.0, None], 1.0, -0.05),
        ([0.5, 0.5], [0.5, 0.5], 0.5, 0.0),
    ],
)
def test_dots_stand_at_the_figures_of_the_repeats(
    ours: list[float], others: list[float | None], before: float, limit: float, loads: ModuleType, run_of: Any
) -> None:
    *_, load = loads.recorded([loads.Sent(0.1, 0.1, tokens=1)], duration=1.0)
    load.repeats = [repeat("endpoint", value) for value in ours] + [repeat("against", value) for value in others]
    load.changes = [
        ChangeResult(
            text="ttft:p99<+1%", figure="ttft:p99", limit=limit, n=(3, 3), verdict="kept", met=True,
            before=before, after=0.2, change=0.1, p=0.1, p_limit=0.1,
        )
    ]  # fmt: skip
    (gauge,) = re.findall(r'<svg class="gauge dots pass".*?</svg>', render_html(run_of(load)), re.DOTALL)
    mine, theirs = (
        [float(x) for x in re.findall(rf'class="{side}" cx="([\d.]+)%"', gauge)] for side in ("ours", "other")
    )
    (mean,), (edge,) = (
        [float(x) for x in re.findall(rf'class="{line}" x1="([\d.]+)%"', gauge)] for line in ("bound", "limit")
    )
    places = dict(zip([*ours, *(value for value in others if value is not None)], [*mine, *theirs], strict=True))
    places |= {before: mean, before * (1 + limit): edge}
    assert (len(mine), len(theirs)) == (len(ours), sum(value is not None for value in others))
    # One scale for all, with a margin of 6 % at both ends.
    low, high = min(places), max(places)
    if low == high:
        assert set(places.values()) == {50.0}
        return
    assert (places[low], places[high]) == (6.0, 94.0)
    for value, place in places.items():
        assert place == pytest.approx(6 + 88 * (value - low) / (high - low), abs=0.06)


@pytest.mark.parametrize(
    ("value", "limit", "bound", "width", "bound_at"),
    [
        (0.15, 0.3, 0.24, 25.0, 40.0),
        (0.3, 0.3, 0.3, 50.0, 50.0),
        (0.45, 0.3, None, 75.0, None),
        (9.0, 0.3, 12.0, 100.0, 100.0),  # ends at twice the limit
        (0.0, 0.3, 0.06, 0.0, 10.0),
    ],
)
def test_a_gauge_has_the_limit_in_its_middle(
    value: float,
    limit: float,
    bound: float | None,
    width: float,
    bound_at: float | None,
    loads: ModuleType,
    run_of: Any,
) -> None:
    *_, load = loads.recorded([loads.Sent(0.1, 0.1, tokens=1)], duration=1.0)
    load.slos = [
        SloResult(
            text="ttft:p99<300ms", metric="ttft", statistic="p99", limit=limit, n=100, value=value,
            met=value <= limit, bound=bound, certified=False,
        )
    ]  # fmt: skip
    (gauge,) = re.findall(r'<svg class="gauge .*?</svg>', render_html(run_of(load)), re.DOTALL)
    assert re.findall(r'class="value"[^>]* width="([\d.]+)%"', gauge) == [str(width)]
    assert re.findall(r'class="bound" x1="([\d.]+)%"', gauge) == ([] if bound_at is None else [str(bound_at)])
    assert re.findall(r'class="limit" x1="([\d.]+)%"', gauge) == ["50"]


def test_the_bar_of_an_outcome_is_its_share(loads: ModuleType, run_of: Any) -> None:
    outcomes = [RequestOutcome.OK] * 13 + [RequestOutcome.HTTP_429] * 6 + [RequestOutcome.TIMEOUT]
    requests = [loads.Sent(0.1 * number, outcome=outcome) for number, outcome in enumerate(outcomes)]
    page = render_html(run_of(*loads.recorded(requests)))
    ledger = page[page.index('<table class="ledger">') :].partition("</table>")[0]
    rows = re.findall(r"<code>(\w+)</code>.*?<rect class=\"(\w+)\" x=\"0.00%\" width=\"([\d.]+)%\"", ledger, re.DOTALL)
    assert rows == [("ok", "pass", "65.00"), ("http_429", "fail", "30.00"), ("timeout", "fail", "5.00")]


def test_the_bar_of_a_family_is_parted_by_its_verdicts(checked: Any) -> None:
    page = render_html(checked)
    bars = {
        name: re.findall(r'<rect class="(\w+)" x="([\d.]+)%" width="([\d.]+)%"', bar)
        for name, bar in re.findall(
            r'<code>(\w+)</code>\s*<span class="name">.*?(<svg class="bar".*?</svg>)', page, re.DOTALL
        )
    }
    # EVT has one rule that failed and one that passed; of the three of LIF one is an error.
    assert {(kind, x, width) for kind, x, width in bars["EVT"]} == {
        ("fail", "0.00", "50.00"),
        ("pass", "50.00", "50.00"),
    }
    assert bars["SSE"] == [("warn", "0.00", "100.00")]
    widths = {kind: float(width) for kind, _, width in bars["LIF"]}
    assert sorted(widths.values()) == [33.33, 66.67]
    assert widths["error"] == 33.33
    assert [float(x) for _, x, _ in bars["LIF"]] == [0.0, pytest.approx(float(bars["LIF"][0][2]))]


def test_a_bar_of_a_comparison_is_the_share_of_the_largest(loads: ModuleType, run_of: Any) -> None:
    runs = []
    for number in (4, 10, 8):
        requests = [loads.Sent(0.3 + 0.7 * k, 0.1 * number, tokens=4) for k in range(number)]
        runs.append(run_of(*loads.recorded(requests, duration=10.0)))
    page = render_comparison(runs)
    bars = {
        name.strip(): [float(width) for width in re.findall(r'class="info" width="([\d.]+)%"', row)]
        for name, row in re.findall(r"<tr>\s*<th scope=\"row\">([^<]*)(.*?)</tr>", page, re.DOTALL)
    }
    ttft = next(widths for name, widths in bars.items() if name == "TTFT p50")
    assert ttft == pytest.approx([40, 100, 80], abs=0.1)


def test_a_slow_stream_is_drawn_event_by_event(loads: ModuleType, run_of: Any) -> None:
    events = [
        (0.1, 0.1, "response.created", 1, 0),
        (0.5, 0.5, "response.output_text.delta", 1, 90),
        (1.0, 1.4, "response.output_text.delta", 3, 180),
        (3.4, 3.4, "response.output_text.delta", 1, 270),
        (4.0, 4.0, "response.completed", 1, 360),
    ]
    stream = StreamSample(
        t=0.0, outcome=RequestOutcome.OK, worker=0, slot=0, duration=4.0, times={"ttft": 0.5}, events=events
    )
    page = render_html(run_of(stream))
    (lane,) = re.findall(r'<svg class="lane" role="img".*?</svg>\s*<details', page, re.DOTALL)
    (width,) = map(int, re.findall(r'viewBox="0 0 (\d+) 40"', lane))
    times = {
        sort: [float(x) / width * 4.0 for x in re.findall(r"M(\d+) ", path)]
        for sort, path in re.findall(r'<path class="(\w+)" d="(M\d+ [^"]*)"', lane)
    }
    assert times == {
        "content": pytest.approx([0.5, 1.0, 1.2, 1.4, 3.4], abs=0.009),
        "frame": pytest.approx([0.1], abs=0.009),
        "end": pytest.approx([4.0], abs=0.009),
    }
    assert re.findall(r'<svg x="([\d.]+)%" class="at">', lane) == ["12.50"]
    # The longest silence is from 1.4 s to 3.4 s.
    assert re.findall(r'class="silence" x="([\d.]+)%"\s+width="([\d.]+)%"', lane) == [("35.00", "50.00")]


def test_a_part_of_the_contract_is_as_large_as_it_has_branches(checked: Any) -> None:
    accepted = [f"{part}={number}" for part, amount in (("a", 12), ("b", 6), ("c", 1)) for number in range(amount)]
    branches = {Acceptance.ACCEPTED: accepted, Acceptance.SERVER_ERROR: ["b=x", "b=y"], Acceptance.NOT_SENT: ["d=1"]}
    counts = {state: len(names) for state, names in branches.items()}
    checked.footer.coverage = CoverageResult(total=sum(counts.values()), counts=counts, branches=branches)
    page = render_html(checked)
    (area,) = re.findall(r'<svg class="map".*?</section>', page, re.DOTALL)
    tiles = {}
    for title, x, y, width, height, inside in re.findall(
        r'<title>(\w+).*?</title>\s*<svg x="([\d.]+)%" y="([\d.]+)%" width="([\d.]+)%" height="([\d.]+)%">(.*?)</svg>',
        area,
        re.DOTALL,
    ):
        states = re.findall(r'<rect class="(\w+)"(?: x="([\d.]+)%")? width="([\d.]+)%"', inside)
        tiles[title] = (float(x), float(y), float(width), float(height), states)
    sizes = {name: width * height / 10_000 for name, (_, _, width, height, _) in tiles.items()}
    assert sizes == {name: pytest.approx(n / 22, abs=0.001) for name, n in (("a", 12), ("b", 8), ("c", 1), ("d", 1))}
    # They fill the whole map and do not overlap.
    places = list(tiles.values())
    for number, (x, y, width, height, _) in enumerate(places):
        assert 0 <= x <= x + width <= 100.02
        assert 0 <= y <= y + height <= 100.02
        for other_x, other_y, other_width, other_height, _ in places[:number]:
            wide = min(x + width, other_x + other_width) - max(x, other_x)
            tall = min(y + height, other_y + other_height) - max(y, other_y)
            assert min(wide, tall) < 0.02
    # A tile is parted by the states of its branches, the accepted ones first.
    shown = {name: [(state, float(x or 0), float(width)) for state, x, width in tiles[name][4]] for name in tiles}
    assert shown["b"] == [("accepted", 0, 75), ("server_error", 75, 25)]
    assert (shown["a"], shown["d"]) == ([("accepted", 0, 100)], [("not_sent", 0, 100)])


def test_events_of_a_finding_are_drawn_when_they_came(checked: Any) -> None:
    lines = [b'data: {"type":"response.created"}\n\n', b'data: {"type":"a"}\n\n', b'data: {"type":"b"}\n\n']
    chunks = tuple(Chunk(at, line) for at, line in zip((0.5, 1.25, 4.0), lines, strict=True))
    request = Request("POST", "/v1/responses", (), b'{"input":"Hi","stream":true}')
    headers = (("content-type", "text/event-stream"),)
    checked.exchanges[0] = Exchange(
        "x1", request, Outcome.COMPLETE, 200, headers, chunks, "case-1", role="stream", ended_at=5.0
    )
    checked.verdicts[1].findings[0].evidence = Problem("Wrong.", "/type", event=1, exchange="x1")
    page = render_html(checked)
    plot = re.findall(r'<svg class="ticks".*?</svg>\s*(?:<line.*?)?</svg>', page, re.DOTALL)[0]
    # The end of the response, 5 s, is the right side.
    assert [float(x) for x in re.findall(r"M([\d.]+) 10v14", plot)] == [10.0, 25.0, 80.0]
    assert re.findall(r'<line x1="([\d.]+)%" x2="[\d.]+%" y1="4"', plot) == ["25.00"]


def test_the_bands_of_the_gaps_are_those_of_the_run_file() -> None:
    assert [round(1000 * step) for step in GAP_STEPS] == [0, *GAP_BOUNDS]

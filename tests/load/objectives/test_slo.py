"""Objectives: what can be asked for, and what a run is said to have reached."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rejoinder.errors import UsageError
from rejoinder.load.objectives.check_sample import Voided
from rejoinder.load.objectives.confidence import lower_bound, upper_bound, values_above, values_needed
from rejoinder.load.objectives.slo import RequestLimits, describe, evaluate, missed, parse_slo, parse_slos
from rejoinder.model.histogram import Histogram
from rejoinder.model.outcomes import RequestOutcome
from rejoinder.model.samples import Rates, SloResult


def histogram(values: list[float]) -> Histogram:
    made = Histogram()
    for value in values:
        made.add(value)
    return made


def counts(**found: int) -> dict[RequestOutcome, int]:
    return {RequestOutcome(name): count for name, count in found.items()}


def rates(**found: float) -> Rates:
    return Rates(**{name: found.get(name, 0.0) for name in Rates.__struct_fields__})


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("ttft:p99<300ms", ("ttft", "p99", "<", 0.3)),
        (" TTFT : p99.9 <= 1.5s ", ("ttft", "p99.9", "<=", 1.5)),
        ("gap:mean<900us", ("itl", "mean", "<", 0.0009)),
        ("e2e:median<2min", ("e2e", "p50", "<", 120.0)),
        ("max_gap:max<1s", ("max_gap", "max", "<", 1.0)),
        ("tpot<30ms", ("tpot", "", "<", 0.03)),
        ("goodput>=0.95", ("goodput", "share", ">=", 0.95)),
        ("attainment>=95%", ("goodput", "share", ">=", 0.95)),
        ("goodput>10/s", ("goodput", "rate", ">", 10)),
        ("error<0.1%", ("error", "share", "<", 0.001)),
        ("http_429<=1%", ("http_429", "share", "<=", 0.01)),
        ("tokens>1e3/s", ("output_tokens", "rate", ">", 1000)),
        ("output_tokens_per_user:p1>20/s", ("output_tokens_per_user", "p1", ">", 20)),
        ("tokens_per_user:min>=5", ("output_tokens_per_user", "min", ">=", 5)),
        ("tokens_per_user>20/s", ("output_tokens_per_user", "", ">", 20)),
    ],
)
def test_what_can_be_asked_for(text: str, parts: tuple[Any, ...]) -> None:
    slo = parse_slo(text)
    assert (slo.metric, slo.statistic, slo.relation) == parts[:3]
    assert slo.limit == pytest.approx(parts[3])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not an SLO"),
        ("ttft", "is not an SLO"),
        ("ttft:p99=300ms", "is not an SLO"),
        ("tokens_per_user:p99>20/s", "limits the fastest 1 % of the requests only"),
        ("tokens_per_user:p1<20/s", "is an upper limit for a speed"),
        ("tokens_per_user:p1>20ms", 'has the unit "ms"'),
        ("tokens_per_user:max>20/s", 'unknown statistic: "max"'),
        ("tftt:p99<300ms", '"tftt". Did you mean ttft'),
        ("beauty>3", '"beauty". Latencies: '),
        ("ttft:p99<300", "no unit"),
        ("ttft:p99<3%", "not a unit of time"),
        ("ttft:p99>300ms", "lower limit for a latency"),
        ("ttft:p0<3ms", "p99.9"),
        ("ttft:p100<3ms", "p99.9"),
        ("ttft:p9.9.9<3ms", "p99.9"),
        ("ttft:best<3ms", "p99.9"),
        ("sched_lag<3ms", "needs a percentile"),
        ("goodput:p99>0.9", "is a single number"),
        ("goodput>95", "share above 1"),
        ("error<3ms", "is a share"),
        ("requests>3%", "per second"),
        ("ttft:p99<1e999ms", "no finite limit"),
    ],
)
def test_what_cannot_be_asked_for_is_a_clear_error(text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_slo(text)
    assert words in str(caught.value)


def test_a_limit_for_each_request_alone_decides_nothing() -> None:
    with pytest.raises(UsageError, match="ttft:p99<300ms"):
        parse_slos(["ttft<300ms"])
    assert len(parse_slos(["ttft<300ms", "goodput>=95%"])) == 2


REACHED: dict[str, Any] = {
    "histograms": {"ttft_ok": histogram([0.1] * 95 + [0.5] * 5)},
    "outcomes": counts(ok=100, failed=5, censored=5, cancelled=10),
    "good": 95,
    "rates": rates(ok_per_s=10.0, ok_output_tokens_per_s=640.0, good_per_s=9.5),
}


@pytest.mark.parametrize(
    ("text", "value", "met", "n"),
    [
        ("ttft:p90<200ms", 0.1, True, 100),
        ("ttft:p99<200ms", 0.5, False, 100),
        ("ttft:mean<130ms", 0.12, True, 100),
        ("ttft:max<=500ms", 0.5, True, 100),
        ("tpot:p50<1s", None, False, 0),
        ("goodput>=86%", 95 / 110, True, 110),
        ("goodput>=9.5/s", 9.5, True, 95),
        ("error<5%", 10 / 110, False, 110),
        ("censored<5%", 5 / 110, True, 110),
        ("failed<4%", 5 / 110, False, 110),
        ("timeout<1%", 0.0, True, 110),
        ("requests>=11/s", 10.0, False, 100),
        ("tokens>600/s", 640.0, True, 100),
    ],
)
def test_what_was_reached(text: str, value: float | None, met: bool, n: int) -> None:
    (result,) = evaluate(parse_slos([text]), **REACHED)
    assert result.value == (None if value is None else pytest.approx(value))
    assert (result.met, result.n) == (met, n)
    assert missed([result]) == ([] if met else [text])
    assert text in describe(result)


def test_a_percentile_says_whether_it_is_certain() -> None:
    p90, p99, p50 = evaluate(parse_slos(["ttft:p90<200ms", "ttft:p99<600ms", "ttft:p50<200ms"]), **REACHED)
    assert (p90.met, p90.certified, p90.bound) == (True, False, 0.5)
    assert (p99.met, p99.certified, p99.needs) == (True, False, 662)
    assert (p50.met, p50.certified, p50.bound) == (True, True, pytest.approx(0.1, rel=1e-3))
    assert "99 % confidence bound 500 ms misses the limit" in describe(p90)
    assert "met: 500 ms (100 samples; 662 needed for 99 % confidence)" in describe(p99)


def hung(short: int, hung: int, wait: float) -> dict[str, Any]:
    """Return a run in which some requests took 200 ms and others were cut off."""
    found = histogram([0.2] * short)
    for _ in range(hung):
        found.add(wait, at_least=True)
    return REACHED | {"histograms": {"e2e_ok": found}, "outcomes": counts(ok=short, timeout=hung), "good": short}


@pytest.mark.parametrize(
    ("text", "at_least", "met", "line"),
    [
        ("e2e:p50<300ms", False, True, "met: 200 ms (50 samples; 12 without an end)"),
        ("e2e:p90<3s", True, False, "missed: at least 4.10 s (50 samples; 12 without an end)"),
        ("e2e:p90<5s", True, False, "cannot be known: 12 of 50 requests have no end (at least 4.10 s)"),
        ("e2e:max<4.1s", True, False, "missed: at least 4.10 s (50 samples; 12 without an end)"),
        ("e2e:max<=4.1s", True, False, "cannot be known: 12 of 50 requests have no end (at least 4.10 s)"),
        ("e2e:mean<1s", True, False, "missed: at least 1.14 s (50 samples; 12 without an end)"),
        ("e2e:mean<2s", True, False, "cannot be known: 12 of 50 requests have no end (at least 1.14 s)"),
        ("e2e:max<60s", True, False, "cannot be known: 12 of 50 requests have no end (at least 4.10 s)"),
    ],
)
def test_requests_without_an_end_never_meet_a_limit(text: str, at_least: bool, met: bool, line: str) -> None:
    (result,) = evaluate(parse_slos([text]), **hung(38, 12, 4.1))
    assert (result.at_least, result.met, result.n, result.unended) == (at_least, met, 50, 12)
    assert missed([result]) == ([] if met else [text])
    assert describe(result) == f"{text}: {line}"


def test_a_few_resets_leave_a_percentile_between_two_bounds() -> None:
    """Of 100 requests 5 were reset at once: the p90 lies between the 85th and the 90th of the others."""
    found = histogram([0.1 + 0.001 * number for number in range(95)])
    for _ in range(5):
        found.add(0.0, at_least=True)
    given = REACHED | {"histograms": {"e2e_ok": found}, "outcomes": counts(ok=95, transport=5), "good": 95}
    met, open_, missed_ = evaluate(parse_slos(["e2e:p90<190ms", "e2e:p90<187ms", "e2e:p90<184ms"]), **given)
    assert (met.met, met.value, met.highest) == (True, pytest.approx(0.184, rel=1e-3), pytest.approx(0.189, rel=1e-3))
    assert describe(met).startswith("e2e:p90<190ms: met: 184 ms to 189 ms (100 samples; 5 without an end")
    assert (open_.met, open_.unknown) == (False, True)
    assert (missed_.met, missed_.unknown) == (False, False)


def test_a_bound_among_requests_without_an_end_certifies_nothing() -> None:
    (p50,) = evaluate(parse_slos(["e2e:p50<300ms"]), **hung(560, 540, 4.1))
    assert (p50.met, p50.bound, p50.needs, p50.certified) == (True, None, None, False)
    assert "no 99 % confidence bound" in describe(p50)


def test_an_early_end_of_the_run_is_not_the_fault_of_the_endpoint() -> None:
    texts = ["error<5%", "goodput>=90%", "censored<1%"]
    whole = evaluate(parse_slos(texts), **REACHED)
    cut = evaluate(parse_slos(texts), **REACHED, ended_early=True)
    assert [(slo.n, slo.met) for slo in whole] == [(110, False), (110, False), (110, False)]
    assert [(slo.n, slo.met) for slo in cut] == [(105, True), (105, True), (105, True)]
    assert [slo.value for slo in cut] == [pytest.approx(5 / 105), pytest.approx(95 / 105), 0]


def test_cancelled_requests_are_a_share_of_all() -> None:
    """Other shares leave them out."""
    outcomes = counts(ok=2, cancelled=8)
    slos = parse_slos(["cancelled<90%", "ok>=90%", "error<1%"])
    found = evaluate(slos, histograms={}, outcomes=outcomes, good=2, rates=rates())
    assert [(result.value, result.n) for result in found] == [(0.8, 10), (1.0, 2), (0.0, 2)]


def test_goodput_names_the_limits_that_it_counts_by() -> None:
    (_, goodput) = evaluate(parse_slos(["e2e:p50<1ms", "goodput>=95%"]), **(REACHED | {"good": 0}))
    assert goodput.limits == ["e2e<1ms"]
    assert describe(goodput) == "goodput>=95%: missed: 0 % (110 requests; limits for each request: e2e<1ms)"


def test_a_share_says_whether_it_is_certain() -> None:
    high, low, none, few = evaluate(parse_slos(["goodput>=80%", "goodput>=70%", "timeout<1%", "timeout<5%"]), **REACHED)
    # The limits of Clopper and Pearson: of 110, 95 bear 77.0 % and 0 bear 4.1 %.
    assert (high.met, high.certified, high.bound) == (True, False, pytest.approx(0.770, abs=1e-3))
    assert (low.met, low.certified) == (True, True)
    assert (none.met, none.certified, none.bound) == (True, False, pytest.approx(1 - 0.01 ** (1 / 110)))
    assert (few.met, few.certified) == (True, True)
    assert "99 % confidence bound 4.1 % misses the limit" in describe(none)


def test_no_requests_meet_nothing() -> None:
    results = evaluate(parse_slos(["goodput>=0%", "ttft:p50<1s"]), histograms={}, outcomes={}, good=0, rates=rates())
    assert [result.met for result in results] == [False, False]


@pytest.mark.parametrize(
    ("slos", "outcome", "times", "keeps"),
    [
        ([], "ok", {}, True),
        ([], "unjudged", {}, True),
        ([], "nonconforming", {}, False),
        (["ttft<300ms"], "ok", {"ttft": 0.2}, True),
        (["ttft<300ms"], "ok", {"ttft": 0.4}, False),
        (["ttft<300ms"], "ok", {}, False),
        (["tpot<30ms"], "ok", {"ttft": 0.2}, True),
        (["ttft:p99<300ms"], "ok", {"ttft": 0.4}, False),
        (["ttft:p50<100ms", "ttft:p99<300ms"], "ok", {"ttft": 0.2}, True),
        (["ttft<100ms", "ttft:p99<300ms"], "ok", {"ttft": 0.2}, False),
        (["ttft:mean<100ms"], "ok", {"ttft": 0.2}, True),
        (["ttft_intended<300ms"], "ok", {"ttft": 0.2, "ttft_intended": 0.4}, False),
        (["itl:p99<50ms"], "ok", {"max_gap": 0.06}, False),
        (["ttft<300ms", "tpot<30ms"], "ok", {"ttft": 0.2, "tpot": 0.04}, False),
    ],
)
def test_goodput_counts_requests_that_keep_everything(
    slos: list[str], outcome: str, times: dict[str, float], keeps: bool
) -> None:
    limits = RequestLimits([parse_slo(text) for text in slos])
    assert limits.keeps(RequestOutcome(outcome), times) is keeps


def test_a_limit_on_first_tokens_does_not_void_a_response_that_is_no_stream() -> None:
    limits = RequestLimits(parse_slos(["ttft<300ms", "e2e<1s", "goodput>=1%"]))
    assert not limits.keeps(RequestOutcome.OK, {"e2e": 0.5})
    assert limits.keeps(RequestOutcome.OK, {"e2e": 0.5}, streamed=False)
    assert not limits.keeps(RequestOutcome.OK, {"e2e": 1.5}, streamed=False)


def test_a_speed_is_limited_from_below() -> None:
    values = [float(speed) for speed in range(1, 1001)]
    slos = parse_slos(["tokens_per_user:p1>9/s", "tokens_per_user:p1>10.5/s", "tokens_per_user:min>=1/s"])
    histograms = {"output_tokens_per_user_ok": histogram(values), "output_tokens_per_user": histogram([0.5])}
    found = evaluate(slos, histograms=histograms, outcomes=counts(ok=1000), good=1000, rates=rates())
    assert [result.value for result in found] == [pytest.approx(10, rel=1e-3), pytest.approx(10, rel=1e-3), 1]
    assert [result.met for result in found] == [True, False, True]
    # With 99 %, the true p1 of 1,000 values is not below the second smallest.
    assert found[0].bound == pytest.approx(values_above(1000, 99), rel=1e-3)
    assert (found[0].certified, found[0].needs) == (False, None)
    assert describe(found[0]).startswith("tokens_per_user:p1>9/s: met: 10.0/s (1,000 samples; 99 % confidence bound")
    few = evaluate(
        slos[:1], histograms={"output_tokens_per_user_ok": histogram(values[:100])}, outcomes={}, good=0, rates=rates()
    )
    assert few[0].needs == values_needed(99)


def test_a_speed_is_a_limit_for_each_request_too() -> None:
    limits = RequestLimits(parse_slos(["tokens_per_user>20/s", "goodput>=1%"]))
    assert limits.texts == ["output_tokens_per_user>20/s"]
    assert [limits.keeps(RequestOutcome.OK, {"output_tokens_per_user": speed}) for speed in (19, 21)] == [False, True]
    widest = RequestLimits(parse_slos(["tokens_per_user:p1>20/s", "tokens_per_user:p10>30/s", "goodput>=1%"]))
    assert widest.texts == ["output_tokens_per_user>20/s"]


def test_an_slo_without_a_value_says_what_was_missing() -> None:
    texts = ["tpot:p99<30ms", "ttft:p99<1s", "sched_lag:p99<1s", "requests>=1/s", "uncached_input_tokens>1/s"]
    found = evaluate(parse_slos(texts), histograms={}, outcomes=counts(ok=3), good=3, rates=Rates())
    assert [describe(result) for result in found] == [
        "tpot:p99<30ms: missed (no response had content in two reads and more than one token)",
        "ttft:p99<1s: missed (no response was a stream with content)",
        "sched_lag:p99<1s: missed (no samples)",
        "requests>=1/s: missed (too few requests ended)",
        "uncached_input_tokens>1/s: missed (no usage has cached_tokens, or too few requests ended)",
    ]
    assert not any(result.met for result in found)


@pytest.mark.parametrize(
    ("metric", "statistic", "limit", "value", "text"),
    [
        ("ttft", "p99", 0.3, 0.412, "412 ms"),
        ("ttft", "p99", 0.3, 0.30004, "300.04 ms"),
        ("ttft", "p99", 0.3, 0.3, "300 ms"),
        ("error", "share", 0.01, 0.0104, "1.04 %"),
        ("error", "share", 0.01, 0.02, "2.0 %"),
        ("requests", "rate", 35.0, 35.0049, "35.0049/s"),
        ("output_tokens_per_user", "p1", 9.0, 10.0, "10.0/s"),
    ],
)
def test_a_value_beyond_its_limit_does_not_look_like_the_limit(
    metric: str, statistic: str, limit: float, value: float, text: str
) -> None:
    result = SloResult(text="slo", metric=metric, statistic=statistic, limit=limit, n=700, value=value, met=False)
    assert result.text_of(value) == text
    assert f": missed: {text} (" in describe(result)


def test_the_bound_allows_for_responses_that_were_not_checked() -> None:
    """Of 1,000 values at most 50 are of responses that a rule voids. The worst is that they are the fastest."""
    values = [number / 1000 for number in range(1, 1001)]
    slos = parse_slos(["ttft:p90<950ms", "ttft:max<2s", "itl:p90<950ms"])
    histograms = {"ttft_ok": histogram(values), "itl_ok": histogram(values)}
    outcomes = counts(ok=200, unjudged=800)
    unsure = Voided(800, 20.0, 50)
    found = evaluate(slos, histograms=histograms, outcomes=outcomes, good=1000, rates=rates(), voided=unsure)
    assert [result.value for result in found] == [pytest.approx(0.9, rel=1e-3), 1.0, pytest.approx(0.9, rel=1e-3)]
    assert found[0].bound == upper_bound(histogram(values[50:]), 90)
    assert found[0].bound != upper_bound(histogram(values), 90)
    assert "estimate: 800 not checked against all rules, at most 6.2 % of them break a rule" in describe(found[0])
    # A gap is not tied to a request, so nothing bounds how many of them must not count.
    assert (found[2].bound, found[2].certified) == (None, False)


def test_where_the_sample_shows_no_success_a_latency_has_no_value() -> None:
    histograms = {"ttft_ok": histogram([0.01] * 700)}
    for unsure in (Voided(700, 700.0, 700), Voided(700, None, 700)):
        outcomes = counts(nonconforming=284, unjudged=700)
        (found,) = evaluate(
            parse_slos(["ttft:p50<300ms"]),
            histograms=histograms,
            outcomes=outcomes,
            good=700,
            rates=rates(),
            voided=unsure,
        )
        assert (found.value, found.met) == (None, False)
        assert describe(found) == ("ttft:p50<300ms: cannot be known (700 responses were not checked against all rules)")


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.integers(1, 1000), min_size=70, max_size=300),
    st.integers(0, 20),
    st.sampled_from([50, 90]),
    st.randoms(use_true_random=False),
)
def test_no_choice_of_the_values_that_must_not_count_breaks_the_bound(
    values: list[int], strangers: int, percent: float, chance: random.Random
) -> None:
    whole = histogram([value / 1000 for value in values])
    kept = histogram([value / 1000 for value in chance.sample(values, len(values) - strangers)])
    highest, lowest = upper_bound(whole, percent, strangers), lower_bound(whole, 50, strangers)
    within = upper_bound(kept, percent)
    assert (highest is None) == (within is None)
    # To the width of a bucket.
    assert highest is None or within is None or highest >= 0.999 * within
    above = lower_bound(kept, 50)
    assert lowest is not None
    assert above is not None
    assert lowest <= 1.001 * above

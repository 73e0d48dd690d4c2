"""Conditions that end a run early: what they read, when they hold, and what is beyond rescue."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rejoinder.errors import UsageError
from rejoinder.load.objectives.abort import LEAST, abort_reason, parse_abort
from rejoinder.load.objectives.slo import evaluate, parse_slos
from rejoinder.load.settings import LoadSettings
from rejoinder.model.histogram import Histogram
from rejoinder.model.outcomes import RequestOutcome
from rejoinder.model.samples import Rates

OK, FAILED = RequestOutcome.OK, RequestOutcome.HTTP_5XX
NO_RATES = Rates(**dict.fromkeys(Rates.__struct_fields__, 0.0))


def histogram(values: Sequence[float]) -> Histogram:
    found = Histogram()
    for value in values:
        found.add(value)
    return found


def reason(
    text: str, ok: int, failed: int, times: Sequence[float] = (), slos: Sequence[str] = (), planned: float = 0
) -> str:
    return abort_reason(
        [parse_abort(text)],
        parse_slos(slos),
        histograms={"ttft_ok": histogram(times)},
        outcomes={OK: ok, FAILED: failed},
        good=ok,
        planned=planned,
    )


@pytest.mark.parametrize(
    ("text", "ok", "failed", "times", "ends"),
    [
        ("error>50%", 20, 20, (), False),
        ("error>50%", 20, 21, (), True),
        ("error>=50%", 20, 20, (), True),
        ("error>50%", 0, LEAST - 1, (), False),
        ("error > 50 %".replace(" %", "%"), 0, LEAST, (), True),
        ("goodput<90%", 30, 3, (), False),
        ("goodput<90%", 30, 5, (), True),
        ("http_5xx>10%", 30, 5, (), True),
        ("ttft:p90>1s", 30, 0, [0.5] * 30, False),
        ("ttft:p90>1s", 30, 0, [0.5] * 20 + [2.0] * 10, True),
        ("ttft:max>1s", 30, 0, [0.5] * 29 + [2.0], True),
        ("ttft:p90>1s", 0, 30, (), False),
    ],
)
def test_a_condition_on_a_figure(text: str, ok: int, failed: int, times: Sequence[float], ends: bool) -> None:
    found = reason(text, ok, failed, times)
    assert bool(found) == ends
    if ends:
        assert found.startswith(f"--abort-on {text} ended the run: ")
        assert f"after {ok + failed} requests." in found


def test_a_lower_bound_ends_a_run_only_where_it_proves_the_condition() -> None:
    times = histogram([0.05] * 97)
    for _ in range(3):
        times.add(0.01, at_least=True)
    outcomes = {OK: 97, RequestOutcome.TRANSPORT: 3}

    def found(text: str) -> str:
        histograms = {"ttft_ok": times}
        return abort_reason([parse_abort(text)], (), histograms=histograms, outcomes=outcomes, good=97, planned=0)

    assert [found(text) for text in ("ttft:p99>5s", "ttft:mean>5s", "ttft:max>5s")] == ["", "", ""]
    for _ in range(3):
        times.add(6.0, at_least=True)
    assert found("ttft:p99>5s") == "--abort-on ttft:p99>5s ended the run: at least 6.00 s after 100 requests."


def test_a_speed_is_shown_in_its_own_unit() -> None:
    found = abort_reason(
        [parse_abort("output_tokens_per_user:p1<20/s")],
        (),
        histograms={"output_tokens_per_user_ok": histogram([10.0] * 50)},
        outcomes={OK: 50},
        good=50,
        planned=0,
    )
    assert found == "--abort-on output_tokens_per_user:p1<20/s ended the run: 10.0/s after 50 requests."


@pytest.mark.parametrize(
    ("slo", "failed", "slow", "lost"),
    [
        ("error<=1%", 10, 0, ""),
        ("error<=1%", 11, 0, "11 requests failed, 10 may"),
        ("goodput>=95%", 50, 0, ""),
        ("goodput>=95%", 51, 0, "51 requests are not good, 50 may"),
        ("http_5xx<1%", 11, 0, "11 requests are http_5xx, 10 may"),
        ("ttft:p99<300ms", 0, 10, ""),
        ("ttft:p99<300ms", 0, 11, "11 requests took longer, 10 may"),
        ("ttft:max<300ms", 0, 1, "the maximum is 900 ms"),
        ("ttft:mean<300ms", 0, 90, ""),
        ("requests>5/s", 0, 90, ""),
    ],
)
def test_an_slo_is_lost_when_the_rest_cannot_save_it(slo: str, failed: int, slow: int, lost: str) -> None:
    """Of 1,000 planned requests 100 have ended."""
    times = [0.1] * (100 - failed - slow) + [0.9] * slow
    found = reason("slo", 100 - failed, failed, times, [slo], planned=1000)
    assert found == (f"The run cannot meet {slo}: {lost}." if lost else "")


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 200), st.sampled_from(["error<=5%", "ttft:p90<300ms"]))
def test_a_lost_slo_is_missed_by_every_end_of_the_run(failed: int, slow: int, rest: int, slo: str) -> None:
    times = [0.1] * 20 + [0.9] * slow
    if not reason("slo", 20 + slow, failed, times, [slo], planned=20 + slow + failed + rest):
        return
    outcomes = {OK: 20 + slow + rest, FAILED: failed}
    histograms = {"ttft_ok": histogram([*times, *[0.1] * rest])}
    (result,) = evaluate(parse_slos([slo]), histograms=histograms, outcomes=outcomes, good=outcomes[OK], rates=NO_RATES)
    assert result.met is False


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not a condition"),
        ("error", "is not a condition"),
        ("eror>50%", "unknown metric"),
        ("error>200%", "share above 100 %"),
        ("ttft>1s", "is about single requests"),
        ("requests<1/s", "is about a rate"),
        ("ttft:p99>5", "has no unit"),
    ],
)
def test_what_is_no_condition_is_a_clear_error(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_abort(text)


def test_the_condition_slo_needs_an_slo() -> None:
    with pytest.raises(UsageError, match="--abort-on slo needs --slo"):
        parse_abort("slo", has_slos=False)
    assert parse_abort(" slo ").kept is None


def test_the_condition_queue_needs_a_rate() -> None:
    with pytest.raises(UsageError, match="--abort-on queue needs --rate"):
        parse_abort("queue", has_rate=False)
    with pytest.raises(UsageError, match="--abort-on queue needs --rate"):
        LoadSettings(url="http://h", concurrency=1, abort_on=("queue",)).check()
    LoadSettings(url="http://h", rate=1.0, abort_on=("queue",)).check()


@pytest.mark.parametrize(("growth", "reason"), [(None, ""), (28.94, "The queue grew by 28.9 requests/s.")])
def test_a_queue_that_surely_grows_ends_a_run(growth: float | None, reason: str) -> None:
    conditions = [parse_abort("error>50%"), parse_abort("queue")]
    found = abort_reason(conditions, (), histograms={}, outcomes={}, good=0, planned=100, growth=growth)
    assert found == reason

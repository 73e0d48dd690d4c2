"""Pacing: on a clock that only sleeping moves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rejoinder.model.exchange import Exchange, Outcome, Request
from rejoinder.wire.pacing import LONGEST_WAIT, Pacer, retry_after


class Clock:
    """A clock that goes on by what is slept."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


def starts(rate: float | None, number: int, act: Callable[[Pacer, int, float], None] | None = None) -> list[float]:
    """Return when so many requests start; ``act`` gets the pacer, the number of a request and its start after each."""
    clock = Clock()
    pacer = Pacer(rate, clock=clock, sleep=clock.sleep)

    async def main() -> list[float]:
        found = []
        for index in range(number):
            found.append(await pacer.wait() - 100)
            if act is not None:
                act(pacer, index, found[-1] + 100)
        return found

    return [round(start, 6) for start in asyncio.run(main())]


def test_without_a_limit_nothing_waits() -> None:
    assert starts(None, 3) == [0, 0, 0]


@pytest.mark.parametrize("rate", [0.5, 4.0])
def test_starts_keep_the_distance_of_the_limit(rate: float) -> None:
    assert starts(rate, 4) == [0, 1 / rate, 2 / rate, 3 / rate]


def test_a_busy_endpoint_gets_its_time_and_then_fewer_requests() -> None:
    def act(pacer: Pacer, index: int, started: float) -> None:
        if index == 0:
            pacer.busy(started, 7.0)

    assert starts(None, 3, act) == [0, 7, 7.1]
    assert starts(1.0, 3, act) == [0, 7, 9]


def test_requests_that_were_under_way_together_slow_down_once() -> None:
    clock = Clock()
    pacer = Pacer(1.0, clock=clock, sleep=clock.sleep)
    clock.now = 103
    for started in (100.0, 101.0, 102.0):
        pacer.busy(started, None)
    assert pacer.gap == 2
    pacer.busy(103.0, None)
    assert pacer.gap == 4


def test_an_endpoint_that_names_short_waits_is_not_slowed_down_further() -> None:
    clock = Clock()
    pacer = Pacer(clock=clock, sleep=clock.sleep)
    for _ in range(20):
        clock.now += 1
        pacer.busy(clock.now, 0)
    assert pacer.gap == 1


def test_answers_bring_the_rate_back_and_never_above_the_limit() -> None:
    clock = Clock()
    pacer = Pacer(2.0, clock=clock, sleep=clock.sleep)
    pacer.busy(100.0, 0)
    gaps = []
    for _ in range(50):
        gaps.append(pacer.gap)
        pacer.answered()
    assert gaps == sorted(gaps, reverse=True)
    assert (gaps[0], gaps[-1]) == (1.0, 0.5)
    free = Pacer(None, clock=clock, sleep=clock.sleep)
    free.busy(100.0, 0)
    for _ in range(50):
        free.answered()
    assert free.gap == 0


def test_requests_that_go_together_take_their_share() -> None:
    clock = Clock()
    pacer = Pacer(2.0, clock=clock, sleep=clock.sleep)

    async def main() -> float:
        await pacer.wait(6)
        return await pacer.wait() - 100

    assert asyncio.run(main()) == 3


def test_retry_after_is_a_number_or_a_date() -> None:
    def asked(value: str) -> float | None:
        return retry_after(Exchange("x", Request("POST", "/"), Outcome.COMPLETE, 429, (("Retry-After", value),)))

    assert asked("7") == 7
    assert asked("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert asked("soon") is None
    assert asked("") is None
    assert asked("9" * 5000) == asked("9999999999") == LONGEST_WAIT
    assert asked("0" * 400 + "7") == 7
    assert asked("-1") is None


DATES = [
    "Fri, 31 Dec 9999 23:59:59 -2359",
    "Mon, 01 Jan 0001 00:00:00 +2359",
    "Wed, 21 Oct 99999999999999 07:28:00 GMT",
    "Wed, 21 Oct 2015 07:28:00 +99999999999999999",
    "Wed, 21 Oct 2015 07:28:00 -9959",
    "Wed, 21 Oct 2015 99:99:99 XYZ",
    "Wed, 21 Oct 2015",
    "21 Oct",
    "0 0 0 0 0",
    ", ,",
    "Wed, 31 Feb 2015 07:28:00 GMT",
]


@given(
    st.sampled_from(DATES) | st.text(max_size=40) | st.from_regex(r"[A-Z]?[a-z]{0,3},? ?[0-9]{1,9} [A-Z][a-z]{2} .*")
)
def test_no_retry_after_raises_or_lasts_for_ever(value: str) -> None:
    exchange = Exchange("x", Request("POST", "/"), Outcome.COMPLETE, 429, (("Retry-After", value),))
    wait = retry_after(exchange)
    assert wait is None or 0 <= wait < 1e12


def test_a_date_without_a_zone_is_in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        soon = datetime.now(UTC) + timedelta(seconds=100)
        text = soon.strftime("%a, %d %b %Y %H:%M:%S -0000")  # which parses as a date without a zone
        exchange = Exchange("x", Request("POST", "/"), Outcome.COMPLETE, 429, (("Retry-After", text),))
        assert 50 < (retry_after(exchange) or 0) <= 100
    finally:
        monkeypatch.undo()
        time.tzset()

"""The progress of a load: what was answered beside what was analysed, and the analysis as a step of its own."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO

from rich.console import Console

from rejoinder.cli._progress import Steps
from rejoinder.cli.load import begin_step, show_progress
from rejoinder.load.run import LoadProgress
from rejoinder.load.settings import LoadSettings


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def shown(settings: LoadSettings, *moments: LoadProgress) -> list[str]:
    """Return the plain lines of a run."""
    file, clock = StringIO(), Clock()
    console = Console(file=file, force_terminal=False, width=200, highlight=False)
    with Steps(console=console, clock=clock) as steps:
        begin_step(steps, "Loading", settings)
        for moment in moments:
            clock.now = moment.t
            show_progress(steps, settings, moment, f"{moment.in_flight:,} in flight")
    return file.getvalue().splitlines()


def at(t: float, started: int, in_flight: int, finished: int, *, ending: bool = False) -> LoadProgress:
    return LoadProgress(
        t=t, duration=20.0, started=started, finished=finished, failed=0, in_flight=in_flight, ending=ending
    )


TIMED = LoadSettings(url="http://127.0.0.1", concurrency=8, duration=20.0)


def test_what_is_done_is_what_was_answered_and_the_analysis_has_its_own_step() -> None:
    lines = shown(
        TIMED,
        at(6, 1000, 8, 990),
        at(12, 20_000, 8, 4_000),
        at(21, 28_578, 0, 7_318, ending=True),
        at(27, 28_578, 0, 17_948, ending=True),
        at(33, 28_578, 0, 28_578, ending=True),
    )
    assert lines == [
        "Loading ...",
        "  Loading: 992 requests done, 8 in flight, 0:14 left",
        "  Loading: 19,992 requests done, 4,000 analysed, 8 in flight, 0:08 left",
        "Analysing ...",
        # 10,630 in 6 s leave 6 s for the other 10,630, whatever was done before.
        "  Analysing: 17,948 of 28,578 requests, 1,772/s, 0:06 left",
        "  Analysing: 28,578 of 28,578 requests, 1,772/s",
    ]


def test_requests_that_are_awaited_are_not_yet_analysed_as_a_step() -> None:
    lines = shown(TIMED, at(22, 1000, 3, 900, ending=True))
    assert lines[1:] == ["  Loading: 997 requests done, 900 analysed, 3 in flight"]
    numbered = LoadSettings(url="http://127.0.0.1", concurrency=8, requests=2000, duration=3600.0)
    assert shown(numbered, at(10, 1000, 8, 500))[1:] == [
        "  Loading: 992 of 2,000 requests, 99/s, 500 analysed, 8 in flight, 0:10 left"
    ]


def test_a_step_of_a_search_takes_as_long_as_it_says_not_as_the_search_asks() -> None:
    file, clock = StringIO(), Clock()
    asked = replace(TIMED, duration=4.0)
    with Steps(console=Console(file=file, width=200, highlight=False), clock=clock) as steps:
        begin_step(steps, "Loading, 1 requests/s", replace(asked, duration=20.0))
        for t in (6, 12):
            clock.now = t
            show_progress(steps, asked, at(t, t, 0, t))
    assert [line.rpartition(", ")[2] for line in file.getvalue().splitlines()[1:]] == ["0:14 left", "0:08 left"]


def test_the_time_left_of_a_duration_does_not_depend_on_how_long_the_beginning_took() -> None:
    file, clock = StringIO(), Clock()
    with Steps(console=Console(file=file, force_terminal=False, width=200, highlight=False), clock=clock) as steps:
        begin_step(steps, "Loading", TIMED)
        clock.now = 6
        show_progress(steps, TIMED, at(1, 4, 0, 4))
    assert file.getvalue().splitlines()[-1] == "  Loading: 4 requests done, 0:19 left"

"""Progress: a live line on a terminal, plain lines elsewhere, colour only where it is wanted."""

from __future__ import annotations

import re
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from rejoinder.cli._progress import PLAIN_EVERY, Steps


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def shown(terminal: bool, width: int = 100, **environment: str) -> tuple[str, Console]:
    """Return what a run of 160 requests shows, 40 of them done after ten seconds."""
    file, clock = StringIO(), Clock()
    console = Console(
        file=file, force_terminal=terminal, width=width, highlight=False, _environ={"TERM": "xterm", **environment}
    )
    with Steps(console=console, clock=clock) as steps:
        steps.say("[bold]above[/bold] \u2713")
        steps.step("Asking", 160, unit="requests")
        for done in range(1, 41):
            clock.now = done / 4
            steps.update(done, "3 MUST rules broken, [red]2 without reply")
        if steps._live is not None:
            steps._live.refresh()
    return file.getvalue(), console


def test_a_terminal_gets_one_live_line() -> None:
    text, _ = shown(True)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    assert "Asking" in plain
    assert "0:30 left  40 of 160 requests, 4.0/s, 3 MUST rules broken, [red]2 without reply" in plain
    assert "\x1b[2K" in text  # it is taken away in the end


def test_a_narrow_terminal_cuts_the_note_and_keeps_the_time_left() -> None:
    text, _ = shown(True, width=60)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    assert "0:30 left  40 of" in plain
    assert all(len(line) <= 60 for line in re.split(r"[\r\n]", plain))


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_colour_where_none_is_wanted(environment: dict[str, Any]) -> None:
    text, _ = shown(True, **environment)
    assert not re.search(r"\x1b\[(?:[0-9]+;)*(?:3[0-7]|38|4[0-7]|9[0-7])[;m]", text)


def test_without_a_terminal_there_are_plain_lines_now_and_then() -> None:
    text, _ = shown(False)
    lines = text.splitlines()
    assert "\x1b" not in text
    assert lines[:2] == ["[bold]above[/bold] \u2713", "Asking ..."]
    assert len(lines) == 2 + int(10 / PLAIN_EVERY)
    assert lines[-1] == ("  Asking: 40 of 160 requests, 4.0/s, 3 MUST rules broken, [red]2 without reply, 0:30 left")


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Steps(quiet=True) as steps:
        steps.say("x")
        steps.step("Asking", 3, unit="requests")
        steps.update(1, "y")
    assert capsys.readouterr() == ("", "")

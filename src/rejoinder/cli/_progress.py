"""Progress on the terminal: a live line where there is a terminal, now and then a plain line where there is none."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Column
from rich.text import Text

from rejoinder.cli._secrets import clean
from rejoinder.cli._terminal import output
from rejoinder.formatting import encodable, one_line, terminal_text

PLAIN_EVERY: Final = 5.0
"""Seconds between plain lines."""
SETTLED: Final = 2.0
"""Seconds after which a rate, and the time left that follows from it, say something."""


class Steps:
    """Shows one step of a run at a time on standard error. ``quiet`` shows nothing.

    Use as a context manager; :meth:`step` begins a step, :meth:`update` sets how far it is. ``clock`` gives seconds.
    """

    def __init__(
        self, *, quiet: bool = False, console: Console | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console = console or Console(file=output(err=True), quiet=quiet, highlight=False)
        self._clock = clock
        self._live: Progress | None = None
        if self._console.is_terminal and not self._console.is_dumb_terminal and not quiet:
            # The time left stands before the note, which is what a narrow terminal cuts.
            self._live = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
                BarColumn(bar_width=16),
                TextColumn("{task.fields[left]}", table_column=Column(min_width=10, no_wrap=True)),
                TextColumn("{task.fields[note]}", markup=False, table_column=Column(no_wrap=True)),
                console=self._console,
                transient=True,
            )
        self._task = None if self._live is None else self._live.add_task("", visible=False, note="", left="")
        self._what = ""
        self._unit = ""
        self._total: float | None = None
        self._done = 0.0
        self._began = self._printed = 0.0

    def __enter__(self) -> Steps:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, text: str) -> None:
        """Print a line above the progress."""
        self._print(text)

    @property
    def current(self) -> str:
        """The step that was begun last."""
        return self._what

    def step(self, what: str, total: float | None = None, *, unit: str = "", done: float = 0.0) -> None:
        """Begin a step; ``total`` is the amount at which it is done, if that is known, ``done`` what is done already.

        With a ``unit``, the amount is shown beside the bar with its rate: ``12 of 160 requests, 4.1/s``. Without one it
        is in seconds.
        """
        what = one_line(clean(what))
        self._what, self._total, self._unit, self._done = what, total, unit, done
        self._began = self._printed = self._clock()
        if self._live is None:
            self._print(f"{what} ...")
        elif self._task is not None:
            self._live.reset(self._task, total=total, description=what, note="", left="", visible=True)

    def update(self, done: float, note: str = "") -> None:
        """Tell how much of the step's total is done, with a few words beside the bar."""
        now = self._clock()
        took = now - self._began
        left = ""
        if self._total is not None and self._done < done < self._total and took >= SETTLED:
            pace = took / (done - self._done) if self._unit else 1.0
            left = f"{_duration(pace * (self._total - done))} left"
        note = ", ".join(filter(None, (self._amount(done, took), one_line(clean(note)))))
        if self._live is not None and self._task is not None:
            self._live.update(self._task, completed=done, note=note, left=left)
        elif now - self._printed >= PLAIN_EVERY:
            self._printed = now
            self._print(f"  {self._what}: {', '.join(filter(None, (note, left)))}")

    def _print(self, text: str) -> None:
        """Print lines as they are: a terminal wraps them itself, which starts no line in the log of a CI job."""
        text = encodable(terminal_text(clean(text)), self._console.encoding)
        self._console.print(Text(text), soft_wrap=True)

    def _amount(self, done: float, took: float) -> str:
        if not self._unit:
            return ""
        whole = f" of {self._total:,.0f}" if self._total is not None else ""
        rate = (done - self._done) / took if took >= SETTLED else 0.0
        speed = f", {rate:.1f}/s" if 0 < rate < 10 else f", {rate:,.0f}/s" if rate else ""
        return f"{done:,.0f}{whole} {self._unit}{speed}"


def _duration(seconds: float) -> str:
    """Return a time as a clock shows it: ``0:42``, ``1:02:03``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"

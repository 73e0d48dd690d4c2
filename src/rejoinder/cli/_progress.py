"""Progress on the terminal: a live line where there is a terminal, now and then a plain line where there is none."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

PLAIN_EVERY: Final = 5.0
"""Seconds between plain lines."""


class Steps:
    """Shows one step of a run at a time on standard error. ``quiet`` shows nothing.

    Use as a context manager; :meth:`step` begins a step, :meth:`update` tells how far it is.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = Console(stderr=True, quiet=quiet, highlight=False)
        self._live: Progress | None = None
        if self._console.is_terminal and not self._console.is_dumb_terminal and not quiet:
            self._live = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TextColumn("{task.fields[note]}"),
                TimeElapsedColumn(),
                console=self._console,
                transient=True,
            )
        self._task = None if self._live is None else self._live.add_task("", visible=False, note="")
        self._what = ""
        self._told = 0.0

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
        self._console.print(text, markup=False, soft_wrap=True)

    def step(self, what: str, total: float | None = None) -> None:
        """Begin a step; ``total`` is the amount at which it is done, if that is known."""
        self._what, self._told = what, time.monotonic()
        if self._live is None:
            self._console.print(f"{what} ...", markup=False)
        elif self._task is not None:
            self._live.reset(self._task, total=total, description=what, note="", visible=True)

    def update(self, done: float, note: str = "") -> None:
        """Tell how much of the step's total is done, with a few words beside the bar."""
        if self._live is not None and self._task is not None:
            self._live.update(self._task, completed=done, note=note)
        elif time.monotonic() - self._told >= PLAIN_EVERY:
            self._told = time.monotonic()
            self._console.print(f"  {self._what}: {note}", markup=False)

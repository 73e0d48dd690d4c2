"""The closing summary of a run on a terminal: what came out, what to fix first, where the reports are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from rejoinder.formatting import encodable, one_line
from rejoinder.model.runfile import Run
from rejoinder.reports.model import ReportModel, read_report
from rejoinder.reports.parts import on_terminal
from rejoinder.reports.terminal_text import shown


@dataclass(frozen=True, slots=True)
class Summary:
    """A run in some 20 to 30 lines. Print it with a ``rich`` console, or take it as plain text from :meth:`plain`.

    Colour is the console's business: ``NO_COLOR``, dumb terminals and files get the same words without it. Where the
    output's encoding has no signs, ASCII stands in for them. Nothing from the endpoint reaches the terminal unfiltered.
    """

    report: ReportModel
    paths: Mapping[str, str]

    def lines(self, width: int = 80) -> list[Text]:
        """Return the summary as styled lines of at most ``width`` columns."""
        lines: list[Text] = []
        for part in on_terminal():
            value = self.report.get(part)
            if value is not None and part.terminal is not None:
                lines += part.terminal(value, self.report, width)
        if self.paths:
            lines.append(Text())
            wide = max(len(name) for name in self.paths)
            lines += [Text(f"  {name:<{wide}}  {path}") for name, path in self.paths.items()]
        paths = set(self.paths.values())
        # A path that is cut cannot be opened; everything else is cut rather than wrapped.
        return [shown(line, None if any(line.plain.endswith(path) for path in paths) else width) for line in lines]

    def plain(self, width: int = 80) -> str:
        """Return the summary as plain text without colour."""
        return "".join(f"{line.plain.rstrip()}\n" for line in self.lines(width))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the lines in the console's width and encoding."""
        for line in self.lines(options.max_width):
            line.plain = encodable(line.plain, options.encoding)
            line.rstrip()
            line.no_wrap = True
            line.overflow = "ignore"
            yield line


def summarize(run: Run, paths: Mapping[str, str | os.PathLike[str]] | None = None) -> Summary:
    """Return the closing summary of a run; ``paths`` names the files that were written, by what they are."""
    named = {one_line(name, 20): one_line(os.fspath(path), 1000) for name, path in (paths or {}).items()}
    return Summary(read_report(run), named)

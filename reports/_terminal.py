"""The closing summary of a run on a terminal: what came out, what to fix first, where the reports are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from rejoinder.formatting import format_count, format_percent, format_rate, format_seconds, one_line, plural
from rejoinder.model.runfile import Run
from rejoinder.reports._footer import Capabilities
from rejoinder.reports._load import Load
from rejoinder.reports._model import WORDS, Tone, View, view
from rejoinder.reports._search import Search, ended_well

_MOST_STEPS: Final = 12
_STEP_TIMES: Final = ("ttft_p99", "e2e_p50")
STYLES: Final = {
    Tone.FAIL: "red",
    Tone.KNOWN: "yellow",
    Tone.WARN: "yellow",
    Tone.ERROR: "magenta",
    Tone.INFO: "blue",
    Tone.DECLINED: "dim",
    Tone.NA: "dim",
    Tone.PASS: "green",
    Tone.NONE: "dim",
}
_SIGNS: Final = {
    Tone.FAIL: ("✗", "x"),
    Tone.KNOWN: ("=", "="),
    Tone.WARN: ("!", "!"),
    Tone.ERROR: ("?", "?"),
    Tone.INFO: ("i", "i"),
    Tone.DECLINED: ("–", "-"),
    Tone.NA: ("–", "-"),
    Tone.PASS: ("✓", "+"),
    Tone.NONE: ("–", "-"),
}
_ASCII: Final = str.maketrans({"✗": "x", "✓": "+", "–": "-", "·": "-", "×": "x", "…": "~", "µ": "u", "−": "-"})
_LOAD_METRICS: Final = (("ttft", "TTFT"), ("itl", "gap"), ("e2e", "end to end"))


@dataclass(frozen=True, slots=True)
class Summary:
    """A run in some 20 to 30 lines. Print it with a ``rich`` console, or take it as plain text from :meth:`plain`.

    Colour is the console's business: ``NO_COLOR``, dumb terminals and files get the same words without it. Where the
    output's encoding has no signs, ASCII stands in for them. Nothing from the endpoint reaches the terminal unfiltered.
    """

    view: View
    paths: Mapping[str, str]

    def lines(self, width: int = 80) -> list[Text]:
        """Return the summary as styled lines of at most ``width`` columns."""
        seen = self.view
        lines = [Text.assemble((f"{_SIGNS[seen.tone][0]} {seen.headline}", f"bold {STYLES[seen.tone]}"))]
        lines += _wrapped(seen.sentence, width)
        lines += [Text(), Text(f"  {seen.url}", "bold") if seen.url else Text("  no target")]
        skip = ("Versions", "Baseline", "Started", "Plan", "Seed", "Requests")
        facts = [f"{name.lower()} {value}" for name, value in seen.facts if name not in skip]
        lines += [Text(f"  {line}", "dim") for line in _filled(facts, " · ", width - 2)]
        if seen.counts:
            lines += [Text(), *_counts(seen, width)]
        if seen.contract:
            lines.append(Text(f"  contract  {seen.contract.brief}", "dim"))
        if seen.capabilities:
            lines += _capabilities(seen.capabilities)
        worst = seen.worst(3)
        if worst:
            lines.append(Text())
            for rule, finding in worst:
                head = (f"  {_SIGNS[rule.tone][0]} {rule.id}", f"bold {STYLES[rule.tone]}")
                title = f"  {rule.title}" if rule.title else ""
                extent = f"  {finding.extent}" + (f", {finding.reruns}" if finding.reruns else "")
                lines.append(Text.assemble(head, title, (extent, "dim")))
                lines += _wrapped(f"{finding.message} {finding.place}".rstrip(), width, "  ")[:2]
                if finding.smallest and not seen.load:  # with a load part the screen is full
                    lines.append(Text(f"    {finding.smallest}", "dim"))
            rest = sum(len(rule.findings) for _, rules in seen.groups for rule in rules) - len(worst)
            if rest > 0:
                lines.append(Text(f"    and {plural(rest, 'more finding')} in the report", "dim"))
        if seen.load:
            lines += [Text(), *_load(seen.load)]
        if seen.warnings:
            lines.append(Text())
            for warning in seen.warnings[:3]:
                lines += _wrapped(warning, width, "! ", "yellow")[:2]
            if len(seen.warnings) > 3:
                lines.append(Text(f"    and {plural(len(seen.warnings) - 3, 'more warning')} in the report", "dim"))
        if self.paths:
            lines.append(Text())
            wide = max(len(name) for name in self.paths)
            lines += [Text(f"  {name:<{wide}}  {path}") for name, path in self.paths.items()]
        paths = set(self.paths.values())
        for line in lines:
            # A path that is cut cannot be opened; everything else is cut rather than wrapped.
            if not any(line.plain.endswith(path) for path in paths):
                line.truncate(width, overflow="ellipsis")
        return lines

    def plain(self, width: int = 80) -> str:
        """Return the summary as plain text without colour."""
        return "".join(f"{line.plain.rstrip()}\n" for line in self.lines(width))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the lines in the console's width and encoding."""
        legacy = not options.encoding.lower().startswith("utf")
        for line in self.lines(options.max_width):
            if legacy:
                plain = line.plain.translate(_ASCII)
                line.plain = plain.encode(options.encoding, "replace").decode(options.encoding)
            line.rstrip()
            line.no_wrap = True
            line.overflow = "ignore"
            yield line


def summarize(run: Run, paths: Mapping[str, str | os.PathLike[str]] | None = None) -> Summary:
    """Return the closing summary of a run; ``paths`` names the files that were written, by what they are."""
    shown = {one_line(name, 20): one_line(os.fspath(path), 1000) for name, path in (paths or {}).items()}
    return Summary(view(run), shown)


def _capabilities(found: Capabilities) -> list[Text]:
    lacking = ". ".join(text for text in (found.lacking, found.unable) if text)
    told = [("features", found.brief), ("", lacking)]
    return [Text(f"  {name:<8}  {text}", "dim") for name, text in told if text]


def _wrapped(text: str, width: int, lead: str = "", style: str = "") -> list[Text]:
    """Break a sentence into indented lines."""
    room, lines, line = max(20, width - 2 - len(lead)), [], ""
    for word in text.split(" "):
        if line and len(line) + 1 + len(word) > room:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    lines.append(line)
    return [
        Text.assemble(("  " + (lead if index == 0 else " " * len(lead)), style), line)
        for index, line in enumerate(lines)
        if line
    ]


def _filled(words: list[str], between: str, width: int) -> list[str]:
    """Join words into as few lines as fit."""
    lines: list[str] = []
    for word in words:
        if lines and len(lines[-1]) + len(between) + len(word) <= width:
            lines[-1] += between + word
        else:
            lines.append(word)
    return lines


def _counts(seen: View, width: int) -> list[Text]:
    lines = [Text(" ")]
    for tone in Tone:
        amount = seen.counts.get(tone)
        if amount:
            bold = "bold " if tone in (Tone.FAIL, Tone.WARN, Tone.ERROR) else ""
            word = f" {_SIGNS[tone][0]} {amount} {WORDS[tone][1]} "
            if lines[-1].cell_len + len(word) > width:
                lines.append(Text(" "))
            lines[-1].append(word, f"{bold}{STYLES[tone]}")
    return lines


def _search(search: Search) -> list[Text]:
    """Return what a search found, and its steps where it found nothing."""
    lines = [Text(f"        {search.sentence}")]
    for step in search.steps[:_MOST_STEPS] if search.cut else ():
        times = [
            f"{name.replace('_', ' ')} {format_seconds(value)}"
            for name in _STEP_TIMES
            if (value := step.latencies.get(name))
        ]
        words = [f"{ended_well(step)} ok", search.throughput_word(step), *times, step.measurement]
        unit = "in flight" if search.sweep else "requests/s"
        lines.append(Text(f"        {step.label} {unit}: {', '.join(filter(None, words))}"))
    return lines


def _load(load: Load) -> list[Text]:
    head = Text("  load  ", "bold")
    if load.verdict:
        head.append(f"{load.verdict}  ", "bold green" if load.verdict == "VALID" else "bold yellow")
    head.append(
        f"{format_count(load.started)} requests, {format_percent(load.ok, load.started)} ok"
        f", {format_rate(load.rate)} ok/s"
        + (f", {format_rate(load.tokens_rate)} output tok/s" if load.tokens_rate is not None else "")
    )
    lines = [head]
    lines += [Text(f"        {reason}", "yellow") for reason in load.reasons[:2]]
    bad = [f"{entry.outcome} {entry.amount:,}" for entry in load.ledger if not entry.good]
    if bad:
        lines.append(Text(f"        not ok: {', '.join(bad[:6])}", "yellow"))
    if load.search:
        lines += _search(load.search)
    elif load.repeats and not load.whole:
        lines += [Text(f"        {'  '.join(row)}") for row in (load.repeats.head, *load.repeats.rows[:_MOST_STEPS])]
    for metric, name in _LOAD_METRICS:
        distribution = load.distribution(metric)
        if distribution:
            figures = "  ".join(
                f"p{p:g} {format_seconds(value):<8}"
                for p in (50.0, 90.0, 99.0)
                if (value := distribution.percentile(p)) is not None
            )
            lines.append(Text(f"        {name:<11} {figures} n {distribution.n:,}"))
    return lines

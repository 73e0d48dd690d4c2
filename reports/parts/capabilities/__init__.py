"""The features that the endpoint supports, with evidence, and the capabilities that its model lacks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from rich.text import Text

from rejoinder.formatting import join_list, one_line
from rejoinder.model.footer import Acceptance, FeatureResult
from rejoinder.reports.acceptance import STATES, WORST_FIRST
from rejoinder.reports.markdown_text import code, escape
from rejoinder.reports.model import Area, Part, ReportModel
from rejoinder.reports.terminal_text import wrap

ROWS: Final = 200
"""Features that are shown; the others are counted."""
_LACKING: Final = (Acceptance.SERVER_ERROR, Acceptance.REFUSED, Acceptance.IGNORED, Acceptance.BROKEN)
"""The states that are named in the summary of the terminal."""
_ABILITIES: Final = {
    "repeats": "repeat a canary",
    "calls": "call a tool",
    "follows_schema": "follow a JSON Schema",
}


class FeatureRow(NamedTuple):
    """A feature: its name, what it is, whether the endpoint has it, what showed that, and the sign that stands for it.

    ``required``: the run requires it (``--require``).
    """

    feature: str
    title: str
    state: str
    evidence: str
    sign: str
    required: bool


@dataclass(frozen=True, slots=True)
class FeatureTable:
    """What the endpoint can do; ``hidden`` counts what there is no room for.

    ``lacking`` names the features that it lacks, ``unable`` the capabilities that its model lacks; either may be
    empty.
    """

    rows: list[FeatureRow]
    hidden: int
    brief: str
    lacking: str
    unable: str


def read(report: ReportModel) -> FeatureTable | None:
    """Return what the footer says of the endpoint's features and its model's abilities, or ``None``."""
    run = report.run
    if run.footer is None or not run.footer.capabilities:
        return None
    rows = [_feature(found, run.header.required) for found in run.footer.capabilities]
    states = [row.state for row in rows]
    labels = [state.label for state in STATES if state.label in states]
    brief = join_list((f"{states.count(label):,} {label}" for label in labels), len(STATES))
    missing = {
        label: [row.feature for row in rows if row.state == label]
        for label in (state.label for state in WORST_FIRST if state in _LACKING)
    }
    lacking = "; ".join(f"{label}: {join_list(names, 20)}" for label, names in missing.items() if names)
    abilities = run.footer.abilities
    unable = [ability for name, ability in _ABILITIES.items() if name in abilities and abilities[name].shown is False]
    sentence = f"The model did not {_either(unable)}." if unable else ""
    return FeatureTable(rows[:ROWS], max(0, len(rows) - ROWS), brief, lacking, sentence)


def _either(words: list[str]) -> str:
    """Return words joined by commas and *or*."""
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _feature(found: FeatureResult, required: list[str]) -> FeatureRow:
    state, (sign, _) = found.state.label, STATES[found.state]
    parts: list[str] = []
    if (evidence := found.evidence) is not None:
        status = "" if evidence.status is None else f"status {evidence.status}"
        without = f"accepted without it: {one_line(evidence.control, 60)}" if evidence.control else ""
        whole = f"as part of {one_line(found.part_of, 200)}" if found.part_of else ""
        parts = [whole, one_line(evidence.exchange, 60), status, one_line(evidence.words, 300), without]
    if found.rules:
        parts.append(f"see {join_list(found.rules, 6)}")
    if found.reason:
        parts.append(one_line(found.reason, 200))
    if found.plan:
        parts.append(f"sent by --plan {found.plan}")
    feature, title = one_line(found.feature, 120) or "?", one_line(found.title, 120)
    shown = " · ".join(part for part in parts if part)
    return FeatureRow(feature, title, state, shown, sign, found.feature in required)


def markdown(table: FeatureTable, report: ReportModel, room: int) -> list[str]:
    """Return the counts, and a table of the features with another state than supported."""
    lines = [f"Features: {escape(table.brief)}. {escape(table.unable)}".rstrip(), ""]
    rows = [row for row in table.rows if row.sign != "pass"]
    if rows:
        lines += ["| Feature | State | Evidence |", "|---|---|---|"]
        for row in rows[:60]:
            required = " (required)" if row.required else ""
            lines.append(f"| {code(row.feature, 60)}{required} | {escape(row.state)} | {escape(row.evidence)} |")
        lines.append("")
    return lines


def terminal(table: FeatureTable, report: ReportModel, width: int) -> list[Text]:
    """Return the counts, and what the endpoint lacks."""
    lacking = ". ".join(text for text in (table.lacking, table.unable) if text)
    lines = [("features  ", table.brief), (" " * 10, lacking)]
    return [line for lead, text in lines if text for line in wrap(text, width, lead=lead, style="dim")]


PART: Final = Part(__name__, Area.OVERVIEW, 60, read, markdown=markdown, terminal=terminal)

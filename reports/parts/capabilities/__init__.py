"""The features that the endpoint supports, with evidence, and the capabilities that its model lacks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from rich.text import Text

from rejoinder.formatting import join_list, one_line
from rejoinder.model.footer import FeatureResult, FeatureState
from rejoinder.reports.markdown_text import code, escape
from rejoinder.reports.model import Area, Part, ReportModel

ROWS: Final = 200
"""Features that are shown; the others are counted."""
_STATES: Final = {
    FeatureState.SUPPORTED: ("supported", "pass"),
    FeatureState.UNSEEN: ("accepted but not seen in a response", "warn"),
    FeatureState.REFUSED: ("refused", "na"),
    FeatureState.FAILED: ("failed", "fail"),
    FeatureState.UNTRIED: ("not tested", "none"),
}
"""What the states of features are called, and their signs."""
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
    brief = join_list((f"{states.count(state):,} {state}" for state in dict.fromkeys(states)), 5)
    missing = {
        label: [row.feature for row in rows if row.state == label]
        for label in (_STATES[FeatureState.REFUSED][0], _STATES[FeatureState.FAILED][0])
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
    state, sign = _STATES[found.state]
    parts: list[str] = []
    if (evidence := found.evidence) is not None:
        status = "" if evidence.status is None else f"status {evidence.status}"
        parts = [one_line(evidence.exchange, 60), status, one_line(evidence.words, 300)]
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
    lines = [("features", table.brief), ("", lacking)]
    return [Text(f"  {name:<8}  {text}", "dim") for name, text in lines if text]


PART: Final = Part(__name__, Area.OVERVIEW, 60, read, markdown=markdown, terminal=terminal)

"""What the endpoint can do: its features with what showed them, and what its model was asked for and did not show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from rich.text import Text

from rejoinder.formatting import join_list, one_line
from rejoinder.reports.markdown_text import code, escape
from rejoinder.reports.model import Area, Part, ReportModel

ROWS: Final = 200
"""Features that are shown; the others are counted."""
_STATES: Final = {
    "supported": ("supported", "pass"),
    "unseen": ("accepted, not seen in a reply", "warn"),
    "refused": ("refused", "na"),
    "failed": ("failed", "fail"),
    "untried": ("not tried", "none"),
}
"""What the states of features are called, and their signs."""
_ABILITIES: Final = {
    "repeats": "repeat a planted word",
    "calls": "call a tool",
    "follows_schema": "follow a JSON Schema",
}


class FeatureRow(NamedTuple):
    """A feature: its name, what it is, whether the endpoint has it, what showed that, and the sign that stands for it.

    ``required`` says that the run was told to require it.
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

    ``lacking`` names the features that it lacks, ``unable`` says what its model was asked for and did not show; either
    is empty when there is nothing of the sort.
    """

    rows: list[FeatureRow]
    hidden: int
    brief: str
    lacking: str
    unable: str


def read(report: ReportModel) -> FeatureTable | None:
    """Return what the footer says of the endpoint's features and its model's abilities, or ``None``; never raises."""
    run = report.run
    written = run.footer.get("capabilities")
    lines = [line for line in written if isinstance(line, dict)] if isinstance(written, list) else []
    if not lines:
        return None
    required = run.header.get("required")
    wanted = required if isinstance(required, list) else []
    rows = [_feature(line, wanted) for line in lines]
    states = [row.state for row in rows]
    brief = join_list((f"{states.count(state):,} {state or 'not told'}" for state in dict.fromkeys(states)), 5)
    missing = {
        label: [row.feature for row in rows if row.state == label]
        for label in (_STATES["refused"][0], _STATES["failed"][0])
    }
    lacking = "; ".join(f"{label}: {join_list(names, 20)}" for label, names in missing.items() if names)
    written = run.footer.get("abilities")
    abilities = written if isinstance(written, dict) else {}
    unable = [ability for name, ability in _ABILITIES.items() if _is_missed(abilities.get(name))]
    sentence = f"The model did not {', '.join(unable)} when it was asked to." if unable else ""
    return FeatureTable(rows[:ROWS], max(0, len(rows) - ROWS), brief, lacking, sentence)


def _feature(line: dict[str, Any], wanted: list[Any]) -> FeatureRow:
    raw = one_line(line.get("state") or "", 40)
    state, sign = _STATES.get(raw, (raw, "none"))
    written = line.get("evidence")
    found = written if isinstance(written, dict) else {}
    reason, status = one_line(found.get("words") or "", 300), found.get("status")
    parts = [one_line(found.get("exchange") or "", 60), f"status {status}" if isinstance(status, int) else "", reason]
    feature, title = one_line(line.get("feature") or "?", 120), one_line(line.get("title") or "", 120)
    evidence = " · ".join(part for part in parts if part)
    return FeatureRow(feature, title, state, evidence, sign, line.get("feature") in wanted)


def _is_missed(ability: Any) -> bool:
    return isinstance(ability, dict) and ability.get("shown") is False


def markdown(table: FeatureTable, report: ReportModel, room: int) -> list[str]:
    """Return the counts, and a table of the features that are not simply supported."""
    lines = [f"Features: {escape(table.brief)}. {escape(table.unable)}".rstrip(), ""]
    rows = [row for row in table.rows if row.sign != "pass"]
    if rows:
        lines += ["| Feature | | Evidence |", "|---|---|---|"]
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

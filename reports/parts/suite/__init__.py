"""The official compliance suite: its verdict on each case, and what the rules found in the same exchange."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from rich.text import Text

from rejoinder.formatting import join_list, one_line, plural
from rejoinder.model.footer import SuiteCaseResult, SuiteVerdict
from rejoinder.reports.markdown_text import code, escape
from rejoinder.reports.model import Area, Part, ReportModel
from rejoinder.reports.rules import ReportedRule, Severity
from rejoinder.reports.terminal_text import wrap

ROWS: Final = 100
"""Cases that are shown."""
_REASONS: Final = 6
"""Reasons of one case that are shown."""
_SIGNS: Final = {SuiteVerdict.PASSED: "pass", SuiteVerdict.FAILED: "fail", SuiteVerdict.NOT_SENT: "untested"}


class SuiteRow(NamedTuple):
    """A case: its name and title, the suite's verdict with its reasons, and the rules that its exchange breaks.

    ``sign`` is the sign that stands for the verdict.
    """

    case: str
    title: str
    verdict: str
    sign: str
    reasons: list[str]
    exchange: str
    rules: list[ReportedRule]

    @property
    def found(self) -> str:
        """What the rules found in the exchange of the case, in words; empty for a case that was not sent."""
        if not self.exchange:
            return ""
        broken: dict[Severity, list[str]] = {}
        for rule in self.rules:
            broken.setdefault(rule.severity, []).append(rule.id)
        parts = [f"{join_list(ids, 8)} {severity.counted(len(ids))}" for severity, ids in broken.items()]
        return "; ".join(parts) or "no rule broken"


@dataclass(frozen=True, slots=True)
class SuiteTable:
    """The verdicts of the suite; ``brief`` counts them."""

    name: str
    revision: str
    brief: str
    rows: list[SuiteRow]

    @property
    def failed(self) -> list[SuiteRow]:
        """The cases that failed."""
        return [row for row in self.rows if row.sign == "fail"]


def read(report: ReportModel) -> SuiteTable | None:
    """Return what the footer says of the official suite, or ``None``."""
    found = report.run.footer.suite if report.run.footer else None
    if found is None:
        return None
    cases = {exchange.id: exchange.case for exchange in report.run.exchanges}
    broken: dict[str, list[ReportedRule]] = defaultdict(list)
    for rule in report.rules:
        for case in {case for finding in rule.findings for case in finding.finding.cases}:
            broken[case].append(rule)
    rows = [_row(one, broken.get(cases.get(one.exchange, ""), [])) for one in found.cases[:ROWS]]
    counts = {verdict: sum(one.verdict is verdict for one in found.cases) for verdict in SuiteVerdict}
    brief = ", ".join(f"{amount:,} {verdict.label}" for verdict, amount in counts.items() if amount)
    return SuiteTable(one_line(found.name, 120), one_line(found.revision, 120), brief, rows)


def _row(found: SuiteCaseResult, broken: list[ReportedRule]) -> SuiteRow:
    more = len(found.reasons) - _REASONS
    reasons = [one_line(reason, 400) for reason in found.reasons[:_REASONS]]
    return SuiteRow(
        case=one_line(found.case, 80),
        title=one_line(found.title, 120),
        verdict=found.verdict.label,
        sign=_SIGNS[found.verdict],
        reasons=[*reasons, f"{plural(more, 'more reason')} in the run file."] if more > 0 else reasons,
        exchange=one_line(found.exchange, 80),
        rules=broken,
    )


def markdown(table: SuiteTable, report: ReportModel, room: int) -> list[str]:
    """Return the counts and a table of the cases."""
    lines = [
        f"{escape(table.name)}: {escape(table.brief)} ({escape(table.revision)}).",
        "",
        "| Case | Suite | Reason | rejoinder's rules |",
        "|---|---|---|---|",
    ]
    for row in table.rows:
        reasons = escape(" ".join(row.reasons))
        lines.append(f"| {code(row.case, 60)} | {escape(row.verdict)} | {reasons} | {escape(row.found)} |")
    return [*lines, ""]


def terminal(table: SuiteTable, report: ReportModel, width: int) -> list[Text]:
    """Return the counts, each case that was sent with its reasons and what the rules found, and the others."""
    return [Text(), *_lines(table, width)]


def _lines(table: SuiteTable, width: int) -> Iterator[Text]:
    yield from wrap(f"{table.name}: {table.brief}", width)
    for row in table.rows:
        if row.exchange:
            yield from wrap(f"{row.case} (rules: {row.found})", width, lead=f"{row.verdict}  ")
            for reason in row.reasons:
                yield from wrap(reason, width, lead=" " * 10, style="dim")
    unsent = [row.case for row in table.rows if not row.exchange]
    if unsent:
        yield from wrap(join_list(unsent, len(unsent)), width, lead="not sent  ", style="dim")


PART: Final = Part(__name__, Area.OVERVIEW, 35, read, nav="Official suite", markdown=markdown, terminal=terminal)

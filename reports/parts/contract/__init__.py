"""How much of the request contract the run sent and with which result: a sentence, a map, and a tree of branches."""

from __future__ import annotations

from typing import Any, Final

from rich.text import Text

from rejoinder.reports.acceptance import STATES
from rejoinder.reports.markdown_text import code, escape
from rejoinder.reports.model import Area, Part, ReportModel
from rejoinder.reports.parts.contract.coverage import ContractCoverage, read_contract
from rejoinder.reports.terminal_text import wrap


def read(report: ReportModel) -> ContractCoverage | None:
    """Return what the footer says of the contract, with an anchor for every place that the map links to."""
    contract = read_contract(report.run)
    for tile in contract.tiles if contract else ():
        tile.node.anchor = tile.node.anchor or report.anchors.take("b-", tile.path)
    return contract


def page_values(contract: ContractCoverage, report: ReportModel) -> dict[str, Any]:
    """Return the sign and the meaning of each state."""
    return {"states": STATES}


def markdown(contract: ContractCoverage, report: ReportModel, room: int) -> list[str]:
    """Return the sentence, and a table of what the endpoint refuses in its own words."""
    lines = [escape(" ".join(filter(None, (contract.sentence, contract.plans)))), ""]
    if contract.refusals:
        lines += [
            "| Branch | State | Branches inside it | Response of the endpoint | Exchange | Without it |",
            "|---|---|---|---|---|---|",
        ]
        for row in contract.refusals:
            words = (row.state, f"{row.inside:,}", row.words, row.exchange, row.control)
            cells = [escape(word) for word in words]
            lines.append(f"| {code(row.branch, 120)} | {' | '.join(cells)} |")
        lines += ["", f"{contract.more_refusals:,} more in the run file.", ""] if contract.more_refusals else [""]
    if contract.together:
        lines += ["| Refused only together with others | Every request contains |", "|---|---|"]
        for group in contract.together:
            names = code(group.branches, 200)
            others = code(group.others, 200) if group.others else "other branches that were not accepted"
            lines.append(f"| {group.amount:,}: {names} | {others} |")
        lines.append("")
    return lines


def terminal(contract: ContractCoverage, report: ReportModel, width: int) -> list[Text]:
    """Return the counts."""
    return wrap(contract.brief, width, lead="contract  ", style="dim")


PART: Final = Part(
    __name__,
    Area.RULES,
    90,
    read,
    nav="Contract",
    markdown=markdown,
    markdown_order=50,
    terminal=terminal,
    terminal_order=50,
    page_values=page_values,
)

"""What all writers start from: the report model of a run, and the parts that a report is made of.

A part is a folder below :mod:`rejoinder.reports.parts` whose ``__init__`` holds a :class:`Part` named ``PART``. It says
what the part reads from the run, where it stands, and how it looks in Markdown and on a terminal; ``part.html.j2``
beside it is its place on the page. The writers go through the parts in order, so a new part is one new folder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Generic, TypeVar

from rich.text import Text

from rejoinder.model.runfile import Run
from rejoinder.reports.defects import ReportedDefect, read_defects
from rejoinder.reports.rules import (
    Anchors,
    ReportedRule,
    RuleGroup,
    Severity,
    count_by_severity,
    group_by_family,
    group_by_level,
    group_findings,
    read_rules,
)

T = TypeVar("T")


class Area(StrEnum):
    """A region of the HTML page, in the order of the page.

    A run without findings has its load before its rules; one with findings has it last.
    """

    FIRST = "first"
    NOTICES = "notices"
    OVERVIEW = "overview"
    RULES = "rules"
    LOAD = "load"


@dataclass(frozen=True, slots=True)
class Part(Generic[T]):
    """One part of a report.

    ``package`` is the import name of the part's folder (``__name__``); its last word is the part's name and the anchor
    that ``nav``, its word in the page's navigation, links to. ``order`` places it within its ``area`` of the page, and
    among all parts in Markdown and on the terminal unless those have orders of their own. Parts of one area that
    follow each other and name the same ``row`` stand side by side on a wide page.

    ``read`` returns what the part shows, or ``None`` when the run has nothing of the sort: then the part is nowhere.
    The other functions take that value and the whole report. ``markdown`` also gets the number of bytes left, and
    ``terminal`` the number of columns; both return lines. ``page_values`` gives ``part.html.j2`` further values
    besides ``it`` (what was read) and ``report``. Nothing here may raise over strange content of a run.
    """

    package: str
    area: Area
    order: int
    read: Callable[[ReportModel], T | None]
    nav: str = ""
    row: str = ""
    markdown: Callable[[T, ReportModel, int], Sequence[str]] | None = None
    markdown_order: int | None = None
    terminal: Callable[[T, ReportModel, int], Sequence[Text]] | None = None
    terminal_order: int | None = None
    page_values: Callable[[T, ReportModel], Mapping[str, Any]] | None = None

    @property
    def name(self) -> str:
        """The name of the part: that of its folder."""
        return self.package.rpartition(".")[2]


@dataclass(slots=True)
class ReportModel:
    """A run, its rules, and whatever the parts of a report read from them. All texts are harmless, single lines."""

    run: Run
    anchors: Anchors
    rules: list[ReportedRule]
    families: list[RuleGroup] = field(init=False)
    levels: list[RuleGroup] = field(init=False)
    counts: dict[Severity, int] = field(init=False)
    """How many rules have each severity, the worst first; severities that no rule has are left out."""
    groups: list[tuple[Severity, list[ReportedRule]]] = field(init=False)
    """The rules with findings, in the groups of :data:`rejoinder.reports.rules.GROUPS`."""
    defects: list[ReportedDefect] = field(init=False)
    """The defects that the findings show, in the order in which to fix them."""
    _values: dict[str, Any] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.families = group_by_family(self.rules, self.run)
        self.levels = group_by_level(self.rules)
        self.counts = count_by_severity(self.rules)
        self.groups = group_findings(self.rules)
        self.defects = read_defects(self.rules)

    def get(self, part: Part[T]) -> T | None:
        """Return what a part reads from this run, or ``None``; every part reads once."""
        if part.package not in self._values:
            self._values[part.package] = part.read(self)
        value: T | None = self._values[part.package]
        return value

    def __getitem__(self, part: Part[T]) -> T:
        """Return what a part reads from every run; raises ``LookupError`` where this one has nothing of the sort."""
        value = self.get(part)
        if value is None:
            raise LookupError(part.name)
        return value


def read_report(run: Run, anchors: Anchors | None = None) -> ReportModel:
    """Return the report model of a run. Reads whatever is there and never raises over strange content.

    Pages that show several runs share the anchors among them.
    """
    anchors = anchors or Anchors()
    return ReportModel(run, anchors, read_rules(run, anchors))

"""How much of the request contract a run sent and with which result, as a tree of branches and a map of its parts.

The footer of a run file names every branch by the place where it branches and the choice that is taken there:
``input[array][][FunctionCallOutput].output=string``. Choices of one place become one node of the tree; nodes that only
lead to one other are joined with it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from rejoinder.formatting import join_list, one_line, plural
from rejoinder.model.footer import Acceptance, IsolatedRefusal, RefusedGroup
from rejoinder.model.runfile import Run
from rejoinder.reports.acceptance import STATES, WORST_FIRST
from rejoinder.reports.curl import curl

BUDGET: Final = 32_000
"""Characters of labels on a page; branches that do not fit are counted. The whole contract takes half of it."""
LABEL: Final = 70
REFUSALS: Final = 60
"""Refusals that are shown with their proof; the others are counted."""
ITSELF: Final = "this variant"
MAP_WIDTH: Final = 1100.0
MAP_HEIGHT: Final = 230.0

_PATH: Final = re.compile(r"\[[^\]]*\]|\{\}|\.?[^.\[\]{}]+|.", re.DOTALL)


@dataclass(slots=True)
class CoverageNode:
    """One place of the contract: the choices there by state, and the places below it."""

    label: str
    anchor: str = ""
    choices: dict[Acceptance, list[str]] = field(default_factory=dict)
    children: list[CoverageNode] = field(default_factory=list)
    counts: Counter[Acceptance] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        """Branches here and below."""
        return self.counts.total()

    @property
    def state(self) -> Acceptance | None:
        """The state of all branches here and below, or ``None`` when there are several."""
        return next(iter(self.counts)) if len(self.counts) == 1 else None

    @property
    def bare(self) -> list[str]:
        """The choices of a place where all have one state, which is named above it."""
        return [name for names in self.choices.values() for name in names if name != ITSELF]

    @property
    def tally(self) -> str:
        """The branches here and below in words, the worst first."""
        return tally(self.counts)


class MapTile(NamedTuple):
    """A part of the contract as a rectangle on the map, in percent; its area is its number of branches."""

    node: CoverageNode
    counts: Counter[Acceptance]
    path: str
    x: float
    y: float
    width: float
    height: float

    @property
    def spans(self) -> list[tuple[str, float, float]]:
        """The states of its branches, each with begin and width in percent of the tile, accepted ones first."""
        spans, at, total = [], 0.0, self.counts.total()
        for state in STATES:
            if self.counts[state]:
                share = 100 * self.counts[state] / total
                spans.append((state.value, at, share))
                at += share
        return spans

    @property
    def title(self) -> str:
        """The path of the branch and the counts of its outcomes."""
        return f"{one_line(self.path, 160)}: {tally(self.counts)}"

    @property
    def lines(self) -> list[str]:
        """Its name in lines that fit into it on a wide page; none when not one does."""
        name = re.sub(r".*\[(?=[^\]]+\]$)|\]$", "", self.path).removeprefix("Response")
        room = int((self.width * MAP_WIDTH / 100 - 8) / 5.9)
        lines: list[str] = []
        for word in re.findall(r"_?[A-Z]?[^A-Z\s_.]+|[A-Z]+(?![a-z])|\S", one_line(name, 60)):
            if len(word) > room:
                return []
            if lines and len(lines[-1]) + len(word) <= room:
                lines[-1] += word
            else:
                lines.append(word)
        return lines if len(lines) * 12 + 3 <= self.height * MAP_HEIGHT / 100 else []


class RefusalRow(NamedTuple):
    """A refused branch: its name, state and sign, the endpoint's words, the two exchanges, and a curl command.

    ``inside`` is how many branches were refused as part of it.
    """

    branch: str
    state: str
    sign: str
    words: str
    exchange: str
    control: str
    command: str
    inside: int


class TogetherRow(NamedTuple):
    """Branches that were refused only together with others: how many, the first of them, and those others."""

    amount: int
    branches: str
    others: str


@dataclass(slots=True)
class ContractCoverage:
    """The coverage of the contract by a run.

    ``hidden`` counts branches that the tree has no room for. ``refusals`` are what the endpoint refuses, each with its
    proof, and ``more_refusals`` counts those that there is no room for. ``together`` are the branches that were refused
    only together with others, by those others. ``plans`` says which plans send what this run
    did not.
    """

    total: int
    counts: dict[Acceptance, int]
    nodes: list[CoverageNode]
    tiles: list[MapTile]
    hidden: int
    refusals: list[RefusalRow] = field(default_factory=list)
    more_refusals: int = 0
    together: list[TogetherRow] = field(default_factory=list)
    plans: str = ""

    @property
    def brief(self) -> str:
        """How many branches were accepted, refused and so on, in a line: ``4 of 8 branches accepted, 3 refused``."""
        taken = {state: amount for state, amount in self.counts.items() if state.is_accepted}
        others = [
            f"{amount:,} {state.label}" for state, amount in self.counts.items() if amount and not state.is_accepted
        ]
        special = [
            f"{amount:,} {state.label}"
            for state, amount in taken.items()
            if amount and state is not Acceptance.ACCEPTED
        ]
        details = f" ({', '.join(special)})" if special else ""
        total = plural(self.total, "branch", "branches")
        return ", ".join([f"{sum(taken.values()):,} of {total} accepted{details}", *others])

    @property
    def sentence(self) -> str:
        """The same as a sentence."""
        return f"Request contract: {self.brief}."


def tally(counts: Counter[Acceptance]) -> str:
    """Return numbers of branches in words, the worst first."""
    amounts = [f"{counts[state]:,} {state.label}" for state in WORST_FIRST if counts[state]]
    return f"all {amounts[0]}" if len(amounts) == 1 and counts.total() > 1 else ", ".join(amounts)


def read_contract(run: Run) -> ContractCoverage | None:
    """Return the coverage from the footer, or ``None`` if it has none."""
    coverage = run.footer.coverage if run.footer else None
    if coverage is None:
        return None
    names = {state: coverage.branches.get(state, []) for state in WORST_FIRST}
    counts = {state: len(names[state]) or coverage.counts.get(state, 0) for state in STATES}
    total = sum(counts.values())
    if not total:
        return None
    root = _tree(names)
    nodes = sorted(root.children, key=lambda node: (-node.total if node.children else 0, node.label))
    inside: Counter[str] = Counter()
    for group in coverage.parts:
        # Alternatives that look the same on the wire have one row, and a branch counts in one row only.
        inside[min(group.culprits, default="")] += len(group.branches)
    rows = list(_refusals(run, coverage.refusals, inside))
    return ContractCoverage(
        total,
        counts,
        nodes,
        _tiles(nodes, root.total),
        total - root.total,
        rows[:REFUSALS],
        max(0, len(rows) - REFUSALS),
        [_together(group) for group in sorted(coverage.together, key=lambda group: -len(group.branches))[:REFUSALS]],
        _plans(coverage.plans),
    )


def _together(group: RefusedGroup) -> TogetherRow:
    others, left = " or ".join(group.culprits[:6]), len(group.culprits) - 6
    return TogetherRow(
        len(group.branches),
        one_line(join_list(group.branches, 3), 300),
        one_line(others, 300) + (f" or {left} more" if left > 0 else ""),
    )


def _refusals(run: Run, refusals: list[IsolatedRefusal], inside: Mapping[str, int]) -> Iterator[RefusalRow]:
    by_id = {exchange.id: exchange for exchange in run.exchanges}
    for number, refusal in enumerate(refusals):
        exchange = by_id.get(refusal.exchange)
        status = "" if refusal.status is None else f"{refusal.status} "
        shown = exchange is not None and number < REFUSALS
        yield RefusalRow(
            one_line(" or ".join(refusal.branches), 300),
            refusal.state.label,
            STATES[refusal.state][0],
            f"{status}{one_line(refusal.words, 300)}".strip(),
            one_line(refusal.exchange, 60),
            one_line(refusal.control, 60),
            curl(run.header.target.url, exchange.request)[0] if exchange is not None and shown else "",
            sum(inside.get(branch, 0) for branch in refusal.branches),
        )


def _plans(plans: dict[str, list[str]]) -> str:
    """Return which plans send the branches that were not sent, or why this run did not, as sentences; may be empty."""
    found = {name: len(names) for name, names in plans.items() if names}
    parts = [f"plan {one_line(name, 20)} sends {amount:,}" for name, amount in found.items() if name not in _REASONS]
    parts += [_REASONS[name].format(f"{found[name]:,}") for name in _REASONS if name in found]
    return f"Of the branches that were not sent, {', '.join(parts)}." if parts else ""


_REASONS: Final = {
    "none": "no plan sends {}",
    "recall": "{} go only to a model that repeats a canary, and this model repeated none",
    "skipped": "{} are in the plan of this run, which ended early or lacked a response that they need",
}


@dataclass(slots=True)
class _TreePlace:
    """A place while the tree grows."""

    choices: list[tuple[Acceptance, str]] = field(default_factory=list)
    below: dict[str, _TreePlace] = field(default_factory=dict)


def _tree(names: dict[Acceptance, list[str]]) -> CoverageNode:
    """Return the tree of all branches that there is room for; those in the worst states come first."""
    root, left = _TreePlace(), BUDGET
    for state, listed in names.items():
        for name in listed:
            path, _, choice = name[:2000].partition("=")
            place, steps = root, _PATH.findall(path)[:24] or ["?"]
            known = 0
            for step in steps:
                below = place.below.get(step)
                if below is None:
                    break
                place, known = below, known + 1
            cost = min(len(choice), LABEL) + sum(min(len(step), LABEL) + 30 for step in steps[known:])
            if cost > left:
                continue
            left -= cost
            for step in steps[known:]:
                place = place.below.setdefault(step, _TreePlace())
            place.choices.append((state, choice))
    return _node("", root)


def _node(label: str, place: _TreePlace) -> CoverageNode:
    for state, choice in list(place.choices):
        variant = place.below.get(f"[{choice}]")
        if variant is not None and (variant.choices or len(variant.below) > 1):  # listed there, and not twice
            place.choices.remove((state, choice))
            variant.choices.insert(0, (state, ITSELF))
    if label and not place.choices and len(place.below) == 1:
        step, place = next(iter(place.below.items()))
        return _node(label + step, place)
    node = CoverageNode(one_line(label, LABEL))
    for state, choice in place.choices:
        node.choices.setdefault(state, []).append(one_line(choice, LABEL))
        node.counts[state] += 1
    node.choices = {state: sorted(node.choices[state]) for state in STATES if state in node.choices}
    for step, below in sorted(place.below.items()):
        child = _node(step, below)
        node.children.append(child)
        node.counts += child.counts
    return node


MapRegion = tuple[CoverageNode, "Counter[Acceptance]", str]
"""A part of the contract: its node, the branches that it stands for, its whole path."""


def _tiles(nodes: list[CoverageNode], total: int) -> list[MapTile]:
    """Return the map: parts of the contract as rectangles, large parts shown as what they consist of."""
    parts = sorted(_parts(nodes, total, ""), key=lambda part: -part[1].total())[:160]
    return _squarified(parts, 0.0, 0.0, MAP_WIDTH, MAP_HEIGHT)


def _parts(nodes: list[CoverageNode], total: int, above: str) -> list[MapRegion]:
    found: list[MapRegion] = []
    for node in nodes:
        path = above + node.label
        if node.children and node.total * 10 > total:
            own = Counter({state: len(names) for state, names in node.choices.items()})
            if own:
                found.append((node, own, path))
            found += _parts(node.children, total, path)
        else:
            found.append((node, node.counts, path))
    return found


def _squarified(parts: list[MapRegion], x: float, y: float, width: float, height: float) -> list[MapTile]:
    """Fill a rectangle with tiles as square as can be: rows along the shorter side, each as long as it gets squarer."""
    tiles: list[MapTile] = []
    scale = width * height / max(1, sum(counts.total() for _, counts, _ in parts))
    while parts:
        side = min(width, height)
        row = 1
        while row < len(parts) and _worst(parts[: row + 1], side, scale) <= _worst(parts[:row], side, scale):
            row += 1
        deep = scale * sum(counts.total() for _, counts, _ in parts[:row]) / side
        at = 0.0
        for node, counts, path in parts[:row]:
            long = counts.total() * scale / deep
            place = (x, y + at, deep, long) if width >= height else (x + at, y, long, deep)
            tiles.append(MapTile(node, counts, path, *_percent(place)))
            at += long
        if width >= height:
            x, width = x + deep, width - deep
        else:
            y, height = y + deep, height - deep
        parts = parts[row:]
    return tiles


def _worst(row: list[MapRegion], side: float, scale: float) -> float:
    """Return how far from a square the longest tile of a row is."""
    areas = [counts.total() * scale for _, counts, _ in row]
    deep = sum(areas) / side
    return max(max(deep * deep / area, area / (deep * deep)) for area in areas)


def _percent(place: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    x, y, width, height = place
    return (100 * x / MAP_WIDTH, 100 * y / MAP_HEIGHT, 100 * width / MAP_WIDTH, 100 * height / MAP_HEIGHT)

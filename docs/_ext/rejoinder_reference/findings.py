"""What rejoinder reported of real servers, each finding with the labels of two readers."""

from __future__ import annotations

import csv
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rejoinder.model.verdict import Level
from rejoinder_reference import markdown as md
from rejoinder_reference.catalogue import rule_link

FOLDER: Final = Path(__file__).parents[2] / "findings"
READINGS: Final = FOLDER / "readings.csv"
"""How often each pair of labels was given, before the readers agreed: level, first, second, findings."""
LABELS: Final = ("true", "arguable", "false")


@dataclass(frozen=True)
class Agreement:
    """How far two readers agree: the number of findings, how many have equal labels, and Cohen's kappa.

    Kappa is (p - e) / (1 - e), where p is the share of equal labels and e the share that two readers would have in
    common by chance, who give each label as often as these two do (Cohen, Educational and Psychological Measurement 20,
    1960). It is ``None`` where both give one and the same label only.
    """

    findings: int
    equal: int
    kappa: float | None

    @property
    def share(self) -> float:
        """The share of findings with equal labels, from 0 to 1."""
        return self.equal / self.findings


def agreement(pairs: Mapping[tuple[str, str], int]) -> Agreement:
    """Return how far two readers agree from the number of times that they gave each pair of labels.

    Raises :class:`ZeroDivisionError` without any.
    """
    total = sum(pairs.values())
    equal = sum(count for (first, second), count in pairs.items() if first == second)
    firsts, seconds = Counter[str](), Counter[str]()
    for (first, second), count in pairs.items():
        firsts[first] += count
        seconds[second] += count
    chance = sum(firsts[label] * seconds[label] for label in firsts) / total**2
    return Agreement(total, equal, None if chance == 1 else (equal / total - chance) / (1 - chance))


def readings() -> dict[str, Counter[tuple[str, str]]]:
    """Return how often the readers gave each pair of labels, by level."""
    found: dict[str, Counter[tuple[str, str]]] = {}
    with READINGS.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["level"], Counter())[row["first"], row["second"]] += int(row["findings"])
    return found


def pages() -> dict[str, str]:
    """Return the overview, and one page for each file of ``docs/findings``."""
    tables = {file.stem: tomllib.loads(file.read_text("utf-8")) for file in sorted(FOLDER.glob("*.toml"))}
    return {
        "findings/index": _overview(tables),
        **{f"findings/{name}": md.page(table["server"]["name"], *_server(table)) for name, table in tables.items()},
    }


def _overview(tables: Mapping[str, Mapping[str, Any]]) -> str:
    lines = [
        "Two readers read each run of the plan `full` on a real server. Both gave every finding a label:",
        "",
        "- **true**: a document of the dialect says so, or a client of the dialect breaks.",
        "- **arguable**: the documents are silent, or contradict each other.",
        "- **false**: the server is right.",
        "",
        *_agreement(),
        "## Labels",
        "",
        "This is what the readers agreed on:",
        "",
    ]
    rows = []
    sums = {level: Counter[str]() for level in (Level.MUST, Level.SHOULD)}
    for name, table in tables.items():
        cells = []
        for level, total in sums.items():
            counts = Counter(entry["label"] for entry in table["finding"] if entry["level"] == level.value)
            total.update(counts)
            cells += [str(counts[label]) for label in LABELS]
        server = table["server"]
        rows.append((f"[{md.text(server['name'])}]({name}.md)", md.code(server["dialect"]), *cells))
    rows.append(("all", "", *(str(total[label]) for total in sums.values() for label in LABELS)))
    head = [f"{level.value} {label}" for level in sums for label in LABELS]
    lines += md.table(["server", "dialect", *head], rows)
    lines += md.toctree(tables)
    return md.page("Findings on real servers", *lines)


def _agreement() -> Iterator[str]:
    """Yield how far the readers agreed before they saw the label of the other."""
    pairs = readings()
    yield "## Agreement of the readers"
    yield ""
    yield "The second reader did not see the labels of the first. The table has the labels that they gave before they"
    yield "agreed and before rules changed. Cohen's kappa is 1 for readers who always agree. It is 0 for readers who"
    yield "agree as often as by chance."
    yield ""
    rows = []
    for level, counts in (*pairs.items(), ("all", sum(pairs.values(), Counter()))):
        found = agreement(counts)
        kappa = "" if found.kappa is None else f"{found.kappa:.2f}"
        rows.append((level, str(found.findings), str(found.equal), f"{found.share:.0%}", kappa))
    yield from md.table(["level", "findings", "equal labels", "share", "kappa"], rows)
    yield "These labels differed:"
    yield ""
    differ = [
        (level, *pair, str(n)) for level, counts in pairs.items() for pair, n in counts.items() if len(set(pair)) > 1
    ]
    yield from md.table(["level", "first reader", "second reader", "findings"], differ)


def _server(table: Mapping[str, Any]) -> Iterator[str]:
    server = table["server"]
    yield f"{md.text(server['about'])} Dialect {md.code(server['dialect'])}, plan {md.code(server['plan'])}."
    yield ""
    for entry in table["finding"]:
        yield f"## {entry['rule']}: {md.text(entry['message'])}"
        yield ""
        rule = f"{entry['level']} {rule_link(entry['rule'], '../rules/')}"
        yield f"{rule}, label **{entry['label']}**: {md.text(entry['why'])}"
        yield ""
        first = entry.get("first", entry["label"])
        if {first, entry["second"]} != {entry["label"]}:
            yield f"The first reader's label was {first}, the second's {entry['second']}."
            yield ""
        if "second_why" in entry:
            yield f"The second reader: {md.text(entry['second_why'])}"
            yield ""
        if "expected" in entry:
            yield f"- expected {md.code(entry['expected'])}, actual {md.code(entry.get('actual', '(missing)'))}"
        if entry["places"]:
            yield f"- at {md.codes(entry['places'])}"
        if entry.get("random"):
            yield "- shows at random"
        yield ""
        if "request" in entry:
            yield from md.block("text", entry["request"])

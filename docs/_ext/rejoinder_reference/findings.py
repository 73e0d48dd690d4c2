"""What rejoinder reported of real servers, each finding with the label that a person gave it."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from rejoinder.model.verdict import Level
from rejoinder_reference import markdown as md
from rejoinder_reference.catalogue import rule_link

FOLDER: Final = Path(__file__).parents[2] / "findings"
LABELS: Final = ("true", "arguable", "false")


def pages() -> dict[str, str]:
    """Return the overview, and one page for each file of ``docs/findings``."""
    tables = {file.stem: tomllib.loads(file.read_text("utf-8")) for file in sorted(FOLDER.glob("*.toml"))}
    return {
        "findings/index": _overview(tables),
        **{f"findings/{name}": md.page(table["server"]["name"], *_server(table)) for name, table in tables.items()},
    }


def _overview(tables: Mapping[str, Mapping[str, Any]]) -> str:
    lines = [
        "Each run of the plan `full` on a real server was read by hand. Every finding got a label:",
        "",
        "- **true**: a document of the dialect says so, or a client of the dialect breaks.",
        "- **arguable**: the documents are silent, or contradict each other.",
        "- **false**: the server is right.",
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
        if "expected" in entry:
            yield f"- expected {md.code(entry['expected'])}, actual {md.code(entry.get('actual', '(missing)'))}"
        if entry["places"]:
            yield f"- at {md.codes(entry['places'])}"
        if entry.get("random"):
            yield "- shows at random"
        yield ""
        if "request" in entry:
            yield from md.block("text", entry["request"])

"""Label the findings of real servers by hand: ``python tools/findings.py add RUN FILE``, ``... compare RUN FILE``.

``docs/findings/SERVER.toml`` holds every defect that a run of the plan ``full`` reported of one server, with the label
that it got after reading the exchange and the documents:

- ``true``: a document of the dialect says so, or a client of the dialect breaks.
- ``arguable``: the documents are silent, or contradict each other.
- ``false``: the server is right.

Two readers label each defect. The second does not see the first label. ``second`` is its label, ``second_why`` its
reason where that differs or adds something. Where the readers differ, ``label`` is what they agreed on after another
look at the documents, and ``first`` the label of the first reader where that is another one.

``add`` writes the defects of a run into the file, keeps the labels of those that it has, and leaves the labels of new
ones empty. ``compare`` prints what a run and the file do not have in common; it exits with 1 when the run has a defect
without a label of either reader.
"""

from __future__ import annotations

import sys
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import tomlkit

from rejoinder.model.error_text import error_text
from rejoinder.model.runfile import Run, read_run
from rejoinder.model.script import Step
from rejoinder.model.verdict import Finding, Level

LABELS: Final = ("true", "arguable", "false")
READ: Final = ("label", "why", "second")
"""What every entry has of its readers; empty until they have read it."""
NOTES: Final = ("first", "second_why")
"""What an entry has of its readers where they differ."""
ROOT: Final = Path(__file__).resolve().parents[1] / "docs" / "findings"
MAX_PLACES: Final = 12
MAX_TEXT: Final = 400


def read_labels(file: Path) -> dict[str, Any]:
    """Return the content of a file of labelled findings; what it does not hold is empty."""
    table = tomllib.loads(file.read_text("utf-8")) if file.exists() else {}
    return {"server": table.get("server", {}), "finding": table.get("finding", [])}


def defects_of(run: Run) -> Iterator[dict[str, Any]]:
    """Yield one entry for each defect of a MUST or SHOULD rule in a run, without a label, in the order of the run."""
    exchanges = {exchange.id: exchange for exchange in run.exchanges}
    groups: dict[tuple[str, str], list[Finding]] = {}
    for verdict in run.verdicts:
        for finding in verdict.findings:
            if finding.level in (Level.MUST, Level.SHOULD):
                groups.setdefault((finding.rule, finding.defect or finding.fingerprint), []).append(finding)
    for (rule, defect), findings in groups.items():
        first = findings[0]
        problem = first.evidence
        request = first.minimal.request if first.minimal else None
        exchange = exchanges.get(problem.exchange)
        if request is None and exchange is not None:
            request = exchange.request
        problems = [finding.evidence for finding in findings]
        places = [" ".join(filter(None, (p.event_type, p.pointer, p.kind))) for p in problems]
        entry: dict[str, Any] = {
            "rule": rule,
            "level": first.level.value,
            "defect": defect,
            "message": problem.message[:MAX_TEXT],
        }
        entry |= {name: text[:MAX_TEXT] for name, text in problem.texts().items()}
        entry["places"] = [place for place in dict.fromkeys(places) if place][:MAX_PLACES]
        if first.cause:
            entry["cause"] = first.cause
        if any(finding.reruns and finding.reruns.random for finding in findings):
            entry["random"] = True
        if request is not None:
            entry["request"] = Step(request).line[:MAX_TEXT]
        if exchange is not None:
            words = error_text(exchange, MAX_TEXT) if exchange.status != 200 else ""
            entry["response"] = f"{exchange.status or 'none'} {words}".strip()
        yield entry


def merged(old: Mapping[str, Any], run: Run) -> dict[str, Any]:
    """Return the findings of a run with the labels of the file where it has them."""
    labels = {(entry["rule"], entry["defect"]): entry for entry in old["finding"]}
    found = []
    for entry in defects_of(run):
        known = labels.get((entry["rule"], entry["defect"]), {})
        notes = {name: known[name] for name in NOTES if name in known}
        found.append({**entry, **{name: known.get(name, "") for name in READ}, **notes})
    version = run.header.tool.get("rejoinder", "")
    server = {**old["server"], "dialect": run.header.target.dialect, "plan": run.header.plan, "rejoinder": version}
    return {"server": {**server, "catalogue": run.header.catalogue}, "finding": found}


def unlabelled(run: Run, table: Mapping[str, Any]) -> list[str]:
    """Return a line for each defect of a run that the file lacks a label for."""
    labelled = {
        (entry["rule"], entry["defect"])
        for entry in table["finding"]
        if entry["label"] in LABELS and entry.get("second") in LABELS
    }
    return [
        f"{entry['rule']} {entry['defect']} {entry['message']}"
        for entry in defects_of(run)
        if (entry["rule"], entry["defect"]) not in labelled
    ]


def gone(run: Run, table: Mapping[str, Any]) -> list[str]:
    """Return a line for each labelled defect that a run did not find, but for those that show at random."""
    found = {(entry["rule"], entry["defect"]) for entry in defects_of(run)}
    return [
        f"{entry['rule']} {entry['defect']} {entry['message']}"
        for entry in table["finding"]
        if (entry["rule"], entry["defect"]) not in found and not entry.get("random")
    ]


def counts(table: Mapping[str, Any], level: Level | None = None) -> Counter[str]:
    """Return how many findings of a file have each label, of one level or of both."""
    return Counter(entry["label"] for entry in table["finding"] if level is None or entry["level"] == level.value)


def main(arguments: list[str]) -> int:
    """Do what the arguments say; return the exit code."""
    if len(arguments) != 3 or arguments[0] not in ("add", "compare"):
        print("Usage: python tools/findings.py (add | compare) RUN FILE")
        return 2
    run, file = read_run(arguments[1]), Path(arguments[2])
    table = read_labels(file)
    if arguments[0] == "add":
        table = merged(table, run)
        file.write_text(tomlkit.dumps(table), "utf-8")
    new, old = unlabelled(run, table), gone(run, table)
    for title, lines in (("Without a label", new), ("Not found", old)):
        for line in lines:
            print(f"{title}: {line}")
    print(f"{file.name}: {dict(counts(table))}")
    return int(bool(new) and arguments[0] == "compare")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

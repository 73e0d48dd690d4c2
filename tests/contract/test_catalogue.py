"""The version of the rule catalogue rises whenever a rule or a level changes.

``python tests/contract/test_catalogue.py`` records the rules as they are; do so after raising ``CATALOGUE_VERSION``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from rejoinder import CATALOGUE_VERSION
from rejoinder.contract import load_rules

RECORD: Final = Path(__file__).with_name("catalogue.txt")


def catalogue() -> list[str]:
    """Return the version and one line for each rule: its id, its level, and the dialects that differ."""
    lines = [f"version {CATALOGUE_VERSION}"]
    for rule in load_rules().values():
        others = [f"{dialect}={level}" for dialect, level in sorted(rule.levels.items())]
        lines.append(" ".join([rule.id, rule.level, *others, *(["unchecked"] if rule.unchecked else [])]))
    return lines


def test_the_version_rises_with_every_change() -> None:
    recorded, current = RECORD.read_text().splitlines(), catalogue()
    changes = [f"- {line}" for line in recorded if line not in current]
    changes += [f"+ {line}" for line in current if line not in recorded]
    assert not changes, "\n".join(
        [
            "The rules differ from tests/contract/catalogue.txt:",
            *changes,
            "Raise CATALOGUE_VERSION in src/rejoinder/__init__.py as its docstring says, then run "
            "`python tests/contract/test_catalogue.py`.",
        ]
    )


if __name__ == "__main__":
    RECORD.write_text("\n".join(catalogue()) + "\n")

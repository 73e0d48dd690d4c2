"""The table of all rules."""

from __future__ import annotations

from typing import Any

from rejoinder.model.runfile import Run


def test_the_table_has_every_rule_with_its_numbers(checked: Run, table: Any) -> None:
    rows = [row for row in table(checked, '<section id="rules">') if len(row) == 5]
    assert [(row[0], row[1].split()[0], *row[2:]) for row in rows] == [
        ("Verdict", "Rule", "Level", "Checked", "Failed"),
        ("warn", "SSE-03", "SHOULD", "8", "2"),
        ("pass", "EVT-01", "MUST", "5", ""),
        ("fail", "EVT-02", "MUST", "10", "4"),
        ("error", "LIF-01", "MUST", "0", ""),
        ("n/a", "LIF-02", "MUST", "0", ""),
        ("n/a", "LIF-03", "MUST", "0", ""),
    ]
    assert rows[4][1].endswith("The connection broke.")

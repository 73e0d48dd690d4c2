"""The numbers on the page that compares dialects are those of the dialects."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rejoinder.contract import Dialect, dialect_names, features_of, load_dialect
from rejoinder.contract.branches import Branches

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "dialects.md"
COUNTS: dict[str, Callable[[Dialect], int]] = {
    "required fields of a response object": lambda dialect: len(dialect.schema("response")["required"]),
    "smallest `max_output_tokens`": lambda dialect: dialect.request["min_output_tokens"],
    "features": lambda dialect: len(features_of(dialect)),
    "item types": lambda dialect: len(dialect.item_types),
    "event types": lambda dialect: len(dialect.events),
    "branches of the request": lambda dialect: len(Branches.of_dialect(dialect.reference).all),
}


@pytest.mark.parametrize("row", COUNTS)
def test_the_table_has_the_numbers_of_each_dialect(row: str) -> None:
    lines = [line.strip("| \n").split(" | ") for line in PAGE.read_text("utf-8").splitlines() if line.startswith("|")]
    head = next(line for line in lines if "`northstar`" in line and "`openai`" in line)
    cells = next(line for line in lines if line[0] == row)
    shown = dict(zip((name.strip("` ") for name in head if name.strip("` ")), cells[1:], strict=True))
    assert set(shown) == set(dialect_names())
    assert shown == {name: f"{COUNTS[row](load_dialect(name)):,}" for name in shown}

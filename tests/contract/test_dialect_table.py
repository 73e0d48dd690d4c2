"""The table of how complete each dialect is; `benchmarks/dialect_table.py` prints it whole."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest
from tests.load_module import load_module

from rejoinder.contract import dialect_names, load_dialect

load_module("benchmarks/reply_mutations.py")
dialect_table: Any = load_module("benchmarks/dialect_table.py")


def test_rows_become_a_markdown_table() -> None:
    row = dialect_table.Row("missing fields")
    row.count("openai", ["b", "a"], 9)
    row.count("vllm", [])
    assert not row.kept
    assert row.details == ["missing fields, openai: a", "missing fields, openai: b"]
    assert list(dialect_table.markdown([row], ["openai", "vllm", "northstar"])) == [
        "|  | `openai` | `vllm` | `northstar` |",
        "| --- | --- | --- | --- |",
        "| missing fields | 2 of 9 | 0 | – |",
    ]


@pytest.mark.slow(2)
def test_the_dialect_has_all_of_the_published_document() -> None:
    label, found = dialect_table.compared(load_dialect("openresponses"), None)
    assert label == "OpenAPI document 2026-04-24"
    assert [place for place, what in found.items() if what == "missing here"] == []


def test_what_a_wheel_of_vllm_has_more_is_missing(tmp_path: Path) -> None:
    wheel = tmp_path / "vllm-9.9-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        source = "class ResponsesRequest(Base):\n    thought: str\nclass ResponsesResponse(Base):\n    id: str\n"
        archive.writestr(f"{dialect_table.VLLM_FOLDER}/protocol.py", source)
        archive.writestr(f"{dialect_table.VLLM_FOLDER}/streaming_events.py", 'sent = "response.thought.delta"\n')
    label, found = dialect_table.compared(load_dialect("vllm"), wheel)
    assert label == "vllm-9.9-py3-none-any"
    assert [place for place, what in found.items() if what == "missing here"] == [
        "request.thought",
        "event response.thought.delta",
    ]


@pytest.mark.slow(6)
@pytest.mark.parametrize("name", dialect_names())
def test_the_reference_takes_what_is_sent_as_valid(name: str) -> None:
    dialect = load_dialect(name)
    _, accepts = dialect_table.request_reference(dialect)
    bodies = list(dialect_table.valid_bodies(dialect))
    assert len(bodies) > 500
    assert [place for place, body in bodies if not accepts(body)] == []

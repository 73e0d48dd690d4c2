from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rejoinder.errors import UsageError
from rejoinder.strategies import requests
from rejoinder.strategies.corpus import Entry, draw, read_corpus, write_corpus

ANY_TEXT = st.text(st.characters(exclude_categories=()))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.builds(Entry, ANY_TEXT, requests() | ANY_TEXT), max_size=4))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, entries: list[Entry]) -> None:
    path = tmp_path_factory.mktemp("corpus") / "bodies.jsonl"
    assert write_corpus(path, entries) == len(entries)
    assert list(read_corpus(path)) == entries
    assert path.read_bytes().isascii()
    write_corpus(path, entries[:1], append=True)
    assert list(read_corpus(path)) == entries + entries[:1]


def test_drawing_is_repeatable() -> None:
    first = draw(requests(), 30, seed_=7)
    assert len(first) == 30
    assert draw(requests(), 30, seed_=7) == first
    assert draw(requests(), 30, seed_=8) != first
    assert draw(st.booleans(), 30) in ([False, True], [True, False])
    assert draw(requests(), 0) == []


@pytest.mark.parametrize("line", ["[]", "{}", '{"id": 1, "body": {}}', '{"id": "a"}', "{", "[" * 100_000, "\xff"])
def test_a_bad_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(b'{"id": "a", "body": {}}\n\n' + line.encode("latin-1") + b"\n")
    with pytest.raises(UsageError, match=r"bad\.jsonl, line 3"):
        list(read_corpus(path))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere"):
        list(read_corpus(tmp_path / "nowhere"))


def test_any_body_fits(tmp_path: Path) -> None:
    body: dict[str, Any] = {"input": "\ud800", "n": 10**30}
    write_corpus(tmp_path / "c", [Entry("x", body)])
    assert next(read_corpus(tmp_path / "c")).body == body

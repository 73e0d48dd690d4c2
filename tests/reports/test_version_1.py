"""Every writer takes run files of version 1: whole, cut short at any line, and in the middle of a line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from rejoinder.model.runfile import Run, read_run
from rejoinder.reports import (
    diff_runs,
    render_badge,
    render_comparison,
    render_csv,
    render_ctrf,
    render_diff_html,
    render_diff_markdown,
    render_diff_text,
    render_html,
    render_junit,
    render_markdown,
    summarize,
)

FILES = sorted((Path(__file__).parents[1] / "model" / "v1").glob("*.ndjson"))


def write_all(run: Run, check_page: Callable[[str], Any]) -> None:
    check_page(render_html(run))
    ET.fromstring(render_junit(run).encode())
    for write in (render_badge, render_csv, render_ctrf, render_markdown):
        assert write(run)
    assert summarize(run).plain()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_writer_takes_a_whole_run(path: Path, check_page: Callable[[str], Any]) -> None:
    run = read_run(path)
    write_all(run, check_page)
    if path.stem.startswith("load"):
        assert run.load is not None
        assert f"{run.load.started} of {run.load.started} requests succeeded" in summarize(run).plain()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_writer_takes_a_run_that_was_cut_short(
    path: Path, check_page: Callable[[str], Any], tmp_path: Path
) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    for kept in sorted({1, 2, len(lines) // 3, len(lines) // 2, len(lines) - 1}):
        half = tmp_path / "run.ndjson"
        half.write_bytes(b"".join(lines[:kept]) + lines[kept][: len(lines[kept]) // 2])
        run = read_run(half)
        assert (run.truncated, len(run.damage)) == (True, 1)
        write_all(run, check_page)


def test_runs_of_different_kinds_can_be_compared(check_page: Callable[[str], Any]) -> None:
    runs = [read_run(path) for path in FILES]
    check_page(render_comparison(runs))
    for before in runs:
        for after in runs:
            diff = diff_runs(before, after)
            assert render_diff_text(diff)
            assert render_diff_markdown(diff)
    check_page(render_diff_html(diff_runs(runs[1], runs[3])))

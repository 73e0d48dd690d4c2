"""A part of a report is one folder: it is found by being there, and shows nowhere when it has nothing to say."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from rejoinder.model.runfile import Run
from rejoinder.reports import parts, render_html, render_markdown, summarize
from rejoinder.reports.model import Area

MODULE = """
from rich.text import Text

from rejoinder.reports.model import Area, Part


def read(report):
    took = [exchange.ended_at for exchange in report.run.exchanges]
    return max(took) if took else None


def markdown(slowest, report, room):
    assert 0 < room <= 60_000
    return [f"Longest reply in Markdown: {slowest:.2f} s", ""]


def terminal(slowest, report, width):
    return [Text(f"  longest reply on {width} columns: {slowest:.2f} s")]


PART = Part(__name__, Area.OVERVIEW, 75, read, nav="Longest", markdown=markdown, terminal=terminal,
            page_values=lambda slowest, report: {"unit": "s <after all>"})
"""
TEMPLATE = """<section id="longest_reply"><h2>Longest reply</h2>
<p>{{ "%.2f" | format(it) }} {{ unit }} of {{ report.run.exchanges | length }}</p></section>
"""


@pytest.fixture
def longest_reply(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Add a part: one folder with two files."""
    folder = tmp_path / "longest_reply"
    folder.mkdir()
    (folder / "__init__.py").write_text(MODULE, "utf-8")
    (folder / "part.html.j2").write_text(TEMPLATE, "utf-8")
    monkeypatch.setattr(parts, "__path__", [*parts.__path__, str(tmp_path)])
    parts.all_parts.cache_clear()
    yield
    parts.all_parts.cache_clear()
    sys.modules.pop(f"{parts.__name__}.longest_reply", None)


@pytest.mark.usefixtures("longest_reply")
def test_a_new_folder_is_a_new_part_in_every_form(examples: ModuleType, check_page: Any) -> None:
    run = examples.typical()
    took = f"{max(exchange.ended_at for exchange in run.exchanges):.2f} s"
    page = render_html(run)
    check_page(page)
    assert f"<h2>Longest reply</h2>\n<p>{took} &lt;after all&gt; of {len(run.exchanges)}</p>" in page
    assert '<a href="#longest_reply">Longest</a>' in page
    # It stands where its order says: after the features, before the rules.
    assert page.index('id="capabilities"') < page.index('id="longest_reply"') < page.index('<section id="findings">')
    assert f"Longest reply in Markdown: {took}" in render_markdown(run)
    assert f"  longest reply on 60 columns: {took}" in summarize(run).plain(60)


@pytest.mark.usefixtures("longest_reply")
def test_a_part_without_content_shows_nowhere() -> None:
    for text in (render_html(Run({})), render_markdown(Run({})), summarize(Run({})).plain()):
        assert "ongest reply" not in text


def test_parts_have_a_place_of_their_own_and_a_form() -> None:
    found = parts.all_parts()
    assert len({part.name for part in found}) == len(found)
    for area in Area:
        orders = [part.order for part in found if part.area is area]
        assert len(orders) == len(set(orders))
    for part in found:
        assert part.package == f"rejoinder.reports.parts.{part.name}"
        on_page = files(part.package).joinpath("part.html.j2").is_file()
        assert on_page or part.markdown or part.terminal
        assert on_page or not part.nav

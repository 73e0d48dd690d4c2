"""A part of a report is one folder: it is found by being there, and shows nowhere when it has nothing to say."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from rejoinder.model.header import RunTarget, new_header
from rejoinder.model.runfile import Run
from rejoinder.reports import parts, render_html, render_markdown, summarize
from rejoinder.reports.model import Area

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "contribute-code.md").read_text("utf-8")
FILES = dict(
    re.findall(r"(?m)^`reports/parts/replies/([\w.]+)`:\n\n```\w+\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
)
"""The part that docs/how-to/contribute-code.md adds: its two files."""


@pytest.fixture
def replies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Add the part of docs/how-to/contribute-code.md: one folder with two files."""
    folder = tmp_path / "replies"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text, "utf-8")
    monkeypatch.setattr(parts, "__path__", [*parts.__path__, str(tmp_path)])
    parts.all_parts.cache_clear()
    yield
    parts.all_parts.cache_clear()
    sys.modules.pop(f"{parts.__name__}.replies", None)


@pytest.mark.usefixtures("replies")
def test_a_new_folder_is_a_new_part_in_every_form(examples: ModuleType, check_page: Any) -> None:
    run = examples.typical()
    times = [exchange.ended_at for exchange in run.exchanges if exchange.ok]
    sentence = f"{len(times)} replies: median 210 ms, longest {1000 * max(times):.0f} ms"
    page = render_html(run)
    check_page(page)
    assert f"<h2>How long replies took</h2>\n<p>{sentence}</p>" in page
    assert '<a href="#replies">Replies</a>' in page
    # It stands where its order says: after the baseline, before the findings.
    assert page.index('id="baseline"') < page.index('id="replies"') < page.index('<section id="findings">')
    assert f"\n{sentence}\n" in render_markdown(run)
    assert f"\n  {sentence}\n" in summarize(run).plain()


@pytest.mark.usefixtures("replies")
def test_a_part_without_content_shows_nowhere() -> None:
    empty = Run(new_header(RunTarget(url="", model=None, dialect="northstar")))
    for text in (render_html(empty), render_markdown(empty), summarize(empty).plain()):
        assert "replies" not in text


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

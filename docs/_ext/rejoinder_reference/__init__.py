"""A Sphinx extension that writes the reference pages from the source before a build.

Each module has a function ``pages``, which returns the text of its pages (MyST Markdown) by their names below
``docs/reference``. Nothing else writes these pages, and none of them is committed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata

from rejoinder_reference import api, catalogue, commands, files, findings, measurements, strategies

KEPT = "index.md"
"""The page of the folder that people write."""


def all_pages() -> dict[str, str]:
    """Return the text of every generated page by its name, such as ``rules/sse``."""
    found: dict[str, str] = {}
    for module in (catalogue, commands, measurements, files, findings, strategies, api):
        for name, text in module.pages().items():
            if name in found:
                raise ValueError(f"Two generators write the page {name}.")
            found[name] = text.rstrip("\n") + "\n"
    return found


def write_pages(folder: Path) -> None:
    """Write the generated pages into a folder, and remove all others but the index.

    A page that has not changed is left alone, so that an incremental build stays fast.
    """
    wanted = {folder / f"{name}.md": text for name, text in all_pages().items()}
    for path in _generated(folder):
        if path not in wanted:
            path.unlink()
    for path, text in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")


def _generated(folder: Path) -> Iterator[Path]:
    yield from (path for path in folder.rglob("*.md") if path != folder / KEPT)


def setup(app: Sphinx) -> ExtensionMetadata:
    """Write the pages when a build begins."""
    app.connect("builder-inited", lambda app: write_pages(Path(app.srcdir) / "reference"))
    app.connect("missing-reference", api.resolve_internal)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}

"""The documentation site: mistakes in pages fail the build and name the page and the line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow(5)

DOCS = Path(__file__).parents[2] / "docs"
INDEX = "# Start\n\n```{toctree}\nother\n```\n\n"
OTHER = "# Other page\n\n(sse-02)=\n## SSE-02 data is a JSON object\n\nText.\n"
MISTAKES = {
    "[dead](nowhere.md)": "'nowhere.md'",
    "[dead](other.md#nothing)": "'nothing'",
    "[dead](#somewhere)": "'somewhere'",
    "![dead](picture.png)": "picture.png",
    "{py:class}`rejoinder.model.Nowhere`": "rejoinder.model.Nowhere",
    "{norole}`x`": "norole",
}


def build(folder: Path, **pages: str) -> subprocess.CompletedProcess[str]:
    """Build a site of a few pages with the settings of ours, all but the generated reference."""
    source = folder / "source"
    source.mkdir()
    for name, text in pages.items():
        (source / f"{name}.md").write_text(text)
    settings = ["-c", str(DOCS), "-D", "extensions=myst_parser,sphinx.ext.autodoc"]
    argv = [
        sys.executable,
        "-m",
        "sphinx",
        "-W",
        "--keep-going",
        "-n",
        "-q",
        *settings,
        str(source),
        str(folder / "html"),
    ]
    return subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)


def test_links_to_pages_headings_and_rules_are_followed(tmp_path: Path) -> None:
    links = "[page](other.md) [rule](other.md#sse-02) [heading](other.md#other-page) [here](#start)\n"
    done = build(tmp_path, index=INDEX + links, other=OTHER)
    assert done.returncode == 0, done.stderr
    html = (tmp_path / "html" / "index.html").read_text("utf-8")
    assert 'href="other.html#sse-02"' in html
    # A page loads nothing from the network.
    assert 'src="http' not in html
    assert 'rel="stylesheet" type="text/css" href="http' not in html


def test_a_dead_link_fails_the_build_and_names_page_and_line(tmp_path: Path) -> None:
    done = build(tmp_path, index=INDEX + "\n\n".join(MISTAKES), other=OTHER, lost="# Lost\n")
    assert done.returncode == 1
    first = INDEX.count("\n") + 1
    for number, (text, words) in enumerate(MISTAKES.items()):
        place = f"{tmp_path}/source/index.md:{first + 2 * number}: "
        assert any(place in line and words in line for line in done.stderr.splitlines()), (text, done.stderr)
    assert any("lost.md" in line and "toctree" in line for line in done.stderr.splitlines())

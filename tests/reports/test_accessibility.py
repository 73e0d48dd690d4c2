"""Every kind of page before axe-core in a real browser, in light and in dark.

The check is run where both are there: a Chromium on the path, and axe-core, an npm package, in ``node_modules`` at the
root of the repository, in a folder that the path leads to, or where ``AXE_CORE`` says.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from rejoinder.reports import diff_runs, render_comparison, render_diff_html, render_html

BROWSER = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)


def _axe() -> Path | None:
    places = [Path(__file__).parents[2] / "node_modules" / "axe-core"]
    if os.environ.get("AXE_CORE"):
        places.insert(0, Path(os.environ["AXE_CORE"]))
    return next((file for place in places if (file := place / "axe.min.js").exists()), None)


AXE = _axe()
pytestmark = [
    pytest.mark.slow(1),
    pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine"),
    pytest.mark.skipif(AXE is None, reason="no axe-core on this machine; AXE_CORE names its folder"),
]

RUN = """
setTimeout(() => axe.run(document, {resultTypes: ["violations"]}).then(
  (found) => {
    const told = found.violations.map((violation) => ({
      id: violation.id,
      impact: violation.impact,
      help: violation.help,
      nodes: violation.nodes.slice(0, 5).map((node) => node.target.join(" ") + " " + node.failureSummary),
    }));
    document.body.dataset.axe = JSON.stringify({ passes: found.passes.length, told });
  },
  (error) => { document.body.dataset.axe = JSON.stringify({ passes: 0, told: [{ id: String(error) }] }); },
), 400);
"""


def violations(text: str, theme: str, folder: Path) -> tuple[int, list[dict[str, Any]]]:
    """Return the number of rules that axe-core finds kept on a page, and what it finds broken.

    All that the page folds away is opened first, so that it is looked at too.
    """
    assert BROWSER is not None
    assert AXE is not None
    # Far parts are not laid out until they are scrolled to; the checker must see them all the same.
    opened = "for (const item of document.querySelectorAll('details')) item.open = true;"
    shown = "for (const item of document.querySelectorAll('article, tbody')) item.style.contentVisibility = 'visible';"
    script = f"{opened}\n{shown}\n{AXE.read_text()}\n{RUN}"
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    # The policy of the page is kept and admits the checker alone besides.
    text = text.replace("script-src '", f"script-src 'sha256-{digest}' '", 1)
    text = text.replace('<html lang="en">', f'<html lang="en" data-theme="{theme}">', 1)
    text = text.replace("</body>", f"<script>{script}</script></body>", 1)
    page = folder / f"{theme}.html"
    page.write_bytes(text.encode())
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
    flags += ["--disable-background-networking", "--disable-component-update", "--virtual-time-budget=120000"]
    flags += [f"--user-data-dir={folder / 'profile'}", "--window-size=1280,1000"]
    done = subprocess.run([BROWSER, *flags, "--dump-dom", page.as_uri()], capture_output=True, timeout=300, check=True)
    match = re.search(r'<body[^>]* data-axe="([^"]*)"', done.stdout.decode())
    assert match is not None, "axe-core did not finish"
    found = json.loads(unescape(match.group(1)))
    return found["passes"], found["told"]


PAGES = ["typical", "green", "load", "sweep", "rate", "compared", "unanswered", "unreachable", "diff", "comparison"]


def write(name: str, examples: ModuleType) -> str:
    """Return a page by name."""
    if name == "diff":
        return render_diff_html(diff_runs(examples.green(), examples.typical()))
    if name == "comparison":
        return render_comparison([examples.typical(), examples.green(), examples.load_only()])
    return render_html(examples.EXAMPLES[name]())


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing(name: str, theme: str, examples: ModuleType, tmp_path: Path) -> None:
    _, told = violations(write(name, examples), theme, tmp_path)
    assert told == []


def test_axe_would_find_something(examples: ModuleType, tmp_path: Path) -> None:
    text = write("green", examples).replace("</main>", '<img src="x.png"><button></button></main>', 1)
    _, told = violations(text, "light", tmp_path)
    assert {violation["id"] for violation in told} >= {"image-alt", "button-name"}

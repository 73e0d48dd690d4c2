"""The page in a real browser, where there is one: its script, its filter, its links, and its silence."""

from __future__ import annotations

import http.server
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from rejoinder.reports import diff_runs, render_comparison, render_diff_html, render_html

BROWSER = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
pytestmark = [pytest.mark.slow(1), pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")]


def dump(page: Path, fragment: str, folder: Path) -> str:
    """Return the document as it stands after the page's script ran."""
    assert BROWSER is not None
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
    flags += ["--disable-background-networking", "--disable-component-update", f"--user-data-dir={folder / 'profile'}"]
    done = subprocess.run(
        [BROWSER, *flags, "--dump-dom", f"{page.as_uri()}{fragment}"], capture_output=True, timeout=120, check=True
    )
    return done.stdout.decode()


@pytest.fixture(scope="module")
def page(examples: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render_html(examples.typical()), "utf-8")
    return path


def _shown(document: str) -> list[str]:
    articles = re.findall(r"<article([^>]*)>\s*<h4><a[^>]*><code>([^<]*)", document)
    return [rule for attributes, rule in articles if "hidden" not in attributes]


def test_the_address_holds_the_filter(page: Path, tmp_path: Path) -> None:
    document = dump(page, "#?status=fail,warn&q=sequence_number%20event", tmp_path)
    assert _shown(document) == ["EVT-02"]
    rows = re.findall(r'<tr id="r-([\w-]+)"([^>]*)>', document)
    assert [rule for rule, attributes in rows if "hidden" not in attributes] == ["EVT-02"]
    assert "1 of " in document
    assert document.count('aria-pressed="true"') == 2


def test_a_link_opens_its_finding(page: Path, examples: ModuleType, tmp_path: Path) -> None:
    anchor = next(
        f"f-{finding.fingerprint}"
        for verdict in examples.typical().verdicts
        if verdict.rule == "USG-02"
        for finding in verdict.findings
    )
    assert f'id="{anchor}">' in page.read_text("utf-8")
    assert re.search(f'<details class="finding" id="{anchor}" open', dump(page, f"#{anchor}", tmp_path))


def _branches(document: str) -> list[str]:
    tree = document[document.index('<div class="tree"') :]
    found = re.findall(r"<li([^>]*)>(?:<details[^>]*>\s*<summary>)?<code>([^<]*)", tree)
    return [label for attributes, label in found if "hidden" not in attributes]


def test_the_filter_finds_branches(page: Path, tmp_path: Path) -> None:
    document = dump(page, "#?q=customtoolcalloutput%20input_file%20file_id", tmp_path)
    assert _branches(document) == []
    assert "No branch of the contract matches." in document
    document = dump(page, "#?branch=server_error&q=easyinputmessageparam", tmp_path)
    shown = _branches(document)
    assert shown[0] == "input"
    assert ".image_url" in shown
    assert ".role" not in shown
    assert re.search(r'<li id="b-input"[^>]*>\s*<details open', document)
    assert 'data-value="server_error" aria-pressed="true"' in document


def test_a_tile_leads_to_its_part(page: Path, tmp_path: Path) -> None:
    document = dump(page, "#b-reasoning", tmp_path)
    assert re.search(r'<li id="b-reasoning"[^>]*><details open', document)


def test_comparisons_have_the_filter_too(examples: ModuleType, tmp_path: Path) -> None:
    diff = tmp_path / "diff.html"
    diff.write_text(render_diff_html(diff_runs(examples.green(), examples.typical())), "utf-8")
    document = dump(diff, "#?status=changed&q=usage", tmp_path)
    rows = re.findall(r'<tr id="d-([\w-]+)"([^>]*)>', document)
    assert [rule for rule, attributes in rows if "hidden" not in attributes] == ["USG-02"]
    table = tmp_path / "table.html"
    table.write_text(render_comparison([examples.green(), examples.typical()]), "utf-8")
    document = dump(table, "#?status=differs", tmp_path)
    rows = re.findall(r'<tr id="m-([\w-]+)"([^>]*)>', document)
    shown = [rule for rule, attributes in rows if "hidden" not in attributes]
    assert {"EVT-02", "USG-02", "ERR-01"} <= set(shown)
    assert len(shown) < 10


# By hand: keys, sizes, and what the page asks for.


@pytest.fixture(scope="module")
def browser(chromium: ModuleType) -> Iterator[Any]:
    with chromium.Chromium() as it:
        yield it


FOCUS = """(() => {
  const at = document.activeElement;
  const box = at.getBoundingClientRect();
  return { name: (at.getAttribute("aria-label") || at.textContent).trim().split("\\n")[0], tag: at.localName,
           id: at.id, top: box.top, seen: box.width > 0 && box.bottom > 0 && box.top < innerHeight,
           ring: getComputedStyle(at).outlineStyle !== "none" || at.matches(".map a") };
})()"""


def test_the_keyboard_goes_through_the_page_in_order(page: Path, browser: Any) -> None:
    browser.open(page)
    stops = []
    for _ in range(400):
        browser.press("Tab")
        stop = browser.run(FOCUS)
        if stop["tag"] == "body":
            break
        assert stop["seen"], stop  # what has the focus is on the screen
        assert stop["ring"], stop  # and can be told from the rest
        stops.append(stop)
    names = [stop["name"] for stop in stops]
    assert names[0] == "Skip to the verdict"
    expected = [
        "Findings",
        "Colours: Auto",
        "MUST",
        "Copy the address",
        "Copy the command",
        "HTTP",
        "Family",
        "Search",
    ]
    places = [next(n for n, name in enumerate(names) if name.startswith(word)) for word in expected]
    assert places == sorted(places)
    assert places[-1] < names.index("Open all")
    assert sum(stop["tag"] == "summary" for stop in stops) > 20
    # The map of the contract is one stop, whatever its number of parts.
    assert browser.run("document.querySelectorAll('.map a').length") > 20
    assert browser.run("document.querySelectorAll('.map a[tabindex=\"0\"], .map a:not([tabindex])').length") == 1


def test_keys_open_filter_and_walk(page: Path, browser: Any) -> None:
    browser.open(page)
    browser.press("/")
    assert browser.run("document.activeElement.getAttribute('aria-label')") == "Search"
    for letter in "usage":
        browser.press(letter)
    assert "q=usage" in browser.run("location.hash")
    assert browser.run("[...document.querySelectorAll('#findings article:not([hidden])')].length") == 1
    browser.press("Escape")
    assert "q=" not in browser.run("location.hash")
    # Enter opens and closes a finding.
    browser.run("document.querySelectorAll('details.finding summary')[2].focus()")
    for opened in (True, False):
        browser.press("Enter")
        assert browser.run("document.querySelectorAll('details.finding')[2].open") is opened
    # Arrows walk over the map, Enter leads to the part's place in the tree and opens it.
    browser.run("document.querySelector('.map a').focus()")
    seen = set()
    for key in ("ArrowRight", "ArrowDown", "ArrowRight", "ArrowUp"):
        browser.press(key)
        seen.add(browser.run("document.activeElement.querySelector('title').textContent"))
        assert browser.run("document.querySelector('.map + .readout').textContent") in seen
    assert len(seen) > 1
    href = browser.run("document.activeElement.getAttribute('href')")
    browser.press("Enter")
    assert browser.run("location.hash") == href
    assert browser.run(f"document.querySelector('{href}').matches(':target')")


@pytest.mark.parametrize("width", [360, 800, 1600])
@pytest.mark.parametrize("name", ["typical", "green", "empty", "load", "many", "hostile"])
def test_nothing_is_wider_than_the_screen(
    name: str, width: int, examples: ModuleType, browser: Any, tmp_path: Path
) -> None:
    file = tmp_path / "page.html"
    file.write_text(render_html(examples.EXAMPLES[name]()), "utf-8")
    browser.open(file, width=width)
    browser.run("for (const item of document.querySelectorAll('details')) item.open = true")
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.requests() == [file.as_uri()]


def test_findings_are_on_the_first_screen(examples: ModuleType, browser: Any, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text(render_html(examples.sandboxed("indexes-missing-on-deltas")), "utf-8")
    browser.open(file, width=1600, height=1000)
    assert browser.run("document.getElementById('fix-first').getBoundingClientRect().top") < 1000


def test_thousands_of_findings_open_at_once(examples: ModuleType, browser: Any, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text(render_html(examples.many()), "utf-8")
    browser.open(file)
    # Counted in what the browser lays out, not in time: far parts are skipped until they are scrolled to.
    assert browser.run("document.querySelectorAll('*').length") < 16_000
    laid = (
        "[...document.querySelectorAll('article h4')].filter((it) => it.checkVisibility({contentVisibilityAuto: true}))"
    )
    assert 0 < browser.run(f"{laid}.length") < 181


class _Listener(http.server.BaseHTTPRequestHandler):
    seen: list[str] = []  # noqa: RUF012

    def do_GET(self) -> None:
        self.seen.append(self.path)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def listener() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Listener)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_the_policy_holds_even_past_the_escaping(page: Path, listener: str, tmp_path: Path) -> None:
    # Markup that is put into the page by force, as if the escaping had failed, can neither run nor call home.
    attack = (
        f'<img src="{listener}/img" onerror="document.title=1"><script>document.title="owned"</script>'
        f'<script src="{listener}/js"></script><link rel="stylesheet" href="{listener}/css">'
        f'<iframe src="{listener}/frame"></iframe><style>body{{background:url({listener}/bg)}}</style>'
    )
    text = page.read_text("utf-8").replace("<main", f"{attack}<main", 1)
    bad = tmp_path / "bad.html"
    bad.write_text(text, "utf-8")
    document = dump(bad, "", tmp_path)
    assert "<title>Does not conform" in document
    assert _Listener.seen == []
    # The same markup without the policy does call home, so the silence above says something.
    bad.write_text(re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text), "utf-8")
    dump(bad, "", tmp_path)
    assert "/img" in _Listener.seen

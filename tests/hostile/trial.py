"""One behaviour of the hostile endpoint met by one command, and everything that must hold then.

Whatever an endpoint does, a command ends in time with a documented exit code and a sentence, keeps its memory bounded,
leaves a run file that can be read, and writes reports in which the endpoint's text is only text and the key is nowhere.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from markdown_it import MarkdownIt
from tests.hostile.behaviours.tls import authority
from tests.hostile.command import Ended, rejoinder
from tests.hostile.endpoint import Behaviour, HostileEndpoint, On
from tests.reports.page_checks import check_page
from tests.surfaces import ACTIVE, formulas, obeyed

from rejoinder import reports
from rejoinder.errors import RunFileError
from rejoinder.model.runfile import Run

KEY: Final = "sk-hostile-7f3K9qLm2Zx8Wv"
PEAK: Final = {"check": 500_000_000, "load": 300_000_000, "replay": 500_000_000}
"""Bytes of resident memory that one process of a command may take."""
CODES: Final = {"check": {0, 1, 2, 3}, "load": {0, 1, 2, 3, 4}, "replay": {0, 1, 2}}
"""The exit codes that each command documents for a run that nobody interrupts."""
SPARES: Final = 6
"""Creates that are answered properly before a late behaviour begins, so that the preflight passes."""
TIMEOUT: Final = "2"

Mode = str
MODES: Final[dict[Mode, tuple[str, ...]]] = {
    "check": ("check", "--plan", "smoke", "--timeout", TIMEOUT, "--quiet"),
    "check-late": ("check", "--plan", "smoke", "--timeout", TIMEOUT, "--quiet"),
    "load": (
        *("load", "--requests", "20", "--duration", "5s", "--concurrency", "2", "--timeout", f"{TIMEOUT}s"),
        *("--metrics", "auto", "--quiet"),
    ),
}
"""The arguments of each mode: the behaviour meets a check from the first create on, a check later on, and a load."""


EVERY_MODE: Final[tuple[Mode, ...]] = (*MODES, "replay")
"""All modes; a replay repeats the findings of the late check."""


def told_mode(behaviour: Behaviour) -> Mode:
    """Return the mode in which the behaviour meets a command first: its sentence says most of the behaviour."""
    return "load" if behaviour.on is On.METRICS else "check"


def told(behaviour: Behaviour, mode: Mode) -> bool:
    """Return whether tests/hostile/expected.toml holds the exit code and the sentence of a mode.

    How many requests of a load end in which way depends on when they meet the behaviour, so it holds those of loads
    only for behaviours of /metrics.
    """
    return mode != "load" or told_mode(behaviour) == "load"


_OUR_HTML: Final = re.compile(
    r"</?(details|span|b|code|br)( open)?>|(<details>)?<summary>[\w ]+</summary>|<!--[^<>]*-->"
)
"""The HTML that our own Markdown contains."""


_RENDER: Final[dict[str, Callable[[Run], str]]] = {
    "html": reports.render_html,
    "junit": reports.render_junit,
    "markdown": reports.render_markdown,
    "ctrf": reports.render_ctrf,
    "badge": reports.render_badge,
    "csv": reports.render_csv,
}
"""Every format that a run can be reported in."""


@dataclass(frozen=True, slots=True)
class Trial:
    """How a command met a behaviour: ``problems`` is what did not hold, one sentence each."""

    behaviour: Behaviour
    mode: Mode
    ended: Ended | None
    problems: tuple[str, ...]

    def keeps(self, expected: dict[str, Any]) -> bool:
        """Return whether the exit code is the expected one, and the sentence the expected one or one of a list.

        A list has the sentences between which a race of the network decides.
        """
        says = expected["says"]
        said = self.sentence in (says if isinstance(says, list) else [says])
        code = self.account["code"]
        # Whether a busy machine limited a load (exit code 4) depends on the machine.
        return said and (code == expected["code"] or (self.mode == "load" and (code, expected["code"]) == (4, 0)))

    @property
    def account(self) -> dict[str, int | str]:
        """The exit code and the sentence, as tests/hostile/expected.toml holds them."""
        return {"code": self.ended.code if self.ended else -1, "says": self.sentence}

    @property
    def sentence(self) -> str:
        """The error, or the headline; addresses, sizes and times are replaced, so that runs can be compared."""
        lines = self.ended.text.strip().splitlines() if self.ended else []
        errors = [line for line in lines if line.startswith("Error: ")]
        sentence = (errors or lines or ["(nothing)"])[0]
        if self.mode == "load":  # its sign depends on the machine, too
            sentence = sentence.removeprefix("! ").removeprefix("✓ ")
        if self.mode == "replay":
            lines = [re.sub(r"^\S+ has no findings", "RUN has no findings", line) for line in lines]
            ended = [line for line in lines if re.match(r"\d+ of \d+ findings? still", line)]
            sentence = (errors or ended or lines or ["(nothing)"])[0]
            sentence = re.sub(r"\d+ of \d+ findings? still reproduces?", "N of N findings still reproduce", sentence)
        sentence = re.sub(r"after [\d,]+ bytes of", "after N bytes of", sentence)
        sentence = re.sub(r"in each of \d+ forms", "in each of N forms", sentence)
        sentence = re.sub(r"Retry-After \d{7,} s", "Retry-After N s", sentence)
        return re.sub(r"127\.0\.0\.1:\d+", "HOST", sentence)[:200]


def trial(behaviour: Behaviour, mode: Mode, folder: Path) -> Trial:
    """Let one command meet a behaviour; its run and reports go to ``folder``."""
    command, *options = MODES[mode]
    spares = SPARES if mode == "check-late" else behaviour.spares
    if behaviour.tls:
        file = folder.with_suffix(".pem")
        authority().cert_pem.write_to_path(file)
        options += ["--ca-file", str(file)]
    with HostileEndpoint(replace(behaviour, spares=spares)) as endpoint:
        try:
            ended = rejoinder(command, endpoint.url, *options, folder=folder, key=KEY)
        except subprocess.TimeoutExpired:
            return Trial(behaviour, mode, None, ("It did not end.",))
    return Trial(behaviour, mode, ended, tuple(problems(command, ended)))


def replayed(behaviour: Behaviour, run: Path, folder: Path) -> Trial:
    """Replay the findings of a run against the same behaviour."""
    with HostileEndpoint(replace(behaviour, spares=SPARES)) as endpoint:
        options = ["--all", "--url", endpoint.url, "--timeout", TIMEOUT, "--quiet"]
        if behaviour.tls:
            options += ["--ca-file", str(run.with_suffix(".pem"))]
        try:
            ended = rejoinder("replay", str(run), *options, folder=folder, key=KEY)
        except subprocess.TimeoutExpired:
            return Trial(behaviour, "replay", None, ("It did not end.",))
    return Trial(behaviour, "replay", ended, tuple(problems("replay", ended)))


def problems(command: str, ended: Ended) -> Iterator[str]:
    """Yield what does not hold after a command."""
    if ended.code not in CODES[command]:
        yield f"Exit code {ended.code}."
    if "Traceback" in ended.text:
        yield "A traceback: " + ended.text[ended.text.index("Traceback") :][-400:]
    sentence = r"^(Error: \S.*[.:]|✗ \d.* requests (failed|succeeded))"
    if ended.code == 2 and not re.search(sentence, ended.text, re.MULTILINE):
        yield "Exit code 2 without a sentence."
    if ended.peak > PEAK[command]:
        yield f"{ended.peak / 1e6:.0f} MB of memory."
    yield from (f"The terminal: {problem}" for problem in in_log(ended.text))
    folder = ended.folder
    assert folder is not None
    if (folder / "run.ndjson").exists():
        try:
            yield from _reports(folder, ended.run())
        except RunFileError as error:
            yield f"The run file: {error}"
    elif ended.code != 2 and not ended.text.endswith("has no findings.\n"):
        yield "No run file."
    for file in sorted(folder.rglob("*")):
        if file.is_file() and (forms := _keys(file.read_bytes())):
            yield f"{file.name} has the key ({', '.join(forms)})."
    if forms := _keys(ended.text.encode()):
        yield f"The terminal has the key ({', '.join(forms)})."


def _keys(data: bytes) -> list[str]:
    key = KEY.encode()
    forms = {
        "as it is": key,
        "base64": base64.b64encode(key).rstrip(b"="),
        "hexadecimal": key.hex().encode(),
        "upper hexadecimal": key.hex().upper().encode(),
        "upper case": key.upper(),
        "lower case": key.lower(),
        "URL": quote(KEY, safe="").encode(),
        "entities": "".join(f"&#{ord(c)};" for c in KEY).encode(),
        "percents": "".join(f"%{ord(c):02x}" for c in KEY).encode(),
    }
    return [name for name, form in forms.items() if form in data]


def in_log(text: str) -> Iterator[str]:
    """Yield what a terminal or a runner of CI would obey in a log."""
    if odd := set(ACTIVE.findall(text)):
        yield f"control characters {sorted(map(ascii, odd))}"
    if lines := obeyed(text):
        yield f"a command {lines[0][:60]!a}"


def _reports(folder: Path, run: Run) -> Iterator[str]:
    """Render every report of a run, and yield what a reader of each would obey, or that it has the key."""
    for kind, render in _RENDER.items():
        text = render(run)
        yield from (f"{kind}: {problem}" for problem in _in_report(kind, text))
        if forms := _keys(text.encode("utf-8", "surrogatepass")):
            yield f"{kind} has the key ({', '.join(forms)})."
    for name, kind in (("report.html", "html"), ("junit.xml", "junit")):
        if (folder / name).exists():
            yield from (f"{name}: {problem}" for problem in _in_report(kind, (folder / name).read_text("utf-8")))


def _in_report(kind: str, text: str) -> Iterator[str]:
    match kind:
        case "html":
            try:
                check_page(text)
            except AssertionError as error:
                yield f"not a page of ours: {error}"
        case "junit":
            ElementTree.fromstring(text)
        case "markdown":
            yield from in_log(text)
            for token in MarkdownIt("commonmark").enable("table").parse(text):
                for inner in token.children or [token]:
                    place = str(inner.attrs.get("href") or inner.attrs.get("src") or "")
                    if inner.type == "image" or ".invalid" in place or place.startswith("javascript:"):
                        yield f"a link or image to {place}"
                    if inner.type.startswith("html") and not _OUR_HTML.fullmatch(inner.content.strip()):
                        yield f"HTML {inner.content[:60]}"
        case "ctrf" | "badge":
            json.loads(text, parse_constant=_no_constant)
        case "csv":
            yield from (f"a formula {cell[:40]!a}" for cell in formulas(text))


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON.")

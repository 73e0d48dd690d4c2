"""Every command and example in the README, CONTRIBUTING.md and docs/ is run, page by page and in order.

Commands run against the sandbox in a temporary folder. A page that starts a sandbox gets the one that it starts. What a
page writes under a file name (a paragraph like ```config.toml`:`` and a block) is in that file. :data:`SHORTER` is all
that is changed. A block that cannot be run here has a comment above it with the reason::

    <!-- not run: needs a GPU -->

``python tests/docs/test_pages.py`` lists these blocks.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest
import tomlkit
import yaml
from markdown_it import MarkdownIt

from rejoinder.cli import COMMANDS, cli
from rejoinder.conformance.baseline import baseline_schema
from rejoinder.contract import load_dialect
from rejoinder.errors import ExitCode, RejoinderError
from rejoinder.load.workload.profiles import load_profile
from rejoinder.sandbox import Sandbox, running
from rejoinder.settings import load_settings, options_of

ROOT = Path(__file__).parents[2]
URL, OTHER = "http://127.0.0.1:8000", "http://127.0.0.1:8001"
COMPLETION_SHELLS = ("zsh", "fish")
"""Shells that may not be here; of these pages only the script for completion is made."""
SHELLS = ("shell", "console", "bash", "sh")
NOT_EXAMPLES = ("diff", "jinja", "text", "http")
"""Languages of what is shown only. The diffs and the template of the pages on contributing have tests of their own."""
RUN = ("rejoinder", "pytest", "locust", "python", "_REJOINDER_COMPLETE=bash_source", "eval", "export", "cd")
"""How the commands begin that are run; a block with others needs a comment that says why it is not."""
DIALECT_TABLES = {"schemas", "overlay", "levels", "freedoms", "stream", "response"}
"""Tables that only a dialect file has; a page may show some of them alone."""
STARTS = r"(\$|rejoinder|pytest|locust|python3?|pip|tox|git|uv|docker|podman|curl|pre-commit|bash) "
"""How a block without a language begins that holds commands."""
SHORTER = (
    (r"^rejoinder check (?=.*--(?:plan full|plan fuzz|certify))(?!.*--budget)", "rejoinder check --budget 60requests "),
    (r"--budget \S+", "--budget 60requests"),
    (r"^rejoinder load +(?=http)(?!.*--(?:duration|requests|probe))", "rejoinder load --duration 1s "),
    (r"--duration (?!1s)\S+", "--duration 1s"),
    (r"--requests \d+", "--requests 8"),
    (r"--sweep 1,\S+", "--sweep 1,2"),
    (r"--find-rate \S+", "--find-rate 8..8.2"),
    (r"--repeats \d+", "--repeats 3"),
    (r"^rejoinder load (?=.*--max-change)(?!.*--repeats)", "rejoinder load --repeats 3 "),
    (r"--rejoinder-duration \d+", "--rejoinder-duration 1"),
    (r"^locust (?!.*--headless)", "locust --headless -u 1 -r 1 --rejoinder-duration 1 "),
    (r"^(pytest|locust) ", r"python -m \1 "),
    (r"-m pytest ", "-m pytest -p no:locust -p no:cacheprovider "),
    (r"--rejoinder-plan quick", "--rejoinder-plan smoke"),
)
"""What is changed in commands, so that they take seconds and end by themselves: patterns and what takes their place."""
SHORTER_PROFILES = ((r"(?<=@)\d+(?:s|min|h)\b", "1s"), (r'(?<=duration = ")[^"]+', "3s"))
"""What is changed in workload files."""
CODES = {"rejoinder": (0, 1, 4), "pytest": (0, 1), "locust": (0, 1)}
"""Exit codes of commands that work. 1: the sandbox fails a rule. 4: this machine is too busy to measure."""
OPENAPI = ROOT / "tests/contract/openapi/openresponses-2026-04-24.json"
"""The document that commands find as ``openapi.json``."""
ASSUMED = {"OPENAI_API_KEY": "your-key"}
"""What pages assume to be in the environment."""


class Block(NamedTuple):
    """One block of code: its page and line, language, the file that it shows, why it is not run, the text below it."""

    page: str
    line: int
    language: str
    text: str
    file: str
    reason: str
    after: str = ""

    @property
    def exit_code(self) -> int | None:
        """The exit code of the last command, where a tutorial says it below the block."""
        found = re.search(r"\bthe exit code is (\d+)(?!,? (?:when|if|and))", self.after, re.IGNORECASE)
        if not self.page.startswith("docs/tutorial/"):
            return None
        return int(found[1]) if found else None

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def read_blocks(page: Path, root: Path = ROOT) -> list[Block]:
    """Return the blocks of code of a page, fenced and indented."""
    blocks, before = [], ""
    name = str(page.relative_to(root))
    for token in MarkdownIt().parse(page.read_text("utf-8")):
        if token.type in ("fence", "code_block"):
            assert token.map is not None
            language = token.info.split(" ")[0].strip()
            if not language.startswith("{"):  # a directive of the site
                file = re.search(r"`([\w./-]+\.\w+)`:$", before)
                reason = re.search(r"(?:<!--|%) not run: (.*?)(?:\s*-->)?\s*$", before)
                line = token.map[0] + 1
                blocks.append(
                    Block(name, line, language, token.content, file[1] if file else "", reason[1] if reason else "")
                )
            before = ""
        elif token.content:
            before = token.content.strip()
            if blocks:
                blocks[-1] = blocks[-1]._replace(after=f"{blocks[-1].after} {' '.join(before.split())}")
        elif token.type == "heading_open":
            before = ""
    return blocks


def pages() -> list[Path]:
    """Return the pages that people write."""
    found = [path for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md") if path.exists()]
    folders = ("docs", "tutorial", "how-to", "explanation")
    return found + [path for path in sorted((ROOT / "docs").rglob("*.md")) if path.parent.name in folders]


PAGES = {str(page.relative_to(ROOT)): page for page in pages()}


def commands_of(block: Block) -> list[str]:
    """Return the commands of a block: those behind ``$`` where there are any, else all lines but comments."""
    text = block.text.replace("\\\n", " ")
    if re.search(r"(?m)^\$ ", text):
        return re.findall(r"(?m)^\$ (.*)$", text)
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]


def holds_commands(block: Block) -> bool:
    if block.language in SHELLS:
        return True
    return block.language == "" and bool(re.match(STARTS, block.text))


class Session:
    """The folder, the variables and the sandboxes of one page."""

    def __init__(self, folder: Path, url: str, other: str) -> None:
        self.folder, self.url, self.other = folder, url, other
        self.variables = dict(ASSUMED)
        # Every sandbox that the page starts is at one port, as for its reader.
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.server: subprocess.Popen[str] | None = None
        # What commands name from a checkout.
        for name in ("load", "docs", "tests", "benchmarks"):
            (folder / name).symlink_to(ROOT / name)

    @property
    def environment(self) -> dict[str, str]:
        env = {name: value for name, value in os.environ.items() if not name.startswith(("REJOINDER_", "PYTEST_"))}
        path = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
        return {**env, "PATH": path, "HOME": str(self.folder), "COLUMNS": "80", **self.variables}

    def here(self, text: str) -> str:
        return text.replace(URL, self.url).replace(OTHER, self.other)

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        argv = ["bash", "--noprofile", "--norc", "-o", "pipefail", "-c", command]
        return subprocess.run(
            argv, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=300, check=False
        )

    def serve(self, command: str) -> None:
        """Start the sandbox of a command in place of the one before; its port is that of the session."""
        self.close()
        argv = shlex.split(re.sub(r" --port \d+", "", command) + f" --port {self.port}")
        self.server = subprocess.Popen(
            [f"{Path(sys.executable).parent}/{argv[0]}", *argv[1:]],
            cwd=self.folder,
            env=self.environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.server.stderr is not None
        said = ""
        for line in self.server.stderr:
            said += line
            if found := re.search(r"(http://[\d.]+:\d+)/v1", line):
                self.url = found[1]
                return
        raise AssertionError(f"{command} did not start: {said}")

    def close(self) -> None:
        if self.server is not None:
            self.server.send_signal(signal.SIGINT)
            _, said = self.server.communicate(timeout=30)
            assert "Traceback" not in said, said
            self.server = None


@pytest.fixture(scope="module")
def urls() -> Iterator[tuple[str, str]]:
    """Two sandboxes; the first breaks a rule, so that pages about failures have some."""
    faults = ["truncation-reported-as-completed"]
    with running(Sandbox(faults=faults)) as url, running(Sandbox()) as other:
        yield url, other


@pytest.fixture
def session(tmp_path: Path, urls: tuple[str, str]) -> Iterator[Session]:
    session = Session(tmp_path, *urls)
    yield session
    session.close()


@pytest.mark.slow(20)
@pytest.mark.parametrize("name", PAGES)
def test_the_examples_of_a_page_work(name: str, session: Session) -> None:
    for block in read_blocks(PAGES[name]):
        if not block.reason:
            run_block(block, session)


def run_block(block: Block, session: Session) -> None:
    """Run one block; whatever is wrong with it fails with its page and line."""
    try:
        _run_block(block, session)
    except (RejoinderError, ValueError) as error:
        pytest.fail(f"{block.place}: {error}")


def _run_block(block: Block, session: Session) -> None:
    if block.file:
        write_file(block, session.folder)
    if holds_commands(block):
        code = 0
        for command in commands_of(block):
            code = run_command(command, block, session)
        if block.exit_code is not None:
            assert code in (block.exit_code, ExitCode.CLIENT_BOUND), f"{block.place}: the exit code is {code}."
    elif block.language in COMPLETION_SHELLS:
        [script] = re.findall(r"_REJOINDER_COMPLETE=\w+ rejoinder", block.text)
        done = session.run(script)
        assert done.returncode == 0, f"{block.place}: {done.stderr}"
        assert "_REJOINDER_COMPLETE" in done.stdout, block.place
    elif block.language == "python":
        if not block.file:
            run_python(block, session)
    elif block.language in VALIDATORS:
        VALIDATORS[block.language](block, session.folder)
    else:
        shown = block.language in NOT_EXAMPLES or (not block.language and not holds_commands(block))
        assert shown, f"{block.place}: nothing reads {block.language!r}. Add it to the tests, or say why it is not run."


def write_file(block: Block, folder: Path) -> None:
    path = folder / block.file
    if not path.resolve().is_relative_to(folder.resolve()):
        return  # a file of the tree, which a page on contributing shows
    path.parent.mkdir(parents=True, exist_ok=True)
    text = block.text
    if "[[requests]]" in text:
        for pattern, instead in SHORTER_PROFILES:
            text = re.sub(pattern, instead, text)
    path.write_text(text, "utf-8")


def run_command(command: str, block: Block, session: Session) -> int:
    """Run one command and return its exit code."""
    first = command.split(" ")[0]
    assert first in RUN, (
        f"{block.place}: the test does not run {first!r}. Put a comment above the block: <!-- not run: the reason -->"
    )
    if found := re.fullmatch(r"export (\w+)=(.*)", command):
        session.variables[found[1]] = shlex.split(found[2])[0] if found[2] else ""
        return 0
    if command.startswith("rejoinder sandbox") and "--list-faults" not in command:
        session.serve(command)
        return 0
    shorter = session.here(command)
    for pattern, instead in SHORTER:
        shorter = re.sub(pattern, instead, shorter)
    if " openapi.json" in shorter:
        shutil.copy(OPENAPI, session.folder / "openapi.json")
    done = session.run(shorter)
    said = f"{block.place}: {command}\nran as {shorter}\nexit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert done.returncode in CODES.get(first, (0,)), said
    assert "Traceback (most recent call last)" not in done.stderr, said
    assert not re.search(r"(?m)^Error: ", done.stderr), said
    if first == "pytest":
        assert not re.search(r"\berrors?\b|no tests ran", done.stdout.splitlines()[-1]), said
    return done.returncode


def run_python(block: Block, session: Session) -> None:
    """Run a block that is not a file: a script, or a module of tests."""
    path = session.folder / f"test_line_{block.line}.py"
    path.write_text(session.here(block.text), "utf-8")
    if re.search(r"(?m)^(async )?def test_", block.text):
        plan = f"--rejoinder-url {session.url} --rejoinder-plan smoke"
        done = session.run(f"python -m pytest -q -p no:locust -p no:cacheprovider {plan} {path.name}")
    else:
        done = session.run(f"python {path.name}")
    assert done.returncode == 0, f"{block.place}\n{done.stdout}\n{done.stderr}"


def validate_toml(block: Block, folder: Path) -> None:
    """Read a block with what reads such a file."""
    table = tomllib.loads(block.text)
    path = folder / f"line-{block.line}.toml"
    path.write_text(block.text, "utf-8")
    if "known" in table:
        assert baseline_schema().errors(_plain(table)) == [], block.place
    elif "requests" in table:
        assert load_profile(str(path)).kinds, block.place
    elif {"name", "base"} <= table.keys():
        assert load_dialect(path).name == table["name"]
    elif table.keys() <= DIALECT_TABLES:
        for name, file in table.get("schemas", {}).items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text(json.dumps(load_dialect().schema(name)), "utf-8")
        path.write_text(f'name = "own"\n{block.text}', "utf-8")
        assert load_dialect(path).name == "own"
    elif "families" in table or "rule" in table:
        assert block.file, f"{block.place}: name the file of the extension above the block."
    elif "project" in table:
        assert table["project"]["entry-points"]["rejoinder.extensions"], block.place
    else:
        settings = table.get("tool", {}).get("rejoinder", table)
        (folder / "settings").mkdir(exist_ok=True)
        (folder / "settings" / "rejoinder.toml").write_text(tomlkit.dumps(settings), "utf-8")
        commands = {name: cli.get_command(click.Context(cli), name) for name in COMMANDS}
        known = {name: options_of(command) for name, command in commands.items() if command is not None}
        for name in {key for key in settings if key in known and isinstance(settings[key], dict)} or {"check"}:
            assert load_settings(known, name, folder=folder / "settings", environ={}), block.place


def _plain(table: dict[str, Any]) -> Any:
    return json.loads(json.dumps(table, default=str))


def validate_json(block: Block, _: Path) -> None:
    for line in [block.text] if block.text.lstrip().startswith(("{\n", "[")) else block.text.splitlines():
        json.loads(line)


def validate_yaml(block: Block, _: Path) -> None:
    assert yaml.safe_load(block.text), block.place


VALIDATORS = {"toml": validate_toml, "json": validate_json, "yaml": validate_yaml}


def not_run() -> list[Block]:
    """Return the blocks that are not run, with their reasons."""
    return [block for page in PAGES.values() for block in read_blocks(page) if block.reason]


@pytest.mark.parametrize("block", not_run(), ids=lambda block: block.place)
def test_a_block_that_is_not_run_has_a_reason(block: Block) -> None:
    assert len(block.reason.split()) >= 2, f"{block.place}: say why in a few words."


# The runner itself


def page(tmp_path: Path, text: str) -> list[Block]:
    path = tmp_path / "page.md"
    path.write_text(text, "utf-8")
    return read_blocks(path, tmp_path)


def test_blocks_are_found_with_their_file_and_reason(tmp_path: Path) -> None:
    text = """# T

    rejoinder rules

Text.

`a/b.toml`:

```toml
x = 1
```

<!-- not run: needs a GPU here -->
```shell
rejoinder load URL --gpu
```

% not run: needs a GPU too
```shell
$ nvidia-smi
out
```
"""
    found = page(tmp_path, text)
    assert [(block.line, block.language, block.file, block.reason) for block in found] == [
        (3, "", "", ""),
        (9, "toml", "a/b.toml", ""),
        (14, "shell", "", "needs a GPU here"),
        (19, "shell", "", "needs a GPU too"),
    ]
    assert [holds_commands(block) for block in found] == [True, False, True, True]
    assert commands_of(found[3]) == ["nvidia-smi"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("```shell\nrejoinder rules NO-01\n```\n", "page.md:1: rejoinder rules NO-01"),
        ("```shell\nrejoinder check --plam smoke\n```\n", "No such option"),
        ("```shell\ndocker run x\n```\n", "page.md:1: the test does not run 'docker'"),
        ("```python\nimport rejoinder.nothing\n```\n", "page.md:1"),
        ("```python\ndef test_it(rejoinder_target):\n    assert not rejoinder_target\n```\n", "page.md:1"),
        ("```toml\nplam = 1\n```\n", "page.md:1: "),
        ("```toml\n[[known]]\nrule = 1\n```\n", "page.md:1"),
        ("```toml\n[[requests]]\nwait = 1\n```\n", "page.md:1: "),
        ('```toml\nname = "n"\ntitle = "t"\nbase = "x"\n```\n', "page.md:1: "),
        ("```json\n{'a': 1}\n```\n", "page.md:1: Expecting property name"),
        ("```ini\na = 1\n```\n", "page.md:1: nothing reads 'ini'"),
    ],
)
@pytest.mark.slow(2)
def test_a_page_with_a_mistake_fails_and_names_the_place(
    text: str, words: str, session: Session, tmp_path: Path
) -> None:
    [block] = page(tmp_path, text)
    with pytest.raises((AssertionError, pytest.fail.Exception), match=re.escape(words)):
        run_block(block, session)


def test_what_is_shortened_still_is_the_command() -> None:
    changed = {}
    for command in (
        "rejoinder check URL --certify",
        "rejoinder load http://h --sweep 1,2,4,8 --duration 30s",
        "rejoinder load http://h",
        "locust -f load/locustfile.py --host http://h",
    ):
        shorter = command
        for pattern, instead in SHORTER:
            shorter = re.sub(pattern, instead, shorter)
        changed[command] = shorter
    assert list(changed.values()) == [
        "rejoinder check --budget 60requests URL --certify",
        "rejoinder load http://h --sweep 1,2 --duration 1s",
        "rejoinder load --duration 1s http://h",
        "python -m locust --headless -u 1 -r 1 --rejoinder-duration 1 -f load/locustfile.py --host http://h",
    ]


if __name__ == "__main__":
    for one in not_run():
        print(f"{one.place}: {one.reason}")

"""Each static check of texts reports file, line and what to do, and is silent about correct files."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.slow(0.5),
    pytest.mark.skipif(
        importlib.util.find_spec("proselint") is None, reason="the linters are in the dependency group lint"
    ),
]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository of its own with the tool in it."""
    shutil.copytree(ROOT / "tools", tmp_path / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def lint(repository: Path, file: str, text: str) -> list[str]:
    """Write a file, run the tool on it, and return the lines that it prints."""
    path = repository / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    command = [sys.executable, "tools/lint.py", file]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (bool(lines), "")
    return lines


@pytest.mark.parametrize(
    ("file", "text", "line"),
    [
        ("docs/page.md", "# Title\n\nThe rate.\nNone of the\nrequests ended\nwell here.\n", 5),
        ("docs/page.md", "| a | b |\n| --- | --- |\n| `x` | it ended well |\n", 3),
        ("src/code.py", '"""Public."""\n\nTEXT = (\n    f"All of {1} "\n    "requests ended well."\n)\n', 4),
        ("src/code.py", 'def f() -> None:\n    """All the requests ended well."""\n', 2),
        ("src/rules/x.toml", '[[rule]]\nid = "X-01"\nargument = "x"\nstatement = "The stream ended well."\n', 4),
        ("reports/page.html.j2", "{% if x\n %}<p>\n{{ n }} <b>requests</b> ended\nwell in time</p>{% endif %}", 3),
        ("reports/page.html.j2", "{% if x\n %}<p>\n{{ n }} requests ended well</p>{% endif %}", 3),
        ("reports/page.js", "const text = `${n} requests ended well`;\n", 1),
    ],
)
def test_words_to_avoid(repository: Path, file: str, text: str, line: int) -> None:
    assert lint(repository, file, text) == [f'{file}:{line}: "ended well": succeeded']


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("docs/page.md", "Run `it ended well`.\n\n    it ended well\n\n```\nit ended well\n```\n"),
        ("src/code.py", 'def f() -> None:\n    """Return ``it ended well``."""\n'),
        ("src/code.py", 'PROMPT = "Repeat what ended well, please."  # lint: off\n'),
        ("tests/test_x.py", 'TEXT = "all of it ended well"\n'),
        ("reports/page.html.j2", "{# it ended well #}<style>.x { /* it ended well */ }</style><p>Good</p>"),
    ],
)
def test_code_and_comments_are_not_prose(repository: Path, file: str, text: str) -> None:
    assert lint(repository, file, text) == []


def test_repeated_words_are_found_by_proselint(repository: Path) -> None:
    (line,) = lint(repository, "docs/page.md", "# Title\n\nOne line.\nThis is the the end.\n")
    assert line.startswith("docs/page.md:4: ")
    assert "the the" in line


def test_two_pieces_of_code_in_a_row_are_not_repeated_words(repository: Path) -> None:
    assert lint(repository, "docs/page.md", "Type `a` `b` `c` and press enter.\n") == []


def test_dead_links(repository: Path) -> None:
    (repository / "docs").mkdir()
    (repository / "docs/there.md").write_text("# Two words\n")
    text = "[a](docs/there.md#two-words) [b](https://example.org/x)\n\n[c](docs/gone.md)\n\n[d](docs/there.md#gone)\n"
    assert lint(repository, "README.md", text) == [
        "README.md:3: The link docs/gone.md leads nowhere: there is no docs/gone.md. Correct the path.",
        "README.md:5: The link docs/there.md#gone leads nowhere: the page has no such heading. It has two-words.",
    ]


def test_a_rule_without_a_source(repository: Path) -> None:
    text = '[[rule]]\nid = "X-01"\nargument = "x"\n\n[[rule]]\nid = "X-02"\nsources = []\n'
    (line,) = lint(repository, "src/rejoinder/contract/rules/x.toml", text)
    assert line.startswith("src/rejoinder/contract/rules/x.toml:6: Rule X-02 has no source. Add `sources`")


def test_an_option_without_help(repository: Path) -> None:
    text = (
        'import click\n\n\n@click.option("--good", help="Do good.")\n@click.option("--bad", type=int)\ndef f(): ...\n'
    )
    assert lint(repository, "src/command.py", text) == [
        "src/command.py:5: --bad has no help. Add help= with one sentence about what it does."
    ]

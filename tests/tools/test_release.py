"""A tag that does not fit the tree is not released."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import rejoinder

ROOT = Path(__file__).parents[2]
REPOSITORY = "rejoinder-dev/rejoinder"


def check(root: Path, *arguments: str) -> tuple[int, list[str]]:
    command = [sys.executable, str(root / "tools/release.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.splitlines()


def test_the_tree_can_be_released_under_its_version() -> None:
    tag = f"v{rejoinder.__version__}"
    assert check(ROOT, tag, REPOSITORY) == (0, [f"{tag} can be released."])


def test_everything_that_differs_is_reported(tmp_path: Path) -> None:
    for name in ("tools", "src/rejoinder/__init__.py", "CHANGELOG.md", "CITATION.cff", "pyproject.toml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, tmp_path / name)
    (tmp_path / "src/rejoinder/__init__.py").write_text('__version__ = "9.8.7"\n')
    code, lines = check(tmp_path, "v9.8.8", "somebody/rejoinder")
    assert code == 1
    assert [line.split()[0] for line in lines] == ["The", "CHANGELOG.md", "CITATION.cff", "The"]
    assert "Tag the commit as v9.8.7." in lines[0]


def test_a_wrong_call_prints_the_usage() -> None:
    assert check(ROOT, "v1")[0] == 2

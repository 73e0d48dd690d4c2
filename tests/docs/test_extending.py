"""docs/how-to/extending.md is followed: its files make an extension, and its commands run on it.

The rule of docs/how-to/contribute-code.md is added to a copy of the tree.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

import rejoinder
from rejoinder.contract import SchemaVariant, load_dialect, load_rules
from rejoinder.model.runfile import read_run
from rejoinder.model.samples import LoadSample
from rejoinder.sandbox import Sandbox, running
from rejoinder.validation import Validator

pytestmark = pytest.mark.slow(3)

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"
PAGE = (HOW_TO / "extending.md").read_text()
SOURCE = Path(rejoinder.__file__).parents[1]
FILES = dict(re.findall(r"(?m)^`(acme/[\w/.]+)`:\n\n```\w+\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE))
COMMANDS = re.findall(r"(?m)^((?:rejoinder|python|pytest) .*)$", PAGE)
TREE_PAGE = (HOW_TO / "contribute-code.md").read_text()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("REJOINDER_")}
    if "-packages" not in str(SOURCE):  # mypy finds what is installed there by itself
        environment["MYPYPATH"] = str(SOURCE)
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    argv = ["bash", "--noprofile", "--norc", "-c", command]
    return subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False)


def command(beginning: str) -> str:
    found: str
    [found] = [command for command in COMMANDS if command.startswith(beginning)]
    return found


def test_the_page_has_all_files_of_an_extension() -> None:
    parts = {"extension.toml", "rules/acme.toml", "checks.py", "names.py", "cases.py", "faults.py"}
    assert {f"acme/{part}" for part in parts} < set(FILES)


def test_the_rules_are_listed_and_the_faults_served(folder: Path) -> None:
    assert "responses carry a trace id" in run(command("rejoinder rules"), folder).stdout
    listed = run(command("rejoinder sandbox") + " --list-faults", folder).stdout
    assert "acme-no-trace  (breaks ACME-01)" in listed


def test_the_kill_matrix_proves_the_extension(folder: Path) -> None:
    done = run(command("python -m rejoinder.conformance.proof.kill") + " --dialect northstar --workers 1", folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 of 2 faults killed, 5 of 5 clean variants silent" in done.stdout


def test_an_endpoint_is_checked_and_loaded(folder: Path) -> None:
    with running(Sandbox()) as url:  # an endpoint that knows nothing of the extension

        def here(beginning: str) -> str:
            return command(beginning).replace("http://127.0.0.1:8000", url)

        checked = run(f"{here('rejoinder check')} --out out", folder)
        items = run(f"python -m {here('pytest')} -p no:locust -k ACME", folder)
        loaded = run(f"{here('rejoinder load http://127.0.0.1:8000 --profile')} --out load", folder)
    assert checked.returncode == 1, checked.stdout + checked.stderr
    assert {v.rule: v.status.value for v in read_run(folder / "out").verdicts} == {"ACME-01": "fail", "ACME-02": "pass"}
    assert "ACME-01 (MUST): A successful non-streaming response has the header `x-acme-trace`." in items.stdout
    assert "1 failed, 1 passed" in items.stdout
    assert loaded.returncode in (0, 4), loaded.stdout + loaded.stderr  # 4: this machine was too busy to measure
    [load] = read_run(folder / "load").samples_of(LoadSample)
    assert load.outcomes == {"ok": 8}


def test_the_modules_are_typed(folder: Path) -> None:
    pytest.importorskip("mypy")
    done = run("python -m mypy --strict --follow-imports=silent --no-incremental -p acme", folder)
    assert done.stdout.startswith("Success"), done.stdout


def test_the_strategy_draws_valid_bodies() -> None:
    space: dict[str, Any] = {}
    exec(compile(FILES["acme/strategies.py"], "strategies.py", "exec"), space)
    valid = Validator(load_dialect().request_schema(SchemaVariant.GENERATION))

    @settings(max_examples=20, deadline=None)
    @given(space["routed_requests"]())
    def every_body(body: dict[str, object]) -> None:
        assert valid.is_valid(body)
        assert body["user"] in {"user-0", "user-1", "user-2"}

    every_body()


def test_a_rule_of_the_tree_takes_the_files_of_the_page(tmp_path: Path) -> None:
    """A copy of the tree gets the lines that the page adds to three files."""
    [diff] = [text for text in re.findall(r"```diff\n(.*?)```", TREE_PAGE, re.DOTALL) if "[[rule]]" in text]
    shutil.copytree(
        Path(rejoinder.__file__).parent, tmp_path / "rejoinder", ignore=shutil.ignore_patterns("__pycache__")
    )
    added = dict(re.findall(r"--- a/(?:src/rejoinder/)?(\S+)\n((?:\+.*\n)+)", diff))
    assert len(added) == 3
    [rule] = re.findall('(?m)^\\+id = "(.*)"$', diff)
    assert rule not in load_rules(), "The page needs the next free id."
    for name, lines in added.items():
        with (tmp_path / "rejoinder" / name).open("a") as file:
            file.write("\n\n" + re.sub("(?m)^\\+", "", lines))
    explained = run(f"PYTHONPATH={tmp_path} python -m rejoinder rules {rule}", tmp_path)
    assert "Proven by    the sandbox fault byte-order-mark" in explained.stdout, explained.stderr
    kill = "python -m rejoinder.conformance.proof.kill --plan smoke --fault byte-order-mark --dialect northstar"
    killed = run(f"PYTHONPATH={tmp_path} {kill}", tmp_path)
    assert killed.returncode == 0, killed.stdout + killed.stderr
    assert re.search(f"killed +byte-order-mark .*{rule}", killed.stdout)

"""Measure the tests of a module by mutation: change the module in one place, and see whether a test fails.

    python tests/mutation.py              every module of the table below, one after the other
    python tests/mutation.py fold sse     some of them
    python tests/mutation.py charts --sample 258    only mutants whose number ends in one of these digits

mutmut makes the mutants and runs the tests. It gets a copy of the tree in which ``src`` holds the four mapped folders
as real folders, so that a path and the name of its module agree. Hypothesis draws the same examples for every mutant.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[1]


class Target(NamedTuple):
    """Files below ``src`` that are mutated, and the tests, below ``tests``, that have to notice."""

    files: list[str]
    tests: list[str]


TARGETS: Final = {
    "fold": Target(["fold.py"], ["test_fold.py"]),
    "sse": Target(["wire/sse.py"], ["wire/test_sse.py"]),
    "judge": Target(
        [f"conformance/{name}.py" for name in ("judgement", "judging/registry", "judging/exchange_view")],
        ["conformance/test_judgement.py", "conformance/judging"],
    ),
    "tally": Target(
        [f"load/measure/{name}.py" for name in ("stats", "load_line", "self_check")],
        [f"load/measure/test_{name}.py" for name in ("stats", "load_line", "self_check")],
    ),
    "charts": Target(
        ["reports/charts.py"]
        + [f"reports/parts/{name}.py" for name in ("timeline/__init__", "latency_charts/__init__", "search/charts")]
        + [f"reports/parts/{name}/__init__.py" for name in ("stalls", "repeats", "slowest")],
        ["reports/test_charts.py"]
        + [
            f"reports/parts/test_{name}.py"
            for name in ("drawn_charts", "timeline", "latency_charts", "search", "stalls", "repeats", "slowest")
        ],
    ),
}
KILLED: Final = {"killed", "timeout", "suspicious", "segfault"}
"""Results of mutmut that mean that a test noticed."""
_MUTMUT: Final = """
[tool.mutmut]
source_paths = ["src"]
only_mutate = {files}
pytest_add_cli_args_test_selection = {tests}
pytest_add_cli_args = ["-p", "no:cacheprovider", "--hypothesis-profile=mutation"]
timeout_constant = 5.0
"""


def results(target: Target, sample: str, folder: Path) -> dict[str, str]:
    """Return the result of every mutant that was run, by its name; the copy of the tree lies in ``folder``."""
    ignored = shutil.ignore_patterns("__pycache__", ".hypothesis", "*.egg-info")
    for name in ("src", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    files = [f"src/rejoinder/{name}" for name in target.files]
    tests = [f"tests/{name}" for name in target.tests]
    settings = _MUTMUT.format(files=json.dumps(files), tests=json.dumps(tests))
    (folder / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text("utf-8") + settings, "utf-8")
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    mutmut = [sys.executable, "-m", "mutmut"]
    chosen = [f"*_mutmut_*[{sample}]"] if sample else []
    command = [*mutmut, "run", "--max-children", "1", *chosen]
    made = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if made.returncode:
        raise SystemExit(f"mutmut failed:\n{made.stdout[-4000:]}\n{made.stderr[-4000:]}")
    listed = subprocess.run(
        [*mutmut, "results", "--all", "true"], cwd=folder, env=environment, check=True, capture_output=True, text=True
    )
    lines = (line.strip().rpartition(": ") for line in listed.stdout.splitlines() if ": " in line)
    return {name: result for name, _, result in lines if result != "not checked"}


def shown(name: str, folder: Path) -> str:
    """Return what a mutant changes."""
    command = [sys.executable, "-m", "mutmut", "show", name]
    lines = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.splitlines()
    return "\n".join(line for line in lines if line[:1] in "+-@" and line[:3] not in ("+++", "---"))


def main() -> None:
    """Run the chosen modules and print each survivor, then the scores."""
    parser = argparse.ArgumentParser(description="Measure the tests of some modules by mutation.")
    parser.add_argument("modules", nargs="*", help=f"modules to run, of {', '.join(TARGETS)}; all by default")
    parser.add_argument("--sample", default="", help="run only mutants whose number ends in one of these digits")
    arguments = parser.parse_args()
    if unknown := set(arguments.modules) - set(TARGETS):
        parser.error(f"{min(unknown)} is not one of {', '.join(TARGETS)}")
    scores = []
    for name in arguments.modules or TARGETS:
        with TemporaryDirectory(prefix="mutation-") as scratch:
            folder = Path(scratch)
            found = results(TARGETS[name], arguments.sample, folder)
            survivors = sorted(mutant for mutant, result in found.items() if result not in KILLED)
            for mutant in survivors:
                print(f"{found[mutant]}: {mutant}\n{shown(mutant, folder)}\n", flush=True)
        killed = len(found) - len(survivors)
        scores.append(f"{name:10} {killed:5} of {len(found):5} mutants killed, {killed / max(1, len(found)):.1%}")
    print("\n".join(scores))


if __name__ == "__main__":
    main()

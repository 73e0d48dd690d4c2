"""The documents on CI and pytest: what they tell people to run is run, against the embedded endpoint."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from rejoinder.sandbox import Sandbox, running

DOCS = Path(__file__).parents[2] / "docs"
ACTION = DOCS / "examples/github/action.yml"


@pytest.fixture(scope="module")
def broken() -> Iterator[str]:
    with running(Sandbox(faults=["sequence-numbers-missing"])) as url:
        yield url


def bash(script: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a script as a CI system does: stopping at the first failure, with rejoinder installed."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("REJOINDER_")}
    env |= {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}", **variables}
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def expand(value: str, inputs: dict[str, str]) -> str:
    return re.sub(r"\$\{\{ inputs\.([a-z-]+) \}\}", lambda found: inputs[found[1]], value)


def run_action(folder: Path, **given: str) -> list[int]:
    """Run the scripts of the action's steps as the runner would, without installing; return their exit codes."""
    action = yaml.safe_load(ACTION.read_text())
    inputs = {
        name: given.get(name.replace("-", "_"), field.get("default", "")) for name, field in action["inputs"].items()
    }
    codes: list[int] = []
    for step in action["runs"]["steps"]:
        assert ("run" in step) != ("uses" in step)
        assert "run" not in step or step["shell"] == "bash"
        assert "${{" not in step.get("run", ""), "inputs in a script could become commands"
        if "run" not in step or "pip install" in step["run"] or (any(codes) and step.get("if") != "always()"):
            continue
        env = {name: expand(value, inputs) for name, value in step.get("env", {}).items()}
        codes.append(bash(step["run"], folder, GITHUB_STEP_SUMMARY=str(folder / "summary.md"), **env).returncode)
    return codes


@pytest.mark.slow(3)
def test_the_github_action_checks_summarises_and_fails(broken: str, tmp_path: Path) -> None:
    assert run_action(tmp_path, url=broken, plan="smoke") == [1, 0]
    assert "EVT" in (tmp_path / "summary.md").read_text()
    bash("rejoinder baseline update rejoinder-run --baseline known.toml --reason r", tmp_path)
    words: dict[str, Any] = {"url": broken, "plan": "smoke", "baseline": "known.toml", "baseline_strict": "true"}
    assert run_action(tmp_path, **words, model="parrot", out="again") == [0, 0]
    assert {"report.html", "junit.xml", "run.ndjson"} <= {path.name for path in (tmp_path / "again").iterdir()}


@pytest.mark.slow(2)
def test_the_github_action_tells_that_nothing_is_there(tmp_path: Path) -> None:
    assert run_action(tmp_path, url="http://127.0.0.1:9", plan="smoke") == [2, 0]
    assert run_action(tmp_path, url="http://127.0.0.1:9", dialect="none", out="o") == [2, 0]


def test_the_github_workflow_gives_the_action_what_it_takes() -> None:
    workflow = yaml.safe_load((DOCS / "examples/github/workflow.yml").read_text())
    [job] = workflow["jobs"].values()
    step = next(step for step in job["steps"] if step.get("uses") == "./.github/actions/rejoinder")
    action = yaml.safe_load(ACTION.read_text())
    assert set(step["with"]) <= set(action["inputs"])
    assert {name for name, field in action["inputs"].items() if field.get("required")} <= set(step["with"])
    assert "REJOINDER_API_KEY" in step["env"]
    for given in [*action["inputs"].values()]:
        assert given["description"]


@pytest.mark.slow(2)
def test_the_gitlab_job_checks_and_keeps_its_results(broken: str, tmp_path: Path) -> None:
    job = yaml.safe_load((DOCS / "examples/gitlab-ci.yml").read_text())["conformance"]
    (tmp_path / "known.toml").write_text('[[known]]\nrule = "EVT-02"\ncase = "*"\nreason = "r"\n')
    variables = {**job["variables"], "ENDPOINT": broken, "PLAN": "smoke", "BASELINE": "known.toml"}
    result = bash("\n".join(job["script"]), tmp_path, **variables)
    assert result.returncode == 0, result.stderr
    assert bash("\n".join(job["after_script"]), tmp_path, **variables).returncode == 0
    assert all((tmp_path / path).exists() for path in job["artifacts"]["paths"])
    ElementTree.parse(tmp_path / job["artifacts"]["reports"]["junit"])
    assert (tmp_path / "rejoinder-run/summary.md").exists()


def test_the_container_recipe_runs_what_is_installed(tmp_path: Path) -> None:
    lines = (DOCS / "examples/Containerfile").read_text().splitlines()
    steps = dict(line.split(" ", 1) for line in lines if line and not line.startswith("#"))
    assert list(steps) == ["FROM", "ARG", "RUN", "USER", "WORKDIR", "ENTRYPOINT"]
    [program] = yaml.safe_load(steps["ENTRYPOINT"])
    assert bash(f"{program} --version", tmp_path).stdout.startswith("rejoinder")


def test_the_page_on_pytest_shows_the_example_that_is_tested() -> None:
    [block] = re.findall(r"```python\n(.*?)```", (DOCS / "how-to/pytest.md").read_text(), re.DOTALL)
    assert block == (DOCS / "examples/test_my_endpoint.py").read_text()
    from rejoinder.conformance import plugin

    told = (DOCS / "how-to/pytest.md").read_text()
    fixtures = ("rejoinder_run", "rejoinder_target", "rejoinder_ask")
    assert all(hasattr(plugin, name) and f"`{name}`" in told for name in fixtures)
    assert [name for name, _ in plugin._OPTIONS if f"`--rejoinder-{name}" not in told] == []

"""What CI and the examples run is pinned and quoted; a wheel is the same whoever builds it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted([*(ROOT / ".github").rglob("*.yml"), *(ROOT / "docs" / "examples").rglob("*.yml")])
_USES = re.compile(
    r"^\s*(?:- )?uses:\s*(?P<action>\S+?)(?:@(?P<ref>\S+))?(?:\s+#\s*(?P<version>\S+))?\s*$", re.MULTILINE
)


def uses() -> Iterator[tuple[str, str, str, str]]:
    """Yield file, action, reference and version comment of each action that is used and is not part of the tree."""
    for path in WORKFLOWS:
        for match in _USES.finditer(path.read_text("utf-8")):
            if not match["action"].startswith("./"):
                yield path.name, match["action"], match["ref"] or "", match["version"] or ""


def scripts(value: Any) -> Iterator[str]:
    """Yield each ``run`` block, and each line of a GitLab script."""
    if isinstance(value, dict):
        for key, child in value.items():
            if key in ("run", "script", "before_script", "after_script"):
                yield from [child] if isinstance(child, str) else child
            else:
                yield from scripts(child)
    elif isinstance(value, list):
        for child in value:
            yield from scripts(child)


def test_actions_are_pinned_by_commit_with_their_version() -> None:
    found = list(uses())
    assert len(found) >= 15
    for file, action, ref, version in found:
        assert re.fullmatch(r"[0-9a-f]{40}", ref), f"{file}: {action}@{ref} is not pinned by a full commit hash"
        assert re.fullmatch(r"v\d+\.\d+\.\d+", version), f"{file}: {action}: the comment names no version"
    # One action, one version: an update that forgets a file shows here.
    assert len({action for _, action, _, _ in found}) == len(
        {(action, ref, version) for _, action, ref, version in found}
    )


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_no_script_interpolates(path: Path) -> None:
    for script in scripts(yaml.safe_load(path.read_text("utf-8"))):
        assert "${{" not in script, script
        for match in re.finditer(r"\$\{?[A-Z_]+\}?", script):
            before = script[: match.start()]
            quoted = before.count('"') % 2 == 1 and before.count("'") % 2 == 0
            tested = re.search(r"\[ [^\]]*$", before.rpartition("\n")[2])
            assert quoted or tested, f"{match.group()} is not quoted in: {script}"


@pytest.mark.parametrize("path", [path for path in WORKFLOWS if "workflow" in str(path)], ids=lambda path: path.name)
def test_workflows_may_do_little_and_keep_no_credentials(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text("utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        for step in job.get("steps", ()):
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False

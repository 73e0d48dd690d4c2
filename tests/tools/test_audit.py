"""The audit of dependencies: what counts as found, as skipped and as failed."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.load_module import load_module

ROOT = Path(__file__).resolve().parents[2]
SOUND = {"name": "click", "version": "8.1.8", "vulns": []}
BROKEN = {"name": "rich", "version": "13.9", "vulns": [{"id": "PYSEC-1", "fix_versions": ["13.10"]}]}
UNKNOWN = {"name": "locust", "skip_reason": "Dependency not found on PyPI and could not be audited"}
OWN = {"name": "rejoinder", "skip_reason": "Dependency not found on PyPI and could not be audited"}


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    return load_module("tools/audit.py")


@pytest.mark.parametrize(
    ("packages", "required", "code", "printed"),
    [
        ([SOUND, OWN], True, 0, "1 packages audited, 0 known vulnerabilities."),
        ([SOUND, BROKEN], False, 1, "rich 13.9: PYSEC-1, fixed in 13.10."),
        ([SOUND, UNKNOWN], False, 0, "locust: not audited."),
        ([SOUND, UNKNOWN], True, 1, "locust: not audited."),
        ([UNKNOWN, OWN], False, 0, "Nothing was audited: Dependency not found on PyPI"),
        ([UNKNOWN, OWN], True, 1, "Nothing was audited: Dependency not found on PyPI"),
        ([], False, 0, "Nothing was audited: the environment has no packages."),
    ],
)
def test_the_exit_code_is_that_of_what_was_found(
    packages: list[dict[str, Any]],
    required: bool,
    code: int,
    printed: str,
    audit: ModuleType,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert audit.report(packages, required=required) == code
    out = capsys.readouterr().out
    assert printed in out
    assert ("Skipped." in out) == (code == 0 and "Nothing was audited" in out)


def test_a_tool_that_does_not_run_is_no_audit(
    audit: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit.sys, "executable", "/bin/false")
    assert audit.main([]) == 0
    assert audit.main(["--required"]) == 1
    assert "Nothing was audited: pip-audit printed nothing." in capsys.readouterr().out

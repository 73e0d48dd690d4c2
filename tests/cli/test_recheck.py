"""``rejoinder recheck``: what the new run keeps of the old one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rejoinder.model.runfile import read_run
from rejoinder.sandbox import Sandbox, running

Invoke = Callable[..., tuple[int, str, str]]


@pytest.mark.slow(3)
def test_the_evidence_is_about_the_minimal_request(invoke: Invoke, tmp_path: Path) -> None:
    with running(Sandbox(faults=("total-tokens-wrong",))) as url:
        assert invoke("check", url, "--plan", "smoke", "-q", "--out", "old")[0] == 1
    assert invoke("recheck", "old", "--out", "new")[0] == 1
    found = [finding for verdict in read_run(Path("new")).verdicts for finding in verdict.findings]
    minimal = [(finding.minimal.exchange, finding.evidence.exchange) for finding in found if finding.minimal]
    assert minimal
    assert all(one == other for one, other in minimal)

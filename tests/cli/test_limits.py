"""``rejoinder check --limits``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rejoinder.model.footer import LimitStop
from rejoinder.model.runfile import read_run
from rejoinder.sandbox import Sandbox, running

Invoke = Callable[..., tuple[int, str, str]]


def test_a_search_beyond_the_budget_sends_nothing(invoke: Invoke) -> None:
    sandbox = Sandbox()
    with running(sandbox) as url:
        code, _, err = invoke("check", url, "--plan", "smoke", "--limits", "--budget", "50ktokens", "--out", "o")
    assert code == 2
    assert "tokens at most, but --budget allows 50,000." in err
    assert "Allow it with --budget" in err
    assert not Path("o", "run.ndjson").exists()
    assert sandbox.counts.get("started", 0) <= 1


@pytest.mark.parametrize("plan", ["fuzz", "official"])
def test_plans_that_end_otherwise_have_no_search(invoke: Invoke, plan: str) -> None:
    code, _, err = invoke("check", "http://127.0.0.1:9", "--plan", plan, "--limits")
    assert (code, f"Plan {plan} cannot search for limits." in err) == (2, True)


@pytest.mark.slow(3)
def test_the_setting_starts_a_search_that_ends_with_the_budget(invoke: Invoke) -> None:
    Path("rejoinder.toml").write_text("[check]\nlimits = true\n")
    with running(Sandbox()) as url:
        code, out, err = invoke("check", url, "--plan", "smoke", "--budget", "24requests", "--out", "o")
    assert code == 0
    assert "Search for limits:" in err
    footer = read_run(Path("o")).footer
    assert footer is not None
    assert [(one.limit, one.stop) for one in footer.limits] == [("body", LimitStop.BUDGET)]
    assert any(warning.startswith("The run ended before the search for these limits: ") for warning in footer.warnings)
    assert "Limits: 1 not reached" in out
    recheck, out, _ = invoke("recheck", "o")
    assert (recheck, "Limits: 1 not reached" in out) == (0, True)

"""``rejoinder check --plan official``."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rejoinder.sandbox import Sandbox, running

Invoke = Callable[..., tuple[int, str, str]]


@pytest.mark.slow(2)
def test_the_plan_brings_its_dialect_and_shows_the_verdicts_of_the_suite(invoke: Invoke) -> None:
    with running(Sandbox("openresponses")) as url:
        code, out, err = invoke("check", url, "--plan", "official", "--out", "o")
    assert (code, "Plan official: 9 requests without a limit of output tokens" in err) == (0, True)
    assert "Open Responses compliance suite: 9 passed, 8 not sent" in out
    assert "dialect openresponses" in out
    code, out, _ = invoke("recheck", "o")
    assert code == 0
    assert "Open Responses compliance suite: 9 passed, 8 not sent" in out


def test_a_dialect_without_a_suite_is_refused(invoke: Invoke) -> None:
    with running(Sandbox()) as url:
        code, _, err = invoke("check", url, "--plan", "official", "--dialect", "northstar")
    assert code == 2
    assert "needs a dialect with an official compliance suite" in err
    assert "Use --dialect openresponses." in err
    code, _, err = invoke("check", "http://127.0.0.1:9", "--plan", "official", "--require", "streaming")
    assert (code, "Plan official cannot test required features." in err) == (2, True)

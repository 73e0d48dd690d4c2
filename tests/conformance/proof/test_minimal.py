"""Minimal requests: each is valid, complete, shows its finding, and a correct endpoint passes it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from click.testing import CliRunner

from rejoinder.conformance.proof.minimal import command, prove
from rejoinder.conformance.running.replay import minimal_trial
from rejoinder.conformance.running.trial import Trial

pytestmark = pytest.mark.slow(10)

SAMPLE = {
    # One request, plain or streamed.
    "terminal-missing": 1,
    # Tools and the choice of one: names stay names.
    "tool-choice-named-ignored": 1,
    # Two requests that are compared: both bodies are reduced.
    "truncation-reported-as-completed": 2,
    "counting-disagrees": 2,
    # A later request takes values of an earlier reply.
    "message-without-id": 2,
    # The same id in replies to unrelated requests.
    "response-id-constant": 2,
}


@pytest.mark.parametrize("fault", SAMPLE)
def test_minimal_requests_of_a_fault(fault: str) -> None:
    rows = list(prove(fault, "northstar", "quick"))
    assert rows
    assert {(row.finding.rule, *row.wrong) for row in rows if row.wrong} == set()
    minimals = [row.finding.minimal for row in rows if row.finding.minimal is not None]
    assert SAMPLE[fault] in {minimal.requests for minimal in minimals}
    for minimal in minimals:
        assert len(minimal.request.body) < 400
        # A sequence is complete: all of its requests are there.
        assert minimal.requests == 1 or len(minimal.steps) == minimal.requests


def test_the_proof_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    def with_model_7(*arguments: Any) -> Trial:
        [case] = minimal_trial(*arguments)
        requests = (replace(planned, body={"model": 7, "input": ""}) for planned in case.requests)
        return (replace(case, requests=tuple(requests)),)

    monkeypatch.setattr("rejoinder.conformance.proof.minimal.minimal_trial", with_model_7)
    wrong = [word for row in prove("terminal-missing", "northstar", "smoke") for word in row.wrong]
    assert any("is not valid" in word and "/model" in word for word in wrong), wrong
    assert "does not show it" in wrong


def test_the_command_counts_what_is_good() -> None:
    result = CliRunner().invoke(command, ["--plan", "smoke", "--fault", "terminal-missing", "--all"])
    assert result.exit_code == 0
    assert "LIF-05" in result.output
    [last] = result.output.splitlines()[-1:]
    good, total = (word for word in last.split() if word.isdigit())
    assert good == total != "0"

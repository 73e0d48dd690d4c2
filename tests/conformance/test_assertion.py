"""assert_conforms: what it lets pass, and what its message tells."""

from __future__ import annotations

import json
from dataclasses import replace
from types import ModuleType

import pytest

from rejoinder.conformance import Level, assert_conforms
from rejoinder.conformance.checks import checks_by_rule
from rejoinder.contract import load_dialect, load_rules
from rejoinder.model.exchange import Chunk
from rejoinder.model.verdict import Problem
from rejoinder.sandbox import FAULTS, Sandbox, post

STREAM = post({"model": "parrot", "input": "Say hello", "stream": True})


def test_what_conforms_passes() -> None:
    sandbox = Sandbox()
    exchange = sandbox.exchange(STREAM)
    assert_conforms(exchange)
    assert_conforms(exchange, load_dialect("northstar"), level=Level.SHOULD)
    assert_conforms([exchange, replace(sandbox.exchange(STREAM), id="two", case="two")])
    assert_conforms([])


def test_the_message_tells_rule_statement_values_place_and_request() -> None:
    exchange = Sandbox(faults=["sequence-numbers-missing"]).exchange(STREAM)
    with pytest.raises(AssertionError) as caught:
        assert_conforms(exchange)
    text = str(caught.value)
    assert text.startswith("1 rule of dialect northstar (vLLM-style Responses API) failed: EVT-02\n\n")
    assert f"EVT-02 (MUST): {load_rules()['EVT-02'].statement}" in text
    assert f"at event 0 (response.created) of exchange {exchange.id}, " in text
    assert "integer\n  actual   (missing)\n" in text
    assert f"Exchange {exchange.id}: POST /v1/responses -> 200\n  " in text
    assert '"input":"Say hello"' in text


def test_levels_and_selections() -> None:
    fault = next(fault for fault in FAULTS.values() if fault.breaks == ("ITM-07",))
    exchange = Sandbox(faults=[fault.id]).exchange(STREAM)
    assert_conforms(exchange)
    with pytest.raises(AssertionError, match="failed: ITM-07"):
        assert_conforms(exchange, level="SHOULD")
    assert_conforms(exchange, level="SHOULD", select="SSE-*,USG-*")


def test_a_check_that_breaks_is_no_failure_of_the_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    table = dict(checks_by_rule())

    def breaks(view: object) -> list[Problem]:
        raise KeyError("of ours")

    table["EVT-02"] = tuple(replace(check, run=breaks) for check in table["EVT-02"])
    monkeypatch.setattr("rejoinder.conformance.judgement.checks_by_rule", lambda: table)
    with pytest.raises(RuntimeError, match="EVT-02: Internal error in the check: KeyError"):
        assert_conforms(Sandbox().exchange(STREAM))


def test_the_message_is_no_command_of_a_ci_system(surfaces: ModuleType) -> None:
    naughty = "\n::error::x\n##vso[x]\x1b[31m\u202e"
    exchange = Sandbox(faults=["sequence-numbers-missing"]).exchange(STREAM)
    body = exchange.body.replace(b'"in_progress"', json.dumps(naughty).encode())
    exchange = replace(exchange, id=naughty, chunks=(Chunk(0.1, body),))
    with pytest.raises(AssertionError) as caught:
        assert_conforms(exchange)
    assert "vso" in str(caught.value)
    assert surfaces.obeyed(str(caught.value)) == []
    assert not surfaces.ACTIVE.search(str(caught.value))

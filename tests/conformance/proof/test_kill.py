"""The kill matrix: faults are told from clean variants, survivors are named, and runs are the same every time."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from rejoinder.conformance.proof.kill import command, kill_matrix
from rejoinder.conformance.proof.matrix import CLEAN
from rejoinder.conformance.running.case import PlannedCase, RequestSpec
from rejoinder.conformance.running.in_process import ManualClock, run_in_process
from rejoinder.conformance.running.plan import Plan, build_plan
from rejoinder.contract import dialect_names, load_dialect
from rejoinder.sandbox import FAULTS, Sandbox
from rejoinder.wire.target import Target

SAMPLE = ("terminal-missing-at-times", "text-delta-lost", "string-input-wrapped", "response-id-constant")


def test_faults_are_killed_and_clean_variants_silent() -> None:
    rows = list(kill_matrix("smoke", ["northstar"], SAMPLE))
    assert [row.subject for row in rows] == [*CLEAN, *SAMPLE]
    assert all(row.good for row in rows)
    assert all(row.fired == () for row in rows if row.clean)
    for row in rows[len(CLEAN) :]:
        assert set(FAULTS[row.subject].breaks) <= set(row.fired)


def test_a_survivor_is_named_with_the_rules_that_missed_it() -> None:
    [*_, row] = kill_matrix("smoke", ["northstar"], ["refusal-delta-lost"])
    assert not row.good
    assert row.missed == ("ACC-06",)


def test_a_fault_runs_in_the_first_dialect_in_which_it_is_one() -> None:
    rows = [row for row in kill_matrix("smoke", dialect_names(), ["sentinel-missing"]) if not row.clean]
    assert [(row.dialect, row.good) for row in rows] == [("openresponses", True)]


def test_a_fault_that_no_chosen_dialect_has_is_left_out() -> None:
    assert [row for row in kill_matrix("smoke", ["northstar"], ["sentinel-missing"]) if not row.clean] == []


def test_processes_change_nothing() -> None:
    assert list(kill_matrix("smoke", ["northstar"], SAMPLE, workers=2)) == list(
        kill_matrix("smoke", ["northstar"], SAMPLE)
    )


def test_a_run_in_process_sends_what_the_engine_would_send() -> None:
    plan = build_plan("smoke", load_dialect("northstar"))
    batches = run_in_process(plan, Sandbox(), Target("http://sandbox/v1/responses"), ManualClock())
    exchanges = [exchange for batch in batches for exchange in batch]
    # The cut of two short answers is not asked for.
    assert plan.requests - len(exchanges) in (0, 2, 4)
    assert {exchange.case for exchange in exchanges} == {case.id for case in plan.cases}
    assert all(exchange.request.path == "/v1/responses" for exchange in exchanges)


@pytest.mark.parametrize(("fault", "code", "words"), [("text-delta-lost", 0, "1 of 1"), ("refusal-done*", 1, "0 of 1")])
def test_the_command_sums_up(fault: str, code: int, words: str) -> None:
    said = CliRunner().invoke(
        command, ["--plan", "smoke", "--dialect", "northstar", "--fault", fault, "--workers", "1"]
    )
    assert said.exit_code == code
    assert said.output.splitlines()[-1] == f"{words} faults killed, 5 of 5 clean variants silent"


def test_requests_that_go_together_are_in_flight_together() -> None:
    beside = tuple(RequestSpec(f"r{n}", {"input": f"Say word{n}."}, beside=n > 0) for n in range(3))
    plan = Plan("test", (PlannedCase("c", "A case.", (RequestSpec("first", {"input": "Hi"}), *beside)),))
    clock = ManualClock()
    [exchanges] = run_in_process(plan, Sandbox(clock=clock), Target("http://sandbox/v1/responses"), clock)
    starts = [exchange.started_at for exchange in exchanges]
    assert starts[0] < starts[1] == starts[2] == starts[3]


def test_a_slow_reader_takes_its_time() -> None:
    plan = Plan(
        "test", (PlannedCase("c", "A case.", (RequestSpec("slow", {"input": "Hi", "stream": True}, pace=2.0),)),)
    )
    clock = ManualClock()
    [[exchange]] = run_in_process(plan, Sandbox(clock=clock), Target("http://sandbox/v1/responses"), clock)
    assert exchange.ended_at == 2.0 * len(exchange.chunks) > 10

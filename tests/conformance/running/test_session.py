"""A session writes what it gathers, and shows it to who asked for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rejoinder.conformance.running.plan import Plan, build_plan
from rejoinder.conformance.running.session import run_plan
from rejoinder.contract import DEFAULT_DIALECT, load_dialect
from rejoinder.model.exchange import Exchange
from rejoinder.model.runfile import RunWriter
from rejoinder.model.verdict import Status
from rejoinder.sandbox import Sandbox, running
from rejoinder.wire.target import Target


def test_the_listener_sees_each_exchange_when_it_is_in_the_run_file(tmp_path: Path) -> None:
    path = tmp_path / "run.ndjson"
    seen: list[str] = []

    def listen(exchange: Exchange) -> None:
        written = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        seen.append(exchange.id)
        assert [line["id"] for line in written] == seen

    plan = build_plan("smoke", load_dialect(DEFAULT_DIALECT), model="parrot")
    with running(Sandbox()) as url, RunWriter(path) as writer:
        result = run_plan(Target(url=f"{url}/v1/responses", model="parrot"), plan, writer, on_exchange=listen)
    assert seen == [exchange.id for exchange in result.exchanges]
    assert len(seen) >= len(plan.cases)


@pytest.mark.slow(3)
def test_streams_that_must_run_together_do_so_whatever_the_concurrency(tmp_path: Path) -> None:
    plan = build_plan("full", load_dialect(DEFAULT_DIALECT), model="parrot")
    plan = Plan("full", tuple(case for case in plan.cases if case.id == "isolation.parallel"))
    with (
        running(Sandbox(faults=["stream-cut-when-busy"], token_delay=0.005)) as url,
        RunWriter(tmp_path / "run.ndjson") as writer,
    ):
        target = Target(url=f"{url}/v1/responses", model="parrot")
        result = run_plan(target, plan, writer, concurrency=1, select="ISO-03")
    assert [verdict.status for verdict in result.verdicts] == [Status.FAIL]

"""A session writes what it gathers, and shows it to who asked for it."""

from __future__ import annotations

import json
from pathlib import Path

from rejoinder.conformance.running.plan import build_plan
from rejoinder.conformance.running.session import run_plan
from rejoinder.contract import DEFAULT_DIALECT, load_dialect
from rejoinder.model.exchange import Exchange
from rejoinder.model.runfile import RunWriter
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

"""What an interrupted run says of acceptance: only what its complete exchanges prove."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rejoinder.contract.branches import Branches
from rejoinder.model.exchange import Exchange, Outcome
from rejoinder.model.footer import Acceptance
from rejoinder.model.runfile import Run, read_run
from rejoinder.model.tags import Tag
from rejoinder.sandbox import Sandbox, running

CONTRACT = Branches.of_dialect("northstar")


def interrupted(folder: Path, plan: str, when: bytes) -> tuple[Run, str]:
    """Return a check of an endpoint that refuses images, interrupted once its run file holds these bytes."""
    with running(Sandbox(faults=["images-refused"], token_delay=0.02)) as url:
        process = subprocess.Popen(
            [sys.executable, "-m", "rejoinder", "check", url, "--plan", plan, "--out", "o"],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={name: value for name, value in os.environ.items() if not name.startswith("REJOINDER_")},
        )
        file = folder / "o" / "run.ndjson"
        while not (file.exists() and when in file.read_bytes()):
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    return read_run(folder / "o"), out


def branches(exchanges: list[Exchange]) -> set[str]:
    return set().union(*(CONTRACT.of(exchange.request.json()) for exchange in exchanges))


@pytest.mark.slow(15)
@pytest.mark.parametrize(
    ("plan", "when"), [("full", b'"case":"content.image"'), ("quick", b'"case":"narrow.')], ids=["plan", "isolation"]
)
def test_an_interrupted_run_proves_what_it_received(plan: str, when: bytes, tmp_path: Path) -> None:
    run, out = interrupted(tmp_path, plan, when)
    assert run.footer is not None
    assert run.footer.interrupted
    coverage = run.footer.coverage
    assert coverage is not None
    counted = [
        exchange
        for exchange in run.exchanges
        if exchange.request.method == "POST"
        and exchange.request.path == "/v1/responses"
        and (Tag.NARROWED in exchange.tags or (Tag.VALID in exchange.tags and Tag.UNJUDGED not in exchange.tags))
    ]
    whole = [exchange for exchange in counted if exchange.outcome is Outcome.COMPLETE]
    good = branches([exchange for exchange in whole if exchange.status == 200])
    refused = branches([exchange for exchange in whole if exchange.status == 400])
    found = {state: set(names) for state, names in coverage.branches.items()}
    assert set().union(*(names for state, names in found.items() if state.is_accepted)) == good
    rejected = (*(state for state in Acceptance if state.is_rejected), Acceptance.TOGETHER)
    assert set().union(*(found[state] for state in rejected)) == refused - good
    assert refused - good
    assert found[Acceptance.UNPROVEN] == branches(counted) - good - refused
    assert found[Acceptance.NOT_SENT] == CONTRACT.all - branches(counted)
    # Alone stands only what a pair of this run isolates.
    by_id = {exchange.id: exchange for exchange in counted}
    for refusal in coverage.refusals:
        assert (by_id[refusal.exchange].status, by_id[refusal.control].status) == (400, 200)
    assert found[Acceptance.REFUSED] == {name for refusal in coverage.refusals for name in refusal.branches}
    if plan == "full":
        assert run.footer.unsent
        assert coverage.plans["skipped"]
        assert "full" not in coverage.plans
        images = next(one for one in run.footer.capabilities if one.feature == "images")
        assert images.state is Acceptance.TOGETHER  # nothing was isolated
    assert f"{len(good)} of {coverage.total} branches accepted" in " ".join(out.split())

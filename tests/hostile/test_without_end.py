"""Whatever an endpoint sends without end, a command ends in bounded memory, and says what it cut."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest
from tests.hostile.behaviours import without_end
from tests.hostile.command import rejoinder
from tests.hostile.endpoint import BEHAVIOURS, HostileEndpoint

from rejoinder.budgets import LOAD_STREAM
from rejoinder.model.exchange import Outcome
from rejoinder.model.outcomes import RequestOutcome

CHECK_PEAK: Final = 500_000_000
LOAD_PEAK: Final = 300_000_000 + 2 * LOAD_STREAM
"""Of the largest process of a load run with 2 requests in flight."""
CUT: Final = {
    "body-without-end": "bytes",
    "tiny-chunks": "chunks",
    "headers-without-end": "headers",
    "comments": "memory",
    "many-keys": "",
}
"""Behaviours of which a check cuts a response, with a word of what it says of it; empty for none that is cut."""


def test_every_behaviour_has_a_cause_of_its_own() -> None:
    own = [one for one in BEHAVIOURS.values() if one.group == without_end.GROUP]
    assert len({one.cause for one in own}) == len(own) >= 20
    assert set(CUT) <= set(BEHAVIOURS)


@pytest.mark.slow(8)
@pytest.mark.parametrize("name", CUT)
def test_a_check_is_bounded_and_says_what_it_cut(name: str, tmp_path: Path) -> None:
    with HostileEndpoint(BEHAVIOURS[name]) as endpoint:
        ended = rejoinder("check", endpoint.url, "--plan", "smoke", "--timeout", "3", folder=tmp_path)
    run = ended.run()
    assert ended.code == 1
    assert "Traceback" not in ended.text
    assert ended.peak < CHECK_PEAK
    assert run.footer is not None
    cut = [one.detail for one in run.exchanges if one.outcome is Outcome.TOO_LARGE]
    assert bool(cut) == bool(CUT[name])
    assert all("rejoinder stopped reading" in detail for detail in cut)
    assert any(CUT[name] in detail for detail in cut) or not cut


@pytest.mark.slow(5)
def test_an_endpoint_that_is_always_busy_ends_the_run_within_its_timeout(tmp_path: Path) -> None:
    with HostileEndpoint(BEHAVIOURS["always-busy"]) as endpoint:
        ended = rejoinder("check", endpoint.url, "--plan", "smoke", "--timeout", "3", folder=tmp_path)
    [warning] = [one for one in ended.warnings if "Retry-After" in one]
    assert "Retry-After of the endpoint is 29 s, the limit is 3 s" in warning
    assert len(endpoint.requests) < 12


@pytest.mark.slow(5)
@pytest.mark.parametrize(
    ("name", "warning"),
    [("models-without-end", "The model list is not used. The response has more than"), ("odd-models", "")],
)
def test_a_model_list_is_bounded(name: str, warning: str, tmp_path: Path) -> None:
    with HostileEndpoint(BEHAVIOURS[name]) as endpoint:
        ended = rejoinder("check", endpoint.url, "--plan", "smoke", "--timeout", "3", folder=tmp_path)
    run = ended.run()
    assert run.header.target.model is None
    assert [one.startswith(warning) for one in ended.warnings] == [True] * bool(warning)
    assert ended.peak < CHECK_PEAK


@pytest.mark.slow(8)
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("body-without-end", "bytes"),
        ("trailers-without-end", "trailers"),
        ("tiny-chunks", "chunks"),
        ("comments", "lines"),
        ("many-keys", ""),
    ],
)
def test_a_load_is_bounded_and_says_what_it_cut(name: str, why: str, tmp_path: Path) -> None:
    # What ends by itself gets the time that it takes on a busy machine.
    options = ("--requests", "4", "--concurrency", "2", "--timeout", "3" if why else "60")
    with HostileEndpoint(BEHAVIOURS[name]) as endpoint:
        ended = rejoinder("load", endpoint.url, *options, folder=tmp_path)
    run = ended.run()
    assert ended.code == 1
    assert "Traceback" not in ended.text
    assert ended.peak < LOAD_PEAK
    assert run.load is not None
    assert run.load.outcomes.get(RequestOutcome.TOO_LARGE, 0) == (4 if why else 0)
    details = [one.detail for one in run.exchanges if one.case == "load"]
    assert details
    cut = "rejoinder stopped reading" if why else "the run file holds 1,048,576 of"
    assert [detail for detail in details if cut not in detail or why not in detail] == []

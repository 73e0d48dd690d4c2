"""Every expectation can fail: it is met by what is true, and not by what is not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from tests.hostile.command import Ended
from tests.truth.answers import Answer
from tests.truth.behaviours import BEHAVIOURS
from tests.truth.expect import (
    Expectation,
    case,
    code,
    departs,
    for_all,
    highest,
    knee,
    missing,
    near,
    not_below,
    rate,
    requests,
    says,
    share,
    silent,
    slo,
    together,
)
from tests.truth.server import Fate, Seen, TruthServer
from tests.truth.truth import Figure, Met, figure_of

from rejoinder.model.histogram import Histogram
from rejoinder.model.outcomes import RequestOutcome


def seen(number: int, fate: str = Fate.OK) -> Seen:
    """Return a request as `base` answers it, in a closed loop of one."""
    at = 100 + 0.2 * number
    found = Seen(number, at, {}, fate=fate, answer=Answer(), served=at)
    found.head = found.event = at
    found.output = at + 0.05
    found.content = [(at + 0.05 + 0.01 * token, 1) for token in range(16)]
    found.end = at + 0.2
    return found


def met(**load: Any) -> Met:
    """Return a load of 20 requests to `base` whose run file says what is true, but for the given fields."""
    server = TruthServer(BEHAVIOURS["base"])
    server.seen += [seen(number) for number in range(20)]
    server.seen[0].connected = 100.0
    found = Met(server, Ended(0, "✓ 20 of 20 requests succeeded", "", 0, None), 1, 4.0)
    fields: dict[str, Any] = {
        "started": 20,
        "outcomes": {RequestOutcome.OK: 20},
        "window": (0.2, 3.8),
        "rates": SimpleNamespace(ok_per_s=5.0, ok_output_tokens_per_s=80.0, started_per_s=5.0),
        "in_flight": 1.0,
        "output_tokens": 320,
        "tokens": SimpleNamespace(reasoning=0, cached=0),
        "slos": [],
        "search": None,
        "stationarity": None,
        "percentiles": [],
        "self_check": SimpleNamespace(max_in_flight=1),
    }
    found.__dict__.update(load=SimpleNamespace(**(fields | load)), requests=[SimpleNamespace(t=0.0)])
    return found


def reporting(monkeypatch: pytest.MonkeyPatch, changed: dict[str, Figure | None] | None = None) -> None:
    """Let the run file report what the server computes, but for some figures."""

    def histogram(one: Met, metric: str) -> Histogram:
        found = Histogram()
        values = [0.0] * sum(call.connected is not None for call in one.seen) if metric == "connect" else []
        for value in values or [value.seconds for value in one.values(metric)]:
            found.add(value)
        return found

    def reported(one: Met, metric: str, statistic: str) -> Figure | None:
        name = f"{metric}:{statistic}"
        return changed[name] if changed and name in changed else figure_of(one.values(metric), statistic)

    monkeypatch.setattr(Met, "reported", reported)
    monkeypatch.setattr(Met, "histogram", histogram)


def failing(one: Met) -> set[str]:
    """Return the names of what does not hold of what holds for all."""
    return {expectation.name for expectation in for_all() if expectation.problem(one)}


def test_what_is_true_meets_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    reporting(monkeypatch)
    assert failing(met()) == set()


@pytest.mark.parametrize(
    ("load", "names"),
    [
        ({"started": 21}, {"started", "headline"}),
        ({"outcomes": {RequestOutcome.OK: 19, RequestOutcome.FAILED: 1}}, {"outcomes", "headline"}),
        ({"outcomes": {RequestOutcome.OK: 19}}, {"started", "outcomes", "headline"}),
        ({"rates": SimpleNamespace(ok_per_s=7.0, ok_output_tokens_per_s=80.0)}, {"ok rate"}),
        ({"rates": SimpleNamespace(ok_per_s=None, ok_output_tokens_per_s=160.0)}, {"ok rate", "token rate"}),
        ({"window": (2.0, 2.0)}, {"ok rate", "token rate", "in flight"}),
        ({"in_flight": 3.0}, {"in flight"}),
        ({"output_tokens": 0}, {"tokens"}),
        ({"tokens": SimpleNamespace(reasoning=5, cached=7)}, {"reasoning tokens", "cached tokens"}),
        ({"stationarity": SimpleNamespace(state="not steady", text="")}, {"steady"}),
    ],
)
def test_a_wrong_account_is_found(load: dict[str, Any], names: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    reporting(monkeypatch)
    assert failing(met(**load)) == names


@pytest.mark.parametrize("wrong", [None, Figure(0.3), Figure(0.05, least=True)])
@pytest.mark.parametrize("metric", ["ttft", "ttfo"])
def test_a_wrong_percentile_is_found(metric: str, wrong: Figure | None, monkeypatch: pytest.MonkeyPatch) -> None:
    reporting(monkeypatch, {f"{metric}:p50": wrong})
    assert failing(met()) == {metric}


def test_requests_that_are_sent_late_or_not_at_all_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    reporting(monkeypatch)
    one = met()
    one.seen[-1].at += 1
    assert {"nothing after the end"} <= failing(one)
    other = met()
    del other.seen[10:]
    assert {"started", "outcomes", "concurrency kept"} <= failing(other)


@pytest.mark.parametrize(
    ("expectation", "figure", "holds"),
    [
        (near("ttft:p50", 50), Figure(0.06), True),
        (near("ttft:p50", 50), Figure(0.15), False),
        (near("ttft:p50", 50), Figure(0.05, least=True), False),
        (near("ttft:p50", 50), None, False),
        (not_below("ttft:p50", 5000), Figure(4.0, least=True), True),
        (not_below("ttft:p50", 5000), Figure(6.0, least=True), False),
        (not_below("ttft:p50", 5000), Figure(4.0), False),
        (not_below("ttft:p50", 5000), None, False),
        (missing("ttft"), None, True),
        (missing("ttft"), Figure(0.05), False),
    ],
)
def test_figures(expectation: Expectation, figure: Figure | None, holds: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    reporting(monkeypatch, {"ttft:p50": figure})
    assert (expectation.problem(met()) == "") is holds


_SLO = "error<1%"


@pytest.mark.parametrize(
    ("expectation", "load", "holds"),
    [
        (code(0, 1), {}, True),
        (code(1), {}, False),
        (says("20 of 20"), {}, True),
        (says("19 of 20"), {}, False),
        (silent("19 of 20"), {}, True),
        (silent("20 of 20"), {}, False),
        (requests(20, 20), {}, True),
        (requests(21, 30), {}, False),
        (together(1), {}, True),
        (together(2), {}, False),
        (rate("ok", 5), {}, True),
        (rate("ok", 6), {}, False),
        (share("error", 0.0), {}, True),
        (share("error", 0.5), {}, False),
        (slo(_SLO, True), {"slos": [SimpleNamespace(text=_SLO, met=True, value=0)]}, True),
        (slo(_SLO, False), {"slos": [SimpleNamespace(text=_SLO, met=True, value=0)]}, False),
        (slo(_SLO, None), {"slos": [SimpleNamespace(text=_SLO, met=None, value=None)]}, True),
        (slo(_SLO, None), {"slos": [SimpleNamespace(text=_SLO, met=True, value=0)]}, False),
        (highest(4, 5), {"search": SimpleNamespace(highest=4.5)}, True),
        (highest(4, 5), {"search": SimpleNamespace(highest=5.5)}, False),
        (highest(0.95, 5.1, slots=1), {"search": SimpleNamespace(highest=4.9)}, True),
        (highest(0.95, 5.1, slots=1), {"search": SimpleNamespace(highest=4.5)}, False),
        (knee(4), {"search": SimpleNamespace(knee=4)}, True),
        (knee(4), {"search": SimpleNamespace(knee=8)}, False),
        (departs("queue"), {"stationarity": SimpleNamespace(state="steady")}, False),
        (
            departs("queue", growth=5),
            {
                "stationarity": SimpleNamespace(
                    state="not steady", departures=[SimpleNamespace(kind="queue")], queue_growth=5.5
                )
            },
            True,
        ),
        (
            departs("drift"),
            {"stationarity": SimpleNamespace(state="not steady", departures=[SimpleNamespace(kind="queue")])},
            False,
        ),
    ],
)
def test_expectations(expectation: Expectation, load: dict[str, Any], holds: bool) -> None:
    assert (expectation.problem(met(**load)) == "") is holds


def test_a_case_has_a_name_and_leaves_out_what_it_is_not_about() -> None:
    plain = case("--rate 20 --duration 4s --slo 'e2e:p99<3s'")
    assert plain.name == "rate-20-duration-4s-slo-e2e-p99-3s"
    assert "steady" in {one.name for one in plain.expected}
    assert "steady" not in {one.name for one in case("--rate 20", departs("queue")).expected}
    assert [one.name for one in case("--find-rate 1..2", highest(1, 2)).expected] == ["highest load"]
    assert {"ttft", "ttft values"}.isdisjoint(one.name for one in case("--rate 20", without=("ttft",)).expected)

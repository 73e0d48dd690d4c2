"""The coverage meter."""

from __future__ import annotations

from rejoinder.conformance.coverage import measure_coverage
from rejoinder.model.exchange import Exchange, Outcome, Request
from rejoinder.model.footer import BranchState
from rejoinder.strategies import Branches, each_choice
from rejoinder.wire.client import encode_json


def exchange(body: object, status: int | None, *tags: str) -> Exchange:
    outcome = Outcome.REFUSED if status is None else Outcome.COMPLETE
    return Exchange(
        "x", Request("POST", "/v1/responses", (), encode_json(body)), outcome, status, tags=("valid", *tags)
    )


def test_a_full_set_covers_every_branch_once() -> None:
    found = measure_coverage(exchange(case.body, 200) for case in each_choice("all"))
    assert found.counts == {"accepted": found.total, "refused": 0, "failed": 0, "not_sent": 0}
    assert found.total == len(Branches().all)


def test_a_branch_has_the_best_state_that_it_got() -> None:
    effort = "reasoning.effort={}".format
    low, high, none = ({"input": "Hi", "reasoning": {"effort": name}} for name in ("low", "high", "none"))
    found = measure_coverage(
        [
            exchange(low, 400),
            exchange(low, 200),
            exchange(high, 501),
            exchange(none, 500),
            exchange({"input": "Hi", "reasoning": {"effort": "xhigh"}}, 200, "unjudged"),
        ]
    ).branches
    assert effort("low") in found[BranchState.ACCEPTED]
    assert effort("high") in found[BranchState.REFUSED]
    assert effort("none") in found[BranchState.FAILED]
    assert effort("xhigh") in found[BranchState.NOT_SENT]
    names = [name for names in found.values() for name in names]
    assert sorted(names) == sorted(Branches().all)


def test_nothing_sent_is_nothing_covered() -> None:
    assert measure_coverage([]).counts[BranchState.NOT_SENT] == len(Branches().all)

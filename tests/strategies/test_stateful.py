from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from rejoinder.strategies import Environment
from rejoinder.strategies.stateful import (
    Action,
    Reply,
    StateError,
    responses_machine,
    run_scenario,
    scenarios,
)

ENV = Environment(model="m", max_output_tokens=1)


class Store:
    """A client that is an endpoint itself, with at most one planted fault."""

    def __init__(self, fault: str = "") -> None:
        self.fault = fault
        self.kept: dict[str, dict[str, Any]] = {}
        self.made = 0
        self.requests = 0

    def perform(self, action: Action, response_id: str, body: Mapping[str, Any]) -> Reply:
        self.requests += 1
        if action == "create":
            return self._create(body)
        found = self.kept.get(response_id)
        if found is None:
            return Reply(500 if self.fault == f"{action} of unknown crashes" else 404, {"error": {}})
        if action == "delete" and self.fault != "delete keeps":
            del self.kept[response_id]
        if action == "cancel":
            if self.fault == "cancel changes":
                found["status"] = "cancelled"
            return Reply(400)
        if action == "retrieve" and self.fault == "retrieve loses output":
            return Reply(200, {**found, "output": []})
        return Reply(200, copy.deepcopy(found))

    def _create(self, body: Mapping[str, Any]) -> Reply:
        previous = body.get("previous_response_id")
        if previous is not None and previous not in self.kept and self.fault != "any predecessor will do":
            return Reply(404, {"error": {}})
        self.made += 1
        response: dict[str, Any] = {
            "id": "resp_1" if self.fault == "one id for all" else f"resp_{self.made}",
            "object": "response",
            "status": "completed",
            "created_at": self.made,
            "model": body["model"],
            "output": [{"type": "message", "id": f"msg_{self.made}"}],
            "previous_response_id": None if self.fault == "predecessor is lost" else previous,
        }
        if body.get("store", True) or self.fault == "always stores":
            self.kept[response["id"]] = response
        if self.fault == "children change their parent" and previous:
            self.kept[previous]["output"].append(response["output"][0])
        return Reply(200, copy.deepcopy(response))


FAULTS = [
    "delete keeps",
    "cancel changes",
    "retrieve loses output",
    "any predecessor will do",
    "one id for all",
    "predecessor is lost",
    "always stores",
    "children change their parent",
]


def test_a_good_endpoint_passes_every_scenario() -> None:
    assert [run_scenario(scenario, Store(), env=ENV) for scenario in scenarios()] == [[]] * len(scenarios())


@pytest.mark.parametrize("fault", [*FAULTS, "retrieve of unknown crashes", "cancel of unknown crashes"])
def test_a_fixed_scenario_finds_each_fault_with_few_requests(fault: str) -> None:
    problems: list[str] = []
    requests = 0
    for scenario in scenarios():
        client = Store(fault)
        problems += run_scenario(scenario, client, env=ENV)
        requests += client.requests
    assert problems
    assert all(problem.startswith("state.") for problem in problems)
    assert requests <= 40


def test_a_scenario_ends_where_nothing_can_be_referred_to() -> None:
    class Refuses:
        def perform(self, action: Action, response_id: str, body: Mapping[str, Any]) -> Reply:
            return Reply(400, "no")

    problems = run_scenario(scenarios()[0], Refuses(), env=ENV)
    assert len(problems) == 2
    assert "so the scenario ends here" in problems[-1]


def test_scenarios_keep_to_the_actions_that_there_are() -> None:
    ids = [scenario.id for scenario in scenarios(actions=("create", "retrieve"))]
    assert "state.chain" in ids
    assert "state.delete" not in ids
    assert len({scenario.id for scenario in scenarios()}) == len(scenarios())


QUIET = settings(
    max_examples=40,
    stateful_step_count=12,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def test_a_good_endpoint_passes_the_machine() -> None:
    run_state_machine_as_test(responses_machine(Store, env=ENV), settings=QUIET)


@pytest.mark.parametrize("fault", FAULTS)
def test_the_machine_finds_each_fault(fault: str) -> None:
    with pytest.raises(StateError):
        run_state_machine_as_test(responses_machine(lambda: Store(fault), env=ENV), settings=QUIET)

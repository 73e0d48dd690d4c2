"""Streams, machines and invalid neighbours of custom dialects: what a file adds is drawn, checked and broken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from tests.sandbox_transport import reach
from tests.strategies.custom_dialects import LOOKUP, extended, from_openapi
from tests.strategies.streams import broken_rules_of, is_caught

from rejoinder.conformance import conversation_machine
from rejoinder.conformance.running.in_process import ManualClock
from rejoinder.contract import SchemaVariant, dialect_names, load_dialect, request_schema
from rejoinder.model.tags import FaultKind
from rejoinder.sandbox import Sandbox
from rejoinder.strategies import (
    broken_streams,
    event_streams,
    invalid_operation_cases,
    operation_bodies,
    operation_cases,
    operation_queries,
    request_bodies,
    surely_invalid,
    variety,
)
from rejoinder.strategies.replies import output_types
from rejoinder.strategies.sampling import drawn
from rejoinder.validation import Validator

OWN = [*dialect_names(), "openapi"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The dialect files by what they are based on."""
    folder = tmp_path_factory.mktemp("dialects")
    return {**{base: extended(base, folder) for base in dialect_names()}, "openapi": from_openapi(folder)}


@pytest.fixture(params=OWN)
def own(request: pytest.FixtureRequest, files: dict[str, Path]) -> Path:
    return files[request.param]


def types_of(own: Path) -> list[str]:
    known = output_types(own)
    return [LOOKUP, "message"] if LOOKUP in known else ["message", "function_call"]


@pytest.mark.slow(4)
def test_streams_of_a_custom_dialect_keep_every_rule(own: Path) -> None:
    for types in ([name] for name in types_of(own)):
        for events in drawn(event_streams(dialect=own, types=types, max_items=2), 15, seed=4):
            assert broken_rules_of(events, str(own)) == {}


@pytest.mark.parametrize("base", dialect_names())
def test_streams_have_the_events_that_a_file_adds(base: str, files: dict[str, Path]) -> None:
    streams = drawn(event_streams(dialect=files[base], types=[LOOKUP], endings=["completed"]), 20, seed=1)
    seen = {event["type"] for events in streams for event in events}
    added = {name for name in load_dialect(files[base]).events if "lookup" in name}
    assert len(added) == 4
    assert added <= seen


@pytest.mark.slow(5)
def test_broken_streams_of_a_custom_dialect_are_caught(own: Path) -> None:
    streams = [
        events
        for name in types_of(own)
        for events in drawn(event_streams(dialect=own, types=[name], endings=["completed"], max_items=1), 2, seed=2)
    ]
    broken = [found for events in streams for found in broken_streams(events, dialect=own)]
    missed = [found.name for found in broken if not is_caught(found, str(own))]
    assert len(missed) <= 0.03 * len(broken), missed


@pytest.mark.slow(3)
def test_requests_and_their_neighbours_follow_the_file(own: Path) -> None:
    sound = Validator(request_schema(SchemaVariant.GENERATION, dialect=own))
    bodies = drawn(request_bodies(dialect=own), 300, seed=3)
    assert [body for body in bodies if not sound.is_valid(body)] == []
    found = variety(request_bodies(dialect=own), dialect=own, draws=300)
    assert found.counts["route=value"] > 0
    accepts = Validator(request_schema(SchemaVariant.PERMISSIVE, dialect=own)).is_valid
    mutants = surely_invalid(dialect=own)
    assert [mutant.id for mutant in mutants if accepts(mutant.body)] == []
    kinds = {mutant.kind for mutant in mutants if mutant.location == "/route"}
    assert kinds >= ({"short", "long", "type"} if "own-openapi" not in own.name else {"long", "type"})


@pytest.mark.parametrize("base", dialect_names())
def test_an_operation_of_a_file_has_requests_and_neighbours(base: str, files: dict[str, Path]) -> None:
    dialect = load_dialect(files[base])
    operation = dialect.operations["pin"]
    assert all(map(operation.body_validator.is_valid, drawn(operation_bodies("pin", dialect=dialect), 30, seed=1)))
    assert all(map(operation.query_validator.is_valid, drawn(operation_queries("pin", dialect=dialect), 30, seed=1)))
    days = [case.query["days"] for case in operation_cases("pin", dialect=dialect) if "days" in case.query]
    assert days == [1, 30]
    wrong = invalid_operation_cases("pin", dialect=dialect)
    assert {(case.param, case.fault) for case in wrong} >= {
        ("days", FaultKind.RANGE),
        ("days", FaultKind.TYPE),
        ("label", FaultKind.MISSING),
        ("label", FaultKind.RANGE),
        ("colour", FaultKind.VALUE),
    }
    assert not any(operation.body_validator.is_valid(case.body) for case in wrong if not case.query)


STEPS = settings(
    max_examples=15,
    stateful_step_count=8,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def machine(dialect: Path, *faults: str, **options: Any) -> Any:
    clock = ManualClock()
    sandbox = Sandbox(str(dialect), faults, clock=clock)
    return conversation_machine(reach(sandbox, clock), dialect=dialect, sleep=clock.elapse, **options)


@pytest.mark.slow(6)
def test_the_machine_is_silent_on_a_correct_endpoint_of_a_custom_dialect(own: Path) -> None:
    run_state_machine_as_test(machine(own, level="SHOULD"), settings=STEPS)


@pytest.mark.slow(2)
def test_the_machine_has_the_steps_of_the_file_only(tmp_path: Path) -> None:
    file = tmp_path / "bare.toml"
    file.write_text(
        'name = "bare"\ntitle = "Bare"\nsource = "a test"\nbase = "openai"\n[overlay.operations]\nremove = [\n'
        '"/x-operations/compact", "/x-operations/delete_conversation_item", "/x-operations/update_conversation"]\n'
    )
    made = machine(file, select="STA-*")
    run_state_machine_as_test(made, settings=STEPS)
    supported = made.session.begin().supported
    assert not {"compact", "delete_conversation_item", "update_conversation"} & supported
    assert {"create_conversation", "retrieve_conversation_item", "delete_conversation", "converse"} <= supported


@pytest.mark.slow(2)
def test_a_fault_is_found_in_a_custom_dialect(files: dict[str, Path]) -> None:
    with pytest.raises(AssertionError, match="failed: STA-21"):
        run_state_machine_as_test(
            machine(files["openai"], "conversation-delete-without-effect", select="STA-21"),
            settings=settings(STEPS, max_examples=60),
        )

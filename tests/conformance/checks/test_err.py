"""What the checks of ERR take and what they do not, where the sandbox alone cannot show it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rejoinder.conformance.running.case import CaseContext
from rejoinder.conformance.running.cases.err import MUTANTS, cases, sample
from rejoinder.contract import load_dialect
from rejoinder.model.exchange import Exchange, Outcome
from rejoinder.strategies import EndpointProfile, surely_invalid
from rejoinder.strategies.sets.invalid import KINDS

Refusal = Callable[..., Exchange]
Fires = Callable[..., bool | None]

GOOD = {"error": {"type": "invalid_request_error", "message": "No.", "param": "input", "code": None}}


def error(**fields: Any) -> dict[str, Any]:
    return {"error": {**GOOD["error"], **fields}}


@pytest.mark.parametrize(
    ("status", "kind", "dialect", "found"),
    [
        (400, "BadRequestError", "northstar", False),
        (404, "NotFoundError", "northstar", False),
        (404, "invalid_request_error", "openai", False),
        (401, "authentication_error", "northstar", False),
        (429, "insufficient_quota", "openai", False),
        (400, "server_error", "northstar", True),
        (500, "invalid_request_error", "northstar", True),
        (500, "InternalServerError", "northstar", False),
        (400, "invalid_request", "openresponses", False),
        (400, "invalid_request_error", "openresponses", False),
        (500, "model_error", "openresponses", False),
        (404, "invalid_request", "openresponses", True),
        (400, "kaput", "openresponses", True),
        (400, "kaput", "northstar", False),
    ],
)
def test_error_types(fires: Fires, refusal: Refusal, status: int, kind: str, dialect: str, found: bool) -> None:
    assert fires("ERR-03", refusal(status, error(type=kind)), dialect=dialect) is found


@pytest.mark.parametrize(
    ("param", "found"),
    [
        ("input", False),
        ("input[0].role", False),
        ("input.0.role", False),
        ("/input/0/role", False),
        ("body.input", False),
        ("model", True),
        (None, True),
        (7, True),
    ],
)
def test_params(fires: Fires, refusal: Refusal, param: Any, found: bool) -> None:
    assert fires("ERR-04", refusal(400, error(param=param), "invalid", "param:input[0].role")) is found


def test_a_param_that_is_absent_is_left_to_the_envelope(fires: Fires, refusal: Refusal) -> None:
    body = {"error": {"type": "invalid_request_error", "message": "No.", "code": None}}
    assert fires("ERR-04", refusal(400, body, "invalid", "param:input")) is None
    assert fires("ERR-01", refusal(400, body, "invalid", "param:input")) is True


@pytest.mark.parametrize(
    ("status", "outcome", "found"),
    [
        (400, Outcome.COMPLETE, False),
        (200, Outcome.COMPLETE, False),
        (503, Outcome.COMPLETE, False),
        (500, Outcome.COMPLETE, True),
        (501, Outcome.COMPLETE, True),
        (400, Outcome.CUT, True),
        (None, Outcome.TIMEOUT, True),
        (None, Outcome.CANCELLED, None),
    ],
)
@pytest.mark.parametrize("tag", ["invalid", "edge"])
def test_bad_bodies(
    fires: Fires, refusal: Refusal, status: int | None, outcome: Outcome, found: bool | None, tag: str
) -> None:
    assert fires("ERR-05", refusal(status, GOOD, tag, outcome=outcome)) is found


@pytest.mark.parametrize(
    ("message", "found"),
    [
        ('File "/usr/lib/app.py", line 3', True),
        ("thread panicked at src/main.rs:3", True),
        ("at Object.<anonymous> (/srv/app/index.js:10:3)", True),
        ("at com.example.App.run(App.java:10)", True),
        ("goroutine 12 [running]:", True),
        ("see /srv/app/models/create.py", True),
        ("see https://example.org/docs/errors", False),
        ("input[0].role: 'a/b' is not allowed", False),
        ("line 3, column 4", False),
    ],
)
def test_insides(fires: Fires, refusal: Refusal, message: str, found: bool) -> None:
    assert fires("ERR-06", refusal(400, error(message=message))) is found


def test_a_path_that_was_sent_may_come_back(fires: Fires, refusal: Refusal) -> None:
    body = error(message="there is no /srv/app/tool.py")
    assert fires("ERR-06", refusal(400, body, sent={"input": "/srv/app/tool.py"})) is False


def test_the_sample_of_mutants_is_spread_and_always_the_same() -> None:
    mutants = surely_invalid(profile=EndpointProfile(model="m"))
    chosen = sample(mutants, MUTANTS)
    assert len(chosen) == MUTANTS == len({mutant.id for mutant in chosen})
    assert {mutant.kind for mutant in chosen} == set(KINDS) & {mutant.kind for mutant in mutants}
    assert len({mutant.variant for mutant in chosen}) >= 35
    assert chosen == sample(mutants, MUTANTS)


def test_every_mutant_and_extreme_is_followed_by_a_good_request() -> None:
    found = list(cases(CaseContext(load_dialect(), "m"), "full"))
    groups = [case for case in found if case.id.startswith(("refused.", "edge.")) and len(case.requests) > 3]
    assert len(groups) > 10
    for case in groups:
        bad, good = case.requests[::2], case.requests[1::2]
        assert all({"invalid", "edge"} & {*planned.tags} for planned in bad)
        assert [planned.role for planned in good] == [f"after-{planned.role}" for planned in bad]
        assert all("basic" in planned.tags and planned.deadline for planned in good)


def test_the_twins_of_a_refusal_differ_in_stream_alone() -> None:
    found = [case for case in cases(CaseContext(load_dialect(), "m"), "full") if case.id.startswith("refused.alike.")]
    assert len(found) > 5
    for case in found:
        plain, stream, after = case.requests
        assert isinstance(plain.body, dict)
        assert stream.body == {**plain.body, "stream": True}
        assert plain.tags == stream.tags
        assert after.role == "after"

"""The coverage meter."""

from __future__ import annotations

import json
from dataclasses import replace

from rejoinder.conformance.coverage import measure_coverage
from rejoinder.model.exchange import Chunk, Exchange, Outcome, Request
from rejoinder.model.footer import Acceptance
from rejoinder.strategies import Branches, each_choice
from rejoinder.wire.client import encode_json

REPLY = (Chunk(0.0, b'{"object": "response", "status": "completed", "output": []}'),)
REFUSAL = (Chunk(0.0, b'{"error": {"message": "No."}}'),)


def exchange(body: object, status: int | None, *tags: str, case: str = "", role: str = "", id: str = "x") -> Exchange:
    outcome = Outcome.REFUSED if status is None else Outcome.COMPLETE
    request = Request("POST", "/v1/responses", (), encode_json(body))
    chunks = () if status is None else REPLY if status == 200 else REFUSAL
    return Exchange(id, request, outcome, status, chunks=chunks, case=case, role=role, tags=("valid", *tags))


def pair(body: dict[str, object], status: int, without: dict[str, object]) -> list[Exchange]:
    """Return a request with something and without it, as a run sends them to isolate a refusal."""
    tags, case = ("narrowed", "unjudged"), json.dumps(body)
    return [
        exchange(body, status, *tags, case=case, role="with", id=f"{status}"),
        exchange(without, 200, *tags, case=case, role="without", id="control"),
    ]


def test_a_full_set_covers_every_branch_once() -> None:
    found = measure_coverage(exchange(case.body, 200) for case in each_choice("all"))
    assert {state: count for state, count in found.counts.items() if count} == {Acceptance.ACCEPTED: found.total}
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
    assert effort("low") in found[Acceptance.ACCEPTED]
    assert effort("high") in found[Acceptance.TOGETHER]
    assert effort("none") in found[Acceptance.TOGETHER]
    assert effort("xhigh") in found[Acceptance.NOT_SENT]
    names = [name for names in found.values() for name in names]
    assert sorted(names) == sorted(Branches().all)


def test_only_a_pair_isolates_a_refusal() -> None:
    plain: dict[str, object] = {"input": "Hi"}
    other = {**plain, "truncation": "disabled"}
    found = measure_coverage(
        [
            exchange({**plain, "truncation": "auto", "service_tier": "flex"}, 400),
            exchange({**plain, "service_tier": "auto", "user": "u"}, 500),
            exchange(other, 200),
            exchange({**plain, "user": "u"}, None),
            *pair({**plain, "truncation": "auto"}, 422, plain),
            *pair({**plain, "service_tier": "auto"}, 500, plain),
        ]
    )
    assert found.branches[Acceptance.REFUSED] == ["truncation=auto"]
    # Other tiers were not sent by themselves, so that only this value is known to fail.
    assert found.branches[Acceptance.SERVER_ERROR] == ["service_tier=auto"]
    assert found.branches[Acceptance.TOGETHER] == ["service_tier=flex", "service_tier=value", "user=value"]
    assert [(one.branches, one.exchange, one.control, one.status, one.words) for one in found.refusals] == [
        (["service_tier=auto"], "500", "control", 500, "No."),
        (["truncation=auto"], "422", "control", 422, "No."),
    ]
    groups = {tuple(group.branches): group.culprits for group in found.together}
    assert groups == {
        ("service_tier=flex",): ["truncation=auto"],
        ("service_tier=value",): ["service_tier=auto", "truncation=auto"],
        ("user=value",): ["service_tier=auto"],
    }


def test_what_lies_inside_a_refused_branch_is_refused_as_a_part_of_it() -> None:
    plain: dict[str, object] = {"input": "Hi"}
    listed: dict[str, object] = {"input": [{"role": "user", "content": [{"type": "input_text", "text": "Hi"}]}]}
    found = measure_coverage(
        [exchange({**listed, "user": "u"}, 400), exchange({**plain, "user": "u"}, 200), *pair(listed, 400, plain)]
    )
    assert found.branches[Acceptance.REFUSED] == ["input=array"]
    assert found.branches[Acceptance.TOGETHER] == []
    inside = found.branches[Acceptance.PART]
    assert len(inside) > 3
    assert all(name.startswith("input[array]") for name in inside)
    [group] = found.parts
    assert (group.branches, group.culprits) == (inside, ["input=array"])


def test_what_got_no_whole_response_proves_nothing() -> None:
    body = {"input": "Hi", "user": "u"}
    for status in (None, 401, 429, 503):
        assert measure_coverage([exchange(body, status)]).branches[Acceptance.UNPROVEN] != []
    cut = replace(exchange(body, 200), outcome=Outcome.CUT)
    assert "user=value" in measure_coverage([cut]).branches[Acceptance.UNPROVEN]


def test_nothing_sent_is_nothing_covered() -> None:
    assert measure_coverage([]).counts[Acceptance.NOT_SENT] == len(Branches().all)

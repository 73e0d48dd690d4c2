"""What the checks of ERR take and what they do not, where the sandbox alone cannot show it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import pytest

from rejoinder.conformance.judgement import MAX_CRASHES, judge, judge_run
from rejoinder.conformance.judging.exchange_view import ExchangeView
from rejoinder.conformance.running.case import CaseContext
from rejoinder.conformance.running.cases.err import MUTANTS, cases, sample
from rejoinder.conformance.running.in_process import ManualClock, run_in_process
from rejoinder.conformance.running.plan import Plan, build_plan
from rejoinder.contract import dialect_names, load_dialect
from rejoinder.model.exchange import Chunk, Exchange, Outcome, Request
from rejoinder.model.verdict import Status
from rejoinder.sandbox import Sandbox
from rejoinder.strategies import EndpointProfile, surely_invalid
from rejoinder.strategies.sets.invalid import KINDS
from rejoinder.wire.target import Target

Refusal = Callable[..., Exchange]
Fires = Callable[..., bool | None]

GOOD = {"error": {"type": "invalid_request_error", "message": "No.", "param": "input", "code": None}}


def error(**fields: Any) -> dict[str, Any]:
    return {"error": {**GOOD["error"], **fields}}


HELLO: Final = {"role": "user", "content": "Hi"}
NOBODY: Final = {"role": "nobody", "content": "Hi"}


@pytest.mark.parametrize(
    ("status", "kind", "dialect", "found"),
    [
        (400, "BadRequestError", "northstar", False),
        (404, "NotFoundError", "northstar", False),
        (404, "invalid_request_error", "openai", False),
        (501, "invalid_request_error", "openai", False),
        (401, "authentication_error", "northstar", False),
        (429, "insufficient_quota", "openai", False),
        (400, "server_error", "northstar", True),
        (500, "invalid_request_error", "northstar", True),
        (500, "InternalServerError", "northstar", False),
        (400, "invalid_request", "openresponses", False),
        (400, "invalid_request_error", "openresponses", False),
        (500, "model_error", "openresponses", False),
        (404, "invalid_request", "openresponses", False),
        (404, "server_error", "openresponses", True),
        (400, "model_error", "openresponses", False),
        (400, "kaput", "openresponses", False),
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
        (None, False),
        (7, True),
    ],
)
def test_params(fires: Fires, refusal: Refusal, control: Refusal, param: Any, found: bool) -> None:
    exchange = refusal(400, error(param=param), "invalid", "param:input[0].role", sent={"input": [NOBODY]})
    assert fires("ERR-04", exchange, control(input=[HELLO])) is found
    assert fires("ERR-04", exchange, control(input=[HELLO], user="someone")) is None
    assert fires("ERR-14", exchange, control(input=[HELLO])) is (param is None)


@pytest.mark.parametrize(
    ("items", "answered", "tested"),
    [
        ([HELLO, NOBODY], [HELLO, HELLO], True),
        ([HELLO, NOBODY], [HELLO, {"type": "message", **HELLO}], True),
        # The endpoint may refuse the other item, or that there is none.
        ([NOBODY, NOBODY], [HELLO, HELLO], False),
        ([HELLO, NOBODY], [HELLO, HELLO, HELLO], False),
        ([NOBODY], [HELLO, HELLO], False),
    ],
)
def test_a_wrong_item_is_tested_among_items_that_were_answered(
    fires: Fires, refusal: Refusal, control: Refusal, items: list[Any], answered: list[Any], tested: bool
) -> None:
    exchange = refusal(400, error(param="messages[0]"), "invalid", "param:input[1].role", sent={"input": items})
    assert fires("ERR-04", exchange, control(input=answered)) is (True if tested else None)


def test_a_call_without_its_output_may_be_refused_for_that(fires: Fires, refusal: Refusal, control: Refusal) -> None:
    call = {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"}
    output = {"type": "function_call_output", "call_id": "call_1", "output": "Rain."}
    for field, wrong, tested in (("input[1].type", {**output, "type": 7}, False), ("input[2].role", NOBODY, True)):
        place = int(field[6])
        good = [call, output, HELLO]
        bad = [*good[:place], wrong, *good[place + 1 :]]
        exchange = refusal(400, error(param="messages[0]"), "invalid", f"param:{field}", sent={"input": bad})
        assert fires("ERR-04", exchange, control(input=good)) is (True if tested else None)


def test_the_end_of_a_name_names_the_field(fires: Fires, refusal: Refusal, control: Refusal) -> None:
    sent = {"input": "Hi", "previous_response_id": "resp_0"}
    for param, found in (("response_id", False), ("id", False), ("previous", True), ("esponse_id", True)):
        exchange = refusal(404, error(param=param), "edge", "param:previous_response_id", sent=sent)
        assert fires("ERR-04", exchange, control()) is found


@pytest.mark.parametrize(
    ("dialect", "lacking", "found"),
    [
        ("northstar", "param", False),
        ("northstar", "code", True),
        ("openai", "param", True),
        ("openai", "code", True),
        ("openresponses", "param", False),
        ("openresponses", "code", False),
        ("openresponses", "message", True),
    ],
)
def test_the_fields_of_the_envelope(fires: Fires, refusal: Refusal, dialect: str, lacking: str, found: bool) -> None:
    body = {"error": {name: value for name, value in GOOD["error"].items() if name != lacking}}
    assert fires("ERR-01", refusal(400, body), dialect=dialect) is found


@pytest.mark.parametrize(
    ("dialect", "fields", "found"),
    [
        ("northstar", {"code": 400}, False),
        ("openai", {"code": 400}, True),
        ("openresponses", {"code": 400}, True),
        ("northstar", {"code": True}, True),
        ("northstar", {"message": None}, True),
        ("openai", {"param": 7}, True),
        ("openai", {"message": " "}, False),
    ],
)
def test_the_types_of_the_fields(
    fires: Fires, refusal: Refusal, dialect: str, fields: dict[str, Any], found: bool
) -> None:
    assert fires("ERR-02", refusal(400, error(**fields)), dialect=dialect) is found


def test_an_empty_message(fires: Fires, refusal: Refusal) -> None:
    assert fires("ERR-13", refusal(400, error(message=" \n"))) is True
    assert fires("ERR-13", refusal(400)) is False


@pytest.mark.parametrize(
    ("method", "below", "status", "found"),
    [
        ("GET", "/resp_1", 400, True),
        ("DELETE", "/resp_1", 400, True),
        ("POST", "/resp_1/cancel", 501, True),
        ("POST", "/resp_1/cancel", 500, None),
        ("GET", "/resp_1", 404, None),
        ("GET", "/nothing/here", 404, None),
        ("POST", "", 400, None),
    ],
)
def test_errors_of_other_operations(
    fires: Fires, refusal: Refusal, method: str, below: str, status: int, found: bool | None
) -> None:
    def sent(status: int, body: Any) -> Exchange:
        exchange = refusal(status, body, method=method)
        return replace(exchange, request=replace(exchange.request, path=f"/v1/responses{below}"))

    assert fires("ERR-12", sent(status, {"detail": "No."}), dialect="openai") is found
    assert fires("ERR-12", sent(status, GOOD), dialect="openai") is (None if found is None else False)
    if status == 404 and below == "/resp_1":
        assert fires("ERR-12", sent(404, {"detail": "No."}), sent(200, {}), dialect="openai") is True


def test_a_stack_trace_of_another_operation(fires: Fires, refusal: Refusal) -> None:
    exchange = refusal(500, b'File "/usr/lib/app.py", line 3', method="GET")
    assert fires("ERR-06", exchange) is True


def test_the_endpoints_words_tell_server_errors_apart(refusal: Refusal) -> None:
    def kinds(*messages: str) -> set[str]:
        exchanges = [
            refusal(500, error(message=message), "invalid", id=f"x{number}", case=f"c{number}")
            for number, message in enumerate(messages)
        ]
        [verdict] = judge(exchanges, "northstar", select="ERR-05")
        return {finding.evidence.kind for finding in verdict.findings}

    same = kinds("Request 17 failed at /srv/app/a.py: KeyError 'x9'", "Request 4711 failed at /srv/b.py: KeyError 'y7'")
    assert same == {"5xx 500 request failed at keyerror"}
    assert len(kinds("No such tool.", "The model is gone.", "Out of memory.")) == 3
    words = [f"failed on {chr(97 + n // 26)}{chr(97 + n % 26)}{chr(97 + n % 26)}" for n in range(100)]
    many = kinds(*words)
    assert len(many) == MAX_CRASHES + 1
    assert "5xx other" in many


@pytest.mark.parametrize(
    ("status", "outcome", "found"),
    [
        (400, Outcome.COMPLETE, False),
        (200, Outcome.COMPLETE, False),
        (503, Outcome.COMPLETE, False),
        (500, Outcome.COMPLETE, True),
        (501, Outcome.COMPLETE, False),
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
    assert len({mutant.variant for mutant in chosen}) >= 20
    assert len({repr(mutant.base) for mutant in chosen}) <= 25
    assert chosen == sample(mutants, MUTANTS)


def test_every_mutant_and_extreme_is_followed_by_a_good_request() -> None:
    found = list(cases(CaseContext(load_dialect(), "m"), "full"))
    of_create = [case for case in found if not case.id.startswith("refused.operations.")]
    groups = [case for case in of_create if case.id.startswith(("refused.", "edge.")) and len(case.requests) > 3]
    assert len(groups) > 10
    for case in groups:
        requests = [planned for planned in case.requests if not planned.role.startswith("control")]
        bad, good = requests[::2], requests[1::2]
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


@pytest.mark.parametrize(
    ("detail", "rules"),
    [
        ("No connection with 127.0.0.1:1 within 10 s.", set()),
        ("127.0.0.1:1 sent no data for 60 s (before the response began).", {"ERR-05", "HTTP-03", "HTTP-07"}),
    ],
)
def test_a_connection_that_never_came_says_nothing_of_a_body(detail: str, rules: set[str]) -> None:
    def sent(tag: str, media: str) -> Exchange:
        headers = (("content-type", media),)
        request = Request("POST", "/v1/responses", headers, b'{"input":"Hi"}')
        return Exchange(
            f"x-{tag}-{media}", request, Outcome.TIMEOUT, case="c", role="plain", tags=(tag,), detail=detail
        )

    exchanges = [sent("valid", "application/json"), sent("invalid", "application/json"), sent("invalid", "text/plain")]
    found = judge(exchanges, "northstar", select="ERR-05,HTTP-03,HTTP-07")
    assert {verdict.rule for verdict in found if verdict.findings} == rules


@pytest.mark.parametrize("sent", [b'{"input": "a\\ud800b"}', b'{"input": "a", "\\udc00": 1}'])
def test_a_lone_surrogate_is_a_matter_of_its_own(fires: Fires, refusal: Refusal, sent: bytes) -> None:
    broken = refusal(500, GOOD, "edge", sent=sent)
    assert (fires("ERR-05", broken), fires("ERR-15", broken)) == (None, True)
    whole = refusal(500, GOOD, "edge", sent=b'{"input": "a\\ud83d\\ude42b"}')
    assert (fires("ERR-05", whole), fires("ERR-15", whole)) == (True, None)


# What is done to every refusal of an operation, and the rule that it breaks.
Damage = Callable[[int, dict[str, Any]], tuple[int, Any]]
DAMAGES: Final[dict[str, Damage]] = {
    "ERR-02": lambda status, error: (status, {"error": {**error, "message": [error["message"]]}}),
    "ERR-03": lambda status, error: (status, {"error": {**error, "type": "server_error"}}),
    "ERR-06": lambda status, error: (status, {"error": {**error, "message": "Traceback (most recent call last):"}}),
    "ERR-10": lambda status, error: (status, {"error": {**error, "message": "x" * 10_000}}),
    "ERR-12": lambda status, error: (status, {"detail": error["message"]}),
    "ERR-13": lambda status, error: (status, {"error": {**error, "message": " "}}),
    "ERR-16": lambda status, error: (500, {"error": {**error, "type": "server_error"}}),
    "HTTP-12": lambda status, error: (500, {"detail": error["message"]}),
    "HTTP-14": lambda status, error: (404, {"error": error}),
}


def damaged(exchange: Exchange, damage: Damage) -> Exchange:
    body = exchange.json()
    assert isinstance(body, dict)
    status, changed = damage(exchange.status or 0, body["error"])
    return replace(exchange, status=status, chunks=(Chunk(0.0, json.dumps(changed).encode()),))


@pytest.mark.slow(5)
@pytest.mark.parametrize("dialect", dialect_names())
def test_a_damaged_refusal_of_any_operation_is_found(dialect: str) -> None:
    """The plan makes every operation refuse something, and every rule about refusals looks at it."""
    known = load_dialect(dialect)
    plan = build_plan("full", known, model="parrot", models=("parrot",))
    wanted = ("refused.operations.", "operations.", "state.", "background.polled", "echo.fields", "basic.")
    target = Target("http://sandbox/v1/responses", "parrot", dialect=dialect, form=known.usual_form)
    clock = ManualClock()
    cases = tuple(case for case in plan.cases if case.id.startswith(wanted))
    batches = run_in_process(Plan("full", cases), Sandbox(dialect, clock=clock), target, clock)
    exchanges = [exchange for batch in batches for exchange in batch]
    verdicts, context = judge_run(exchanges, known, select=",".join(DAMAGES))
    assert not [verdict.rule for verdict in verdicts if verdict.findings]
    missed = []
    for operation in context.operations - {""}:
        views = [ExchangeView(exchange, known) for exchange in exchanges if (exchange.status or 0) >= 400]
        refusals = [view.exchange for view in views if operation in view.at_operation]
        for rule, damage in DAMAGES.items():
            changed = [damaged(exchange, damage) for exchange in refusals]
            [verdict] = judge(changed, known, select=rule, run_context=context)
            if not verdict.findings:
                missed.append((rule, operation))
    # The list of models has neither ids, parameters nor a body: it refuses a method only, which is no request to it.
    assert set(missed) <= {("ERR-12", "models")}
    assert {*known.operations} - context.operations <= {"render"}, "the sandbox does not have it"


def test_only_other_operations_have_to_refuse(fires: Fires, refusal: Refusal) -> None:
    """REQ-10 informs of create requests that are answered although they are invalid."""
    page: dict[str, Any] = {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}
    answered = refusal(200, {"id": "resp_1", "status": "completed"}, "invalid", id="create")
    assert fires("ERR-17", answered, dialect="openai") is None
    path = "/v1/responses/resp_1/input_items"
    listed = [
        replace(one, request=replace(one.request, method="GET", path=f"{path}{query}", body=b""))
        for one, query in (
            (refusal(200, page, id="listed"), ""),
            (refusal(200, page, "invalid", id="limited"), "?limit=0"),
            (refusal(400, GOOD, "invalid", id="refused"), "?limit=0"),
            (refusal(429, GOOD, "invalid", id="busy"), "?limit=0"),
            (refusal(204, page, "invalid", id="empty"), "?limit=0"),
        )
    ]
    first, limited, refused, busy, empty = listed
    assert fires("ERR-17", answered, first, refused, busy, dialect="openai") is False
    assert fires("ERR-17", answered, first, limited, dialect="openai") is True
    assert fires("ERR-17", answered, first, empty, dialect="openai") is True
    assert fires("ERR-17", answered, refused, dialect="openai") is None


@pytest.mark.parametrize(
    ("image", "text", "status"),
    [
        (200, 400, Status.PASS),
        (200, 200, Status.WARN),
        (400, 200, Status.NOT_APPLICABLE),
        (200, 429, Status.NOT_APPLICABLE),
    ],
)
def test_broken_images(replied: Callable[..., Exchange], image: int, text: int, status: Status) -> None:
    exchanges = [
        replace(replied({}, [], status=code), id=role, role=role)
        for role, code in (("plain", image), ("broken-image", text))
    ]
    [found] = judge(exchanges, "northstar", select="ERR-18")
    assert found.status is status

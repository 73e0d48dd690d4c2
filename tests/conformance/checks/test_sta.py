"""State: what a retrieve that is not there proves, ids that never were, and models that cannot repeat a word."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rejoinder.conformance.judgement import judge
from rejoinder.conformance.judging.roles import Role
from rejoinder.conformance.running.case import CaseContext, unknown_id
from rejoinder.conformance.running.cases import sta
from rejoinder.conformance.running.in_process import ManualClock, run_in_process, sandbox_target
from rejoinder.conformance.running.plan import Plan, build_plan
from rejoinder.contract import dialect_names, load_dialect
from rejoinder.model.exchange import Chunk, Exchange, Outcome, Request
from rejoinder.model.verdict import Status, Verdict
from rejoinder.sandbox import Sandbox
from rejoinder.wire.target import Target

Change = Callable[[Exchange], Exchange]


def answer(status: int, body: Any, request: Request, **fields: Any) -> Exchange:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Exchange("x", request, Outcome.COMPLETE, status, (), (Chunk(0.0, data),), **fields)


def played(
    case: str, change: Change = lambda exchange: exchange, dialect: str = "northstar", faults: tuple[str, ...] = ()
) -> list[Exchange]:
    """Return what a sandbox answers to one case, every exchange changed."""
    known = load_dialect(dialect)
    found = tuple(one for one in sta.cases(CaseContext(known, models=("parrot",)), "full") if one.id == case)
    clock, target = ManualClock(), Target("http://sandbox/v1/responses", dialect=dialect, form=known.usual_form)
    batches = run_in_process(Plan("test", found), Sandbox(dialect, faults, clock=clock), target, clock)
    return [change(exchange) for batch in batches for exchange in batch]


def verdict(rule: str, exchanges: list[Exchange], dialect: str = "northstar") -> Verdict:
    [found] = judge(exchanges, dialect, select=rule)
    return found


def refusing(status: int, body: Any = None) -> Change:
    """Answer whatever is no create with a refusal."""
    refusal = {"error": {"type": "t", "message": "No.", "param": None, "code": None}} if body is None else body

    def change(exchange: Exchange) -> Exchange:
        if exchange.request.path.endswith("/responses"):
            return exchange
        return answer(status, refusal, exchange.request, case=exchange.case, role=exchange.role)

    return change


@pytest.mark.parametrize("status", [404, 405, 501])
@pytest.mark.parametrize("case", ["state.streamed", "state.unknown", "state.deleted", "state.input-items"])
def test_an_endpoint_with_create_alone_breaks_nothing(case: str, status: int) -> None:
    for found in judge(played(case, refusing(status)), "northstar", select="STA-*,ACC-13,BGR-*"):
        assert found.status in (Status.NOT_APPLICABLE, Status.DECLINED), found.rule


def test_a_retrieve_that_answers_otherwise_is_told() -> None:
    assert verdict("STA-01", played("state.stored", refusing(500))).status is Status.FAIL
    [page] = verdict("STA-01", played("state.stored", refusing(200, b"<h1>Maintenance</h1>"))).findings
    assert page.evidence.kind == "body"


def test_a_response_that_says_it_is_not_stored_need_not_be_there() -> None:
    def change(exchange: Exchange) -> Exchange:
        if exchange.role == "streamed":
            body = exchange.body.replace(b'"store":true', b'"store":false')
            return Exchange(
                exchange.id,
                exchange.request,
                exchange.outcome,
                200,
                exchange.headers,
                (Chunk(0.0, body),),
                exchange.case,
                exchange.role,
            )
        if exchange.role == "get-streamed":
            return refusing(404)(exchange)
        return exchange

    assert verdict("STA-01", played("state.streamed", change)).status is Status.PASS


def test_delete_and_cancel_may_be_lacking() -> None:
    def change(exchange: Exchange) -> Exchange:
        return refusing(405)(exchange) if exchange.role in ("delete-unknown", "cancel-unknown") else exchange

    assert verdict("STA-02", played("state.unknown", change)).status is Status.PASS


def saying(**texts: str) -> Change:
    """Let the model say other texts in some roles."""

    def change(exchange: Exchange) -> Exchange:
        text = texts.get(exchange.role.replace("-", "_"))
        if text is None or exchange.request.path != "/v1/responses":
            return exchange
        body = exchange.json() or {"id": "r", "object": "response", "status": "completed", "model": "m"}
        part = {"type": "output_text", "text": text, "annotations": []}
        body["output"] = [{"type": "message", "id": "m", "status": "completed", "role": "assistant", "content": [part]}]
        return answer(200, body, exchange.request, case=exchange.case, role=exchange.role)

    return change


def test_a_model_that_cannot_repeat_a_word_declines() -> None:
    deaf = saying(inline="I cannot say.", chained="I cannot say.", third="I cannot say.")
    found = verdict("STA-08", played("state.memory-string", deaf))
    assert found.status is Status.DECLINED
    assert "did not repeat" in found.reason
    mute = saying(grandchild="NONE", sibling="NONE")
    assert verdict("STA-09", played("state.siblings", mute)).status is Status.DECLINED


def test_a_miss_counts_only_when_it_happens_twice() -> None:
    # The sandbox remembers, so the question is not asked again, and one odd answer proves nothing.
    assert verdict("STA-08", played("state.memory-string", saying(chained="What?"))).status is Status.PASS


def test_the_order_of_turns_is_looked_at() -> None:
    def backwards(exchange: Exchange) -> Exchange:
        if exchange.role != "chained":
            return exchange
        words = [word for word in exchange.body.decode().replace(".", " ").split() if "-" in word]
        first = next(word for word in words if word.startswith("quartz-"))
        second = next(word for word in words if word.startswith("saffron-"))
        return saying(chained=f"{second}, {first}")(exchange)

    [finding] = verdict("STA-08", played("state.memory-string", backwards)).findings
    assert finding.evidence.kind == "order"


_SHAPES = [
    r"resp_[0-9a-f]{24}",
    r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
    r"01[0-9A-HJKMNP-TV-Z]{24}",
    r"caresp_[0-9A-Za-z]{50}",
    r"resp_[A-Za-z0-9_-]{21}",
    r"resp-[A-Za-z0-9+/]{21}[AQgw]==",
    r"resp_[1-9][0-9]{5,12}",
    r"chatcmpl:[0-9a-f]{6,12}",
]


@given(st.data())
@pytest.mark.parametrize("shape", _SHAPES)
def test_an_unknown_id_has_the_shape_of_a_known_one(shape: str, data: st.DataObject) -> None:
    identity = data.draw(st.from_regex(shape, fullmatch=True))
    other = unknown_id(identity)
    assert other != identity
    assert re.fullmatch(shape, other)
    assert len(other) == len(identity)


@pytest.mark.parametrize("identity", ["resp_1", "7", "r", "resp_a", "msg"])
def test_an_unknown_id_keeps_a_short_prefix_and_is_no_neighbour(identity: str) -> None:
    other = unknown_id(identity)
    assert other != identity
    assert other.startswith("resp_") == identity.startswith("resp_")
    number = identity.removeprefix("resp_")
    if number.isdigit():
        assert int(other.removeprefix("resp_")) > 900_000


def test_an_endpoint_that_checks_the_shape_of_an_id_only_is_found_out() -> None:
    [finding] = verdict("STA-06", played("state.unknown-previous", faults=("previous-response-only-matched",))).findings
    assert finding.evidence.kind == "accepted"


@pytest.mark.parametrize(("alone", "status"), [(200, Status.PASS), (404, Status.NOT_APPLICABLE)])
def test_two_histories_need_an_endpoint_that_takes_each(alone: int, status: Status) -> None:
    def change(exchange: Exchange) -> Exchange:
        if exchange.role == Role.CONVERSATION and alone != 200:
            body = {"error": {"message": "No such conversation."}}
            return answer(alone, body, exchange.request, case=exchange.case, role=exchange.role)
        return exchange

    assert verdict("STA-07", played("state.two-histories", change, "openai"), dialect="openai").status is status


# Continuing


def refusing_roles(status: int, *prefixes: str) -> Change:
    """Answer what goes under roles that begin so with a refusal."""

    def change(exchange: Exchange) -> Exchange:
        if not exchange.role.startswith(prefixes):
            return exchange
        return answer(status, {"error": {"message": "No."}}, exchange.request, case=exchange.case, role=exchange.role)

    return change


def test_an_endpoint_without_chains_is_not_blamed_for_them() -> None:
    exchanges = played("state.continued", refusing_roles(400, "next-", "late-"))
    assert verdict("STA-15", exchanges).status is Status.NOT_APPLICABLE


@pytest.mark.parametrize("status", [400, 404, 500])
def test_one_sort_of_response_that_cannot_be_continued_is_told(status: int) -> None:
    exchanges = played("state.continued", refusing_roles(status, "next-cut", "late-cut"))
    assert [finding.evidence.kind for finding in verdict("STA-15", exchanges).findings] == ["cut"]


@pytest.mark.parametrize("status", [401, 429, 503])
def test_a_busy_endpoint_continues_later(status: int) -> None:
    assert verdict("STA-15", played("state.continued", refusing_roles(status, "next-cut"))).status is Status.PASS


def test_an_endpoint_that_takes_any_id_shows_nothing_of_unstored_ones() -> None:
    def change(exchange: Exchange) -> Exchange:
        if exchange.role not in ("unknown", "next-unstored"):
            return exchange
        body = {"id": "r", "object": "response", "status": "completed", "output": []}
        return answer(200, body, exchange.request, case=exchange.case, role=exchange.role)

    assert verdict("STA-14", played("state.continued", change)).status is Status.NOT_APPLICABLE


def test_pages_that_never_say_there_are_more_are_told_once() -> None:
    def change(exchange: Exchange) -> Exchange:
        page = exchange.json()
        if exchange.role != "page":
            return exchange
        return answer(200, {**page, "has_more": False}, exchange.request, case=exchange.case, role=exchange.role)

    [finding] = verdict("STA-05", played("state.input-items", change)).findings
    assert finding.evidence.kind == "more"


# Tenants


def theirs(status: int, body: Any, *roles: str) -> list[Exchange]:
    """Return what a clean sandbox answers to two tenants, with another answer to the second one in some roles."""
    [case] = [case for case in sta.cases(CaseContext(load_dialect("northstar")), "full") if case.id == "state.tenants"]
    clock, target = ManualClock(), Target("http://sandbox/v1/responses", second_key="theirs")
    batches = run_in_process(Plan("test", (case,)), Sandbox(clock=clock), target, clock)
    return [
        answer(status, body, exchange.request, case=exchange.case, role=exchange.role, tags=exchange.tags)
        if exchange.role in roles
        else exchange
        for batch in batches
        for exchange in batch
    ]


def test_two_tenants_are_strangers_on_a_clean_endpoint() -> None:
    assert verdict("STA-11", theirs(200, {})).status is Status.PASS


def test_a_second_key_that_is_not_good_shows_nothing() -> None:
    assert verdict("STA-11", theirs(401, {}, "theirs")).status is Status.NOT_APPLICABLE


def test_without_a_second_key_nothing_is_asked() -> None:
    assert played("state.tenants") == []


def test_a_delete_that_says_yes_and_deletes_nothing_is_no_leak() -> None:
    assert verdict("STA-11", theirs(200, {"deleted": True}, "their-delete")).status is Status.PASS


def test_a_server_error_for_a_stranger_is_told() -> None:
    [finding] = verdict("STA-11", theirs(500, {}, "their-get")).findings
    assert finding.evidence.kind == "their-get 5xx 500"


def test_a_change_that_the_plan_makes_is_no_change_of_the_endpoint() -> None:
    """A cancel between two retrieves may change what they return; without it nothing may."""

    def change(exchange: Exchange) -> Exchange:
        if exchange.role == Role.GET_AFTER:
            body = {**exchange.json(), "status": "cancelled"}
            return answer(200, body, exchange.request, case=exchange.case, role=exchange.role)
        return exchange

    assert verdict("STA-04", played("state.streamed", change)).status is not Status.WARN

    def unstable(exchange: Exchange) -> Exchange:
        if exchange.role == Role.GET_AGAIN:
            body = {**exchange.json(), "created_at": 7}
            return answer(200, body, exchange.request, case=exchange.case, role=exchange.role)
        return exchange

    assert verdict("STA-04", played("state.stored", unstable)).status is Status.WARN


@pytest.mark.parametrize("rule", ["STA-08", "STA-10", "STA-15", "USG-09", "ECH-01", "MEM-14"])
def test_where_the_id_is_ignored_only_that_is_a_defect(rule: str) -> None:
    target = Target("http://sandbox/v1/responses", dialect="northstar")
    clock = ManualClock()
    plan = build_plan("full", load_dialect("northstar"))
    chosen = tuple(
        case for case in plan.cases if case.id.startswith(("state.", "background.c", "meaning.deleted", "echo.chain"))
    )
    sandbox = Sandbox("northstar", ("previous-response-ignored",), clock=clock)
    exchanges = [e for batch in run_in_process(Plan("full", chosen), sandbox, target, clock) for e in batch]
    assert verdict("STA-06", exchanges).status is Status.FAIL
    assert verdict(rule, exchanges).status in (Status.PASS, Status.NOT_APPLICABLE, Status.BLOCKED, Status.DECLINED)


@pytest.mark.parametrize(("state", "found"), [("completed", Status.PASS), ("cancelled", Status.FAIL)])
def test_a_foreground_response_may_come_back_from_a_cancel_as_it_is(state: str, found: Status) -> None:
    def change(exchange: Exchange) -> Exchange:
        if exchange.role == Role.CANCEL:
            body = {"id": "resp_1", "object": "response", "status": state}
            return answer(200, body, exchange.request, case=exchange.case, role=exchange.role)
        return exchange

    assert verdict("BGR-07", played("state.streamed", change)).status is found


@pytest.mark.parametrize("dialect", dialect_names())
def test_input_is_a_string_only_where_that_is_the_point(dialect: str) -> None:
    clock, target = ManualClock(), sandbox_target(dialect, model=None)
    plan = Plan("test", tuple(sta.cases(CaseContext(load_dialect(dialect), models=("parrot",)), "full")))
    sent = [e for batch in run_in_process(plan, Sandbox(dialect, clock=clock), target, clock) for e in batch]
    bodies = [(e.case, e.request.json()) for e in sent if e.request.method == "POST" and e.request.body]
    strings = {case for case, body in bodies if isinstance(body, dict) and isinstance(body.get("input"), str)}
    assert strings == {"state.memory-string"}


COMPACTION = ("STA-06", "STA-13", "STA-24", "STA-25", "STA-26", "STA-27")
COMPACTED = ("state.compacted", "state.compacted-response")


@pytest.mark.parametrize("status", [404, 405, 501])
@pytest.mark.parametrize("dialect", ["openai", "openresponses"])
def test_an_endpoint_without_compaction_is_not_accused(dialect: str, status: int) -> None:
    exchanges = [one for case in COMPACTED for one in played(case, refusing(status), dialect)]
    assert [verdict(rule, exchanges, dialect).status for rule in COMPACTION] == [Status.NOT_APPLICABLE] * 6 or all(
        not verdict(rule, exchanges, dialect).findings for rule in COMPACTION
    )


@pytest.mark.parametrize("dialect", ["openai", "openresponses"])
def test_compaction(dialect: str) -> None:
    exchanges = [one for case in COMPACTED for one in played(case, dialect=dialect)]
    assert {verdict(rule, exchanges, dialect).status for rule in COMPACTION} == {Status.PASS}


def test_a_model_that_repeats_nothing_shows_nothing_of_compaction() -> None:
    def forgetful(exchange: Exchange) -> Exchange:
        text = re.sub(rb"(quartz|saffron)-\d{4}", b"nothing", exchange.body)
        is_create = exchange.request.path.endswith("/responses")
        return replace(exchange, chunks=(Chunk(0.0, text),)) if is_create else exchange

    exchanges = [one for case in COMPACTED for one in played(case, forgetful, "openai")]
    assert verdict("STA-27", exchanges, "openai").status is Status.DECLINED
    assert verdict("STA-13", exchanges, "openai").status is Status.PASS


def in_role(role: str, change: Change) -> Change:
    return lambda exchange: change(exchange) if exchange.role.startswith(role) else exchange


@pytest.mark.parametrize(
    ("change", "rule", "found"),
    [
        (in_role("unknown", lambda one: replace(one, status=422)), "STA-28", False),
        (in_role("unknown", lambda one: replace(one, status=500)), "STA-28", True),
        (in_role("re", lambda one: replace(one, status=400)), "STA-28", None),
        (in_role("re", lambda one: replace(one, status=400)), "MEM-16", None),
        (in_role("inline", lambda one: replace(one, status=400)), "MEM-16", None),
    ],
)
def test_item_references(fires: Callable[..., bool | None], change: Change, rule: str, found: bool | None) -> None:
    assert fires(rule, *played("state.item-reference", change, "openai"), dialect="openai") is found


@pytest.mark.parametrize(
    ("case", "change", "rule", "found"),
    [
        ("state.include", in_role("get-including-3", lambda one: replace(one, status=400)), "STA-29", True),
        ("state.include", in_role("listed-including-3", lambda one: replace(one, status=500)), "STA-29", True),
        ("state.include", in_role("get", lambda one: replace(one, status=404)), "STA-29", False),
        ("state.include", in_role("", lambda one: replace(one, status=429)), "STA-29", None),
        ("state.included-fields", in_role("", lambda one: one), "STA-30", False),
        ("state.included-fields", in_role("get-logprobs-again", lambda one: without_logprobs(one)), "STA-30", False),
        ("state.included-fields", in_role("get-logprobs", lambda one: without_logprobs(one)), "STA-30", True),
        ("state.included-fields", in_role("", lambda one: without_logprobs(one)), "STA-30", False),
    ],
)
def test_include(fires: Callable[..., bool | None], case: str, change: Change, rule: str, found: bool | None) -> None:
    assert fires(rule, *played(case, change, "openai"), dialect="openai") is found


def without_logprobs(exchange: Exchange) -> Exchange:
    body = exchange.json()
    assert isinstance(body, dict)
    for item in body.get("output", ()):
        for part in item.get("content") or ():
            part["logprobs"] = []
    return replace(exchange, chunks=(Chunk(0.0, json.dumps(body).encode()),))


TALKS = ("STA-17", "STA-18", "STA-19", "STA-20", "STA-21", "STA-22", "STA-23", "RSP-13", "STA-07")
TALK_CASES = [
    "state.conversation",
    "state.conversation-metadata",
    "state.conversation-items",
    "state.conversation-memory",
    "state.conversation-unknown",
    "state.two-histories",
]


def talked(change: Change = lambda exchange: exchange, *cases: str) -> list[Exchange]:
    """Return what a sandbox answers to the cases about conversations, every exchange changed."""
    return [exchange for case in cases or TALK_CASES for exchange in played(case, change, "openai")]


def body_in_role(role: Role, change: Callable[[dict[str, Any]], Any]) -> Change:
    """Change the JSON body of the reply to the request in a role."""

    def do(exchange: Exchange) -> Exchange:
        if exchange.role != role:
            return exchange
        return replace(exchange, chunks=(Chunk(0.1, json.dumps(change(exchange.json())).encode()),))

    return do


def test_conversations_of_a_correct_endpoint_pass() -> None:
    exchanges = talked()
    for rule in TALKS:
        assert verdict(rule, exchanges, "openai").status is Status.PASS, rule


@pytest.mark.parametrize("status", [404, 405, 501])
def test_an_endpoint_without_conversations_is_not_accused(status: int) -> None:
    def change(exchange: Exchange) -> Exchange:
        if "/conversations" not in exchange.request.path:
            return exchange
        refusal = {"error": {"type": "t", "message": "No.", "param": None, "code": None}}
        return answer(status, refusal, exchange.request, case=exchange.case, role=exchange.role)

    # What comes after the refused request is not sent.
    exchanges = [exchange for exchange in talked(change) if exchange.role == Role.TALK_CREATED]
    for rule in TALKS:
        assert verdict(rule, exchanges, "openai").status is Status.NOT_APPLICABLE, rule


@pytest.mark.parametrize(
    ("rule", "role", "change", "kind"),
    [
        ("STA-17", Role.TALK_GET, lambda body: {**body, "created_at": 7}, "talk-get created_at"),
        ("STA-17", Role.TALK_UPDATED, lambda body: {**body, "metadata": {}}, "talk-updated metadata"),
        ("STA-18", Role.TALK_ADDED, lambda body: {**body, "data": body["data"][::-1]}, "added"),
        ("STA-18", Role.TALK_ITEM, lambda body: {**body, "id": "msg_other"}, "item"),
        ("STA-19", Role.TALK_LISTED, lambda body: {**body, "data": body["data"][:1]}, "lost"),
    ],
)
def test_what_is_wrong_with_a_conversation(
    rule: str, role: Role, change: Callable[[dict[str, Any]], Any], kind: str
) -> None:
    case = {"STA-17": "state.conversation-metadata", "STA-18": "state.conversation-items"}.get(
        rule, "state.conversation"
    )
    found = verdict(rule, talked(body_in_role(role, change), case), "openai")
    assert kind in [finding.evidence.kind for finding in found.findings]


def test_items_may_be_added_after_the_response() -> None:
    exchanges = talked(lambda exchange: exchange, "state.conversation")
    [listed] = [exchange for exchange in exchanges if exchange.role == Role.TALK_LISTED]
    early = body_in_role(Role.TALK_LISTED, lambda body: {**body, "data": body["data"][:1]})(listed)
    late = replace(listed, role=Role.TALK_LISTED_AFTER, id="late")
    found = [early if exchange is listed else exchange for exchange in exchanges]
    assert verdict("STA-19", found, "openai").status is Status.FAIL
    assert verdict("STA-19", [*found, late], "openai").status is Status.PASS


def test_a_model_that_repeats_nothing_forgets_no_conversation() -> None:
    def silent(exchange: Exchange) -> Exchange:
        body = exchange.json()
        if exchange.role not in (Role.TALK_INLINE, Role.TALK_CHAINED) or not isinstance(body, dict):
            return exchange
        text = json.dumps({**body, "output": []}).encode()
        return replace(exchange, chunks=(Chunk(0.1, text),))

    assert verdict("STA-20", talked(silent, "state.conversation-memory"), "openai").status is Status.DECLINED


@pytest.mark.parametrize(("status", "outcome"), [(410, Status.PASS), (400, Status.WARN), (405, Status.NOT_APPLICABLE)])
def test_unknown_conversations(status: int, outcome: Status) -> None:
    def change(exchange: Exchange) -> Exchange:
        return replace(exchange, status=status) if exchange.role.endswith("-unknown") else exchange

    found = verdict("STA-22", talked(change, "state.conversation-unknown"), "openai")
    assert found.status is outcome


def test_an_overflow_that_is_cut_is_found() -> None:
    cut = played("state.overflow", faults=("overflow-cut",))
    assert verdict("STA-12", cut).status is Status.FAIL
    # One response that was cut may be chance.
    assert verdict("STA-12", cut[:-1]).status is Status.PASS


def test_an_overflow_needs_a_listed_context() -> None:
    found = played("state.overflow")
    assert [exchange.role for exchange in found] == ["models"]
    assert verdict("STA-12", found).status is Status.NOT_APPLICABLE


def test_an_overflow_without_usage_is_declined() -> None:
    def without_usage(exchange: Exchange) -> Exchange:
        body = exchange.json()
        return replace(exchange, chunks=(Chunk(0.0, json.dumps({**body, "usage": None}).encode()),))

    cut = played("state.overflow", without_usage, faults=("overflow-cut",))
    assert verdict("STA-12", cut).status is Status.DECLINED


@pytest.mark.parametrize("count", [7, 500])
def test_an_overflow_is_declined_where_words_are_not_counted(count: int) -> None:
    def counted(exchange: Exchange) -> Exchange:
        body = exchange.json()
        if "usage" not in body:
            return exchange
        usage = {**body["usage"], "input_tokens": count if exchange.role == "control" else 4 * count}
        return replace(exchange, chunks=(Chunk(0.0, json.dumps({**body, "usage": usage}).encode()),))

    cut = played("state.overflow", counted, faults=("overflow-cut",))
    assert verdict("STA-12", cut).status is Status.DECLINED


@pytest.mark.parametrize(
    ("row", "length"),
    [
        ({"max_model_len": 512}, 512),
        ({"context_length": 512}, 512),
        ({"meta": {"n_ctx": 256, "n_ctx_train": 512}}, 512),
        ({"max_model_len": True}, None),
        ({"max_model_len": 0}, None),
        ({}, None),
    ],
)
def test_contexts_of_servers(row: dict[str, Any], length: int | None) -> None:
    body = {"object": "list", "data": [{"id": "other", "max_model_len": 9}, {"id": "parrot", **row}]}
    context = CaseContext(load_dialect("northstar"), "parrot")
    case = next(one for one in sta.cases(context, "full") if one.id == "state.overflow")
    listed = answer(200, body, Request("GET", "/v1/models"))
    make = case.requests[2].body
    assert callable(make)
    sent = make({"models": listed})
    assert (sent is None) is (length is None)
    if length is not None:
        assert len(sent["input"][0]["content"].split()) > length


def test_a_phase_that_is_not_listed_is_found() -> None:
    case = "state.input-items-phase"
    assert verdict("STA-31", played(case, dialect="openai"), "openai").status is Status.PASS
    lost = verdict("STA-31", played(case, dialect="openai", faults=("listed-phase-lost",)), "openai")
    assert lost.status is Status.WARN
    [finding] = lost.findings
    assert finding.evidence.expected == "commentary"


def test_a_compaction_item_that_the_model_does_not_get_is_found() -> None:
    case = "state.compacted"
    assert verdict("STA-32", played(case, dialect="openai"), "openai").status is Status.PASS
    unheard = played(case, dialect="openai", faults=("compaction-item-unheard",))
    assert verdict("STA-32", unheard, "openai").status is Status.WARN
    assert verdict("STA-27", unheard, "openai").status is Status.PASS

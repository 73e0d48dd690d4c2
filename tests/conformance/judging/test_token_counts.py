"""What token counts show, and when they show nothing: the controls, and each rule on counts that are made up."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rejoinder.conformance.judgement import judge
from rejoinder.conformance.judging.exchange_view import ExchangeView
from rejoinder.conformance.judging.roles import COUNTED_TEXT, Role, role_of
from rejoinder.conformance.judging.token_counts import (
    CALL_PLACES,
    DEFINITION_PLACE,
    MESSAGE_PLACES,
    SHORT,
    measure_scale,
)
from rejoinder.contract import load_dialect
from rejoinder.model.exchange import Chunk, Exchange, Outcome, Request

TEXT = "word " * 80
HELLO = [{"role": "user", "content": "Say hello."}]
BARE, LONG = {"input": HELLO}, {"input": [{"role": "user", "content": TEXT}, *HELLO]}
LONGER = {"input": [*LONG["input"][:1], *LONG["input"]]}
CALL = {"input": [*HELLO, {"type": "function_call_output", "call_id": "call_1", "output": "Good."}]}

Count = int | None


def exchange(role: str, sent: Any, tokens: Count, case: str = COUNTED_TEXT, said: int = 2, **back: Any) -> Exchange:
    usage = None if tokens is None else {"input_tokens": tokens, "output_tokens": said, "total_tokens": tokens + said}
    response = {"id": f"resp_{role}", "status": "completed", "output": [], "usage": usage, **back}
    request = Request("POST", "/v1/responses", (), json.dumps(sent).encode())
    chunks = (Chunk(0.1, json.dumps(response).encode()),)
    return Exchange(role, request, Outcome.COMPLETE, 200, chunks=chunks, case=case, role=role)


def controls(bare: Count = 10, once: Count = 100, again: Count = 100, twice: Count = 190) -> list[Exchange]:
    """Return the control requests: by default the text has 90 tokens."""
    bodies = {Role.BARE: BARE, Role.TEXT: LONG, Role.TEXT_AGAIN: LONG, Role.TEXT_TWICE: LONGER}
    return [
        exchange(role, body, count)
        for (role, body), count in zip(bodies.items(), (bare, once, again, twice), strict=True)
    ]


def verdict(rule: str, *exchanges: Exchange, dialect: str = "openai") -> tuple[str, list[str]]:
    """Return the status of a rule and the messages of its findings."""
    [found] = judge(list(exchanges), dialect, select=rule)
    return found.status.value, [finding.evidence.message for finding in found.findings]


@given(
    st.integers(1, 40),
    st.floats(0.2, 4),
    st.sampled_from((1, 2, 8, 16)),
)
def test_a_linear_count_has_a_scale(template: int, slope: float, block: int) -> None:
    def count(body: Any) -> int:
        letters = sum(len(item["content"]) for item in body["input"])
        return -(-round(template + slope * letters) // block) * block

    exchanges = controls(count(BARE), count(LONG), count(LONG), count(LONGER))
    scale = measure_scale(ExchangeView(one, load_dialect("openai")) for one in exchanges)
    assert scale is not None
    assert not scale.reason
    assert scale.per_character == pytest.approx(slope, rel=0.2)
    assert scale.tokens_of(len(TEXT) + 10) == pytest.approx(count(LONG), rel=0.2)


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        ((10, None, 100, 190), "have no input_tokens"),
        ((10, 100, 100, 10**400), "have no input_tokens"),
        ((-10, 100, 100, 190), "have no input_tokens"),
        ((10, 100, 3, 190), "Equal requests have 100 and 3"),
        ((7, 7, 7, 7), "does not grow"),
        ((128, 128, 128, 256), "does not grow"),
        ((10, 100, 100, 100), "Two equal texts add 90 and 0"),
        ((10, 20, 20, 30), "Two equal texts add 10 and 10"),
    ],
)
def test_controls_that_are_not_clean_decline_the_rules(counts: tuple[Count, ...], reason: str) -> None:
    filled = exchange(Role.MESSAGES_FILLED, LONG, 10)
    [found] = judge([*controls(*counts), filled], "openai", select="USG-15")
    assert found.status.value == "declined"
    assert reason in found.reason


def test_nothing_is_tested_without_controls() -> None:
    assert verdict("USG-15", exchange(Role.MESSAGES_FILLED, LONG, 10))[0] == "not_applicable"


@pytest.mark.parametrize(
    ("rule", "base", "role"),
    [
        *(("USG-15", Role.BARE, role) for role in MESSAGE_PLACES),
        *(("USG-16", Role.CALLS, role) for role in CALL_PLACES),
        *(("USG-17", Role.CALLS, role) for role in DEFINITION_PLACE),
    ],
)
@pytest.mark.parametrize(
    ("first", "again", "together", "message"),
    [
        (90, None, None, ""),
        (105, None, 500, ""),
        (45, None, 500, ""),
        (0, None, 450, "is not counted"),
        (0, 0, None, "is not counted"),
        (16, 16, None, "is not counted"),
        (0, 90, None, ""),
        (0, None, None, ""),
        (180, None, 630, "is counted twice"),
        (180, 180, None, "is counted twice"),
        (180, 90, None, ""),
    ],
)
def test_a_text_at_one_place(
    rule: str, base: str, role: str, first: int, again: Count, together: Count, message: str
) -> None:
    body = BARE if base == Role.BARE else CALL
    added = {**body, "instructions": TEXT}
    filled = Role.MESSAGES_FILLED if base == Role.BARE else Role.CALLS_FILLED
    start = [exchange(Role.CALLS, CALL, 10)] if base == Role.CALLS else [exchange(Role.MESSAGES, BARE, 10)]
    if role in SHORT:
        start.append(exchange(SHORT[role], BARE, 10))
    singles = [exchange(role, added, 10 + first)]
    if again is not None:
        singles.append(exchange(role_of(filled, Role.AGAIN), added, 10 + again))
    if together is not None:
        singles.append(exchange(filled, {**body, "instructions": TEXT * 6}, 10 + together))
    status, messages = verdict(rule, *controls(), *start, *singles)
    if message:
        assert status == ("warn" if rule == "USG-17" else "fail")
        assert message in messages[0]
    else:
        assert (status, messages) == ("pass", [])


def test_instructions_may_replace_those_of_the_endpoint() -> None:
    own = 30
    long, short = {**BARE, "instructions": TEXT}, {**BARE, "instructions": "Good."}
    exchanges = controls(own + 10, own + 100, own + 100, own + 190)
    counts = {SHORT[Role.IN_INSTRUCTIONS]: (short, 15), Role.IN_INSTRUCTIONS: (long, 100)}
    counts |= {role_of(Role.MESSAGES_FILLED, Role.AGAIN): (long, 100)}
    exchanges += [exchange(role, body, tokens) for role, (body, tokens) in counts.items()]
    assert verdict("USG-15", *exchanges)[0] == "pass"
    assert verdict("USG-23", *exchanges, *next_turn(own + 28))[0] == "pass"
    assert verdict("USG-23", *exchanges, *next_turn(own + 110))[0] == "fail"
    # An endpoint with long instructions of its own, which shorter ones replace.
    exchanges[:4] = controls(510, 600, 600, 690)
    assert verdict("USG-15", *exchanges)[0] == "pass"
    assert verdict("USG-23", *exchanges, *next_turn(528))[0] == "declined"


def test_texts_at_all_places_need_no_single_requests() -> None:
    short, filled = {"instructions": "a", **BARE}, {"instructions": TEXT * 6, **BARE}
    enough = (exchange(Role.MESSAGES, short, 12), exchange(Role.MESSAGES_FILLED, filled, 12 + 540))
    lacking = (enough[0], exchange(Role.MESSAGES_FILLED, filled, 12 + 450))
    assert verdict("USG-15", *controls(), *enough)[0] == "pass"
    assert verdict("USG-15", *controls(), *lacking)[0] == "declined"


@pytest.mark.parametrize(
    ("in_message", "of_tool", "again", "counted", "of_tools"),
    [
        (95, 110, None, "pass", "pass"),
        (95, 21, 21, "pass", "fail"),
        (95, 21, 110, "pass", "pass"),
        (95, 21, None, "pass", "pass"),
        (10, 21, 21, "warn", "declined"),
        (13, 21, 21, "pass", "declined"),
        (None, 21, 21, "declined", "declined"),
    ],
)
def test_images(in_message: Count, of_tool: int, again: Count, counted: str, of_tools: str) -> None:
    image = {"type": "input_image", "image_url": "data:,", "detail": "auto"}
    seen = {"input": [{"role": "user", "content": [image]}]}
    output = {"input": [*HELLO, {"type": "function_call_output", "call_id": "call_1", "output": [image]}]}
    exchanges = [
        *controls(),
        exchange(Role.CALLS, CALL, 20),
        exchange(Role.IMAGE, seen, in_message),
        exchange(Role.IMAGE_OF_TOOL, output, of_tool),
        *([] if again is None else [exchange(role_of(Role.IMAGE_OF_TOOL, Role.AGAIN), output, again)]),
    ]
    assert verdict("USG-18", *exchanges)[0] == counted
    assert verdict("USG-19", *exchanges)[0] == of_tools


def test_an_image_may_fit_into_a_block() -> None:
    seen = {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "data:,"}]}]}
    blocks = controls(16, 112, 112, 208)
    assert verdict("USG-18", *blocks, exchange(Role.IMAGE, seen, 16))[0] == "declined"


@pytest.mark.parametrize(("tokens", "status"), [(100, "pass"), (40, "pass"), (16, "warn"), (None, "declined")])
def test_files(tokens: Count, status: str) -> None:
    file = {"type": "input_file", "filename": "note.txt", "file_data": "data:text/plain;base64,"}
    sent = {"input": [{"role": "user", "content": [file]}]}
    assert verdict("USG-20", *controls(), exchange(Role.FILE, sent, tokens))[0] == status


def twins(chained: int, inline: int = 130, said: int = 2, of: str = TEXT) -> list[Exchange]:
    """Return a conversation of a text, a short answer and a short question, in both forms."""
    question = [{"role": "user", "content": "And now?"}]
    first = {"input": [{"role": "user", "content": of}]}
    whole = {"input": [*first["input"], {"role": "assistant", "content": "OK."}, *question]}
    return [
        exchange(Role.FIRST, first, 100, "c", said),
        exchange(Role.CHAINED, {"input": question, "previous_response_id": "resp_first"}, chained, "c"),
        exchange(Role.INLINE, whole, inline, "c"),
    ]


@pytest.mark.parametrize(
    ("chained", "said", "alike", "once"),
    [
        (130, 2, "pass", "pass"),
        (120, 2, "pass", "pass"),
        (147, 2, "pass", "pass"),
        (155, 2, "warn", "pass"),
        (155, 40, "pass", "pass"),
        (105, 2, "warn", "pass"),
        (30, 2, "warn", "fail"),
        (245, 2, "warn", "fail"),
        (245, 200, "pass", "pass"),
    ],
)
def test_forms_of_a_conversation(chained: int, said: int, alike: str, once: str) -> None:
    exchanges = [*controls(), *twins(chained, said=said)]
    assert verdict("USG-21", *exchanges)[0] == alike
    assert verdict("USG-22", *exchanges)[0] == once


@pytest.mark.parametrize(("tokens", "status"), [(150, "pass"), (118, "pass"), (40, "fail")])
def test_a_third_turn_has_the_first(tokens: int, status: str) -> None:
    third = exchange(Role.THIRD, {"input": HELLO, "previous_response_id": "resp_chained"}, tokens, "c")
    assert verdict("USG-22", *controls(), *twins(130), third)[0] == status


def test_a_short_history_is_not_said_to_be_read_twice() -> None:
    exchanges = [*controls(), *twins(75, inline=40, of="Hello to you.")]
    assert verdict("USG-21", *exchanges)[0] == "warn"
    assert verdict("USG-22", *exchanges)[0] == "pass"


def test_a_form_that_counts_too_little_is_no_control() -> None:
    exchanges = [*controls(), *twins(130, inline=20)]
    assert verdict("USG-21", *exchanges)[0] == verdict("USG-22", *exchanges)[0] == "declined"


def next_turn(count: int, first: int = 110, said: int = 2) -> list[Exchange]:
    sent = {"instructions": TEXT, **BARE}
    return [
        exchange(Role.FIRST, sent, first, "c", said),
        exchange(Role.SECOND, {"previous_response_id": "resp_first", **BARE}, count, "c"),
    ]


def branches(count: int) -> list[Exchange]:
    def after(role: str, text: str, tokens: int, previous: str = "resp_parent") -> Exchange:
        sent = {"previous_response_id": previous, "input": [{"role": "user", "content": text}]}
        return exchange(role, sent, tokens, "c")

    return [
        exchange(Role.PARENT, BARE, 10, "c"),
        after(Role.CHILD, TEXT, 110),
        after(Role.SIBLING, "And now?", count),
    ]


@pytest.mark.parametrize(
    ("exchanges", "status"),
    [
        (next_turn(28), "pass"),
        (next_turn(120), "fail"),
        (next_turn(120, said=100), "pass"),
        (next_turn(120, first=12), "declined"),
        (branches(25), "pass"),
        (branches(115), "fail"),
    ],
)
def test_dropped_content(exchanges: list[Exchange], status: str) -> None:
    assert verdict("USG-23", *controls(), *exchanges)[0] == status


@pytest.fixture
def conversation() -> Callable[[int], list[Exchange]]:
    """Return a function that makes two turns in a conversation whose long item is deleted in between."""

    def other(role: str, method: str, path: str, sent: Any, body: Any) -> Exchange:
        request = Request(method, f"/v1/conversations{path}", (), json.dumps(sent).encode())
        return Exchange(
            role, request, Outcome.COMPLETE, 200, chunks=(Chunk(0.1, json.dumps(body).encode()),), case="c", role=role
        )

    def make(count: int) -> list[Exchange]:
        sent = {"conversation": "conv_1", **BARE}
        return [
            other(Role.TALK_CREATED, "POST", "", {"items": [{"role": "user", "content": TEXT}]}, {"id": "conv_1"}),
            exchange(Role.TALK_FIRST, sent, 110, "c"),
            other(Role.TALK_ITEM_GONE, "DELETE", "/conv_1/items/msg_1", None, {"id": "conv_1"}),
            exchange(Role.TALK_SECOND, sent, count, "c"),
        ]

    return make


@pytest.mark.parametrize(("count", "status"), [(33, "pass"), (123, "fail")])
def test_deleted_items(conversation: Callable[[int], list[Exchange]], count: int, status: str) -> None:
    assert verdict("USG-23", *controls(), *conversation(count))[0] == status

"""Evidence: differences, excerpts, requests to send again, events around a fault."""

from __future__ import annotations

import json
import subprocess
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rejoinder.model.exchange import Chunk, Exchange, Outcome, Request
from rejoinder.model.verdict import Finding, Level, Minimal, Problem
from rejoinder.reports.curl import curl, json_body
from rejoinder.reports.evidence import Gatherer
from rejoinder.reports.excerpt import bytes_around, difference, excerpt, layout, pretty

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=20,
)


def found(problem: Problem, minimal: Minimal | None = None) -> Finding:
    return Finding("EVT-10", Level.MUST, problem, minimal=minimal)


@given(st.text(), st.text())
def test_differences_add_up_to_the_texts(expected: str, actual: str) -> None:
    left, right = difference(expected, actual)
    assert "".join(span.text for span in left) == expected
    assert "".join(span.text for span in right) == actual
    if expected == actual:
        assert not any(span.changed for span in left + right)


def test_only_the_difference_is_marked() -> None:
    left, right = difference("one two three four", "one two 3 four")
    assert [span.text for span in left if span.changed] == ["three"]
    assert [span.text for span in right if span.changed] == ["3"]


def test_words_that_are_nearly_the_same_are_marked_within() -> None:
    left, right = difference("completed", "complete")
    assert [span.text for span in left if span.changed] == ["d"]
    assert not any(span.changed for span in right)


def test_texts_without_anything_in_common_are_not_marked() -> None:
    left, right = difference("an integer", "response.created")
    assert not any(span.changed for span in left + right)


def test_long_texts_are_compared_in_no_time() -> None:
    left, _ = difference("a " * 5000 + "x" + "b " * 5000, "b " * 5000 + "y" + "a " * 5000)
    assert "".join(span.text for span in left).count("a ") == 5000


@pytest.mark.slow(1)
@given(JSON)
def test_layout_is_the_same_value(value: object) -> None:
    assert json.loads(layout(value)) == value


def test_layout_keeps_small_things_on_one_line() -> None:
    assert (
        layout({"a": [1, 2], "b": {"c": "d" * 90}})
        == '{\n  "a": [1, 2],\n  "b": {\n    "c": "' + "d" * 90 + '"\n  }\n}'
    )


def test_pretty_takes_what_is_not_json() -> None:
    assert pretty({1}) == "{1}"
    deep: list[object] = []
    for _ in range(5000):
        deep = [deep]
    assert pretty(deep)


@pytest.mark.slow(1)
@given(JSON, st.text(max_size=30))
def test_excerpts_are_short_for_every_pointer(value: object, pointer: str) -> None:
    lines = excerpt(value, pointer)
    assert 1 <= len(lines) <= 26
    assert sum(line.hit for line in lines) <= 1


def test_an_excerpt_marks_the_place_or_its_nearest_ancestor() -> None:
    value = {"usage": {"input_tokens": 1}, "output": [{"id": "a~/b"}]}
    assert [line.text.strip() for line in excerpt(value, "/usage/input_tokens") if line.hit] == ['"input_tokens": 1']
    assert [line.text.strip() for line in excerpt(value, "/usage/total_tokens") if line.hit] == ['"usage": {']
    assert [line.text.strip() for line in excerpt({"a~/b": 1}, "/a~0~1b") if line.hit] == ['"a~/b": 1']


def test_a_place_far_down_is_shown_with_what_is_around_it() -> None:
    value = {f"field{n}": "x" * 60 for n in range(400)}
    lines = excerpt(value, "/field300")
    assert lines[0].gap
    assert lines[-1].gap
    assert any(line.hit and "field300" in line.text for line in lines)


def test_bytes_around_an_offset() -> None:
    dump = bytes_around(b"data: a\r\n\xff\n", 9)
    assert dump is not None
    assert (dump.before, dump.at, dump.after) == ("data: a\\r\\n", "\\xff", "\\n")
    assert bytes_around(b"abc", 3) is None
    assert bytes_around(b"abc", -1) is None


@pytest.mark.slow(1)
@given(JSON)
def test_a_json_body_is_shown_as_what_it_is(value: object) -> None:
    shown = json_body(json.dumps(value).encode())
    if shown is not None:
        assert json.loads(shown) == value
        assert "\x1b" not in shown


@pytest.mark.parametrize("body", [b'{"a":1,"a":2}', b"{", b"\xff", b"[NaN]", b"[1e3]", b"[0.10]", b"[" * 100_000])
def test_a_body_that_would_change_is_not_laid_out(body: bytes) -> None:
    assert json_body(body) is None


def test_hidden_characters_of_a_body_are_escaped() -> None:
    assert json_body('{"a":"x\u202ey\u200b"}'.encode()) == '{"a": "x\\u202ey\\u200b"}'


def _bodies() -> list[bytes]:
    return [
        b'{"model":"m","stream":true,"input":"it\'s $HOME `id` \\\\ \\u0000"}',
        b"plain 'quoted' $(touch /tmp/never) `id`",
        b"\x00\x01\xff1234\n\r\t\\'\"",
        b'{"a":1,"a":2}',
        '{"input":"\u202e é \ud83d\ude00"}'.encode("utf-8", "surrogatepass"),
    ]


@pytest.mark.parametrize("number", range(5))
def test_the_command_sends_the_same_bytes(number: int, tmp_path: object) -> None:
    body = _bodies()[number]
    headers = (("host", "h"), ("authorization", "[redacted]"), ("x-odd", "it's \x1b $HOME"))
    command, whole = curl("http://h:1/v1/responses", Request("POST", "/v1/responses", headers, body))
    assert whole
    assert "\x1b" not in command
    # A stand-in for curl prints its arguments and input, so that the shell's reading of the command is what is judged.
    script = f"curl() {{ printf '%s\\0' \"$@\"; printf '\\1'; if [ \"${{!#}}\" = @- ]; then cat; fi; }}\n{command}\n"
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, check=True, env={"REJOINDER_API_KEY": "k3y", "HOME": "/nowhere"}
    )
    words, _, fed = done.stdout.partition(b"\x01" if b"@-" in done.stdout else b"\0\x01")
    arguments = words.split(b"\0")
    assert b"http://h:1/v1/responses" in arguments
    assert b"authorization: Bearer k3y" in arguments
    assert b"x-odd: it's \x1b $HOME" in arguments
    if b"@-" in arguments:
        assert json.loads(fed) == json.loads(body)
    else:
        # No argument can hold a NUL byte; everything else arrives as it was.
        assert arguments[arguments.index(b"--data-binary") + 1] == body.partition(b"\0")[0]


def test_streams_are_not_buffered_and_long_bodies_are_cut(examples: ModuleType) -> None:
    command, _ = curl("http://h/v1/responses", examples.request(True))
    assert command.startswith("curl -sS -N http://h/v1/responses")
    command, whole = curl("http://h/v1/responses", examples.request(False, "x" * 9000))
    assert not whole
    assert len(command) < 5000
    assert "more characters" in command


def test_requests_without_a_body() -> None:
    assert curl("https://h/x/v1/responses", Request("GET", "/v1/models"))[0] == "curl -sS https://h/v1/models"
    assert curl("nonsense", Request("DELETE", "/v1/responses/a b"))[0] == "curl -sS -X DELETE '/v1/responses/a b'"


def test_other_secret_headers_are_read_from_variables_of_their_names() -> None:
    headers = (("X-Tenant-Token", "[redacted]"), ("X-$(id)", "[redacted]"), ("X-A", "b"))
    command, _ = curl("http://h", Request("GET", "/v1/models", headers))
    assert '-H "X-Tenant-Token: ${X_TENANT_TOKEN}"' in command
    assert '-H "X-id: ${X_ID}"' in command
    assert "-H 'X-A: b'" in command


def test_the_events_around_a_fault(examples: ModuleType) -> None:
    exchange = examples.stream("x", "case", words=40)
    evidence = Gatherer("http://h/v1/responses", {"x": exchange}).gather(
        found(Problem("wrong", pointer="/delta", event=20, exchange="x"))
    )
    assert evidence.stream is not None
    assert [row.number for row in evidence.stream.rows] == [0, 17, 18, 19, 20, 21, 22, 47]
    assert [row.number for row in evidence.stream.rows if row.fault] == [20]
    assert [row.skipped for row in evidence.stream.rows] == [0, 16, 0, 0, 0, 0, 0, 24]
    assert exchange.body[evidence.stream.rows[4].offset :].startswith(b"event: response.output_text.delta")
    assert evidence.stream.fault_at is not None
    assert 0 < evidence.stream.fault_at < 100
    assert [line.text.strip() for line in evidence.reply if line.hit] == ['"delta": "word16 ",']


def test_a_fault_of_the_whole_stream_shows_its_ends(examples: ModuleType) -> None:
    exchange = examples.stream("x", "case", words=40)
    evidence = Gatherer("", {"x": exchange}).gather(found(Problem("no terminal event", exchange="x")))
    assert evidence.stream is not None
    assert [row.number for row in evidence.stream.rows] == [0, 1, 44, 45, 46, 47]


def test_an_event_that_is_not_there_is_said_to_be_missing(examples: ModuleType) -> None:
    evidence = Gatherer("", {"x": examples.stream("x", "case")}).gather(found(Problem("?", event=999, exchange="x")))
    assert evidence.stream is not None
    assert evidence.stream.note == "The problem is at event 999, but the run file has only 32 events."


def test_the_offset_finds_the_event(examples: ModuleType) -> None:
    exchange = examples.stream("x", "case")
    evidence = Gatherer("", {"x": exchange}).gather(found(Problem("?", offset=500, exchange="x")))
    assert evidence.stream is not None
    assert [row.number for row in evidence.stream.rows if row.fault] == [1]
    assert evidence.dump is not None


def test_an_exchange_that_is_missing_leaves_the_rest() -> None:
    evidence = Gatherer("", {}).gather(found(Problem("?", expected=1, actual=2, exchange="gone")))
    assert evidence.sides.expected
    assert not evidence.curl


def test_the_minimal_request_is_the_one_to_send(examples: ModuleType) -> None:
    minimal = Minimal(Request("POST", "/v1/responses", (), b'{"input":""}'), "y")
    for exchanges in ({"x": examples.stream("x", "case")}, {}):
        evidence = Gatherer("http://h/v1/responses", exchanges).gather(found(Problem("?", exchange="x"), minimal))
        assert json.loads(evidence.curl.partition("<<'JSON'\n")[2].removesuffix("JSON")) == {"input": ""}
        assert "http://h/v1/responses" in evidence.curl


def test_what_came_back_when_nothing_did() -> None:
    exchange = Exchange("x", Request("POST", "/v1/responses"), Outcome.REFUSED, detail="Connection refused")
    evidence = Gatherer("http://h/v1/responses", {"x": exchange}).gather(found(Problem("?", exchange="x")))
    assert evidence.answer == "no HTTP response: connection failed (Connection refused)"


@pytest.mark.slow(2)
def test_a_large_stream_is_read_up_to_a_limit() -> None:
    chunks = tuple(Chunk(n / 100, b"data: {}\n\n" * 50_000) for n in range(40))
    exchange = Exchange(
        "x", Request("POST", "/"), Outcome.COMPLETE, 200, (("content-type", "text/event-stream"),), chunks, ended_at=1.0
    )
    evidence = Gatherer("", {"x": exchange}).gather(found(Problem("?", exchange="x")))
    assert evidence.stream is not None
    assert len(evidence.stream.ticks) <= 161
    assert evidence.weight < 20_000

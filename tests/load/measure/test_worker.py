"""What the worker asks of a recording when it has time for all rules, and when it has not."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rejoinder.contract import dialect_names
from rejoinder.load.measure.recording import Receives, Recording
from rejoinder.load.measure.worker import AnalysisWorker
from rejoinder.load.workload.canaries import slot_canary
from rejoinder.load.workload.profiles import load_profile
from rejoinder.model.exchange import Request
from rejoinder.sandbox import Sandbox

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n"


def ask(sandbox: Sandbox, body: dict[str, Any]) -> tuple[bytes, list[tuple[int, bytes]]]:
    """Return the body of a request and the receives of the sandbox's reply to it."""
    raw = json.dumps({"model": "parrot", "input": "hello", **body}, separators=(",", ":")).encode()
    exchange = sandbox.exchange(Request("POST", "/v1/responses", (("Content-Type", "application/json"),), raw))
    head = HEAD % (exchange.content_type.encode(), len(exchange.body))
    return raw, [(1, head), *((2 + number, chunk.data) for number, chunk in enumerate(exchange.chunks))]


def take(recording: Recording, dialect: str = "northstar", **policy: Any) -> tuple[str, dict[str, Any]]:
    worker = AnalysisWorker(path="/v1/responses", headers=(), dialect=dialect, **policy)
    outcome = worker.take(recording).outcome
    return outcome, json.loads(worker.report())


def recorded(body: bytes, receives: list[tuple[int, bytes]], **fields: Any) -> Recording:
    return Recording(0, 0, 0, 1, 99, time.time(), "complete", "", body, Receives(receives), **fields)


@pytest.mark.parametrize(
    ("faults", "all_rules", "outcome"),
    [
        ((), True, "ok"),
        ((), False, "unjudged"),
        (("final-text-differs",), True, "nonconforming"),
        (("final-text-differs",), False, "unjudged"),
        (("sequence-numbers-swapped",), False, "nonconforming"),
        (("created-missing",), False, "nonconforming"),
        (("terminal-twice",), False, "nonconforming"),
    ],
)
def test_order_is_asked_of_every_stream(faults: tuple[str, ...], all_rules: bool, outcome: str) -> None:
    found, tally = take(recorded(*ask(Sandbox(faults=faults), {"stream": True}), judge=all_rules), strict=True)
    assert found == outcome
    assert tally["judged"] == all_rules
    assert tally["outcomes"] == {outcome: 1}


@pytest.mark.parametrize(
    ("fault", "rules", "outcome"),
    [
        ("final-text-differs", ["ACC-04", "ACC-12"], "nonconforming"),
        ("terminal-twice", ["LIF-05"], "nonconforming"),
        ("text-delta-lost", ["ACC-01", "ACC-02", "ACC-03", "ACC-04"], "nonconforming"),
        ("sequence-numbers-swapped", ["EVT-03"], "ok"),
        ("created-missing", ["LIF-01", "LIF-02"], "ok"),
        ("indexes-missing-on-deltas", ["EVT-10"], "ok"),
    ],
)
def test_only_lost_content_voids_an_answer(fault: str, rules: list[str], outcome: str, tmp_path: Path) -> None:
    recording = recorded(*ask(Sandbox(faults=(fault,)), {"stream": True}))
    found, tally = take(recording)
    assert (found, tally["outcomes"]) == (outcome, {outcome: 1})
    assert set(rules) <= set(tally["rules"])
    assert take(recording, strict=True)[0] == "nonconforming"
    assert take(recording, select="SSE-*")[0] == "ok"
    known = tmp_path / "known.toml"
    tables = [f'[[known]]\nrule = "{rule}"\ncase = "*"\nreason = "known"\n' for rule in tally["rules"]]
    known.write_text("\n".join(tables), "utf-8")
    assert take(recording, strict=True, known=str(known))[0] == "ok"


def left(body: bytes, receives: list[tuple[int, bytes]], size: int) -> Recording:
    """Return the recording of a stream that was given up when so many bytes of its body had come."""
    head, whole = receives[0], b"".join(data for _, data in receives[1:])
    recording = recorded(body, [head, (2, whole[:size])], tags=("cancelled",))
    return recording._replace(outcome="cancelled", detail="cancelled by the workload")


CORPUS = tuple(body for kind in load_profile("corpus").kinds for body in kind.corpus)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(CORPUS), st.floats(0, 1), st.sampled_from(dialect_names()))
def test_no_beginning_of_a_clean_stream_breaks_a_rule(body: dict[str, Any], share: float, dialect: str) -> None:
    raw, receives = ask(Sandbox(dialect), {**body, "stream": True})
    size = round(share * sum(len(data) for _, data in receives[1:]))
    worker = AnalysisWorker(path="/v1/responses", headers=(), dialect=dialect)
    found = worker.take(left(raw, receives, size))
    assert (found.outcome, found.detail) == ("cancelled", "cancelled by the workload")


@pytest.mark.parametrize(
    ("faults", "all_rules", "outcome"),
    [
        ((), True, "cancelled"),
        (("terminal-missing",), True, "cancelled"),
        (("sequence-numbers-swapped",), True, "nonconforming"),
        (("sequence-numbers-swapped",), False, "nonconforming"),
        (("created-missing",), True, "nonconforming"),
        (("output-index-from-one",), True, "nonconforming"),
    ],
)
def test_the_beginning_of_a_stream_that_was_given_up_is_judged(
    faults: tuple[str, ...], all_rules: bool, outcome: str
) -> None:
    raw, receives = ask(Sandbox(faults=faults, min_tokens=16), {"stream": True})
    whole = b"".join(data for _, data in receives[1:])
    size = whole.index(b"output_text.done") if b"output_text.done" in whole else len(whole) // 2
    found, tally = take(left(raw, receives, size)._replace(judge=all_rules), strict=True)
    assert found == outcome
    assert tally["judged"] == (outcome == "nonconforming" and all_rules)
    assert not tally["histograms"].get("ttft")


def test_a_stream_that_was_given_up_may_show_no_other_canary() -> None:
    raw, receives = ask(Sandbox(), {"stream": True, "input": f"hello {slot_canary(0, 7)} and more"})
    whole = b"".join(data for _, data in receives[1:])
    recording = left(raw, receives, whole.index(b"output_text.done"))
    assert take(recording._replace(canary=slot_canary(0, 7)))[0] == "cancelled"
    assert take(recording._replace(canary=slot_canary(0, 8)))[0] == "nonconforming"


def poll(sandbox: Sandbox, body: dict[str, Any]) -> Recording:
    """Return the recording of a request in the background: its create, and the reply to its last poll."""
    raw, first = ask(sandbox, {"background": True, **body})
    response = json.loads(first[-1][1])
    while True:
        reply = sandbox.exchange(Request("GET", f"/v1/responses/{response['id']}"))
        if reply.json()["status"] not in ("queued", "in_progress"):
            break
    receives = [(50, HEAD % (b"application/json", len(reply.body))), (51, reply.body)]
    return recorded(raw, receives, tags=("background",), created=Receives(first))


@pytest.mark.parametrize("dialect", ["northstar", "openai", "openresponses"])
def test_a_clean_answer_from_the_background_is_ok(dialect: str) -> None:
    worker = AnalysisWorker(path="/v1/responses", headers=(), dialect=dialect)
    brief = worker.take(poll(Sandbox(dialect), {"instructions": "be short"}))
    assert (brief.outcome, brief.detail) == ("ok", "")


@pytest.mark.parametrize(("fault", "rule"), [("instructions-not-echoed", "ECH-01"), ("background-not-told", "BGR-01")])
def test_an_answer_from_the_background_is_judged_at_both_ends(fault: str, rule: str) -> None:
    recording = poll(Sandbox("openai", faults=[fault]), {"instructions": "be short"})
    outcome, tally = take(recording, "openai", strict=True)
    assert outcome == "nonconforming"
    assert rule in tally["rules"]


@pytest.mark.parametrize("form", ["{}", "\x1b{}", "HTTP/1.1 abc {}", "HTTP/1.1 200 OK\r\nX-Echo{} : 1"])
@pytest.mark.parametrize("key", ["sk-live-0123456789abcdef"])
def test_errors_of_the_transport_hold_no_key(form: str, key: str) -> None:
    worker = AnalysisWorker(path="/v1/responses", headers=(), dialect="northstar", key=key)
    for written in (key, key.upper(), key.encode().hex(), key[4:]):
        receives = [(2, f"{form.format(written)}\r\n\r\n".encode())]
        found = worker.take(recorded(b'{"input":"Hi"}', receives))
        assert found.outcome == "transport"
        assert key[4:].lower() not in found.detail.lower()
        report = worker.report().decode().lower()
        assert "*" * 8 in report
        assert not any(part in report for part in (key[4:], key.encode().hex()))

"""Example runs for the tests of reports, and for looking at them.

``python tests/reports/example_runs.py DIR`` writes every example as HTML, JUnit XML, Markdown and text.
"""

from __future__ import annotations

import json
import math
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rejoinder.contract import Rule, load_rules
from rejoinder.model.buckets import bucket
from rejoinder.model.exchange import Chunk, Exchange, Outcome, Request
from rejoinder.model.runfile import Run
from rejoinder.model.verdict import Finding, Level, Minimal, Problem, Reruns, Status, Verdict
from rejoinder.strategies import Branches

START = 1_790_000_000.0

NASTY = (
    "</script><script>alert(1)</script><img src=x onerror=alert(2)>{{7*7}}{% raw %}",
    "\x1b[31mred\x1b[0m\x1b]0;title\x07\x00\x08\r\n\u202egnirts\u202c\u2066x\u2069\u200b\ufeff\u2028",
    "\ud800 lone \udfff \ufffe \uffff \U000e0041",
    "`code` ```fence``` | pipe **bold** [link](javascript:alert(1)) @someone #1 <!-- --> ![i](http://evil.example/x.png)",
    "' \" & < > ]]> <![CDATA[ &amp; &#0; $(touch /tmp/pwned) `touch /tmp/pwned` \\ %s %n",
    "x" * 200_000,
    "a\u0301\u0302" * 3000,
)
"""Text that an endpoint might send to break a page, a terminal, a parser or a reader."""


def header(**fields: Any) -> dict[str, Any]:
    """Return a run file header for a local endpoint."""
    return {
        "kind": "header",
        "format": "rejoinder-run",
        "version": 1,
        "started_at": START,
        "tool": {"rejoinder": "0.1.0", "python": "3.12.4", "httpx": "0.28.1", "locust": "2.47.0"},
        "command": ["rejoinder", "check", "http://127.0.0.1:8000", "--model", "tiny-llm", "--plan", "full"],
        "target": {
            "url": "http://127.0.0.1:8000/v1/responses",
            "model": "tiny-llm",
            "dialect": "northstar",
            "server": "uvicorn",
        },
        "plan": "full",
        "seed": 20261122,
        "cases": {},
        **fields,
    }


def footer(**fields: Any) -> dict[str, Any]:
    """Return a run file footer 38 seconds after the header."""
    return {"kind": "footer", "ended_at": START + 38.4, "exit_code": 1, **fields}


def request(stream: bool, text: str = "Say OK.", **fields: Any) -> Request:
    """Return a create request as the client records it."""
    body = {
        "model": "tiny-llm",
        "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}],
        "max_output_tokens": 32,
        "stream": stream,
        **fields,
    }
    return Request(
        "POST",
        "/v1/responses",
        (
            ("host", "127.0.0.1:8000"),
            ("authorization", "[redacted]"),
            ("content-type", "application/json"),
            ("accept", "text/event-stream" if stream else "application/json"),
        ),
        json.dumps(body, separators=(",", ":")).encode(),
    )


def response(status: str = "completed", text: str = "OK.") -> dict[str, Any]:
    """Return a response object."""
    message = {
        "id": "msg_0b5d2f",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": text, "annotations": []}],
    }
    return {
        "id": "resp_68f1a2b3c4",
        "object": "response",
        "created_at": int(START),
        "status": status,
        "model": "tiny-llm",
        "output": [message] if status == "completed" else [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "error": None,
        "incomplete_details": None,
        "usage": {"input_tokens": 11, "output_tokens": 3, "total_tokens": 15},
    }


def events(words: list[str]) -> list[dict[str, Any]]:
    """Return the data of a small text stream, with the sequence number missing from the first delta."""
    place = {"item_id": "msg_0b5d2f", "output_index": 0, "content_index": 0}
    part = {"type": "output_text", "text": "", "annotations": []}
    item = {"id": "msg_0b5d2f", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    done = response(text="".join(words))
    listed: list[dict[str, Any]] = [
        {"type": "response.created", "response": response("in_progress")},
        {"type": "response.in_progress", "response": response("in_progress")},
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.content_part.added", **place, "part": part},
        *({"type": "response.output_text.delta", **place, "delta": word} for word in words),
        {"type": "response.output_text.done", **place, "text": "".join(words)},
        {"type": "response.content_part.done", **place, "part": {**part, "text": "".join(words)}},
        {"type": "response.output_item.done", "output_index": 0, "item": done["output"][0]},
        {"type": "response.completed", "response": done},
    ]
    for number, event in enumerate(listed):
        if number != 4:
            event["sequence_number"] = number
    return listed


def stream(name: str, case: str, words: int = 24, seed: int = 1) -> Exchange:
    """Return a streamed exchange with one event a chunk and lifelike times."""
    dice = random.Random(seed)
    t, chunks = 0.041, []
    for event in events([f"word{n} " for n in range(words)]):
        data = f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()
        chunks.append(Chunk(round(t, 6), data))
        t += dice.expovariate(60)
    return Exchange(
        name,
        request(True),
        Outcome.COMPLETE,
        200,
        (("content-type", "text/event-stream; charset=utf-8"), ("server", "uvicorn")),
        tuple(chunks),
        case=case,
        role="stream",
        started_at=START + 2,
        headers_at=0.03,
        ended_at=round(t, 6),
    )


def plain(name: str, case: str, body: Any = None, status: int = 200, **fields: Any) -> Exchange:
    """Return an exchange with a JSON reply."""
    data = body if isinstance(body, bytes) else json.dumps(response() if body is None else body).encode()
    return Exchange(
        name,
        request(False, **fields),
        Outcome.COMPLETE,
        status,
        (("content-type", "application/json"),),
        (Chunk(0.21, data),),
        case=case,
        role="plain",
        started_at=START + 1,
        headers_at=0.2,
        ended_at=0.21,
    )


def _problem(rule: str, number: int) -> Problem:
    """Return lifelike evidence for a rule."""
    known = {
        "EVT-02": Problem(
            "Event 4 has no sequence_number.",
            pointer="/sequence_number",
            event=4,
            event_type="response.output_text.delta",
            expected=4,
            exchange="x-stream",
        ),
        "USG-02": Problem(
            "usage.total_tokens is 15, but input_tokens and output_tokens add up to 14.",
            pointer="/usage/total_tokens",
            expected=14,
            actual=15,
            exchange="x-plain",
        ),
        "ACC-01": Problem(
            "The deltas of part 0 of item 0 do not add up to the text of response.output_text.done.",
            pointer="/text",
            event=28,
            event_type="response.output_text.done",
            expected="word0 word1 word2 word3 word4 word5 word6 word7 word8 word9",
            actual="word0 word1 word2 word3 word5 word6 word7 word8 word9 ",
            exchange="x-stream",
        ),
        "ERR-01": Problem(
            "The refusal of an unknown role has no error envelope.",
            pointer="/error",
            expected={"error": {"message": "string", "type": "string", "param": "string or null", "code": "…"}},
            actual={"detail": "Input should be 'user', 'assistant', 'system' or 'developer'"},
            exchange="x-refused",
        ),
        "SSE-05": Problem(
            "The last event is not followed by a blank line, so browsers drop it.", offset=1804, exchange="x-stream"
        ),
    }
    if number == 0 and rule in known:
        return known[rule]
    return Problem(
        f"Item {number} of the output carries a status that its type does not have.",
        pointer=f"/output/{number % 3}/field{number}",
        expected="completed",
        actual="complete",
        kind=f"k{number}",
        exchange="x-plain" if number % 2 else "x-stream",
    )


def _verdict(rule: str, level: Level, status: Status, findings: int = 0, reason: str = "", cases: int = 4) -> Verdict:
    names = [f"{rule.lower()}-case-{n}" for n in range(cases)]
    return Verdict(
        rule,
        level,
        status,
        judged=24 if status in (Status.PASS, Status.FAIL, Status.WARN) else 0,
        failed=12 if findings else 0,
        reason=reason,
        findings=[
            Finding(rule, level, _problem(rule, number), count=max(1, 12 - number), cases=names)
            for number in range(findings)
        ],
    )


def exchanges(cases: int = 0) -> list[Exchange]:
    """Return the exchanges that the findings of the examples point at, and further ones."""
    return [
        stream("x-stream", "text-stream"),
        plain("x-plain", "text-plain"),
        plain(
            "x-refused",
            "bad-role",
            {"detail": "Input should be 'user', 'assistant', 'system' or 'developer'"},
            422,
            text="Hi",
            temperature=0.5,
        ),
        *(plain(f"x-{n}", f"case-{n}", text=f"Case {n}: say OK.") for n in range(cases)),
    ]


def in_force() -> dict[str, Rule]:
    """Return the rules that are in force in the examples' dialect."""
    return {name: rule for name, rule in load_rules().items() if rule.level_in("northstar") is not Level.OFF}


def coverage() -> dict[str, Any]:
    """Return a coverage of the whole contract with branches in every state."""
    branches: dict[str, list[str]] = {state: [] for state in ("accepted", "refused", "failed", "not_sent")}
    for name in sorted(Branches().all):
        path = name.partition("=")[0]
        if "Computer" in name:
            state = "refused"
        elif path.endswith(("file_id", "image_url")):
            state = "failed" if "Image" in name else "not_sent"
        elif path.startswith("prompt") or name.endswith("status=incomplete"):
            state = "not_sent"
        else:
            state = "accepted"
        branches[state].append(name)
    counts = {state: len(names) for state, names in branches.items()}
    return {"total": sum(counts.values()), "counts": counts, "branches": branches}


def typical(cases: int = 40, *, load: bool = True) -> Run:
    """Return a run like those of a real server: a few failures, a warning, some rules not applicable, and load."""
    chosen = {
        "EVT-02": (Level.MUST, Status.FAIL, 1, ""),
        "USG-02": (Level.MUST, Status.FAIL, 1, ""),
        "ACC-01": (Level.MUST, Status.FAIL, 2, ""),
        "ERR-01": (Level.MUST, Status.FAIL, 1, ""),
        "SSE-05": (Level.SHOULD, Status.WARN, 1, ""),
        "EVT-05": (Level.MAY, Status.PASS, 1, ""),
        "LIF-08": (Level.MUST, Status.NOT_APPLICABLE, 0, "No stream ended in an error."),
        "LIF-05": (Level.MUST, Status.ERROR, 0, "The connection was refused after the third request."),
        "ACC-05": (Level.MUST, Status.DECLINED, 0, "The model called no function although it was told to."),
        "PRT-09": (Level.MUST, Status.NOT_APPLICABLE, 0, "The endpoint never streamed a reasoning summary."),
    }
    verdicts = []
    for rule, row in in_force().items():
        level, status, findings, reason = chosen.get(rule, (row.level_in("northstar"), Status.PASS, 0, ""))
        verdicts.append(_verdict(rule, level, status, findings, reason))
    told = {verdict.rule: verdict.findings for verdict in verdicts}
    told["EVT-02"][0].reruns = Reruns(3, 3)
    told["EVT-02"][0].minimal = Minimal(request(True, "Hi"), "x-stream", 1)
    told["USG-02"][0].reruns = Reruns(3, 1)
    titles = {f"{rule.lower()}-case-{n}": f"variant {n} of the input union" for rule in chosen for n in range(3)}
    return Run(
        header=header(cases=titles),
        exchanges=exchanges(cases),
        verdicts=verdicts,
        samples=load_samples(16, 75.0, server=False) if load else [],
        footer=footer(
            warnings=["GET /v1/models answered 404; the model was taken from --model."],
            coverage=coverage(),
            capabilities=capabilities(),
            abilities={"repeats": {"shown": False, "exchange": "x-plain"}},
            baseline=baseline(),
        ),
    )


def capabilities() -> list[dict[str, Any]]:
    """Return what an endpoint can do as a footer tells it."""

    def row(feature: str, title: str, state: str, *evidence: Any) -> dict[str, Any]:
        told = dict(zip(("exchange", "status", "words"), evidence, strict=True)) if evidence else None
        return {"feature": feature, "title": title, "state": state, "evidence": told}

    return [
        row("streaming", "streamed replies", "supported", "x-stream", 200, ""),
        row("function_tools", "functions that the client runs", "unseen", "x-plain", 200, ""),
        row("images", "images in messages", "refused", "x-refused", 422, "Images are not supported."),
        row("background", "work in the background", "untried"),
    ]


def baseline() -> dict[str, Any]:
    """Return what became of a baseline as a footer tells it."""
    entry = {"rule": "SSE-05", "case": "text-*", "reason": "The proxy drops the last line.", "note": "Matched once."}
    dated = {**entry, "link": "https://tracker.example/4711", "expires": "2026-12-31", "fingerprint": "0123456789ab"}
    return {
        "file": "baseline.toml",
        "strict": False,
        "known": [entry],
        "stale": [{**dated, "note": "No request of the case was judged by the rule."}],
        "unexpected_passes": [{**dated, "note": "The rule held in all 4 exchanges of the case."}],
        "expired": [],
    }


def green() -> Run:
    """Return a run in which everything holds."""
    verdicts = [_verdict(rule, row.level_in("northstar"), Status.PASS) for rule, row in in_force().items()]
    return Run(header(), exchanges(), verdicts, [], footer(exit_code=0))


def empty() -> Run:
    """Return a run that died before it did anything."""
    return Run(header())


def unreachable() -> Run:
    """Return a run that could not reach its endpoint."""
    return Run(header(), footer=footer(exit_code=2, problem="127.0.0.1:8000 refused the connection."))


def load_only() -> Run:
    """Return a pure load run whose generator was the bottleneck, cut short."""
    samples = load_samples(verdict="CLIENT-BOUND", reasons=["the event loop was late by 31.0 ms (p99 of 10 ms probes)"])
    return Run(header(plan=None), [], [], samples, {}, ["line 7: not a JSON object (cut short?)"])


def many(findings: int = 5000) -> Run:
    """Return a run with very many findings, spread evenly over the catalogue."""
    rules = in_force()
    each = math.ceil(findings / len(rules))
    verdicts = [_verdict(rule, Level.MUST, Status.FAIL, each, cases=30) for rule in rules]
    return Run(header(), exchanges(500), verdicts, [], footer())


def hostile() -> Run:
    """Return a run in which every text that an endpoint or a file can choose is hostile."""
    verdicts = []
    every = "".join(text[:300] for text in NASTY)
    for number, text in enumerate(NASTY):
        problem = Problem(
            text,
            pointer=f"/{text}",
            event=2,
            event_type=text,
            expected=text[:1500],
            actual={text[:900]: text[:900]},
            kind=text[:20],
            offset=40,
            exchange=f"h{number}{text[:50]}",
        )
        finding = Finding(every[:80] if number == 3 else "EVT-02", Level.MUST, problem, 3, [text, every])
        rule = every[:80] if number == 3 else ("EVT-02", "ACC-01", "USG-02")[number % 3]
        verdicts.append(Verdict(rule, Level.MUST, Status.FAIL, 3, 3, text, [finding]))
    verdicts.append(Verdict("LIF-01", Level.MUST, Status.NOT_APPLICABLE, 0, 0, every))
    found = []
    for number, text in enumerate(NASTY):
        clean = text.encode("utf-8", "replace")
        body = (
            b"event: a\ndata: {}\n\n" + b"data: " + clean + b"\n\ndata: " + json.dumps({text: text}).encode() + b"\n\n"
        )
        body += b"data: \xff\xfe\x00 broken"
        found.append(
            Exchange(
                f"h{number}{text[:50]}",
                Request(text, f"/v1/{text[:200]}", ((text[:80], text[:200]),), clean if number % 2 else body),
                Outcome.CUT,
                200,
                (("content-type", "text/event-stream" if number % 2 else text[:100]),),
                (Chunk(0.1, body[:50]), Chunk(-5.0 if number == 2 else 0.4, body[50:])),
                case=text,
                role=text,
                detail=text,
                ended_at=0.5,
            )
        )
    strange = [[0.1, 0.2, text, 3, 7] for text in NASTY] + [[1, 0, 2, 3], [every], every, [0.5, math.nan, "a", 1]]
    told_slos = [{"text": text, "statistic": text, "limit": 1, "value": 10**400, "met": True} for text in NASTY] + [3]
    told_steps = [
        {"concurrency": n, "verdict": text, "slos": [{"text": text, "met": False}]} for n, text in enumerate(NASTY)
    ]
    samples = [
        {"what": "request", "t": text, "outcome": text, "e2e": 1.0 + n, "detail": text, "rules": [text, None, 7]}
        for n, text in enumerate(NASTY)
    ]
    samples += [
        {"what": "second", "t": 0, "started": "many", "in_flight": None, "output_tokens": math.inf},
        {"what": "second", "t": 1e300, "started": -4},
        {"what": "histogram", "metric": every, "unit": every, "counts": {every: 3, "5": 2, "99999": 10**400}},
        {"what": "load", "started": -1, "outcomes": {every: 3, "ok": math.nan}, "self_check": {"verdict": every}},
        *({"what": "stream", "outcome": text, "duration": 2.0 + n, "events": strange} for n, text in enumerate(NASTY)),
        {
            "what": "second",
            "t": 2,
            "gaps": {every: 1, "7": 2, "-1": 4, "10": 3},
            "server": {"running": every, "ttft": 1},
        },
        {"what": "load", "outcomes": [], "window": [every, 2], "rates": every, "self_check": {"reasons": [every, {}]}}
        | {
            "slos": told_slos,
            "scenarios": [{"name": every, "outcomes": {every: 4}}, 5],
            "cross_talk": 2,
            "server": {every: 1},
        }
        | {"search": {"kind": every, "steps": told_steps, "knee": every}, "percentiles": [every, {"metric": every}]},
    ]
    target = {"url": f"http://evil.example/{every}", "model": every, "dialect": every, "server": every}
    odd = header(target=target, command=[every, "a b"], tool={every: every}, plan=every, cases={NASTY[0]: every})
    names = [f"{text}[{text}][].{text}={text}" for text in NASTY] + ["", "=", "a", "[]=", "x" * 9000, "[" * 3000]
    told = {"total": 7, "counts": {every: 1}, "branches": {"failed": names, "accepted": list(NASTY), every: [every]}}
    rows: list[dict[str, Any]] = [{"feature": text, "state": text, "evidence": text} for text in NASTY]
    rows += [
        {
            "feature": text,
            "title": text,
            "state": "refused",
            "evidence": {"exchange": text, "status": 400, "words": text},
        }
        for text in NASTY
    ]
    entries = [dict.fromkeys(("rule", "case", "reason", "link", "expires", "note", "fingerprint"), t) for t in NASTY]
    account = {"file": every, "strict": every, "known": entries, "stale": entries, every: entries}
    ending = footer(warnings=list(NASTY), problem=every, coverage=told, capabilities=rows, baseline=account)
    return Run(odd, found, verdicts, samples, ending, list(NASTY))


def misshapen() -> Run:
    """Return a run whose header has none of the shapes that it should have."""
    strange = {"target": 7, "command": "rm -rf", "tool": [1], "cases": [2], "started_at": 1e308, "seed": {"a": 1}}
    return Run(
        strange,
        samples=[{"what": "load", "outcomes": None, "self_check": 4}],
        footer={"ended_at": math.nan, "coverage": {"branches": {"failed": 7}}},
    )


def histogram(metric: str, values: list[float]) -> dict[str, Any]:
    """Return the ``histogram`` line of durations in seconds."""
    counts: dict[int, int] = {}
    whole = [round(value * 1e6) for value in values]
    for value in whole:
        key = bucket(value)
        counts[key] = counts.get(key, 0) + 1
    return {
        "kind": "sample",
        "what": "histogram",
        "metric": metric,
        "unit": "us",
        "n": len(whole),
        "sum": sum(whole),
        "min": min(whole),
        "max": max(whole),
        "counts": {str(key): counts[key] for key in sorted(counts)},
    }


SERVER: dict[str, Any] = {
    "samples": 42,
    **{"running_mean": 17.25, "running_max": 24.0, "waiting_mean": 1.5, "waiting_max": 11.0},
    **{"cache_use_mean": 0.61, "cache_use_max": 0.97, "gpu_use_mean": 0.91, "gpu_use_max": 0.91},
    **{"gpu_power_mean": 412.5, "gpu_power_max": 412.5, "gpu_memory_mean": 71_200.0, "gpu_memory_max": 71_200.0},
    **{"prefix_hit_rate": 0.42, "preemptions": 1.0, "ttft": 0.021, "ttft_difference": 0.0384},
}
"""What a server says of itself over a whole run."""


def objectives(good: int, started: int) -> list[dict[str, Any]]:
    """Return objectives with every verdict that there is."""
    first = {"metric": "ttft", "n": started}
    return [
        {**first, "text": "ttft:p50<60ms", "statistic": "p50", "limit": 0.06, "value": 0.0564, "met": True}
        | {"certified": True, "bound": 0.0582},
        {**first, "text": "ttft:p99<300ms", "statistic": "p99", "limit": 0.3, "value": 0.82, "met": False}
        | {"certified": False, "bound": 0.88},
        {**first, "text": "e2e:p99.9<9s", "statistic": "p99.9", "limit": 9.0, "value": 4.1, "met": True}
        | {"certified": False, "needs": 6636},
        {"text": "goodput>=85%", "metric": "goodput", "statistic": "share", "limit": 0.85, "n": started}
        | {"value": good / started, "bound": 0.84, "certified": False, "met": True},
        {"text": "output_tokens>500/s", "metric": "output_tokens", "statistic": "rate", "limit": 500.0, "n": started}
        | {"value": 1180.0, "met": True},
        {**first, "text": "ttft<300ms", "statistic": "each", "limit": 0.3, "value": 0.9},
        {"text": "tpot:p50<1s", "metric": "tpot", "statistic": "p50", "limit": 1.0, "n": 0, "certified": False}
        | {"needs": 7, "met": False},
    ]


def percentile_line(metric: str, values: list[float]) -> dict[str, Any]:
    """Return how sure the percentiles of a metric are, as the ``load`` line has it."""
    ranked = sorted(values)
    line: dict[str, Any] = {"metric": metric, "n": len(values)}
    for p in (50, 90, 95, 99):
        value = ranked[min(len(ranked) - 1, math.ceil(p / 100 * len(ranked)))]
        line[f"p{p}"] = {"value": value, "bound": round(value * 1.04, 6)}
    return {**line, "p99.9": {"value": ranked[-1], "needs": 6636}}


def stream_line(request: dict[str, Any], ttft: float, steps: list[float]) -> dict[str, Any]:
    """Return the ``stream`` line of a request whose content came in these steps."""
    at, byte = ttft, 1830
    found: list[list[Any]] = [
        [0.012, 0.012, "response.created", 1, 0],
        [0.012, 0.012, "response.in_progress", 1, 640],
        [round(ttft, 6), round(ttft, 6), "response.output_item.added", 1, 1280],
    ]
    for step in [0.0, *steps]:
        at += step
        found.append([round(at, 6), round(at, 6), "response.output_text.delta", 1, byte])
        byte += 190
    found.append([round(at, 6), round(at, 6), "response.completed", 1, byte])
    kept = ("t", "outcome", "status", "ttft", "e2e", "max_gap", "output_tokens", "worker", "rules", "detail")
    line = {name: request[name] for name in kept if name in request}
    return {"kind": "sample", "what": "stream", **line, "duration": request["e2e"], "slot": 0, "events": found}


def sweep(levels: int = 9, knee: int | None = 32) -> Run:
    """Return a sweep whose throughput levels out, and whose last step is the generator's limit."""
    steps = []
    for power in range(levels):
        level = 1 << power
        rate = 2000 * (1 - math.exp(-level / 14))
        first = 0.02 + level / 900 + (level / 120) ** 2
        step = {
            "concurrency": level,
            "started": 30 * level,
            "outcomes": {"ok": 30 * level - power, "http_429": power},
            "ok_per_s": round(rate / 40, 3),
            "output_tokens_per_s": round(rate, 3),
            "verdict": "CLIENT-BOUND" if power == levels - 1 else "VALID",
            "good": 30 * level - 2 * power,
            **{"ttft_p50": first, "ttft_p99": 3 * first, "itl_p50": 0.01 + level / 9000, "itl_p99": 0.03 + level / 900},
            **{"tpot_p50": 0.011, "e2e_p50": 1.1 + level / 60, "e2e_p99": 1.5 + level / 30},
        }
        steps.append(step)
    search: dict[str, Any] = {"kind": "sweep", "best": 2000.0, "steps": steps, "limited_by": "generator"}
    if knee is not None:
        search["knee"] = knee
    command = ["rejoinder", "load", "http://127.0.0.1:8000", "--sweep", "auto"]
    return Run(header(plan=None, command=command), samples=load_samples(search=search), footer=footer())


def rate_search(highest: float | None = 22.4) -> Run:
    """Return a search for the highest rate, with runs that kept the objectives and runs that did not."""
    steps = []
    for rate in (4.0, 100.0, 20.0, 44.721, 29.907, 24.457, 22.117, 23.258):
        for repeat in range(2):
            met = highest is not None and rate <= highest
            first = 0.04 * math.exp(rate / 30) * (1 + 0.1 * repeat)
            slo = {"text": "ttft:p99<300ms", "metric": "ttft", "statistic": "p99", "limit": 0.3, "met": met}
            step = {"rate": rate, "repeat": repeat, "started": round(rate * 30), "outcomes": {"ok": round(rate * 30)}}
            step |= {"ok_per_s": rate, "output_tokens_per_s": rate * 40, "verdict": "VALID", "met": met, "slos": [slo]}
            steps.append({**step, "ttft_p50": first / 2, "ttft_p99": first, "e2e_p50": 1.0, "e2e_p99": 1.4})
    search: dict[str, Any] = {"kind": "rate", "repeats": 3, "range": [4.0, 100.0], "steps": steps}
    if highest is not None:
        search["highest"] = highest
    return Run(header(plan=None), samples=load_samples(search=search), footer=footer())


def gated() -> Run:
    """Return a run of repeats in turns with another endpoint, with a change of every verdict."""
    dice = random.Random(3)
    repeats = []
    for number in range(5):
        for side in ("endpoint", "against"):
            slow = 1.3 if side == "endpoint" else 1.0
            figures = {"ttft:p99": round(0.2 * slow * dice.uniform(0.95, 1.05), 6), "e2e:p50": dice.uniform(0.9, 1.3)}
            figures |= {"output_tokens": dice.uniform(980, 1020), "goodput": 0.97, "itl:p99": 0.02 / slow}
            line = {"of": side, "repeat": number, "started": 300, "outcomes": {"ok": 298, "failed": 2}}
            repeats.append({**line, "verdict": "VALID", "figures": figures})
    rows = [
        ("ttft:p99<+10%", "ttft:p99", 0.1, 0.2, 0.26, 0.004, "worse"),
        ("e2e:p50<+5%", "e2e:p50", 0.05, 1.1, 1.12, 0.41, "unclear"),
        ("output_tokens>-5%", "output_tokens", -0.05, 1000.0, 998.0, 0.38, "kept"),
        ("itl:p99<+5%", "itl:p99", 0.05, 0.02, 0.0154, 0.004, "better"),
    ]
    changes = [
        {"text": text, "figure": figure, "limit": limit, "n": [5, 5], "before": before, "after": after}
        | {"change": after / before - 1, "p": p, "p_limit": p, "verdict": verdict, "met": verdict != "worse"}
        for text, figure, limit, before, after, p, verdict in rows
    ]
    return Run(
        header(plan=None),
        samples=load_samples(repeats=repeats, changes=changes, slos=objectives(1100, 1200)),
        footer=footer(),
    )


def nothing_answered() -> Run:
    """Return a load run in which no stream came to its end."""
    lines: list[dict[str, Any]] = [
        {"what": "request", "t": n / 4, "outcome": "transport", "worker": 0, "detail": "no connection"}
        for n in range(20)
    ]
    lines += [
        {"what": "second", "t": t, "started": 4, "finished": 4, "failed": 4, "in_flight": 0, "output_tokens": 0.0}
        for t in range(5)
    ]
    slo = {"text": "ttft:p99<300ms", "metric": "ttft", "statistic": "p99", "limit": 0.3, "n": 0, "met": False}
    check = {"verdict": "VALID", "reasons": []}
    total = {"what": "load", "mode": "open", "settings": {"rate": 4.0}, "started": 20, "outcomes": {"transport": 20}}
    lines.append({**total, "rules": {}, "judged": 0, "issued": 5.0, "window": [0.0, 5.0], "self_check": check})
    lines[-1] |= {
        "good": 0,
        "cross_talk": 0,
        "slos": [slo | {"certified": False, "needs": 662}],
        "limits": ["ttft<300ms"],
    }
    return Run(header(plan=None), samples=lines, footer=footer())


def healthy_load() -> Run:
    """Return a load run in which every request ended well and every objective was met for certain."""
    samples = load_samples(outcomes={"ok": 1200}, rules={}, slos=objectives(1190, 1200)[:1], good=1200)
    for line in samples:
        if line["what"] in ("request", "stream"):
            line["outcome"] = "ok"
            line.pop("rules", None)
            line.pop("detail", None)
        elif line["what"] == "second":
            line["failed"] = 0
    samples[-1]["scenarios"] = [{"name": "chat", "outcomes": {"ok": 1200}}]
    return Run(header(plan=None), samples=samples, footer=footer(exit_code=0))


def load_samples(
    duration: int = 40,
    rate: float = 30.0,
    verdict: str = "VALID",
    reasons: list[str] | None = None,
    seed: int = 7,
    server: bool = True,
    **fields: Any,
) -> list[dict[str, Any]]:
    """Return the sample lines of a load run with a stall in its second half; ``fields`` go into its ``load`` line."""
    dice = random.Random(seed)
    rows, requests, gaps = [], [], []
    gaps_of: dict[int, dict[str, int]] = {}
    details: list[tuple[float, list[float]]] = []
    outcomes = ["ok"] * 180 + ["nonconforming"] * 4 + ["truncated"] * 3 + ["http_429"] * 5 + ["timeout"]
    count = int(duration * rate)
    for number in range(count):
        t = number / rate
        stall = 0.9 if 0.6 < t / duration < 0.7 else 0.0
        ttft = 0.03 + dice.lognormvariate(-3.6, 0.5) + stall * dice.random()
        tokens = dice.randint(24, 64)
        steps = [dice.lognormvariate(-4.4, 0.35) for _ in range(tokens)]
        if stall and not number % 5:
            steps[tokens // 2] += 2.5
        gaps += steps
        at = t + ttft
        for step in steps:
            at += step
            row = gaps_of.setdefault(int(at), {})
            bound = max(
                [0, *(known for known in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000) if known <= step * 1e3)]
            )
            row[str(bound)] = row.get(str(bound), 0) + 1
        details.append((ttft, steps))
        outcome = dice.choice(outcomes)
        requests.append(
            {
                "kind": "sample",
                "what": "request",
                "t": round(t, 6),
                "intended": round(t, 6),
                "outcome": outcome,
                "status": 429 if outcome == "http_429" else 200,
                "ttft": round(ttft, 6),
                "e2e": round(ttft + sum(steps), 6),
                "max_gap": round(max(steps), 6),
                "output_tokens": tokens,
                "worker": 0,
                **({"rules": ["EVT-02"]} if outcome == "nonconforming" else {}),
                **({"detail": "no terminal event after 41 events"} if outcome == "truncated" else {}),
            }
        )
    ledger = {name: sum(r["outcome"] == name for r in requests) for name in dict.fromkeys(outcomes)}
    flight = 0
    for second in range(duration + 2):
        started = sum(second <= r["t"] < second + 1 for r in requests)
        ended = [r for r in requests if second <= r["t"] + r["e2e"] < second + 1]
        flight += started - len(ended)
        firsts = sorted(r["ttft"] for r in requests if second <= r["t"] + r["ttft"] < second + 1)
        row = {
            "kind": "sample",
            "what": "second",
            "t": second,
            "started": started,
            "finished": len(ended),
            "failed": sum(r["outcome"] != "ok" for r in ended),
            "in_flight": flight,
            "output_tokens": sum(r["output_tokens"] for r in ended),
        }
        if firsts:
            row["ttft_p50"] = firsts[len(firsts) // 2]
            row["ttft_p99"] = firsts[-1]
        if second in gaps_of:
            row["gaps"] = gaps_of[second]
        if server:
            row["server"] = {
                "running": min(flight, 24),
                "waiting": max(0, flight - 24),
                "cache_use": round(min(0.97, 0.2 + second / duration), 4),
                "prefix_hit_rate": 0.42,
                "preemptions": float(second == 3 * duration // 4),
                "ttft": round(0.02 + 0.01 * math.sin(second), 6),
                "gpu_use": 0.91,
                "gpu_power": 412.5,
                "gpu_memory": 71_200.0,
            }
        rows.append(row)
    total = {
        "kind": "sample",
        "what": "load",
        "mode": "open",
        "settings": {
            "rate": rate,
            "duration": float(duration),
            "arrivals": "constant",
            "max_output_tokens": 64,
            "canaries": True,
        },
        "started": count,
        "outcomes": ledger,
        "rules": {"EVT-02": ledger["nonconforming"]},
        "judged": count,
        "issued": float(duration),
        "window": [2.0, float(duration)],
        "rates": {
            "started_per_s": rate,
            "finished_per_s": rate - 0.2,
            "ok_per_s": round(ledger["ok"] / duration, 3),
            "output_tokens_per_s": round(sum(r["output_tokens"] for r in requests) / duration, 3),
        },
        "latencies_over": ["ok", "nonconforming", "incomplete"],
        "self_check": {
            "verdict": verdict,
            "reasons": reasons or [],
            "loop_lag_p99": 0.0012,
            "dispatch_lag_p99": 0.0004,
            "cpu_mean": 0.31,
            "processes": 1,
        },
        "good": ledger["ok"] - 40,
        "cross_talk": 0,
        "limits": ["ttft<300ms"],
        "slos": [slo for slo in objectives(ledger["ok"] - 40, count) if slo["metric"] == "ttft" and slo.get("met")],
        "scenarios": [
            {"name": "chat", "outcomes": {**ledger, "ok": ledger["ok"] - 200}},
            {"name": "tool call", "outcomes": {"ok": 200}},
        ],
        "percentiles": [percentile_line("ttft", [r["ttft"] for r in requests])],
        **({"server": SERVER} if server else {}),
        **fields,
    }
    slowest = sorted(range(count), key=lambda number: -requests[number]["e2e"])[:10]
    return [
        *requests,
        *rows,
        *(stream_line(requests[number], *details[number]) for number in slowest),
        histogram("ttft", [r["ttft"] for r in requests]),
        histogram("itl", gaps),
        histogram("e2e", [r["e2e"] for r in requests]),
        histogram("e2e_intended", [r["e2e"] + 0.0004 for r in requests]),
        histogram("ttft_ok", [r["ttft"] for r in requests if r["outcome"] == "ok"]),
        histogram("dispatch_lag", [0.0001 + dice.random() / 2000 for _ in requests]),
        total,
    ]


EXAMPLES: dict[str, Callable[[], Run]] = {
    "typical": typical,
    "green": green,
    "empty": empty,
    "unreachable": unreachable,
    "load": load_only,
    "healthy": healthy_load,
    "sweep": sweep,
    "rate": rate_search,
    "gated": gated,
    "unanswered": nothing_answered,
    "many": many,
    "hostile": hostile,
    "misshapen": misshapen,
}


def main(folder: Path) -> None:
    """Write every example in every format."""
    from rejoinder.reports import render_html, render_junit, render_markdown, summarize

    folder.mkdir(parents=True, exist_ok=True)
    for name, make in EXAMPLES.items():
        run = make()
        (folder / f"{name}.html").write_text(render_html(run), "utf-8")
        (folder / f"{name}.xml").write_text(render_junit(run), "utf-8")
        (folder / f"{name}.md").write_text(render_markdown(run), "utf-8")
        (folder / f"{name}.txt").write_text(summarize(run, {"report": folder / f"{name}.html"}).plain(), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""Example runs for the tests of reports, and for looking at them.

``python tests/reports/example_runs.py DIR`` writes every example as HTML, JUnit XML, Markdown and text.
"""

from __future__ import annotations

import json
import math
import random
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from tests.reports.example_loads import (
    OK,
    Sent,
    cached,
    load_samples,
    rate_samples,
    read,
    repeat_samples,
    run_file,
    sweep_samples,
    unanswered_samples,
)

from rejoinder.conformance.assess import CheckResult, assess
from rejoinder.conformance.running.in_process import ManualClock, run_in_process
from rejoinder.conformance.running.plan import build_plan
from rejoinder.contract import Rule, load_dialect, load_rules
from rejoinder.model.exchange import Chunk, Exchange, Outcome, Request
from rejoinder.model.footer import (
    AbilityResult,
    Acceptance,
    BaselineResult,
    BaselineResults,
    CoverageResult,
    FeatureEvidence,
    FeatureResult,
    Footer,
)
from rejoinder.model.header import Header, RunTarget, new_header
from rejoinder.model.runfile import Run, RunWriter, read_run
from rejoinder.model.samples import Sample, read_sample
from rejoinder.model.verdict import Finding, Level, Minimal, Problem, Reruns, Status, Verdict
from rejoinder.sandbox import Sandbox
from rejoinder.strategies import Branches
from rejoinder.wire.target import Target

START = 1_790_000_000.0

NASTY = (
    "</script><script>alert(1)</script><img src=x onerror=alert(2)>{{7*7}}{% raw %}",
    "\x1b[31mred\x1b[0m\x1b]0;title\x07\x00\x08\r\n\u202egnirts\u202c\u2066x\u2069\u200b\ufeff\u2028",
    "\ud800 lone \udfff \ufffe \uffff \U000e0041",
    "`code` ```fence``` | pipe **bold** [link](javascript:alert(1)) @someone #1 <!-- --> ![i](http://evil.example/x.png)",
    "' \" & < > ]]> <![CDATA[ &amp; &#0; $(touch /tmp/pwned) `touch /tmp/pwned` \\ %s %n",
    "::error title=x::obeyed ##[error]obeyed ##vso[task.complete]obeyed ##teamcity[x] [[ATTACHMENT|/etc/passwd]]",
    "=1;=2;@SUM(1) section_start:1700000000:x\r\x1b[0K travis_fold:start:x --- obeyed",
    f"{'the endpoint wrote words ' * 3}::warning::obeyed +++ obeyed {'::error::obeyed ' * 9} #12 octo/cat#12 GH-12 !12",
    "x" * 200_000,
    "a\u0301\u0302" * 3000,
)
"""Text that an endpoint might send to break a page, a terminal, a parser or a reader."""


def header(**fields: Any) -> Header:
    """Return the header of a check of a local endpoint."""
    target = RunTarget(
        url="http://127.0.0.1:8000/v1/responses", model="tiny-llm", dialect="northstar", server="uvicorn"
    )
    values = {
        "started_at": START,
        "tool": {"rejoinder": "0.1.0", "python": "3.12.4", "httpx": "0.28.1", "locust": "2.47.0"},
        "command": ["rejoinder", "check", "http://127.0.0.1:8000", "--model", "tiny-llm", "--plan", "full"],
        "plan": "full",
        "seed": 20261122,
    }
    return new_header(**{"target": target, **values, **fields})


def footer(**fields: Any) -> Footer:
    """Return a footer 38 seconds after the header."""
    return Footer(**{"ended_at": START + 38.4, "exit_code": 1, **fields})


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


def coverage() -> CoverageResult:
    """Return a coverage of the whole contract with branches in every state."""
    branches: dict[Acceptance, list[str]] = {state: [] for state in Acceptance}
    for name in sorted(Branches().all):
        path = name.partition("=")[0]
        if "Computer" in name:
            state = Acceptance.REFUSED
        elif path.endswith(("file_id", "image_url")):
            state = Acceptance.SERVER_ERROR if "Image" in name else Acceptance.NOT_SENT
        elif path.startswith("prompt") or name.endswith("status=incomplete"):
            state = Acceptance.NOT_SENT
        else:
            state = Acceptance.ACCEPTED
        branches[state].append(name)
    counts = {state: len(names) for state, names in branches.items()}
    return CoverageResult(total=sum(counts.values()), counts=counts, branches=branches)


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
        "ACC-05": (Level.MUST, Status.DECLINED, 0, "The model called no function."),
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
        samples=list(cached(load_samples, 16.0, 75.0, server=False)) if load else [],
        footer=footer(
            warnings=["GET /v1/models answered 404; the model was taken from --model."],
            coverage=coverage(),
            capabilities=capabilities(),
            abilities={"repeats": AbilityResult(shown=False, exchange="x-plain")},
            baseline=baseline(),
        ),
    )


def capabilities() -> list[FeatureResult]:
    """Return what an endpoint can do as a footer tells it."""

    def row(feature: str, title: str, state: Acceptance, *evidence: Any) -> FeatureResult:
        found = (
            FeatureEvidence(**dict(zip(("exchange", "status", "words"), evidence, strict=True))) if evidence else None
        )
        return FeatureResult(feature=feature, title=title, state=state, evidence=found)

    return [
        row("streaming", "event streams", Acceptance.SEEN, "x-stream", 200, ""),
        row("function_tools", "functions that the client runs", Acceptance.ACCEPTED, "x-plain", 200, ""),
        row("images", "images in messages", Acceptance.REFUSED, "x-refused", 422, "Images are not supported."),
        row("background", "work in the background", Acceptance.NOT_SENT),
    ]


def baseline() -> BaselineResults:
    """Return what became of a baseline as a footer tells it."""

    def entry(note: str, **fields: str) -> BaselineResult:
        return BaselineResult(
            rule="SSE-05", case="text-*", reason="The proxy drops the last line.", note=note, **fields
        )

    dated = {"link": "https://tracker.example/4711", "expires": "2026-12-31", "fingerprint": "0123456789ab"}
    return BaselineResults(
        file="baseline.toml",
        strict=False,
        known=[entry("Matched once.")],
        stale=[entry("The run did not test the rule on the case.", **dated)],
        unexpected_passes=[entry("The rule held in all 4 exchanges of the case.", **dated)],
        expired=[],
    )


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
    data = run_file(cached(load_samples, lag=0.031), header(plan=""))
    return read(data + data.splitlines()[-1][:100])


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
    samples = [hostile_sample(sample, every) for sample in cached(load_samples, 3.0, 20.0, change=_hostile)]
    target = RunTarget(url=f"http://evil.example/{every}", model=every, dialect=every, server=every)
    odd = header(target=target, command=[every, "a b"], tool={every: every}, plan=every, cases={NASTY[0]: every})
    names = [f"{text}[{text}][].{text}={text}" for text in NASTY] + ["", "=", "a", "[]=", "x" * 9000, "[" * 3000]
    branches = {Acceptance.SERVER_ERROR: names, Acceptance.ACCEPTED: list(NASTY)}
    refused = [
        FeatureResult(
            feature=text,
            title=text,
            state=Acceptance.REFUSED,
            evidence=FeatureEvidence(exchange=text, status=400, words=text),
        )
        for text in NASTY
    ]
    entries = [
        BaselineResult(rule=text, case=text, reason=text, note=text, fingerprint=text, link=text, expires=text)
        for text in NASTY
    ]
    ending = footer(
        warnings=list(NASTY),
        problem=every,
        coverage=CoverageResult(total=7, counts={}, branches=branches),
        capabilities=refused,
        baseline=BaselineResults(
            file=every, strict=True, known=entries, stale=entries, unexpected_passes=[], expired=[]
        ),
    )
    return Run(odd, found, verdicts, samples, ending, list(NASTY))


def _hostile(sent: Sent) -> Sent:
    """Return a request with hostile texts wherever the endpoint or the workload can choose them."""
    text = NASTY[sent.slot % len(NASTY)]
    return replace(sent, detail=text, rules=(text,), scenario=text)


def hostile_sample(sample: Sample, text: str) -> Sample:
    """Return a sample with a hostile text in every place for text that its types leave open, read as from a file."""

    def changed(value: Any, name: str = "") -> Any:
        if isinstance(value, dict):
            return {key: changed(child, key) for key, child in value.items()}
        if isinstance(value, list):
            return [changed(child, name) for child in value]
        return text if isinstance(value, str) and name not in _CLOSED else value

    return read_sample(changed(sample.to_json()))


_CLOSED: Final = ("what", "outcome", "mode", "unit", "verdict", "latencies_over", "metric")
"""Fields with a fixed set of values, and names of metrics."""


def sandboxed(*faults: str) -> Run:
    """Return the run file of a real check of the sandbox, in process: the plan smoke, judged as a check run is."""
    plan, result, clock = build_plan("smoke", load_dialect("northstar"), model="parrot"), CheckResult(), ManualClock()
    target = Target("http://sandbox/v1/responses", "parrot", dialect="northstar")
    for batch in run_in_process(plan, Sandbox(faults=list(faults), clock=clock), target, clock):
        result.exchanges += batch
    assess(result, "northstar")
    described = RunTarget(url=target.url, model=target.model, dialect=target.dialect)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "run.ndjson"
        with RunWriter(path) as writer:
            cases = {case.id: case.intent for case in plan.cases}
            writer.header(header(target=described, plan=plan.name, cases=cases))
            for exchange in result.exchanges:
                writer.exchange(exchange)
            for verdict in result.verdicts:
                writer.verdict(verdict)
            writer.footer(footer(exit_code=result.exit_code, **result.footer))
        return read_run(path)


def checked() -> Run:
    """Return a check that found two defects of the sandbox."""
    return sandboxed("truncation-reported-as-completed", "sequence-numbers-missing")


def loaded(samples: Iterable[Sample], **ending: Any) -> Run:
    """Return the run file of a load run with these lines, as it is read."""
    command = ["rejoinder", "load", "http://127.0.0.1:8000"]
    return read(run_file(samples, header(command=command, plan=""), footer(**ending)))


def sweep(levels: int = 9, saturating: bool = True) -> Run:
    """Return a sweep whose throughput levels out, and whose last step is the generator's limit."""
    return loaded(cached(sweep_samples, levels, saturating))


def rate_search(highest: float | None = 22.4) -> Run:
    """Return a search for the highest rate, with runs that kept the objectives and runs that did not."""
    return loaded(cached(rate_samples, highest))


def compared() -> Run:
    """Return a run of repeats in turns with another endpoint, with a change of every verdict."""
    return loaded(cached(repeat_samples))


def nothing_answered() -> Run:
    """Return a load run in which no stream came to its end."""
    return loaded(cached(unanswered_samples))


def healthy_load() -> Run:
    """Return a load run in which every request ended well and every objective was met for certain."""
    return loaded(cached(load_samples, slos=("ttft:p50<80ms",), outcomes=(OK,)), exit_code=0)


EXAMPLES: dict[str, Callable[[], Run]] = {
    "typical": typical,
    "green": green,
    "checked": checked,
    "empty": empty,
    "unreachable": unreachable,
    "load": load_only,
    "healthy": healthy_load,
    "sweep": sweep,
    "rate": rate_search,
    "compared": compared,
    "unanswered": nothing_answered,
    "many": many,
    "hostile": hostile,
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

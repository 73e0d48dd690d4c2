"""The random search: the same for a seed, sound, within its budget, and able to find what is rare."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import islice
from typing import Any

import httpx
import pytest

from rejoinder.conformance.judgement import judge
from rejoinder.conformance.running.case import CaseContext, PlannedCase
from rejoinder.conformance.running.engine import CheckRun
from rejoinder.conformance.running.fuzz import FuzzRun, most_tokens, random_cases
from rejoinder.conformance.running.in_process import ManualClock, run_in_process, sandbox_target
from rejoinder.conformance.running.plan import Plan
from rejoinder.contract import SchemaVariant, dialect_names, load_dialect
from rejoinder.model.footer import Acceptance
from rejoinder.model.verdict import Finding, Status, Verdict
from rejoinder.sandbox import Sandbox
from rejoinder.settings import Budget
from rejoinder.strategies import Branches, EndpointProfile, request_bodies, sample
from rejoinder.strategies.profile import served
from rejoinder.validation import Validator

pytestmark = pytest.mark.slow(4)

SETTING = CaseContext(load_dialect("northstar"), "parrot")
Conducted = Callable[..., CheckRun]
Answering = Callable[..., Callable[[httpx.Request], Awaitable[httpx.Response]]]


def first(count: int, seed: int, context: CaseContext = SETTING) -> list[PlannedCase]:
    return list(islice(random_cases(context, seed), count))


def bodies(cases: list[PlannedCase]) -> list[Any]:
    return [planned.body for case in cases for planned in case.requests if not callable(planned.body)]


def searched(
    conducted: Conducted, answer: Any, *, seed: int = 7, concurrency: int = 4, budget: int = 60, stop_after: int = 0
) -> tuple[CheckRun, FuzzRun, list[bytes]]:
    sent: list[bytes] = []
    searches: list[FuzzRun] = []

    async def work(sender: CheckRun) -> None:
        sender._on_exchange = lambda exchange: sent.append(exchange.request.body)
        if stop_after:
            sender._on_progress = lambda progress: sender.stop() if progress.done == stop_after else None
        searches.append(FuzzRun(sender, SETTING, seed))
        await searches[0].run()

    run = conducted(answer, work, concurrency=concurrency, budget=Budget(requests=budget))
    return run, searches[0], sent


def findings(verdicts: list[Verdict]) -> list[Finding]:
    return [finding for verdict in verdicts for finding in verdict.findings]


def test_a_seed_says_everything() -> None:
    assert bodies(first(20, 5)) == bodies(first(20, 5))
    assert bodies(first(20, 5)) != bodies(first(20, 6))


def test_a_seed_says_the_same_in_another_process() -> None:
    code = (
        "import hashlib, itertools; from rejoinder.conformance.running.case import CaseContext;"
        "from rejoinder.conformance.running.fuzz import random_cases; from rejoinder.contract import load_dialect;"
        "cases = itertools.islice(random_cases(CaseContext(load_dialect('northstar'), 'parrot'), 5), 30);"
        "print(hashlib.sha256(repr([r.body for c in cases for r in c.requests if not callable(r.body)])"
        ".encode('utf-8', 'surrogatepass')).hexdigest())"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            timeout=120,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1


def test_no_two_cases_send_the_same() -> None:
    found = [json.dumps(bodies([case]), sort_keys=True, default=repr) for case in first(80, 1)]
    assert len(set(found)) == len(found)
    sorts = Counter(case.id.rpartition(".")[2] for case in first(80, 1))
    assert set(sorts) == {"valid", "invalid", "extreme", "history"}


@pytest.mark.parametrize("dialect", dialect_names())
def test_tags_tell_the_truth(dialect: str) -> None:
    known = load_dialect(dialect)
    sound, possible = (
        Validator(known.request_schema(view)) for view in (SchemaVariant.GENERATION, SchemaVariant.PERMISSIVE)
    )
    for case in first(40, 2, CaseContext(known, "m")):
        for planned in case.requests:
            if isinstance(planned.body, dict):
                assert not planned.tags or sound.is_valid(planned.body) == ("valid" in planned.tags)
                assert not ("invalid" in planned.tags and possible.is_valid(planned.body))


@pytest.mark.parametrize("dialect", dialect_names())
def test_a_clean_endpoint_stays_silent(dialect: str) -> None:
    plan = Plan("fuzz", tuple(first(60, 11, CaseContext(load_dialect(dialect), "parrot"))))
    clock = ManualClock()
    target = sandbox_target(dialect)
    batches = run_in_process(plan, Sandbox(dialect, clock=clock), target, clock)
    verdicts = judge([exchange for batch in batches for exchange in batch], dialect)
    assert findings(verdicts) == []
    assert Status.ERROR not in {verdict.status for verdict in verdicts}


def test_bodies_are_biased_towards_what_was_not_sent_yet() -> None:
    """They reach more than as many bodies of the strategy, although contradictions are taken out of them."""
    profile = EndpointProfile(model="parrot")
    contract = Branches(served(profile))
    biased = unbiased = 0
    for seed in range(1, 6):
        chosen = [case.requests[0].body for case in first(40, seed) if case.id.endswith("valid")]
        biased += len(contract.report(chosen).seen)
        unbiased += len(contract.report(sample(request_bodies(profile=profile), len(chosen), seed=seed)).seen)
    assert biased > unbiased


@pytest.mark.slow(10)
def test_most_seeds_meet_a_rare_combination() -> None:
    # So many requests are drawn before a search with a budget of 3000 confirms for the first time.
    assert sum(meets_a_rare_combination(seed, within=2250) for seed in range(1, 6)) >= 3


def meets_a_rare_combination(seed: int, within: int) -> bool:
    sent = (planned.body for case in random_cases(SETTING, seed) for planned in case.requests)
    return any(
        isinstance(body, dict) and body.get("top_p") and body.get("top_logprobs") and not body.get("include")
        for body in islice(sent, within)
    )


def test_it_finds_a_rare_combination_and_makes_it_small(conducted: Conducted, answering: Answering) -> None:
    run, search, _ = searched(conducted, answering("rare-sampling-crashes"), budget=3000)
    [finding] = findings(search.verdicts)
    assert finding.rule == "HTTP-03"
    assert finding.reruns is not None
    assert finding.reruns.deterministic
    assert finding.minimal is not None
    body = finding.minimal.request.json()
    assert set(body) - {"stream"} == {"model", "max_output_tokens", "input", "top_p", "top_logprobs"}
    assert run.progress.failed == 0


def test_the_same_requests_at_any_concurrency(conducted: Conducted, answering: Answering) -> None:
    sent = {}
    for concurrency in (1, 4):
        _, _, bodies_sent = searched(conducted, answering(), concurrency=concurrency, budget=80)
        # The ids of responses, and the word that shows what the model can do, are new each time.
        varying = (b"previous_response_id", b"code word")
        sent[concurrency] = Counter(body for body in bodies_sent if not any(name in body for name in varying))
    assert sent[1] == sent[4]


def test_the_budget_is_used_up_and_not_exceeded(conducted: Conducted, answering: Answering) -> None:
    for faults in ((), ("terminal-missing", "usage-missing")):
        run, search, sent = searched(conducted, answering(*faults), budget=90)
        assert len(sent) == 90
        assert run.ended
        assert search.coverage.report().counts[Acceptance.ACCEPTED] > 50


def test_an_interrupt_keeps_what_was_found(conducted: Conducted, answering: Answering) -> None:
    run, search, sent = searched(conducted, answering("terminal-missing"), budget=300, stop_after=80)
    assert run.result.interrupted
    assert len(sent) < 100
    assert [finding.rule for finding in findings(search.verdicts)] == ["LIF-05"]


def test_what_it_may_cost_is_said_beforehand(conducted: Conducted, answering: Answering) -> None:
    run, _, sent = searched(conducted, answering(), budget=100)
    assert run.progress.output_tokens <= most_tokens(100)
    assert len(sent) == 100

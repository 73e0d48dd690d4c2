"""Evidence of several runs: which exchanges are written, and what names them."""

from __future__ import annotations

from typing import Any

import pytest

from rejoinder.load.decide.find_highest import run_search
from rejoinder.load.decide.repetitions import run_repeats
from rejoinder.load.decide.run_evidence import EVIDENCE, RunEvidence
from rejoinder.load.measure.load_line import load_line
from rejoinder.load.measure.stats import RunStats
from rejoinder.load.run import LoadResult
from rejoinder.load.settings import LoadSettings
from rejoinder.model.exchange import Exchange, Outcome, Request
from rejoinder.model.samples import Repeat, RuleUnderLoad, Sample, SearchStep
from rejoinder.sandbox import Sandbox
from rejoinder.sandbox import running as serving

SETTINGS = LoadSettings(url="http://h", concurrency=1)


class Memory:
    """A run file in memory."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []
        self.exchanges: list[Exchange] = []

    def sample(self, sample: Sample) -> None:
        self.samples.append(sample)

    def exchange(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)

    @property
    def names(self) -> list[str]:
        return [exchange.id for exchange in self.exchanges]


def exchange(number: int, status: int = 200) -> Exchange:
    return Exchange(f"load-0-{number}", Request("POST", "/"), Outcome.COMPLETE, status)


def result_of(shown: dict[int, str]) -> LoadResult:
    """Return the result of a run in which exchanges, by their numbers, broke rules; each rule describes four."""
    broken: dict[str, list[int]] = {}
    for number, rules in shown.items():
        for rule in rules.split():
            broken.setdefault(rule, []).append(number)
    load = load_line(RunStats(), [], SETTINGS, issued=1)
    load.conformance = [
        RuleUnderLoad(
            rule=rule,
            responses=len(numbers),
            problems=[{"message": rule, "exchange": f"load-0-{number}"} for number in numbers[:4]],
        )
        for rule, numbers in broken.items()
    ]
    signatures = {f"load-0-{number}": f"ok {rules}" for number, rules in shown.items()}
    return LoadResult(0, {}, {}, load, shown=signatures)


def problems(result: LoadResult) -> dict[str, list[str]]:
    return {row.rule: [problem["exchange"] for problem in row.problems] for row in result.load.conformance}


def test_exchanges_and_problems_name_their_run() -> None:
    memory = Memory()
    evidence = RunEvidence(memory)
    for run in (1, 2):
        kept = evidence.begin()
        kept.exchange(exchange(0))
        kept.exchange(exchange(1))
        result = result_of({0: "EVT-02", 1: "EVT-02 SSE-02"})
        evidence.write(kept, result)
        assert problems(result) == {
            "EVT-02": [f"run-{run}-load-0-0", f"run-{run}-load-0-1"],
            "SSE-02": [f"run-{run}-load-0-1"],
        }
    assert memory.names == [f"run-{run}-load-0-{number}" for run in (1, 2) for number in (0, 1)]


def test_a_rule_that_only_a_late_run_breaks_has_evidence() -> None:
    memory = Memory()
    evidence = RunEvidence(memory)
    results = []
    for run in range(1, 21):
        kept = evidence.begin()
        for number in range(10):
            kept.exchange(exchange(number))
        results.append(result_of(dict.fromkeys(range(9), "EVT-02") | {9: "SSE-02" if run == 20 else "EVT-02"}))
        evidence.write(kept, results[-1])
    assert problems(results[0]) == {"EVT-02": [f"run-1-load-0-{number}" for number in range(3)]}
    assert problems(results[1]) == {"EVT-02": []}
    assert problems(results[-1]) == {"EVT-02": [], "SSE-02": ["run-20-load-0-9"]}
    assert len(memory.exchanges) == 3 + 1


def test_evidence_is_bounded() -> None:
    memory = Memory()
    evidence = RunEvidence(memory)
    for run in range(20):
        kept = evidence.begin()
        for number in range(5):
            kept.exchange(exchange(number, status=400 + 5 * run + number))
        evidence.write(kept, result_of({}))
    assert len(memory.exchanges) == EVIDENCE


def test_a_run_that_failed_has_its_exchanges_too() -> None:
    memory = Memory()
    evidence = RunEvidence(memory)
    kept = evidence.begin()
    kept.exchange(exchange(4, status=500))
    evidence.write(kept)
    assert memory.names == ["run-1-load-0-4"]


def proven(rows: list[RuleUnderLoad], memory: Memory) -> bool:
    """Return whether each rule that is said to be broken has a problem in an exchange that was written."""
    return all(problem["exchange"] in memory.names for row in rows for problem in row.problems)


@pytest.mark.slow(6)
def test_a_search_and_repeats_show_what_their_runs_broke() -> None:
    """The sandbox leaves out sequence numbers, in every run; each has its counts, and some have evidence."""
    settings: dict[str, Any] = {"model": "parrot", "duration": 0.4, "max_output_tokens": 8}
    with serving(Sandbox(faults=["sequence-numbers-missing"])) as url:
        searched = Memory()
        run_search(LoadSettings(url=url, concurrency=1, **settings), searched, levels=[1, 2])
        repeated = Memory()
        run_repeats(LoadSettings(url=url, concurrency=1, **settings), repeated, repeats=2)
    for memory, kind in ((searched, SearchStep), (repeated, Repeat)):
        runs: list[Any] = [sample for sample in memory.samples if isinstance(sample, kind)]
        assert len(runs) == 2
        for run in runs:
            assert 0 < run.broken == run.judged
            assert [row.rule for row in run.conformance] == ["EVT-02"]
            assert run.conformance[0].responses == run.judged
            assert proven(run.conformance, memory)
        assert runs[0].conformance[0].problems
        assert {name.rpartition("-load-")[0] for name in memory.names} == {"run-1"}
        assert len(memory.names) == 3

"""The score against generated mutants: a sample is killed, survivors have reasons, reasons have mutants."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from rejoinder.conformance.proof import mutants
from rejoinder.conformance.proof.mutants import (
    MutantJob,
    command,
    load_reasons,
    mutant_jobs,
    table,
    try_mutant,
)
from rejoinder.contract import dialect_names
from rejoinder.sandbox.mutants import SandboxMutant

SAMPLE = 1
"""Mutants of each operator; `tox -e kill` tries more, in every dialect."""

LEAST = 0.7
"""The share of a small sample that is killed at least. Some survive that are no defects, so it is below the score."""


@pytest.mark.slow(15)
def test_a_sample_is_killed() -> None:
    rows = [try_mutant(job) for job in mutant_jobs("full", "northstar", most=SAMPLE)]
    defects = [row for row in rows if not row.unchanged]
    assert sum(row.killed for row in defects) >= LEAST * len(defects), "\n".join(table(rows))
    assert all(row.step == 3 for row in defects if not row.killed)
    assert all(row.rule for row in defects if row.killed)


@pytest.mark.slow(15)
def test_every_reason_is_for_a_mutant() -> None:
    everything = {dialect: [job.id for job in mutant_jobs("full", dialect)] for dialect in dialect_names()}
    for reason in load_reasons():
        assert reason.kind in ("equivalent", "allowed", "unseen", "gap")
        found = [dialect for dialect, names in everything.items() if any(reason.fits(name, dialect) for name in names)]
        assert found, reason
        assert set(reason.dialects) <= set(found), reason


def test_no_operator_makes_more_than_a_tenth() -> None:
    jobs = mutant_jobs("full", "northstar")
    names = [job.id.partition(":")[0] for job in jobs]
    assert len(jobs) > 5000
    assert max(map(names.count, set(names))) <= len(jobs) / 10


@pytest.mark.parametrize(
    ("name", "level", "step"),
    [
        ("field-deleted:create/id", "MUST", 1),
        ("kept-elsewhere:output@always", "MUST", 2),
        ("header-dropped:create/x-request-id", "", 3),
    ],
)
def test_a_mutant_goes_as_far_as_it_must(name: str, level: str, step: int) -> None:
    [job] = [job for job in mutant_jobs("quick", "northstar", name.partition(":")[0]) if job.id == name]
    row = try_mutant(job)
    assert (row.level, row.step) == (level, step)


@pytest.mark.slow(6)
@pytest.mark.parametrize("dialect", ["northstar", "openresponses"])
def test_what_no_rule_requires_survives_every_step(dialect: str) -> None:
    # One is seen everywhere, the other one in few cases.
    wanted = ("header-altered:create/x-request-id", "header-altered:delete/x-request-id")
    rows = [try_mutant(job) for job in mutant_jobs("full", dialect, "header-altered") if job.id in wanted]
    assert rows
    assert {(row.level, row.rule, row.step, row.valid, row.unchanged) for row in rows} == {("", "", 3, True, False)}


def test_an_unchanged_sandbox_is_no_mutant(monkeypatch: pytest.MonkeyPatch) -> None:
    def unchanged(id: str, dialect: str) -> SandboxMutant:
        # Not of replies alone, so that cases are sent.
        return SandboxMutant(id=id, title="", operator="none", place="", request=lambda body, _: body)

    jobs = mutant_jobs("smoke", "northstar", "operation-404")
    monkeypatch.setattr(mutants, "find_mutant", unchanged)
    assert all(row.unchanged and not row.killed for row in map(try_mutant, jobs))


@pytest.mark.slow(3)
def test_a_mutant_of_something_that_nothing_hears_is_told_from_survivors() -> None:
    branch = "input[array][][FunctionCallOutput].id=value"
    [job] = [job for job in mutant_jobs("full", "northstar", "input-unheard") if job.id.endswith(f":{branch}")]
    row = try_mutant(job)
    assert (row.unchanged, row.killed, row.step) == (True, False, 2)


def test_the_same_seed_draws_the_same_mutants() -> None:
    first, again, other = (mutant_jobs("smoke", "northstar", most=2, seed=seed) for seed in (1, 1, 2))
    assert first == again != other
    assert all(isinstance(job, MutantJob) for job in first)


def test_the_command_prints_the_score_by_operator_and_survivors() -> None:
    options = ["--plan", "smoke", "--dialect", "northstar", "--workers", "1"]
    said = CliRunner().invoke(command, [*options, "--operator", "header-dropped", "--mutant", "*:create/*"])
    assert said.exit_code == 0, said.output
    lines = said.output.splitlines()
    assert lines[0].startswith("ALIVE   northstar      header-dropped:create/x-request-id  allowed: ")
    assert lines[2].split()[:3] == ["operator", "unchanged", "mutants"]
    assert lines[3].split()[:4] == ["header-dropped", "0", "2", "1"]
    assert lines[-1] == "0 survivors without a reason, or with a known gap"
    strict = CliRunner().invoke(
        command, [*options, "--operator", "header-dropped", "--mutant", "*.404/*", "--least", "1"]
    )
    assert strict.exit_code == 1
    listed = CliRunner().invoke(command, [*options, "--list", "--sample", "5"])
    assert len(listed.output.splitlines()) == 5

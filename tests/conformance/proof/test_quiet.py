"""The quietness matrix: freedoms break no rule, alone and together, and a freedom that does is named."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rejoinder.conformance.proof.clean_servers import clean_servers, drawn_servers
from rejoinder.conformance.proof.matrix import SandboxSetup, observe
from rejoinder.conformance.proof.quiet import command, quiet_matrix
from rejoinder.contract import dialect_names
from rejoinder.model.verdict import Level
from rejoinder.sandbox import FREEDOMS, Freedom
from rejoinder.sandbox import freedoms as catalogue


def loud(subject: SandboxSetup) -> dict[str, str]:
    found = observe(subject)
    assert found.errors == ()
    levels = (Level.MUST, Level.SHOULD)
    return {rule: one.evidence.message for rule, one in found.findings.items() if one.level in levels}


@pytest.mark.slow(3)
@pytest.mark.parametrize("dialect", dialect_names())
@given(data=st.data())
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_combination_of_freedoms_breaks_a_rule(dialect: str, data: st.DataObject) -> None:
    """The whole plan is sent by `tox -e kill`."""
    server = data.draw(clean_servers(dialect))
    # As in a check run, the base form of requests is learned: some endpoints refuse the shortest one.
    assert loud(SandboxSetup("quick", dialect, freedoms=server, learns=True)) == {}


@pytest.mark.parametrize("dialect", dialect_names())
@given(data=st.data())
@settings(max_examples=30)
def test_a_clean_server_has_freedoms_that_allow_each_other(dialect: str, data: st.DataObject) -> None:
    server = data.draw(clean_servers(dialect))
    rows = [FREEDOMS[name] for name in server]
    assert all(row.exists_in(dialect) for row in rows)
    assert all(one.allows(other) for one in rows for other in rows if one is not other)


def test_drawn_servers_depend_on_the_seed_only() -> None:
    first = list(drawn_servers("openai", 5, 1))
    assert first == list(drawn_servers("openai", 5, 1)) != list(drawn_servers("openai", 5, 2))
    assert len(first) == 5


def test_each_freedom_runs_in_every_dialect_that_has_it() -> None:
    rows = list(quiet_matrix("smoke", dialect_names(), ["lines-end-with-crlf"], servers=1))
    alone = [row.dialect for row in rows if row.freedoms == ("lines-end-with-crlf",)]
    assert alone[: len(dialect_names())] == dialect_names()
    assert len(rows) == 2 * len(dialect_names())


def test_a_freedom_that_breaks_a_rule_is_loud(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = Freedom(id="no-blank-lines", title="Wrong.", argument="None.", frame=lambda data, _, __: data.strip())
    monkeypatch.setattr(catalogue, "_load", lambda _: {**FREEDOMS, wrong.id: wrong})
    options = ["--plan", "smoke", "--dialect", "openai", "--freedom", wrong.id, "--workers", "1"]
    printed = CliRunner().invoke(command, options)
    assert printed.exit_code == 1
    assert printed.output.startswith("LOUD    no-blank-lines")
    assert "(MUST)" in printed.output
    assert printed.output.splitlines()[-1].startswith("0 of 1 sandbox silent: 1 freedom in 1 pair")


@pytest.mark.slow(8)
@pytest.mark.parametrize("dialect", dialect_names())
def test_an_endpoint_without_lists_breaks_one_rule(dialect: str) -> None:
    # Whatever can only be sent as a list is not tested then.
    seen = observe(SandboxSetup("full", dialect, faults=("list-input-refused",), learns=True))
    assert {rule for rule, found in seen.findings.items() if found.level is not Level.MAY} == {"HTTP-04"}


def test_the_command_prints_a_line_for_each_sandbox() -> None:
    options = ["--plan", "smoke", "--freedom", "lines-end-*", "--random", "1", "--workers", "1", "--dialect", "openai"]
    printed = CliRunner().invoke(command, options)
    assert printed.exit_code == 0, printed.output
    assert printed.output.splitlines()[0].split()[:3] == ["silent", "lines-end-with-crlf", "openai"]
    assert printed.output.splitlines()[-1].endswith("1 random combination")

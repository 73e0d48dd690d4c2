"""The roles that bind checks to cases: each is asked for by a check and sent by a case."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

import rejoinder.conformance
from rejoinder.conformance.judging.roles import INSTRUCTIONS_ANYWHERE, SLOW_READER, Role, role_of
from rejoinder.conformance.running.case import CaseContext
from rejoinder.conformance.running.cases import CASES
from rejoinder.contract import dialect_names, load_dialect

FOLDER = Path(rejoinder.conformance.__file__).parent
CHECKING = [*(FOLDER / "checks").glob("*.py"), *(FOLDER / "judging").glob("*.py")]


@cache
def planned() -> dict[str, set[str]]:
    """Return the roles of every case of the plan ``full``, in any dialect, by the case's id."""
    found: dict[str, set[str]] = {}
    for dialect in dialect_names():
        for cases in CASES.values():
            for case in cases(CaseContext(load_dialect(dialect), "m"), "full"):
                found.setdefault(case.id, set()).update(planned.role for planned in case.requests)
    return found


def asked() -> set[str]:
    """Return the names of the roles that checks mention."""
    nodes = (node for path in CHECKING for node in ast.walk(ast.parse(path.read_text("utf-8"))))
    return {
        node.attr
        for node in nodes
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Role"
    }


BY_OPERATION = {"COUNT", "WITHOUT_MODEL"}
"""Roles of requests that checks find by their operation."""


def test_every_role_is_asked_for_by_a_check() -> None:
    assert asked() == set(Role.__members__) - BY_OPERATION


PAIRED = {Role.WITH, Role.WITHOUT}
"""The roles of requests that isolate a refusal, which no plan holds."""


@pytest.mark.parametrize("role", [role for role in Role if role not in PAIRED])
def test_every_role_is_sent_by_a_case(role: Role) -> None:
    roles = set().union(*planned().values())
    assert any(sent == role or sent.startswith(f"{role}-") or sent.endswith(f"-{role}") for sent in roles)


def test_checks_ask_for_roles_by_name_only() -> None:
    """A role written out could be misspelt, and its check would then find nothing to judge."""
    literal = [
        f"{path.name}:{node.lineno}"
        for path in CHECKING
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "get"
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "case"
        and any(isinstance(argument, (ast.Constant, ast.JoinedStr)) for argument in node.args)
    ]
    assert literal == []


def test_cases_that_checks_name_are_there() -> None:
    assert planned()[SLOW_READER] >= {Role.SOLO, role_of(Role.STREAM, 1)}
    assert len(planned()[INSTRUCTIONS_ANYWHERE]) == 12


def test_roles_are_joined() -> None:
    assert role_of(Role.SURE, 2) == "sure-2"
    assert role_of("oslo", Role.AGAIN) == "oslo-again"

"""The public interface of rejoinder.conformance: its names, their documentation and types, and what they load."""

from __future__ import annotations

import inspect
import os
import shutil
import subprocess
import sys
import textwrap
import typing
from pathlib import Path

import pytest

import rejoinder
from rejoinder import conformance

# fmt: off
NAMES = [
    "ABSENT", "CaseContext", "CaseView", "ConversationMachine", "Declined", "Event", "Exchange", "ExchangeView",
    "Finding", "Level", "Outcome", "PlannedCase", "Problem", "RequestOptions", "RequestSender", "RequestSpec", "Run",
    "Status", "Subject", "Verdict", "assert_conforms", "at_event", "broken_rules", "check", "conversation_machine",
    "examine", "get", "in_response", "is_integer", "is_set", "judge", "read_run", "select_rules", "use_extensions",
]
# fmt: on


def test_the_exported_names() -> None:
    assert conformance.__all__ == NAMES
    assert dir(conformance) == NAMES
    assert sorted(NAMES) == NAMES
    with pytest.raises(ImportError, match="cannot import name 'juge'"):
        exec("from rejoinder.conformance import juge")


@pytest.mark.parametrize("name", [name for name in NAMES if name != "ABSENT"])
def test_everything_exported_is_documented_and_typed(name: str) -> None:
    value = getattr(conformance, name)
    doc = inspect.getdoc(value)
    assert doc, name
    assert not doc.startswith(f"{name}("), f"{name} has the docstring that dataclasses make"
    if inspect.isfunction(value):
        hints = typing.get_type_hints(value, vars(sys.modules[value.__module__]) | {"Run": conformance.Run})
        assert set(hints) == {*inspect.signature(value).parameters, "return"}
    else:
        for method, function in inspect.getmembers(value, inspect.isfunction):
            if not method.startswith("_") and function.__module__.startswith("rejoinder."):
                assert inspect.getdoc(function), f"{name}.{method}"
                assert "return" in function.__annotations__, f"{name}.{method}"


def loaded_by(code: str) -> set[str]:
    """Return the top packages, and rejoinder's modules, that a program loads."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"], capture_output=True, text=True, check=True
    )
    modules = done.stdout.split()
    return {*(name.partition(".")[0] for name in modules), *(name for name in modules if name.startswith("rejoinder."))}


def test_importing_it_loads_next_to_nothing() -> None:
    assert {name for name in loaded_by("import rejoinder.conformance") if name.startswith("rejoinder.")} == {
        "rejoinder.conformance",
        "rejoinder.lazy",
    }


@pytest.mark.parametrize("name", ["judge", "assert_conforms", "check", "ExchangeView", "read_run"])
def test_judging_loads_neither_generator_nor_client(name: str) -> None:
    loaded = loaded_by(f"from rejoinder.conformance import {name}")
    assert not loaded & {
        "hypothesis",
        "httpx",
        "locust",
        "gevent",
        "rejoinder.strategies",
        "rejoinder.conformance.running",
    }


CLIENT = '''
from collections.abc import Iterator

from rejoinder.conformance import (
    CaseContext, Exchange, ExchangeView, PlannedCase, Problem, RequestSender, RequestSpec, Run, Subject, Verdict,
    assert_conforms, broken_rules, check, examine, judge, read_run,
)


@check("ACME-01", Subject.PLAIN)
def traced(view: ExchangeView) -> Iterator[Problem]:
    """Looks for the header."""
    if not view.exchange.header("x-acme-trace"):
        yield Problem("There is none.")


def cases(context: CaseContext, plan: str) -> Iterator[PlannedCase]:
    yield PlannedCase("acme.x", "Something.", (RequestSpec("plain", context.body(input="Hi")),))


def test_reply(rejoinder_ask: RequestSender) -> None:
    exchange: Exchange = rejoinder_ask({"input": "Hi"})
    assert_conforms(exchange, level="SHOULD")


async def test_async_reply(rejoinder_ask: RequestSender) -> None:
    assert_conforms([await rejoinder_ask.send({"input": "Hi"})], "openai")


def everything(path: str) -> list[Verdict]:
    run: Run = read_run(path)
    rules: list[str] = broken_rules(run.exchanges[0], "northstar")
    return judge(run.exchanges, "northstar", select=",".join(rules)) + examine("http://127.0.0.1").verdicts
'''


@pytest.mark.slow(5)
def test_a_program_of_others_is_checked_strictly(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    site, program = tmp_path / "site", tmp_path / "program"
    shutil.copytree(Path(rejoinder.__file__).parent, site / "rejoinder", ignore=shutil.ignore_patterns("__pycache__"))
    program.mkdir()
    file = program / "client.py"
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--follow-imports=silent",
        "--cache-dir",
        str(tmp_path),
        "client.py",
    ]

    def check() -> str:
        environment = {**os.environ, "MYPYPATH": str(site)}
        return subprocess.run(command, cwd=program, env=environment, capture_output=True, text=True, check=False).stdout

    file.write_text(CLIENT)
    assert check() == "Success: no issues found in 1 source file\n"
    file.write_text(
        textwrap.dedent("""
        from rejoinder.conformance import assert_conforms, juge

        assert_conforms("a text")
    """)
    )
    output = check()
    assert 'has no attribute "juge"' in output
    assert 'Argument 1 to "assert_conforms" has incompatible type' in output

"""A command line that imports a command's module only when that command runs, or its settings must be known."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.hostile.endpoint import HostileEndpoint

from rejoinder.cli import COMMANDS
from rejoinder.sandbox import Sandbox, running
from rejoinder.settings import options_of

Invoke = Callable[..., tuple[int, str, str]]


def loaded_by(*arguments: str) -> set[str]:
    """Return the command modules, and the heavy libraries, that a command line loads."""
    code = (
        "import sys\n"
        "from rejoinder.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as ended: assert not ended.code, ended.code\n"
        "print('', *sys.modules, sep='\\n:')"
    )
    command = [sys.executable, "-W", "error", "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    modules = {line[1:] for line in done.stdout.splitlines() if line.startswith(":")}
    commands = {name for name in COMMANDS if f"rejoinder.cli.{name}" in modules}
    heavy = {"httpx", "hypothesis", "jsonschema", "locust", "gevent", "jinja2", "rejoinder.contract"}
    return commands | modules & heavy


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["-h"]])
def test_help_and_version_load_no_command(arguments: list[str]) -> None:
    assert not loaded_by(*arguments)


def test_a_command_loads_itself_only() -> None:
    assert loaded_by("rules") == {"rules", "rejoinder.contract"}
    assert "jsonschema" not in loaded_by("check", "--help")


@pytest.mark.slow(1)
def test_a_recheck_and_a_report_send_nothing(invoke: Invoke, tmp_path: Path) -> None:
    with running(Sandbox()) as url:
        assert invoke("check", url, "--plan", "smoke", "-q", "--out", "o")[0] == 0
    for command in ("recheck", "report"):
        assert not loaded_by(command, "o") & {"httpx", "hypothesis", "jsonschema", "locust", "gevent"}


def test_a_broken_command_breaks_no_other(invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in COMMANDS:
        if name not in ("rules", "check"):
            monkeypatch.setitem(sys.modules, f"rejoinder.cli.{name}", None)
    (tmp_path / "rejoinder.toml").write_text('dialect = "openai"\n[rules]\nfeatures = true\n[check]\nseed = 1\n')
    code, out, err = invoke("rules")
    assert (code, err) == (0, "")
    assert "streaming" in out
    code, out, _ = invoke("--help")
    assert code == 0
    assert all(name in out for name in COMMANDS)
    code, _, err = invoke("load", "http://127.0.0.1:9")
    assert code == 2
    assert "rejoinder.cli.load" in err


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("conkurrency = 3", ['rejoinder.toml: "conkurrency" is not a setting', 'Did you mean "concurrency"?']),
        ("[load]\nraet = 3", ['rejoinder.toml, [load]: "raet"', 'Did you mean "rate"?']),
        ("[laod]\nrate = 3", ['"laod" is not a setting', 'Did you mean "load"?']),
        ("features = 3", ["features is 3, expected true or false"]),
    ],
)
def test_settings_of_all_commands_are_known_to_each(
    invoke: Invoke, tmp_path: Path, text: str, sentences: list[str]
) -> None:
    (tmp_path / "rejoinder.toml").write_text(text)
    code, _, err = invoke("rules")
    assert code == 2
    for sentence in sentences:
        assert sentence in err


def test_variables_of_all_commands_are_known_to_each(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REJOINDER_LOAD_RATE", "3")
    monkeypatch.setenv("REJOINDER_TOKEN_DELAY", "0")
    assert invoke("rules")[0] == 0
    monkeypatch.setenv("REJOINDER_LOAD_RAET", "3")
    code, _, err = invoke("rules")
    assert code == 2
    assert "REJOINDER_LOAD_RAET is not a rejoinder setting." in err
    assert "Did you mean REJOINDER_LOAD_RATE?" in err


def test_the_table_of_commands_is_true() -> None:
    options = {}
    for name, summary in COMMANDS.items():
        command = importlib.import_module(f"rejoinder.cli.{name}").command
        assert command.name == name
        assert summary.endswith(".")
        assert len(summary) <= 66, "the line would be broken on a terminal of 80 columns"
        options[name] = options_of(command)
    names = {option for known in options.values() for option in known}
    # REJOINDER_LOAD_RATE is either load's option rate, or an option of that name; it cannot be both.
    assert not names & {f"{command}_{option}" for command, known in options.items() for option in known}


def test_a_load_waits_for_its_endpoint_no_longer_than_its_timeout(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rejoinder.cli.load.PREFLIGHT_LEAST", 0.1)
    with HostileEndpoint(lambda connection, request: connection.wait_gone()) as endpoint:
        code, _, errors = invoke("load", endpoint.url, "--timeout", "300ms", "--quiet")
    assert code == 2
    assert "within 0.3 s" in errors

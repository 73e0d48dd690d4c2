"""Files of users are read within limits, whatever they are and hold."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rejoinder.budgets import DEPTH, INPUT_DIGITS
from rejoinder.input_file import parse_json_file, parse_toml, read_bytes, read_text

needs_devices = pytest.mark.skipif(not Path("/dev/zero").exists(), reason="this system has no /dev/zero")


def test_a_file_is_read_to_its_limit_and_no_further(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 1000)
    assert read_bytes(path, 1000) == b"x" * 1000
    with pytest.raises(OSError, match="it is larger than 999 bytes") as caught:
        read_bytes(path, 999)
    assert caught.value.strerror == "it is larger than 999 bytes"


def test_a_folder_and_a_missing_file_have_the_reasons_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        read_bytes(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_bytes(tmp_path / "missing")


@needs_devices
def test_a_device_without_end_is_too_large() -> None:
    with pytest.raises(OSError, match="it is larger than 5,000,000 bytes"):
        read_bytes("/dev/zero", 5_000_000)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_read_to_its_end_and_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_text, args=("a = 1\r\nb = 2\n",))
    writer.start()
    assert read_text(path) == "a = 1\nb = 2\n"
    writer.join()
    monkeypatch.setattr("rejoinder.input_file.INPUT_SECONDS", 0.05)
    with pytest.raises(OSError, match=r"nothing came from it for 0\.05 s"):
        read_bytes(path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a = " + "[" * 50_000 + "]" * 50_000, "nested more than 100 levels deep"),
        ("a = " + "[" * 150 + "]" * 150, "nested more than 100 levels deep"),
        (".".join("a" * 5_000) + " = 1", "nested more than 100 levels deep"),
        ("[" + ".".join("a" * 5_000) + "]", "nested more than 100 levels deep"),
        ("a = " + "{ b = " * 5_000 + "1" + "}" * 5_000, "nested more than 100 levels deep"),
        ("a = 999999999999999999999999999999", "an integer has more than 64 bits"),
        ("a = " + "9" * 5_000, "integer"),
        ("a = ", "Invalid value"),
    ],
)
def test_toml_over_a_limit_is_an_error_with_a_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_toml(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000 + "]" * 100_000, "nested more than 100 levels deep"),
        ('{"a":' * 200 + "1" + "}" * 200, "nested more than 100 levels deep"),
        ("9" * (INPUT_DIGITS + 1), "an integer has more than 300 digits"),
        ("[NaN]", "NaN is not JSON"),
        ("[" + "0," * 4_000_000 + "0]", "more than 4,000,000 values"),
        ("{", "Expecting property name"),
    ],
)
def test_json_over_a_limit_is_an_error_with_a_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_json_file(text)


@given(st.integers(1, 2 * DEPTH))
def test_the_limit_of_nesting_is_the_same_in_both_formats(depth: int) -> None:
    inside = "[" * depth + "]" * depth
    for parse, text in ((parse_toml, f"a = {inside}"), (parse_json_file, f'{{"a": {inside}}}')):
        if depth < DEPTH:
            assert parse(text)
        elif depth > DEPTH:
            with pytest.raises(ValueError, match="nested"):
                parse(text)


COMMANDS = {
    "dialect": ["check", "http://127.0.0.1:9", "--dialect", "{file}.toml"],
    "baseline": ["check", "http://127.0.0.1:9", "--baseline", "{file}"],
    "body": ["check", "http://127.0.0.1:9", "--extra-body", "@{file}"],
    "profile": ["load", "http://127.0.0.1:9", "--profile", "{file}"],
    "trace": ["load", "http://127.0.0.1:9", "--trace", "{file}"],
    "bodies": ["load", "http://127.0.0.1:9", "--bodies", "{file}"],
    "run": ["report", "{file}"],
}


@needs_devices
@pytest.mark.slow(2)
@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_reads_a_device_without_end(command: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.symlink_to("/dev/zero")
    (tmp_path / "file.toml").symlink_to("/dev/zero")
    arguments = [word.format(file=file) for word in COMMANDS[command]]
    limited = "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30)); import runpy, sys; "
    limited += "sys.argv = ['rejoinder', *sys.argv[1:]]; runpy.run_module('rejoinder', run_name='__main__')"
    ended = subprocess.run(
        [sys.executable, "-c", limited, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode not in (0, 1)
    assert "Traceback" not in ended.stderr
    assert str(file) in ended.stdout + ended.stderr


def test_settings_that_are_nested_deeply_are_an_error_with_the_file(tmp_path: Path) -> None:
    (tmp_path / "rejoinder.toml").write_text("a = " + "[" * 50_000)
    command = [sys.executable, "-m", "rejoinder", "check", "http://127.0.0.1:9"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert "Traceback" not in ended.stderr
    assert "rejoinder.toml is not valid TOML: it is nested more than 100 levels deep." in " ".join(ended.stderr.split())

"""What macOS lacks is not needed: checks and loads run in processes from which it was taken away."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from rejoinder.model.runfile import read_run
from rejoinder.sandbox import Sandbox, running

LINUX_ONLY: Final = {
    "os": ("sched_", "SCHED_BATCH", "SCHED_IDLE", "SCHED_RESET_ON_FORK", "pipe2", "posix_fadvise", "posix_fallocate",
           "eventfd", "memfd_create", "pidfd_open", "getrandom", "copy_file_range", "splice", "process_cpu_count",
           "getresuid", "setresuid", "listxattr", "getxattr", "setxattr"),
    "fcntl": ("F_SETPIPE_SZ", "F_GETPIPE_SZ"),
    "select": ("epoll", "EPOLL"),
    "resource": ("prlimit",),
    "signal": ("sigtimedwait", "sigwaitinfo", "SIGRTMIN", "SIGRTMAX", "SIGPWR"),
}  # fmt: skip
"""Names, or their beginnings, that only Linux has, by module. ``sched_yield`` and priorities are elsewhere too."""
SITE: Final = f"""
import importlib
for module, beginnings in {LINUX_ONLY!r}.items():
    module = importlib.import_module(module)
    for name in [name for name in vars(module) if name.startswith(beginnings)]:
        if name not in ("sched_yield", "sched_get_priority_min", "sched_get_priority_max"):
            delattr(module, name)
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Return variables with which every Python process starts without these names."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(SITE)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("REJOINDER_", "PYTHON"))}
    return {**kept, "PYTHONPATH": str(tmp_path / "site"), "PYTHONWARNINGS": "error"}


def python(environment: dict[str, str], folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=180)


def test_the_names_are_taken_away(environment: dict[str, str], tmp_path: Path) -> None:
    code = "import os, select, fcntl; print(*(hasattr(*at) for at in ((os, 'sched_setscheduler'), (select, 'epoll'))))"
    assert python(environment, tmp_path, "-c", code).stdout.split() == ["False", "False"]


@pytest.mark.slow(2)
@pytest.mark.parametrize(
    "words", [("check", "--plan", "smoke"), ("load", "--requests", "20", "--concurrency", "2", "--slo", "error<1%")]
)
def test_commands_need_nothing_that_only_linux_has(
    words: tuple[str, ...], environment: dict[str, str], tmp_path: Path
) -> None:
    with running(Sandbox(token_delay=0.0)) as url:
        done = python(environment, tmp_path, "-m", "rejoinder", words[0], url, *words[1:], "--out", "o")
    run = read_run(tmp_path / "o")
    assert done.returncode in ((0, 4) if words[0] == "load" else (0,)), done.stderr
    assert "Warning" not in done.stderr
    if words[0] == "load":
        assert run.load
        assert run.load.outcomes == {"ok": 20}
        # No analysis worker was lost: it runs without a scheduling class of its own.
        assert not [reason for reason in run.load.self_check.reasons if "died" in reason]

"""The README shows what the commands print."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rejoinder.sandbox import Sandbox, running

README = Path(__file__).parents[2] / "README.md"


@pytest.mark.slow(20)
def test_the_example_output_is_what_a_check_prints(tmp_path: Path) -> None:
    text = README.read_text(encoding="utf-8")
    (intro, block) = re.findall(r"(?ms)^A check of the sandbox with the faults (.*?):\n\n((?:    [^\n]*\n)+)", text)[0]
    faults = re.findall(r"`([\w-]+)`", intro)
    with running(Sandbox(faults=faults)) as url:
        command = [str(Path(sys.executable).parent / "rejoinder"), "check", url, "--quiet", "--out", "out"]
        env = {**os.environ, "COLUMNS": "110"}
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    printed = [line.strip() for line in done.stdout.splitlines()]
    shown = [line.strip() for line in block.splitlines() if line.strip() != "..."]
    assert len(shown) >= 8
    assert [line for line in shown if line not in printed] == []
    assert done.returncode == 1

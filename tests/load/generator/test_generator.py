"""What the load generator sends, and that it sends nothing after the end of a run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

_STALLED = Path(__file__).with_name("stalled_analysis.py")


@pytest.mark.parametrize("loop", ["closed", "open"])
@pytest.mark.slow(2)
def test_nothing_is_sent_after_the_end_by_what_waited_for_the_analysis(loop: str, timed_server: Any) -> None:
    done = subprocess.run(
        [sys.executable, str(_STALLED), str(timed_server.port), loop], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    truth = timed_server.truth()
    # Only what came before the first recording was sent; everything else waited until the end, and then left.
    assert found["started"] == found["before"] == found["submitted"] == truth["requests"]
    assert found["throttled"]
    if loop == "open":
        assert 1 <= found["started"] < found["due"] == 20
    else:
        assert 1 <= found["started"] <= 8

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.internal.conjecture import choice

from rejoinder.strategies import request_bodies, sample

_DRAWN = """
from hypothesis import settings, strategies as st
from rejoinder.strategies import sample
settings.register_profile("own", max_examples=3, derandomize=True, backend="hypothesis-urandom")
if {odd}:
    import odd_constants
    settings.load_profile("own")
print(ascii(sample(st.text() | st.integers() | st.floats(), 400, seed=5)))
"""


def test_samples_are_repeatable() -> None:
    first = sample(request_bodies(), 30, seed=7)
    assert len(first) == 30
    assert sample(request_bodies(), 30, seed=7) == first
    assert sample(request_bodies(), 30, seed=8) != first
    assert sample(st.booleans(), 30) in ([False, True], [True, False])
    assert sample(request_bodies(), 0) == []


def test_samples_are_as_many_as_there_are() -> None:
    for seed in range(20):
        assert len(set(sample(st.integers(0, 9), 9, seed=seed))) == 9
        assert sorted(sample(st.integers(0, 2), 9, seed=seed)) == [0, 1, 2]


@pytest.mark.slow(4)
def test_samples_do_not_depend_on_what_is_loaded(tmp_path: Path) -> None:
    # Hypothesis draws about one value in 20 from constants of local modules where it may.
    constants = [f"odd constant {number}" for number in range(300)] + [10**9 + number for number in range(300)]
    (tmp_path / "odd_constants.py").write_text(f"CONSTANTS = {constants!r}\n", "utf-8")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    printed = [
        subprocess.run(
            [sys.executable, "-c", _DRAWN.format(odd=odd)],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            check=True,
            timeout=120,
        ).stdout
        for odd in (False, True)
    ]
    assert printed[0] == printed[1]
    assert ascii(sample(st.text() | st.integers() | st.floats(), 400, seed=5)) == printed[0].decode().strip()


def test_samples_without_the_internals_of_hypothesis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(choice, "choice_constraints_key")
    assert len(sample(st.text(), 30, seed=7)) == 30

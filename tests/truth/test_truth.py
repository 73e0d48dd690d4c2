"""Loads against the server of known truth: a sample, or all with ``TRUTH=all``.

``TRUTH_SEED`` draws another sample. ``tox -e truth`` runs everything.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from tests.truth.behaviours import BEHAVIOURS
from tests.truth.expect import Case
from tests.truth.trial import PENDING, Trial, trial

ALL: Final = os.environ.get("TRUTH") == "all"
SAMPLE: Final = 32.0
"""Seconds of load that a sample takes."""
START: Final = 2.0
"""Seconds that a command takes beside its load."""
LONG: Final = 60.0
"""Seconds from which on a case is tried twice at most."""
CASES: Final[dict[str, tuple[str, Case]]] = {
    f"{name}/{case.name}": (name, case) for name, behaviour in BEHAVIOURS.items() for case in behaviour.cases
}


def chosen() -> Iterator[str]:
    """Yield the cases that this run is about: all, or a sample from different groups of those with nothing pending."""
    if ALL:
        yield from sorted(CASES)
        return
    dice = random.Random(os.environ.get("TRUTH_SEED", "0"))
    names = sorted(CASES)
    dice.shuffle(names)
    spent, groups = 0.0, set()
    for name in names:
        behaviour, case = CASES[name]
        group = BEHAVIOURS[behaviour].group
        if name not in PENDING and group not in groups and spent + case.seconds + START <= SAMPLE:
            spent += case.seconds + START
            groups.add(group)
            yield name


def judged(name: str, result: Trial) -> list[str]:
    """Return what is wrong with a trial, those aside that are known to be pending."""
    pending = PENDING.get(name, {})
    found = [f"{one}: {text}" for one, text in result.problems.items() if one not in pending]
    passed = [one for one in pending if one not in result.problems]
    return found + [f"{one}: it holds now, so take it out of pending.toml" for one in passed]


@pytest.mark.may_skip
@pytest.mark.slow(6)
@pytest.mark.parametrize("name", list(chosen()))
def test_a_load_reports_what_is_true(name: str, tmp_path: Path) -> None:
    behaviour, case = CASES[name]
    tries = 4 if ALL and case.seconds < LONG else 2
    for number in range(tries):
        folder = tmp_path / str(number)
        folder.mkdir()
        result = trial(BEHAVIOURS[behaviour], case, folder)
        exact = {one: text for one, text in result.problems.items() if one not in result.timed}
        wrong = judged(name, result)
        if not wrong or not result.noise:
            break
        if any(one not in PENDING.get(name, {}) for one in exact):
            break
    else:
        if not ALL:
            pytest.skip(f"The machine was too busy in {tries} tries ({result.noise}): {wrong}")
        wrong.append(f"The machine was too busy in {tries} tries ({result.noise}).")
    assert wrong == []


def test_every_case_has_a_name_and_every_pending_expectation_a_case() -> None:
    assert len(CASES) == sum(len(behaviour.cases) for behaviour in BEHAVIOURS.values())
    assert set(PENDING) <= set(CASES)

"""Commands meet the hostile endpoint: a sample of one behaviour in each group, or all with ``HOSTILE=all``.

``HOSTILE_SEED`` draws another sample. ``tox -e hostile`` runs everything.
"""

from __future__ import annotations

import os
import random
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import tests.hostile.behaviours  # noqa: F401 - registers them
from tests.hostile.endpoint import BEHAVIOURS
from tests.hostile.trial import EVERY_MODE, MODES, Mode, replayed, told, told_mode, trial

EXPECTED: Final[dict[str, Any]] = tomllib.loads((Path(__file__).parent / "expected.toml").read_text("utf-8"))


def chosen() -> Iterator[tuple[str, Mode]]:
    """Yield the behaviours and modes that this run is about."""
    if os.environ.get("HOSTILE") == "all":
        yield from ((name, mode) for name in sorted(BEHAVIOURS) for mode in MODES)
        return
    dice = random.Random(os.environ.get("HOSTILE_SEED", "0"))
    for group in sorted({behaviour.group for behaviour in BEHAVIOURS.values()}):
        names = sorted(name for name, behaviour in BEHAVIOURS.items() if behaviour.group == group)
        yield dice.choice(names), "load" if group == "metrics" else dice.choice(list(MODES))


@pytest.mark.slow(6)
@pytest.mark.parametrize(("name", "mode"), list(chosen()))
def test_a_command_keeps_its_promises(name: str, mode: Mode, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    met = trial(BEHAVIOURS[name], mode, folder)
    assert met.problems == ()
    assert met.ended is not None
    if mode in EXPECTED[name]:
        assert met.keeps(EXPECTED[name][mode]), met.account
    if mode == "check-late":
        again = tmp_path / "again"
        again.mkdir()
        replay = replayed(BEHAVIOURS[name], folder, again)
        assert replay.problems == ()
        if "replay" in EXPECTED[name]:
            assert replay.keeps(EXPECTED[name]["replay"]), replay.account


def test_every_behaviour_has_an_expectation() -> None:
    assert set(EXPECTED) == set(BEHAVIOURS)
    for name, behaviour in BEHAVIOURS.items():
        assert {told_mode(behaviour)} <= set(EXPECTED[name]) <= {mode for mode in EVERY_MODE if told(behaviour, mode)}

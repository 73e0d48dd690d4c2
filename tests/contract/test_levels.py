"""Every level can be cited: in front of the author of a server, with a document of the dialect in hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import pytest

from rejoinder.contract import Rule, client_of, dialect_names, load_rules, speaks_for
from rejoinder.model.verdict import Level

RULES: Final = load_rules()


def _uncited(rule: Rule) -> list[str]:
    """Return what the levels of a rule lack, one line for each dialect."""
    missing: list[str] = []
    if rule.family == "CAP":
        return missing  # what a run requires is the choice of whoever starts it
    every = frozenset(dialect_names())
    for dialect in dialect_names():
        level = rule.level_in(dialect)
        own = any(dialect in speaks_for(source) for source in rule.sources)
        broken = any(dialect in client_of(reading.source) for reading in rule.breaks_client)
        if level is Level.MUST and not own and not broken:
            missing.append(f"{rule.id} is MUST in {dialect}, but no source speaks for {dialect} and no client breaks.")
        # A general standard speaks for every dialect, so it does not show that the dialect's own documents were read.
        read = any(dialect in (found := speaks_for(place.source)) and found != every for place in rule.searched)
        if level in (Level.SHOULD, Level.MAY) and not read:
            missing.append(f"{rule.id} is {level} in {dialect}, but searched names no document of {dialect}.")
    return missing


def _ids(numbers: Mapping[str, Sequence[int]]) -> frozenset[str]:
    return frozenset(f"{family}-{number:02}" for family, found in numbers.items() for number in found)


TO_DO_OF_EVENTS: Final = _ids({})
"""Rules of HTTP, SSE, EVT, LIF, ITM, PRT, ACC and ERR that still lack a citation. The list only shrinks."""


@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
def test_every_level_is_cited(rule: Rule) -> None:
    missing = _uncited(rule)
    if rule.id in TO_DO_OF_EVENTS:
        assert missing, f"{rule.id} is done: remove it from the list."
    else:
        assert not missing, "\n".join(missing)


def test_only_rules_are_to_do() -> None:
    assert set(RULES) >= TO_DO_OF_EVENTS

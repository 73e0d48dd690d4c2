"""The rule catalogue is complete data."""

from __future__ import annotations

import re

import pytest

from rejoinder.contract import FAMILIES, dialect_names, load_rules

RULES = load_rules()


@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
def test_rows(rule):
    assert re.fullmatch(r"[A-Z]{3,4}-\d\d", rule.id)
    assert rule.family in FAMILIES
    assert rule.title
    assert not rule.title.endswith(".")
    assert rule.statement.endswith(".")
    assert rule.source
    assert set(rule.levels) <= set(dialect_names())
    assert all(level is not rule.level for level in rule.levels.values())
    assert rule.level_in("nowhere") is rule.level


def test_every_family_has_rules_in_order():
    ids = list(RULES)
    assert {rule.family for rule in RULES.values()} == set(FAMILIES)
    for family in FAMILIES:
        numbers = [int(id.partition("-")[2]) for id in ids if id.startswith(f"{family}-")]
        assert numbers == sorted(set(numbers))


def test_titles_tell_rules_apart():
    titles = [rule.title for rule in RULES.values()]
    assert len(set(titles)) == len(titles)

"""Every relation has pairs in the plan full of every dialect, and the command prints how many."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from rejoinder.conformance.proof.relations import command, count_pairs
from rejoinder.contract import dialect_names, load_relations, load_rules


@pytest.mark.slow(3)
@pytest.mark.parametrize("dialect", dialect_names())
def test_every_relation_has_pairs(dialect: str) -> None:
    counts = count_pairs("full", dialect)
    assert {name: min(found.values()) > 0 for name, found in counts.items()} == dict.fromkeys(load_relations(), True)
    assert sum(sum(found.values()) for found in counts.values()) > 200


def test_the_command_prints_a_row_for_each_comparison() -> None:
    result = CliRunner().invoke(command, ["--plan", "smoke", "--dialect", "northstar", "--workers", "1"])
    assert result.exit_code == 0
    compared = [(name, aspect.value) for name, relation in load_relations().items() for aspect in relation.rules]
    assert [tuple(line.split()[:2]) for line in result.output.splitlines()[1:]] == compared


def test_relations_name_known_rules() -> None:
    assert {rule for relation in load_relations().values() for rule in relation.rules.values()} <= load_rules().keys()

"""Every parameter has rules that show its effect, or says why a client cannot see it."""

from __future__ import annotations

import pytest

from rejoinder.contract import Parameter, dialect_names, load_dialect, load_parameters, load_rules
from rejoinder.model.verdict import Level

PARAMETERS = load_parameters()


@pytest.mark.parametrize("dialect", dialect_names())
def test_no_parameter_of_a_dialect_is_missing(dialect: str) -> None:
    assert load_dialect(dialect).parameters <= set(PARAMETERS)


def test_no_parameter_is_unknown() -> None:
    known = set().union(*(load_dialect(dialect).parameters for dialect in dialect_names()))
    assert {name.partition(".")[0] for name in PARAMETERS} == known


@pytest.mark.parametrize("known", PARAMETERS.values(), ids=list(PARAMETERS))
def test_an_effect_is_shown_or_there_is_a_reason(known: Parameter) -> None:
    assert bool(known.shown) is not bool(known.unseen)
    assert (known.shown or known.unseen).endswith(".")
    assert known.rules or known.unseen
    assert set(known.rules) <= set(load_rules())


def test_a_rule_of_each_dialect_shows_the_effect() -> None:
    lacking = {
        (dialect, name)
        for dialect in dialect_names()
        for name, known in PARAMETERS.items()
        if known.shown and name.partition(".")[0] in load_dialect(dialect).parameters
        if all(load_rules()[rule].level_in(dialect) is Level.OFF for rule in known.rules)
    }
    # northstar has this parameter, and no stop strings.
    assert lacking == {("northstar", "include_stop_str_in_output")}

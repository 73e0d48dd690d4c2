"""What faults do to official clients: the generated file, and the effects of rules that it proves."""

from __future__ import annotations

import pytest

from rejoinder.contract import Rule, harms_of, load_rules, proven_faults
from rejoinder.model.effect import Effect
from rejoinder.sandbox import load_faults

RULES = load_rules()

NOT_SHOWN = {
    *(f"REQ-0{number}" for number in range(1, 10)),
    *(f"TOL-{number:02}" for number in (4, 5, 6, 7, 11, 12, 13, 14, 15, 16, 18, 20, 21, 22)),
    *("BGR-03", "BGR-08", "BGR-11", "BGR-13", "BGR-14", "CAP-01", "ERR-09", "HTTP-15", "ACC-17", "WSP-01"),
    *("STA-13", "STA-25", "STA-29", "STA-33", "USG-14", "PAR-13", "PAR-21", "LIM-03"),
}
"""Rules whose failure refuses a valid request, leaves a client waiting or breaks its output format, where no client of
the proof sends such a request."""


def test_every_harm_is_of_a_known_fault_and_rule() -> None:
    for rule in RULES:
        for harm in harms_of(rule):
            assert rule in load_faults()[harm.fault].breaks
            assert harm.effect.startswith(("raises ", "waits forever", "loses ", "gets wrong "))
            assert harm.client.rpartition(" ")[2][0].isdigit()


@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
def test_a_rule_that_breaks_clients_is_proven(rule: Rule) -> None:
    if rule.effect is Effect.CLIENT_BREAKS and rule.id not in NOT_SHOWN:
        assert any(harm.breaks for harm in harms_of(rule.id)), rule.title


@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
def test_a_rule_that_breaks_clients_foremost_says_so(rule: Rule) -> None:
    foremost = {fault for fault in proven_faults(rule.id) if load_faults()[fault].breaks[0] == rule.id}
    if any(harm.breaks for harm in harms_of(rule.id) if harm.fault in foremost):
        assert rule.effect is Effect.CLIENT_BREAKS, rule.title

"""Which broken rules void a response under load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rejoinder.contract import dialect_names, load_dialect, load_rules
from rejoinder.errors import BaselineError, UsageError
from rejoinder.load.objectives.answer_policy import AnswerPolicy, BrokenRules, read_policy
from rejoinder.model.verdict import Level, Problem, fingerprint

Broken = Mapping[str, Sequence[Problem]]

RULES = load_rules()
TODAY = date(2026, 11, 27)


def problem(pointer: str = "", kind: str = "", event_type: str = "") -> Problem:
    return Problem("Something is wrong.", pointer=pointer, kind=kind, event_type=event_type)


def known_file(folder: Path, *rows: str) -> str:
    path = folder / "known.toml"
    tables = [f'[[known]]\n{row}\ncase = "content.*"\nreason = "a known one"\n' for row in rows]
    path.write_text("\n".join(tables), "utf-8")
    return str(path)


broken_rules = st.dictionaries(
    st.sampled_from(sorted(RULES)),
    st.lists(
        st.builds(
            problem,
            st.sampled_from(
                ["", "/delta", "/output_index", "/response/output", "/output/0/id", "/output/0/content/0/text"]
            ),
            st.sampled_from(["", "type", "missing"]),
            st.sampled_from(["", "response.completed"]),
        ),
        min_size=1,
        max_size=3,
    ),
    max_size=6,
)


@given(broken_rules, st.sampled_from(dialect_names()), st.booleans(), st.sampled_from(["*", "ACC-*,SSE-*", "LIF-05"]))
def test_a_policy_divides_the_broken_rules(broken: Broken, name: str, strict: bool, select: str) -> None:
    dialect = load_dialect(name)
    found = read_policy(name, strict=strict, select=select).weigh(broken)
    assert found.rules == [rule for rule in broken if rule in read_policy(name, select=select).watched]
    assert all(dialect.level_of(RULES[rule]) is Level.MUST for rule in found.rules)
    assert set(found.voiding) <= set(found.rules)
    assert found.known == []
    if strict:
        assert found.voiding == found.rules
    else:
        assert all(RULES[rule].effect.urgent for rule in found.voiding)


@given(broken_rules)
def test_strict_and_more_problems_never_void_less(broken: Broken) -> None:
    lenient, strict = read_policy("northstar"), read_policy("northstar", strict=True)
    assert set(lenient.weigh(broken).voiding) <= set(strict.weigh(broken).voiding)
    for rule in broken:
        fewer = {name: found for name, found in broken.items() if name != rule}
        assert set(lenient.weigh(fewer).voiding) <= set(lenient.weigh(broken).voiding)


@given(broken_rules)
def test_what_is_known_never_voids(broken: Broken) -> None:
    marks = {rule: frozenset(fingerprint(rule, one) for one in found) for rule, found in broken.items()}
    watched = read_policy("northstar").watched
    found = AnswerPolicy(watched, True, marks).weigh(broken)
    assert (found.voiding, found.known) == ([], found.rules)
    assert AnswerPolicy(watched, True, dict.fromkeys(broken, frozenset([""]))).weigh(broken) == found


@pytest.mark.parametrize(
    "rule",
    [
        "ACC-01",
        "ACC-04",
        "ACC-05",
        "ACC-07",
        "ACC-11",
        "ITM-04",
        "LIF-05",
        "LIF-06",
        "PRT-08",
        "SSE-01",
        "SSE-02",
        "EVT-01",
    ],
)
def test_lost_content_voids(rule: str) -> None:
    assert read_policy("northstar").weigh({rule: [problem()]}).voiding == [rule]


@pytest.mark.parametrize(
    ("rule", "pointer"),
    [
        ("EVT-10", "/delta"), ("EVT-10", "/item"), ("ITM-05", "/output/0/content/0/text"), ("ITM-16", "/output/0/type"),
        ("ACC-12", "/output/1/arguments"), ("ACC-12", "/output/1"), ("RSP-05", "/response/output/0/content/0/text"),
    ],
)  # fmt: skip
def test_a_problem_at_content_voids(rule: str, pointer: str) -> None:
    assert read_policy("northstar").weigh({rule: [problem(pointer)]}).voiding == [rule]


@pytest.mark.parametrize(
    ("rule", "pointer"),
    [
        ("EVT-02", "/sequence_number"), ("EVT-10", "/output_index"), ("EVT-10", "/item_id"), ("PRT-01", ""),
        ("RSP-05", "/response/created_at"), ("RSP-05", "/response/output"), ("ITM-05", "/response/output/0/id"),
        ("ACC-12", "/response/output/0/id"), ("ITM-16", "/response/output/0/status"), ("PRT-04", ""), ("ITM-02", ""),
        ("ECH-04", "/response/parallel_tool_calls"), ("RSP-08", ""), ("USG-07", ""), ("LIF-10", "/response/created_at"),
    ],
)  # fmt: skip
def test_deviations_of_real_servers_do_not_void(rule: str, pointer: str) -> None:
    found = read_policy("northstar").weigh({rule: [problem(pointer)]})
    assert (found.rules, found.voiding) == ([rule], [])


def test_known_failures_are_matched_by_rule_and_fingerprint(tmp_path: Path) -> None:
    one, other = problem("/delta"), problem("/item")
    file = known_file(tmp_path, f'rule = "EVT-10"\nfingerprint = "{fingerprint("EVT-10", one)}"', 'rule = "LIF-05"')
    policy = read_policy("northstar", known=file, today=TODAY)
    broken = {"EVT-10": [one], "LIF-05": [other]}
    assert policy.weigh(broken) == (["EVT-10", "LIF-05"], [], ["EVT-10", "LIF-05"], broken)
    # What is not known is the evidence.
    assert policy.weigh({"EVT-10": [one, other]}) == (["EVT-10"], ["EVT-10"], [], {"EVT-10": [other]})


def test_an_expired_entry_does_not_apply(tmp_path: Path) -> None:
    file = known_file(tmp_path, 'rule = "LIF-05"\nexpires = 2026-11-26', 'rule = "LIF-06"\nexpires = 2026-11-27')
    policy = read_policy("northstar", known=file, today=TODAY)
    assert policy.weigh({"LIF-05": [problem()], "LIF-06": [problem()]}).voiding == ["LIF-05"]


@pytest.mark.parametrize(
    ("select", "message", "hint"),
    [
        ("ECH-4", '--select: "ECH-4" matches no rule.', "Did you mean ECH-04?"),
        ("SSE-*,NOPE-*", '--select: "NOPE-*" matches no rule.', "`rejoinder rules` lists the rules."),
        (
            "SSE-05",
            '--select "SSE-05" matches no MUST rule of the dialect northstar.',
            "A load checks MUST rules only.",
        ),
        (
            "MEM-*",
            '--select "MEM-*" matches no rule that a load can check.',
            "A load checks rules that a single response can break.",
        ),
        (" , ", '--select " , " matches no MUST rule of the dialect northstar.', "A load checks MUST rules only."),
    ],
)
def test_a_selection_without_rules_is_refused(select: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_policy("northstar", select=select)
    assert caught.value.message == message
    assert (caught.value.hint or "").startswith(hint)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BaselineError, match="does not exist"):
        read_policy("northstar", known=str(tmp_path / "none.toml"))
    with pytest.raises(BaselineError, match="EVT-99"):
        read_policy("northstar", known=known_file(tmp_path, 'rule = "EVT-99"'))


def test_two_responses_to_one_request_are_one() -> None:
    first, last = BrokenRules(["A-1", "B-1"], ["A-1"], ["B-1"]), BrokenRules(["B-1", "C-1"], [], ["C-1"])
    assert first.joined(last) == BrokenRules(["A-1", "B-1", "C-1"], ["A-1"], ["C-1"])
    assert first.joined(BrokenRules()) == first

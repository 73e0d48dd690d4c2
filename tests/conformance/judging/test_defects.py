"""Which findings are one defect, and which follow from another: soundness over random runs and over faults."""

from __future__ import annotations

import json
from collections.abc import Sequence
from graphlib import TopologicalSorter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from rejoinder.conformance.judgement import judge, merge
from rejoinder.conformance.judging.defects import Occurrence, count_defects, find_causes
from rejoinder.conformance.running.in_process import ManualClock, run_in_process
from rejoinder.conformance.running.plan import build_plan
from rejoinder.contract import Follows, Rule, Within, load_dialect, load_rules
from rejoinder.model.exchange import Chunk, Exchange, Outcome, Request
from rejoinder.model.verdict import DefectKey, Finding, Known, Level, Problem, Status, Verdict, defect_id
from rejoinder.sandbox import Sandbox
from rejoinder.wire.target import Target

Places = list[list[Occurrence]]


def rule(name: str, *follows: Follows) -> Rule:
    return Rule(name, name, "S.", Level.MUST, {}, (), argument="a", follows=follows)


def verdict(name: str, places: Places, known: Sequence[bool] = (), judged: int | None = None) -> Verdict:
    findings = []
    for number, found in enumerate(places):
        problem = Problem("m", pointer=found[0].pointer, kind=f"k{number}")
        expected = Known("r") if number < len(known) and known[number] else None
        finding = Finding(name, Level.MUST, problem, count=len(found), known=expected)
        finding.defect = defect_id(name, problem)
        findings.append(finding)
    failed = len({one.exchange for found in places for one in found})
    return Verdict(name, Level.MUST, Status.FAIL, failed if judged is None else judged, failed, findings=findings)


def occurring(*pairs: tuple[Verdict, Places]) -> dict[int, list[Occurrence]]:
    return {id(finding): found for one, places in pairs for finding, found in zip(one.findings, places, strict=True)}


occurrences = st.builds(
    Occurrence,
    exchange=st.sampled_from("xyz"),
    case=st.sampled_from("ab"),
    item=st.none() | st.integers(0, 2),
    event=st.none() | st.integers(0, 4),
    pointer=st.sampled_from(["", "/output", "/output/0", "/output/0/id", "/usage"]),
    words=st.sampled_from(["", "5xx 500 no images", "5xx 500 no tools"]),
    nulls=st.frozensets(st.sampled_from(["/user", "/tools/*/description"])),
)
places = st.lists(st.lists(occurrences, min_size=1, max_size=4), min_size=1, max_size=3)


def meets(one: Occurrence, other: Occurrence, within: Within) -> bool:
    """Return whether two occurrences meet, written apart from the code."""
    if other.more and one.exchange == other.exchange:
        return True
    if within is Within.CASE:
        return one.case == other.case
    if within is Within.WORDS:
        return bool(one.words) and one.words == other.words
    if within is Within.NULL:
        return bool(one.nulls & other.nulls)
    if one.exchange != other.exchange:
        return False
    if within is Within.ITEM:
        return one.item is not None and one.item == other.item
    if within is Within.EVENT:
        return one.event is not None and other.event is not None and abs(one.event - other.event) <= 1
    if within is Within.PLACE:
        inner, outer = f"{one.pointer}/", f"{other.pointer}/"
        return bool(one.pointer and other.pointer) and (inner.startswith(outer) or outer.startswith(inner))
    return True


@pytest.mark.slow(4)
@given(
    causes=places,
    effects=places,
    within=st.sampled_from([place for place in Within if place is not Within.RUN]),
    known=st.lists(st.booleans(), max_size=3),
)
def test_a_finding_follows_if_one_defect_covers_all_of_it(
    causes: Places, effects: Places, within: Within, known: list[bool]
) -> None:
    cause, effect = verdict("A-01", causes, known), verdict("B-01", effects, known[::-1])
    rules = {"B-01": rule("B-01", Follows("A-01", within)), "A-01": rule("A-01")}
    find_causes([cause, effect], rules, occurring((cause, causes), (effect, effects)))
    assert not any(finding.cause for finding in cause.findings)
    for finding, found in zip(effect.findings, effects, strict=True):
        covering = {
            other.defect
            for other, theirs in zip(cause.findings, causes, strict=True)
            if (other.known is None) == (finding.known is None)
            and all(any(meets(one, two, within) for two in theirs) for one in found)
        }
        assert finding.cause in covering if covering else not finding.cause
        assert (
            finding.known is None
            or not finding.cause
            or finding.cause in {other.defect for other in cause.findings if other.known}
        )


@pytest.mark.slow(4)
@given(causes=places, effects=places, within=st.sampled_from(list(Within)))
def test_one_occurrence_elsewhere_makes_a_defect_of_its_own(causes: Places, effects: Places, within: Within) -> None:
    stray = Occurrence("elsewhere", "another case", 9, 99, "/another/place")
    effects = [[*found, stray] for found in effects]
    cause, effect = verdict("A-01", causes, judged=99), verdict("B-01", effects)
    rules = {"A-01": rule("A-01"), "B-01": rule("B-01", Follows("A-01", within))}
    find_causes([cause, effect], rules, occurring((cause, causes), (effect, effects)))
    assert not any(finding.cause for finding in effect.findings)


@pytest.mark.parametrize(
    ("judged", "also", "follows"),
    [((3, 3, 3), 3, True), ((4, 3, 3), 3, False), ((3, 4, 3), 3, False), ((3, 3, 4), 3, False), ((3, 3, 3), 0, False)],
)
def test_within_a_run_all_of_them_fail_in_every_test(judged: tuple[int, int, int], also: int, follows: bool) -> None:
    found = [[Occurrence(name, name)] for name in "xyz"]
    cause, beside, effect = (
        verdict(name, found, judged=number) for name, number in zip(("A-01", "C-01", "B-01"), judged, strict=True)
    )
    rules = {name: rule(name) for name in ("A-01", "C-01")}
    rules["B-01"] = rule("B-01", Follows("A-01", Within.RUN, also=("C-01",)))
    verdicts = [cause, beside, effect] if also else [cause, effect]
    find_causes(verdicts, rules, occurring((cause, found), (beside, found), (effect, found)))
    assert [bool(finding.cause) for finding in effect.findings] == [follows] * 3


def test_patterns_limit_what_follows_from_what() -> None:
    at = [[Occurrence("x", "a", pointer="/output")], [Occurrence("x", "a", pointer="/usage")]]
    cause, effect = verdict("A-01", at), verdict("B-01", at)
    limited = Follows("A-01", pointer="/usage", cause_kind="k0")
    find_causes(
        [cause, effect], {"A-01": rule("A-01"), "B-01": rule("B-01", limited)}, occurring((cause, at), (effect, at))
    )
    assert [finding.cause for finding in effect.findings] == ["", cause.findings[0].defect]


def test_the_cause_is_the_first_one_and_may_be_in_the_same_rule() -> None:
    at = [[Occurrence("x", "a")], [Occurrence("x", "a")]]
    first, second, third = verdict("A-01", at[:1]), verdict("B-01", at), verdict("C-01", at[:1])
    rules = {
        "C-01": rule("C-01", Follows("B-01")),
        "B-01": rule("B-01", Follows("B-01", kind="k1", cause_kind="k0"), Follows("A-01", kind="k0")),
        "A-01": rule("A-01"),
    }
    spots = occurring((first, at[:1]), (second, at), (third, at[:1]))
    find_causes([first, second, third], rules, spots)
    root = first.findings[0].defect
    assert [finding.cause for finding in (*second.findings, *third.findings)] == [root] * 3
    assert count_defects(first, spots) == {DefectKey(root, "", False): 1}


def test_causes_and_counts_of_two_lots_are_merged() -> None:
    at = [[Occurrence("x", "a")]]
    before, after = verdict("B-01", at), verdict("B-01", at)
    before.findings[0].cause = "123456789abc"
    before.defects, after.defects = ({one.findings[0].group: 2} for one in (before, after))
    [both] = merge([before], [after])
    assert both.findings[0].cause == ""
    assert both.defects == {both.findings[0].group: 4}
    after.findings[0].cause = before.findings[0].cause = "123456789abc"
    assert merge([before], [after])[0].findings[0].cause == "123456789abc"


@given(st.text(max_size=9), st.sampled_from(["/output/0/id", "/output/17/id", "/response/output/3/id"]), st.text())
def test_the_id_of_a_defect_does_not_depend_on_events_and_indexes(kind: str, pointer: str, event: str) -> None:
    problem = Problem("m", pointer=pointer, kind=kind, event_type=event)
    assert defect_id("A-01", problem) == defect_id("A-01", Problem("other", pointer="/output/1/id", kind=kind))
    assert defect_id("A-01", problem) != defect_id("A-01", replace(problem, pointer="/output/0/name"))
    assert defect_id("A-01", problem, fields_are_places=True) == defect_id(
        "A-01", replace(problem, pointer="/usage"), fields_are_places=True
    )


def test_the_causes_of_the_catalogue_lead_to_no_loop() -> None:
    causes = {row.id: {follows.rule for follows in row.follows} - {row.id} for row in load_rules().values()}
    assert len(list(TopologicalSorter(causes).static_order())) == len(causes)


def verdicts_of(*faults: str) -> list[Verdict]:
    clock = ManualClock()
    target = Target("http://sandbox/v1/responses", dialect="northstar", second_key="second")
    sandbox = Sandbox("northstar", faults, clock=clock)
    batches = run_in_process(build_plan("quick", load_dialect("northstar")), sandbox, target, clock)
    return judge([exchange for batch in batches for exchange in batch], "northstar")


def roots(verdicts: Sequence[Verdict]) -> dict[str, str]:
    """Return the rules of the defects that have no cause, by the id of the defect."""
    return {finding.defect: finding.rule for one in verdicts for finding in one.findings if not finding.cause}


@pytest.mark.slow(3)
@pytest.mark.parametrize(
    ("fault", "root", "consequences"),
    [
        ("text-delta-lost", "ACC-01", {"ACC-02", "ACC-03", "ACC-04", "ACC-10", "ACC-12"}),
        ("final-item-ids-fresh", "ITM-05", {"ACC-12"}),
        ("refusal-in-stream", "HTTP-13", {"HTTP-02", "LIF-08"}),
        ("final-output-empty", "ITM-04", {"ACC-12", "RSP-10", "TOL-01", "PRT-10"}),
        ("sequence-numbers-missing", "EVT-02", set()),
    ],
)
def test_consequences_of_faults_are_nested(fault: str, root: str, consequences: set[str]) -> None:
    verdicts = verdicts_of(fault)
    assert root in roots(verdicts).values()
    nested = {finding.rule for one in verdicts for finding in one.findings if finding.cause}
    assert consequences <= nested
    for one in verdicts:
        assert not one.findings or one.status in (Status.FAIL, Status.WARN, Status.PASS)


PAIRS = [
    ("sequence-numbers-missing", "final-item-ids-fresh"),
    ("text-delta-lost", "output-tokens-zero"),
    ("refusal-in-stream", "created-twice"),
    ("final-output-empty", "error-param-wrong"),
    ("item-never-closed", "model-changes"),
    ("data-not-json", "text-closed-early"),
    ("message-without-status", "text-deltas-cumulative"),
]


@pytest.mark.slow(3)
@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_a_failure_is_not_hidden_under_an_unconnected_one(one: str, other: str) -> None:
    alone = roots(verdicts_of(one)) | roots(verdicts_of(other))
    both = verdicts_of(one, other)
    found = {finding.defect for each in both for finding in each.findings}
    assert {defect: rule for defect, rule in alone.items() if defect in found} == {
        defect: rule for defect, rule in roots(both).items() if defect in alone
    }


def server_error(name: str, message: str, body: dict[str, object], *tags: str, status: int = 500) -> Exchange:
    return Exchange(
        name,
        Request("POST", "/v1/responses", (), json.dumps(body).encode()),
        Outcome.COMPLETE,
        status,
        (("content-type", "application/json"),),
        (Chunk(0.0, json.dumps({"error": {"message": message, "type": "server_error"}}).encode()),),
        case=name,
        role="plain",
        tags=tags,
    )


@pytest.mark.parametrize(
    ("valid", "extreme", "nested"),
    [
        ("image input is not supported", "image input is not supported", True),
        ("image input is not supported", "Failed to parse tools", False),
        # What any error may say does not show that two have one cause.
        ("Internal Server Error", "Internal Server Error", False),
    ],
)
def test_server_errors_in_the_same_words_are_one_defect(valid: str, extreme: str, nested: bool) -> None:
    verdicts = judge(
        [
            server_error("a", valid, {"input": "Hi"}, "valid"),
            server_error("b", extreme, {"input": "Hello", "top_p": 2}, "edge"),
        ],
        "northstar",
        select="HTTP-03,ERR-05",
    )
    found = {one.rule: one.findings for one in verdicts}
    [root], [follows] = found["HTTP-03"], found["ERR-05"]
    assert not root.cause
    assert follows.cause == (root.defect if nested else "")


@pytest.mark.parametrize(("field", "nested"), [("truncation", True), ("user", False)])
def test_a_null_that_two_rules_fail_on_is_one_defect(field: str, nested: bool) -> None:
    nulls, field_null = frozenset({"/truncation", "/background"}), frozenset({f"/{field}"})
    cause, effect = [[Occurrence("a", "c", nulls=nulls)]], [[Occurrence("b", "d", nulls=field_null)]]
    first, second = verdict("ECH-08", cause), verdict("LIF-05", effect)
    second.findings[0].evidence = replace(second.findings[0].evidence, kind="missing")
    find_causes([first, second], load_rules(), occurring((first, cause), (second, effect)))
    assert second.findings[0].cause == (first.findings[0].defect if nested else "")


def test_a_tool_choice_that_is_not_obeyed_does_not_follow_from_one_that_is_not_repeated() -> None:
    assert not any("ECH-01" in {one.rule for one in load_rules()[name].follows} for name in ("TOL-01", "TOL-02"))

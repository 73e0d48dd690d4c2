"""Defects in reports: nothing is lost, nothing counts twice, and the worst come first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rejoinder.contract import harms_of, load_rules
from rejoinder.model.effect import Effect
from rejoinder.model.header import RunTarget, new_header
from rejoinder.model.runfile import Run
from rejoinder.model.verdict import Finding, Known, Level, Problem, Reruns, Status, Verdict
from rejoinder.reports.defects import FIRST, DefectCounts, count_defects, fix_first, group_defects, shortened
from rejoinder.reports.model import ReportModel, read_report
from rejoinder.reports.rules import GROUPS, Severity

RULES = ["EVT-02", "ITM-05", "ACC-12", "LIF-03", "SSE-02", "EVT-05"]
IDS = ["d1", "d2", "d3", "d4"]


def report(*verdicts: Verdict) -> ReportModel:
    header = new_header(RunTarget(url="http://h:1", model=None, dialect="northstar"))
    return read_report(Run(header, verdicts=list(verdicts)))


@st.composite
def verdicts(draw: st.DrawFn) -> list[Verdict]:
    made = []
    for rule in draw(st.lists(st.sampled_from(RULES), unique=True, min_size=1)):
        level, status = draw(
            st.sampled_from([(Level.MUST, Status.FAIL), (Level.SHOULD, Status.WARN), (Level.MAY, Status.PASS)])
        )
        findings = []
        for number in range(draw(st.integers(1, 4))):
            finding = Finding(rule, level, Problem("m", kind=str(number)), draw(st.integers(1, 9)))
            finding.defect = f"{rule}-{draw(st.sampled_from(IDS))}"
            other = draw(st.sampled_from(RULES))
            finding.cause = draw(st.sampled_from(["", "", f"{other}-{draw(st.sampled_from(IDS))}"]))
            finding.known = Known("r") if level is Level.MUST and draw(st.booleans()) else None
            finding.reruns = draw(st.none() | st.just(Reruns(3, 3)) | st.just(Reruns(3, 1)) | st.just(Reruns(3, 0)))
            findings.append(finding)
        if level is Level.MUST and all(finding.known for finding in findings):
            status = Status.KNOWN
        made.append(Verdict(rule, level, status, 9, len(findings), findings=findings))
    return made


@given(verdicts())
def test_every_finding_is_in_exactly_one_defect(made: list[Verdict]) -> None:
    read = report(*made)
    listed = [
        id(finding.finding)
        for defect in read.defects
        for one in (defect, *defect.consequences)
        for finding in one.findings
    ]
    every = [id(finding) for verdict in made for finding in verdict.findings]
    assert sorted(listed) == sorted(every)


@given(verdicts())
def test_a_failure_stays_a_failure_wherever_it_is_nested(made: list[Verdict]) -> None:
    read = report(*made)
    failed = {rule.id for rule in read.rules if rule.severity is Severity.FAIL}
    named = {
        rule.id
        for severity, defects in group_defects(read.defects)
        if severity is Severity.FAIL
        for defect in defects
        for rule in defect.failed_rules
        if rule.severity is Severity.FAIL
    }
    assert failed <= named
    for defect in read.defects:
        for one in (defect, *defect.consequences):
            assert list(GROUPS).index(defect.severity) <= list(GROUPS).index(one.severity)
    assert count_defects(read.defects, read.rules).rules == len(failed)


@given(verdicts())
def test_defects_come_by_effect_then_certainty(made: list[Verdict]) -> None:
    read = report(*made)
    for _, defects in group_defects(read.defects):
        effects = [list(Effect).index(defect.effect) for defect in defects]
        assert effects == sorted(effects)
    first = fix_first(read.defects)
    assert first == read.defects[: len(first)]
    urgent = [one for one in read.defects if one.effect.urgent and one.severity is Severity.FAIL]
    assert first == urgent[:FIRST]
    for _, defects in group_defects(read.defects):
        open_ = [one.effect is Effect.CLIENT_BREAKS and not one.proven for one in defects]
        breaking = [one for one, defect in zip(open_, defects, strict=True) if defect.effect is Effect.CLIENT_BREAKS]
        assert breaking == sorted(breaking)
    short = shortened(read.defects, 1)
    assert sorted(id(one) for defect, rest in short for one in (defect, *rest)) == sorted(map(id, read.defects))


def test_many_places_do_not_outrank_a_client_that_breaks() -> None:
    many = Finding("EVT-02", Level.MUST, Problem("m"), 884)
    once = Finding("SSE-02", Level.MUST, Problem("m"), 1)
    read = report(*(Verdict(one.rule, Level.MUST, Status.FAIL, 900, one.count, findings=[one]) for one in (many, once)))
    assert [defect.rule.id for defect in read.defects] == ["SSE-02", "EVT-02"]
    assert count_defects(read.defects, read.rules) == DefectCounts(2, 2, 1)
    assert count_defects(read.defects, read.rules).words == "2 defects (2 rules failed)"


def test_a_client_that_breaks_is_proven_or_the_words_say_so() -> None:
    rules = load_rules()
    breaking = [rule for rule in rules.values() if rule.effect is Effect.CLIENT_BREAKS]
    made = [Finding(rule.id, Level.MUST, Problem("m"), 1) for rule in breaking]
    read = report(*(Verdict(one.rule, Level.MUST, Status.FAIL, 9, 1, findings=[one]) for one in made))
    words = {defect.rule.id: defect.effect_words for defect in read.defects}
    proven = {rule.id for rule in breaking if any(harm.breaks for harm in harms_of(rule.id))}
    assert {"LIF-05", "SSE-02"} <= proven < words.keys()
    for name, shown in words.items():
        assert shown == ("client breaks" if name in proven else "client breaks (not proven with a client)")
    unproven = [defect.rule.id not in proven for defect in read.defects]
    assert unproven == sorted(unproven)
    assert len(fix_first(read.defects)) == FIRST


def test_confirmed_findings_come_before_random_and_unconfirmed_ones() -> None:
    reruns = {"a": None, "b": Reruns(3, 1), "c": Reruns(3, 3), "d": Reruns(3, 2), "e": Reruns(3, 0)}
    findings = []
    for kind, number in reruns.items():
        finding = Finding("ACC-01", Level.MUST, Problem(kind, kind=kind), 1, reruns=number)
        findings.append(finding)
    read = report(Verdict("ACC-01", Level.MUST, Status.FAIL, 9, 5, findings=findings))
    assert "".join(defect.head.message for defect in read.defects)[:3] == "cdb"


def test_a_run_of_an_older_version_has_defects_as_well() -> None:
    findings = [
        Finding("EVT-02", Level.MUST, Problem("m", "/sequence_number", event_type=f"response.{n}"), n) for n in (1, 2)
    ]
    [defect] = report(Verdict("EVT-02", Level.MUST, Status.FAIL, 9, 3, findings=findings)).defects
    assert (len(defect.findings), defect.extent) == (2, "2 places, 2 exchanges")

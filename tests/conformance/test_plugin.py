"""The pytest plugin: items, outcomes, xdist, and silence without its option."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from rejoinder.contract import load_dialect, load_rules
from rejoinder.model.verdict import Level
from rejoinder.sandbox import FAULTS, Sandbox, running

pytest_plugins = ["pytester"]

ITEMS = ("--pyargs", "rejoinder.conformance", "-p", "no:locust", "-p", "no:cacheprovider")


@pytest.fixture(scope="module")
def clean() -> Iterator[str]:
    with running(Sandbox()) as url:
        yield url


def test_a_clean_endpoint_passes(pytester: pytest.Pytester, clean: str) -> None:
    result = pytester.runpytest_subprocess(*ITEMS, "--rejoinder-url", clean, "--rejoinder-plan", "smoke", "-W", "error")
    outcomes = result.parseoutcomes()
    assert result.ret == 0, result.stdout.str()
    assert outcomes["passed"] > 70
    assert "failed" not in outcomes


def test_findings_fail_their_item_and_stand_in_junit(pytester: pytest.Pytester) -> None:
    with running(Sandbox(faults=["sequence-numbers-missing"])) as url:
        result = pytester.runpytest_subprocess(
            *ITEMS,
            "--rejoinder-url",
            url,
            "--rejoinder-plan",
            "smoke",
            "--junitxml",
            "j.xml",
            "--rejoinder-out",
            "kept",
        )
    assert result.ret == 1
    assert result.parseoutcomes()["failed"] == 1
    result.stdout.fnmatch_lines(["*test_rule[[]EVT-02[]]*", "*sequence_number*"])
    cases = list(ElementTree.parse(pytester.path / "j.xml").iter("testcase"))
    rules = [prop.get("value") for prop in ElementTree.parse(pytester.path / "j.xml").iter("property")]
    assert len(cases) == sum(load_dialect().level_of(rule) is not Level.OFF for rule in load_rules().values())
    assert "EVT-02" in rules
    assert (pytester.path / "kept" / "run.ndjson").exists()


def test_a_should_is_a_warning(pytester: pytest.Pytester) -> None:
    with running(Sandbox(faults=[next(fault.id for fault in FAULTS.values() if fault.breaks == ("EVT-04",))])) as url:
        result = pytester.runpytest_subprocess(*ITEMS, "--rejoinder-url", url, "--rejoinder-plan", "smoke")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*RejoinderWarning: EVT-04 (SHOULD)*"])


def test_xdist_examines_once(pytester: pytest.Pytester) -> None:
    sandbox = Sandbox()
    with running(sandbox) as url:
        result = pytester.runpytest_subprocess(
            *ITEMS, "--rejoinder-url", url, "--rejoinder-plan", "smoke", "-n", "2", "--rejoinder-select", "EVT-*,USG-*"
        )
        counts = sandbox.counts
    assert result.ret == 0, result.stdout.str()
    alone = Sandbox()
    with running(alone) as url:
        pytester.runpytest_subprocess(*ITEMS, "--rejoinder-url", url, "--rejoinder-plan", "smoke")
        assert counts["started"] == alone.counts["started"]


def test_selection_and_order(pytester: pytest.Pytester, clean: str) -> None:
    result = pytester.runpytest_subprocess(
        *ITEMS, "--rejoinder-url", clean, "--rejoinder-select", "USG-*", "--collect-only", "-q"
    )
    lines = [line for line in result.outlines if "test_rule[" in line]
    wanted = [rule for rule in load_rules().values() if rule.family == "USG"]
    in_force = [rule.id for rule in wanted if load_dialect().level_of(rule) is not Level.OFF]
    assert [line.partition("[")[2] for line in lines] == [f"{rule}]" for rule in in_force]
    assert all(rule.isascii() for rule in load_rules())


def test_an_endpoint_that_is_not_there_ends_the_session(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_subprocess(*ITEMS, "--rejoinder-url", "http://127.0.0.1:9")
    assert result.ret == 2
    assert "There is no connection to 127.0.0.1:9" in result.stdout.str() + result.stderr.str()


@pytest.mark.parametrize("words", [(), ("--rejoinder-url", "http://x", "--rejoinder-select", "NO-*")])
def test_usage_errors_are_told(pytester: pytest.Pytester, words: tuple[str, ...]) -> None:
    result = pytester.runpytest_subprocess(*ITEMS, *words)
    assert result.ret not in (0, 1)
    assert "rejoinder: " in result.stdout.str() + result.stderr.str()


def test_other_suites_are_left_alone_and_may_use_the_fixtures(pytester: pytest.Pytester, clean: str) -> None:
    pytester.makepyfile("def test_mine(): pass")
    assert pytester.runpytest_subprocess("-p", "no:locust").ret == 0
    pytester.makepyfile(
        """
        def test_endpoint(rejoinder_run, rejoinder_target):
            assert rejoinder_target["model"] == "parrot"
            assert not [v for v in rejoinder_run.verdicts if v.status == "fail"]
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:locust", "--rejoinder-url", clean, "--rejoinder-plan", "smoke")
    assert result.ret == 0, result.stdout.str()


def test_the_shipped_items_lie_in_the_package() -> None:
    import rejoinder.conformance.plugin as plugin

    assert (Path(plugin.__file__).with_name("test_rules.py")).exists()


def smoke(pytester: pytest.Pytester, url: str, *words: str) -> pytest.RunResult:
    return pytester.runpytest_subprocess(*ITEMS, "--rejoinder-url", url, "--rejoinder-plan", "smoke", *words)


def known(pytester: pytest.Pytester, *rules: str, case: str = "*") -> tuple[str, ...]:
    entries = [f'[[known]]\nrule = "{rule}"\ncase = "{case}"\nreason = "not yet"\n' for rule in rules]
    (pytester.path / "known.toml").write_text("".join(entries))
    return "--rejoinder-baseline", "known.toml"


@pytest.fixture(scope="module")
def broken() -> Iterator[str]:
    with running(Sandbox(faults=["sequence-numbers-missing"])) as url:
        yield url


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_known_failure_is_an_expected_one(pytester: pytest.Pytester, broken: str, workers: str) -> None:
    words = (
        *known(pytester, "EVT-02"),
        "--rejoinder-baseline-strict",
        "-n",
        workers,
        "--junitxml",
        "j.xml",
        "-rx",
        "-v",
    )
    result = smoke(pytester, broken, *words)
    assert result.ret == 0, result.stdout.str()
    assert result.parseoutcomes()["xfailed"] == 1
    result.stdout.fnmatch_lines(["KNOWN *test_rule[[]EVT-02[]] - known: not yet"])
    [case] = [c for c in ElementTree.parse(pytester.path / "j.xml").iter("testcase") if "EVT-02" in c.attrib["name"]]
    properties: dict[str, set[str]] = {}
    for entry in case.iter("property"):
        properties.setdefault(entry.attrib["name"], set()).add(entry.attrib["value"])
    assert properties["rule"] == {"EVT-02"}
    assert properties["level"] == {"MUST"}
    assert properties["verdict"] == {"known"}
    assert properties["known"] == {"not yet"}
    assert int(min(properties["judged"])) >= int(min(properties["failed"])) > 0
    assert all(len(mark) == 12 for mark in properties["fingerprint"])


def test_new_cases_of_a_known_failure_fail(pytester: pytest.Pytester, broken: str) -> None:
    result = smoke(pytester, broken, *known(pytester, "EVT-02", case="basic.stream"))
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*test_rule[[]EVT-02[]]*", "*known: not yet*"])


def test_an_unexpected_pass_is_told_and_fails_when_strict(pytester: pytest.Pytester, clean: str) -> None:
    words = known(pytester, "EVT-02")
    result = smoke(pytester, clean, *words, "-rX")
    assert result.ret == 0
    assert result.parseoutcomes()["xpassed"] == 1
    result = smoke(pytester, clean, *words, "--rejoinder-baseline-strict")
    assert result.ret == 1
    assert result.parseoutcomes()["failed"] == 1
    result.stdout.fnmatch_lines(["*XPASS(strict)*EVT-02@[*]: Did not fail*"])


def test_a_bad_baseline_ends_the_session(pytester: pytest.Pytester, clean: str) -> None:
    result = smoke(pytester, clean, *known(pytester, "EVT-2"))
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "there is no rule 'EVT-2'" in result.stdout.str() + result.stderr.str()
    assert smoke(pytester, clean, "--rejoinder-baseline-strict").ret not in (0, 1)


def test_one_item_for_each_rule_whatever_runs_them(pytester: pytest.Pytester, broken: str) -> None:
    words = (
        "--pyargs",
        "rejoinder.conformance",
        "-p",
        "no:locust",
        "--rejoinder-url",
        broken,
        "--rejoinder-plan",
        "smoke",
    )
    collected = pytester.runpytest_subprocess(*words, "--collect-only", "-q", "-k", "EVT").outlines
    again = pytester.runpytest_subprocess(*words, "--collect-only", "-q", "-k", "EVT").outlines
    items = [line for line in collected if "test_rule[" in line]
    assert items == [line for line in again if "test_rule[" in line]
    assert len(items) == len(set(items)) > 5
    assert all("EVT-" in item and item.isascii() for item in items)
    spread = pytester.runpytest_subprocess(*words, "-n", "2", "-k", "EVT", "-v")
    ran = {line.split()[-1] for line in spread.outlines if "] " in line and "test_rule[" in line and "%" in line}
    assert {item.rpartition("::")[2] for item in items} == {item.rpartition("::")[2] for item in ran}
    assert spread.parseoutcomes()["failed"] == 1
    last = pytester.runpytest_subprocess(*words, "--lf", "-v")
    assert last.parseoutcomes()["failed"] == 1
    assert "passed" not in last.parseoutcomes()
    last.stdout.fnmatch_lines(["*test_rule[[]EVT-02[]] FAILED*"])


EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "test_my_endpoint.py"


@pytest.mark.skipif(not EXAMPLE.exists(), reason="the documentation is not beside the tests")
def test_the_worked_example_of_the_documentation(pytester: pytest.Pytester, clean: str, broken: str) -> None:
    pytester.makepyfile(test_my_endpoint=EXAMPLE.read_text())
    words = ("-p", "no:locust", "-p", "no:cacheprovider", "-W", "error", "--rejoinder-plan", "smoke")
    result = pytester.runpytest_subprocess(*words, "--rejoinder-url", clean)
    assert result.ret == 0, result.stdout.str()
    assert result.parseoutcomes() == {"passed": 5}
    result = pytester.runpytest_subprocess(*words, "--rejoinder-url", broken)
    assert result.parseoutcomes() == {"passed": 4, "failed": 1}, result.stdout.str()

"""The pytest plugin: items, outcomes, xdist, and silence without its option."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from rejoinder.contract import load_dialect, load_rules
from rejoinder.sandbox import FAULTS, Sandbox, running
from rejoinder.verdict import Level

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

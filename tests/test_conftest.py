"""Options and order of the tests themselves: slow tests first, their names in the summary, and no silent skips."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

SETTINGS = """
[pytest]
addopts = -p no:randomly
markers =
    slow(seconds): takes long
    may_skip: skips by design
"""


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    """A suite with the conftest.py of this one."""
    pytester.makeini(SETTINGS)
    pytester.makeconftest(Path(__file__).with_name("conftest.py").read_text("utf-8"))
    return pytester


def test_the_longest_tests_run_first_and_others_keep_their_order(suite: pytest.Pytester) -> None:
    suite.makepyfile("""
        import pytest

        def test_one(): pass
        @pytest.mark.slow(2)
        def test_two(): pass
        def test_three(): pass
        @pytest.mark.slow(30)
        def test_four(): pass
    """)
    result = suite.runpytest("--collect-only", "-q")
    names = [line.partition("::")[2] for line in result.outlines if "::" in line]
    assert names == ["test_four", "test_two", "test_one", "test_three"]


def test_a_marker_without_seconds_is_an_error(suite: pytest.Pytester) -> None:
    suite.makepyfile("import pytest\n@pytest.mark.slow\ndef test_it(): pass")
    result = suite.runpytest()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*test_it: slow takes one argument*"])


def test_slow_tests_without_the_marker_are_named(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    text = Path("conftest.py").read_text("utf-8")
    Path("conftest.py").write_text(text.replace("SLOW_AFTER: Final = 2.0", "SLOW_AFTER: Final = -1.0"), "utf-8")
    suite.makepyfile("import pytest\ndef test_one(): pass\n@pytest.mark.slow(1)\ndef test_two(): pass")
    result = suite.runpytest()
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*without the marker slow*", "*test_one"])
    result.stdout.no_fnmatch_line("* s  *test_two")


@pytest.mark.parametrize("skip", ["@pytest.mark.skipif(True, reason='no tool')", ""])
@pytest.mark.parametrize("allowed", [False, True])
def test_skips_fail_where_they_may_not_happen(suite: pytest.Pytester, skip: str, allowed: bool) -> None:
    marker = "@pytest.mark.may_skip" if allowed else ""
    body = "pass" if skip else "pytest.skip('no tool')"
    suite.makepyfile(f"import pytest\n{skip}\n{marker}\ndef test_it():\n    {body}\n")
    suite.runpytest().assert_outcomes(skipped=1)
    result = suite.runpytest("--no-skips")
    if allowed:
        result.assert_outcomes(skipped=1)
    else:
        # A mark skips before the test is set up, which pytest counts as an error.
        assert result.ret == pytest.ExitCode.TESTS_FAILED
        result.stdout.fnmatch_lines(["*no tool*--no-skips*"])


@pytest.mark.slow(3)
@pytest.mark.parametrize("options", [(), ("-p", "xdist", "-n", "1")])
def test_commands_take_ctrl_c_where_the_tests_run_in_the_background(
    suite: pytest.Pytester, options: tuple[str, ...]
) -> None:
    suite.makepyfile("""
        import signal
        import subprocess
        import sys

        CODE = "import signal; raise SystemExit(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)"

        def test_it():
            assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
            assert subprocess.run([sys.executable, "-c", CODE]).returncode == 0
    """)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        result = suite.runpytest_subprocess(*options)
    finally:
        signal.signal(signal.SIGINT, before)
    result.assert_outcomes(passed=1)

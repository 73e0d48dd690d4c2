"""Settings, options and the order of all tests."""

from __future__ import annotations

import gc
import importlib.util
import os
import signal
import sys
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.internal.conjecture import providers

from rejoinder.garbage import collect_rarely

SLOW_AFTER: Final = 2.0
"""Seconds after which the summary names a test without the marker ``slow``."""
SHOWN: Final = 20

# Tests share their machine with others, so time is no verdict; CI draws the same examples every time.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("default"), derandomize=True, print_blob=True)
# For tests/mutation.py: a failure is all that counts, so no smaller example of it is looked for.
settings.register_profile("mutation", settings.get_profile("ci"), phases=[Phase.explicit, Phase.generate])
settings.load_profile("ci" if os.environ.get("CI") else "default")
if os.environ.get("CI") and hasattr(providers, "_get_local_constants"):
    # Hypothesis also draws constants of the modules that are loaded, which differ with the order of the tests.
    vars(providers)["_get_local_constants"] = lambda: providers._local_constants


@pytest.fixture(scope="session")
def surfaces() -> ModuleType:
    """Return the module that takes an output as its readers do; tests cannot import it under importlib mode."""
    spec = importlib.util.spec_from_file_location("tests.surfaces", Path(__file__).with_name("surfaces.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def work_of() -> Callable[[Callable[[], object]], int]:
    """Return a function that counts the lines of Python that a call runs: the same number on every machine."""

    def count(call: Callable[[], object]) -> int:
        lines = 0

        def trace(frame: FrameType, event: str, _: object) -> Callable[..., Any]:
            nonlocal lines
            lines += event == "line"
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            call()
        finally:
            sys.settrace(before)
        return lines

    return count


def pytest_configure() -> None:
    """Take Ctrl-C and SIGHUP, also where the shell has started the tests in the background, which ignores them.

    Processes inherit a signal that is ignored, so the commands under test would ignore it too.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    collect_rarely()


def pytest_collection_finish() -> None:
    """Keep the tests themselves, hundreds of thousands of objects, out of each search for cyclic garbage."""
    gc.freeze()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--no-skips", action="store_true", help="Fail tests that skip, for example because Chromium is not installed."
    )


def seconds(item: pytest.Item) -> float:
    """Return the recorded duration of a test: the argument of its marker ``slow``, 0 without the marker."""
    marker = item.get_closest_marker("slow")
    if marker is None:
        return 0.0
    if len(marker.args) != 1:
        raise pytest.UsageError(f"{item.nodeid}: slow takes one argument, the seconds that the test takes.")
    return float(marker.args[0])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest tests first, so that no worker waits for them in the end."""
    items.sort(key=seconds, reverse=True)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Start two workers more than there are cores: tests of loads wait for half of their time."""
    return (os.cpu_count() or 1) + 2


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and item.config.getoption("no_skips") and item.get_closest_marker("may_skip") is None:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{reason}. --no-skips is given: install what is missing, or mark the test may_skip."
    return report


def unmarked(reports: Sequence[pytest.TestReport]) -> list[tuple[float, str]]:
    """Return duration and id of the tests that are slow but not marked so, the longest first."""
    found = [(report.duration, report.nodeid) for report in reports if "slow" not in report.keywords]
    return sorted((one for one in found if one[0] > SLOW_AFTER), reverse=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name slow tests without the marker. This is no failure, because the machine may be busy."""
    reports = [
        report
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, ())
        if isinstance(report, pytest.TestReport) and report.when == "call"
    ]
    found = unmarked(reports)
    if found:
        terminalreporter.section(f"tests over {SLOW_AFTER:g} s without the marker slow")
        for duration, name in found[:SHOWN]:
            terminalreporter.line(f"{duration:6.1f} s  {name}")
        terminalreporter.line(
            "Speed them up, or mark them with @pytest.mark.slow(seconds); `tox -e quick` skips slow tests."
        )

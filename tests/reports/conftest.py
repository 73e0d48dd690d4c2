"""The example runs as a fixture; test modules cannot import their siblings under importlib mode."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def _load(name: str) -> ModuleType:
    full = f"tests.reports.{name}"
    if full in sys.modules:
        return sys.modules[full]
    spec = importlib.util.spec_from_file_location(full, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[full] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def check_page() -> Callable[[str], Any]:
    """Return the function that asserts what holds for every page and returns the page as parsed."""
    check: Callable[[str], Any] = _load("page_checks").check_page
    return check


@pytest.fixture(scope="session")
def chromium() -> ModuleType:
    """Return the module that drives a headless Chromium."""
    return _load("chromium")


@pytest.fixture(scope="session")
def examples() -> ModuleType:
    """Return the module of example runs."""
    _load("example_loads")
    return _load("example_runs")


@pytest.fixture(scope="session")
def loads() -> ModuleType:
    """Return the module that makes load runs."""
    return _load("example_loads")


@pytest.fixture(scope="session")
def drawn() -> ModuleType:
    """Return the module that reads charts back from a page."""
    return _load("read_charts")

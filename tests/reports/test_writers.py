"""Every writer, on every example run."""

from __future__ import annotations

from types import ModuleType
from xml.etree import ElementTree as ET

import pytest

from rejoinder.reports import render_html, render_junit, render_markdown, summarize

NAMES = ["typical", "green", "empty", "unreachable", "load", "many", "hostile", "misshapen"]


@pytest.mark.parametrize("name", NAMES)
def test_every_writer_takes_every_example(name: str, examples: ModuleType) -> None:
    run = examples.EXAMPLES[name]()
    assert render_html(run).startswith("<!doctype html>")
    ET.fromstring(render_junit(run).encode())
    assert len(render_markdown(run).encode()) <= 60_000
    assert summarize(run).plain()

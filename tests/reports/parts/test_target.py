"""What was run against what."""

from __future__ import annotations

from typing import Any

from rejoinder.model.header import RunTarget, new_header
from rejoinder.model.runfile import Run
from rejoinder.reports.model import read_report
from rejoinder.reports.parts.target import PART as TARGET


def test_the_facts_of_the_run(checked: Run, forms: Any, section: Any) -> None:
    target = read_report(checked)[TARGET]
    assert (target.url, target.model, target.dialect) == ("http://h:1/v1/responses", "m 1", "northstar")
    assert target.command == "rejoinder check http://h:1 --model 'm 1'"
    assert target.facts == [
        ("Model", "m 1"),
        ("Dialect", "northstar (vLLM-style Responses API)"),
        ("Server", "s"),
        ("Started", "2026-09-21 14:13:20 UTC"),
        ("Took", "38.4 s"),
        ("Plan", "quick"),
        ("Seed", "7"),
        ("Requests", "2 exchanges recorded"),
        ("Versions", "rejoinder 0.1, python 3.12"),
    ]
    markdown, terminal = forms(TARGET, checked)
    assert markdown[0] == "`http://h:1/v1/responses`  "
    assert markdown[1].endswith(" · Took `38.4 s` · Plan `quick` · Requests `2 exchanges recorded`")
    assert terminal == [
        "",
        "  http://h:1/v1/responses",
        "  model m 1 · dialect northstar (vLLM-style Responses API) · server s",
        "  took 38.4 s",
    ]
    text = section(checked, '<div class="target">', "</section>")
    assert all(f"{name} {value}" in text for name, value in target.facts)
    assert text.endswith("rejoinder check http://h:1 --model 'm 1'")


def test_a_run_that_says_nothing_of_itself_has_a_head_too(forms: Any) -> None:
    assert forms(TARGET, Run(new_header(RunTarget(url="", model=None, dialect="")))) == (
        ["Model `(not set)` · Started `1970-01-01 00:00:00 UTC` · Requests `0 exchanges recorded`", ""],
        ["", "  (no URL)", "  model (not set)"],
    )

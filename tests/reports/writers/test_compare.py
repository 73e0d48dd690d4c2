"""Many runs on one page."""

from __future__ import annotations

import re
from types import ModuleType
from typing import Any

import pytest

from rejoinder.model.runfile import Run
from rejoinder.model.samples import Departure, Stationarity
from rejoinder.reports import render_comparison

NAMES = ["typical", "green", "checked", "empty", "unreachable", "load", "many", "hostile"]


def _named(run: Run, model: str, url: str = "http://127.0.0.1:8000/v1/responses") -> Run:
    run.header.target.model, run.header.target.url = model, url
    return run


def _heads(text: str) -> list[str]:
    match = re.search(r"<thead>\s*<tr>.*?</tr>\s*</thead>", text, re.DOTALL)
    assert match is not None
    return re.findall(r'<th scope="col">([^<]+)</th>', match.group())


def test_rules_are_rows_and_targets_columns(examples: ModuleType, check_page: Any) -> None:
    runs = [_named(examples.green(), "one"), _named(examples.typical(), "two"), _named(examples.green(), "three")]
    text = render_comparison(runs)
    page = check_page(text)
    assert _heads(text) == ["one", "two", "three"]
    row = re.search(r'<tr id="m-EVT-02" data-status="([^"]*)".*?</tr>', text, re.DOTALL)
    assert row is not None
    assert row.group(1) == "fail pass differs"
    assert re.findall(r"</svg>(\w+)", row.group()) == ["pass", "fail", "pass"]
    link = re.search(r'href="#(c-2-EVT-02)"', row.group())
    assert link is not None
    assert any(attributes.get("id") == link.group(1) for _, attributes in page.elements)
    seen = " ".join("".join(page.texts).split())
    assert "Conforms (2 runs), Does not conform (1 run)." in seen
    assert "Event 4 has no sequence_number." in seen


def test_what_was_not_judged_does_not_differ(examples: ModuleType) -> None:
    text = render_comparison([examples.green(), examples.typical()])
    row = re.search(r'<tr id="m-LIF-08" data-status="([^"]*)"', text)
    assert row is not None
    assert row.group(1) == "pass untested"


@pytest.mark.parametrize(
    ("targets", "labels"),
    [
        ([("a", "http://h:1/v1"), ("b", "http://h:1/v1")], ["a", "b"]),
        ([("a", "http://h:1/v1"), ("a", "http://h:2/v1")], ["a, h:1", "a, h:2"]),
        ([("", "http://h:1/v1"), ("", "http://[")], ["h:1", "run"]),
    ],
)
def test_columns_are_told_apart(targets: list[tuple[str, str]], labels: list[str], examples: ModuleType) -> None:
    text = render_comparison([_named(examples.green(), model, url) for model, url in targets])
    assert _heads(text) == labels


def test_equal_runs_are_numbered(examples: ModuleType) -> None:
    labels = _heads(render_comparison([examples.green()] * 3))
    assert len(set(labels)) == 3
    assert labels[2].endswith("(3)")


def test_loads_stand_side_by_side(examples: ModuleType, check_page: Any) -> None:
    text = render_comparison([examples.typical(), examples.green(), examples.load_only()])
    seen = " ".join("".join(check_page(text).texts).split())
    for words in (
        "TTFT p99",
        "succeeded",
        "the measurement is CLIENT-BOUND",
        "was cut short",
    ):
        assert words in seen


def test_a_load_that_was_not_steady_is_noted(examples: ModuleType) -> None:
    unsteady = examples.healthy_load()
    assert unsteady.load is not None
    queue = Departure(kind="queue", metric="in_flight", growth=4.7, text="The queue grew by 4.7 requests/s.")
    unsteady.load.stationarity = Stationarity(state="not steady", departures=[queue])
    assert render_comparison([examples.healthy_load(), unsteady]).count("the load was not steady") == 1


def test_every_link_leads_somewhere(examples: ModuleType, check_page: Any) -> None:
    page = check_page(render_comparison([examples.typical(), examples.many(), examples.green()]))
    ids = {attributes.get("id") for _, attributes in page.elements}
    for tag, attributes in page.elements:
        href = attributes.get("href") or ""
        if tag in ("a", "use") and "?" not in href:
            assert href[1:] in ids, href


@pytest.mark.slow(1)
@pytest.mark.parametrize("names", [NAMES, NAMES[::-2], ["hostile", "hostile"], ["empty"], []])
def test_every_mixture_is_taken(names: list[str], examples: ModuleType, check_page: Any) -> None:
    runs = [examples.EXAMPLES[name]() for name in names]
    text = render_comparison(runs)
    check_page(text)
    assert text == render_comparison(runs)


@pytest.mark.slow(1)
def test_twelve_runs_stay_small(examples: ModuleType) -> None:
    text = render_comparison([examples.typical(load=False)] * 12)
    assert len(text.encode()) < 900_000

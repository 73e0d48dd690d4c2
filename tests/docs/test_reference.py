"""The reference pages are written from the source, so that they have everything that there is."""

from __future__ import annotations

import importlib
import json
import re
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from rejoinder.cli import COMMANDS, cli
from rejoinder.conformance.checks import checks_by_rule
from rejoinder.contract import dialect_names, load_features, load_rules
from rejoinder.errors import EXIT_CODES
from rejoinder.load.options import all_options
from rejoinder.load.workload.profiles import shipped_profiles
from rejoinder.model.metrics import METRICS, SERVER
from rejoinder.model.outcomes import OUTCOMES
from rejoinder.sandbox import FAULTS, FREEDOMS, SERVER_FAULTS
from rejoinder.settings import options_of

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def reference() -> object:
    """Return the package that writes the pages."""
    sys.path.insert(0, str(DOCS / "_ext"))
    try:
        yield importlib.import_module("rejoinder_reference")
    finally:
        sys.path.remove(str(DOCS / "_ext"))


@pytest.fixture(scope="module")
def pages(reference: Any) -> dict[str, str]:
    found: dict[str, str] = reference.all_pages()
    return found


def section(page: str, anchor: str) -> str:
    """Return what stands below an anchor, up to the next one."""
    found = page.partition(f"({anchor})=\n")[2]
    assert found, anchor
    return found.partition("\n(")[0]


def test_every_rule_has_a_section_with_all_that_is_known_of_it(pages: dict[str, str]) -> None:
    for rule in load_rules().values():
        shown = section(pages[f"rules/{rule.family.lower()}"], rule.id.lower())
        assert shown.startswith(f"## {rule.id} ")
        assert all(f"{name} {rule.level_in(name).value}" in shown for name in dialect_names()), rule.id
        assert all(f"({citation.url})" in shown for citation in (*rule.sources, *rule.related)), rule.id
        readings = (*rule.breaks_client, *rule.searched)
        assert all(f"({read.source.url}): {read.finding}" in shown for read in readings), rule.id
        assert shown.count("- Checked on: ") == len(checks_by_rule()[rule.id]), rule.id
        proofs = [fault.id for fault in FAULTS.values() if rule.id in fault.breaks]
        assert all(f"(../faults.md#fault-{fault})" in shown for fault in proofs), rule.id
        assert all(f"(../features.md#feature-{name.replace('_', '-')})" in shown for name in rule.features), rule.id


def test_every_fault_and_feature_has_a_section(pages: dict[str, str]) -> None:
    for fault in FAULTS.values():
        assert all(f"[{rule}]" in section(pages["faults"], f"fault-{fault.id}") for rule in fault.breaks)
    for name in SERVER_FAULTS:
        assert section(pages["faults"], f"fault-{name}").startswith(f"### {name}\n")
    for name in load_features():
        assert section(pages["features"], f"feature-{name.replace('_', '-')}").startswith(f"## {name}\n")


def test_every_freedom_has_a_section_with_what_allows_it(pages: dict[str, str]) -> None:
    for freedom in FREEDOMS.values():
        shown = section(pages["freedoms"], f"freedom-{freedom.id}")
        assert shown.startswith(f"### {freedom.id}\n")
        assert all(f"({cited.url})" in shown for cited in freedom.sources), freedom.id
        assert ("- Argument: " in shown) == bool(freedom.argument), freedom.id
        assert all(f"`{dialect}`" in shown for dialect in freedom.dialects), freedom.id


def test_dialects_are_compared(pages: dict[str, str]) -> None:
    page = pages["dialects"]
    [_, sentinel] = page.split("**`done_sentinel`**")
    assert sentinel.partition("\n\n**")[0].endswith(
        '- `northstar`: `"absent"`\n- `openai`: `"allowed"`\n- `openresponses`: `"required"`\n- `vllm`: `"absent"`'
    )
    assert "| `top_k` | ✓ | – | – | ✓ |" in page
    # What all have is no difference.
    assert "| `temperature` |" not in page.partition("## What differs")[2]


def test_every_option_is_on_the_page_of_its_command_and_among_the_settings(pages: dict[str, str]) -> None:
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        inner = list(command.commands.values()) if isinstance(command, click.Group) else []
        for one in (command, *inner):
            for param in one.params:
                if isinstance(param, click.Option):
                    assert f"{param.opts[-1]}" in pages[f"commands/{name}"], (name, param.opts)
        for key in options_of(command):
            rows = [line for line in pages["settings"].splitlines() if f"`REJOINDER_{key.upper()}`" in line]
            assert len(rows) == 1, key
            assert f"[{name}](commands/{name}.md)" in rows[0]


def test_the_options_of_locust_have_their_argument_and_variable(pages: dict[str, str]) -> None:
    for option in all_options().values():
        if option.locust:
            shown = pages["load-options"].partition(f"`{option.locust_argument}`\n: ")[2].partition("\n`")[0]
            assert f"Variable for Locust: `{option.variable}`." in shown


def test_tables_have_every_row(pages: dict[str, str]) -> None:
    for name in (*METRICS, *OUTCOMES, *SERVER):
        assert f"| `{name}`" in pages["metrics"]
    for code in EXIT_CODES:
        assert f"| `{code.value}` |" in pages["exit-codes"]
    for name, file in shipped_profiles().items():
        assert file.read_text("utf-8").strip() in pages["workloads"].partition(f"### {name}\n")[2]
    for key in ("rule", "case", "reason", "expires"):
        assert f"| `{key}` |" in pages["baseline"]
    for field in ("exit_code", "started_at", "body_base64", "scenario"):
        assert f"| `{field}` |" in pages["run-file"]


def test_a_new_option_is_documented_without_further_work(reference: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    command = cli.get_command(click.Context(cli), "diff")
    assert command is not None
    option = click.Option(["--patience"], metavar="S", default=7, show_default=True, help="Wait *S* for the `disk`.")
    monkeypatch.setattr(command, "params", [*command.params, option])
    pages = reference.commands.pages()
    assert "{option} --patience S\n\nWait \\*S\\* for the `disk`.\n\nDefault: `7`." in (pages["commands/diff"])
    assert "| `patience` | `REJOINDER_PATIENCE` | `7` | [diff](commands/diff.md) |" in pages["settings"]


def test_pages_are_written_removed_and_left_alone(
    reference: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(reference, "all_pages", lambda: {"a": "# A\n", "b/c": "# C\n"})
    (tmp_path / "index.md").write_text("by hand")
    (tmp_path / "old.md").write_text("# Old\n")
    reference.write_pages(tmp_path)
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.md")} == {"index.md", "a.md", "b/c.md"}
    before = (tmp_path / "a.md").stat().st_mtime_ns
    reference.write_pages(tmp_path)
    assert (tmp_path / "a.md").stat().st_mtime_ns == before


def test_the_public_names_are_those_of_all(pages: dict[str, str]) -> None:
    for name in ("conformance", "strategies", "load", "model", "contract", "sandbox", "errors"):
        module = importlib.import_module(f"rejoinder.{name}")
        assert f".. automodule:: rejoinder.{name}\n" in pages[f"api/{name}"]
        assert all(hasattr(module, public) for public in module.__all__)
        undocumented = [
            public
            for public in module.__all__
            if callable(getattr(module, public)) and not (getattr(module, public).__doc__ or "").strip()
        ]
        assert undocumented == []


def test_the_agreement_of_two_readers_is_that_of_the_example_in_the_literature(reference: Any) -> None:
    # 20 yes and 15 no of both, 5 and 10 of one alone: equal 0.70, by chance 0.50.
    pairs = {("yes", "yes"): 20, ("yes", "no"): 5, ("no", "yes"): 10, ("no", "no"): 15}
    found = reference.findings.agreement(pairs)
    assert (found.findings, found.equal, found.share) == (50, 35, 0.7)
    assert found.kappa == pytest.approx(0.4)
    assert reference.findings.agreement({("yes", "yes"): 3}).kappa is None


def test_the_page_of_findings_has_the_agreement_of_the_readers(reference: Any, pages: dict[str, str]) -> None:
    page = pages["findings/index"]
    for level, counts in reference.findings.readings().items():
        found = reference.findings.agreement(counts)
        assert f"| {level} | {found.findings} | {found.equal} | {found.share:.0%} | {found.kappa:.2f} |" in page


def test_every_public_strategy_has_a_page_with_drawn_values(pages: dict[str, str], reference: Any) -> None:
    strategies = importlib.import_module("rejoinder_reference.strategies").public_strategies()
    assert {"request_bodies", "event_streams", "tools"} <= strategies.keys()
    for name in strategies:
        shown = pages[f"strategies/{name}"]
        assert f"[`{name}`]({name}.md)" in pages["strategies/index"]
        examples = re.findall(r"```json\n(.*?)```", shown, re.DOTALL)
        assert examples, name
        assert all(json.loads(example) is not ... for example in examples)
        assert shown.partition("\n\n")[2].partition("\n")[0], name

"""The map of the contract: every branch is told once, in its state, in bounded space."""

from __future__ import annotations

import re
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rejoinder.model.footer import Acceptance, CoverageResult, Footer, IsolatedRefusal, RefusedGroup
from rejoinder.model.header import RunTarget, new_header
from rejoinder.model.runfile import Run
from rejoinder.reports import render_html, render_markdown, summarize
from rejoinder.reports.parts.contract.coverage import ITSELF, ContractCoverage, CoverageNode, read_contract


def run_with(branches: dict[Acceptance, list[str]], **counts: int) -> Run:
    found = {Acceptance(state): count for state, count in counts.items()}
    coverage = CoverageResult(total=sum(counts.values()), counts=found, branches=branches)
    header = new_header(RunTarget(url="", model=None, dialect="northstar"))
    return Run(header, footer=Footer(ended_at=1.0, exit_code=0, coverage=coverage))


def _read(**branches: list[str]) -> ContractCoverage:
    contract = read_contract(run_with({Acceptance(state): names for state, names in branches.items()}))
    assert contract is not None
    return contract


def _told(nodes: list[CoverageNode], path: str = "") -> list[tuple[str, str]]:
    """Return every branch that the tree tells, by its name, with its state."""
    found = []
    for node in nodes:
        here = path + node.label
        for state, names in node.choices.items():
            found += [(f"{here}={name}" if name != ITSELF else here, state.value) for name in names]
        found += _told(node.children, here)
    return found


def test_every_branch_is_told_once(examples: ModuleType) -> None:
    coverage = examples.coverage()
    contract = read_contract(run_with(coverage.branches))
    assert contract is not None
    told = dict(_told(contract.nodes))
    assert len(_told(contract.nodes)) == len(told) == coverage.total == contract.total
    for state, names in coverage.branches.items():
        for name in names:
            path, _, choice = name.partition("=")
            # The branch that takes a variant is told where the variant is.
            assert told.get(name, told.get(f"{path}[{choice}]")) == state
    assert contract.hidden == 0
    assert sum(tile.counts.total() for tile in contract.tiles) == contract.total


def test_places_are_nested_and_joined() -> None:
    contract = _read(
        accepted=["input=array", "input=string", "input[array][]=Message", "input[array][][Message].role=user"],
        server_error=["input[array][]=Call", "input[array][][Call].id=null", "input[array][][Call].id=value"],
        not_sent=["store=null"],
    )
    assert [node.label for node in contract.nodes] == ["input", "store"]
    (items,) = contract.nodes[0].children
    assert (items.label, items.tally) == ("[array][]", "3 server error, 2 accepted without visible effect")
    assert [(node.label, node.tally) for node in items.children] == [
        ("[Call].id", "all 2 server error"),
        ("[Message].role", "1 accepted without visible effect"),
    ]
    assert items.choices == {Acceptance.ACCEPTED: ["Message"], Acceptance.SERVER_ERROR: ["Call"]}
    assert contract.sentence == "Request contract: 4 of 8 branches accepted, 3 server error, 1 not sent."


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        ("accepted", "Request contract: 2 of 2 branches accepted."),
        ("ignored", "Request contract: 2 of 2 branches accepted (2 ignored)."),
        ("server_error", "Request contract: 0 of 2 branches accepted, 2 server error."),
        ("refused_together", "Request contract: 0 of 2 branches accepted, 2 refused only together with others."),
        ("not_sent", "Request contract: 0 of 2 branches accepted, 2 not sent."),
        # The words of older run files.
        ("failed", "Request contract: 0 of 2 branches accepted, 2 no complete response."),
        ("refused", "Request contract: 0 of 2 branches accepted, 2 refused only together with others."),
    ],
)
def test_one_state_is_one_sentence(state: str, sentence: str) -> None:
    assert _read(**{state: ["a=1", "a=2"]}).sentence == sentence


def test_a_footer_without_coverage_tells_nothing() -> None:
    found = run_with({})
    assert read_contract(found) is None
    found.footer = None
    assert read_contract(found) is None


def test_what_is_refused_with_another_branch_has_its_place() -> None:
    run = run_with(
        {
            Acceptance.REFUSED: ["input[][]=Call"],
            Acceptance.PART: ["input[][][Call].id=null", "input[][][Call].id=value"],
            Acceptance.TOGETHER: ["input[][]=Output", "user=value"],
        }
    )
    assert run.footer is not None
    assert run.footer.coverage is not None
    run.footer.coverage.refusals = [
        IsolatedRefusal(
            branches=["input[][]=Call"], state=Acceptance.REFUSED, exchange="e1", control="e2", status=400, words="No."
        )
    ]
    run.footer.coverage.parts = [
        RefusedGroup(branches=["input[][][Call].id=null", "input[][][Call].id=value"], culprits=["input[][]=Call"])
    ]
    run.footer.coverage.together = [
        RefusedGroup(branches=["input[][]=Output"], culprits=["input[][]=Call"]),
        RefusedGroup(branches=["user=value"]),
    ]
    contract = read_contract(run)
    assert contract is not None
    assert contract.brief == (
        "0 of 5 branches accepted, 1 refused, 2 refused as part of another, 2 refused only together with others"
    )
    assert [row.inside for row in contract.refusals] == [2]
    assert [(row.amount, row.others) for row in contract.together] == [(1, "input[][]=Call"), (1, "")]
    assert "<td>2 branches</td>" in _section(render_html(run))
    assert "| refused | 2 | 400 No" in render_markdown(run).replace("\\", "")


def test_counts_alone_are_enough() -> None:
    contract = read_contract(run_with({}, accepted=5, not_sent=2))
    assert contract is not None
    assert contract.sentence == "Request contract: 5 of 7 branches accepted, 2 not sent."
    assert (contract.nodes, contract.hidden) == ([], 7)


def _section(text: str) -> str:
    match = re.search(r'<section id="contract">.*?</section>', text, re.DOTALL)
    assert match is not None
    return match.group()


def test_the_whole_contract_stays_small(examples: ModuleType) -> None:
    assert len(_section(render_html(examples.typical())).encode()) < 70_000


def test_a_contract_without_end_is_bounded() -> None:
    names = [f"field{n}.part{n % 7}[Variant{n}].leaf=value{m}" for n in range(3000) for m in range(3)]
    run = run_with({Acceptance.NOT_SENT: names[:-3], Acceptance.SERVER_ERROR: names[-3:]})
    text = _section(render_html(run))
    assert len(text.encode()) < 110_000
    assert "more branches are in the run file" in " ".join(text.split())
    assert "field2999" in text, "the worst come first"


def test_colour_is_not_alone(examples: ModuleType) -> None:
    text = _section(render_html(examples.typical()))
    for state in ("server_error", "refused_alone", "refused_together", "not_sent"):
        assert f'<pattern id="p-{state}"' in text
    for word in ("accepted", "refused", "server error", "not sent"):
        assert re.search(rf"<button[^>]*>.*?{word}\s", text)
    assert re.search(r'<code>\.image_url</code> <i class="server_error">', text)


def test_every_writer_tells_it_in_a_line(examples: ModuleType) -> None:
    run = examples.typical()
    contract = read_contract(run)
    assert contract is not None
    assert f"contract {contract.brief}" in " ".join(summarize(run).plain().split())
    assert contract.sentence.rstrip(".") in render_markdown(run).replace("\\", "")
    assert contract.sentence in render_html(run)


TEXT = st.text(st.sampled_from("ab[].{}=_\u202e\ud800<"), max_size=12)


@given(st.dictionaries(st.sampled_from(Acceptance), st.lists(TEXT, max_size=12)))
def test_any_names_give_a_tree(branches: dict[Acceptance, list[str]]) -> None:
    contract = read_contract(run_with(branches))
    amount = sum(len(names) for names in branches.values())
    if contract is None:
        assert amount == 0
        return
    assert contract.total == amount
    assert sum(node.total for node in contract.nodes) + contract.hidden == amount
    for tile in contract.tiles:
        assert -1e-6 <= tile.x <= tile.x + tile.width <= 100 + 1e-6
        assert -1e-6 <= tile.y <= tile.y + tile.height <= 100 + 1e-6

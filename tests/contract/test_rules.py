"""The rule catalogue is complete data."""

from __future__ import annotations

import re
import tomllib
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import tomlkit

from rejoinder.contract import (
    FAMILIES,
    Citation,
    Follows,
    Rule,
    Within,
    client_of,
    dialect_family,
    dialect_names,
    load_documents,
    load_rules,
    read_rules,
    speaks_for,
)
from rejoinder.errors import ContractError
from rejoinder.model.effect import Effect
from rejoinder.model.verdict import Level

RULES = load_rules()


@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
def test_rows(rule: Rule) -> None:
    assert re.fullmatch(r"[A-Z]{3,4}-\d\d", rule.id)
    assert rule.family in FAMILIES
    assert rule.title
    assert not rule.title.endswith(".")
    assert rule.statement.endswith(".")
    assert rule.basis
    assert set(rule.levels) <= set(dialect_names())
    for name, level in rule.levels.items():
        otherwise = (rule.levels[base] for base in dialect_family(name)[1:] if base in rule.levels)
        assert level is not next(otherwise, rule.level), name
    assert rule.level_in("nowhere") is rule.level


def test_every_row_of_the_catalogue_names_its_effect() -> None:
    folder = files("rejoinder.contract").joinpath("rules")
    for file in folder.iterdir():
        for row in tomllib.loads(file.read_text("utf-8"))["rule"]:
            assert "effect" in row, row["id"]


def test_causes_are_read(tmp_path: Path) -> None:
    causes = ["EVT-01", {"rule": "EVT-02", "within": "item", "pointer": "/x", "kind": "y"}]
    [rule] = read(write(tmp_path / "own", {**ROW, "effect": "data_lost", "follows": causes}))
    assert rule.effect is Effect.DATA_LOST
    assert rule.follows == (Follows("EVT-01"), Follows("EVT-02", Within.ITEM, "/x", "y"))
    own = {"rule": "ACME-01", "kind": "b", "cause_kind": "a", "within": "run", "also": ["EVT-01"]}
    [rule] = read(write(tmp_path / "within", {**ROW, "follows": [own], "fields_are_places": True}))
    assert rule.follows == (Follows("ACME-01", Within.RUN, kind="b", cause_kind="a", also=("EVT-01",)),)
    assert rule.fields_are_places
    [plain] = read(write(tmp_path / "plain", ROW))
    assert (plain.effect, plain.follows) == (Effect.MISLEADING, ())


def test_every_family_has_rules_in_order() -> None:
    ids = list(RULES)
    assert {rule.family for rule in RULES.values()} == set(FAMILIES)
    for family in FAMILIES:
        numbers = [int(id.partition("-")[2]) for id in ids if id.startswith(f"{family}-")]
        assert numbers == sorted(set(numbers))


def test_titles_tell_rules_apart() -> None:
    titles = [rule.title for rule in RULES.values()]
    assert len(set(titles)) == len(titles)


ROW = {
    "id": "ACME-01",
    "title": "gateways say their name",
    "statement": "Every reply names the gateway.",
    "level": "MUST",
    "features": [],
    "argument": "Without a name nobody can tell gateways apart.",
}
CITATION: dict[str, Any] = {
    "name": "Acme handbook",
    "url": "https://acme.example/handbook",
    "section": "Replies",
    "revision": "3.1",
    "checked": date(2026, 11, 27),
}


def write(folder: Path, *rows: object, name: str = "acme.toml") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(tomlkit.dumps({"rule": list(rows)}), "utf-8")
    return folder


def read(folder: Path) -> list[Rule]:
    return list(read_rules(folder, ["ACME"], ["streaming", "background"]).values())


def test_rows_of_ones_own_are_read_from_a_folder(tmp_path: Path) -> None:
    cited = {**ROW, "id": "ACME-02", "features": ["streaming"], "sources": [CITATION], "levels": {"openai": "MAY"}}
    first, second = read(write(tmp_path / "own", ROW, cited))
    assert (first.family, first.sources, first.basis) == ("ACME", (), ROW["argument"])
    assert second.sources == (Citation(**CITATION),)
    assert second.basis == "Acme handbook, Replies (3.1)"
    assert (second.features, second.level_in("openai"), second.level_in("northstar")) == (
        ("streaming",),
        Level.MAY,
        Level.MUST,
    )


def test_a_source_names_a_document_with_the_place_in_it(tmp_path: Path) -> None:
    sources = [
        {"document": "vllm", "path": "tests/test_x.py#L12", "section": "test_x"},
        {"document": "rfc9110", "path": "#section-15.5", "section": "section 15.5"},
        {"document": "openai-openapi", "section": "Response"},
    ]
    [rule] = read(write(tmp_path / "own", {**ROW, "sources": sources}))
    file, section, whole = rule.sources
    documents = load_documents()
    assert (file.name, file.url) == ("vLLM, test_x.py", f"{documents['vllm']['url']}tests/test_x.py#L12")
    assert (section.name, section.url) == ("RFC 9110", f"{documents['rfc9110']['url']}#section-15.5")
    assert (whole.name, whole.url, whole.section) == (
        "OpenAI OpenAPI document",
        documents["openai-openapi"]["url"],
        "Response",
    )
    assert (whole.revision, whole.checked) == tuple(documents["openai-openapi"][key] for key in ("revision", "checked"))


def test_a_document_speaks_for_its_dialects(tmp_path: Path) -> None:
    read_there = {"document": "openai-python", "section": "Stream.__stream__", "finding": "It stops at the sentinel."}
    row = {**ROW, "searched": [read_there], "breaks_client": [read_there], "sources": [CITATION]}
    [rule] = read(write(tmp_path / "own", row))
    [place] = rule.searched
    assert rule.breaks_client == (place,)
    assert (place.finding, place.source.section) == ("It stops at the sentinel.", "Stream.__stream__")
    assert speaks_for(place.source) == client_of(place.source) == {"northstar", "openai", "vllm"}
    assert not speaks_for(rule.sources[0])
    assert not client_of(rule.sources[0])


def test_every_document_is_cited() -> None:
    cited = {
        (source.revision, source.url)
        for rule in RULES.values()
        for source in (*rule.sources, *(place.source for place in (*rule.searched, *rule.breaks_client)))
    }
    for name, document in load_documents().items():
        assert any(revision == document["revision"] and url.startswith(document["url"]) for revision, url in cited), (
            name
        )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"sources": [{"document": "vlm", "section": "x"}]},
            'a source: "vlm" is not a known document. Did you mean vllm?',
        ),
        ({"sources": [{"document": "vllm"}]}, "a source: section is missing."),
        ({"sources": [{"document": "vllm", "section": "x", "url": "y"}]}, "a source: unknown key 'url'."),
        ({"featurs": []}, "own/acme.toml: rule ACME-01: unknown key 'featurs'. Did you mean features?"),
        ({"features": ["streming"]}, 'rule ACME-01: "streming" is not a known feature. Did you mean streaming?'),
        ({"features": ["x"]}, '"x" is not a known feature. Use one of streaming, background.'),
        ({"features": "streaming"}, "rule ACME-01: features must be a list."),
        ({"features": ["streaming", "streaming"]}, "rule ACME-01: features lists a feature twice."),
        ({"features": None}, "rule ACME-01: features is missing."),
        ({"title": None}, "rule ACME-01: title is missing."),
        ({"title": ""}, "rule ACME-01: title is empty."),
        ({"id": None}, "own/acme.toml: rule number 1: id is missing."),
        ({"id": "ACNE-01"}, "rule ACNE-01: ids of this file have the form ACME-01."),
        ({"level": "must"}, '"must" is not a known level. Use one of MUST, SHOULD, MAY, OFF.'),
        ({"levels": {"opneai": "MAY"}}, '"opneai" is not a known dialect. Did you mean openai?'),
        ({"effect": "bad"}, '"bad" is not a known effect. Use one of client_breaks, data_lost, wrong_answer'),
        ({"follows": ["ACME-01"]}, "rule ACME-01, a cause: a rule cannot follow from itself."),
        ({"follows": [{"rule": "EVT-01", "within": "x"}]}, '"x" is not a known place. Use one of place, event, item'),
        ({"follows": [{"within": "case"}]}, "rule ACME-01, a cause: rule is missing."),
        ({"argument": None}, "rule ACME-01: it has neither sources nor an argument. Name the documents"),
        ({"searched": [{"document": "vllm", "section": "x"}]}, "a place of breaks_client or searched has no finding."),
        ({"breaks_client": [{"finding": "It crashes."}]}, "a source: name is missing."),
        ({"searched": "vllm"}, "rule ACME-01: searched must be a list."),
        ({"sources": ["RFC 9110"]}, "rule ACME-01, a source: it must be a table."),
        ({"sources": [{**CITATION, "link": "x"}]}, "a source: unknown key 'link'."),
        ({"sources": [{**CITATION, "url": "acme.example"}]}, "a source: url is not a link: 'acme.example'."),
        ({"sources": [{**CITATION, "checked": "2026"}]}, "rule ACME-01, a source: checked must be a date."),
        *(
            ({"sources": [{k: v for k, v in CITATION.items() if k != key}]}, f"a source: {key} is missing.")
            for key in CITATION
        ),
    ],
)
def test_a_bad_row_is_told_with_its_place(tmp_path: Path, change: dict[str, object], words: str) -> None:
    row = {key: value for key, value in {**ROW, **change}.items() if value is not None}
    with pytest.raises(ContractError) as caught:
        read(write(tmp_path / "own", row))
    assert words in str(caught.value)


def test_a_bad_folder_is_told_with_its_place(tmp_path: Path) -> None:
    own = tmp_path / "own"
    with pytest.raises(ContractError, match=r"Cannot read the rules folder .*: No such file or directory"):
        read(own)
    own.mkdir()
    with pytest.raises(ContractError, match=r"Cannot read own/acme\.toml, the rules of family ACME: No such file"):
        read(own)
    with pytest.raises(ContractError, match="has two rules ACME-01"):
        read(write(own, ROW, ROW))
    (own / "acme.toml").write_text("[[rule]]\nid = ", "utf-8")
    with pytest.raises(ContractError, match=r"own/acme\.toml is not valid TOML"):
        read(own)
    (own / "acme.toml").write_text("title = 'x'", "utf-8")
    with pytest.raises(ContractError, match="has only"):
        read(own)
    with pytest.raises(ContractError, match=r"acne\.toml has the name of no rule family\. Did you mean acme\.toml\?"):
        read(write(own, ROW, name="acne.toml"))

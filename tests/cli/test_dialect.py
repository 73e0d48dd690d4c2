"""``rejoinder dialect``: from an OpenAPI document to a dialect, what is in one, and what differs between two."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.conftest import Invoke
from tests.contract.openapi.documents import PUBLISHED, small

from rejoinder.contract import dialect_names, load_dialect


def written(folder: Path) -> Path:
    path = folder / "openapi.json"
    path.write_text(json.dumps(small()), "utf-8")
    return path


def test_a_document_becomes_a_dialect_that_can_be_used(invoke: Invoke, tmp_path: Path) -> None:
    code, out, err = invoke("dialect", "from-openapi", str(written(tmp_path)), "--name", "ours", "--out", "made")
    assert (code, err) == (0, "")
    assert out.startswith("Wrote made/ours.toml: 4 request fields, ")
    assert "3 places not carried over as written:" in out
    assert "gateway.moved: no role follows from its name and fields; the event is known and ignored" in out
    assert f"{tmp_path}/openapi.json#/paths/~1v1~1responses~1{{id}}~1explain/get" in out
    assert load_dialect(tmp_path / "made" / "ours.toml").parameters == {"model", "input", "stream", "truncation"}
    code, out, _ = invoke("dialect", "show", "made/ours.toml")
    assert code == 0
    assert "ours (Our Gateway)" in out
    assert "retrieve (GET /v1/responses/{response_id})" in out


def test_what_is_not_carried_over_as_json(invoke: Invoke, tmp_path: Path) -> None:
    code, out, _ = invoke("dialect", "from-openapi", str(written(tmp_path)), "--json")
    assert code == 0
    report = json.loads(out)
    assert report["dialect"] == "our-gateway.toml"
    assert {tuple(loss) for loss in report["not_carried_over"]} == {("pointer", "keyword", "what")}


def test_the_base_gives_what_the_document_lacks(invoke: Invoke, tmp_path: Path) -> None:
    document = small()
    post = document["paths"]["/v1/responses"]["post"]
    post["responses"] = {}
    (tmp_path / "api.json").write_text(json.dumps(document), "utf-8")
    code, out, _ = invoke("dialect", "from-openapi", "api.json", "--name", "ours", "--base", "openai")
    assert code == 0
    assert "From openai: the schemas response, events, error, and the parameters" in out
    assert load_dialect(tmp_path / "ours.toml").lineage[:2] == ("ours", "openai")


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("none.json",), "Cannot read none.json"),
        (("api.yaml",), "api.yaml is YAML, expected JSON."),
        (("pets.json",), "pets.json: at /paths, keyword 'paths': no path ends with /responses"),
        (("remote.json",), "rejoinder fetches no references"),
        (("openapi.json", "--name", "openai"), '"openai" is the name of a shipped dialect.'),
        (("openapi.json", "--base", "nope"), '"nope" is not a dialect.'),
        (("openapi.json", "--out", "openapi.json/x"), "openapi.json"),
    ],
)
def test_what_cannot_be_used_is_one_error(invoke: Invoke, tmp_path: Path, words: tuple[str, ...], what: str) -> None:
    written(tmp_path)
    (tmp_path / "api.yaml").write_text("openapi: 3.1.0\n", "utf-8")
    (tmp_path / "pets.json").write_text('{"openapi": "3.1.0", "paths": {"/pets": {}}}', "utf-8")
    remote = small()
    remote["components"]["schemas"]["Text"] = {"$ref": "https://127.0.0.1:9/text.json"}
    (tmp_path / "remote.json").write_text(json.dumps(remote), "utf-8")
    code, out, err = invoke("dialect", "from-openapi", *words)
    assert (code, out) == (2, "")
    assert err.startswith("Error: ")
    assert what in err
    assert len(err.splitlines()) == 2
    assert not list(tmp_path.glob("*.toml"))


def test_a_dialect_has_no_difference_from_itself(invoke: Invoke) -> None:
    assert invoke("dialect", "diff", "openai", "openai") == (0, "openai and openai have the same data.\n", "")


def test_differences_of_a_custom_dialect(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "ours.toml").write_text(
        'name = "ours"\nbase = "openai"\n[response]\nrequest_id = true\n'
        '[overlay.request]\nremove = ["/properties/service_tier"]\n'
        '[overlay.request.add]\n"/properties/route" = { enum = ["east", "west"] }\n'
        '"/properties/safety_identifier/anyOf/0/maxLength" = 64\n'
        '[overlay.request.include]\n"/required" = ["model"]\n'
        '[overlay.request.replace]\n"/$defs/Conversation/properties/id" = { type = "integer" }\n'
        '[overlay.events.add."/$defs/gateway:moved"]\ntype = "object"\nx-role = "other"\n'
        '[overlay.operations]\nremove = ["/x-operations/compact"]\n',
        "utf-8",
    )
    code, out, err = invoke("dialect", "diff", "openai", "ours.toml", "--area", "request", "--area", "events")
    assert (code, err) == (1, "")
    assert out.splitlines() == [
        "Request: 5 differences",
        "  conversation.id: type string in openai, integer in ours",
        "  model: required no in openai, yes in ours",
        "  route: only in ours",
        "  safety_identifier: maxLength none in openai, 64 in ours",
        "  service_tier: only in openai",
        "Events: 1 difference",
        "  gateway:moved: only in ours (other)",
    ]
    code, out, _ = invoke("dialect", "diff", "openai", "ours.toml", "--json")
    assert code == 1
    report = json.loads(out)
    assert (report["one"], report["other"]) == ("openai", "ours")
    rows = {(row["area"], row["place"]): row for row in report["differences"]}
    assert rows["operations", "compact"] == {
        "area": "operations", "place": "compact", "kind": "presence", "one": "POST /v1/responses/compact",
    }  # fmt: skip
    assert rows["parameters", "response.request_id"] == {
        "area": "parameters", "place": "response.request_id", "kind": "value", "one": False, "other": True,
    }  # fmt: skip


def test_a_document_and_the_dialect_made_of_it(invoke: Invoke) -> None:
    """Only what the dialect file adds to the document is left: extensions, own statuses, and parameters."""
    assert invoke("dialect", "from-openapi", str(PUBLISHED), "--name", "ours")[0] == 0
    code, out, _ = invoke("dialect", "diff", "ours.toml", "openresponses", "--json")
    assert code == 1
    areas = {row["area"] for row in json.loads(out)["differences"]}
    assert "events" not in areas
    request = [row for row in json.loads(out)["differences"] if row["area"] == "request"]
    assert {row["kind"] for row in request} <= {"presence", "pattern", "values", "type", "required"}
    assert len(request) < 8


@pytest.mark.parametrize("name", dialect_names())
def test_every_shipped_dialect_can_be_shown(invoke: Invoke, name: str) -> None:
    code, out, _ = invoke("dialect", "show", name)
    assert code == 0
    assert f"Dialect     {load_dialect(name).label}" in out
    assert "done_sentinel" in out

"""The JSON Schema of the run file is generated from the types.

``python tests/model/test_reference.py`` writes it anew; the tests here compare.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from jsonschema import Draft202012Validator

from rejoinder.model.exchange import Chunk, Exchange, Outcome, Request
from rejoinder.model.footer import Footer
from rejoinder.model.header import Header
from rejoinder.model.histogram import Histogram
from rejoinder.model.metrics import TIMES, Place, rows_shown
from rejoinder.model.outcomes import OUTCOMES, RequestOutcome
from rejoinder.model.runfile import run_schema
from rejoinder.model.samples import KINDS, HistogramSample, Repeat, Sample, SearchStep, step_latencies
from rejoinder.model.script import Step, Taken
from rejoinder.model.verdict import Finding, Known, Level, Minimal, Problem, Reruns, Status, Verdict

_LINES: Final = ("header", "exchange", "verdict", "sample", "footer")
_REF: Final = "#/$defs/{name}"


def generate_schema(published: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON Schema of one run file line: that of the types, in a published one.

    What is not generated from types (exchange, verdict and what they refer to) is taken as published; tests compare.
    """
    samples = [kind for kinds in KINDS.values() for kind in kinds]
    _, made = msgspec.json.schema_components([*samples, Header, Footer], ref_template=_REF)
    definitions = {name: _tidied(definition) for name, definition in made.items()}
    for kind in samples:
        definitions[kind.__name__] = _flattened(kind, definitions[kind.__name__])
    lines = {name: _untagged(definitions.pop(name.title())) for name in ("header", "footer")}
    definitions.pop(Histogram.__name__)
    definitions[RequestOutcome.__name__] = {
        "description": "How a request under load ended.",
        "oneOf": [{"const": outcome.value, "description": row.meaning} for outcome, row in OUTCOMES.items()],
    }
    kept = {
        name: published["$defs"][name]
        for name in ("seconds", "exchange", "request", "pairs", "verdict", "finding", "step")
    }
    return {**published, "$defs": {**kept, **lines, "sample": _sample(), **dict(sorted(definitions.items()))}}


def _sample() -> dict[str, Any]:
    """Return the definition of a sample line, which ``what`` tells apart."""
    described = {what: kinds[0].__doc__ or "" for what, kinds in KINDS.items()}
    described["step"] = "The figures of one step of a search or of one repetition, written as soon as it has ended."
    branches = []
    for what, kinds in KINDS.items():
        then: dict[str, Any] = {"$ref": _REF.format(name=kinds[0].__name__)}
        if kinds == (SearchStep, Repeat):
            repeat = {"$ref": _REF.format(name=Repeat.__name__)}
            then = {"if": {"required": ["of"]}, "then": repeat, "else": then}
        branches.append({"if": {"properties": {"what": {"const": what}}}, "then": then})
    kinds_of_lines = [{"const": what, "description": _sentence(text)} for what, text in described.items()]
    return {"required": ["what"], "properties": {"what": {"oneOf": kinds_of_lines}}, "allOf": branches}


def _untagged(definition: dict[str, Any]) -> dict[str, Any]:
    """Return the definition of a line without ``kind``, which the schema of all lines has."""
    properties = {name: value for name, value in definition["properties"].items() if name != "kind"}
    return {**definition, "properties": properties, "required": [n for n in definition["required"] if n != "kind"]}


def _flattened(kind: type[Sample], definition: dict[str, Any]) -> dict[str, Any]:
    """Return the definition of a sample with the entries of its flat field among its properties."""
    # ``what`` stands in lines alone, not in the steps inside a load line.
    required = [name for name in definition["required"] if name != "what"]
    properties = {name: value for name, value in definition["properties"].items() if name not in ("what", kind.flat)}
    entry = definition["properties"].get(kind.flat, {}).get("additionalProperties", {})
    if kind is SearchStep:
        for name, (metric, percent) in step_latencies().items():
            text = f"{TIMES[metric].short} p{percent:g} of good requests; absent with too few samples"
            properties[name] = {"description": text, **entry}
    elif kind is HistogramSample:
        (_, made) = msgspec.json.schema_components([Histogram], ref_template=_REF)
        values = _tidied(made[Histogram.__name__])["properties"]
        properties |= values
        required = [name for name in required if name != kind.flat] + [
            name for name in values if name not in kind.optional
        ]
    elif kind.flat:
        for row in rows_shown(Place.REQUEST):
            properties[row.name] = {"description": row.meaning, **entry}
    return {**definition, "properties": properties, "required": required}


def _tidied(value: Any) -> Any:
    """Return a generated schema without titles that only repeat names, and without defaults."""
    if isinstance(value, dict):
        return {key: _tidied(child) for key, child in value.items() if key not in ("title", "default")}
    return [_tidied(child) for child in value] if isinstance(value, list) else value


def _sentence(text: str) -> str:
    """Return the first paragraph of a docstring on one line, without the marks of its markup."""
    return " ".join(text.split("\n\n")[0].replace("``", "").split())


ROOT = Path(__file__).parents[2]
SCHEMA = run_schema()


def test_the_schema_is_that_of_the_types() -> None:
    assert generate_schema(SCHEMA) == SCHEMA
    written = (ROOT / "src" / "rejoinder" / "model" / "runfile.schema.json").read_text("utf-8")
    assert written == json.dumps(SCHEMA, indent=1, ensure_ascii=False) + "\n"
    Draft202012Validator.check_schema(SCHEMA)


def fields(definition: Any, place: str) -> list[tuple[str, dict[str, Any]]]:
    """Return every field of a definition by its place, those of objects inside it too."""
    found = []
    for name, field in definition.get("properties", {}).items():
        found += [(f"{place}.{name}", field), *fields(field, f"{place}.{name}")]
        items = field.get("items")
        found += fields(items, f"{place}.{name}[]") if isinstance(items, dict) else []
    return found


@pytest.mark.parametrize(
    ("place", "field"), [one for name, definition in SCHEMA["$defs"].items() for one in fields(definition, name)]
)
def test_every_field_is_described(place: str, field: dict[str, Any]) -> None:
    assert field.get("description") or place == "sample.what"


def test_the_definitions_by_hand_are_those_of_the_types() -> None:
    request = Request("POST", "/", (("a", "b"),), b"\xff")
    exchange = Exchange("x", request, Outcome.COMPLETE, 200, (("a", "b"),), (Chunk(0.1, b"{}"),))
    problem = Problem("m", "/p", 1, "t", expected=1, actual=2, kind="k", offset=3, exchange="x")
    taken = Taken(0, "/id", "/previous_response_id"), Taken(0, "/id", text="resp_1")
    step = Step(request, "c", "r", ("valid",), "x", taken, True, 1.0, True, 2.0, 3, 0.1, 2, ("input",))
    minimal = Minimal(request, "x", 2, (step,), "The input is missing.", reduced=False)
    finding = Finding("EVT-01", Level.MUST, problem, reruns=Reruns(3, 1, 1), minimal=minimal)
    finding.known = Known("r", "https://x.example", "2026-12-31")
    finding.defect, finding.cause = "0123456789ab", "ba9876543210"
    judged = Verdict("EVT-01", Level.MUST, Status.FAIL, findings=[finding], blocked_by="x")
    judged.defects = {finding.group: 1}
    verdict = judged.to_json()
    definitions, [found] = SCHEMA["$defs"], verdict["findings"]
    either = {"body", "body_base64"}
    fields = definitions["finding"]["properties"]
    for record, definition in (
        (exchange.to_json().keys() | either, definitions["exchange"]),
        (request.to_json().keys() | either, definitions["request"]),
        (verdict, definitions["verdict"]),
        (found, definitions["finding"]),
        (found["evidence"], fields["evidence"]),
        (found["reruns"], fields["reruns"]),
        (found["known"], fields["known"]),
        (verdict["defects"][0], definitions["verdict"]["properties"]["defects"]["items"]),
    ):
        assert set(record) == set(definition["properties"])
        assert set(definition["required"]) <= set(record)
    assert found["minimal"].keys() - request.to_json().keys() == fields["minimal"]["properties"].keys()
    assert step.to_json().keys() - request.to_json().keys() == definitions["step"]["properties"].keys()
    wanted = definitions["step"]["properties"]["taken"]["items"]["properties"].keys()
    assert {name for one in taken for name in one.to_json()} == wanted
    for enum, definition in (
        (Outcome, definitions["exchange"]["properties"]["outcome"]),
        (Level, definitions["verdict"]["properties"]["level"]),
        (Level, fields["level"]),
        (Status, definitions["verdict"]["properties"]["status"]),
    ):
        assert definition["enum"] == [member.value for member in enum]


def write() -> None:
    """Write the schema."""
    schema = generate_schema(run_schema())
    source = ROOT / "src" / "rejoinder" / "model" / "runfile.schema.json"
    source.write_text(json.dumps(schema, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    write()

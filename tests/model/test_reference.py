"""What is generated from the model: the run file's JSON Schema, its reference page, and the tables of the load guide.

``python tests/model/test_reference.py`` writes them anew; the tests here compare.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from jsonschema import Draft202012Validator

from rejoinder.model.exchange import Chunk, Exchange, Outcome, Request
from rejoinder.model.footer import Footer
from rejoinder.model.header import Header
from rejoinder.model.histogram import Histogram
from rejoinder.model.metrics import METRICS, RATES, SERVER, TIMES, Place, times_shown
from rejoinder.model.outcomes import OUTCOMES, RequestOutcome
from rejoinder.model.runfile import run_schema
from rejoinder.model.samples import KINDS, HistogramSample, Repeat, Sample, SearchStep, step_latencies
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
        name: published["$defs"][name] for name in ("seconds", "exchange", "request", "pairs", "verdict", "finding")
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
        required = [name for name in required if name != kind.flat] + list(values)
    elif kind.flat:
        for row in times_shown(Place.REQUEST):
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


# Markdown


def run_file_page(schema: dict[str, Any]) -> str:
    """Return the reference of the run file (docs/reference/run-file.md): every field of every line, as Markdown."""
    definitions = schema["$defs"]
    lines = [
        "# The run file",
        "",
        "Generated from the types in `rejoinder.model` by `python tests/model/test_reference.py`.",
        "",
        *(schema["description"], ""),
        "A reader skips a line with a missing required field or an invalid value, and reports it with the reason. "
        "It ignores unknown fields. The JSON Schema of a line is `rejoinder/model/runfile.schema.json`.",
        "",
    ]
    for kind in _LINES:
        lines += [f"## `{kind}`", ""]
        if kind == "sample":
            lines += ["The field `what` names the kind of sample.", ""]
            for what, kinds in KINDS.items():
                for cls in kinds:
                    lines += [f"### `{what}`: {_sentence(cls.__doc__ or '')}", ""]
                    lines += _fields(definitions[cls.__name__])
        else:
            lines += _fields(definitions[kind])
    shown = {
        "header",
        "exchange",
        "verdict",
        "sample",
        "footer",
        *(kind.__name__ for one in KINDS.values() for kind in one),
    }
    lines += ["## Parts of lines", ""]
    for name, definition in definitions.items():
        if name not in shown and "properties" in definition:
            lines += [f"### {_title(name)}", ""]
            if text := definition.get("description"):
                lines += [_sentence(text), ""]
            lines += _fields(definition)
    return "\n".join(lines)


def _title(name: str) -> str:
    return name[:1].upper() + name[1:]


def _fields(definition: dict[str, Any]) -> list[str]:
    """Return a table of fields, those of objects that stand directly in a field among them."""
    return ["| field | type | meaning |", "| --- | --- | --- |", *_rows(definition), ""]


def _rows(definition: dict[str, Any], prefix: str = "") -> Iterator[str]:
    required = definition.get("required", [])
    for name, field in definition.get("properties", {}).items():
        text = field.get("description", "")
        unit = f" ({field['unit']})" if "unit" in field else ""
        optional = "" if name in required else ", optional"
        yield f"| `{prefix}{name}` | {_type(field)}{optional} | {text}{unit} |".replace("  ", " ")
        inner = field.get("items", field) if field.get("type") == "array" else field
        if isinstance(inner, dict) and "properties" in inner:
            yield from _rows(inner, f"{prefix}{name}{'[]' if inner is not field else ''}.")


def _type(field: dict[str, Any]) -> str:
    """Return the type of a field in a few words."""
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return {"seconds": "number"}.get(name, _title(name))
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return " or ".join(f"`{value}`" if value != "" else "empty" for value in field["enum"])
    for key in ("anyOf", "oneOf", "allOf"):
        if key in field:
            return " or ".join(dict.fromkeys(_type(one) for one in field[key] if one.get("type") != "null"))
    kind = field.get("type")
    if isinstance(kind, list):
        return " or ".join(kind)
    if kind == "array":
        if "prefixItems" in field:
            return "[" + ", ".join(_type(one) for one in field["prefixItems"]) + "]"
        return f"list of {_type(field.get('items', {}))}"
    if kind == "object" and isinstance(field.get("additionalProperties"), dict):
        return f"object of {_type(field['additionalProperties'])}"
    return str(kind or "any")


def metric_tables() -> str:
    """Return the metrics of a load run as Markdown tables; docs/how-to/load.md holds them."""
    lines = ["| time | title | definition | `--slo` | `--max-change` |", "| --- | --- | --- | --- | --- |"]
    for row in TIMES.values():
        names = ", ".join(f"`{name}`" for name in (row.name, *row.aliases))
        limits = "yes" if row.per_request else "with a statistic" if row.objective else "no"
        lines.append(f"| {names} | {row.title} | {row.meaning} | {limits} | {'yes' if row.change else 'no'} |")
    lines += ["", "| rate | definition |", "| --- | --- |"]
    for row in RATES.values():
        names = ", ".join(f"`{name}`" for name in (row.name, *row.aliases))
        lines.append(f"| {names} | {row.definition} |")
    return "\n".join(lines) + "\n"


def outcome_table() -> str:
    """Return the outcomes of requests as a Markdown table; docs/how-to/load.md holds it."""
    lines = ["| outcome | meaning | counts as |", "| --- | --- | --- |"]
    for outcome, row in OUTCOMES.items():
        lines.append(f"| `{outcome}` | {row.meaning} | {'good' if row.good else 'bad' if row.bad else 'neither'} |")
    return "\n".join(lines) + "\n"


def server_table() -> str:
    """Return the figures that a server reports as a Markdown table; docs/how-to/load.md holds it."""
    lines = ["| figure | meaning | unit |", "| --- | --- | --- |"]
    lines += [f"| `{name}` | {metric.meaning} | {metric.unit} |" for name, metric in SERVER.items()]
    return "\n".join(lines) + "\n"


TABLES: Final = {"metrics": metric_tables, "outcomes": outcome_table, "server": server_table}
"""The generated tables of docs/how-to/load.md, by the name in the comments around them."""


def with_tables(page: str) -> str:
    """Return a page with its generated tables as they are today; they stand between comments that name them."""
    for name, table in TABLES.items():
        begin, end = f"<!-- generated: {name} -->\n", f"<!-- end: {name} -->\n"
        before, _, rest = page.partition(begin)
        _, _, after = rest.partition(end)
        if not after:
            raise ValueError(f"the page has no place for the table {name!r}")
        page = f"{before}{begin}{table()}{end}{after}"
    return page


ROOT = Path(__file__).parents[2]
SCHEMA = run_schema()


def test_the_schema_is_that_of_the_types() -> None:
    assert generate_schema(SCHEMA) == SCHEMA
    written = (ROOT / "src" / "rejoinder" / "model" / "runfile.schema.json").read_text("utf-8")
    assert written == json.dumps(SCHEMA, indent=1, ensure_ascii=False) + "\n"
    Draft202012Validator.check_schema(SCHEMA)


def test_the_pages_are_up_to_date() -> None:
    assert (ROOT / "docs" / "reference" / "run-file.md").read_text("utf-8") == run_file_page(SCHEMA)
    guide = (ROOT / "docs" / "how-to" / "load.md").read_text("utf-8")
    assert with_tables(guide) == guide
    for name in (*METRICS, *OUTCOMES, *SERVER):
        assert f"`{name}`" in guide


def test_a_page_without_a_place_for_a_table_is_an_error() -> None:
    with pytest.raises(ValueError, match="no place for the table 'metrics'"):
        with_tables("# Load\n")


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
    finding = Finding("EVT-01", Level.MUST, problem, reruns=Reruns(3, 1), minimal=Minimal(request, "x", 2))
    finding.known = Known("r", "https://x.example", "2026-12-31")
    verdict = Verdict("EVT-01", Level.MUST, Status.FAIL, findings=[finding]).to_json()
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
    ):
        assert set(record) == set(definition["properties"])
        assert set(definition["required"]) <= set(record)
    assert found["minimal"].keys() - request.to_json().keys() == fields["minimal"]["properties"].keys()
    for enum, definition in (
        (Outcome, definitions["exchange"]["properties"]["outcome"]),
        (Level, definitions["verdict"]["properties"]["level"]),
        (Level, fields["level"]),
        (Status, definitions["verdict"]["properties"]["status"]),
    ):
        assert definition["enum"] == [member.value for member in enum]


def write() -> None:
    """Write everything that is generated."""
    schema = generate_schema(run_schema())
    source = ROOT / "src" / "rejoinder" / "model" / "runfile.schema.json"
    source.write_text(json.dumps(schema, indent=1, ensure_ascii=False) + "\n", "utf-8")
    (ROOT / "docs" / "reference" / "run-file.md").write_text(run_file_page(schema), "utf-8")
    guide = ROOT / "docs" / "how-to" / "load.md"
    guide.write_text(with_tables(guide.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    write()

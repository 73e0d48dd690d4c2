"""The formats of files: run files, workloads with the shipped profiles, and baselines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

from rejoinder.load.workload.profiles import load_profile, shipped_profiles
from rejoinder.model.runfile import run_schema
from rejoinder.model.samples import KINDS
from rejoinder_reference import markdown as md

Schema = dict[str, Any]
_LINES = ("header", "exchange", "verdict", "sample", "footer")


def pages() -> dict[str, str]:
    """Return the pages of run files, workloads and baselines."""
    return {"run-file": run_file_page(run_schema()), "workloads": _workloads(), "baseline": _baseline()}


def run_file_page(schema: Schema) -> str:
    """Return the page of the run file: every field of every line."""
    definitions = schema["$defs"]
    lines = [
        *(md.text(schema["description"]), ""),
        "A reader skips a line with a missing required field or an invalid value, and reports it with the reason. It "
        "ignores unknown fields. The JSON Schema of a line is `rejoinder/model/runfile.schema.json`.",
        "",
    ]
    for kind in _LINES:
        lines += [f"## `{kind}`", ""]
        if kind == "sample":
            lines += ["The field `what` names the kind of sample.", ""]
            for what, kinds in KINDS.items():
                for cls in kinds:
                    definition = definitions[cls.__name__]
                    lines += [
                        f"({_anchor(cls.__name__)})=",
                        f"### `{what}`: {md.text(definition['description']).rstrip('.')}",
                        "",
                    ]
                    lines += _fields(definition, definitions)
        else:
            lines += _fields(definitions[kind], definitions)
    shown = {*_LINES, *(kind.__name__ for one in KINDS.values() for kind in one)}
    lines += ["## Parts of lines", ""]
    for name, definition in definitions.items():
        if name not in shown and "properties" in definition:
            lines += [f"({_anchor(name)})=", f"### {_title(name)}", ""]
            if description := definition.get("description"):
                lines += [md.text(description), ""]
            lines += _fields(definition, definitions)
    return md.page("Run file", *lines)


def _anchor(name: str) -> str:
    return f"run-file-{name.lower()}"


def _title(name: str) -> str:
    return name[:1].upper() + name[1:]


def _fields(definition: Schema, definitions: Schema) -> list[str]:
    """Return a table of fields, those of objects that stand directly in a field among them."""
    return md.table(["field", "type", "meaning"], _rows(definition, definitions))


def _rows(definition: Schema, definitions: Schema, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    required = definition.get("required", [])
    for name, field in definition.get("properties", {}).items():
        unit = f" ({field['unit']})" if "unit" in field else ""
        optional = "" if name in required else ", optional"
        yield (
            md.code(f"{prefix}{name}"),
            f"{_type(field, definitions)}{optional}",
            f"{md.text(field.get('description', ''))}{unit}",
        )
        inner = field.get("items", field) if field.get("type") == "array" else field
        if isinstance(inner, dict) and "properties" in inner:
            yield from _rows(inner, definitions, f"{prefix}{name}{'[]' if inner is not field else ''}.")


def _type(field: Schema, definitions: Schema) -> str:
    """Return the type of a field in a few words, with a link to the part that it names."""
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        linked = "properties" in definitions.get(name, {})
        return f"[{_title(name)}](#{_anchor(name)})" if linked else {"seconds": "number"}.get(name, _title(name))
    if "const" in field:
        return md.code(str(field["const"]))
    if "enum" in field:
        return " or ".join(md.code(str(value)) if value != "" else "empty" for value in field["enum"])
    for key in ("anyOf", "oneOf", "allOf"):
        if key in field:
            kinds = (_type(one, definitions) for one in field[key] if one.get("type") != "null")
            return " or ".join(dict.fromkeys(kinds))
    kind = field.get("type")
    if isinstance(kind, list):
        return " or ".join(kind)
    if kind == "array":
        if "prefixItems" in field:
            return rf"\[{', '.join(_type(one, definitions) for one in field['prefixItems'])}\]"
        return f"list of {_type(field.get('items', {}), definitions)}"
    if kind == "object" and isinstance(field.get("additionalProperties"), dict):
        return f"object of {_type(field['additionalProperties'], definitions)}"
    return str(kind or "any")


def _read(package: str, name: str) -> tuple[Schema, str]:
    """Return a schema that ships, and its path in the installed package."""
    schema = json.loads(files(package).joinpath(name).read_text("utf-8"))
    return schema, f"{package.replace('.', '/')}/{name}"


def _editors(path: str) -> list[str]:
    return [
        f"The JSON Schema is `{path}` in the installed package. Editors with schema support for TOML complete and "
        "check the keys when the first line of the file is `#:schema PATH`.",
        "",
    ]


def _schema_table(definition: Schema, definitions: Schema) -> list[str]:
    rows: list[tuple[str, str, str]] = []

    def add(of: Schema, prefix: str) -> None:
        required = of.get("required", [])
        for name, field in of["properties"].items():
            if field.get("$ref", "").endswith("set_by_the_run"):
                continue
            kind = "distribution" if field.get("$ref", "").endswith("/distribution") else _type(field, definitions)
            optional = "" if name in required else ", optional"
            rows.append((md.code(f"{prefix}{name}"), f"{kind}{optional}", md.text(field.get("description", ""))))
            if field.get("type") == "object" and "properties" in field:
                add(field, f"{prefix}{name}.")

    add(definition, "")
    return md.table(["key", "type", "meaning"], rows)


def _workloads() -> str:
    schema, path = _read("rejoinder.load.workload", "workload.schema.json")
    definitions = schema["$defs"]
    lines = ["A workload is a TOML file for `rejoinder load --profile`.", "", *_editors(path)]
    lines += ["## Top level", "", *_schema_table({**schema, "properties": _without_tables(schema)}, definitions)]
    lines += ["## `[load]`", "", md.text(schema["properties"]["load"].get("description", "")), ""]
    lines += _schema_table(schema["properties"]["load"], definitions)
    lines += ["## `[[requests]]`", "", md.text(schema["properties"]["requests"].get("description", "")), ""]
    lines += _schema_table(definitions["request"], definitions)
    lines += ["## Distributions", "", md.text(definitions["distribution"]["description"]), ""]
    rows = []
    for kind in definitions["distribution"]["anyOf"]:
        for name, field in kind.get("properties", {}).items():
            if name not in ("min", "max"):
                rows.append((md.text(kind["title"]), md.code(name), md.text(field["description"])))
    rows += [("any", md.code(name), md.text(definitions[name]["description"])) for name in ("min", "max")]
    lines += md.table(["distribution", "key", "meaning"], rows)
    lines += ["## Shipped profiles", "", "`rejoinder load --list-profiles` lists these profiles and their folder.", ""]
    for name, file in shipped_profiles().items():
        lines += [f"### {name}", "", md.text(load_profile(str(file)).description), ""]
        lines += md.block("toml", file.read_text("utf-8"))
    return md.page("Workloads", *lines)


def _without_tables(schema: Schema) -> Schema:
    return {name: field for name, field in schema["properties"].items() if name not in ("load", "requests")}


def _baseline() -> str:
    schema, path = _read("rejoinder.conformance", "baseline.schema.json")
    lines = [
        "A baseline is a TOML file of known failures for `rejoinder check --baseline`. Each entry is a table "
        "`[[known]]`.",
        "",
        *_editors(path),
        *_schema_table(schema["$defs"]["entry"], schema["$defs"]),
    ]
    return md.page("Baseline file", *lines)

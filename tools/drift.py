"""Compare the newest typed references with the dialects, and print what a dialect lacks or says differently.

``python tools/drift.py [openai] [tzafon] [vllm] [--vllm WHEEL] [--openresponses FILE]``. Without a source and a file,
the first three are compared.
For openai and tzafon, the pinned release of pyproject.toml and the newest one are both walked beside their dialect;
what only the newest one shows is printed, because tests/contract/test_typed_references.py covers the pinned one. The
source of vLLM is read from its newest wheel (some 500 MB, or the one of ``--vllm``), without running it. An Open
Responses document is compared with the published one that the dialect openresponses is made of.

Exits with 0 without differences, 1 with some, and 2 where a release could not be read.
"""

from __future__ import annotations

import argparse
import ast
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.contract.typed_reference import SCALARS, Walk, fields, members, tags  # noqa: E402

from rejoinder.contract import SchemaVariant, load_dialect, load_schema, request_schema  # noqa: E402
from rejoinder.contract.comparing import differences  # noqa: E402
from rejoinder.contract.openapi import convert, dialect_files, read_document  # noqa: E402
from rejoinder.errors import RejoinderError  # noqa: E402
from rejoinder.formatting import plural  # noqa: E402

Differences = dict[str, str]

PUBLISHED: Final = ROOT / "tests/contract/openapi/openresponses-2026-04-24.json"
"""The Open Responses document that the dialect is made of, without its prose."""
VLLM_FOLDER: Final = "vllm/entrypoints/openai/responses"
#: Differences between vLLM 0.33 and the dialect vllm that are meant, with the reason.
MEANT: Final = {
    "request.cache_salt: maxLength": "A validator of another module allows 128 characters.",
    "request.prompt_cache_retention: values": "A validator turns in-memory into in_memory.",
    "response.error": "A response that failed has it in the types of openai-python.",
}


class UnreadableError(Exception):
    """A release that cannot be had or read; the message is one sentence."""


def walk_openai() -> Differences:
    """Return how openai-python differs from the dialect openai: request, response and stream events."""
    request = Walk(request_schema(SchemaVariant.PERMISSIVE, dialect="openai"), once=True)
    module = import_module("openai.types.responses.response_create_params")
    request.object(module.ResponseCreateParamsNonStreaming, request.schema, "request")
    response = Walk(load_schema("response", dialect="openai"), once=True, relaxed=True)
    response.object(import_module("openai.types.responses.response").Response, response.schema, "response")
    found = request.differences | response.differences
    events = import_module("openai.types.responses.response_stream_event").ResponseStreamEvent
    dialect = load_dialect("openai")
    for cls in members(events):
        for tag in tags(cls):
            if tag not in dialect.events:
                found[f"event {tag}"] = "missing here"
                continue
            own = Walk(dialect.event_schema(tag), once=True, relaxed=True)
            for name, (_, hint) in fields(cls).items():
                if name not in own.schema["properties"] and name not in ("type", "sequence_number"):
                    found[f"event {tag}.{name}"] = "missing here"
                elif name in own.schema["properties"] and name != "response":
                    own.value(hint, own.schema["properties"][name], f"event {tag}.{name}")
            found |= own.differences
    return found


def walk_tzafon() -> Differences:
    """Return how tzafon differs from the dialect northstar: request, and the names of the response's fields."""
    walk = Walk(load_schema("request"))
    walk.object(import_module("tzafon.types.response_create_params").ResponseCreateParams, walk.schema, "request")
    theirs = fields(import_module("tzafon.types.response_create_response").ResponseCreateResponse)
    ours = load_schema("response")["properties"]
    missing = {f"response.{name}": "missing here" for name in theirs if name not in ours}
    gone = {f"response.{name}": "missing there" for name in ours if name not in theirs}
    return walk.differences | missing | gone


WALKS: Final = {"openai": walk_openai, "tzafon": walk_tzafon}


def compare_releases(package: str, folder: Path) -> tuple[str, Differences]:
    """Return a sentence on the releases compared, and the differences that only the newest one shows."""
    group = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["dependency-groups"]["test"]
    pinned = next(row for row in group if isinstance(row, str) and row.startswith(package))
    before, after = (_walked(package, want, folder / name) for want, name in ((pinned, "pinned"), (package, "newest")))
    found = {place: what for place, what in after["differences"].items() if before["differences"].get(place) != what}
    found |= {
        place: f"no longer: {what}"
        for place, what in before["differences"].items()
        if place not in after["differences"]
    }
    return f"{package} {after['version']} beside {before['version']}", found


def _walked(package: str, requirement: str, folder: Path) -> dict[str, Any]:
    """Install a release into a folder, and return its version and its differences, found by a process of its own."""
    _pip("install", "--quiet", "--target", str(folder), requirement)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), *sys.path[1:]])}
    command = [sys.executable, __file__, "--walk", package]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise UnreadableError(f"{requirement} cannot be walked: {_last_line(done.stderr)}")
    walked: dict[str, Any] = json.loads(done.stdout)
    return walked


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", *arguments, "--disable-pip-version-check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UnreadableError(f"pip {' '.join(arguments)} failed: {_last_line(done.stderr)}")


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no output"])[-1]


def compare_documents(document: Path, folder: Path) -> tuple[str, Differences]:
    """Return the title of an Open Responses document, and how it differs from the published one."""
    found = []
    for path, name in ((PUBLISHED, "published"), (document, "newest")):
        try:
            found.append(convert(read_document(path)))
        except RejoinderError as error:
            raise UnreadableError(error.message) from error
        dialect_files(found[-1], name=name).write(folder)
    pair = [load_dialect(folder / f"{name}.toml") for name in ("published", "newest")]
    changes = {
        f"{one.area} {one.place}: {one.kind}": f"{one.one} published, {one.other} there" for one in differences(*pair)
    }
    lost = {loss for loss in found[1].losses if loss not in found[0].losses}
    changes |= {f"not converted {loss.pointer}": f"{loss.keyword}: {loss.what}" for loss in lost}
    return f"{found[1].document.title} {found[1].document.version}", changes


def compare_vllm(wheel: Path | None, folder: Path) -> tuple[str, Differences]:
    """Return the version of vLLM, and how its request, response and events differ from the dialect vllm."""
    if wheel is None:
        _pip("download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest", str(folder), "vllm")
        wheel = next(folder.glob("vllm-*.whl"))
    try:
        with zipfile.ZipFile(wheel) as archive:
            files = {
                name: archive.read(f"{VLLM_FOLDER}/{name}.py").decode("utf-8")
                for name in ("protocol", "streaming_events")
            }
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise UnreadableError(f"{wheel} has no {VLLM_FOLDER}: {error}") from error
    return f"vLLM {wheel.name.split('-')[1]}", vllm_differences(files["protocol"], files["streaming_events"])


def vllm_differences(protocol: str, streaming_events: str) -> Differences:
    """Return how vLLM's source differs from the dialect vllm: fields, JSON types, values and bounds, event types."""
    module = ast.parse(protocol)
    dialect = load_dialect("vllm")
    found: Differences = {}
    for label, name, schema in (
        ("request", "ResponsesRequest", dialect.request_schema()),
        ("response", "ResponsesResponse", dialect.schema("response")),
    ):
        theirs = dict(_fields_of(module, name))
        if not theirs:
            raise UnreadableError(f"The source of vLLM has no class {name}.")
        found |= {f"{label}.{one}": "missing here" for one in theirs if one not in schema["properties"]}
        found |= {f"{label}.{one}": "missing there" for one in schema["properties"] if one not in theirs}
        for one in theirs.keys() & schema["properties"].keys():
            hint, bounds = theirs[one]
            kinds, values = _kinds(hint, module)
            ours, listed = _schema_kinds(schema, schema["properties"][one])
            if "any" not in kinds | ours and kinds - {"null"} != ours - {"null"}:
                found[f"{label}.{one}: types"] = f"{sorted(kinds)} there, {sorted(ours)} here"
            if values and listed and values != listed:
                found[f"{label}.{one}: values"] = f"{sorted(map(str, values ^ listed))}"
            limits = dict(_limits(schema, schema["properties"][one]))
            for bound, value in bounds.items():
                if limits.get(bound) != value:
                    found[f"{label}.{one}: {bound}"] = f"{value} there, {limits.get(bound)} here"
    strings = (node.value for node in ast.walk(ast.parse(streaming_events)) if isinstance(node, ast.Constant))
    sent = {text for text in strings if isinstance(text, str) and text.startswith("response.") and " " not in text}
    found |= {f"event {text}": "missing here" for text in sent if text not in dialect.events}
    return {place: what for place, what in found.items() if place not in MEANT}


_BOUNDS: Final = {"ge": "minimum", "le": "maximum", "gt": "exclusiveMinimum", "lt": "exclusiveMaximum"}
_LENGTHS: Final = {"min_length": "minLength", "max_length": "maxLength"}


def _fields_of(module: ast.Module, name: str) -> Iterator[tuple[str, tuple[ast.expr, dict[str, float]]]]:
    """Yield the annotated fields of a class with their bounds, which stand in ``Field(...)``."""
    numbers = {key: value for key, value in _constants(module).items() if isinstance(value, int | float)}
    for node in module.body:
        if not isinstance(node, ast.ClassDef) or node.name != name:
            continue
        for line in node.body:
            if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and line.target.id[0] != "_":
                bounds = {}
                call = line.value
                for keyword in call.keywords if isinstance(call, ast.Call) else ():
                    known = (_BOUNDS | _LENGTHS).get(keyword.arg or "")
                    value = _number(keyword.value, numbers)
                    if known and value is not None:
                        bounds[known] = value
                yield line.target.id, (line.annotation, bounds)


def _constants(module: ast.Module) -> dict[str, Any]:
    """Return the module's names that are set to numbers, such as ``-(2**63)``."""
    found: dict[str, Any] = {}
    for node in module.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        value = getattr(node, "value", None)
        if isinstance(target, ast.Name) and isinstance(value, ast.expr):
            number = _number(value, found)
            found |= {} if number is None else {target.id: number}
    return found


def _number(node: ast.expr, names: Mapping[str, Any]) -> float | None:
    """Return the value of an expression of numbers, known names, minus, plus and power."""
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return value
        case ast.Name(id=name):
            return names.get(name)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            inner = _number(operand, names)
            return None if inner is None else -inner
        case ast.BinOp(left=left, op=operator, right=right):
            one, two = _number(left, names), _number(right, names)
            if one is None or two is None:
                return None
            if isinstance(operator, ast.Pow) and abs(two) <= 64:
                return float(one**two) if two < 0 else int(one) ** int(two)
            found: Mapping[type[ast.operator], float] = {ast.Add: one + two, ast.Sub: one - two, ast.Mult: one * two}
            return found.get(type(operator))
    return None


_SCALARS: Final = {type_.__name__: name for type_, name in SCALARS.items()}


def _kinds(node: ast.expr, module: ast.Module) -> tuple[set[str], set[Any]]:
    """Return the JSON types of an annotation (``any`` for what other modules define), and its literal values."""
    aliases = {
        target.id: value
        for line in module.body
        for target, value in [(_target(line), getattr(line, "value", None))]
        if isinstance(target, ast.Name) and isinstance(value, ast.expr)
    }
    classes = {line.name for line in module.body if isinstance(line, ast.ClassDef)}
    match node:
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            one, two = _kinds(left, module), _kinds(right, module)
            return one[0] | two[0], one[1] | two[1]
        case ast.Constant(value=None):
            return {"null"}, set()
        case ast.Name(id=name) if name in _SCALARS:
            return {_SCALARS[name]}, set()
        case ast.Name(id=name) if name in classes or name == "dict":
            return {"object"}, set()
        case ast.Name(id=name) if name in aliases and not isinstance(aliases[name], ast.Call):
            return _kinds(aliases[name], module)
        case ast.Subscript(value=ast.Name(id="Literal"), slice=inner):
            elements = inner.elts if isinstance(inner, ast.Tuple) else [inner]
            values = {one.value for one in elements if isinstance(one, ast.Constant)}
            return {_SCALARS[type(value).__name__] for value in values}, values
        case ast.Subscript(value=ast.Name(id=name)) if name in ("list", "dict"):
            return {"array" if name == "list" else "object"}, set()
    return {"any"}, set()


def _target(line: ast.stmt) -> ast.expr | None:
    if isinstance(line, ast.Assign):
        return line.targets[0]
    return line.target if isinstance(line, ast.AnnAssign) else None


def _branches(schema: Mapping[str, Any], node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    while "$ref" in node:
        node = schema["$defs"][node["$ref"].removeprefix("#/$defs/")]
    parts = [*node.get("anyOf", ()), *(rule["then"] for rule in node.get("allOf", ()) if "then" in rule)]
    if not parts:
        yield node
    for part in parts:
        yield from _branches(schema, part)


def _schema_kinds(schema: Mapping[str, Any], node: Mapping[str, Any]) -> tuple[set[str], set[Any]]:
    kinds: set[str] = set()
    values: set[Any] = set()
    for branch in _branches(schema, node):
        listed = branch.get("enum", [branch["const"]] if "const" in branch else [])
        values |= {value for value in listed if value is not None}
        kind = branch.get("type", [])
        kinds |= {_SCALARS[type(value).__name__] if value is not None else "null" for value in listed}
        kinds |= set() if listed else {kind} if isinstance(kind, str) else set(kind) or {"any"}
    return kinds, values


def _limits(schema: Mapping[str, Any], node: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for branch in _branches(schema, node):
        for bound in (*_BOUNDS.values(), *_LENGTHS.values()):
            if bound in branch:
                yield bound, branch[bound]


def _compared(source: str, options: argparse.Namespace, folder: Path) -> tuple[str, Differences]:
    if source == "openresponses":
        return compare_documents(options.openresponses, folder)
    return compare_vllm(options.vllm, folder) if source == "vllm" else compare_releases(source, folder)


def main(arguments: list[str]) -> int:
    """Print the differences of the sources named, and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("sources", nargs="*", metavar="SOURCE", help="openai, tzafon or vllm. Default: all three.")
    parser.add_argument("--vllm", type=Path, metavar="WHEEL", help="Wheel of vLLM. Default: download the newest.")
    parser.add_argument("--openresponses", type=Path, metavar="FILE", help="OpenAPI document of Open Responses.")
    parser.add_argument("--walk", choices=sorted(WALKS), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.walk:
        version = importlib.metadata.version(options.walk)
        print(json.dumps({"version": version, "differences": WALKS[options.walk]()}))
        return 0
    code = 0
    sources = options.sources or ([] if options.openresponses else [*WALKS, "vllm"])
    for source in [*sources, *(["openresponses"] if options.openresponses else [])]:
        if source not in (*WALKS, "vllm", "openresponses"):
            parser.error(f'"{source}" is not a source: use openai, tzafon or vllm')
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            try:
                what, found = _compared(source, options, folder)
            except UnreadableError as error:
                print(f"{source}: not compared. {error}")
                code = 2
                continue
        print(f"{what}: {plural(len(found), 'difference')}")
        for place, difference in sorted(found.items()):
            print(f"  {place}: {difference}")
        code = max(code, int(bool(found)))
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

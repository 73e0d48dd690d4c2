"""From an OpenAPI 3.1 document with a Responses path to a dialect: schemas, parameters, and what was lost."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rejoinder.contract._dialect import build
from rejoinder.contract._operations import load_operations
from rejoinder.contract._source import DEFAULT_DIALECT, TABLES, dialect_names, parse, read
from rejoinder.contract.openapi.document import Document
from rejoinder.contract.openapi.events import Shapes, event_definitions
from rejoinder.contract.openapi.translate import Loss, Schema, Translator
from rejoinder.errors import UsageError
from rejoinder.validation import escape_key

_DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
_JSON: Final = "application/json"
_STREAM: Final = "text/event-stream"
_METHODS: Final = ("get", "put", "post", "delete", "options", "head", "patch", "trace", "query")
#: Fields of requests whose documented default a response repeats.
_DEFAULTS: Final = ("tool_choice", "truncation", "parallel_tool_calls", "background")
#: Fields that every response object has, which the default dialect's schema names.
_ALWAYS: Final = ("id", "created_at", "model", "object", "output", "status")


@dataclass(frozen=True)
class Conversion:
    """What an OpenAPI document says about the Responses API.

    ``schemas`` are whole schemas by name, ``parameters`` those of the tables of a dialect file that follow from them,
    ``losses`` the places that were not carried over as they are, in the order of their pointers. ``path`` is the path
    that creates a response.
    """

    document: Document
    path: str
    schemas: Mapping[str, Schema]
    parameters: Mapping[str, Mapping[str, Any]]
    losses: tuple[Loss, ...]


def convert(document: Document) -> Conversion:
    """Return what the document says about the Responses API.

    Raises :class:`~rejoinder.errors.ContractError`, which names file, pointer and keyword, for a document without the
    API or with a schema that is broken.
    """
    losses: set[Loss] = set()
    path, item, at = _responses_path(document)
    operation, at = item["post"], f"{at}/post"
    body, place = _body(document, operation, at)
    losses.update(_other_forms(document, operation, at))
    losses.update(
        Loss(f"{at.rpartition('/')[0]}/{escape_key(key)}", key, "an extension of OpenAPI; left out")
        for key in item
        if key.startswith("x-")
    )
    request = Translator(document, losses)
    schemas = {"request": _request(request, body, place)}
    replies = _Replies(document, operation, at)
    response = Translator(document, losses)
    reply = replies.schema(_JSON, success=True)
    shapes = Shapes()
    if reply is None:
        losses.add(Loss(f"{at}/responses", _JSON, "no schema of the response object; that of the base stays"))
    else:
        schemas["response"] = _response(response, *reply)
        shapes = _shapes(response, schemas["response"])
    stream = replies.schema(_STREAM, success=True)
    if stream is None:
        losses.add(Loss(f"{at}/responses", _STREAM, "no schema of the events; those of the base stay"))
    else:
        definitions = event_definitions(response, *stream, shapes)
        schemas["events"] = _headed("events", "Stream events by type", {"$defs": definitions})
    error = replies.schema(_JSON, success=False)
    if error is not None and (found := _error(document, losses, *error)) is not None:
        schemas["error"] = found
    elif error is None:
        losses.add(Loss(f"{at}/responses", "responses", "no schema of a refusal; that of the base stays"))
    lenders = {"request": _Lender(request, place, schemas["request"])}
    if reply is not None:
        lenders["response"] = _Lender(response, reply[1], schemas["response"])
    schemas["operations"] = _operations(Translator(document, losses), path, lenders)
    parameters = _parameters(schemas, response)
    parameters["request"] |= {"defaults": _defaults(document, body, place), "disputed_forms": [], "allowed_faults": []}
    return Conversion(document, path, schemas, parameters, tuple(sorted(losses)))


def _headed(name: str, title: str, schema: Schema) -> Schema:
    return {"$schema": _DRAFT, "$id": f"urn:rejoinder:contract:{name}", "title": title, **schema}


# Where things are in the document.


def _responses_path(document: Document) -> tuple[str, Any, str]:
    """Return the path that creates responses, its item and where that is."""
    found = []
    for path, item in document.root["paths"].items():
        if path.rstrip("/").endswith("/responses"):
            item, at = document.follow(item, f"/paths/{escape_key(path)}")
            if isinstance(item, dict) and isinstance(item.get("post"), dict):
                found.append((path, item, at))
    if not found:
        title = f' "{document.title}"' if document.title else ""
        raise document.error(
            "/paths",
            "paths",
            f"no path ends with /responses and has a post, so this document{title} describes another API",
            "Give the document of an API with POST /v1/responses.",
        )
    return min(found, key=lambda entry: len(entry[0]))


def _media(document: Document, holder: Any, at: str, kind: str) -> tuple[Any, str] | None:
    """Return the schema that a request body or a response has for a media type, and its place."""
    for name, media in document.table(holder, "content", at).items():
        if name.partition(";")[0].strip().lower() == kind and isinstance(media, dict):
            place = f"{at}/content/{escape_key(name)}"
            for key in ("schema", "itemSchema"):
                if media.get(key) not in (None, {}, True):
                    return document.follow(media[key], f"{place}/{key}")
    return None


def _body(document: Document, operation: Any, at: str) -> tuple[Any, str]:
    holder, place = document.follow(operation.get("requestBody", {}), f"{at}/requestBody")
    found = _media(document, holder, place, _JSON)
    if found is None:
        raise document.error(place, "requestBody", f"it has no schema for {_JSON}")
    return found


def _other_forms(document: Document, operation: Any, at: str) -> Iterator[Loss]:
    """Yield the ways to send a request that a dialect does not know: other media types and connections."""
    holder, place = document.follow(operation.get("requestBody", {}), f"{at}/requestBody")
    for name in document.table(holder, "content", place):
        if name.partition(";")[0].strip().lower() != _JSON:
            yield Loss(f"{place}/content/{escape_key(name)}", name, f"requests are sent as {_JSON} only")


class _Replies:
    """The responses of an operation."""

    def __init__(self, document: Document, operation: Any, at: str) -> None:
        self.document = document
        self._at = f"{at}/responses"
        self._responses = document.table(operation, "responses", at)

    def schema(self, kind: str, *, success: bool) -> tuple[Any, str] | None:
        """Return the schema of a 2xx response with the media type, or else of a refusal, and its place."""
        statuses = [status for status in self._responses if str(status).startswith("2") == success]
        for status in sorted(statuses, key=str):
            holder, place = self.document.follow(self._responses[status], f"{self._at}/{escape_key(status)}")
            found = _media(self.document, holder, place, kind)
            if found is not None:
                return found
        return None


# The schemas.


def _root(translator: Translator, node: Any, at: str, what: str) -> Schema:
    """Return the translation of a whole body, which must be one object with known fields."""
    schema = translator.deref(translator.schema(node, at))
    if schema.get("type") != "object" or "properties" not in schema:
        raise translator.document.error(at, "type", f"the {what} must be an object with properties")
    return schema


def _request(translator: Translator, node: Any, at: str) -> Schema:
    schema = _root(translator, node, at, "body of the request")
    if "input" not in schema["properties"]:
        raise translator.document.error(at, "properties", "the body of the request has no field 'input'")
    parts = translator.alternatives(schema["properties"]["input"])
    if not any(part.get("type") == "array" and part.get("items") for part in parts):
        raise translator.document.error(
            f"{at}/properties/input", "items", "'input' takes no list of items with a schema"
        )
    return _headed("request", "Request body", {**schema, "$defs": translator.used(schema)})


def _response(translator: Translator, node: Any, at: str) -> Schema:
    schema = _root(translator, node, at, "response object")
    output = translator.deref(schema["properties"].get("output", {}))
    if output.get("type") != "array" or not output.get("items"):
        raise translator.document.error(at, "properties", "the response object has no list 'output' of items")
    items = translator.by_type(output["items"])
    name = output["items"].get("$ref", "").rpartition("/")[2]
    if name and "allOf" in items:  # what else refers to the union refers to this form of it
        translator.definitions[name] = items
        items = output["items"]
    schema = {**schema, "properties": {**schema["properties"], "output": {**output, "items": items}}}
    return _headed("response", "Response object", {**schema, "$defs": translator.used(schema)})


def _shapes(translator: Translator, response: Schema) -> Shapes:
    """Return what events refer to: item types and part types with their fields."""
    items: dict[str, dict[str, Schema]] = {}
    parts: dict[str, dict[str, dict[str, Schema]]] = {"content": {}, "summary": {}}
    holder = translator.deref(response["properties"]["output"]["items"])
    for branch in holder.get("allOf", ()):
        kind, item = branch["if"]["properties"]["type"]["const"], translator.deref(branch["then"])
        items[kind] = item.get("properties", {})
        for container in parts:
            for part in _elements(translator, items[kind].get(container, {})):
                if name := translator.kind(part):
                    parts[container].setdefault(name, part.get("properties", {}))
    return Shapes(items, parts, frozenset(response["$defs"]))


def _elements(translator: Translator, node: Schema) -> list[Schema]:
    lists = [part for part in translator.alternatives(node) if part.get("type") == "array"]
    return [one for part in lists for one in translator.alternatives(part.get("items", {}))]


def _error(document: Document, losses: set[Loss], node: Any, at: str) -> Schema | None:
    translator = Translator(document, losses)
    schema = translator.deref(translator.schema(node, at))
    error = translator.deref(schema.get("properties", {}).get("error", {}))
    if error.get("type") != "object" or "properties" not in error:
        translator.lose(at, "properties", "a refusal has no object 'error'; the schema of the base stays")
        return None
    body = {"type": "object", "properties": {**schema["properties"], "error": error}}
    body["required"] = list(dict.fromkeys([*schema.get("required", ()), "error"]))
    body["$defs"] = translator.used(body)
    return _headed("error", "Error body of a refused request", body)


# Operations.


@dataclass(frozen=True)
class _Lender:
    """A schema whose definitions those of operations take: its translator, its place in the document, and itself."""

    translator: Translator
    place: str
    schema: Schema

    def has(self, place: str) -> str:
        """Return the name of the definition that the schema has for a place of the document, or the empty string."""
        name = self.translator.name(place)
        return name if name in self.schema["$defs"] else ""


def _operations(translator: Translator, create: str, lenders: Mapping[str, _Lender]) -> Schema:
    """Return the operations of the document that a shipped dialect has as well."""
    document, losses = translator.document, translator.losses
    prefix = create.rstrip("/").removesuffix("/responses")
    shipped = {
        (operation.method, _shape(operation.path.removeprefix("/v1"))): operation
        for name in dialect_names()
        for operation in load_operations(name).values()
    }
    operations: dict[str, dict[str, str]] = {}
    definitions: dict[str, Schema] = {}
    for path, raw in document.root["paths"].items():
        if not path.startswith(prefix) or path == create:
            continue
        item, at = document.follow(raw, f"/paths/{escape_key(path)}")
        if not isinstance(item, dict):
            raise document.error(at, "paths", "a path must be an object")
        for method in (method for method in _METHODS if method in item):
            place = f"{at}/{method}"
            found = shipped.get((method.upper(), _shape(path.removeprefix(prefix))))
            if found is None:
                if path.startswith(f"{create.rstrip('/')}/"):
                    losses.add(Loss(place, method, "no shipped dialect has this operation; left out"))
                continue
            row, schemas = _operation(translator, item, at, place, found.name, lenders)
            operations[found.name] = {"method": found.method, "path": found.path, **row}
            for part, schema in schemas.items():
                order = ("response", "request") if part == "reply" else ("request", "response")
                chosen = [(name, lenders[name]) for name in order if name in lenders]
                definitions[row[part]] = _lent(translator, schema, chosen, definitions)
    return _headed(
        "operations",
        "The operations beside POST /v1/responses",
        {"x-operations": operations, "$defs": definitions},
    )


def _lent(
    translator: Translator, node: Any, lenders: Sequence[tuple[str, _Lender]], definitions: dict[str, Schema]
) -> Any:
    """Return a copy of a schema that takes what it can from other schemas; the rest goes to ``definitions``."""
    if isinstance(node, list):
        return [_lent(translator, child, lenders, definitions) for child in node]
    if not isinstance(node, dict):
        return node
    if "$ref" not in node:
        return {key: _lent(translator, child, lenders, definitions) for key, child in node.items()}
    name = node["$ref"].rpartition("/")[2]
    place = translator.place(name)
    for lender, schema in lenders:
        if there := schema.has(place):
            return {"x-from": f"{lender}#/$defs/{escape_key(there)}"}
    if name not in definitions:
        definitions[name] = {}  # its place, before those that it refers to
        definitions[name] = _lent(translator, translator.definitions[name], lenders, definitions)
    return node


def _shape(path: str) -> str:
    return re.sub(r"\{[^}]*\}", "{}", path.rstrip("/"))


def _operation(
    translator: Translator, item: Any, at: str, place: str, name: str, lenders: Mapping[str, _Lender]
) -> tuple[dict[str, str], dict[str, Schema]]:
    """Return what a row of an operation names, and the schemas of its parts that have a definition of their own."""
    document, operation = translator.document, item[place.rpartition("/")[2]]
    if not isinstance(operation, dict):
        raise document.error(place, name, "an operation must be an object")
    title = "".join(word.capitalize() for word in name.split("_"))
    row: dict[str, str] = {}
    roots: dict[str, Schema] = {}

    def add(key: str, suffix: str, schema: Schema, where: str) -> None:
        same = next((kind for kind, lender in lenders.items() if lender.place == where), "")
        row[key] = same or f"{title}{suffix}"
        if not same:
            roots[key] = schema

    query = _query(translator, item, at, operation, place)
    if query is not None:
        add("query", "Query", query, "")
    if "requestBody" in operation:
        node, where = _body(document, operation, place)
        add("body", "Request", translator.deref(translator.schema(node, where)), where)
    reply = _Replies(document, operation, place).schema(_JSON, success=True)
    if reply is None:
        translator.lose(place, "responses", "no schema of the reply; any object is accepted")
        add("reply", "Reply", {"type": "object"}, "")
    else:
        add("reply", "Reply", translator.deref(translator.schema(*reply)), reply[1])
    return row, roots


def _query(translator: Translator, item: Any, at: str, operation: Any, place: str) -> Schema | None:
    """Return the parameters of the query as one object, ``None`` when there are none."""
    properties: dict[str, Schema] = {}
    required: list[str] = []
    for holder, where in ((item, at), (operation, place)):
        parameters = holder.get("parameters", [])
        if not isinstance(parameters, list):
            raise translator.document.error(f"{where}/parameters", "parameters", "it must be a list")
        for index, raw in enumerate(parameters):
            parameter, spot = translator.document.follow(raw, f"{where}/parameters/{index}")
            if not isinstance(parameter, dict) or not isinstance(parameter.get("name"), str):
                raise translator.document.error(spot, "name", "a parameter needs a name")
            name = parameter["name"].removesuffix("[]")
            if parameter.get("in") == "query":
                properties[name] = translator.schema(parameter.get("schema", {}), f"{spot}/schema")
                if parameter.get("required") is True:
                    required.append(name)
    schema: Schema = {"type": "object", "properties": properties}
    return (schema | ({"required": required} if required else {})) if properties else None


# Parameters of the dialect.


def _parameters(schemas: Mapping[str, Schema], translator: Translator) -> dict[str, dict[str, Any]]:
    """Return the parameters that follow from the schemas, by table."""
    tables: dict[str, dict[str, Any]] = {"stream": {}, "response": {}, "request": {}}
    _request_parameters(tables["request"], schemas["request"])
    if "response" in schemas:
        _response_parameters(tables["response"], tables["stream"], schemas["response"], translator)
    error = schemas.get("events", {}).get("$defs", {}).get("error")
    if error is not None:
        fields = error["properties"]
        nested = fields.get("error", {}).get("type") == "object"
        tables["stream"]["error_event"] = "nested" if nested else "flat" if "message" in fields else "either"
    return tables


def _unions(schema: Schema, node: Schema) -> list[Schema]:
    """Return the alternatives of a node of a whole schema, without references."""
    while "$ref" in node:
        node = schema["$defs"][node["$ref"].rpartition("/")[2]]
    return [part for one in node["anyOf"] for part in _unions(schema, one)] if "anyOf" in node else [node]


def _defaults(document: Document, node: Any, at: str) -> dict[str, Any]:
    """Return the values that the document gives to fields that a request leaves out."""
    found = {}
    for name in _DEFAULTS:
        field, _ = document.follow(document.table(node, "properties", at).get(name), f"{at}/properties/{name}")
        default = field.get("default") if isinstance(field, dict) else None
        if isinstance(default, bool | int | str):
            found[name] = default
    return found


def _field(schema: Schema, node: Schema, name: str, kind: str) -> Schema:
    """Return the alternative of a field that has a type, or the empty schema."""
    found = node.get("properties", {}).get(name)
    parts = _unions(schema, found) if found else []
    return next((part for part in parts if part.get("type") == kind), {})


def _request_parameters(table: dict[str, Any], request: Schema) -> None:
    for field, parameter in (("max_output_tokens", "min_output_tokens"), ("max_tool_calls", "min_tool_calls")):
        least = _field(request, request, field, "integer").get("minimum")
        if isinstance(least, int):
            table[parameter] = least
    tools = _field(request, request, "tools", "array").get("items", {})
    functions = (
        [part for part in _unions(request, tools) if _const(request, part, "type") == "function"] if tools else []
    )
    if functions:
        table["tool_names_limited"] = any("pattern" in _field(request, part, "name", "string") for part in functions)
    items = _unions(request, _field(request, request, "input", "array").get("items", {}))
    messages = [part for part in items if {"role", "content"} <= part.get("properties", {}).keys()]
    if messages:
        table["messages_need_type"] = all("type" in part.get("required", ()) for part in messages)


def _const(schema: Schema, node: Schema, name: str) -> Any:
    found = node.get("properties", {}).get(name)
    values = [part["const"] for part in _unions(schema, found) if "const" in part] if found else []
    return values[0] if len(values) == 1 else None


def _response_parameters(
    table: dict[str, Any], stream: dict[str, Any], response: Schema, translator: Translator
) -> None:
    fields = response["properties"]
    table["required"] = [name for name in response.get("required", ()) if name not in _ALWAYS]
    statuses = next((part["enum"] for part in _unions(response, fields.get("status", {})) if "enum" in part), None)
    if statuses is not None:
        table["statuses"] = statuses
    details = _field(response, response, "incomplete_details", "object")
    if details:
        reasons = _unions(response, details.get("properties", {}).get("reason", {}))
        table["incomplete_reasons"] = next((part["enum"] for part in reasons if "enum" in part), [])
    table["completed_at"] = "completed_at" in fields
    error = _field(response, response, "error", "object")
    codes = _unions(response, error["properties"]["code"]) if "code" in error.get("properties", {}) else []
    table["error_codes"] = next((part["enum"] for part in codes if "enum" in part), [])
    items = {}
    for branch in translator.deref(fields["output"]["items"]).get("allOf", ()):
        items[branch["if"]["properties"]["type"]["const"]] = translator.deref(branch["then"])
    if items:
        table["item_types"] = list(items)
        for key in ("status", "id"):
            table[f"{key}_optional"] = [kind for kind, item in items.items() if key not in item.get("required", ())]
        texts = _elements(translator, items.get("message", {}).get("properties", {}).get("content", {}))
        text = next((part for part in texts if translator.kind(part) == "output_text"), {})
        table["logprobs"] = "logprobs" in text.get("required", ())
        reasoning = _elements(translator, items.get("reasoning", {}).get("properties", {}).get("content", {}))
        kinds = [kind for part in reasoning if "text" in part.get("properties", {}) and (kind := translator.kind(part))]
        if kinds:
            stream["reasoning_parts"] = kinds


# The dialect as files.


@dataclass(frozen=True)
class DialectFiles:
    """The files of a dialect: texts by path, relative to the folder of the dialect file, which is the first."""

    name: str
    files: Mapping[str, str]

    def write(self, folder: Path) -> Path:
        """Write the files and return the path of the dialect file.

        Raises :class:`~rejoinder.errors.UsageError` when one is there already or cannot be written.
        """
        for path in self.files:
            if (folder / path).exists():
                raise UsageError(f"{folder / path} exists already.", "Choose another --name or --out, or remove it.")
        try:
            for path, text in self.files.items():
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_text(text, "utf-8")
        except OSError as error:
            raise UsageError(f"Cannot write {error.filename}: {error.strerror}.", "Choose another --out.") from error
        return folder / next(iter(self.files))


def dialect_files(found: Conversion, *, name: str = "", base: str = DEFAULT_DIALECT) -> DialectFiles:
    """Return the files of a dialect with what a document says; the rest is that of the dialect ``base``.

    ``name`` is that of the dialect, by default the document's title in small letters. The files are tried before they
    are returned. Raises :class:`~rejoinder.errors.UsageError` for a name that cannot be used, and
    :class:`~rejoinder.errors.ContractError` for a base that does not exist or a dialect that could not be loaded.
    """
    name = name or re.sub(r"[^a-z0-9._-]+", "-", found.document.title.lower()).strip("-._") or "dialect"
    if not re.fullmatch(r"[a-z][a-z0-9._-]*", name) or name in dialect_names():
        raise UsageError(
            f'"{name}" cannot be the name of a custom dialect.'
            if name not in dialect_names()
            else f'"{name}" is the name of a shipped dialect.',
            "Give another with --name: a lower-case letter, then a-z, 0-9, '.', '_', '-'.",
        )
    read(base)
    schemas = {f"{name}/{key}.schema.json": schema_text(schema) for key, schema in found.schemas.items()}
    source = " ".join(filter(None, (found.document.title or "OpenAPI document", found.document.version)))
    lines = [
        f"# Made from {found.document.file} by `rejoinder dialect from-openapi`.",
        f"name = {_toml(name)}",
        f"title = {_toml(found.document.title or name)}",
        f"source = {_toml(source)}",
        f"base = {_toml(base)}",
        "",
        "[schemas]",
        *(f"{key} = {_toml(f'{name}/{key}.schema.json')}" for key in found.schemas),
    ]
    for table in TABLES:
        known = read(base).parameters[table]
        own = {key: value for key, value in found.parameters.get(table, {}).items() if known.get(key) != value}
        if own:
            lines += ["", f"[{table}]", *(f"{key} = {_toml(value)}" for key, value in own.items())]
    text = "\n".join(lines) + "\n"
    path = f"{name}.toml"
    texts = {key: f"{name}/{key}.schema.json" for key in found.schemas}
    build(parse(path, text, tuple((key, file, schemas[file]) for key, file in texts.items())))
    return DialectFiles(name, {path: text, **schemas})


def schema_text(schema: Schema) -> str:
    """Return a schema as the text of its file."""
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{_toml(key)} = {_toml(child)}' for key, child in value.items())} }}" if value else "{}"
    if isinstance(value, bool | int | str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    assert isinstance(value, Iterable)
    return f"[{', '.join(_toml(element) for element in value)}]"

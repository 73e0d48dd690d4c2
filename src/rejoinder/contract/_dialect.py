"""Dialects: what differs between the specifications that share the Responses shape, as data."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, Final, Literal

from rejoinder.contract._explain import Validator
from rejoinder.contract._schemas import load_schema
from rejoinder.errors import ContractError

DEFAULT_DIALECT: Final = "northstar"

Role = Literal[
    "snapshot",
    "terminal",
    "item.added",
    "item.done",
    "part.added",
    "part.done",
    "delta",
    "done",
    "annotation",
    "progress",
    "error",
    "other",
]


@dataclass(frozen=True, slots=True)
class EventSpec:
    """What the contract says about one event type.

    ``role`` is what the event does to the stream's state. ``container`` is where its text belongs (``content``,
    ``summary`` or ``item``), ``part`` the type of that part or item, ``field`` the part's or item's field that the
    deltas add up to, which is also the field of the done event that repeats it. ``index`` is the field that numbers
    the part (``content_index``, ``summary_index``) or empty. ``required`` and ``types`` list the event's own fields
    besides ``type`` and ``sequence_number``.
    """

    type: str
    role: Role
    required: tuple[str, ...]
    types: Mapping[str, str]
    container: str = ""
    part: str = ""
    field: str = ""
    item: str = ""

    @property
    def index(self) -> str:
        """The name of the field that numbers the part inside its item, or the empty string."""
        return {"content": "content_index", "summary": "summary_index"}.get(self.container, "")


@dataclass(frozen=True)
class Dialect:
    """One dialect, ready for judging.

    ``stream``, ``response`` and ``request`` hold the parameters that checks read (documented in
    ``dialects/northstar.toml``); ``events`` maps every known event type to its :class:`EventSpec`.
    """

    name: str
    title: str
    source: str
    stream: Mapping[str, Any]
    response: Mapping[str, Any]
    request: Mapping[str, Any]
    events: Mapping[str, EventSpec]
    validators: Mapping[str, Validator] = field(repr=False)

    @property
    def response_validator(self) -> Validator:
        """The validator of a whole response object in this dialect."""
        return self.validators["response"]


def dialect_names() -> list[str]:
    """Return the names of the shipped dialects, the default first."""
    names = sorted(
        entry.name.removesuffix(".toml")
        for entry in files("rejoinder.contract").joinpath("dialects").iterdir()
        if entry.name.endswith(".toml")
    )
    return [DEFAULT_DIALECT, *(name for name in names if name != DEFAULT_DIALECT)]


@cache
def load_dialect(name: str = DEFAULT_DIALECT) -> Dialect:
    """Load a shipped dialect by name; raises :class:`ContractError` when there is none of that name."""
    if name not in dialect_names():
        raise ContractError(f"There is no dialect {name!r}.", f"Choose one of {', '.join(dialect_names())}.")
    raw = _overlay(name)
    return Dialect(
        name=name,
        title=raw["title"],
        source=raw["source"],
        stream=raw["stream"],
        response=raw["response"],
        request=raw["request"],
        events=_events(raw),
        validators={"response": Validator(_response_schema(raw))},
    )


def _overlay(name: str) -> dict[str, Any]:
    """Read a dialect file on top of the default dialect's, table by table."""
    text = files("rejoinder.contract").joinpath("dialects", f"{name}.toml").read_text("utf-8")
    raw: dict[str, Any] = tomllib.loads(text)
    if name == DEFAULT_DIALECT:
        return raw
    base = _overlay(DEFAULT_DIALECT)
    merged = {**base, **raw}
    for table in ("stream", "response", "request"):
        merged[table] = {**base[table], **raw.get(table, {})}
    return merged


def _events(raw: Mapping[str, Any]) -> dict[str, EventSpec]:
    specs: dict[str, EventSpec] = {}
    further = raw.get("events", {})
    for name, definition in load_schema("events")["$defs"].items():
        only = definition.get("x-only")
        if only is not None and raw["name"] not in only:
            continue
        extra = further.get(name, {})
        types = {key: value.get("type", "") for key, value in definition["properties"].items()}
        specs[name] = EventSpec(
            type=name,
            role=definition["x-role"],
            required=(*definition["required"], *extra.get("required", ())),
            types=types,
            container=definition.get("x-container", ""),
            part=definition.get("x-part", ""),
            field=definition.get("x-field", ""),
            item=definition.get("x-item", ""),
        )
    return specs


def _response_schema(raw: Mapping[str, Any]) -> dict[str, Any]:
    schema = load_schema("response")
    parameters = raw["response"]
    schema["properties"]["status"] = {"enum": list(parameters["statuses"])}
    schema["required"] = [*schema["required"], *parameters["required"]]
    return schema

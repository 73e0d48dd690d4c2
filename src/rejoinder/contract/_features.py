"""Features that endpoints may have or lack: rows of data that say which requests use one."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from typing import Any, Final

import msgspec

from rejoinder.errors import ContractError
from rejoinder.extensions import Extension, extensions, read_file
from rejoinder.formatting import one_line
from rejoinder.model.exchange import parse_json

FILE: Final = "features.toml"


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature; see ``features.toml`` for what its fields mean."""

    name: str
    title: str
    at: str = ""
    values: tuple[Any, ...] = ()
    example: Mapping[str, Any] | None = None
    operation: str = ""
    shows: str = ""
    shown: tuple[Any, ...] = ()
    least: int = 1
    same_as: str = ""
    json_text: bool = False
    event_stream: bool = False
    tested_by: tuple[str, ...] = ()
    narrows: str = ""
    like: str = ""

    def is_used(self, body: Any) -> bool:
        """Return whether the body of a create request uses the feature."""
        steps = _steps(self.at)
        if not steps or (isinstance(body, dict) and steps[0] not in body):
            return False
        return any(_counts(value, self.values) for value in _found(body, steps))

    @property
    def can_show(self) -> bool:
        """Whether a response can show the effect of the feature."""
        return bool(self.shows) or self.json_text or self.event_stream

    @property
    def fills_alone(self) -> bool:
        """Whether no other feature fills the place in a response that shows this one."""
        return bool(self.shows) and not self.shown and not self.same_as

    def is_shown(self, response: Any, request: Any) -> bool:
        """Return whether a response to a request shows the effect of the feature; never, where nothing would."""
        if self.json_text:
            return _is_json_object("".join(_texts(response)))
        if not self.shows:
            return False
        found = list(_found(response, _steps(self.shows)))
        if self.same_as:
            return any(value in found for value in _found(request, _steps(self.same_as)))
        return sum(_counts(value, self.shown) for value in found) >= self.least


def load_features() -> Mapping[str, Feature]:
    """Return all features by name, in the file's order, those of extensions last.

    Raises :class:`ContractError` on a bad row.
    """
    return _load_features(extensions())


@cache
def shipped_features() -> Mapping[str, Feature]:
    """Return the features of rejoinder itself by name."""
    return _read(tomllib.loads(files("rejoinder.contract").joinpath(FILE).read_text("utf-8")))


@cache
def _load_features(used: tuple[Extension, ...]) -> Mapping[str, Feature]:
    found = dict(shipped_features())
    for extension in used:
        path = extension.folder / FILE
        file = read_file(path)
        try:
            own = _read({} if file is None else file.table)
        except ContractError as error:
            raise extension.error(str(extension.folder), error) from error
        for name in own:
            if not name.startswith(f"{extension.name}_"):
                raise extension.error(str(path), f"the feature {name} must begin with {extension.name}_")
        found |= own
    return found


def _read(raw: Mapping[str, Any]) -> dict[str, Feature]:
    found = {}
    for name, row in raw.items():
        where = f"{FILE}: invalid row {one_line(name, 80)}"
        if not isinstance(row, dict):
            raise ContractError(f"{where}: it is no table.")
        given = {"values" if key == "is" else key: value for key, value in row.items()}
        if unknown := sorted(given.keys() - _FIELDS):
            raise ContractError(f"{where}: {one_line(unknown[0], 80)} is not a known key.")
        try:
            found[name] = msgspec.convert({**given, "name": name}, Feature)
        except msgspec.ValidationError as error:
            raise ContractError(f"{where}: {one_line(str(error), 300)}.") from error
    return found


_FIELDS: Final = frozenset(field.name for field in fields(Feature)) - {"name"}


def _texts(response: Any) -> Iterator[str]:
    for text in _found(response, _steps("/output/*/content/*/text")):
        if isinstance(text, str):
            yield text


def _is_json_object(text: str) -> bool:
    return isinstance(parse_json(text), dict)


def _counts(value: Any, values: tuple[Any, ...]) -> bool:
    if not values:
        return value not in (None, False, "") and value != [] and value != {}
    return any(type(value) is type(known) and value == known for known in values)


@cache
def _steps(pointer: str) -> tuple[str, ...]:
    """Return the steps of a pointer as they are written."""
    return tuple(pointer.split("/")[1:])


def _found(value: Any, steps: tuple[str, ...]) -> Sequence[Any]:
    """Return the values that the steps of a pointer lead to, of which ``*`` stands for every element of a list."""
    found = [value]
    for step in steps:
        inner: list[Any] = []
        for one in found:
            if isinstance(one, dict):
                if step in one:
                    inner.append(one[step])
            elif isinstance(one, list):
                inner += one if step == "*" else one[int(step) : int(step) + 1] if step.isdigit() else ()
        if not inner:
            return inner
        found = inner
    return found

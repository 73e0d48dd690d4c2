"""Features that endpoints may have or lack: rows of data that say which requests use one."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from typing import Any

from rejoinder.contract._dialect import Dialect
from rejoinder.contract._schemas import SchemaVariant
from rejoinder.errors import ContractError, UsageError
from rejoinder.validation import Validator


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
    rules: tuple[str, ...] = ()

    def is_needed_by(self, rule: str) -> bool:
        """Return whether the rule of that id can only be judged on replies to requests that use the feature."""
        return any(fnmatchcase(rule, pattern) for pattern in self.rules)

    def is_used(self, body: Any) -> bool:
        """Return whether the body of a create request uses the feature."""
        return bool(self.at) and any(_counts(value, self.values) for value in _found(body, self.at))

    def is_shown(self, response: Any) -> bool:
        """Return whether a response shows the feature; always, where nothing particular would."""
        if not self.shows:
            return True
        return sum(_counts(value, self.shown) for value in _found(response, self.shows)) >= self.least


@cache
def load_features() -> Mapping[str, Feature]:
    """Return all features by name, in the file's order; raises :class:`ContractError` on a bad row."""
    raw = tomllib.loads(files("rejoinder.contract").joinpath("features.toml").read_text("utf-8"))
    found = {}
    for name, row in raw.items():
        fields: dict[str, Any] = {
            "values" if key == "is" else key: tuple(v) if isinstance(v, list) else v for key, v in row.items()
        }
        try:
            found[name] = Feature(name, **fields)
        except TypeError as error:
            raise ContractError(f"features.toml: bad row {name}: {error}.") from error
    return found


def features_of(dialect: Dialect) -> list[Feature]:
    """Return the features that a dialect defines: those whose example or operation it has."""
    sound = Validator(dialect.request_schema(SchemaVariant.GENERATION))
    return [feature for feature in load_features().values() if _defines(dialect, sound, feature)]


def every_feature(dialect: Dialect) -> frozenset[str]:
    """Return the names of all features that a dialect defines."""
    return frozenset(feature.name for feature in features_of(dialect))


def read_features(names: Iterable[str], dialect: Dialect) -> frozenset[str]:
    """Return the names of features in texts, of which each may hold several with commas between.

    Raises :class:`UsageError` for one that the dialect does not define; its hint names the closest one that it does.
    """
    known = [feature.name for feature in features_of(dialect)]
    found = [name.strip().replace("-", "_") for text in names for name in text.split(",") if name.strip()]
    for name in found:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            raise UsageError(
                f"There is no feature {name!r} in the dialect {dialect.name}.",
                f"Did you mean {close[0]}?" if close else "`rejoinder rules --features` lists them.",
            )
    return frozenset(found)


def _defines(dialect: Dialect, sound: Validator, feature: Feature) -> bool:
    if feature.operation:
        return feature.operation in dialect.operations
    return sound.is_valid({"input": "Hi", "model": "m", **(feature.example or {})})


def _counts(value: Any, values: tuple[Any, ...]) -> bool:
    if not values:
        return value not in (None, False, "") and value != [] and value != {}
    return any(type(value) is type(known) and value == known for known in values)


def _found(value: Any, pointer: str) -> Iterator[Any]:
    """Yield the values at a pointer in which ``*`` stands for every element of a list."""
    step, _, rest = pointer[1:].partition("/")
    if not pointer:
        yield value
    elif isinstance(value, list):
        chosen = value if step == "*" else value[int(step) : int(step) + 1] if step.isdigit() else ()
        for element in chosen:
            yield from _found(element, f"/{rest}" if rest else "")
    elif isinstance(value, dict) and step in value:
        yield from _found(value[step], f"/{rest}" if rest else "")

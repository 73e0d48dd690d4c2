"""Profiles: workloads as small TOML files. Those that ship are in ``workloads`` beside this module, to be copied.

A profile has a ``description``, a table ``load`` with defaults for options of the command, and one ``[[requests]]``
table for each kind of request, of which every slot of a run draws one by ``weight``. ``docs/load.md`` explains all.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from rejoinder.errors import UsageError
from rejoinder.load.toml_errors import Place, check_keys
from rejoinder.load.workload.corpus import read_corpus
from rejoinder.load.workload.distributions import Distribution, parse_distribution

DEFAULTS: Final[dict[str, type | tuple[type, ...]]] = {
    "concurrency": int,
    "rate": (int, float, str),
    "arrivals": str,
    "duration": (int, float, str),
    "requests": int,
    "slo": list,
    "processes": int,
}
"""Options that a profile may set, with their types in TOML."""
_KEYS: Final = (
    "name",
    "weight",
    "prompt",
    "input_tokens",
    "output_tokens",
    "prefix",
    "turns",
    "history",
    "think",
    "cancel",
    "background",
    "corpus",
    "body",
)
_RESERVED: Final = ("model", "input", "stream", "max_output_tokens", "previous_response_id", "background")


@dataclass(frozen=True, slots=True)
class RequestKind:
    """One kind of request. Lengths are in words, which are about tokens; times in seconds.

    ``output_tokens`` limits the answer. ``prefix_tokens`` words come first, the same for all requests that draw the
    same of ``prefix_pool`` prefixes. A conversation has ``turns`` requests, each ``think`` seconds after the last, that
    name the one before (``history`` is ``server``) or repeat it all (``replay``). ``cancel_share`` of the requests are
    given up ``cancel_after`` seconds from their start. ``body`` holds further fields of the request.
    """

    name: str = "request"
    weight: float = 1.0
    prompt: str = ""
    input_tokens: Distribution | None = None
    output_tokens: Distribution | None = None
    prefix_tokens: int = 0
    prefix_pool: int = 1
    turns: Distribution | None = None
    history: str = "server"
    think: Distribution | None = None
    cancel_share: float = 0.0
    cancel_after: Distribution | None = None
    background: float = 0.0
    corpus: tuple[dict[str, Any], ...] = ()
    body: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Profile:
    """A workload: defaults for the run, and the kinds of request that it mixes."""

    name: str
    path: Path
    description: str
    defaults: dict[str, Any]
    kinds: tuple[RequestKind, ...]


def shipped_profiles() -> dict[str, Path]:
    """Return the profiles that ship with rejoinder, by name."""
    folder = Path(str(files("rejoinder.load.workload"))) / "shipped"
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def find_profile(name: str) -> Path:
    """Return the file of a profile that is given by its shipped name or as a file."""
    shipped = shipped_profiles()
    if name in shipped:
        return shipped[name]
    path = Path(name)
    if path.is_file():
        return path.absolute()
    raise UsageError(
        f"There is no profile {name!r}, neither shipped nor as a file.",
        f"Shipped are {', '.join(shipped)}; see --list-profiles.",
    )


@lru_cache(maxsize=16)
def load_profile(name: str) -> Profile:
    """Return a profile by shipped name or file; raises :class:`UsageError` that names file and key."""
    path = find_profile(name)
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"The profile {path} cannot be read: {error.strerror}.") from error
    except ValueError as error:  # bad TOML or bad UTF-8
        raise UsageError(f"The profile {path} is not valid TOML: {error}.") from error
    place = Place(str(path))
    check_keys(table, ("description", "load", "requests"), place)
    requests = table.get("requests")
    if not isinstance(requests, list) or not requests or not all(isinstance(item, dict) for item in requests):
        raise UsageError(f"{place} has no requests.", "Write at least one table [[requests]].")
    kinds = [_kind(item, place.down(f"requests[{number}]"), path) for number, item in enumerate(requests)]
    if not sum(kind.weight for kind in kinds):
        raise UsageError(f"{place}: all weights are 0.", "Give at least one kind of request a weight.")
    names = [kind.name for kind in kinds]
    for kind in names:
        if names.count(kind) > 1:
            raise UsageError(f"{place}: two kinds of request are called {kind!r}.", "Give each a name of its own.")
    return Profile(
        name=path.stem,
        path=path,
        description=_typed(table.get("description", ""), str, place.down("description")),
        defaults=_defaults(table.get("load", {}), place.down("load")),
        kinds=tuple(kinds),
    )


def _defaults(table: Any, place: Place) -> dict[str, Any]:
    _typed(table, dict, place)
    check_keys(table, DEFAULTS, place)
    for name, value in table.items():
        _typed(value, DEFAULTS[name], place.down(name))
    if "concurrency" in table and "rate" in table:
        raise UsageError(f"{place} has both a concurrency and a rate.", "Choose a closed loop or an open loop.")
    return dict(table)


def _kind(table: dict[str, Any], place: Place, path: Path) -> RequestKind:
    check_keys(table, _KEYS, place)
    values: dict[str, Any] = {"name": table.get("name", f"request-{place.key[9:-1]}")}
    _typed(values["name"], str, place.down("name"))
    values["weight"] = _amount(table.get("weight", 1), place.down("weight"))
    values["prompt"] = _typed(table.get("prompt", ""), str, place.down("prompt"))
    for name, least in (("input_tokens", 1), ("output_tokens", 1), ("turns", 1), ("think", 0)):
        if name in table:
            values[name] = parse_distribution(table[name], place.down(name), least=least)
    if "prefix" in table:
        prefix, where = _typed(table["prefix"], dict, place.down("prefix")), place.down("prefix")
        check_keys(prefix, ("tokens", "pool"), where)
        values["prefix_tokens"] = int(_amount(prefix.get("tokens", 0), where.down("tokens"), least=1))
        values["prefix_pool"] = int(_amount(prefix.get("pool", 1), where.down("pool"), least=1))
    if "history" in table:
        values["history"] = table["history"]
        if table["history"] not in ("server", "replay"):
            raise UsageError(
                f"{place.down('history')} is {table['history']!r}.", "Choose server (previous_response_id) or replay."
            )
    if "cancel" in table:
        cancel, where = _typed(table["cancel"], dict, place.down("cancel")), place.down("cancel")
        check_keys(cancel, ("share", "after"), where)
        values["cancel_share"] = _amount(cancel.get("share", 1), where.down("share"))
        if values["cancel_share"] > 1:
            raise UsageError(f"{where.down('share')} is {values['cancel_share']:g}.", "A share is between 0 and 1.")
        values["cancel_after"] = parse_distribution(cancel.get("after", 0.5), where.down("after"))
    if "background" in table:
        background, where = _typed(table["background"], dict, place.down("background")), place.down("background")
        check_keys(background, ("poll",), where)
        values["background"] = _amount(background.get("poll", 0.5), where.down("poll"), least=0.01)
    if "corpus" in table:
        corpus = _typed(table["corpus"], str, place.down("corpus"))
        values["corpus"] = tuple(read_corpus(path.parent / corpus))
    values["body"] = _typed(table.get("body", {}), dict, place.down("body"))
    for name in _RESERVED:
        if name in values["body"]:
            raise UsageError(
                f"{place.down('body').down(name)} is set by the run itself.",
                "Use the keys of the profile, or a corpus of whole bodies.",
            )
    if "turns" in table and ("corpus" in table or "background" in table):
        raise UsageError(f"{place}: turns go neither with corpus nor with background.", "Make it two kinds of request.")
    if "corpus" in table and ("prompt" in table or "input_tokens" in table or "prefix" in table):
        raise UsageError(f"{place}: a corpus has its inputs, and others are given too.", "Leave one of them out.")
    return RequestKind(**values)


def _amount(value: Any, place: Place, least: float = 0.0) -> float:
    distribution = parse_distribution(value, place, least=least)
    if distribution.kind != "constant":
        raise UsageError(f"{place} is not a number.", "It is the same for all requests.")
    return distribution.values[0]


def _typed(value: Any, kind: type | tuple[type, ...], place: Place) -> Any:
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        names = {str: "a text", dict: "a table", list: "a list", int: "a whole number", float: "a number"}
        raise UsageError(
            f"{place} is not {' or '.join(names[kind] for kind in kinds)}.", "See docs/load.md for all keys."
        )
    return value

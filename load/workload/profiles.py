"""Profiles: workloads as small TOML files, described by ``workload.schema.json`` beside this module.

A profile has a ``description``, a table ``load`` with defaults for options of the command, and one ``[[requests]]``
table for each kind of request, of which every slot of a run draws one by ``weight``. Those in the folder ``shipped``
are there to be used by name, and to be copied. ``docs/how-to/workloads.md`` explains them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from rejoinder.budgets import INPUT_BODIES, INPUT_TOKENS
from rejoinder.errors import UsageError, suggest
from rejoinder.input_file import read_text
from rejoinder.load.workload.corpus import Corpus, read_corpus
from rejoinder.load.workload.distributions import Distribution, parse_distribution
from rejoinder.toml_file import Key, TomlFile
from rejoinder.validation import Validator


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
    corpus: Corpus = field(default_factory=Corpus)
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
        f'"{name}" is neither a built-in profile nor a file.',
        suggest(name, shipped, f"Built-in profiles: {', '.join(shipped)}."),
    )


@lru_cache(maxsize=16)
def load_profile(name: str) -> Profile:
    """Return a profile by shipped name or file; raises :class:`UsageError` that names file, line and key."""
    path = find_profile(name)
    try:
        file = TomlFile(path, read_text(path), "profile")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise UsageError(f"Cannot read the profile {path}: {reason}.", "Check the path.") from error
    file.check(workload_schema())
    table = file.table
    defaults = table.get("load", {})
    if "concurrency" in defaults and "rate" in defaults:
        raise file.error(
            ("load",), "has both concurrency and rate", "Keep concurrency (closed loop) or rate (open loop)."
        )
    kinds: list[RequestKind] = []
    for number, request in enumerate(table["requests"]):
        kind = _kind(file, number, request)
        if any(kind.name == other.name for other in kinds):
            raise file.error(
                ("requests", number, "name"),
                f'is "{kind.name}", which another request uses',
                "Give each request a unique name.",
            )
        kinds.append(kind)
        if sum(one.corpus.size for one in kinds) > INPUT_BODIES:
            raise file.error(
                ("requests", number, "corpus"),
                f"makes the request bodies of the profile larger than {INPUT_BODIES:,} bytes",
                "Use fewer or smaller files.",
            )
    if not sum(kind.weight for kind in kinds):
        raise file.error(("requests",), "have only weights of 0", "Give at least one of them a weight above 0.")
    return Profile(path.stem, path, table.get("description", ""), defaults, tuple(kinds))


@cache
def workload_schema() -> Validator:
    """Return the JSON Schema of profiles."""
    return Validator(json.loads(files("rejoinder.load.workload").joinpath("workload.schema.json").read_text("utf-8")))


def _kind(file: TomlFile, number: int, table: dict[str, Any]) -> RequestKind:
    at: tuple[Key, ...] = ("requests", number)
    if "turns" in table and ("corpus" in table or "background" in table):
        hint = "Use separate [[requests]] for them."
        raise file.error((*at, "turns"), "cannot be combined with corpus or background", hint)
    for name in ("prompt", "input_tokens", "prefix"):
        if "corpus" in table and name in table:
            raise file.error(
                (*at, name), "cannot be combined with corpus, which has its own inputs", f"Remove {name} or corpus."
            )
    prefix, cancel = table.get("prefix", {}), table.get("cancel")
    lengths = {
        name: parse_distribution(table[name], file, (*at, name), least=least, most=most)
        for name, least, most in (
            ("input_tokens", 1, INPUT_TOKENS),
            ("output_tokens", 1, 10_000_000),
            ("turns", 1, 100_000),
            ("think", 0, 86_400),
        )
        if name in table
    }
    after = None if cancel is None else parse_distribution(cancel.get("after", 0.5), file, (*at, "cancel", "after"))
    return RequestKind(
        name=table.get("name", f"request-{number}"),
        weight=table.get("weight", 1.0),
        prompt=table.get("prompt", ""),
        prefix_tokens=int(prefix.get("tokens", 0)),
        prefix_pool=int(prefix.get("pool", 1)),
        history=table.get("history", "server"),
        cancel_share=0.0 if cancel is None else cancel.get("share", 1.0),
        cancel_after=after,
        background=table["background"].get("poll", 0.5) if "background" in table else 0.0,
        corpus=_corpus(file, (*at, "corpus"), table["corpus"]) if "corpus" in table else Corpus(),
        body=table.get("body", {}),
        **lengths,
    )


def _corpus(file: TomlFile, at: tuple[Key, ...], name: str) -> Corpus:
    try:
        return read_corpus(file.path.parent / name)
    except UsageError as error:
        raise file.error(at, f"cannot be used: {error.message.rstrip('.')}", error.hint) from error
    except ValueError as error:  # of the path: it contains NUL
        raise file.error(at, f"is no path: {error}") from error

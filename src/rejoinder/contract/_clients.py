"""What the faults of the sandbox do to official clients: a generated file, by rule."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable


class Harm(NamedTuple):
    """What a fault of the sandbox does to one use of a client.

    ``fault`` is its id, ``client`` the name of the client with its version, ``use`` what it does, and ``effect`` how it
    is harmed: ``raises ValueError``, ``waits forever``, ``loses text``, ``gets wrong text``.
    """

    fault: str
    client: str
    use: str
    effect: str

    @property
    def breaks(self) -> bool:
        """Whether the client raises an error or waits forever."""
        return self.effect.startswith(("raises", "waits"))


def clients_file() -> Traversable:
    """Return the generated file, which ``python -m rejoinder.conformance.proof.clients`` writes."""
    return files("rejoinder.contract").joinpath("clients.toml")


@cache
def _load() -> Mapping[str, Any]:
    return tomllib.loads(clients_file().read_text("utf-8"))


@cache
def proven_faults(rule: str) -> tuple[str, ...]:
    """Return the faults that break a rule and that the clients ran against; first those that break it foremost."""
    faults = [(table["rules"].index(rule), name) for name, table in _load()["faults"].items() if rule in table["rules"]]
    return tuple(name for _, name in sorted(faults, key=lambda pair: pair[0]))


@cache
def harms_of(rule: str) -> tuple[Harm, ...]:
    """Return what the clients did where the sandbox breaks a rule, fault by fault."""
    loaded = _load()
    found = []
    for fault in proven_faults(rule):
        for name, effect in loaded["faults"][fault].items():
            client, _, use = name.partition(" ")
            if use:
                version = loaded["versions"][client]
                found.append(Harm(fault, f"{client} {version}", use.replace(", ", " with ", 1), effect))
    return tuple(found)

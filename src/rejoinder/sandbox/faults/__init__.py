"""The catalogue of faults, one module for each family of rules that they break.

Each fault breaks one thing and leaves the rest of the reply in order. It lies with the family of the first rule that it
breaks.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Final

from rejoinder.contract import family_modules, load_rules
from rejoinder.errors import suggest
from rejoinder.extensions import Extension, extensions
from rejoinder.sandbox.fault import Fault
from rejoinder.sandbox.variations import own_rows

__all__ = ["FAULTS", "load_endpoints", "load_faults"]

FAULTS: Final[Mapping[str, Fault]] = MappingProxyType(
    {
        fault.id: fault
        for module in family_modules(__name__)
        for fault in sorted(module.FAULTS, key=lambda fault: fault.breaks[0])
    }
)
"""Every fault by its id, in the order of the rules."""


def load_faults() -> Mapping[str, Fault]:
    """Return every fault by its id, those of extensions last; raises :class:`ExtensionError` for a bad one."""
    return _load(extensions())[0]


def load_endpoints() -> tuple[Fault, ...]:
    """Return how extensions change the correct endpoint, so that it does what their rules require; in order of use."""
    return _load(extensions())[1]


@cache
def _load(used: tuple[Extension, ...]) -> tuple[Mapping[str, Fault], tuple[Fault, ...]]:
    faults = dict(FAULTS)
    endpoints = []
    for extension in used:
        for fault in own_rows(extension, "faults", Fault, faults):
            if problem := _problem(fault):
                raise extension.error("faults", f"the fault {fault.id} {problem}")
            faults[fault.id] = fault
        endpoint = getattr(extension.load("faults"), "ENDPOINT", None)
        if endpoint is not None and not (isinstance(endpoint, Fault) and not endpoint.breaks):
            raise extension.error("faults", "ENDPOINT must be a Fault that breaks no rule")
        endpoints += [] if endpoint is None else [endpoint]
    return MappingProxyType(faults), tuple(endpoints)


def _problem(fault: Fault) -> str:
    """Return what is wrong with the rules of an extension's fault; empty for nothing."""
    if not fault.breaks:
        return "breaks no rule. Name the rules in breaks"
    for rule in fault.breaks:
        if rule not in load_rules():
            return f"breaks {rule}, which is not a rule. {suggest(rule, load_rules(), '`rejoinder rules` lists them.')}"
    return ""

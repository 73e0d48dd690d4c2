"""The catalogue of faults, one module for each family of rules that they break.

Each fault breaks one thing and leaves the rest of the reply in order. It lies with the family of the first rule that it
breaks.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Final

from rejoinder.contract import dialect_names, family_modules, load_rules
from rejoinder.errors import suggest
from rejoinder.extensions import Extension, extensions
from rejoinder.sandbox.fault import Fault

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
        module = extension.load("faults")
        if module is None:
            continue
        own, endpoint = getattr(module, "FAULTS", None), getattr(module, "ENDPOINT", None)
        if not isinstance(own, (list, tuple)) or not all(isinstance(fault, Fault) for fault in own):
            raise extension.error("faults", "FAULTS must exist and be a list of Fault")
        if endpoint is not None and not (isinstance(endpoint, Fault) and not endpoint.breaks):
            raise extension.error("faults", "ENDPOINT must be a Fault that breaks no rule")
        for fault in own:
            if problem := _problem(fault, extension.name, faults):
                raise extension.error("faults", f"the fault {fault.id} {problem}")
            faults[fault.id] = fault
        endpoints += [] if endpoint is None else [endpoint]
    return MappingProxyType(faults), tuple(endpoints)


def _problem(fault: Fault, name: str, taken: Mapping[str, Fault]) -> str:
    """Return what is wrong with a fault of the extension of that name; empty for nothing."""
    if not fault.id.startswith(f"{name}-"):
        return f"must have an id that begins with {name}-"
    if fault.id in taken:
        return "has an id that another fault has"
    if not fault.breaks:
        return "breaks no rule. Name the rules in breaks"
    for rule in fault.breaks:
        if rule not in load_rules():
            return f"breaks {rule}, which is not a rule. {suggest(rule, load_rules(), '`rejoinder rules` lists them.')}"
    unknown = [dialect for dialect in fault.dialects if dialect not in dialect_names()]
    return f'is for the unknown dialect "{unknown[0]}"' if unknown else ""

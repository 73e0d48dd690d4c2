"""The checks, one module per rule family; importing this package registers them all."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from rejoinder.conformance.judging.registry import Registered, registered
from rejoinder.contract import family_modules, load_rules
from rejoinder.extensions import Extension, extensions

__all__ = ["checks_by_rule"]

family_modules(__name__)


def checks_by_rule() -> Mapping[str, tuple[Registered, ...]]:
    """Return the checks of every rule by its id, in catalogue order; a rule that is not checked has none.

    Raises :class:`ExtensionError` for an extension whose checks cannot be used or do not cover its rules.
    """
    return _checks_by_rule(extensions())


@cache
def _checks_by_rule(used: tuple[Extension, ...]) -> Mapping[str, tuple[Registered, ...]]:
    table: dict[str, list[Registered]] = {rule: [] for rule in load_rules()}
    for found in _registered_in(__name__):
        table[found.rule].append(found)
    for extension in used:
        extension.load("checks")
        for found in _registered_in(extension.package):
            if found.rule.partition("-")[0] not in extension.families:
                raise extension.error(
                    "checks", f"there is a check for {found.rule}, which is not a rule of this extension"
                )
            table[found.rule].append(found)
        for rule in load_rules().values():
            if rule.family in extension.families and not rule.unchecked and not table[rule.id]:
                hint = 'Add one, or say in the row of the rule why there is none: unchecked = "...".'
                raise extension.error(str(extension.folder / "checks.py"), f"{rule.id} has no check", hint)
    return {rule: tuple(checks) for rule, checks in table.items()}


def _registered_in(package: str) -> list[Registered]:
    """Return the checks that modules of a package hold."""
    return [found for found in registered() if found.run.__module__.startswith(f"{package}.")]

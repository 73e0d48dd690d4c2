"""Putting extensions to use: everything in them is read before anything is sent."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rejoinder.conformance.checks import checks_by_rule
from rejoinder.extensions import Extension, extensions, set_extensions
from rejoinder.sandbox import load_faults, load_freedoms


def use_extensions(folders: Iterable[Path | str] | None = None) -> tuple[Extension, ...]:
    """Use the extensions in these folders beside the installed ones, here and in processes started from here.

    ``None`` leaves it at the folders in use. Returns all extensions in use. Raises
    :class:`~rejoinder.errors.ExtensionError` for a folder, rule, check, fault or freedom that cannot be used; cases are
    read when a plan is built.
    """
    used = extensions() if folders is None else set_extensions(folders)
    if used:
        checks_by_rule()
        load_faults()
        load_freedoms()
    return used

"""The checks, one module per rule family; importing this package registers them all."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from rejoinder.conformance.checks import (
    acc,
    bgr,
    cap,
    ech,
    err,
    evt,
    http,
    iso,
    itm,
    lif,
    mem,
    par,
    prt,
    rsp,
    sse,
    sta,
    tol,
    usg,
)
from rejoinder.conformance.judging.registry import Registered, registered
from rejoinder.contract import load_rules

__all__ = [
    "acc",
    "bgr",
    "cap",
    "checks_by_rule",
    "ech",
    "err",
    "evt",
    "http",
    "iso",
    "itm",
    "lif",
    "mem",
    "par",
    "prt",
    "rsp",
    "sse",
    "sta",
    "tol",
    "usg",
]


@cache
def checks_by_rule() -> Mapping[str, tuple[Registered, ...]]:
    """Return the checks of every rule by its id, in catalogue order; a rule that is not checked has none."""
    table: dict[str, list[Registered]] = {rule: [] for rule in load_rules()}
    for found in registered():
        table[found.rule].append(found)
    return {rule: tuple(checks) for rule, checks in table.items()}

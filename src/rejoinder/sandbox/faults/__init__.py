"""The catalogue of faults: each breaks one thing and leaves the rest of the reply in order."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from rejoinder.sandbox.fault import Condition, Fault
from rejoinder.sandbox.faults import _field, _stream, _wire, bgr, ech, err, iso, mem, par, rsp, sta, tol

__all__ = ["FAULTS", "Condition", "Fault"]

FAULTS: Final[Mapping[str, Fault]] = MappingProxyType(
    {
        fault.id: fault
        for family in (
            _wire,
            _stream,
            rsp,
            err,
            ech,
            _field,
            tol,
            sta,
            bgr,
            iso,
            mem,
            par,
        )
        for fault in family.FAULTS
    }
)
"""Every fault by its id, grouped by where in a reply it shows."""

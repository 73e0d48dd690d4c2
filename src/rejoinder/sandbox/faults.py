"""The catalogue of faults: each breaks one thing and leaves the rest of the reply in order."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from rejoinder.sandbox import (
    _faults_background,
    _faults_echo,
    _faults_errors,
    _faults_field,
    _faults_isolation,
    _faults_meaning,
    _faults_parameters,
    _faults_response,
    _faults_state,
    _faults_stream,
    _faults_tools,
    _faults_wire,
)
from rejoinder.sandbox._fault import Condition, Fault

__all__ = ["FAULTS", "Condition", "Fault"]

FAULTS: Final[Mapping[str, Fault]] = MappingProxyType(
    {
        fault.id: fault
        for family in (
            _faults_wire,
            _faults_stream,
            _faults_response,
            _faults_errors,
            _faults_echo,
            _faults_field,
            _faults_tools,
            _faults_state,
            _faults_background,
            _faults_isolation,
            _faults_meaning,
            _faults_parameters,
        )
        for fault in family.FAULTS
    }
)
"""Every fault by its id, grouped by where in a reply it shows."""

"""Distributions in profiles: a number, or a table like ``{ lognormal = 200, sigma = 0.7, max = 4000 }``.

===================================  ========================================================
``128``                              always 128
``{ uniform = [a, b] }``             evenly between a and b
``{ normal = mean, sd = s }``        normal
``{ lognormal = median, sigma = s}`` lognormal; sigma is the standard deviation of the logarithm
``{ exponential = mean }``           exponential
``{ choice = [..], weights = [..]}`` one of some numbers; without weights evenly
===================================  ========================================================

``min`` and ``max`` bound what is drawn (values outside become the bound).
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Any, Final

from rejoinder.errors import UsageError
from rejoinder.load.toml_errors import Place, check_keys

_PARAMETERS: Final = {
    "uniform": (),
    "normal": ("sd",),
    "lognormal": ("sigma",),
    "exponential": (),
    "choice": ("weights",),
}
_HINT: Final = (
    "Write a number, or a table like { uniform = [50, 200] } or { lognormal = 200, sigma = 0.7, max = 4000 }."
)


@dataclass(frozen=True, slots=True)
class Distribution:
    """A distribution of numbers. ``values`` are the parameters of ``kind`` in its order."""

    kind: str
    values: tuple[float, ...]
    weights: tuple[float, ...] = ()
    low: float = -math.inf
    high: float = math.inf

    def draw(self, generator: random.Random) -> float:
        """Return one number."""
        match self.kind:
            case "uniform":
                value = generator.uniform(*self.values)
            case "normal":
                value = generator.gauss(*self.values)
            case "lognormal":
                value = self.values[0] * math.exp(generator.gauss(0, self.values[1]))
            case "exponential":
                value = generator.expovariate(1 / self.values[0])
            case "choice":
                value = generator.choices(self.values, self.weights or None)[0]
            case _:
                value = self.values[0]
        return min(max(value, self.low), self.high)


def parse_distribution(value: Any, place: Place, *, least: float = 0.0) -> Distribution:
    """Return the distribution that a TOML value describes.

    Raises :class:`UsageError` for one that does not exist, or that can yield less than ``least``, naming the place.
    """
    if _is_number(value):
        _at_least(value, least, place)
        return Distribution("constant", (float(value),))
    if not isinstance(value, dict):
        raise UsageError(f"{place} is no distribution.", _HINT)
    check_keys(value, [*_PARAMETERS, *(name for names in _PARAMETERS.values() for name in names), "min", "max"], place)
    kinds = [name for name in _PARAMETERS if name in value]
    if len(kinds) != 1:
        said = f"names {' and '.join(kinds)}" if kinds else "names no kind"
        raise UsageError(f"{place} {said} of distribution.", _HINT)
    (kind,) = kinds
    for name in value:
        if name not in (kind, *_PARAMETERS[kind], "min", "max"):
            raise UsageError(f"{place}: {name} has no meaning for {kind}.", _HINT)
    low, high = (
        _number(value[name], place.down(name)) if name in value else default
        for name, default in (("min", -math.inf), ("max", math.inf))
    )
    if low > high:
        raise UsageError(f"{place}: min {low:g} is above max {high:g}.", "Exchange them.")
    main = place.down(kind)
    weights: tuple[float, ...] = ()
    if kind == "uniform":
        values = _numbers(value[kind], main)
        if len(values) != 2 or values[0] > values[1]:
            raise UsageError(f"{main} is not two numbers in order.", "Write it like [50, 200].")
    elif kind == "choice":
        values = _numbers(value[kind], main)
        if not values:
            raise UsageError(f"{main} is empty.", "Write some numbers to choose from.")
        if "weights" in value:
            weights = _numbers(value["weights"], place.down("weights"))
            if len(weights) != len(values) or min(weights) < 0 or not sum(weights):
                raise UsageError(
                    f"{place.down('weights')} is not one weight for each choice.",
                    "Weights are numbers from 0, not all 0.",
                )
    else:
        values = (_number(value[kind], main),)
        for name in _PARAMETERS[kind]:
            if name not in value:
                raise UsageError(f"{place} lacks {name}.", _HINT)
            spread = _number(value[name], place.down(name))
            if spread < 0 or spread > (100 if name == "sigma" else math.inf):
                raise UsageError(f"{place.down(name)} is {spread:g}.", "A spread is a number from 0.")
            values = (*values, spread)
        if kind != "normal" and values[0] <= 0:
            raise UsageError(f"{main} is {values[0]:g}.", f"The middle of {kind} is above 0.")
    made = Distribution(kind, values, weights, low, high)
    for bound in (low, high) if kind == "normal" else (high,):
        if math.isfinite(bound):
            _at_least(bound, least, place)
    if kind in ("uniform", "choice"):
        for number in values:
            _at_least(min(max(number, low), high), least, main)
    if kind == "normal" and low < least:
        made = Distribution(kind, values, weights, least, high)
    return made


def _at_least(value: float, least: float, place: Place) -> None:
    if value < least or not math.isfinite(value):
        raise UsageError(f"{place} can be {value:g}, which is impossible.", f"It is at least {least:g}.")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _number(value: Any, place: Place) -> float:
    if not _is_number(value) or not math.isfinite(value):
        raise UsageError(f"{place} is not a number.", _HINT)
    return float(value)


def _numbers(value: Any, place: Place) -> tuple[float, ...]:
    if not isinstance(value, list):
        raise UsageError(f"{place} is not a list of numbers.", _HINT)
    return tuple(_number(item, place) for item in value)

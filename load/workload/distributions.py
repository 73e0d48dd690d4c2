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

from rejoinder.formatting import plural
from rejoinder.toml_file import Key, TomlFile

_KINDS: Final = {"uniform": "", "normal": "sd", "lognormal": "sigma", "exponential": "", "choice": ""}
"""The kinds of distribution, each with its second parameter."""


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


def parse_distribution(
    value: Any, file: TomlFile, at: tuple[Key, ...], *, least: float = 0.0, most: float = 1e9
) -> Distribution:
    """Return the distribution that a value of a file describes; the file has been checked against its schema.

    Raises the file's error for one that is impossible, can yield less than ``least``, or names more than ``most``;
    what is drawn above that becomes ``most``. ``at`` is its place.
    """
    if isinstance(value, (int, float)):
        _at_least(value, least, file, at)
        _at_most(value, most, file, at)
        return Distribution("constant", (float(value),))
    kind = next(name for name in _KINDS if name in value)
    main = (*at, kind)
    low, high = value.get("min", -math.inf), value.get("max", math.inf)
    if low > high:
        raise file.error((*at, "min"), f"is {low:g}, above max {high:g}", "Swap the two values.")
    weights = tuple(map(float, value.get("weights", ())))
    if isinstance(value[kind], list):
        values = tuple(map(float, value[kind]))
    else:
        values = tuple(float(value[name]) for name in (kind, _KINDS[kind]) if name)
    if kind == "uniform" and values[0] > values[1]:
        raise file.error(main, "has a lower bound above its upper bound", "Write the lower bound first: [50, 200].")
    if "weights" in value and (len(weights) != len(values) or not sum(weights)):
        raise file.error(
            (*at, "weights"),
            f"has {plural(len(weights), 'value')}, expected {len(values):,} that are not all 0",
            "Write one weight for each choice.",
        )
    for bound, name in ((low, "min"), (high, "max")) if kind == "normal" else ((high, "max"),):
        if math.isfinite(bound):
            _at_least(bound, least, file, (*at, name))
    if kind in ("uniform", "choice"):
        for number in values:
            _at_least(min(max(number, low), high), least, file, main)
            _at_most(min(number, high), most, file, main)
    return Distribution(kind, values, weights, max(low, least) if kind == "normal" else low, min(high, most))


def _at_most(value: float, most: float, file: TomlFile, at: tuple[Key, ...]) -> None:
    if value > most:
        raise file.error(at, f"can be {value:g}, expected at most {most:,.0f}", "Lower the value, or set max.")


def _at_least(value: float, least: float, file: TomlFile, at: tuple[Key, ...]) -> None:
    if value < least:
        raise file.error(at, f"can be {value:g}, expected at least {least:g}", "Raise the value, or set min.")

"""The settings of a load, its rates, and the self-check of the load generator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from rejoinder.formatting import as_number, one_line
from rejoinder.model.samples import LoadSample
from rejoinder.reports.model import Area, Part, ReportModel


@dataclass(frozen=True, slots=True)
class LoadDetails:
    """Names and values, as text."""

    settings: list[tuple[str, str]]
    rates: list[tuple[str, str]]
    self_check: list[tuple[str, str]]


def read(report: ReportModel) -> LoadDetails | None:
    """Return the settings, the rates and the self-check of the totals."""
    total = report.run.load
    if total is None:
        return None
    settings = {"mode": total.mode, "issued": total.issued, "input_tokens": total.input_tokens}
    settings |= {"output_tokens": total.output_tokens, **total.settings}
    check = msgspec.structs.asdict(total.self_check)
    return LoadDetails(
        settings=_texts(settings, 32),
        rates=_rates(total),
        self_check=_texts({name: check[name] for name in check if name not in ("verdict", "reasons")}, 24),
    )


def _rates(total: LoadSample) -> list[tuple[str, str]]:
    """Return the rates with the parts of the run over which they were computed."""
    windows = {"window": total.window, "started_window": total.started_window}
    found = [(name, f"{edges[0]:.4g} s to {edges[1]:.4g} s") for name, edges in windows.items() if edges]
    rates = msgspec.structs.asdict(total.rates)
    found += [(name, _text(value)) for name, value in rates.items() if value is not None]
    return found + ([] if total.in_flight is None else [("in_flight", _text(total.in_flight))])


def _texts(values: Mapping[str, Any], most: int) -> list[tuple[str, str]]:
    """Return the scalars of an object as names and text."""
    scalars = {name: value for name, value in values.items() if isinstance(value, (str, int, float)) and value != ""}
    return [(one_line(name, 60), _text(value)) for name, value in scalars.items()][:most]


def _text(value: Any) -> str:
    """Return a value as people write it: no trailing digits of floats."""
    figure = as_number(value)
    if figure is None or isinstance(value, int):
        return one_line(value, 120)
    return f"{figure:.4g}" if abs(figure) < 1e4 else f"{figure:,.0f}"


PART: Final = Part(__name__, Area.LOAD, 300, read)

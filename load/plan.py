"""From options to a plan: one run, a search or a comparison, with every check made before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rejoinder.errors import UsageError
from rejoinder.load.decide.find_highest import SearchRange
from rejoinder.load.decide.regression import LEAST_REPEATS, RegressionLimit, parse_changes, read_repeats
from rejoinder.load.decide.search import parse_concurrencies, parse_levels, parse_range
from rejoinder.load.options import COMPARED_REPEATS, PlanOptions, all_options, check_exclusions, check_needs, options_of
from rejoinder.load.run import check_settings
from rejoinder.load.settings import LoadSettings
from rejoinder.wire.address import candidate_addresses


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """What a load test does.

    ``settings`` are those of each run, less what a search sets. ``levels`` are the numbers of requests in flight of a
    sweep, ``sought`` the range in which the highest rate or concurrency is searched. A run is made ``repeats`` times;
    ``changes`` are limits of what may differ from the figures of a ``baseline`` or from the endpoint at the URL
    ``against``.
    """

    settings: LoadSettings
    levels: list[int] | None = None
    sought: SearchRange | None = None
    repeats: int = 1
    changes: list[RegressionLimit] = field(default_factory=list)
    baseline: list[dict[str, float]] = field(default_factory=list)
    against: str = ""
    probe_disconnects: bool = False
    searches: bool = False


def make_plan(url: str, given: Mapping[str, Any]) -> LoadPlan:
    """Return the plan that options describe: fields of ``RunOptions`` and ``PlanOptions``, without those not given.

    Raises :class:`UsageError` for options that cannot be used, or not together.
    """
    options = all_options()
    given = {name: options[name].read(value) for name, value in given.items()}
    check_exclusions(given, options)
    chosen = PlanOptions(**{name: value for name, value in given.items() if name in options_of(PlanOptions)})
    searches = bool(chosen.sweep or chosen.find_rate or chosen.find_concurrency)
    levels = parse_levels(chosen.sweep) if chosen.sweep else None
    changes = parse_changes(chosen.max_change)
    sought = None
    if chosen.find_rate:
        sought = SearchRange("rate", *parse_range(chosen.find_rate))
    elif chosen.find_concurrency:
        sought = SearchRange("concurrency", *parse_concurrencies(chosen.find_concurrency))
    rates = sought if sought is not None and sought.kind == "rate" else None
    run = {name: value for name, value in given.items() if name not in options_of(PlanOptions)}
    settings = LoadSettings.complete(url=url, **{"concurrency": 1, **run} if searches else run)
    check_needs({*given, *(["slos"] if settings.slos else [])}, options)
    settings.request_options(None)
    if rates is not None:
        # The search sets the rate, so its highest one is what the limit must allow.
        replace(settings, concurrency=None, rate=rates.high).check_rate_limit()
    unlimited = replace(settings, rate_limit=None) if rates is not None else settings
    check_settings(replace(unlimited, processes=1) if searches else unlimited)
    repeats = chosen.repeats or (COMPARED_REPEATS if changes else 1)
    options["repeats"].check(repeats)
    if changes and repeats < LEAST_REPEATS:
        raise UsageError(
            f"--repeats is {repeats}, expected at least {LEAST_REPEATS} with --max-change.",
            f"Use --repeats {COMPARED_REPEATS}. Fewer repetitions cannot show a significant change.",
        )
    if chosen.against:
        candidate_addresses(chosen.against)
    return LoadPlan(
        settings,
        levels,
        sought,
        repeats,
        changes,
        read_repeats(Path(chosen.baseline)) if chosen.baseline else [],
        chosen.against,
        chosen.probe_disconnects,
        searches,
    )

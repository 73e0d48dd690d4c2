"""The options of a load test, one row each: everything that declares an option is made of these rows.

That is ``rejoinder load --help`` with its groups, the arguments ``--rejoinder-*`` and variables ``REJOINDER_LOAD_*`` of
plain Locust, the fields of :class:`~rejoinder.load.settings.LoadSettings`, the keys of a workload's ``[load]`` table,
the checks of ranges and combinations, and the tables in docs/how-to/load.md. To add an option, add a row and the code
that reads it.

This module is imported for ``rejoinder load --help``, so it imports little.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from itertools import permutations
from types import NoneType
from typing import Any, Final, get_args, get_origin, get_type_hints

from rejoinder.contract import DEFAULT_DIALECT
from rejoinder.errors import UsageError
from rejoinder.settings import parse_duration

ENVIRONMENT_PREFIX: Final = "REJOINDER_LOAD_"
OUTPUT_VARIABLE: Final = "REJOINDER_LOAD_OUTPUT"
"""Names the file to which a run started by rejoinder writes what it measured, one JSON object a line."""
CONTROL_VARIABLE: Final = "REJOINDER_LOAD_CONTROL"
"""Names the file descriptor whose end of file says: stop."""
DEFAULT_CONCURRENCY: Final = 8
COMPARED_REPEATS: Final = 5
"""How often each side of a comparison is run by default."""
MAX_DURATION: Final = 24 * 3600.0
MAX_CONCURRENCY: Final = 20_000
MIN_RATE: Final = 1e-3
MAX_RATE: Final = 50_000.0
PACE: Final = "pace"
"""What the options have in common that say how much load there is: just one of them holds."""
SEPARATOR: Final = ";"
"""Stands between the values of an option that may be repeated, where it is written as one text."""


class OptionGroup(StrEnum):
    """The headings under which ``--help`` and the documentation show the options."""

    PACE = "Load (choose one)"
    SCHEDULE = "Schedule"
    WORKLOAD = "Requests"
    BOUNDS = "Time-outs and limits"
    OBJECTIVES = "Objectives and comparisons"
    MEASURING = "Measuring"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOption:
    """One option. ``name``, ``kind`` and ``default`` are those of the field that declares it.

    ``flag`` is its name in ``rejoinder load``, without dashes, and ``None`` where that command lacks it; ``locust``
    says whether plain Locust has it, where ``locust_default`` may replace the default. ``workload``: the ``[load]``
    table of a workload may set it. ``parse`` reads it from a text where its kind cannot. ``bounds`` are the smallest
    and the greatest value. ``shown_default`` describes a default that no value does. Options with the same
    ``exclusive`` exclude each other, as those in ``excludes`` (names of fields) do; ``needs`` names options of which
    one must be given too; the hints say what to do where a combination is wrong.
    """

    help: str
    group: OptionGroup
    name: str = ""
    kind: type = str
    default: Any = None
    metavar: str = ""
    flag: str | None = ""
    locust: bool = True
    locust_default: Any = None
    workload: bool = False
    parse: Callable[[str], Any] | None = None
    bounds: tuple[float, float] | None = None
    shown_default: str = ""
    exclusive: str = ""
    excludes: tuple[str, ...] = ()
    excludes_hint: str = "Choose one."
    needs: tuple[str, ...] = ()
    needs_hint: str = ""

    @property
    def argument(self) -> str:
        """The option as errors name it: with dashes, as on the command line where it is there."""
        return f"--{self.flag}" if self.flag else self.name.replace("_", "-")

    @property
    def locust_argument(self) -> str:
        """The option as an argument of plain Locust."""
        return f"--rejoinder-{self.name.replace('_', '-')}"

    @property
    def variable(self) -> str:
        """The environment variable that plain Locust reads."""
        return f"{ENVIRONMENT_PREFIX}{self.name.upper()}"

    @property
    def default_text(self) -> str:
        """The default in words; empty where there is none."""
        if self.shown_default or self.default in (None, "", (), False):
            return self.shown_default
        if self.kind is bool:
            return "on"
        number = isinstance(self.default, float)
        return f"{self.default:g}{'s' if self.parse is seconds else ''}" if number else str(self.default)

    def read(self, value: Any) -> Any:
        """Return the option's value from a text or a value; raises :class:`UsageError` for what it cannot be."""
        try:
            if self.kind is tuple:
                texts = value.split(SEPARATOR) if isinstance(value, str) else value
                return tuple(text.strip() for text in texts if text.strip())
            if self.kind is bool:
                return value if isinstance(value, bool) else value.lower() not in ("0", "false", "no", "off")
            return self.parse(value) if self.parse and isinstance(value, str) else self.kind(value)
        except ValueError as error:
            raise UsageError(f"{self.argument} is not a number: {value!r}.", self.help) from error

    def write(self, value: Any) -> str:
        """Return a value as a text that :meth:`read` takes."""
        return SEPARATOR.join(value) if isinstance(value, tuple) else str(value)

    def check(self, value: float) -> None:
        """Raise :class:`UsageError` for a value outside the bounds."""
        if self.bounds is not None and not (math.isfinite(value) and self.bounds[0] <= value <= self.bounds[1]):
            low, high = self.bounds
            raise UsageError(
                f"{self.argument} is {value:g}, which is not between {low:g} and {high:g}.",
                "Choose a value in that range.",
            )


def option(default: Any, group: OptionGroup, help: str, **rest: Any) -> Any:
    """Return a dataclass field that declares an option; ``rest`` are fields of :class:`LoadOption`."""
    return field(default=default, metadata={"option": LoadOption(help=help, group=group, **rest)})


def options_of(declared: type) -> dict[str, LoadOption]:
    """Return the options that a dataclass declares, by the names of their fields, in order."""
    hints = get_type_hints(declared)
    found = {}
    for one in fields(declared):
        if "option" in one.metadata:
            row: LoadOption = one.metadata["option"]
            kinds = [kind for kind in get_args(hints[one.name]) if kind is not NoneType]
            kind = tuple if get_origin(hints[one.name]) is tuple else kinds[0] if kinds else hints[one.name]
            flag = one.name.replace("_", "-") if row.flag == "" else row.flag
            found[one.name] = replace(row, name=one.name, kind=kind, default=one.default, flag=flag)
    return found


def seconds(text: str) -> float:
    """Return a number of seconds, or a duration with a unit, in seconds; raises :class:`UsageError` for others."""
    try:
        return float(text)
    except ValueError:
        return parse_duration(text)


def rate_or_phases(text: str) -> float | str:
    """Return a rate, or the text itself where it describes phases; raises ``ValueError`` for what is neither."""
    return text if "@" in text else float(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """The options of one run."""

    # fmt: off
    model: str = option("", OptionGroup.WORKLOAD, "Model to request; empty: leave it out.", flag=None)
    dialect: str = option(DEFAULT_DIALECT, OptionGroup.MEASURING, "Dialect that answers are judged by.", flag=None)
    concurrency: int | None = option(None, OptionGroup.PACE,
        "Closed loop: C requests in flight, always.",
        metavar="C", locust=False, workload=True, bounds=(1, MAX_CONCURRENCY),
        shown_default=f"{DEFAULT_CONCURRENCY}", exclusive=PACE)
    rate: float | None = option(None, OptionGroup.PACE,
        "Open loop: R requests a second on a fixed schedule, whatever the endpoint does; or phases, like "
        "5@30s,5..50@1min,50@10min.",
        metavar="R", workload=True, parse=rate_or_phases, bounds=(MIN_RATE, MAX_RATE), exclusive=PACE)
    phases: str = option("", OptionGroup.PACE,
        "Open loop: a rate that changes, like 5@30s,5..50@1min,50@10min.",
        flag=None, exclusive=PACE)
    trace: str = option("", OptionGroup.PACE,
        "Open loop: recorded traffic to replay, in the format of Mooncake, BurstGPT or Azure.",
        metavar="FILE", exclusive=PACE)
    speed: float = option(1.0, OptionGroup.SCHEDULE,
        "How many times as fast as it was recorded a trace is replayed.",
        metavar="X", bounds=(1e-6, 1e6))
    arrivals: str = option("constant", OptionGroup.SCHEDULE,
        "Open loop: constant, poisson, or gamma:B (the smaller B, the burstier).",
        metavar="A", workload=True)
    duration: float = option(10.0, OptionGroup.SCHEDULE,
        "How long requests are begun; those in flight then end.",
        metavar="S", locust_default=0.0, workload=True, parse=seconds, bounds=(0.1, MAX_DURATION),
        shown_default="10s, or the length of phases or trace")
    requests: int | None = option(None, OptionGroup.SCHEDULE,
        "Begin N requests, and end when they have ended; with a duration, whatever comes first.",
        metavar="N", workload=True, bounds=(1, 1_000_000_000))
    ramp: float | None = option(None, OptionGroup.SCHEDULE,
        "Closed loop: time over which the users send their first requests.",
        flag=None, parse=seconds, shown_default="5 % of the duration, at most 1s")
    drain: float = option(10.0, OptionGroup.SCHEDULE,
        "Time that requests in flight get at the end.",
        flag=None, parse=seconds, bounds=(0, 3600))
    seed: int = option(0, OptionGroup.SCHEDULE, "Seed of the schedule.", metavar="N", shown_default="0")
    profile: str = option("", OptionGroup.WORKLOAD,
        "Workload: the name of a shipped profile (see --list-profiles), or a TOML file. Options given here go first.",
        metavar="P", excludes=("prompt", "bodies"),
        excludes_hint="A profile has its own inputs. Leave --prompt and --bodies out, or write them into a profile.")
    prompt: str = option("", OptionGroup.WORKLOAD,
        "What is asked.",
        metavar="TEXT", shown_default="a short built-in text")
    bodies: str = option("", OptionGroup.WORKLOAD,
        "JSON or NDJSON file of request bodies to send in turn.",
        metavar="FILE")
    max_output_tokens: int = option(64, OptionGroup.WORKLOAD,
        "Tokens that a request may have answered, where profile or trace says nothing; 0: no limit.",
        metavar="N", bounds=(0, 10_000_000))
    canaries: bool = option(True, OptionGroup.WORKLOAD,
        "Put a token of its own into each input, and look for those of others in each answer.")
    connect_timeout: float = option(10.0, OptionGroup.BOUNDS,
        "Time to connect.",
        flag=None, parse=seconds, bounds=(1e-3, MAX_DURATION))
    idle_timeout: float = option(60.0, OptionGroup.BOUNDS,
        "Longest silence of the endpoint within one request.",
        metavar="S", flag="timeout", parse=seconds, bounds=(1e-3, MAX_DURATION))
    total_timeout: float = option(600.0, OptionGroup.BOUNDS,
        "Time for a whole request.",
        flag=None, parse=seconds, bounds=(1e-3, MAX_DURATION))
    max_in_flight: int = option(4096, OptionGroup.BOUNDS,
        "Open loop: most requests in flight in one process.",
        flag=None, bounds=(1, MAX_CONCURRENCY))
    processes: int = option(1, OptionGroup.BOUNDS,
        "Load generator processes.",
        metavar="P", locust=False, workload=True, bounds=(1, 256))
    slos: tuple[str, ...] = option((), OptionGroup.OBJECTIVES,
        "Objective, like 'ttft:p99<300ms', 'tpot<30ms', 'goodput>=95%', 'error<1%'; may be repeated.",
        metavar="SLO", flag="slo", workload=True)
    metrics: tuple[str, ...] = option((), OptionGroup.MEASURING,
        "Prometheus page to read once a second, or auto for /metrics of the endpoint; may be repeated.",
        metavar="URL", locust=False)
    gpu: bool = option(False, OptionGroup.MEASURING,
        "Ask the GPUs of this host for use, power and memory once a second (NVML).",
        locust=False)


_COMPARED: Final = ("repeats", "max_change", "baseline", "against")
_SEARCH_HINT: Final = (
    "A search is not repeated or compared. Leave --repeats, --max-change, --baseline and --against out."
)
_LIMIT_HINT: Final = "Nothing is to be compared. Add a limit, like --max-change 'ttft:p99<+10%'."


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOptions:
    """The options that make a search, repeats or a comparison of several runs, or probe the endpoint after them."""

    # fmt: off
    sweep: str = option("", OptionGroup.PACE,
        "Run with rising numbers of requests in flight, like 1,2,4,8 or auto, and name the knee.",
        metavar="LEVELS", locust=False, exclusive=PACE, excludes=_COMPARED, excludes_hint=_SEARCH_HINT)
    find_rate: str = option("", OptionGroup.PACE,
        "Search for the highest rate that keeps every --slo, like 1..50; each rate is tried up to three times.",
        metavar="LOW..HIGH", locust=False, exclusive=PACE, excludes=_COMPARED, excludes_hint=_SEARCH_HINT,
        needs=("slos",), needs_hint="Add an objective, like --slo 'ttft:p99<300ms'.")
    repeats: int | None = option(None, OptionGroup.OBJECTIVES,
        "Run N times, to know how much figures vary.",
        metavar="N", locust=False, bounds=(1, 50), shown_default=f"1, with --max-change {COMPARED_REPEATS}")
    max_change: tuple[str, ...] = option((), OptionGroup.OBJECTIVES,
        "How much worse than the baseline a figure may be, like 'ttft:p99<+10%' or 'output_tokens>-5%'; may "
        "be repeated.",
        metavar="LIMIT", locust=False, needs=("baseline", "against"),
        needs_hint="A change needs something to compare with. Add --baseline RUN or --against URL2.")
    baseline: str = option("", OptionGroup.OBJECTIVES,
        "Compare with a recorded run that was made with --repeats.",
        metavar="RUN", locust=False, exclusive="reference", needs=("max_change",), needs_hint=_LIMIT_HINT)
    against: str = option("", OptionGroup.OBJECTIVES,
        "Compare with another endpoint, which is loaded in turns with the first.",
        metavar="URL2", locust=False, exclusive="reference", needs=("max_change",), needs_hint=_LIMIT_HINT)
    probe_disconnects: bool = option(False, OptionGroup.MEASURING,
        "Afterwards, drop long requests on purpose and see whether the server stops, stays up and serves others.",
        locust=False)


def all_options() -> dict[str, LoadOption]:
    """Return the options of a run and of a plan, by the names of their fields, in the order of their groups."""
    found = {**options_of(RunOptions), **options_of(PlanOptions)}
    order = list(OptionGroup)
    return dict(sorted(found.items(), key=lambda item: order.index(item[1].group)))


def check_exclusions(given: Collection[str], options: Mapping[str, LoadOption]) -> None:
    """Raise :class:`UsageError` for two of the given options (names of fields) that exclude each other."""
    for one, other in permutations((row for name, row in options.items() if name in given), 2):
        if other.name in one.excludes or (one.exclusive and one.exclusive == other.exclusive):
            raise UsageError(f"{one.argument} and {other.argument} exclude each other.", one.excludes_hint)


def check_needs(given: Collection[str], options: Mapping[str, LoadOption]) -> None:
    """Raise :class:`UsageError` for a given option without any of those that it needs."""
    for name, one in options.items():
        if name in given and one.needs and not set(one.needs) & set(given):
            needed = " or ".join(options[other].argument for other in one.needs)
            raise UsageError(f"{one.argument} needs {needed}.", one.needs_hint)


def add_locust_arguments(parser: Any, options: Mapping[str, LoadOption]) -> None:
    """Add the options that plain Locust has to its parser, an ``ArgumentParser`` of configargparse."""
    group = parser.add_argument_group("rejoinder", "Load on POST /v1/responses; the key comes from REJOINDER_API_KEY.")
    for one in options.values():
        if one.locust:
            group.add_argument(
                one.locust_argument,
                dest=f"rejoinder_{one.name}",
                type=_argparse_type(one),
                default=one.locust_default,
                help=(one.help + (f" [default: {one.default_text}]" if one.default_text else "")).replace("%", "%%"),
                env_var=one.variable,
            )


def _argparse_type(one: LoadOption) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            return one.read(text) if text and one.kind in (int, float) else text
        except UsageError as error:
            raise argparse.ArgumentTypeError(error.message) from error

    return read

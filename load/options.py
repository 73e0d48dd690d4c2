"""The options of a load test, one row each: everything that declares an option is made of these rows.

That is ``rejoinder load --help`` with its groups, the arguments ``--rejoinder-*`` and variables ``REJOINDER_LOAD_*`` of
plain Locust, the fields of :class:`~rejoinder.load.settings.LoadSettings`, the keys of a workload's ``[load]`` table,
the checks of ranges and combinations, and the tables of the reference. To add an option, add a row and the code
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
from rejoinder.model.base_form import InputForm
from rejoinder.settings import REQUEST_OPTIONS, parse_duration, parse_rate

ENVIRONMENT_PREFIX: Final = "REJOINDER_LOAD_"
OUTPUT_VARIABLE: Final = "REJOINDER_LOAD_OUTPUT"
"""Names the file to which a run started by rejoinder writes what it measured, one JSON object a line."""
CONTROL_VARIABLE: Final = "REJOINDER_LOAD_CONTROL"
"""Names the file descriptor whose end of file says: stop. The seconds that the drain may take can be read before."""
PARENT_VARIABLE: Final = "REJOINDER_LOAD_PARENT"
"""Holds the process id of the command, with which the load ends."""
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
LINE_BREAK: Final = "\n"
"""Stands there between headers, whose values may hold any other character."""


class OptionGroup(StrEnum):
    """The headings under which ``--help`` and the documentation show the options."""

    PACE = "Load (choose one)"
    SCHEDULE = "Schedule"
    WORKLOAD = "Requests"
    BOUNDS = "Timeouts and limits"
    OBJECTIVES = "SLOs and comparisons"
    MEASURING = "Further measurements"
    ENDPOINT = "Endpoint"


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
    separator: str = SEPARATOR
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
                texts = value.split(self.separator) if isinstance(value, str) else value
                return tuple(text.strip() for text in texts if text.strip())
            if self.kind is bool:
                return value if isinstance(value, bool) else value.lower() not in ("0", "false", "no", "off")
            return self.parse(value) if self.parse and isinstance(value, str) else self.kind(value)
        except ValueError as error:
            raise UsageError(f'{self.argument} is "{value}", expected a number.', self.help) from error

    def write(self, value: Any) -> str:
        """Return a value as a text that :meth:`read` takes."""
        return self.separator.join(value) if isinstance(value, tuple) else str(value)

    def check(self, value: float) -> None:
        """Raise :class:`UsageError` for a value outside the bounds."""
        if self.bounds is not None and not (math.isfinite(value) and self.bounds[0] <= value <= self.bounds[1]):
            low, high = self.bounds
            raise UsageError(
                f"{self.argument} is {value:g}, expected a number from {low:g} to {high:g}.",
                "Choose a value in this range.",
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


def warm_up_length(text: str) -> tuple[float | None, int | None]:
    """Return the length of a warm-up in seconds, or its number of requests; raises :class:`UsageError` for others."""
    stripped = text.strip()
    if not stripped:
        return None, None
    if stripped.isdigit():
        if not 1 <= len(stripped) <= 9 or not int(stripped):
            raise UsageError(
                f'--warm-up is "{text}", expected 1 to 999,999,999 requests or a time.', "Write 30s or 100."
            )
        return None, int(stripped)
    length = parse_duration(stripped)
    if not 0.1 <= length <= MAX_DURATION:
        raise UsageError(f'--warm-up is "{text}", expected a time from 0.1s to 24h.', "Write 30s or 100.")
    return length, None


def rate_or_phases(text: str) -> float | str:
    """Return a rate, or the text itself where it describes phases; raises ``ValueError`` for what is neither."""
    return text if "@" in text else float(text)


def input_form_name(text: str) -> str:
    """Return the name of an input form; raises :class:`UsageError` for another text."""
    if text not in list(InputForm):
        raise UsageError(f'"{text}" is not a form of input.', f"Use one of {', '.join(InputForm)}.")
    return text


def _request_option(name: str) -> Any:
    """Return the field of an option about every request, with the description that all commands share."""
    row = REQUEST_OPTIONS[name]
    help = f"{row.help} Can be given more than once." if row.multiple else row.help
    default: Any = () if row.multiple else ""
    return option(default, OptionGroup.ENDPOINT, help, metavar=row.metavar, separator=LINE_BREAK)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """The options of one run."""

    # fmt: off
    model: str = option("", OptionGroup.WORKLOAD, "Model to request. Empty: requests name no model.", flag=None)
    dialect: str = option(DEFAULT_DIALECT, OptionGroup.MEASURING, "Dialect to check responses against.", flag=None)
    concurrency: int | None = option(None, OptionGroup.PACE,
        "Closed loop: keep N requests in flight. A user pauses after a response without an answer: 50 ms, doubled with "
        "each in a row up to 1 s.",
        metavar="N", locust=False, workload=True, bounds=(1, MAX_CONCURRENCY),
        shown_default=f"{DEFAULT_CONCURRENCY}", exclusive=PACE)
    rate: float | None = option(None, OptionGroup.PACE,
        "Open loop: start requests at this rate per second, regardless of responses. Or phases of RATE@DURATION: "
        "5@30s,5..50@1min,50@10min.",
        metavar="RATE", workload=True, parse=rate_or_phases, bounds=(MIN_RATE, MAX_RATE), exclusive=PACE)
    phases: str = option("", OptionGroup.PACE,
        "Open loop: a rate that changes over time. Example: 5@30s,5..50@1min,50@10min.",
        flag=None, exclusive=PACE)
    trace: str = option("", OptionGroup.PACE,
        "Open loop: replay recorded traffic in the format of Mooncake, BurstGPT or Azure.",
        metavar="FILE", exclusive=PACE)
    speed: float = option(1.0, OptionGroup.SCHEDULE,
        "Replay speed of a trace. 2 is twice as fast as recorded.",
        metavar="FACTOR", bounds=(1e-6, 1e6))
    arrivals: str = option("constant", OptionGroup.SCHEDULE,
        "Open loop: arrival process: constant, poisson or gamma:B. A smaller B is burstier. Example: gamma:0.5.",
        metavar="PROCESS", workload=True)
    duration: float = option(10.0, OptionGroup.SCHEDULE,
        "How long to start requests. Examples: 30s, 2min, 1h30min. Requests in flight may finish afterwards.",
        metavar="TIME", locust_default=0.0, workload=True, parse=seconds, bounds=(0.1, MAX_DURATION),
        shown_default="10s, or the length of phases or trace")
    requests: int | None = option(None, OptionGroup.SCHEDULE,
        "Start N requests and stop when they have ended, or at --duration if that comes first.",
        metavar="N", workload=True, bounds=(1, 1_000_000_000))
    ramp: float | None = option(None, OptionGroup.SCHEDULE,
        "Closed loop: time over which the first requests are spread.",
        flag=None, parse=seconds, shown_default="0.1 ms for each user")
    drain: float | None = option(None, OptionGroup.SCHEDULE,
        "Time that requests in flight get at the end. Those that are still open then count as failed.",
        metavar="TIME", parse=seconds, bounds=(0, MAX_DURATION), shown_default="the value of --timeout")
    warm_up: str = option("", OptionGroup.SCHEDULE,
        "Send the same load first, for a time or a number of requests, without measuring it. Examples: 30s, 100. Every "
        "run of a search or of --repeats has its own warm-up. That of a trace ends with the trace at the latest.",
        metavar="TIME|N", workload=True)
    seed: int = option(0, OptionGroup.SCHEDULE, "Seed for random choices.", metavar="N", shown_default="0")
    profile: str = option("", OptionGroup.WORKLOAD,
        "Workload: a built-in profile (see --list-profiles) or your own TOML file. Options override its values.",
        metavar="PROFILE", excludes=("prompt", "bodies"),
        excludes_hint="A profile has its own inputs. Omit --prompt and --bodies, or put them into the profile.")
    prompt: str = option("", OptionGroup.WORKLOAD,
        "Input of every request.",
        metavar="TEXT", shown_default="a short built-in text")
    bodies: str = option("", OptionGroup.WORKLOAD,
        "JSON or NDJSON file with request bodies, which are sent in turn.",
        metavar="FILE")
    max_output_tokens: int = option(64, OptionGroup.WORKLOAD,
        "max_output_tokens of each request, unless profile or trace sets it. 0 omits the field.",
        metavar="N", bounds=(0, 10_000_000))
    canaries: bool = option(True, OptionGroup.WORKLOAD,
        "Put a random word into each input, and look for the words of other requests in each response.")
    connect_timeout: float = option(10.0, OptionGroup.BOUNDS,
        "Timeout for connecting.",
        flag=None, parse=seconds, bounds=(1e-3, MAX_DURATION))
    idle_timeout: float = option(60.0, OptionGroup.BOUNDS,
        "Timeout between two reads of a response.",
        metavar="TIME", flag="timeout", parse=seconds, bounds=(1e-3, MAX_DURATION))
    total_timeout: float = option(600.0, OptionGroup.BOUNDS,
        "Timeout of a whole request.",
        flag=None, parse=seconds, bounds=(1e-3, MAX_DURATION))
    max_in_flight: int = option(4096, OptionGroup.BOUNDS,
        "Open loop: maximum number of requests in flight, for each process.",
        flag=None, bounds=(1, MAX_CONCURRENCY))
    processes: int = option(1, OptionGroup.BOUNDS,
        "Number of load generator processes.",
        metavar="N", locust=False, workload=True, bounds=(1, 256))
    slos: tuple[str, ...] = option((), OptionGroup.OBJECTIVES,
        "Limit that the run must meet. Examples: 'ttft:p99<300ms', 'goodput>=95%', 'error<1%'. Can be given more than "
        "once.",
        metavar="SLO", flag="slo", workload=True)
    strict: bool = option(False, OptionGroup.OBJECTIVES,
        "Count a response that breaks any MUST rule as failed. Default: only if content is lost or cannot be read.",
        workload=True)
    select: str = option("*", OptionGroup.OBJECTIVES,
        "Check these MUST rules only: ids separated by commas, where * matches any characters. Example: SSE-*,ACC-*.",
        metavar="RULES", workload=True)
    known: str = option("", OptionGroup.OBJECTIVES,
        "File of known failures, such as `rejoinder baseline update` writes. A response that shows only known failures "
        "counts as a success.",
        metavar="FILE")
    abort_on: tuple[str, ...] = option((), OptionGroup.OBJECTIVES,
        "End the run early on a condition, checked every second after 20 requests: an SLO turned round, slo for an SLO "
        "that is out of reach, or queue for a queue that grows. Examples: 'error>50%', 'ttft:p99>5s', slo. Can be "
        "given more than once.",
        metavar="CONDITION", locust=False)
    metrics: tuple[str, ...] = option((), OptionGroup.MEASURING,
        "Prometheus page to read once a second, or auto for /metrics of the endpoint. Can be given more than once.",
        metavar="URL", locust=False)
    gpu: bool = option(False, OptionGroup.MEASURING,
        "Record utilization, power and memory of this host's GPUs once a second (NVML).",
        locust=False)
    extra_body: str = _request_option("extra_body")
    header: tuple[str, ...] = _request_option("header")
    header_env: tuple[str, ...] = _request_option("header_env")
    api_key_header: str = _request_option("api_key_header")
    client_cert: str = _request_option("client_cert")
    client_key: str = _request_option("client_key")
    ca_file: str = _request_option("ca_file")
    rate_limit: float | None = option(None, OptionGroup.ENDPOINT,
        "Refuse a load that may start requests at a higher rate: any closed loop, and an open loop above it. Examples: "
        "5/s, 300/min.",
        metavar="RATE", parse=parse_rate)
    input_form: str = option(InputForm.STRING.value, OptionGroup.WORKLOAD,
        "How the inputs of requests are written: string, list, or typed_list (messages with a type).",
        flag=None, parse=input_form_name)


_COMPARED: Final = ("repeats", "max_change", "baseline", "against")
_SEARCH_HINT: Final = "A search cannot be repeated or compared. Omit --repeats, --max-change, --baseline and --against."
_LIMIT_HINT: Final = "Add a regression limit. Example: --max-change 'ttft:p99<+10%'."


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOptions:
    """The options that make a search, repeats or a comparison of several runs, or probe the endpoint after them."""

    # fmt: off
    sweep: str = option("", OptionGroup.PACE,
        "Closed loop: run at each of these concurrency levels and find the knee. Examples: 1,2,4,8 or auto.",
        metavar="LEVELS", locust=False, exclusive=PACE, excludes=_COMPARED, excludes_hint=_SEARCH_HINT)
    find_rate: str = option("", OptionGroup.PACE,
        "Open loop: find the highest rate in this range that meets every --slo in a steady state. Example: 1..50.",
        metavar="LOW..HIGH", locust=False, exclusive=PACE, excludes=_COMPARED, excludes_hint=_SEARCH_HINT,
        needs=("slos",), needs_hint="Add an SLO. Example: --slo 'ttft:p99<300ms'.")
    find_concurrency: str = option("", OptionGroup.PACE,
        "Closed loop: find the highest concurrency in this range that meets every --slo in a steady state. Example: "
        "1..64. With conversations as workload, this is the number of conversations.",
        metavar="LOW..HIGH", locust=False, exclusive=PACE, excludes=_COMPARED, excludes_hint=_SEARCH_HINT,
        needs=("slos",), needs_hint="Add an SLO. Example: --slo 'ttft:p99<300ms'.")
    repeats: int | None = option(None, OptionGroup.OBJECTIVES,
        "Run N times, to measure how much figures vary.",
        metavar="N", locust=False, bounds=(1, 50), shown_default=f"1, with --max-change {COMPARED_REPEATS}")
    max_change: tuple[str, ...] = option((), OptionGroup.OBJECTIVES,
        "Regression limit: how much worse a figure may be. Examples: 'ttft:p99<+10%', 'output_tokens>-5%'. Can be "
        "given more than once.",
        metavar="LIMIT", locust=False, needs=("baseline", "against"),
        needs_hint="Add --baseline RUN or --against URL2 to compare with.")
    baseline: str = option("", OptionGroup.OBJECTIVES,
        "Compare with a recorded run that used --repeats.",
        metavar="RUN", locust=False, exclusive="reference", needs=("max_change",), needs_hint=_LIMIT_HINT)
    against: str = option("", OptionGroup.OBJECTIVES,
        "Compare with a second endpoint. Repetitions alternate between the two.",
        metavar="URL2", locust=False, exclusive="reference", needs=("max_change",), needs_hint=_LIMIT_HINT)
    probe_disconnects: bool = option(False, OptionGroup.MEASURING,
        "After the load, close connections during long requests and check that the server stops work on them.",
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
            raise UsageError(f"{one.argument} cannot be used with {other.argument}.", one.excludes_hint)


def check_needs(given: Collection[str], options: Mapping[str, LoadOption]) -> None:
    """Raise :class:`UsageError` for a given option without any of those that it needs."""
    for name, one in options.items():
        if name in given and one.needs and not set(one.needs) & set(given):
            needed = " or ".join(options[other].argument for other in one.needs)
            raise UsageError(f"{one.argument} needs {needed}.", one.needs_hint)


def add_locust_arguments(parser: Any, options: Mapping[str, LoadOption]) -> None:
    """Add the options that plain Locust has to its parser, an ``ArgumentParser`` of configargparse."""
    group = parser.add_argument_group("rejoinder", "Load for POST /v1/responses. REJOINDER_API_KEY holds the API key.")
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

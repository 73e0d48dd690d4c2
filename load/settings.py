"""The options of a load run, checked once, and their way through the environment into the Locust process."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from rejoinder.contract import DEFAULT_DIALECT, load_dialect
from rejoinder.errors import UsageError
from rejoinder.load.decide.slo import parse_slos
from rejoinder.load.schedule.arrivals import Phase, parse_arrivals, parse_phases, schedule
from rejoinder.load.schedule.traces import read_trace
from rejoinder.wire.address import Address, candidate_addresses, parse_address

ENVIRONMENT_PREFIX: Final = "REJOINDER_LOAD_"
INTERRUPT_DRAIN: Final = 5.0
"""Seconds that requests in flight get when somebody interrupts the run, at most."""
MAX_DURATION: Final = 24 * 3600.0
MAX_CONCURRENCY: Final = 20_000
MAX_RATE: Final = 50_000.0
MAX_PROCESSES: Final = 256
MAX_REQUESTS: Final = 1_000_000_000
UNTIMED: Final = 3600.0
"""How long a run may take at most, in seconds, where only the number of its requests is given."""
_SEPARATOR: Final = ";"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSettings:
    """What a load run does. Give ``concurrency`` (closed loop), or ``rate``, ``phases`` or ``trace`` (open loop).

    ``url`` is the base with or without ``/v1``, or the create endpoint itself. ``duration`` is how long requests are
    issued, in seconds; ``requests`` bounds their number exactly, over all processes, and ends the run when the last one
    has ended; ``drain`` is how long those in flight at the end of the duration may take to end. ``ramp`` spreads the
    first request of each closed-loop user over that many seconds (``None``: 5 % of the duration, at most 1 s).
    ``max_output_tokens`` 0 leaves that field out.
    ``bodies`` names a JSON or NDJSON file of request bodies; without it ``prompt`` (or a short built-in text) is
    sent. Time-outs are seconds: to connect, between two receives, and for a whole request. ``max_in_flight`` bounds
    what an open loop may have open in each process; what waits for it is measured from its intended start.

    ``phases`` is a changing rate as :func:`~rejoinder.load.schedule.arrivals.parse_phases` reads it; ``trace`` a file
    of recorded traffic, which is replayed ``speed`` times as fast as it was recorded. ``slos`` are objectives as
    :mod:`rejoinder.load.decide.slo` describes them. ``profile`` is a workload, by its shipped name or as a file.
    ``canaries`` puts a token of its own into each request's input. ``metrics`` are addresses of Prometheus pages that
    are read once a second; ``auto`` stands for ``/metrics`` of the endpoint. ``gpu`` asks the GPUs of this host, too.
    """

    url: str
    model: str = ""
    dialect: str = DEFAULT_DIALECT
    concurrency: int | None = None
    rate: float | None = None
    phases: str = ""
    trace: str = ""
    speed: float = 1.0
    arrivals: str = "constant"
    duration: float = 10.0
    requests: int | None = None
    ramp: float | None = None
    drain: float = 10.0
    max_output_tokens: int = 64
    prompt: str = ""
    bodies: str = ""
    profile: str = ""
    canaries: bool = True
    connect_timeout: float = 10.0
    idle_timeout: float = 60.0
    total_timeout: float = 600.0
    max_in_flight: int = 4096
    processes: int = 1
    seed: int = 0
    slos: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    gpu: bool = False

    @property
    def mode(self) -> str:
        """``closed`` when the number of requests in flight is set, ``open`` when their starts are."""
        return "closed" if self.rate is None and not self.phases and not self.trace else "open"

    @property
    def pace(self) -> str:
        """The load in a few words."""
        if self.trace:
            return f"{self.trace} at {self.speed:g} times its speed"
        if self.phases:
            return f"{self.phases} requests/s"
        return f"{self.concurrency} in flight" if self.rate is None else f"{self.rate:g} requests/s"

    @property
    def length(self) -> str:
        """How long the run is, in a few words."""
        if self.requests is None:
            return f"{self.duration:g} s"
        number = f"{self.requests} request{'s' if self.requests > 1 else ''}"
        return number if self.duration >= UNTIMED else f"{number} or {self.duration:g} s"

    @property
    def offered(self) -> float:
        """The seconds for which an open loop starts requests at most; 0 when only somebody's stop ends it."""
        if self.requests is None:
            return self.duration
        limit = self.duration or float("inf")
        if self.rate is not None:
            return min(limit, self.requests / self.rate)
        return min(limit, next(itertools.islice(self.schedule(), self.requests, None), limit))

    def schedule(self) -> Iterator[float]:
        """Yield the offsets in seconds at which an open loop starts requests."""
        duration = (self.offered if self.rate is not None else self.duration) or None
        if self.trace:
            offsets = (entry.offset / self.speed for entry in read_trace(self.trace))
            return offsets if duration is None else itertools.takewhile(lambda offset: offset < duration, offsets)
        rate: float | tuple[Phase, ...] = parse_phases(self.phases) if self.phases else self.rate or 1.0
        return schedule(self.arrivals, rate, duration, self.seed)

    def natural_duration(self) -> float | None:
        """Return how long the phases or the trace last, in seconds; ``None`` where nothing says so."""
        if self.trace:
            # The last request belongs to it.
            return max(0.1, math.nextafter(read_trace(self.trace)[-1].offset / self.speed, math.inf))
        return sum(phase.seconds for phase in parse_phases(self.phases)) if self.phases else None

    @property
    def ramp_seconds(self) -> float:
        """The seconds over which closed-loop users start."""
        return min(1.0, self.duration * 0.05) if self.ramp is None else self.ramp

    def address(self) -> Address:
        """Return where requests go, the create endpoint; raises :class:`UsageError` for what is no usable URL."""
        return candidate_addresses(self.url)[0]

    def metrics_urls(self) -> list[str]:
        """Return the addresses of the Prometheus pages; raises :class:`UsageError` for what is not one."""
        own = self.address().origin + "/metrics"
        return [own if url == "auto" else parse_address(url).url for url in self.metrics]

    def check(self) -> None:
        """Raise :class:`UsageError` with the first thing that is wrong."""
        self.address()
        load_dialect(self.dialect)
        parse_arrivals(self.arrivals)
        parse_slos(self.slos)
        self.metrics_urls()
        given = [self.concurrency is not None, self.rate is not None, bool(self.phases), bool(self.trace)]
        if sum(given) != 1:
            raise UsageError(
                "A load run needs either a concurrency or a rate.",
                "Give one of --concurrency C, --rate R, --trace FILE.",
            )
        if self.trace:
            _within("speed", self.speed, 1e-6, 1e6)
            read_trace(self.trace)
        for phase in parse_phases(self.phases) if self.phases else ():
            _within("rate", max(phase.begin, phase.end), 0, MAX_RATE)
        if self.concurrency is not None:
            _within("concurrency", self.concurrency, 1, MAX_CONCURRENCY)
            if self.processes > self.concurrency:
                raise UsageError(
                    f"{self.processes} processes cannot share {self.concurrency} concurrent requests.",
                    "Use at most one process for each concurrent request.",
                )
        if self.rate is not None:
            _within("rate", self.rate, 1e-3, MAX_RATE)
        _within("duration", self.duration, 0.1, MAX_DURATION)
        if self.requests is not None:
            _within("requests", self.requests, 1, MAX_REQUESTS)
        _within("drain", self.drain, 0, 3600)
        _within("ramp", self.ramp_seconds, 0, self.duration)
        _within("processes", self.processes, 1, MAX_PROCESSES)
        _within("max_in_flight", self.max_in_flight, 1, MAX_CONCURRENCY)
        if self.max_output_tokens:
            _within("max_output_tokens", self.max_output_tokens, 1, 10_000_000)
        for name in ("connect_timeout", "idle_timeout", "total_timeout"):
            _within(name, getattr(self, name), 1e-3, MAX_DURATION)

    def to_environment(self) -> dict[str, str]:
        """Return the settings as ``REJOINDER_LOAD_*`` variables; unset ones are left out."""
        return {
            f"{ENVIRONMENT_PREFIX}{field.name.upper()}": _SEPARATOR.join(value)
            if isinstance(value, tuple)
            else str(value)
            for field in fields(self)
            if (value := getattr(self, field.name)) is not None and field.name != "url"
        }

    def to_json(self) -> dict[str, Any]:
        """Return the settings that a reader of the results needs; the address stands in the run file's header."""
        return {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.name != "url" and getattr(self, field.name) not in (None, "", ())
        }

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> LoadSettings:
        """Build settings from option values of any origin; ``None`` means the default.

        Raises :class:`UsageError` for a value that is no number where one is wanted.
        """
        chosen: dict[str, Any] = {}
        for field in fields(cls):
            value = values.get(field.name)
            if value is None or (value == "" and field.name not in ("url", "model", "prompt", "bodies", "profile")):
                continue
            kind = str(field.type)
            if kind.startswith("tuple"):
                texts = value.split(_SEPARATOR) if isinstance(value, str) else value
                chosen[field.name] = tuple(text.strip() for text in texts if text.strip())
                continue
            try:
                if kind == "bool":
                    value = value if isinstance(value, bool) else value.lower() not in ("0", "false", "no", "off")
                elif kind.startswith("int"):
                    value = int(value)
                elif kind.startswith("float"):
                    value = float(value)
            except ValueError as error:
                raise UsageError(f"{field.name.replace('_', '-')} is not a number: {value!r}.") from error
            chosen[field.name] = value
        return cls(**chosen)


def _within(name: str, value: float, low: float, high: float) -> None:
    if not math.isfinite(value) or not low <= value <= high:
        raise UsageError(
            f"{name.replace('_', '-')} is {value:g}, which is not between {low:g} and {high:g}.",
            "Choose a value in that range.",
        )

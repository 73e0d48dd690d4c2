"""The settings of one load run, complete and checked, and their way through the environment into the Locust process."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

from rejoinder.contract import load_dialect
from rejoinder.errors import UsageError
from rejoinder.formatting import plural
from rejoinder.load.objectives.abort import parse_abort
from rejoinder.load.objectives.answer_policy import read_policy
from rejoinder.load.objectives.slo import parse_slos
from rejoinder.load.options import (
    DEFAULT_CONCURRENCY,
    MIN_RATE,
    PACE,
    RunOptions,
    check_exclusions,
    input_form_name,
    options_of,
    warm_up_length,
)
from rejoinder.load.schedule.arrivals import Phase, parse_arrivals, parse_phases, schedule
from rejoinder.load.schedule.traces import read_trace
from rejoinder.load.workload.corpus import read_corpus
from rejoinder.load.workload.profiles import find_profile, load_profile
from rejoinder.model.metrics import METRICS
from rejoinder.wire.address import Address, candidate_addresses, parse_address
from rejoinder.wire.request_options import RequestOptions, read_request_options

INTERRUPT_DRAIN: Final = 5.0
"""Seconds that requests in flight get when somebody interrupts the run, at most."""
_WARM_UP_SEED: Final = 1_000_003
"""Is added to the seed, so that a warm-up does not put the prompts of the run into the caches of the endpoint."""
UNTIMED: Final = 3600.0
"""How long a run may take at most, in seconds, where only the number of its requests is given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSettings(RunOptions):
    """What a load run does: an address, and the options of :class:`~rejoinder.load.options.RunOptions`.

    ``url`` is the base with or without ``/v1``, or the create endpoint itself. Give ``concurrency`` (closed loop), or
    ``rate``, ``phases`` or ``trace`` (open loop); :meth:`complete` fills in what a profile or the command line would.

    ``duration`` is how long requests are issued, in seconds; ``requests`` bounds their number exactly, over all
    processes, and ends the run when the last one has ended; ``drain`` is how long those in flight at the end of the
    duration may take to end, where ``None`` is ``idle_timeout``. ``ramp`` ``None`` is 0.1 ms for each user.
    ``max_output_tokens`` 0 leaves that field out. Time-outs are seconds: to connect, between two receives, and for a
    whole request. ``max_in_flight`` bounds what an open loop may have open in each process; what waits for it is
    measured from its intended start.
    """

    url: str

    @classmethod
    def complete(cls, *, url: str, **given: Any) -> LoadSettings:
        """Return settings as ``rejoinder load`` makes them of options, given as values or as texts.

        What is not given comes from the ``[load]`` table of the profile. A ``rate`` may describe phases. Without any
        pace, 8 requests are in flight. The default of ``duration`` is the length of the phases or the trace, an hour
        where ``requests`` is given, else 10 s. Raises :class:`UsageError` for options that cannot be used together,
        values that are none of theirs, and a profile that cannot be read.
        """
        values = cls._read(given)
        check_exclusions(values, options_of(cls))
        if "profile" in values:
            values["profile"] = str(find_profile(values["profile"]))
            table = load_profile(values["profile"]).defaults
            defaults = cls._read({name: table[one.flag] for name, one in options_of(cls).items() if one.flag in table})
            if cls._has_pace(values):
                defaults = {name: value for name, value in defaults.items() if not cls._has_pace([name])}
            values = {**defaults, **values}
        if not cls._has_pace(values):
            values["concurrency"] = DEFAULT_CONCURRENCY
        settings = cls(url=url, **values)
        if "duration" not in values:
            length = settings.natural_duration() or (UNTIMED if settings.requests else settings.duration)
            settings = replace(settings, duration=length)
        return settings

    @classmethod
    def _has_pace(cls, names: Iterable[str]) -> bool:
        options = options_of(cls)
        return any(options[name].exclusive == PACE for name in names)

    @classmethod
    def _read(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return options by field name, read by their kind; what is ``None`` or empty was not given."""
        options = options_of(cls)
        values = {
            name: options[name].read(value)
            for name, value in given.items()
            if name in options and value is not None and value != "" and value != ()
        }
        if isinstance(values.get("rate"), str):
            values["phases"] = values.pop("rate")
        return values

    def given(self) -> dict[str, Any]:
        """Return the options that differ from their defaults, by the names of their fields."""
        options = options_of(type(self))
        return {name: value for name, one in options.items() if (value := getattr(self, name)) != one.default}

    @property
    def paced(self) -> bool:
        """Whether the settings name a pace; where they do not, :meth:`complete` or Locust's users give one."""
        return self._has_pace(self.given())

    @property
    def mode(self) -> str:
        """``closed`` when the number of requests in flight is set, ``open`` when their starts are."""
        return "closed" if self.rate is None and not self.phases and not self.trace else "open"

    @property
    def pace(self) -> str:
        """The load in a few words."""
        if self.trace:
            return f"{self.trace} at {self.speed:g} times its recorded speed"
        if self.phases:
            return f"{self.phases} requests/s"
        return f"{self.concurrency} concurrent" if self.rate is None else f"{self.rate:g} requests/s"

    @property
    def length(self) -> str:
        """How long the run is, in a few words."""
        if self.requests is None:
            return f"{self.duration:g} s"
        number = plural(self.requests, "request")
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
            offsets = (offset / self.speed for offset in read_trace(self.trace).offsets)
            return offsets if duration is None else itertools.takewhile(lambda offset: offset < duration, offsets)
        rate: float | tuple[Phase, ...] = parse_phases(self.phases) if self.phases else self.rate or 1.0
        return schedule(self.arrivals, rate, duration, self.seed)

    def natural_duration(self) -> float | None:
        """Return how long the phases or the trace last, in seconds; ``None`` where nothing says so."""
        if self.trace:
            # The last request belongs to it.
            return max(0.1, math.nextafter(read_trace(self.trace).offsets[-1] / self.speed, math.inf))
        return sum(phase.seconds for phase in parse_phases(self.phases)) if self.phases else None

    def for_warm_up(self) -> LoadSettings | None:
        """Return the settings of the warm-up, which sends other requests of the same kind; ``None`` without one.

        Phases warm up at the rate with which they begin, a trace with its beginning, or the whole of it.
        """
        length, requests = warm_up_length(self.warm_up)
        if length is None and requests is None:
            return None
        settings = replace(
            self,
            warm_up="",
            abort_on=(),
            slos=(),
            metrics=(),
            gpu=False,
            seed=self.seed + _WARM_UP_SEED,
            duration=UNTIMED if length is None else length,
            requests=requests,
        )
        if self.phases:
            settings = replace(settings, phases="", rate=max(MIN_RATE, parse_phases(self.phases)[0].begin))
        if self.trace:
            whole = settings.natural_duration() or settings.duration
            entries = len(read_trace(self.trace))
            settings = replace(
                settings, duration=min(settings.duration, whole), requests=min(requests or entries, entries)
            )
        return settings

    @property
    def planned_requests(self) -> float | None:
        """How many requests the run starts; ``None`` where the endpoint decides that."""
        if self.mode == "closed":
            return None if self.requests is None else float(self.requests)
        return float(sum(1 for _ in itertools.islice(self.schedule(), self.requests)))

    @property
    def ramp_seconds(self) -> float:
        """The seconds over which closed-loop users start: by default at once, a tenth of a millisecond apart."""
        return min(1.0, self.duration * 0.05, (self.concurrency or 1) * 1e-4) if self.ramp is None else self.ramp

    @property
    def drain_seconds(self) -> float:
        """The seconds that requests in flight get at the end of the run, at most."""
        return self.idle_timeout if self.drain is None else self.drain

    def address(self) -> Address:
        """Return where requests go, the create endpoint; raises :class:`UsageError` for what is no usable URL."""
        return candidate_addresses(self.url)[0]

    def metrics_urls(self) -> list[str]:
        """Return the addresses of the Prometheus pages; raises :class:`UsageError` for what is not one."""
        own = self.address().origin + "/metrics"
        return [own if url == "auto" else parse_address(url).url for url in self.metrics]

    def request_options(self, key: str | None) -> RequestOptions:
        """Return what is added to every request; ``key`` is the API key in use.

        Raises :class:`UsageError` for what cannot be used.
        """
        return read_request_options(
            extra_body=self.extra_body,
            header=self.header,
            header_env=self.header_env,
            api_key_header=self.api_key_header,
            client_cert=self.client_cert,
            client_key=self.client_key,
            ca_file=self.ca_file,
            rate_limit=self.rate_limit,
            keys=[key],
        )

    def check_rate_limit(self) -> None:
        """Raise :class:`UsageError` where requests may start faster than the rate limit.

        A limit that held requests back would make a load test measure itself, so a load that keeps to the limit is
        wanted instead.
        """
        limit = self.rate_limit
        if limit is None:
            return
        phases = parse_phases(self.phases) if self.phases else ()
        highest = max((max(phase.begin, phase.end) for phase in phases), default=self.rate)
        if self.trace or highest is None:
            what = "A trace" if self.trace else "A closed loop"
            raise UsageError(
                f"{what} starts requests at any rate, so it cannot keep to --rate-limit {limit:g}/s.",
                f"Use --rate with at most {limit:g}, or omit --rate-limit.",
            )
        if highest > limit:
            raise UsageError(
                f"The load starts {highest:g} requests/s, more than --rate-limit {limit:g}/s.",
                "Use a lower --rate, or omit --rate-limit.",
            )

    def check(self) -> None:
        """Raise :class:`UsageError` with the first thing that is wrong."""
        options = options_of(type(self))
        check_exclusions(self.given(), options)
        if not self.paced:
            raise UsageError(
                "A load run needs a concurrency or a rate.",
                "Add one of --concurrency N, --rate RATE, --trace FILE.",
            )
        self.address()
        self.check_rate_limit()
        input_form_name(self.input_form)
        load_dialect(self.dialect)
        parse_arrivals(self.arrivals)
        self._check_that_limits_have_values()
        warm_up_length(self.warm_up)
        read_policy(self.dialect, strict=self.strict, select=self.select, known=self.known)
        self.metrics_urls()
        if self.trace:
            read_trace(self.trace)
        for phase in parse_phases(self.phases) if self.phases else ():
            options["rate"].check(max(phase.begin, phase.end, MIN_RATE))
        for name, one in options.items():
            if one.bounds is not None and getattr(self, name) is not None:
                one.check(getattr(self, name))
        replace(options["ramp"], bounds=(0, self.duration)).check(self.ramp_seconds)
        if self.concurrency is not None and self.processes > self.concurrency:
            raise UsageError(
                f"--processes is {self.processes}, expected at most the concurrency {self.concurrency}.",
                "Use fewer processes or a higher --concurrency.",
            )

    def _check_that_limits_have_values(self) -> None:
        """Raise :class:`UsageError` for an SLO, or a condition, on a metric that no request of this run can have."""
        kinds = load_profile(self.profile).kinds if self.profile else ()
        groups: list[Iterable[Mapping[str, Any]]] = [
            kind.corpus or [{"stream": not kind.background} | kind.body] for kind in kinds
        ]
        groups += [read_corpus(Path(self.bodies))] if self.bodies else []
        streams = not groups or any(body.get("stream", True) for body in itertools.chain.from_iterable(groups))
        tls = any(address.tls for address in candidate_addresses(self.url))
        limits = [(f'The SLO "{slo.text}"', slo) for slo in parse_slos(self.slos)]
        has = {"has_slos": bool(self.slos), "has_rate": self.rate is not None}
        conditions = [parse_abort(text, **has) for text in self.abort_on]
        limits += [(f'The condition "{one.text}"', one.kept) for one in conditions if one.kept is not None]
        for name, slo in limits:
            row = METRICS.get(slo.metric)
            if row is not None and row.of_streams and not streams:
                raise UsageError(
                    f"{name} limits the {row.label} of streams, but the workload requests none.",
                    "Limit e2e, or set stream to true in the workload.",
                )
            if slo.metric == "tls" and not tls:
                raise UsageError(f"{name} limits TLS handshakes, but the URL is http.", "Use https.")

    def to_environment(self) -> dict[str, str]:
        """Return the settings as ``REJOINDER_LOAD_*`` variables; unset ones are left out."""
        return {
            one.variable: one.write(value)
            for name, one in options_of(type(self)).items()
            if (value := getattr(self, name)) is not None
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
        """Return settings of option values of any origin, ``url`` among them, with nothing filled in but the defaults.

        Raises :class:`UsageError` for a value that is no number where one is wanted.
        """
        return cls(url=values["url"], **cls._read(values))

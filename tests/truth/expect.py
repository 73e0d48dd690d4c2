"""What must hold after a load: expectations with wide margins, and exact accounts.

An :class:`Expectation` has a name, by which tests/truth/pending.toml refers to it, and a function that returns what is
wrong, or nothing. ``timed`` ones depend on the clock, so that a machine without a free core can break them.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import fmean
from typing import Final

from tests.truth.server import Fate
from tests.truth.truth import WITHOUT_END, Figure, Met, band, figure_of

from rejoinder.model.histogram import values_for
from rejoinder.model.outcomes import good_of
from rejoinder.model.samples import LoadSample

SHARE: Final = 0.10
FLAT: Final = 0.03
"""A figure may be a tenth and 30 ms from the truth."""
RARE: Final = 0.08
"""So much instead of the 30 ms for a p99, which one pause of the machine decides."""
MEASURED: Final = ("ttfb", "ttfe", "ttft", "ttfo", "itl", "max_gap", "tpot", "e2e", "tail", "failed_latency")
LEAST_FOR_RATES: Final = 10
"""With fewer requests a load may say that it cannot know a rate."""
SETTLED: Final = 0.4
"""Seconds after which a closed loop has its concurrency."""
KEPT: Final = 0.85
NOT_STEADY: Final = "not steady"
STATISTICS: Final = ("p50", "p90", "p99")


@dataclass(frozen=True, slots=True)
class Expectation:
    """Something that must hold; ``problem`` returns what is wrong in a sentence, or an empty text."""

    name: str
    problem: Callable[[Met], str]
    timed: bool = False


@dataclass(frozen=True)
class Case:
    """A load: the options of ``rejoinder load``, and what must hold beside what holds for all.

    ``without`` are names of expectations for all loads that this one is not about. ``bodies`` are request bodies, and
    ``profile`` is a workload in TOML. ``seconds`` is about how long the load takes.
    """

    options: str
    holds: tuple[Expectation, ...] = ()
    without: tuple[str, ...] = ()
    bodies: tuple[dict[str, object], ...] = ()
    profile: str = ""
    seconds: float = 4.0

    @property
    def words(self) -> list[str]:
        """The options as words."""
        return shlex.split(self.options)

    def value(self, option: str) -> str | None:
        """Return the value of an option."""
        words = self.words
        return words[words.index(option) + 1] if option in words else None

    @property
    def is_part(self) -> bool:
        """Whether the run file holds a part of what the server sees: one load of a search, or no warm-up."""
        return any(word in ("--sweep", "--find-rate", "--find-concurrency", "--warm-up") for word in self.words)

    @property
    def expected(self) -> list[Expectation]:
        """Everything that must hold after it."""
        if self.is_part:
            return list(self.holds)
        departs = any(one.name.startswith(NOT_STEADY) for one in self.holds)
        return [*for_all((*self.without, "steady") if departs else self.without), *self.holds]

    @property
    def name(self) -> str:
        """The options in short, such as ``concurrency-4-duration-3s``."""
        pace = self.options.partition(" --extra-body")[0].replace("--", "")
        return re.sub(r"[^a-z0-9.]+", "-", pace).strip("-")


def case(
    options: str,
    *holds: Expectation,
    without: tuple[str, ...] = (),
    bodies: tuple[dict[str, object], ...] = (),
    profile: str = "",
    seconds: float = 4.0,
) -> Case:
    """Return a :class:`Case`."""
    return Case(options, holds, without, bodies, profile, seconds)


def _is_near(value: float, truth: float, flat: float = FLAT, share: float = SHARE) -> bool:
    return abs(value - truth) <= flat + share * abs(truth)


def near(figure: str, milliseconds: float, *, within: float = 1e3 * FLAT, share: float = SHARE) -> Expectation:
    """A statistic such as ``ttft:p50`` is exact, and so many milliseconds by the schedule."""
    metric, statistic = figure.split(":")

    def problem(met: Met) -> str:
        found = met.reported(metric, statistic)
        if found is None:
            return f"{figure} is missing, expected {milliseconds:g} ms"
        if found.least or not _is_near(found.seconds, milliseconds / 1e3, within / 1e3, share):
            return f"{figure} is {found}, expected {milliseconds:g} ms"
        return ""

    return Expectation(f"{figure} {milliseconds:g} ms", problem, timed=True)


def not_below(figure: str, milliseconds: float) -> Expectation:
    """A statistic whose truth is so many milliseconds is near that, or given as at least something."""
    metric, statistic = figure.split(":")

    def problem(met: Met) -> str:
        found = met.reported(metric, statistic)
        if found is not None and not found.least and not _is_near(found.seconds, milliseconds / 1e3):
            return f"{figure} is {found}, but the truth is {milliseconds:g} ms"
        if found is not None and found.least and found.seconds > 1.1 * milliseconds / 1e3:
            return f"{figure} is {found}, but the truth is {milliseconds:g} ms"
        return "" if found is not None else f"{figure} is missing"

    return Expectation(f"{figure} not below {milliseconds:g} ms", problem, timed=True)


def missing(metric: str) -> Expectation:
    """No figure is made up for a metric that no request has."""
    return Expectation(
        f"no {metric}", lambda met: f"{metric} is {found}" if (found := met.reported(metric, "p50")) else ""
    )


def code(*expected: int) -> Expectation:
    """The command ends with an exit code."""
    text = " or ".join(map(str, expected))
    return Expectation(
        f"exit code {text}",
        lambda met: "" if met.ended.code in expected else f"exit code {met.ended.code}, expected {text}",
        timed=True,  # 4 where the machine has no free core
    )


def says(text: str) -> Expectation:
    """The terminal has a text (line breaks aside)."""
    return Expectation(f"says {text}", lambda met: "" if text in _flat(met) else f"does not say {text!r}: {_flat(met)}")


def silent(text: str) -> Expectation:
    """The terminal does not have a text."""
    return Expectation(f"never says {text}", lambda met: f"says {text!r}" if text in _flat(met) else "")


def _flat(met: Met) -> str:
    return " ".join(met.ended.text.split())


def share(name: str, expected: float, within: float = 0.03) -> Expectation:
    """An outcome, or ``error``, has a share of the started requests."""
    return Expectation(
        f"{name} {100 * expected:g} %",
        lambda met: (
            ""
            if abs(met.share(name) - expected) <= within
            else f"{name} is {100 * met.share(name):.1f} %, expected {100 * expected:g} %"
        ),
        timed=True,
    )


def rate(name: str, expected: float, within: float = 0.07) -> Expectation:
    """A rate of the window, such as ``ok``, is so many per second."""

    def problem(met: Met) -> str:
        found = getattr(met.load.rates, f"{name}_per_s")
        if found is None:
            return f"{name} is missing, expected {expected:g}/s"
        return "" if _is_near(found, expected, 0, within) else f"{name} is {found:g}/s, expected {expected:g}/s"

    return Expectation(f"{name} {expected:g}/s", problem, timed=True)


def slo(text: str, met: bool | None, *, timed: bool = True) -> Expectation:
    """An SLO is met, missed (``False``), or not met because that cannot be known (``None``)."""
    wanted = {True: "met", False: "missed", None: "not met"}[met]

    def problem(found: Met) -> str:
        result = next(one for one in found.load.slos if one.text == text)
        right = result.met is not True if met is None else result.met is met
        return "" if right else f"{text} is {'met' if result.met else 'not met'} ({result.value}), expected {wanted}"

    return Expectation(f"{text} {wanted}", problem, timed=timed)


def highest(least: float, most: float, *, slots: int = 0) -> Expectation:
    """A search answers with a load from ``least`` to ``most``.

    With ``slots``, ``least`` is a share of the capacity that the server had: its slots by the mean time that one took.
    """

    def problem(met: Met) -> str:
        low = least * slots / fmean(met.service_times()) if slots else least
        search = met.load.search
        found = search.highest if search else None
        return "" if found is not None and low <= found <= most else f"{found}/s, expected {low:.2f} to {most:g}/s"

    return Expectation("highest load", problem, timed=True)


def knee(level: int) -> Expectation:
    """A sweep finds the knee at a concurrency."""

    def problem(met: Met) -> str:
        found = met.load.search.knee if met.load.search else None
        return "" if found == level else f"the knee is {found}, expected {level}"

    return Expectation(f"knee {level}", problem, timed=True)


def departs(*kinds: str, growth: float | None = None) -> Expectation:
    """The run is not steady, for one of these kinds of reasons; ``growth`` is by how much a queue grows in a second."""

    def problem(met: Met) -> str:
        found = met.load.stationarity
        if found is None or found.state != "not steady":
            return f"the run is {found and found.state}, expected not steady"
        seen = {departure.kind for departure in found.departures}
        if not seen & set(kinds):
            return f"the run is not steady because of {sorted(seen)}, expected one of {kinds}"
        if growth is not None and not _is_near(found.queue_growth or 0.0, growth, 0, 0.4):
            return f"the queue grows by {found.queue_growth}/s, expected {growth:g}/s"
        return ""

    return Expectation(f"{NOT_STEADY} ({', '.join(kinds)})", problem, timed=True)


def requests(least: int, most: int) -> Expectation:
    """The server saw so many requests."""
    return Expectation(
        f"{least} to {most} requests",
        lambda met: "" if least <= len(met.seen) <= most else f"the server saw {len(met.seen)} requests",
        timed=True,
    )


def together(count: int) -> Expectation:
    """So many requests were in flight at once, and no more."""

    def problem(met: Met) -> str:
        found = met.load.self_check.max_in_flight
        return "" if found == count else f"{found} requests were in flight at most, expected {count}"

    return Expectation(f"{count} at once", problem, timed=True)


def totals(field: str, each: float) -> Expectation:
    """A total of the run file is so much for each good answer of the server."""

    def problem(met: Met) -> str:
        found, expected = getattr(met.load, field), each * met.fates[Fate.OK]
        return "" if found == expected else f"{field} is {found}, expected {expected:g}"

    return Expectation(f"{field} {each:g} each", problem)


def for_all(without: tuple[str, ...] = ()) -> Iterator[Expectation]:
    """Yield what must hold after every load, whatever the behaviour; names in ``without`` are left out."""
    left_out = {*without, *(f"{name} values" for name in without)}
    yield from (one for one in _for_all() if one.name not in left_out)


def _for_all() -> Iterator[Expectation]:
    yield Expectation("started", _started)
    yield Expectation("outcomes", _outcomes)
    yield Expectation("exit code", _code, timed=True)
    yield Expectation("headline", _headline)
    yield Expectation("nothing after the end", _after_end, timed=True)
    yield from (Expectation(metric, _measured(metric), timed=True) for metric in MEASURED)
    yield Expectation("ok rate", _rate("ok_per_s", Met.ends_within, 2), timed=True)
    yield Expectation("token rate", _rate("ok_output_tokens_per_s", Met.tokens_within, 40), timed=True)
    yield Expectation("in flight", _in_flight, timed=True)
    yield Expectation("concurrency kept", _kept, timed=True)
    yield Expectation("tokens", _usage("output", lambda load: load.output_tokens))
    yield Expectation(
        "reasoning tokens", _usage("reasoning", lambda load: load.tokens.reasoning if load.tokens else None)
    )
    yield Expectation("cached tokens", _usage("cached", lambda load: load.tokens.cached if load.tokens else None))
    yield Expectation("ttft values", _count("ttft"))
    yield Expectation("e2e values", _count("e2e"))
    yield Expectation("connections", _connections)
    yield Expectation("steady", _steady, timed=True)


def _started(met: Met) -> str:
    load, outcomes = met.load, met.load.outcomes
    if load.started == sum(outcomes.values()) == len(met.seen):
        return ""
    return f"started {load.started}, outcomes {sum(outcomes.values())}, the server saw {len(met.seen)}"


def _outcomes(met: Met) -> str:
    return "" if met.outcomes == met.fates else f"{dict(met.load.outcomes)}, by the server {dict(met.fates)}"


def _code(met: Met) -> str:
    if met.load.slos:
        return ""  # those say what they expect
    answered = sum(count for fate, count in met.fates.items() if fate not in (Fate.OPEN, Fate.TRANSPORT))
    expected = {0} if met.fates[Fate.OK] == len(met.seen) else {1} if answered else {1, 2}
    return "" if met.ended.code in expected else f"exit code {met.ended.code}, expected {sorted(expected)}"


def _headline(met: Met) -> str:
    good = good_of(met.load.outcomes)
    for text in (f"{good:,} of {met.load.started:,} request", f"{met.load.started - good:,} of {met.load.started:,} "):
        if text in _flat(met):
            return ""
    return f"neither the number of good nor of failed requests is there: {_flat(met)[:300]}"


def _after_end(met: Met) -> str:
    if met.duration is None:
        return ""
    last = max(one.at for one in met.seen) - met.origin
    return "" if last <= met.duration + 0.25 else f"a request came {last:.2f} s after the start"


def _steady(met: Met) -> str:
    found = met.load.stationarity
    return f"the run counts as not steady: {found.text}" if found and found.state == NOT_STEADY else ""


def _measured(metric: str) -> Callable[[Met], str]:
    def problem(met: Met) -> str:
        values = met.values(metric)
        wrong = []
        cut = any(value.open for value in values)
        for statistic in STATISTICS:
            found, truth = met.reported(metric, statistic), figure_of(values, statistic)
            percent = float(statistic[1:])
            if found is None and truth is not None and len(values) < 1.05 * values_for(percent):
                continue  # a value less, since one read may take what were two writes
            flat = RARE if statistic == "p99" else FLAT
            if not _agree(found, truth, band(values, percent) if values else (0.0, 0.0), flat, cut):
                wrong.append(f"{statistic} is {found}, by the server {truth} (n {len(values)})")
        return f"{metric}: " + "; ".join(wrong) if wrong else ""

    return problem


def _agree(found: Figure | None, truth: Figure | None, around: tuple[float, float], flat: float, cut: bool) -> bool:
    if found is None or truth is None:
        return found is truth
    low, high = around
    if truth.least:
        return found.least and found.seconds <= high * (1 + SHARE) + flat
    if found.least and not cut:
        return False
    return low * (1 - SHARE) - flat <= found.seconds <= high * (1 + SHARE) + flat


def _rate(field: str, truth: Callable[[Met, float, float], float], most: float) -> Callable[[Met], str]:
    """Return a check of a rate in the window; ``most`` is how much may lie on its edges."""

    def problem(met: Met) -> str:
        low, high = met.load.window
        found = getattr(met.load.rates, field)
        if found is None:
            return "" if len(met.seen) < LEAST_FOR_RATES else f"{field} is missing"
        if high <= low:
            return f"{field} is {found:g} over the window {low:g} to {high:g} s"
        expected = truth(met, low, high) / (high - low)
        near_enough = _is_near(found, expected, most / (high - low), 0.05)
        return "" if near_enough else f"{field} is {found:g} in {low:g} to {high:g} s, by the server {expected:.2f}"

    return problem


def _in_flight(met: Met) -> str:
    (low, high), found = met.load.window, met.load.in_flight
    if found is None:
        return "" if len(met.seen) < LEAST_FOR_RATES else "in_flight is missing"
    truth = met.in_flight(low, high) if high > low else 0.0
    return "" if _is_near(found, truth, 0.5, 0.1) else f"{found:g} in flight in {low:g} to {high:g} s, {truth:.2f}"


def _kept(met: Met) -> str:
    """Where every answer is good, a closed loop keeps its concurrency from the first second to the end."""
    if met.concurrency is None or met.duration is None or met.fates[Fate.OK] < len(met.seen):
        return ""
    found = met.in_flight(SETTLED, met.duration)
    return "" if found >= KEPT * met.concurrency else f"{found:.2f} at the server, expected {met.concurrency}"


def _usage(field: str, reported: Callable[[LoadSample], int | None]) -> Callable[[Met], str]:
    def problem(met: Met) -> str:
        found, truth = reported(met.load), met.usage(field)
        # The last delta before the end of a connection may not have arrived.
        lost = sum(1 for one in met.seen if one.fate in WITHOUT_END and one.content) if field == "output" else 0
        return (
            ""
            if found is not None and truth - lost <= found <= truth
            else f"{found} {field} tokens, by the server {truth}"
        )

    return problem


def _count(metric: str) -> Callable[[Met], str]:
    def problem(met: Met) -> str:
        histogram, truth = met.histogram(metric), len(met.values(metric))
        found = histogram.n if histogram else 0
        return "" if found == truth else f"{metric} has {found} values, by the server {truth}"

    return problem


def _connections(met: Met) -> str:
    histogram = met.histogram("connect")
    found, truth = histogram.n if histogram else 0, sum(one.connected is not None for one in met.seen)
    return "" if found == truth else f"connect has {found} values, by the server {truth}"

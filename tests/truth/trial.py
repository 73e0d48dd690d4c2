"""One load against one behaviour, and what did not hold."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.hostile.command import rejoinder
from tests.truth.expect import Case
from tests.truth.server import Behaviour, TruthServer
from tests.truth.truth import Met, rank

SERVER_LATE: Final = 0.015
"""Seconds by which the p99 of the server's writes may be late before the machine counts as busy."""
LONGEST: Final = 600.0


@dataclass(frozen=True, slots=True)
class Trial:
    """What a load showed: ``problems`` by the name of the expectation; ``noise`` is why its times cannot be trusted."""

    problems: dict[str, str]
    noise: str
    timed: frozenset[str] = field(default_factory=frozenset)


PENDING: Final[dict[str, dict[str, str]]] = tomllib.loads((Path(__file__).parent / "pending.toml").read_text("utf-8"))
"""Expectations that do not hold yet: by behaviour and case, the name of each with what it waits for."""


def trial(behaviour: Behaviour, load: Case, folder: Path) -> Trial:
    """Put a behaviour under a load; the run goes to ``folder``."""
    options = load.words
    if load.bodies:
        file = folder.with_suffix(".ndjson")
        file.write_text("".join(json.dumps(body) + "\n" for body in load.bodies))
        options += ["--bodies", str(file)]
    if load.profile:
        file = folder.with_suffix(".toml")
        file.write_text(load.profile)
        options += ["--profile", str(file)]
    with TruthServer(behaviour) as server:
        ended = rejoinder("load", server.url, *options, "--quiet", folder=folder, limit=LONGEST)
    concurrency, duration = load.value("--concurrency"), load.value("--duration")
    met = Met(server, ended, int(concurrency) if concurrency else None, float(duration[:-1]) if duration else None)
    expected = load.expected
    problems = {one.name: text for one in expected if (text := one.problem(met))}
    if server.errors:
        problems["server"] = server.errors[0]
    return Trial(problems, noise(met), frozenset(one.name for one in expected if one.timed))


def noise(met: Met) -> str:
    """Return why the times of a load cannot be trusted: the generator or the server did not get a core in time."""
    check = met.load.self_check
    for what, value, limit in (
        ("the event loop was late", check.loop_lag_p99, 0.005),
        ("requests started late", check.dispatch_lag_p99, 0.010),
        ("the server was late", rank(met.server.lateness, 99) if met.server.lateness else 0.0, SERVER_LATE),
    ):
        if value is not None and value > limit:
            return f"{what}: {1e3 * value:.0f} ms"
    return f"the CPU was busy: {check.cpu_mean:.0%}" if check.cpu_mean > 0.75 else ""

"""Figures of rejoinder.strategies: python benchmarks/strategies.py [--bodies N] [--seeds N]

Prints what is measured, one line each, with the figure that is promised behind it where there is one. Times are CPU
seconds of this process, so that other work on the machine counts little. Exits with 1 when a promise is not kept.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import jsonschema_rs
from hypothesis import HealthCheck, Phase, given, seed, settings

from rejoinder.contract import SchemaVariant, dialect_names, request_schema
from rejoinder.strategies import (
    Branches,
    EndpointProfile,
    each_choice,
    minimise,
    one_factor,
    pairwise_cases,
    request_bodies,
    variety,
)
from rejoinder.strategies.sets.edge import edge_cases
from rejoinder.strategies.sets.invalid import candidates, surely_invalid
from rejoinder.strategies.sets.systematic import seeds

Body = dict[str, Any]
Predicate = Callable[[Body], bool]

GENERATION = jsonschema_rs.Draft202012Validator(request_schema(SchemaVariant.GENERATION))
broken: list[str] = []


def line(what: str, value: object, promise: str = "", kept: bool = True) -> None:
    """Print one figure and remember a promise that is not kept."""
    mark = "" if kept else "   NOT KEPT"
    print(f"{what:<52} {value!s:>24}   {promise}{mark}", flush=True)
    if not kept:
        broken.append(what)


def timed(run: Callable[[], Any], repeat: int = 5) -> tuple[Any, float]:
    """Return what ``run`` returns and the median CPU seconds of a call."""
    times = []
    for _ in range(repeat):
        start = time.process_time()
        found = run()
        times.append(time.process_time() - start)
    return found, statistics.median(times)


def generation(dialect: str, count: int) -> None:
    """Draw whole requests of a dialect with all health checks on."""
    bodies: list[Body] = []

    @settings(max_examples=count, database=None, deadline=None, phases=[Phase.generate])
    @given(request_bodies(dialect=dialect))
    def collect(body: Body) -> None:
        bodies.append(body)

    start = time.process_time()
    collect()
    seconds = time.process_time() - start
    sound = jsonschema_rs.Draft202012Validator(request_schema(SchemaVariant.GENERATION, dialect=dialect))
    valid = sum(sound.is_valid(body) for body in bodies)
    rate = len(bodies) / seconds
    line(f"{dialect}: bodies per CPU second, health checks on", f"{rate:.0f}", ">= 500", rate >= 500)
    line(f"{dialect}: valid bodies", f"{valid} of {len(bodies)}", "all", valid == len(bodies))
    sizes = sorted(len(json.dumps(body)) for body in bodies)
    spread = f"{sizes[len(sizes) // 2]} / {sizes[len(sizes) * 9 // 10]} / {sizes[-1]}"
    line(f"{dialect}: bytes, median / 90 % / largest", spread)
    branches = Branches.of_dialect(dialect)
    for part in (100, 1000, 10_000):
        if part <= len(bodies):
            report = branches.report(bodies[:part])
            line(f"{dialect}: branches in {part} bodies of a test", f"{len(report.seen)} of {len(report.all)}")
    found = variety(request_bodies(dialect=dialect), dialect=dialect)
    line(f"{dialect}: branches in 1000 independent draws", f"{found.branches} of {len(found.counts)}")


def covering() -> None:
    """Build every deterministic set."""
    branches = Branches()
    line("branches by path / by definition", f"{len(branches.all)} / {len(branches.by_definition)}", "828 / 741")
    sets: dict[str, Callable[[], Any]] = {
        "each choice, plain": lambda: each_choice("plain"),
        "each choice, per variant": lambda: each_choice("variant"),
        "each choice, per item": lambda: each_choice("item"),
        "each choice, packed": lambda: each_choice("all"),
        "each choice, 8 items each": lambda: each_choice(8),
        "each choice, per variant, of a profile": lambda: each_choice("variant", profile=EndpointProfile(model="m")),
        "one factor": one_factor,
        "pairwise, presence": lambda: pairwise_cases(levels="presence"),
        "pairwise, state": lambda: pairwise_cases(levels="state"),
        "pairwise, value": lambda: pairwise_cases(levels="value"),
        "pairwise inside items, state": lambda: pairwise_cases(of="item"),
    }
    for name, make in sets.items():
        cases, seconds = timed(make)
        report = branches.report(case.body for case in cases)
        whole = "plain" not in name and "profile" not in name
        full = whole and name.startswith(("each choice, p", "each choice, 8", "one"))
        quick = not name.startswith("pairwise")
        small = name != "each choice, per variant" or len(cases) <= 60
        valid = all(GENERATION.is_valid(case.body) for case in cases)
        value = f"{len(cases)} in {seconds * 1000:.0f} ms, {len(report.seen)} branches"
        promises = ["< 50 ms"] * quick + ["all branches"] * full + ["<= 60"] * (name == "each choice, per variant")
        promise = ", ".join(promises)
        line(
            name, value, promise, valid and small and (not full or not report.missing) and (not quick or seconds < 0.05)
        )


def faults() -> None:
    """Classify every one-fault neighbour of every seed."""
    found, seconds = timed(surely_invalid, 3)
    line("distinct surely invalid faults", len(found), ">= 1700", len(found) >= 1700)
    line("built in", f"{seconds * 1000:.0f} ms")
    bodies = list(seeds())

    def classify() -> tuple[int, int]:
        judged = [verdict for item in bodies for verdict in candidates(item.body, below=item.below)]
        return len(judged), sum(judged)

    (judged, invalid), seconds = timed(classify)
    rate = judged / seconds
    line("mutants judged, surely invalid", f"{judged}, {invalid}")
    line("mutants classified per CPU second", f"{rate:,.0f}", ">= 100,000", rate >= 100_000)
    cases, seconds = timed(edge_cases, 1)
    tiers = [sum(case.tier == tier for case in cases) for tier in ("valid", "edge", "raw")]
    line("edge cases valid / edge / raw", " / ".join(map(str, tiers)))


def of_type(body: Body, type_: str) -> list[Body]:
    """Return the input items of a type."""
    return [item for item in body["input"] if isinstance(item, dict) and item.get("type") == type_]


def file_in_tool_output(body: Body) -> bool:
    """Whether a function's output holds a file."""
    outputs = [item["output"] for item in of_type(body, "function_call_output")]
    return any(isinstance(parts, list) and any(part["type"] == "input_file" for part in parts) for parts in outputs)


def long_arguments(body: Body) -> bool:
    """Whether a call with a status has more than five characters of arguments."""
    return any(len(item["arguments"]) > 5 and item.get("status") for item in of_type(body, "function_call"))


def drag_to_the_left(body: Body) -> bool:
    """Whether a drag over two points or more leaves the screen on the left."""
    actions = [item["action"] for item in of_type(body, "computer_call")]
    paths = [action["path"] for action in actions if action["type"] == "drag"]
    return any(len(path) > 1 and any(point["x"] < -10 for point in path) for path in paths)


MINIMAL: dict[Predicate, Body] = {
    file_in_tool_output: {"type": "function_call_output", "call_id": "", "output": [{"type": "input_file"}]},
    long_arguments: {
        "type": "function_call",
        "call_id": "",
        "name": "",
        "arguments": "000000",
        "status": "in_progress",
    },
    drag_to_the_left: {
        "type": "computer_call",
        "id": "",
        "call_id": "",
        "pending_safety_checks": [],
        "status": "in_progress",
        "action": {"type": "drag", "path": [{"x": 0, "y": 0}, {"x": -11, "y": 0}]},
    },
}


def shrink(fails: Predicate, start: int) -> tuple[Body, Body, int]:
    """Search for a body that fails and shrink it; return the first and the last such body, and the calls in between."""
    found: list[Body] = []
    tried: list[int] = []
    count = 0

    @seed(start)
    @settings(
        max_examples=20_000,
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(request_bodies())
    def search(body: Body) -> None:
        nonlocal count
        count += 1
        if fails(body):
            found.append(json.loads(json.dumps(body)))
            tried.append(count)
            raise AssertionError

    with contextlib.suppress(AssertionError):
        search()
    return found[0], found[-1], count - tried[0]


def shrinking(number: int) -> None:
    """Let Hypothesis and the reducer make the same failures small."""
    for fails, smallest in MINIMAL.items():
        runs = [shrink(fails, start) for start in range(number)]
        minimal = sum(last == {"input": [smallest]} for _, last, _ in runs)
        calls = [count for _, _, count in runs]
        reductions = [minimise(first, fails) for first, _, _ in runs]
        most = max(reduction.calls for reduction in reductions)
        least = min(reduction.calls for reduction in reductions)
        largest = max(len(json.dumps(reduction.body)) for reduction in reductions)
        name = fails.__name__
        line(f"shrinking {name}: minimal", f"{minimal} of {number}", "all", minimal == number)
        line(f"shrinking {name}: calls", f"{min(calls)}-{max(calls)}")
        line(f"reducing {name}: calls, bytes", f"{least}-{most}, {largest}", "<= 50 calls", most <= 50)


def main() -> int:
    """Measure everything; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--bodies", type=int, default=2000)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    for dialect in dialect_names():
        generation(dialect, options.bodies)
    covering()
    faults()
    shrinking(options.seeds)
    print(f"{len(broken)} promises not kept" if broken else "every promise kept")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())

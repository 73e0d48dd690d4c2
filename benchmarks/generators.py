"""rejoinder.strategies beside other generators of requests from the same document.

    python benchmarks/generators.py OPENAPI.json --dialect DIALECT --schemathesis PYTHON [--bodies N] [--rounds N]

OPENAPI.json is the published Open Responses document, DIALECT the dialect that was made from it (openresponses, or the
file that `rejoinder dialect from-openapi` wrote). PYTHON is an interpreter that has schemathesis, which needs another
version of Hypothesis. hypothesis-jsonschema gets the request schema of the dialect.

Every generator draws the same number of bodies in a process of its own, one after the other, in several rounds. A round
counts CPU seconds of the draws, without imports and reading the document. Valid means valid by the published schema as
the dialect has it, unknown fields allowed; branches and pairs of branches are those of valid bodies.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

OURS = """
import json, sys, time
from hypothesis import HealthCheck, Phase, given, settings
{imports}
spec = json.load(open(sys.argv[1]))
bodies = []

@settings(max_examples=spec["bodies"], database=None, deadline=None, phases=[Phase.generate],
          suppress_health_check=list(HealthCheck))
@given({strategy})
def collect(body):
    bodies.append(body)

start = time.process_time()
collect()
seconds = time.process_time() - start
bodies = [body for body in bodies if type(body).__name__ != "NotSet"]
json.dump({{"seconds": seconds, "bodies": bodies, "versions": {versions}}}, open(sys.argv[2], "w"))
"""
"""A program that draws bodies from a strategy. Random seeds are left to Hypothesis: rounds differ.

Schemathesis also draws requests without a body, which are draws and no bodies.
"""

VERSIONS = "{{name: __import__('importlib.metadata').metadata.version(name) for name in {names}}}"

PROGRAMS = {
    "rejoinder": OURS.format(
        imports="from rejoinder.strategies import request_bodies",
        strategy="request_bodies(dialect=spec['dialect'])",
        versions=VERSIONS.format(names=("rejoinder", "hypothesis")),
    ),
    "hypothesis-jsonschema": OURS.format(
        imports="from hypothesis_jsonschema import from_schema",
        strategy="from_schema(spec['schema'])",
        versions=VERSIONS.format(names=("hypothesis-jsonschema", "hypothesis")),
    ),
    "schemathesis": OURS.format(
        imports="import schemathesis",
        strategy="schemathesis.openapi.from_dict(spec['document'])['/responses']['POST'].as_strategy()"
        ".map(lambda case: case.body)",
        versions=VERSIONS.format(names=("schemathesis", "hypothesis")),
    ),
}


def draw(name: str, python: str, spec: Path, folder: Path) -> dict[str, Any]:
    """Run one generator and return its seconds, bodies and versions."""
    out = folder / f"{name}.json"
    done = subprocess.run(
        [python, "-c", PROGRAMS[name], str(spec), str(out)], check=False, capture_output=True, text=True, timeout=3600
    )
    if done.returncode:
        sys.exit(f"{name} failed: {done.stderr.strip()[-2000:]}")
    found: dict[str, Any] = json.loads(out.read_text("utf-8"))
    return found


def main() -> None:
    """Draw, measure, and print one line for each generator."""
    from rejoinder.contract import SchemaVariant, request_schema
    from rejoinder.strategies import measure
    from rejoinder.validation import Validator

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("document", type=Path)
    parser.add_argument("--dialect", default="openresponses")
    parser.add_argument("--schemathesis", metavar="PYTHON", required=True)
    parser.add_argument("--bodies", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    schema = request_schema(SchemaVariant.PERMISSIVE, dialect=options.dialect)
    sound = Validator(schema)
    pythons = {"schemathesis": options.schemathesis}
    rates: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    drawn: dict[str, list[Any]] = {name: [] for name in PROGRAMS}
    versions: dict[str, dict[str, str]] = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        spec = folder / "spec.json"
        spec.write_text(
            json.dumps(
                {
                    "bodies": options.bodies,
                    "dialect": options.dialect,
                    "schema": {key: value for key, value in schema.items() if key not in ("$id", "$schema")},
                    "document": json.loads(options.document.read_text("utf-8")),
                }
            ),
            "utf-8",
        )
        for number in range(options.rounds):
            for name in PROGRAMS:
                found = draw(name, pythons.get(name, sys.executable), spec, folder)
                rates[name].append(options.bodies / found["seconds"])
                versions[name] = found["versions"]
                if number == 0:
                    drawn[name] = found["bodies"]
    print("| generator | versions | bodies | valid | branches | pairs of branches | draws per CPU second | of ours |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, bodies in drawn.items():
        valid = [body for body in bodies if sound.is_valid(body)]
        found_variety = measure(valid, dialect=options.dialect, variant=SchemaVariant.PERMISSIVE)
        ratio = statistics.median(mine / ours for mine, ours in zip(rates[name], rates["rejoinder"], strict=True))
        print(
            f"| {name} | {', '.join(f'{key} {value}' for key, value in versions[name].items())} | {len(bodies):,} "
            f"| {100 * len(valid) / max(len(bodies), 1):.1f} % "
            f"| {found_variety.branches} of {len(found_variety.counts)} "
            f"| {found_variety.pairs:,} of {found_variety.possible_pairs:,} "
            f"| {statistics.median(rates[name]):.0f} | {ratio:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()

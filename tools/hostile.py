"""Let commands meet the hostile endpoint: ``python tools/hostile.py [--jobs N] [--told] [--record] [NAME ...]``.

Prints what does not hold, and a table for docs/explanation/hardening.md: behaviours tried and held by group, and those
that took most memory. ``--record`` writes the exit codes and sentences into tests/hostile/expected.toml; read what
changed there before you commit it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import tomlkit

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import tests.hostile.behaviours  # noqa: E402, F401 - registers them
from tests.hostile.endpoint import BEHAVIOURS  # noqa: E402
from tests.hostile.trial import EVERY_MODE, MODES, Mode, Trial, replayed, told, told_mode, trial  # noqa: E402

EXPECTED: Final = ROOT / "tests" / "hostile" / "expected.toml"


def meet(name: str, modes: Sequence[Mode]) -> list[tuple[Trial, float]]:
    """Return how the commands of these modes met a behaviour, with the seconds that each took."""
    found = []
    with tempfile.TemporaryDirectory(prefix="hostile-") as folder:
        for mode in modes or EVERY_MODE:
            begin = time.monotonic()
            run = Path(folder, mode)
            run.mkdir()
            if mode == "replay":
                one = replayed(BEHAVIOURS[name], Path(folder, "check-late"), run)
            else:
                one = trial(BEHAVIOURS[name], mode, run)
            found.append((one, time.monotonic() - begin))
            print(f"{name} {mode}: {'; '.join(one.problems) or 'held'}", flush=True)
    return found


def record(trials: list[Trial]) -> None:
    """Write exit codes and sentences of these trials; others stay as they are."""
    document = tomlkit.parse(EXPECTED.read_text("utf-8")) if EXPECTED.exists() else tomlkit.document()
    for one in trials:
        if told(one.behaviour, one.mode) and one.ended is not None:
            table = document.setdefault(one.behaviour.name, tomlkit.table())
            if one.mode not in table or not one.keeps(table[one.mode]):
                account = tomlkit.inline_table()
                account.update(one.account)
                table[one.mode] = account
    EXPECTED.write_text(tomlkit.dumps(document), "utf-8")


def main() -> int:
    """Run the command line; return 1 if something does not hold."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", help="Behaviours. Default: all.")
    parser.add_argument("--jobs", type=int, default=2, help="Behaviours at the same time. Default: 2.")
    parser.add_argument("--told", action="store_true", help="Only the first command that meets each behaviour.")
    parser.add_argument("--mode", action="append", choices=MODES, help="Only this command. Repeatable.")
    parser.add_argument("--record", action="store_true", help="Write tests/hostile/expected.toml.")
    options = parser.parse_args()
    with ThreadPoolExecutor(options.jobs) as pool:
        met = []
        names = options.names or sorted(BEHAVIOURS)
        modes = [[told_mode(BEHAVIOURS[name])] if options.told else options.mode or [] for name in names]
        for pairs in pool.map(meet, names, modes):
            met += pairs
            if options.record:
                record([one for one, _ in pairs])
    groups: dict[str, list[Trial]] = defaultdict(list)
    for one, _ in met:
        groups[one.behaviour.group].append(one)
    print("\n| group | behaviours | runs | held |\n| --- | --- | --- | --- |")
    for group, trials in sorted(groups.items()):
        held = sum(not one.problems for one in trials)
        print(f"| {group} | {len({one.behaviour.name for one in trials})} | {len(trials)} | {held} |")
    print("\n| behaviour | command | peak memory | time |\n| --- | --- | --- | --- |")
    worst = sorted(met, key=lambda pair: -(pair[0].ended.peak if pair[0].ended else 0))
    for one, seconds in worst[:10]:
        peak = f"{one.ended.peak / 1e6:.0f} MB" if one.ended else "(did not end)"
        print(f"| {one.behaviour.name} | {one.mode} | {peak} | {seconds:.1f} s |")
    return int(any(one.problems for one, _ in met))


if __name__ == "__main__":
    sys.exit(main())

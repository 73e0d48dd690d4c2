"""How much memory does an open stream take that brings nothing yet?

    python benchmarks/load_memory.py [--streams 2000]

Runs the generator with one stream and with many against a server that stays silent, and prints the growth of the
generator's resident memory for each stream more.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
from pathlib import Path

from load_server import ServerProcess

from rejoinder.load.run import LoadProgress, run_load
from rejoinder.load.settings import LoadSettings
from rejoinder.model.runfile import RunWriter


def generator(port: int) -> int:
    """Return the resident KiB of the process that holds the connections."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            mine = f"127.0.0.1:{port}".encode() in (path / "environ").read_bytes()
            if mine and b"locustfile" in (path / "cmdline").read_bytes():
                lines = (path / "status").read_text().splitlines()
                return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
        except OSError:
            continue
    return 0


def resident(port: int, streams: int) -> int:
    """Return the resident KiB of the generator while so many streams are open."""
    found = 0
    stop = threading.Event()

    def progress(now: LoadProgress) -> None:
        nonlocal found
        if now.in_flight >= streams:
            found = max(found, generator(port))
            if now.t > settings.ramp_seconds + 3:
                stop.set()

    settings = LoadSettings(
        url=f"http://127.0.0.1:{port}", model="ttft=600000", concurrency=streams, duration=60, ramp=4.0, drain=0.0
    )
    with tempfile.TemporaryDirectory() as folder, RunWriter(Path(folder) / "run.ndjson") as writer:
        run_load(settings, writer, progress=progress, stop=stop)
    return found


def main() -> None:
    """Print the memory of an idle stream."""
    parser = argparse.ArgumentParser(description="How much memory does an idle stream take?")
    parser.add_argument("--streams", type=int, default=2000)
    options = parser.parse_args()
    with ServerProcess() as server:
        few, many = resident(server.port, 1), resident(server.port, options.streams)
    each = (many - few) / (options.streams - 1)
    print(f"{options.streams} idle streams: {many / 1024:.1f} MiB, with one {few / 1024:.1f} MiB: {each:.1f} KiB each")


if __name__ == "__main__":
    main()

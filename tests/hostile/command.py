"""The command line in a process of its own, with a limit on its memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rejoinder.model.runfile import Run, read_run

ADDRESS_SPACE: Final = 2 << 30
"""Bytes of address space that one process may map: far above what it should use, far below what hostile replies took.
"""
LIMIT: Final = 120.0
"""Seconds after which a command counts as hanging; none of them should take half of it on a slow machine."""
_LAUNCHER: Final = f"""
import os, resource, sys
resource.setrlimit(resource.RLIMIT_AS, ({ADDRESS_SPACE}, {ADDRESS_SPACE}))
os.execv(sys.executable, [sys.executable, "-m", "rejoinder", *sys.argv[1:]])
"""


@dataclass(frozen=True, slots=True)
class Ended:
    """A command that ended. ``peak`` is the highest resident memory of any process of it, in bytes."""

    code: int
    output: str
    errors: str
    peak: int
    folder: Path | None

    @property
    def text(self) -> str:
        """Everything that it printed."""
        return self.output + self.errors

    @property
    def warnings(self) -> list[str]:
        """The warnings in its run file."""
        footer = self.run().footer
        assert footer is not None
        return footer.warnings

    def run(self) -> Run:
        """Return its run file."""
        assert self.folder is not None
        return read_run(self.folder)


def rejoinder(*arguments: str, folder: Path | None, key: str = "", limit: float = LIMIT) -> Ended:
    """Run ``rejoinder``, with ``--out folder`` if there is one, and return how it ended.

    Raises ``TimeoutExpired`` if it hangs.

    Every process of it may map at most :data:`ADDRESS_SPACE` bytes, so that one without bounds ends with a traceback.
    """
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    environment |= {"REJOINDER_API_KEY": key, "COLUMNS": "120", "NO_COLOR": "1"}
    command = [sys.executable, "-c", _LAUNCHER, *arguments, *(("--out", str(folder)) if folder else ())]
    with subprocess.Popen(
        [sys.executable, "-c", _MEASURE, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env=environment,
        cwd=folder,
        start_new_session=True,  # so that one that hangs is ended with its children
    ) as process:
        try:
            output, errors = process.communicate(timeout=limit)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    errors, _, peak = errors.rpartition("\n")
    return Ended(process.returncode, output, errors, int(peak), folder)


# The peak of a process counts for its parent once that has waited for it, so the largest of a tree is the child's.
_MEASURE: Final = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
print(flush=True, file=sys.stderr)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024, end="", file=sys.stderr)
sys.exit(code if code >= 0 else 128 - code)
"""

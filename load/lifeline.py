"""What keeps a load from outliving its command, and its accounts exact whatever dies.

A load is several processes: the command, Locust (with ``--processes`` a master and its workers), and an analysis worker
for each process that sends. Four things tie them together:

- **Death with the parent.** Each process ends when its parent does: by a signal of the kernel where there is one
  (``PR_SET_PDEATHSIG`` of Linux), and by looking at its parent ten times a second.
- **A lease.** The command renews it ten times a second. A generator sends nothing while the lease is older than
  :data:`LEASE_LIMIT`. So a command that was stopped (SIGSTOP, Ctrl-Z) pauses the sending, and one that ends the run
  revokes it, which stops the sending at once.
- **Records.** Each process keeps a few numbers in a file that it maps into memory: how many requests it has started,
  and whether it has ended. They outlive the process, so that no request is lost from the accounts.
- **A locked folder.** All of this is in the temporary folder of the run. Its lock goes with the command, so the next
  run knows which folders were left behind, and removes them.

All processes of a run are on one host, where the monotonic clock is the same in each.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
import os
import shutil
import signal
import stat
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

from rejoinder.budgets import SUSPENSION_LIMIT
from rejoinder.errors import RejoinderError

RENEW_EVERY: Final = 0.1
"""Seconds between two renewals of the lease, and between two looks at the parent."""
LEASE_LIMIT: Final = 0.6
"""Seconds for which a lease permits to send unless it is renewed."""
FOLDER_PREFIX: Final = "rejoinder-load-"
_LOCK: Final = "lock"
_LEASE: Final = "lease"
_RECORD: Final = "process-"
_UNLOCKED_LIMIT: Final = 3600.0
"""Seconds after which a folder without a lock was left behind. Its command died before it could make one."""
_PR_SET_PDEATHSIG: Final = 1


class _Cells:
    """A few integers in a file that is mapped into the memory of every process that opens it."""

    def __init__(self, path: Path, count: int, *, new: bool) -> None:
        size = 8 * count
        descriptor = os.open(path, os.O_RDWR | (os.O_CREAT | os.O_EXCL if new else 0), 0o600)
        try:
            # Written, not extended: a page without a block on a full disk would end the process when it is touched.
            if new and os.write(descriptor, bytes(size)) != size:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._view = memoryview(mmap.mmap(descriptor, size)).cast("q")
        finally:
            os.close(descriptor)

    def __getitem__(self, place: int) -> int:
        return self._view[place]

    def __setitem__(self, place: int, value: int) -> None:
        self._view[place] = value


class Lease:
    """The permission to send that the command gives and renews, from :meth:`start` until :meth:`revoke`.

    ``suspended`` is how many seconds the command was suspended when that ended the lease, else 0.
    """

    def __init__(self, folder: Path) -> None:
        self.suspended = 0.0
        self._cells = _Cells(folder / _LEASE, 1, new=True)
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._renew_for_ever, name="lease", daemon=True)

    def start(self) -> None:
        """Give the permission and go on renewing it."""
        self._cells[0] = time.monotonic_ns()
        self._thread.start()

    def revoke(self) -> None:
        """Take the permission back, for good: nothing more is sent."""
        with self._lock:
            self._over.set()
            self._cells[0] = 0

    def _renew_for_ever(self) -> None:
        last = time.monotonic()
        while not self._over.wait(RENEW_EVERY):
            now = time.monotonic()
            if now - last > SUSPENSION_LIMIT:
                self.revoke()
                self.suspended = now - last
                return
            with self._lock:
                if not self._over.is_set():
                    self._cells[0] = time.monotonic_ns()
            last = now


class Permit:
    """The lease as a process that sends sees it. Without a folder (plain Locust) there is none, and it always holds."""

    def __init__(self, folder: Path | None) -> None:
        self._cells = None if folder is None else _Cells(folder / _LEASE, 1, new=False)

    def holds(self) -> bool:
        """Whether a request may be sent now."""
        return self._cells is None or time.monotonic_ns() - self._cells[0] < LEASE_LIMIT * 1e9


class RecordedProcess(NamedTuple):
    """What a process says of itself: see :class:`ProcessRecord`."""

    pid: int
    started: int
    errno: int
    ended: bool
    terminated: bool


_SHAPE: Final = struct.Struct("4q")


class ProcessRecord:
    """The numbers that a process of a run keeps outside of itself; the command reads them with :func:`read_records`.

    ``started``: requests that it has started. ``errno``: why it could not write its measurements, 0 if it could.
    ``ended``: it has done its part. ``terminated``: it received SIGTERM. Without a folder they are kept nowhere.
    """

    def __init__(self, folder: Path | None) -> None:
        path = None if folder is None else folder / f"{_RECORD}{os.getpid()}"
        self._cells = None if path is None else _Cells(path, _SHAPE.size // 8, new=True)

    def count(self) -> None:
        """Count a request that starts."""
        if self._cells is not None:
            self._cells[0] += 1

    def fail(self, errno: int) -> None:
        """Say that a measurement could not be written."""
        self._set("errno", errno or -1)

    def end(self) -> None:
        """Say that this process has done its part."""
        self._set("ended", 1)

    def terminate(self) -> None:
        """Say that this process received SIGTERM."""
        self._set("terminated", 1)

    def _set(self, name: str, value: int) -> None:
        if self._cells is not None:
            self._cells[RecordedProcess._fields.index(name) - 1] = value


def read_records(folder: Path) -> list[RecordedProcess]:
    """Return the records of all processes of a run so far, dead or alive."""
    found = []
    for path in folder.glob(f"{_RECORD}*"):
        try:
            data = path.read_bytes()
        except FileNotFoundError:  # somebody removes the folder
            continue
        if len(data) == _SHAPE.size:  # less while it is being made
            started, errno, ended, terminated = _SHAPE.unpack(data)
            pid = int(path.name.removeprefix(_RECORD))
            found.append(RecordedProcess(pid, started, errno, bool(ended), bool(terminated)))
    return sorted(found)


def die_with_parent(parent: int) -> None:
    """Let this process be killed when its parent, the process with this id, ends; where the kernel can do that.

    Elsewhere, and where something else adopts orphans late, :func:`kill_orphan` has to be called again and again.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    kill_orphan(parent)


def kill_orphan(parent: int) -> None:
    """Kill this process if its parent is not the one with this id."""
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


@contextlib.contextmanager
def run_folder() -> Iterator[Path]:
    """Give a new temporary folder, and remove it in the end; first remove those that commands which died left behind.

    Raises :class:`RejoinderError` when it cannot be made.
    """
    sweep_folders()
    lock = -1
    folder = None
    try:
        folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX))
        lock = _make_lock(folder)
    except OSError as error:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        raise temporary_error(error) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock >= 0:
            os.close(lock)


MORE: Final = b'{"kind":"more"}'
"""The last line of a part of what was measured, when the rest is in the next part."""


def output_part(output: Path, number: int) -> Path:
    """Return the file of a run folder that holds part ``number`` of what was measured; part 0 is ``output``."""
    return output.with_name(f"{output.stem}-{number}{output.suffix}") if number else output


def temporary_error(error: OSError) -> RejoinderError:
    """Return the error of a temporary folder that cannot be used."""
    return RejoinderError(
        f"Cannot write temporary files to {tempfile.gettempdir()}: {error.strerror}.",
        "Free space there, or set TMPDIR to another folder.",
    )


def sweep_folders() -> None:
    """Remove the folders of runs whose command has died. Those of running commands are locked and stay."""
    if fcntl is None:
        return
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER_PREFIX}*"):
        with contextlib.suppress(OSError):
            known = folder.lstat()
            if stat.S_ISDIR(known.st_mode) and known.st_uid == os.getuid() and _abandoned(folder, known.st_mtime):
                shutil.rmtree(folder, ignore_errors=True)


def _abandoned(folder: Path, changed: float) -> bool:
    try:
        descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        return time.time() - changed > _UNLOCKED_LIMIT
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def _make_lock(folder: Path) -> int:
    """Return the descriptor of a new lock that this process holds as long as it lives."""
    if fcntl is None:
        return -1
    descriptor = os.open(folder / f".{_LOCK}", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    # Under its name it is never seen unlocked.
    (folder / f".{_LOCK}").rename(folder / _LOCK)
    return descriptor

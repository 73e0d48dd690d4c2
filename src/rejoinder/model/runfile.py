"""The run file: everything a run saw and decided, as newline-delimited JSON.

One JSON object per line, distinguished by ``kind``: one ``header`` first, then ``exchange``, ``verdict`` and ``sample``
lines in any order, and one ``footer`` last. The format is described by ``runfile.schema.json`` beside this module.
Lines are written as they come, so a run that dies leaves a readable file; a missing footer means that it was cut short.
Reports of every kind are pure functions of a :class:`Run`.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, TypeVar

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

import msgspec

from rejoinder.budgets import (
    INPUT_RUN,
    INPUT_RUN_DAMAGE,
    INPUT_RUN_LINE,
    INPUT_RUN_LINES,
    INPUT_RUN_PIPE,
    INPUT_VALUES,
)
from rejoinder.errors import ExitCode, RunFileError, RunWriteError
from rejoinder.formatting import one_line
from rejoinder.input_file import read_bytes
from rejoinder.model.exchange import Arrivals, Exchange, load_json
from rejoinder.model.footer import Footer
from rejoinder.model.header import FORMAT, VERSION, Header
from rejoinder.model.samples import LoadSample, Sample, read_sample
from rejoinder.model.verdict import Verdict
from rejoinder.validation import Validator

S = TypeVar("S", bound=Sample)

_decode_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


@dataclass(slots=True)
class Run:
    """A run file in memory.

    ``header`` says what was run against what; ``footer`` how it ended (``None`` when the file was cut short).
    ``damage`` holds one sentence for each line that could not be read, up to a limit, and ``undescribed`` is how many
    there are besides. ``truncated`` says that the footer is missing.
    ``path`` is the file that it was read from; ``being_written`` says that a command was still writing it then.
    """

    header: Header
    exchanges: list[Exchange] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    footer: Footer | None = None
    damage: list[str] = field(default_factory=list)
    undescribed: int = 0
    path: Path | None = field(default=None, compare=False)
    being_written: bool = field(default=False, compare=False)

    @property
    def truncated(self) -> bool:
        """Whether the run ended without writing its footer."""
        return self.footer is None

    @property
    def damaged(self) -> int:
        """How many lines could not be read."""
        return len(self.damage) + self.undescribed

    @property
    def ended_at(self) -> float | None:
        """When the run ended, as Unix time; ``None`` when it was cut short."""
        return self.footer.ended_at if self.footer else None

    @property
    def problem(self) -> str:
        """Why nothing could be tested, in a sentence; empty when something could."""
        return self.footer.problem if self.footer else ""

    @property
    def interrupted(self) -> bool:
        """Whether the run says that it was ended before its time."""
        return self.footer is not None and self.footer.interrupted

    @property
    def incomplete(self) -> bool:
        """Whether a part of the plan was not tested: interrupted, cut short by a failure, suspended, or out of budget.

        A run without a footer was cut short, too.
        """
        load = self.load
        if self.footer is None or self.footer.interrupted or self.footer.exit_code == ExitCode.INCOMPLETE:
            return True
        return bool(self.footer.unsent or (load and load.incomplete))

    def samples_of(self, kind: type[S]) -> list[S]:
        """Return the sample lines of one class."""
        return [sample for sample in self.samples if isinstance(sample, kind)]

    @property
    def load(self) -> LoadSample | None:
        """The totals of the load run; ``None`` when there was none, or when it did not come to its end."""
        return next(iter(reversed(self.samples_of(LoadSample))), None)


class RunWriter:
    """Appends lines to a run file; every line is on disk before the call returns. Safe to use from threads.

    The file is locked while it is written, which readers see. A line that cannot be written whole is taken back, and
    raises :class:`RunWriteError`; so does each line once the file has been removed.

    ``mask`` takes credentials out of the text of every line but those of exchanges, which hold none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.mask: Callable[[str], str] = str
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("wb", buffering=0)
        except OSError as error:
            raise RunFileError(
                f"Cannot write the run file {path}: {error.strerror}.", "Choose another folder with --out."
            ) from error
        if fcntl is not None:
            with contextlib.suppress(OSError):  # file systems without locks
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._length = 0
        self._lock = threading.Lock()

    def header(self, header: Header) -> None:
        """Write the header."""
        self._write(header.to_json())

    def exchange(self, exchange: Exchange) -> None:
        """Write one exchange."""
        arrivals = exchange.packed.arrivals
        # The times of many small chunks are longer than all the rest, and json takes long for them.
        times = list(arrivals.to_json())
        if any(b"null" in piece for piece in times):
            times = [_text(list(arrivals.pairs())).encode()]
        fields = _text(exchange.fields_to_json()).encode()
        self._append(b'{"kind":"exchange","chunks":', *times, b",", memoryview(fields)[1:])

    def verdict(self, verdict: Verdict) -> None:
        """Write the judgement on one rule."""
        self._write({"kind": "verdict", **verdict.to_json()})

    def sample(self, sample: Sample) -> None:
        """Write one sample of a load run."""
        self._write({"kind": "sample", **sample.to_json()})

    def footer(self, footer: Footer) -> None:
        """Write the footer, which says that the run came to its end."""
        self._write(footer.to_json())

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, record: Mapping[str, Any]) -> None:
        self._append(self.mask(_text(record)).encode())

    def _append(self, *line: bytes | memoryview) -> None:
        """Write a line that is given in pieces."""
        data = memoryview(b"".join([*line, b"\n"]))
        with self._lock:
            try:
                if not os.fstat(self._file.fileno()).st_nlink:
                    raise FileNotFoundError(0, "It was removed")
                rest = data
                while rest:
                    rest = rest[self._file.write(rest) :]
                self._length += len(data)
            except BaseException as error:
                with contextlib.suppress(OSError):
                    self._file.truncate(self._length)
                    self._file.seek(self._length)
                if not isinstance(error, OSError):
                    raise
                raise RunWriteError(
                    f"Cannot write the run file {self.path}: {error.strerror}.",
                    "Choose another folder with --out, or free space there.",
                ) from error


def read_run(path: Path | str) -> Run:
    """Read a run file, or the ``run.ndjson`` inside a folder.

    Lines that cannot be read are left out and named in ``damage``; only a file without a readable header, or one of a
    newer version, raises :class:`RunFileError`.
    """
    path = Path(path)
    if path.is_dir():
        path /= "run.ndjson"
    try:
        being_written = _is_locked(path)
        run = _read(path, _lines(path))
        run.path, run.being_written = path, being_written
        return run
    except FileNotFoundError as error:
        raise RunFileError(
            f"There is no run file {path}.", "Choose a run.ndjson, or the folder that contains it."
        ) from error
    except OSError as error:
        raise RunFileError(
            f"Cannot read the run file {path}: {error.strerror}.", "Check the permissions of the file."
        ) from error


def _lines(path: Path) -> Iterator[bytes | None]:
    """Yield the lines of a file, ``None`` for each that is longer than the limit of one."""
    pipe = not stat.S_ISREG(path.stat().st_mode)
    with io.BytesIO(read_bytes(path, INPUT_RUN_PIPE)) if pipe else path.open("rb") as file:
        whole = True
        while line := file.readline(INPUT_RUN_LINE):
            ends = line.endswith(b"\n") or len(line) < INPUT_RUN_LINE
            if ends:
                yield line if whole else None
            whole = ends
        if not whole:
            yield None


def _record(line: bytes | None) -> Any:
    """Return the JSON value in a line, ``None`` where there is none within the limits.

    Chunks of an exchange are :class:`Arrivals`, unless something is wrong with them or with the line.
    """
    if line is None or line.count(b",") + line.count(b"[") + line.count(b"{") > INPUT_VALUES:
        return None
    try:
        if line.startswith(b'{"kind":"exchange"'):
            with contextlib.suppress(msgspec.DecodeError, ValueError):
                fields = _decode_fields(line)
                arrivals = Arrivals.from_json(fields.pop("chunks", b""))
                return {**{name: load_json(bytes(value)) for name, value in fields.items()}, "chunks": arrivals}
        return load_json(line)
    except (ValueError, RecursionError):
        return None


def _read(path: Path, lines: Iterator[bytes | None]) -> Run:
    run: Run | None = None
    size = 0
    for number, line in enumerate(lines, 1):
        size += INPUT_RUN_LINE if line is None else len(line)
        if run is not None and (size > INPUT_RUN or number > INPUT_RUN_LINES):
            most = f"{INPUT_RUN:,} bytes and {INPUT_RUN_LINES:,} lines"
            run.damage.append(f"line {number} and those after it were not read: a run file has at most {most}")
            break
        if line is not None and not line.strip():
            continue
        record = _record(line)
        if run is None:
            run = Run(header=_header(path, record))
            continue
        problem = _take(run, record)
        if problem and len(run.damage) < INPUT_RUN_DAMAGE:
            run.damage.append(f"line {number}: {problem}")
        elif problem:
            run.undescribed += 1
    if run is None:
        raise RunFileError(f"The run file {path} is empty.", "The run ended before it wrote anything. Run it again.")
    return run


def _header(path: Path, record: Any) -> Header:
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise RunFileError(
            f"{path} is not a rejoinder run file: its first line is not a header.", "Choose a run.ndjson of rejoinder."
        )
    version = record.get("version")
    if not isinstance(version, int) or version > VERSION:
        raise RunFileError(
            f"{path} has run file version {one_line(version, 40)}, but this rejoinder reads up to version {VERSION}.",
            "Upgrade rejoinder.",
        )
    try:
        return Header.from_json(record)
    except ValueError as error:
        raise RunFileError(f"{path} has a damaged header: {one_line(str(error))}.", "Choose another run.") from error


def _take(run: Run, record: Any) -> str:
    """Add one line to the run; return a sentence when it cannot be read."""
    if not isinstance(record, dict):
        return "not a JSON object (cut short?)"
    kind = record.get("kind")
    try:
        if kind == "sample":
            run.samples.append(read_sample(record))
        elif kind == "footer":
            run.footer = Footer.from_json(record)
        elif not isinstance(kind, str) or not line_is_valid(_in_json(record)):
            return f"not a valid {kind if isinstance(kind, str) else 'run file'} line"
        elif kind == "exchange":
            run.exchanges.append(Exchange.from_json(record))
        elif kind == "verdict":
            run.verdicts.append(Verdict.from_json(record))
        else:
            return f"a second {kind} line"
    except (KeyError, TypeError, ValueError) as error:
        return f"not a valid {kind} line: {error}"
    return ""


def _in_json(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a record without the chunks that were read as :class:`Arrivals`, which are valid."""
    return {**record, "chunks": []} if isinstance(record.get("chunks"), Arrivals) else record


def _is_locked(path: Path) -> bool:
    """Return whether a command has the file open for writing."""
    if not path.is_file():  # to open a pipe would take its place at its reader
        return False
    if fcntl is None:
        return False
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # file systems without locks
            pass
    return False


def run_schema() -> dict[str, Any]:
    """Return the published JSON Schema of one run file line."""
    schema: dict[str, Any] = json.loads(files("rejoinder.model").joinpath("runfile.schema.json").read_text("utf-8"))
    return schema


@cache
def _line_validator() -> Validator:
    return Validator(run_schema())


def line_is_valid(record: Mapping[str, Any]) -> bool:
    """Return whether one parsed line is valid under the published schema."""
    return _line_validator().is_valid(record)


def _text(record: Any) -> str:
    try:
        return json.dumps(record, separators=(",", ":"), allow_nan=False)
    except ValueError:
        return json.dumps(_finite(record), separators=(",", ":"))


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _finite(child) for key, child in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(child) for child in value]
    return value

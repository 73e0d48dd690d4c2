"""A run file gives back what was written, and as much as it still holds when it was damaged."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from rejoinder.budgets import INPUT_RUN_DAMAGE
from rejoinder.errors import RunFileError
from rejoinder.model.exchange import Chunk, Exchange, Outcome, Request
from rejoinder.model.footer import Footer
from rejoinder.model.header import RunTarget, new_header
from rejoinder.model.outcomes import RequestOutcome
from rejoinder.model.runfile import Run, RunWriter, line_is_valid, read_run, run_schema
from rejoinder.model.samples import ProbeSample, RequestSample
from rejoinder.model.verdict import Finding, Level, Problem, Status, Verdict

HEADER = new_header(
    RunTarget(url="http://h/v1/responses", model=None, dialect="northstar"),
    started_at=1.0,
    tool={"rejoinder": "0", "python": "3"},
    command=["rejoinder", "check"],
)
FOOTER = Footer(ended_at=2.0, exit_code=0)

texts = st.text()
exchanges = st.builds(
    Exchange,
    id=texts,
    request=st.builds(Request, method=texts, path=texts, headers=st.just((("a", "b"),)), body=st.binary()),
    outcome=st.sampled_from(Outcome),
    status=st.none() | st.integers(100, 599),
    chunks=st.lists(st.builds(Chunk, t=st.floats(0, 1e6), data=st.binary())).map(tuple),
    detail=texts,
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
problems = st.builds(
    Problem,
    message=texts,
    pointer=texts,
    event=st.none() | st.integers(0),
    event_type=texts,
    expected=values,
    actual=values,
    kind=texts,
    offset=st.none() | st.integers(0),
    exchange=texts,
)
findings = st.builds(
    Finding, rule=texts, level=st.sampled_from(Level), evidence=problems, count=st.integers(1), cases=st.lists(texts)
)
verdicts = st.builds(
    Verdict,
    rule=texts,
    level=st.sampled_from(Level),
    status=st.sampled_from(Status),
    judged=st.integers(0),
    failed=st.integers(0),
    reason=texts,
    findings=st.lists(findings, max_size=2),
)
lines = st.lists(exchanges | verdicts, max_size=6)


def write(path: Path, items: list[Any], footer: bool = True) -> Path:
    with RunWriter(path) as writer:
        writer.header(HEADER)
        for item in items:
            if isinstance(item, Exchange):
                writer.exchange(item)
            elif isinstance(item, Verdict):
                writer.verdict(item)
            else:
                writer.sample(item)
        if footer:
            writer.footer(FOOTER)
    return path


def written(items: list[Any]) -> bytes:
    """Return the bytes of a run file with these lines."""
    with TemporaryDirectory() as folder:
        return write(Path(folder) / "run.ndjson", items).read_bytes()


def read(data: bytes) -> Run:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "run.ndjson"
        path.write_bytes(data)
        return read_run(path)


def content(run: Run) -> list[Any]:
    return [*run.exchanges, *run.verdicts]


@given(lines)
@pytest.mark.slow(1)
def test_round_trip(items: list[Any]) -> None:
    run = read(written(items))
    assert run.exchanges == [item for item in items if isinstance(item, Exchange)]
    assert run.verdicts == [item for item in items if isinstance(item, Verdict)]
    assert run.header == HEADER
    assert (run.footer, run.truncated, run.damage) == (FOOTER, False, [])


@pytest.mark.slow(1)
@given(lines)
def test_every_line_is_valid_under_the_published_schema(items: list[Any]) -> None:
    for line in written(items).splitlines():
        assert line_is_valid(json.loads(line))


@given(lines, st.integers(0))
@example([], 0)
@pytest.mark.slow(1)
def test_cut_at_any_byte(items: list[Any], place: int) -> None:
    data = written(items)
    place %= len(data)
    kept = data[:place]
    whole_lines = kept.count(b"\n")
    try:
        run = read(kept)
    except RunFileError:
        # The last line counts as whole when only its line end is missing.
        assert whole_lines == 0
        return
    assert run.truncated or place == len(data) - 1
    assert len(content(run)) in (whole_lines - 1, whole_lines)
    everything = content(read(data))
    assert all(item in everything for item in content(run))
    assert len(run.damage) <= 1


@pytest.mark.slow(3)
@settings(max_examples=300)
@given(lines, st.lists(st.tuples(st.integers(0), st.integers(0, 255)), min_size=1, max_size=8))
def test_changed_bytes(items: list[Any], changes: list[tuple[int, ...]]) -> None:
    data = written(items)
    changed = bytearray(data)
    for place, byte in changes:
        changed[place % len(changed)] = byte
    intact = set(data.splitlines(keepends=True)) & set(bytes(changed).splitlines(keepends=True))
    try:
        run = read(bytes(changed))
    except RunFileError:
        assert not bytes(changed).startswith(data.split(b"\n")[0] + b"\n")
        return
    records = [json.loads(line) for line in intact if line.startswith(b'{"kind":"exchange"')]
    for item in read(written(items)).exchanges:
        if json.loads(json.dumps({"kind": "exchange", **item.to_json()})) in records:
            assert item in run.exchanges


@pytest.mark.slow(1)
@given(lines, st.binary(max_size=40), st.integers(0))
def test_a_foreign_line_between(items: list[Any], junk: bytes, place: int) -> None:
    whole = written(items).splitlines(keepends=True)
    place = 1 + place % len(whole)
    run = read(b"".join([*whole[:place], b"!" + junk.replace(b"\n", b" ") + b"\n", *whole[place:]]))
    assert content(run) == content(read(b"".join(whole)))
    assert run.damage == [f"line {place + 1}: not a JSON object (cut short?)"]
    assert not run.truncated


@pytest.mark.parametrize(
    "data", [b"", b"\n\n", b"[]\n", b"{", b"\xff\xfe", b'{"format":"other"}\n', b"null\n", b"[" * 9999]
)
def test_what_is_no_run_file(data: bytes) -> None:
    with pytest.raises(RunFileError):
        read(data)


@pytest.mark.parametrize("version", [2, 10**30, None, "1", 0])
def test_versions(version: int | str | None) -> None:
    line = json.loads(written([]).splitlines()[0])
    with pytest.raises(RunFileError):
        read(json.dumps({**line, "version": version}).encode())


def test_a_header_without_its_target() -> None:
    line = json.loads(written([]).splitlines()[0])
    del line["target"]
    with pytest.raises(RunFileError, match="damaged header"):
        read(json.dumps(line).encode())


@pytest.mark.parametrize(
    "record",
    [
        {"kind": "header"},
        {"kind": "news"},
        {"kind": 7},
        {},
        {"kind": "exchange"},
        {"kind": "sample", "what": "weather"},
        {"kind": "footer", "ended_at": "noon", "exit_code": 0},
    ],
)
def test_lines_that_are_left_out(record: dict[str, Any]) -> None:
    data = written([])
    run = read(data + json.dumps(record).encode())
    assert len(run.damage) == 1
    assert run.damage[0].startswith("line 3: ")


def test_a_second_header() -> None:
    data = written([])
    run = read(data + data.splitlines()[0])
    assert run.damage == ["line 3: a second header line"]


REQUEST = RequestSample(t=1.5, intended=1.4, outcome=RequestOutcome.OK, worker=0, times={"ttft": 0.25})
PROBE = ProbeSample(name="stays up", verdict="pass", text="It does.", met=True, evidence={"idle": [0.1, None]})


def test_samples(tmp_path: Path) -> None:
    write(tmp_path / "run.ndjson", [REQUEST, PROBE])
    run = read_run(tmp_path)
    assert run.samples == [REQUEST, PROBE]
    assert run.samples_of(RequestSample) == [REQUEST]
    assert run.load is None


def test_samples_stand_in_flat_lines(tmp_path: Path) -> None:
    path = write(tmp_path / "run.ndjson", [REQUEST])
    assert json.loads(path.read_bytes().splitlines()[1]) == {
        **{"kind": "sample", "what": "request", "t": 1.5, "intended": 1.4, "outcome": "ok", "worker": 0},
        "ttft": 0.25,
    }


def test_numbers_that_json_lacks(tmp_path: Path) -> None:
    write(tmp_path / "run.ndjson", [replace(PROBE, evidence={"x": [float("nan"), {"y": float("-inf")}]})])
    (sample,) = read_run(tmp_path).samples_of(ProbeSample)
    assert sample.evidence == {"x": ["nan", {"y": "-inf"}]}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"what": "weather"}, "there is no sample 'weather'"),
        ({"outcome": "splendid"}, "Invalid enum value 'splendid' - at `$.outcome`"),
        ({"t": None}, "Expected `float`, got `null` - at `$.t`"),
        ({"ttft": "soon"}, "Expected `float`, got `str` - at `$.times[...]`"),
        ({"ttft": 10**400}, "out of range"),
        ({"rules": [7]}, "Expected `str`, got `int` - at `$.rules[0]`"),
    ],
)
def test_a_damaged_sample_is_left_out_with_a_reason(tmp_path: Path, fields: dict[str, Any], words: str) -> None:
    path = write(tmp_path / "run.ndjson", [REQUEST, PROBE], footer=False)
    line = json.loads(path.read_bytes().splitlines()[1])
    path.write_text(path.read_text() + json.dumps({**line, **fields}))
    run = read_run(path)
    assert run.samples == [REQUEST, PROBE]
    (damage,) = run.damage
    assert damage.startswith("line 4: not a valid sample line: ")
    assert words in damage


def test_fields_of_newer_versions_are_ignored(tmp_path: Path) -> None:
    path = write(tmp_path / "run.ndjson", [REQUEST], footer=False)
    line = json.loads(path.read_bytes().splitlines()[1])
    path.write_text(path.read_text() + json.dumps({**line, "mood": "fine"}))
    run = read_run(path)
    assert (run.samples, run.damage) == ([REQUEST, REQUEST], [])


def test_lines_are_on_disk_at_once(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "run.ndjson"
    with RunWriter(path) as writer:
        writer.header(HEADER)
        assert read_run(path).truncated


def test_writing_from_threads(tmp_path: Path) -> None:
    exchange = Exchange(
        id="x", request=Request("GET", "/"), outcome=Outcome.COMPLETE, chunks=(Chunk(0.0, b"z" * 9999),)
    )
    with RunWriter(tmp_path / "run.ndjson") as writer:
        writer.header(HEADER)

        def write_twenty() -> None:
            for _ in range(20):
                writer.exchange(exchange)

        threads = [threading.Thread(target=write_twenty) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    run = read_run(tmp_path)
    assert (len(run.exchanges), run.damage) == (160, [])


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file" / "run.ndjson", tmp_path):
        with pytest.raises(RunFileError, match="Cannot write"):
            RunWriter(path)
    with pytest.raises(RunFileError, match="no run file"):
        read_run(tmp_path / "none.ndjson")
    with pytest.raises(RunFileError, match="no run file"):
        read_run(tmp_path)
    with pytest.raises(RunFileError, match="Cannot read"):
        read_run(tmp_path / "file" / "run.ndjson")


def test_a_full_disk() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("needs /dev/full")
    writer = RunWriter(full)
    with pytest.raises(RunFileError, match="No space left"):
        writer.header(HEADER)
    writer.close()


def test_the_schema_is_a_fresh_copy() -> None:
    run_schema()["$defs"].clear()
    assert run_schema()["$defs"]


def test_damage_is_described_up_to_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "run.ndjson"
    path.write_text(json.dumps(HEADER.to_json()) + "\n" + "x\n" * 3000, "utf-8")
    run = read_run(path)
    assert (len(run.damage), run.damaged) == (INPUT_RUN_DAMAGE, 3000)


@pytest.mark.parametrize(("name", "limit", "kept"), [("INPUT_RUN_LINES", 4, 3), ("INPUT_RUN", 1000, 3)])
def test_what_is_over_the_limits_of_a_run_file_is_not_read(
    name: str, limit: int, kept: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.ndjson"
    header, sample = json.dumps(HEADER.to_json()), json.dumps({"kind": "sample", **REQUEST.to_json()})
    room = (1000 - len(header) - 1 - 3 * (len(sample) + 1)) * (name == "INPUT_RUN")
    path.write_text(f"{header}{' ' * max(0, room)}\n" + f"{sample}\n" * 9, "utf-8")
    monkeypatch.setattr(f"rejoinder.model.runfile.{name}", limit)
    run = read_run(path)
    assert len(run.samples) == kept
    (damage,) = run.damage
    assert damage.startswith(f"line {kept + 2} and those after it were not read: a run file has at most")
    assert run.truncated

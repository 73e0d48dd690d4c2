"""How results leave the generator: as lines for a parent process, or as a summary in the log."""

from __future__ import annotations

import errno
import io
import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest

from rejoinder.formatting import format_seconds
from rejoinder.load.generator.output import Output
from rejoinder.load.lifeline import output_part
from rejoinder.load.measure.self_check import SelfCheck
from rejoinder.load.measure.stats import RunStats, encode_stats
from rejoinder.load.run import Measured
from rejoinder.load.settings import LoadSettings
from rejoinder.model.histogram import Histogram
from rejoinder.model.outcomes import RequestOutcome

SETTINGS = LoadSettings(url="http://127.0.0.1", concurrency=1, duration=2.0, slos=("ttft:max<300ms",))


def report(*ttft: float) -> bytes:
    stats = RunStats()
    stats.histograms["ttft"] = stats.histograms["ttft_ok"] = Histogram()
    for seconds in ttft:
        stats.histograms["ttft"].add(seconds)
    stats.outcomes[RequestOutcome.OK] = len(ttft)
    return encode_stats(stats)


def test_a_parent_process_gets_lines(tmp_path: Path) -> None:
    with (tmp_path / "out").open("ab", buffering=0) as file:
        write_lines(Output(file, unexpected))
    lines = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["begin", "report", "check"]
    assert RunStats.from_json(lines[1]["stats"]).outcomes == {"ok": 1}
    assert lines[2]["check"]["started"] == 1


def unexpected(error: OSError) -> None:
    raise error


def test_after_a_line_that_was_not_written_whole_nothing_is_written() -> None:
    class Full(io.RawIOBase):
        """A file with room for 20 bytes."""

        data = b""

        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            room = bytes(data)[: 20 - len(self.data)]
            if not room:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self.data += room
            return len(room)

    errors: list[OSError] = []
    file = Full()
    output = Output(file, errors.append)
    for _ in range(3):
        output.line("begin", t0=3)
    assert [error.errno for error in errors] == [errno.ENOSPC]
    assert file.data == b'{"kind": "begin", "t'


def write_lines(output: Output) -> None:
    output.line("begin", t0=3)
    output.report(report(0.1))
    output.check(SelfCheck(started=1).to_json())
    assert output.to_file


@pytest.mark.parametrize(("slowest", "met"), [(0.2, True), (0.4, False)])
def test_plain_locust_gets_a_summary_of_all_reports(
    slowest: float, met: bool, caplog: pytest.LogCaptureFixture
) -> None:
    output = Output(None, unexpected)
    output.report(report(9.0))
    output.clear()
    for part in (report(0.1), report(slowest)):
        output.report(part)
    output.check(SelfCheck(started=2).to_json())
    with caplog.at_level(logging.INFO, "rejoinder.load"):
        assert output.log_summary(SETTINGS, issued=2.0) is met
    assert not output.to_file
    assert "2 requests started: ok 2" in caplog.text
    assert f"max {format_seconds(slowest):>12}" in caplog.text
    assert "p99    needs 100" in caplog.text
    assert "9000" not in caplog.text
    assert "ttft:max<300ms" in caplog.text


def test_a_long_run_begins_new_files_and_the_reader_removes_what_it_read(tmp_path: Path) -> None:
    path = tmp_path / "measured.ndjson"
    opened = [path.open("ab", buffering=0)]

    def next_part() -> io.RawIOBase:
        opened.append(output_part(path, len(opened)).open("ab", buffering=0))
        return opened[-1]

    output = Output(opened[0], unexpected, next_part, part_bytes=1000)
    seen: list[int] = []
    with Measured(path) as measured:
        for number in range(500):
            output.line("progress", number=number)
            if number % 90 == 0:
                seen += [json.loads(line)["number"] for line in measured.lines()]
                assert len(list(tmp_path.iterdir())) == 1
        assert len(list(tmp_path.iterdir())) > 2
        seen += [json.loads(line)["number"] for line in measured.lines()]
        (left,) = tmp_path.iterdir()
    opened[-1].close()
    assert [file.closed for file in opened] == [True] * len(opened)
    assert seen == list(range(500))
    assert left.stat().st_size < 1100


def test_a_folder_without_room_for_the_next_file_is_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "measured.ndjson"
    errors: list[OSError] = []

    def full() -> io.RawIOBase:
        raise OSError(errno.ENOSPC, "full")

    with path.open("ab", buffering=0) as file:
        output = Output(file, errors.append, full, part_bytes=50)
        for number in range(10):
            output.line("progress", number=number)
    assert [error.errno for error in errors] == [errno.ENOSPC]
    with Measured(path) as measured:
        assert [json.loads(line)["number"] for line in measured.lines()] == [0, 1]


def test_plain_locust_keeps_sums_and_no_requests() -> None:
    output = Output(None, unexpected)
    output.report(report(0.1, 0.2))
    first = len(repr(output._stats))
    for _ in range(200):
        output.report(report(0.1, 0.2))
    assert output._stats.histograms["ttft"].n == 402
    assert len(repr(output._stats)) < first + 200

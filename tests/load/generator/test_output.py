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
from rejoinder.load.measure.self_check import SelfCheck
from rejoinder.load.measure.stats import RunStats, encode_stats
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

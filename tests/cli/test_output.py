"""An output that is full, closed or gone: a sentence, and no run is lost with what it prints."""

from __future__ import annotations

import errno
import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rejoinder import cli
from rejoinder.cli._progress import Steps
from rejoinder.cli._run import new_folder, recording
from rejoinder.cli._terminal import echo, output, show
from rejoinder.errors import ExitCode, RunWriteError, UsageError
from rejoinder.interrupts import INTERRUPTS, interrupts
from rejoinder.model.runfile import read_run
from rejoinder.sandbox import Sandbox, running

Invoke = Callable[..., tuple[int, str, str]]
full = Path("/dev/full")
needs_full = pytest.mark.skipif(not full.exists(), reason="The system has no /dev/full.")


class Failing(io.StringIO):
    """A file whose writes fail."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def write(self, text: str) -> int:
        raise OSError(self.number, os.strerror(self.number))


@contextmanager
def streams(monkeypatch: pytest.MonkeyPatch, out: Any, err: Any) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        yield


def run(*words: str, stdout: Any = subprocess.PIPE, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rejoinder", *words]
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, cwd=folder, timeout=120)


@needs_full
@pytest.mark.slow(3)
@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize(("words", "what"), [(["rules"], "to standard output"), (["--help"], "the output")])
def test_a_full_output_is_a_sentence(
    words: list[str], what: str, unbuffered: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    with full.open("w") as out:
        ended = run(*words, stdout=out, folder=tmp_path)
    assert ended.returncode == ExitCode.NOT_TESTED
    assert ended.stderr.startswith(f"Error: Cannot write {what}: No space left on device.")
    assert "crash" not in ended.stderr


@pytest.mark.parametrize("number", [errno.EPIPE, errno.ENOSPC, errno.EIO])
def test_what_standard_error_cannot_take_is_dropped(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    with streams(monkeypatch, out, Failing(number)):
        echo("lost", err=True)
        show("lost", err=True)
        with Steps() as steps:
            steps.step("Sending")
            steps.say("lost")
        echo("kept")
    assert out.getvalue() == "kept\n"


def test_only_an_output_without_a_reader_may_fail_silently(monkeypatch: pytest.MonkeyPatch) -> None:
    with streams(monkeypatch, Failing(errno.EPIPE), io.StringIO()):
        echo("dropped")
        show("dropped")
        assert output().write("dropped") == 7
    for number in (errno.ENOSPC, errno.EIO):
        for write in (echo, show):
            with (
                streams(monkeypatch, Failing(number), io.StringIO()),
                pytest.raises(UsageError, match="Cannot write to standard output"),
            ):
                write("text")


def test_a_command_may_run_without_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    with streams(monkeypatch, None, None):
        echo("lost")
        echo("lost", err=True)
        show("lost")
        with Steps() as steps:
            steps.say("lost")


@pytest.mark.slow(4)
def test_a_check_goes_on_when_nobody_reads_its_progress(tmp_path: Path) -> None:
    with running(Sandbox(min_tokens=0)) as url:
        words = [sys.executable, "-m", "rejoinder", "check", url, "--plan", "smoke", "--out", "out"]
        with subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            assert process.stdout is not None
            process.stdout.close()
            assert process.wait(120) == ExitCode.PASSED
    recorded = read_run(tmp_path / "out")
    assert recorded.footer is not None
    assert recorded.verdicts
    assert (tmp_path / "out" / "report.html").exists()


def test_a_summary_that_cannot_be_printed_leaves_the_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rejoinder.cli._run import close_run
    from rejoinder.model.header import RunTarget

    with recording(tmp_path / "out") as recorder:
        recorder.write_header(RunTarget(url="http://127.0.0.1", model="m", dialect="northstar"))
        recorder.footer(ExitCode.PASSED)
    with streams(monkeypatch, Failing(errno.ENOSPC), io.StringIO()), pytest.raises(RunWriteError) as error:
        close_run(recorder)
    assert error.value.exit_code == ExitCode.INCOMPLETE
    assert "report.html" in error.value.hint
    assert (tmp_path / "out" / "report.html").exists()


def test_a_disk_that_is_full_of_the_reports_leaves_the_summary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from rejoinder.cli._run import close_run
    from rejoinder.model.header import RunTarget

    with recording(tmp_path / "out") as recorder:
        recorder.write_header(RunTarget(url="http://127.0.0.1", model="m", dialect="northstar"))
        recorder.footer(ExitCode.PASSED)

    def fail(*_: Any, **__: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", fail)
    with pytest.raises(RunWriteError, match=r"Cannot write .*report.html: No space left on device") as error:
        close_run(recorder)
    assert "to another folder" in error.value.hint
    assert "run file" in capsys.readouterr().out
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["run.ndjson"]


@pytest.mark.parametrize("command", ["report", "diff", "compare"])
def test_a_command_that_is_terminated_while_it_renders_writes_nothing(
    command: str, invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rejoinder.model.header import RunTarget

    with recording(tmp_path / "out") as recorder:
        recorder.write_header(RunTarget(url="http://127.0.0.1", model="m", dialect="northstar"))
        recorder.footer(ExitCode.PASSED)

    def terminated(*_: Any, **__: Any) -> str:
        os.kill(os.getpid(), signal.SIGTERM)
        return ""

    for name in ("render_html", "render_diff_html", "render_comparison"):
        monkeypatch.setattr(f"rejoinder.reports.{name}", terminated)
    runs = ["out"] if command == "report" else ["out", "out"]
    code, _, err = invoke(command, *runs, "--html", "page.html")
    assert (code, err) == (ExitCode.INTERRUPTED, "Interrupted.\n")
    assert not (tmp_path / "page.html").exists()


def test_a_crash_whose_traceback_cannot_be_kept_is_still_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def crash(*_: Any, **__: Any) -> None:
        raise ValueError("odd")

    def no_file(*_: Any, **__: Any) -> None:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.setattr(cli.cli, "main", crash)
    monkeypatch.setattr("tempfile.NamedTemporaryFile", no_file)
    with pytest.raises(SystemExit) as ended:
        cli.main(["rules"])
    printed = capsys.readouterr().err
    assert ended.value.code == ExitCode.NOT_TESTED
    assert "rejoinder crashed: ValueError: odd" in printed
    assert "could not be written to a temporary file: No usable temporary directory found" in printed


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a.txt"), "Cannot write a.txt: No space left on device."),
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE)), "rejoinder cannot open more files: Too many open files."),
        (OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), "x" * 5000), f"Cannot use {'x' * 199}"),
        (MemoryError(), "rejoinder has no memory left."),
    ],
)
def test_what_the_system_refuses_is_no_crash(
    error: Exception, sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(cli.cli, "main", fail)
    with pytest.raises(SystemExit):
        cli.main(["rules"])
    assert capsys.readouterr().err.startswith(f"Error: {sentence}")


@pytest.mark.parametrize(
    "words",
    [
        ["report"],
        ["check", "http://127.0.0.1:9", "--extension"],
        ["load", "http://127.0.0.1:9", "--profile"],
        ["check", "http://127.0.0.1:9", "--out"],
    ],
)
def test_a_name_that_is_too_long_is_a_sentence(words: list[str], invoke: Invoke) -> None:
    code, _, err = invoke(*words, "x" * 5000)
    assert code == ExitCode.NOT_TESTED
    assert err.startswith("Error: Cannot ")
    assert "crash" not in err


@pytest.mark.parametrize("setting", ['dialect = "a\\u0000.toml"', 'extension = ["a\\u0000"]', 'model = "a\\u0000"'])
def test_a_setting_with_nul_is_a_sentence(setting: str, invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "rejoinder.toml").write_text(setting)
    code, _, err = invoke("check", "http://127.0.0.1:9")
    assert code == ExitCode.NOT_TESTED
    assert "has the character NUL." in err


@pytest.mark.slow(2)
def test_a_folder_that_was_removed_is_a_sentence(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    program = (
        f"import os; os.rmdir({str(gone)!r}); from rejoinder.cli import main; main(['check', 'http://127.0.0.1:9'])"
    )
    ended = subprocess.run([sys.executable, "-P", "-c", program], cwd=gone, capture_output=True, text=True, timeout=120)
    assert ended.returncode == ExitCode.NOT_TESTED
    assert ended.stderr.startswith("Error: The current folder does not exist.\n")


def test_two_runs_never_share_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("time.strftime", lambda _: "20260101-000000")
    # None of them has recorded anything yet.
    names = [new_folder(None).name for _ in range(3)]
    assert names == ["20260101-000000", "20260101-000000-2", "20260101-000000-3"]
    new_folder(tmp_path / "named")
    with pytest.raises(UsageError, match="already contains a run"):
        new_folder(tmp_path / "named")


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="The system has no SIGHUP.")
def test_a_terminal_that_closes_interrupts() -> None:
    seen: list[int] = []
    assert signal.SIGHUP in INTERRUPTS
    with interrupts(lambda: seen.append(1)):
        os.kill(os.getpid(), signal.SIGHUP)
    assert seen == [1]

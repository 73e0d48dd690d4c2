"""Whatever an endpoint or a file sends: what the commands print acts on no terminal, and no CI system obeys it."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest

from rejoinder.cli import main
from rejoinder.cli._run import recording
from rejoinder.model.header import RunTarget

Invoke = Callable[..., tuple[int, str, str]]

TEXT = "the endpoint wrote a sentence ::error title=x::obeyed ##[error]obeyed ##vso[x]obeyed ##teamcity[x] "
NAUGHTY = "::error::first\r\n::error::second\n##vso[x]\u202e\x1b[31m\x9b\u2028--- obeyed\n"
NAUGHTY += f"{TEXT * 3}section_start:1:x\r\x1b[0K"
HEADERS = b"server: ::error::server ##vso[x] \xff\r\n##vso: ::error:: ##vso[x]\r\n\r\n"


class CountingServer(ThreadingHTTPServer):
    """``number`` is how many requests were posted."""

    number = 0


class Endpoint(BaseHTTPRequestHandler):
    """Answers everything with texts that want to be more than text."""

    protocol_version = "HTTP/1.1"
    server: CountingServer

    def do_GET(self) -> None:
        if self.path == "/metrics":
            self.answer(200, f'vllm:{TEXT}{{model="{TEXT}"}} 1\n{NAUGHTY}'.encode(), "text/plain")
        else:
            self.reply(200, {"object": "list", "data": [{"id": NAUGHTY, "object": "model"}]})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        self.server.number += 1
        message = {"message": NAUGHTY, "type": NAUGHTY, "code": NAUGHTY, "param": NAUGHTY}
        match self.server.number % 5:
            case 0:
                self.reply(400, {"error": message})
            case 1:
                item = {"type": NAUGHTY, "id": NAUGHTY, "status": NAUGHTY, "role": NAUGHTY, NAUGHTY: NAUGHTY}
                self.reply(200, {"object": NAUGHTY, "id": NAUGHTY, "status": NAUGHTY, "output": [item]})
            case 2:
                event = json.dumps({"type": NAUGHTY, "delta": NAUGHTY, "item_id": NAUGHTY})
                self.answer(200, f"event: {TEXT}\ndata: {event}\n\n::error::\n\n".encode(), "text/event-stream")
            case 3:
                self.answer(200, NAUGHTY.encode(), TEXT)
            case _:
                self.reply(500, {"error": message})

    def reply(self, status: int, value: object) -> None:
        self.answer(status, json.dumps(value).encode(), "application/json")

    def answer(self, status: int, body: bytes, media: str) -> None:
        head = f"HTTP/1.1 {status} {TEXT}\r\ncontent-type: {media}\r\ncontent-length: {len(body)}\r\n"
        self.wfile.write(head.encode() + HEADERS + body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = CountingServer(("127.0.0.1", 0), Endpoint)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def recorded(endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a check of the endpoint."""
    folder: Path = tmp_path_factory.mktemp("recorded") / "run"
    with pytest.raises(SystemExit):
        main(["check", endpoint, "--plan", "smoke", "--quiet", "--timeout", "20", "--out", str(folder)])
    return folder


def check_output(surfaces: ModuleType, *texts: str) -> None:
    for text in texts:
        assert surfaces.obeyed(text) == []
        assert not surfaces.ACTIVE.search(text)


@pytest.mark.slow(4)
def test_a_check_prints_only_text(endpoint: str, invoke: Invoke, surfaces: ModuleType) -> None:
    code, out, err = invoke("check", endpoint, "--plan", "smoke", "--timeout", "20", "--out", "run")
    assert code == 1
    assert "the endpoint wrote a sentence" in out
    check_output(surfaces, out, err)
    for name in ("run/report.html", "run/junit.xml"):
        assert not surfaces.ACTIVE.search(Path(name).read_text("utf-8").partition("<script>")[0])


@pytest.mark.slow(8)
def test_a_load_prints_only_text(endpoint: str, invoke: Invoke, surfaces: ModuleType) -> None:
    words = ("--requests", "10", "--concurrency", "2", "--metrics", f"{endpoint}/metrics", "--out", "run")
    code, out, err = invoke("load", endpoint, *words)
    assert code in (1, 4)
    assert "10 requests" in out + err
    check_output(surfaces, out, err)


@pytest.mark.slow(6)
@pytest.mark.parametrize("columns", [30, 80, 180])
def test_commands_on_a_recording_print_only_text(
    columns: int, recorded: Path, endpoint: str, invoke: Invoke, surfaces: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    run = str(recorded)
    seen = ""
    for words in (
        ("report", run),
        ("report", run, "--markdown", "-"),
        ("recheck", run, "--out", "again"),
        ("diff", run, "again"),
        ("diff", run, "again", "--markdown", "-"),
        ("compare", run, "again"),
        ("replay", run),
        ("baseline", "update", run, "--baseline", "known.toml", "--reason", "::error::reason"),
        ("baseline", "show", "--baseline", "known.toml"),
        ("baseline", "update", "again", "--baseline", "known.toml", "--dry-run", "--reason", "x"),
    ):
        code, out, err = invoke(*words)
        assert code in (0, 1), err
        check_output(surfaces, out, err)
        seen += out
    assert "the endpoint wrote a sentence" in seen
    fingerprint = next(line.split()[0] for line in invoke("replay", run)[1].splitlines() if not line.startswith(" "))
    if columns == 80:
        code, out, err = invoke("replay", run, fingerprint, "--url", endpoint, "--timeout", "20")
        assert code in (0, 1, 2)
        assert "rejoinder-runs" in out
        check_output(surfaces, out, err)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("check", "http://127.0.0.1:1/\x1b[31m::error::"), 2),
        (("check", "::error::\u202e"), 2),
        (("load", "http://127.0.0.1:9", "--profile", "naughty.toml"), 2),
        (("check", "http://127.0.0.1:9", "--dialect", "naughty.toml"), 2),
        (("check", "http://127.0.0.1:9", "--baseline", "naughty.toml"), 2),
        (("report", "::error::\x1b[31m\n##vso[x]"), 2),
        (("check", "http://127.0.0.1:9", "--select", "\n::error::"), 2),
        (("\n::error::\x1b[31m",), 2),
        (("check", "http://127.0.0.1:9", "--\n::error::\x1b[31m"), 2),
        (("check", "http://127.0.0.1:9", "--concurrency", "\n::error::\x1b[31m"), 2),
        (("check", "http://127.0.0.1:9", "--timeout", "nan"), 2),
    ],
)
def test_errors_print_only_text(words: tuple[str, ...], code: int, invoke: Invoke, surfaces: ModuleType) -> None:
    Path("naughty.toml").write_text('"\\n::error::\\u001b[31m##vso[x]\\u202e" = 1\n', "utf-8")
    result, out, err = invoke(*words)
    assert result == code
    assert err
    check_output(surfaces, out, err)


def test_unknown_settings_print_only_text(invoke: Invoke, surfaces: ModuleType) -> None:
    Path("rejoinder.toml").write_text('"\\n::error::\\u001b[31m##vso[x]\\u202e" = 1\n', "utf-8")
    code, out, err = invoke("check", "http://127.0.0.1:9")
    assert code == 2
    assert "rejoinder.toml" in err
    check_output(surfaces, out, err)


def test_an_output_without_unicode_gets_the_same_words(recorded: Path) -> None:
    for words in (["report"], ["report", "--markdown", "-"], ["replay"]):
        done = subprocess.run(
            [sys.executable, "-m", "rejoinder", words[0], str(recorded), *words[1:]],
            env={**os.environ, "PYTHONIOENCODING": "ascii"},
            capture_output=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert b"the endpoint wrote a sentence" in done.stdout


def test_the_commands_print_through_one_module() -> None:
    found = find_spec("rejoinder.cli")
    assert found is not None
    assert found.origin is not None
    nodes = [
        (path.name, node)
        for path in Path(found.origin).parent.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
    ]
    calls = {(file, ast.unparse(node.func)) for file, node in nodes if isinstance(node, ast.Call)}
    printing = {(file, name) for file, name in calls if name in ("print", "click.echo", "click.secho", "Console")}
    assert printing == {("_terminal.py", "Console"), ("_progress.py", "Console")}
    names = [(file, ast.unparse(node)) for file, node in nodes if isinstance(node, ast.Attribute)]
    assert {file for file, name in names if name in ("sys.stdout", "sys.stderr")} == {"_terminal.py"}


@pytest.mark.slow(3)
def test_names_of_files_are_only_text(invoke: Invoke, tmp_path: Path, surfaces: ModuleType) -> None:
    with recording(tmp_path / "plain") as recorder:
        recorder.write_header(RunTarget(url="http://127.0.0.1", model="m", dialect="northstar"))
        recorder.footer(0)
    plain = (tmp_path / "plain/run.ndjson").read_bytes()
    for number, marker in enumerate(surfaces.MARKERS):
        folder = tmp_path / f"{number}" / marker.lstrip("/")
        folder.mkdir(parents=True)
        (folder / "run.ndjson").write_bytes(plain)
        name = str(folder.relative_to(tmp_path))
        for words in (
            ["report", name, f"--html={number}/{marker}.html", f"--csv={number}/{marker}.csv"],
            ["diff", name, "plain", f"--markdown={number}/{marker}.md"],
            ["compare", name, name, f"--html={number}/{marker}.html"],
            ["report", f"{number}/{marker}.none"],
            ["recheck", name],
            ["replay", name],
            ["check", "http://127.0.0.1:9", f"--dialect={marker}", f"--out={number}/{marker}-out", "--quiet"],
            ["load", "http://127.0.0.1:9", f"--profile={marker}", "--quiet"],
        ):
            _, out, err = invoke(*words)
            assert surfaces.obeyed(out + err) == []
            assert surfaces.ACTIVE.findall(out + err) == []
        comparison = (tmp_path / f"{number}/{marker}.html").read_text("utf-8")
        assert marker not in comparison or not re.search("[<>&\"']", marker)

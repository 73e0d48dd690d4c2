"""vLLM itself, which takes minutes to start: `tox -e vllm` with the path of a script in VLLM_SERVER.

The script gets the port in PORT, and serves vLLM there with the response store and `--enable-scale-out`
(docs/findings/vllm.toml names the rest of its options).
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.load_module import load_module

from rejoinder.cli import main
from rejoinder.model.runfile import read_run

ROOT = Path(__file__).parents[2]
START_LIMIT = 1800.0
"""Seconds for installing and starting vLLM."""


@pytest.fixture(scope="module")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    script = os.environ.get("VLLM_SERVER")
    if not script:
        pytest.skip("VLLM_SERVER names no script that starts vLLM")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    log = tmp_path_factory.mktemp("vllm") / "log"
    environment = {**os.environ, "PORT": str(port), "STORE": "1", "EXTRA": "--enable-scale-out"}
    with log.open("wb") as output:
        process = subprocess.Popen([script], env=environment, stdout=output, stderr=output, start_new_session=True)
        try:
            deadline = time.monotonic() + START_LIMIT
            while True:
                assert process.poll() is None, log.read_text("utf-8", "replace")[-4000:]
                assert time.monotonic() < deadline, log.read_text("utf-8", "replace")[-4000:]
                try:
                    if httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False).is_success:
                        break
                except httpx.TransportError:
                    time.sleep(1)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@pytest.mark.may_skip
def test_every_finding_on_vllm_is_labelled(vllm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["check", vllm, "--dialect", "auto", "--plan", "full", "--timeout", "60", "--out", "out", "--quiet"])
    assert ended.value.code == 1
    run, tool = read_run("out"), load_module("tools/findings.py")
    assert run.header.target.dialect == "vllm"
    assert run.header.target.dialect_reason
    table = tool.read_labels(ROOT / "docs" / "findings" / "vllm.toml")
    assert tool.unlabelled(run, table) == []
    # Sampling of a tiny model may hide a defect, so not every labelled one shows in each run.
    assert len(tool.gone(run, table)) <= len(table["finding"]) // 4

"""A sequence as a shell script: it runs, takes values from earlier replies, and shows the defect."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import ModuleType
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rejoinder.formatting import printable
from rejoinder.model.exchange import Request
from rejoinder.model.script import Step, Taken
from rejoinder.model.tags import Tag
from rejoinder.reports.curl import curl, json_body, script
from rejoinder.sandbox import Sandbox, running

HEADERS = (("content-type", "application/json"), ("authorization", "***"))


def post(body: object, path: str = "/v1/responses") -> Request:
    return Request("POST", path, HEADERS, json.dumps(body).encode())


def sent(text: str, folder: Path) -> list[tuple[str, str]]:
    """Run a script, and return status line and body of each reply."""
    environment = {"PATH": "/usr/bin:/bin:/usr/local/bin", "TMPDIR": str(folder), "REJOINDER_API_KEY": "k"}
    done = subprocess.run(
        ["bash"], input=text, text=True, capture_output=True, timeout=120, env=environment, check=False, cwd=folder
    )
    assert done.stderr == "", done.stderr
    replies = done.stdout.split("--- reply ")[1:]
    return [(reply.partition("\n")[0].partition(": ")[2], reply.partition("\n")[2].strip()) for reply in replies]


def deleted(stream: bool) -> tuple[Step, ...]:
    path = "/v1/responses/resp_1"
    taken = (Taken(0, "/id", text="resp_1"),)
    return (
        Step(post({"model": "parrot", "input": "Say hello.", "stream": stream}), "c", "first"),
        Step(Request("DELETE", path, HEADERS), "c", "delete", taken=taken),
        Step(Request("GET", path, HEADERS), "c", "get", taken=taken),
    )


@pytest.mark.slow(2)
@pytest.mark.parametrize("stream", [False, True])
def test_a_script_shows_the_defect(tmp_path: Path, stream: bool) -> None:
    sandbox = Sandbox(faults=("delete-without-effect",))
    with running(sandbox) as url:
        text, whole = script(url, deleted(stream))
        assert whole
        faulty = sent(text, tmp_path)
        sandbox.variations = ()
        clean = sent(text, tmp_path)
    assert [status.split()[1] for status, _ in faulty] == ["200", "200", "200"]
    assert [status.split()[1] for status, _ in clean] == ["200", "200", "404"]
    assert json.loads(faulty[2][1])["id"] in faulty[0][1]


@pytest.mark.slow(2)
def test_items_and_ids_of_earlier_replies_go_into_later_bodies(tmp_path: Path) -> None:
    body = {
        "model": "parrot",
        "input": [{"role": "user", "content": 'It costs $HOME `date` \\ "5".'}, {"id": "msg_1"}],
        "previous_response_id": "resp_1",
        "metadata": {"a/b": "x"},
    }
    taken = (Taken(0, "/id", "/previous_response_id"), Taken(0, "/output/0", "/input/1"))
    steps = (
        Step(post({"model": "parrot", "input": 'Say $HOME `date` \\ "5".'}), "c", "first"),
        Step(post(body), "c", "next", taken=taken),
    )
    with running(Sandbox()) as url:
        first, following = sent(script(url, steps)[0], tmp_path)
    assert '$HOME `date` \\\\ \\"5\\"' in first[1]
    reply = json.loads(following[1])
    assert reply["previous_response_id"] == json.loads(first[1])["id"]
    assert "It costs $HOME `date`" in json.dumps(reply["output"])


@pytest.mark.slow(2)
def test_what_is_stopped_polled_or_sent_together(tmp_path: Path) -> None:
    taken = (Taken(0, "/id", text="resp_1"),)
    story = {"model": "parrot", "input": "Tell a story.", "background": True, "stream": True, "max_output_tokens": 64}
    steps = (
        Step(post(story), "c", "left", read_limit=2500),
        Step(Request("GET", "/v1/responses/resp_1", HEADERS), "c", "poll", taken=taken, until_ended=True),
        Step(Request("GET", "/v1/responses/resp_1", HEADERS), "c", "one", taken=taken),
        Step(Request("GET", "/v1/models", HEADERS), "c", "two", beside=True, wait=0.1),
    )
    with running(Sandbox()) as url:
        left, poll, one, two = sent(script(url, steps)[0], tmp_path)
    assert len(left[1]) <= 2500
    assert json.loads(poll[1])["status"] == "incomplete"  # after its 64 tokens
    assert json.loads(one[1])["id"] == json.loads(poll[1])["id"]
    assert json.loads(two[1])["object"] == "list"


def test_escapes_that_nothing_needs_stay() -> None:
    body = b'{"input": "Say \\u0068ello."}'
    command, whole = curl("http://h/v1/responses", Request("POST", "/v1/responses", HEADERS, body))
    assert whole
    assert "\\u0068ello" in command
    unneeded = b'{"input": "C:\\\\u0068 \\u00e9"}'
    assert json_body(unneeded) is not None


@pytest.mark.parametrize(("coding", "kept"), [("gzip, deflate", True), ("identity", False)])
def test_a_request_for_compression_is_kept(coding: str, kept: bool) -> None:
    request = Request("POST", "/v1/responses", (*HEADERS, ("accept-encoding", coding)), b"{}")
    command, whole = curl("http://h:1", request)
    assert whole
    assert (f"accept-encoding: {coding}" in command) is kept


def test_keys_are_never_written() -> None:
    request = Request("GET", "/v1/responses/resp_1", HEADERS)
    steps = [Step(request, tenant=2), Step(request, tags=(Tag.WRONG_KEY,)), Step(request)]
    text, _ = script("http://h/v1/responses", steps)
    found = [line.split(": ")[1] for line in text.splitlines() if "authorization" in line]
    assert found == ['Bearer $REJOINDER_SECOND_API_KEY"', 'Bearer rejoinder-wrong-key"', 'Bearer $REJOINDER_API_KEY"']


@pytest.mark.slow(5)
@settings(max_examples=30)
@given(st.text(min_size=1, max_size=30), st.text(max_size=30), st.text(max_size=20))
def test_recorded_text_cannot_leave_its_quotes(identity: str, content: str, key: str) -> None:
    """Whatever an endpoint made its ids and fields of, the shell reads the script as it stands, and runs none of it."""
    escaped = quote(identity.encode("utf-8", "replace"), safe="")
    pointer = "/output/0/" + key.replace("~", "~0").replace("/", "~1")
    steps = (
        Step(post({"input": content}), "c", "first"),
        Step(Request("GET", f"/v1/responses/{escaped}", HEADERS), "c", "get", taken=(Taken(0, pointer, text=escaped),)),
        Step(post({"input": content, key: identity}), "c", "next", taken=(Taken(0, pointer, "/input"),)),
    )
    text, _ = script("http://h/v1/responses", steps)
    assert printable(text) == text
    stand_ins = "curl() { :; }\npython3() { cat > /dev/null; }"
    ran = subprocess.run(
        ["bash", "-c", f"{stand_ins}\n{text}\necho reached the end"],
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert ran.stdout.endswith("reached the end\n")
    assert not [line for line in ran.stderr.splitlines() if "not found" in line or "yntax" in line]


COMMANDS = "##vso[x] section_start:1:x [[ATTACHMENT|x]] ##[error]"


@pytest.mark.parametrize(
    "body", [json.dumps({"input": COMMANDS}).encode(), f"::error::{COMMANDS}".encode(), b"\xff##[x]"]
)
def test_a_command_of_a_ci_system_is_sent_but_not_shown(body: bytes, surfaces: ModuleType) -> None:
    request = Request("POST", f"/v1/{COMMANDS}/x", (("content-type", "text/plain"), ("x-marks", COMMANDS)), body)
    text, _ = curl("http://127.0.0.1:1", request)
    steps = (Step(request, "c", "a"), Step(request, "c", "b", taken=(Taken(0, "/id", text="/x"),)))
    for shown in (text, script("http://127.0.0.1:1", steps)[0]):
        assert surfaces.obeyed(shown) == []
    done = subprocess.run(
        ["bash", "-c", f"curl() {{ printf '%s\\n' \"$@\"; }}\n{text}"], capture_output=True, timeout=60, check=True
    )
    assert f"http://127.0.0.1:1/v1/{COMMANDS}/x".encode() in done.stdout
    assert f"x-marks: {COMMANDS}".encode() in done.stdout
    if body.startswith(b"{"):
        document = text.partition("<<'JSON'\n")[2].rpartition("\nJSON")[0]
        assert json.loads(document) == json.loads(body)
    else:
        assert body in done.stdout

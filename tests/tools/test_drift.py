"""The comparison of newer references with the dialects."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from tests.load_module import load_module

from rejoinder.contract import load_dialect

drift: Any = load_module("tools/drift.py")
EVENTS = 'sent = "response.completed"\n'


def source(request: str = "", response: str = "", **changed: str) -> str:
    """Return a module of vLLM that has the fields of the dialect, with some changed or added."""
    dialect = load_dialect("vllm")
    lines = ["LOW = -(2**63)", "class ResponsesRequest(Base):"]
    lines += [f"    {name}: {changed.get(name, 'Imported')}" for name in dialect.request_schema()["properties"]]
    lines += [f"    {request}", "class ResponsesResponse(Base):"] if request else ["class ResponsesResponse(Base):"]
    lines += [f"    {name}: Imported" for name in dialect.schema("response")["properties"]]
    return "\n".join([*lines, f"    {response}" if response else ""])


@pytest.mark.parametrize(
    ("module", "found"),
    [
        (source(), {}),
        (source(request="thought: str"), {"request.thought": "missing here"}),
        (source(request="_private: str"), {}),
        (source(response="thought: str | None = None"), {"response.thought": "missing here"}),
        (source(seed="int | str"), {"request.seed: types": "['integer', 'string'] there, ['integer', 'null'] here"}),
        (source(seed="int | None = Field(None, ge=LOW, le=2**63 - 1)"), {}),
        (
            source(seed="int | None = Field(None, ge=LOW, le=9)"),
            {"request.seed: maximum": f"9 there, {2**63 - 1} here"},
        ),
        (source(truncation='Literal["auto", "disabled"]'), {}),
        (source(truncation='Literal["auto", "often"]'), {"request.truncation: values": "['disabled', 'often']"}),
        (source(stop="Stop") + "\nStop = str | list[str] | None", {}),
        (source(background="list[bool]"), {"request.background: types": "['array'] there, ['boolean', 'null'] here"}),
    ],
)
def test_vllm_is_compared_field_by_field(module: str, found: dict[str, str]) -> None:
    assert drift.vllm_differences(module, EVENTS) == found


def test_fields_that_vllm_lost_and_events_that_it_gained_are_found() -> None:
    module = source().replace("    seed: Imported\n", "")
    assert drift.vllm_differences(module, 'sent = ["response.thought.delta", "response.completed"]') == {
        "request.seed": "missing there",
        "event response.thought.delta": "missing here",
    }


@pytest.mark.slow(3)
def test_a_wheel_is_read_without_running_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wheel = tmp_path / "vllm-9.9-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"{drift.VLLM_FOLDER}/protocol.py", source(request="thought: str") + "\nraise SystemExit\n")
        archive.writestr(f"{drift.VLLM_FOLDER}/streaming_events.py", EVENTS)
    assert drift.main(["vllm", "--vllm", str(wheel)]) == 1
    assert capsys.readouterr().out == "vLLM 9.9: 1 difference\n  request.thought: missing here\n"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(None, "no-such.whl"), ("", "is not a zip file"), ({}, "There is no item named"), ({"protocol.py": "x = 1"}, "")],
)
def test_a_wheel_that_cannot_be_read_is_one_sentence(
    content: Any, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wheel = tmp_path / ("no-such.whl" if content is None else "vllm-1-any.whl")
    if content == "":
        wheel.write_text("nothing")
    elif content is not None:
        with zipfile.ZipFile(wheel, "w") as archive:
            for name, text in content.items():
                archive.writestr(f"{drift.VLLM_FOLDER}/{name}", text)
    assert drift.main(["vllm", "--vllm", str(wheel)]) == 2
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("vllm: not compared. ")
    assert sentence in line


@pytest.mark.parametrize("package", ["openai", "tzafon"])
def test_what_only_the_newest_release_shows_is_drift(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    walked = {
        "pinned": {"version": "1", "differences": {"same": "null", "changed": "null", "gone": "types"}},
        "newest": {"version": "2", "differences": {"same": "null", "changed": "types", "new": "missing here"}},
    }
    monkeypatch.setattr(drift, "_walked", lambda _, requirement, folder: walked[folder.name])
    assert drift.main([package]) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"{package} 2 beside 1: 3 differences",
        "  changed: types",
        "  gone: no longer: types",
        "  new: missing here",
    ]
    walked["newest"] = walked["pinned"]
    assert drift.main([package]) == 0


@pytest.mark.slow(5)
@pytest.mark.parametrize("package", sorted(drift.WALKS))
def test_the_releases_that_are_pinned_can_be_walked(package: str) -> None:
    command = [sys.executable, drift.__file__, "--walk", package]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    walked = json.loads(done.stdout)
    assert walked["version"]
    # What is meant is listed by tests/contract/test_typed_references.py.
    assert 0 < len(walked["differences"]) < 100
    assert not [place for place in walked["differences"] if place.startswith("event ") and "." not in place]


@pytest.mark.slow(3)
def test_an_open_responses_document_is_compared_with_the_published_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = json.loads(drift.PUBLISHED.read_text("utf-8"))
    file = tmp_path / "newest.json"
    file.write_text(json.dumps(document))
    assert drift.main(["--openresponses", str(file)]) == 0
    body = document["components"]["schemas"]["CreateResponseBody"]["properties"]
    body["thought"] = {"type": "string", "patternProperties": {}}
    del body["store"]
    file.write_text(json.dumps(document))
    capsys.readouterr()
    assert drift.main(["--openresponses", str(file)]) == 1
    head, *lines = capsys.readouterr().out.splitlines()
    assert head == f"Open Responses {document['info']['version']}: {len(lines)} differences"
    assert [line for line in lines if " thought: presence" in line or " store: presence" in line] == [
        "  request store: presence: True published, absent there",
        "  request thought: presence: absent published, True there",
    ]
    file.write_text("{}")
    assert drift.main(["--openresponses", str(file)]) == 2
    assert capsys.readouterr().out.startswith("openresponses: not compared. ")


def test_an_unknown_source_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        drift.main(["azure"])
    assert '"azure" is not a source' in capsys.readouterr().err

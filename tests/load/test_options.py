"""Settings and bodies: what can be used, and what is said of the rest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rejoinder.errors import RejoinderError, UsageError
from rejoinder.load.settings import LoadSettings
from rejoinder.load.workload.request_source import RequestSource

URL = "http://127.0.0.1:8000"


@pytest.mark.parametrize(
    ("url", "completed"),
    [
        ("http://h", "http://h/v1/responses"),
        ("http://h:81/v1", "http://h:81/v1/responses"),
        ("http://h/api/responses?x=1", "http://h/api/responses?x=1"),
    ],
)
def test_urls_are_completed(url: str, completed: str) -> None:
    assert LoadSettings(url=url).address().url == completed


@pytest.mark.parametrize("url", ["", "http://h:x", "http://u:p@h"])
def test_other_urls_are_a_clear_error(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        LoadSettings(url=url, concurrency=1).check()
    assert "p@" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "either a concurrency or a rate"),
        ({"concurrency": 1, "rate": 1.0}, "either a concurrency or a rate"),
        ({"concurrency": 0}, "concurrency is 0"),
        ({"concurrency": -3}, "concurrency is -3"),
        ({"rate": 0.0}, "rate is 0"),
        ({"rate": float("nan")}, "rate is nan"),
        ({"rate": 1.0, "duration": 0.0}, "duration is 0"),
        ({"rate": 1.0, "requests": 0}, "requests is 0"),
        ({"rate": 1.0, "duration": float("inf")}, "duration is inf"),
        ({"rate": 1.0, "duration": 1e9}, "duration is 1e+09"),
        ({"rate": 1.0, "arrivals": "often"}, "often"),
        ({"rate": 1.0, "dialect": "klingon"}, "klingon"),
        ({"concurrency": 1, "processes": 2}, "2 processes cannot share 1"),
        ({"rate": 1.0, "max_output_tokens": -1}, "max-output-tokens is -1"),
        ({"rate": 1.0, "idle_timeout": 0.0}, "idle-timeout is 0"),
    ],
)
def test_settings_that_make_no_sense_are_a_clear_error(values: dict[str, Any], words: str) -> None:
    with pytest.raises(RejoinderError, match=words.replace("+", r"\+")):
        LoadSettings(url=URL, **values).check()


def test_settings_travel_through_the_environment() -> None:
    settings = LoadSettings(url=URL, model="m", rate=2.5, duration=3, seed=4, prompt="a b", max_output_tokens=0)
    values = {name.removeprefix("REJOINDER_LOAD_").lower(): value for name, value in settings.to_environment().items()}
    assert LoadSettings.from_mapping({**values, "url": URL}) == settings


def test_an_option_that_is_no_number_is_a_clear_error() -> None:
    with pytest.raises(UsageError, match="max-in-flight is not a number: 'x'"):
        LoadSettings.from_mapping({"url": URL, "max_in_flight": "x"})


def bodies(**values: Any) -> list[dict[str, Any]]:
    made = RequestSource(values.get("model", "m"), LoadSettings(url=URL, rate=1, **values))
    return [json.loads(made.body(slot)) for slot in range(4)]


def test_every_request_differs_and_streams() -> None:
    made = bodies(prompt="Hi é", max_output_tokens=5)
    assert len({body["input"] for body in made}) == 4
    assert all(body["stream"] is True and body["max_output_tokens"] == 5 and body["model"] == "m" for body in made)
    assert all(body["input"].startswith("Hi é") for body in made)
    assert "max_output_tokens" not in bodies(max_output_tokens=0)[0]
    assert "model" not in bodies(model="")[0]


@pytest.mark.parametrize("text", ['{"input":"a\u2028"}\n\n{"input":"b","model":"x","stream":false}\n', None])
def test_a_corpus_is_sent_in_turn(tmp_path: Path, text: str | None) -> None:
    corpus = [{"input": "a\u2028"}, {"input": "b", "model": "x", "stream": False}]
    path = tmp_path / "bodies.ndjson"
    path.write_text(text or json.dumps(corpus), "utf-8")
    made = bodies(bodies=str(path), max_output_tokens=0, canaries=False)
    assert made[0] == made[2] == {"model": "m", "stream": True, "input": "a\u2028"}
    assert made[1] == {"model": "x", "stream": False, "input": "b"}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "holds no request bodies"),
        (b"{}\n{x\n", "line 2, is not JSON"),
        (b"[{}, 3]", "entry 2, is not a JSON object"),
        (b"[{]", "not a JSON array"),
        (b"\xff", "not UTF-8"),
        (None, "No such file"),
    ],
)
def test_a_bad_corpus_is_a_clear_error(tmp_path: Path, data: bytes | None, words: str) -> None:
    path = tmp_path / "bodies"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(UsageError, match=words):
        bodies(bodies=str(path))

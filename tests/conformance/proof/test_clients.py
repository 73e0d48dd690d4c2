"""A sample of the generated file of clients, measured again with the client that the tests have."""

from __future__ import annotations

import tomllib

import pytest

from rejoinder.conformance.proof.clients import WAITS, effects, measure, outcomes, toml, uses
from rejoinder.contract import clients_file
from rejoinder.sandbox import load_faults

pytest.importorskip("openai")
WRITTEN = tomllib.loads(clients_file().read_text("utf-8"))
OWN = {name: use for name, use in uses().items() if name.startswith("openai-python ")}


@pytest.mark.slow(5)
@pytest.mark.parametrize(
    "fault",
    [
        "created-missing",
        "created-twice",
        "text-delta-lost",
        "output-null",
        "json-as-text-plain",
        "final-item-ids-fresh",
        "sequence-numbers-missing",
    ],
)
def test_the_file_says_what_the_client_does(fault: str) -> None:
    expected = {use: effect for use, effect in WRITTEN["faults"][fault].items() if use in OWN}
    assert measure(fault, OWN) == {fault: expected}


def test_faults_are_compared_with_the_sandbox_without_them() -> None:
    clean = {name: {"ok": {"text": "a", "calls": []}} for name in "abcd"} | {"e": {"error": "X"}}
    broken = {
        "a": {"ok": {"text": "", "calls": []}},
        "b": {"ok": {"text": "b", "calls": []}},
        "c": {"error": "KeyError"},
        "d": {"error": WAITS},
        "e": {"error": "Y"},
    }
    assert effects(clean, broken) == {
        "a": "loses text",
        "b": "gets wrong text",
        "c": "raises KeyError",
        "d": "waits forever",
    }
    assert effects(clean, clean) == {}


def test_what_a_client_raises_is_its_outcome() -> None:
    def late(url: str) -> dict[str, str]:
        raise TimeoutError

    def wrong(url: str) -> dict[str, str]:
        raise KeyError(url)

    found = outcomes("x", {"late": late, "wrong": wrong, "good": lambda url: {"text": url}})
    assert found == {"late": {"error": WAITS}, "wrong": {"error": "KeyError"}, "good": {"ok": {"text": "x"}}}


def test_the_file_can_be_read_again() -> None:
    fault = next(iter(load_faults()))
    text = toml({"c": "1"}, {fault: {"c use, stream": "raises ValueError"}})
    rules = list(load_faults()[fault].breaks)
    assert tomllib.loads(text) == {
        "versions": {"c": "1"},
        "faults": {fault: {"rules": rules, "c use, stream": "raises ValueError"}},
    }

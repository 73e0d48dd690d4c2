"""Profiles, distributions and the conversations that are made of them."""

from __future__ import annotations

import json
import random
import re
import statistics
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomlkit
from hypothesis import given
from hypothesis import strategies as st

from rejoinder.contract import SchemaVariant, load_dialect, request_schema
from rejoinder.errors import UsageError
from rejoinder.load.generator.request_source import RequestSource, marked
from rejoinder.load.measure.measure import measure
from rejoinder.load.objectives.answer_policy import BrokenRules
from rejoinder.load.options import all_options
from rejoinder.load.settings import LoadSettings
from rejoinder.load.workload.canaries import foreign_canaries, slot_canary
from rejoinder.load.workload.corpus import read_corpus
from rejoinder.load.workload.distributions import Distribution
from rejoinder.load.workload.filler_text import filler_text
from rejoinder.load.workload.profiles import load_profile, shipped_profiles, workload_schema
from rejoinder.model.exchange import Chunk, Exchange, Outcome, Request
from rejoinder.validation import Validator

URL = "http://127.0.0.1:8000"
DOCS = Path(__file__).parents[3] / "docs"


def made(path: Path | str, **values: Any) -> RequestSource:
    return RequestSource(LoadSettings(url=URL, model="m", rate=1, profile=str(path), **values))


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(text, "utf-8")
    return path


def distribution(tmp_path: Path, value: Any) -> Distribution:
    path = written(tmp_path, tomlkit.dumps({"requests": [{"input_tokens": value}]}))
    found = load_profile(str(path)).kinds[0].input_tokens
    load_profile.cache_clear()
    assert found is not None
    return found


def test_what_ships_and_what_is_documented_fits_the_schema() -> None:
    texts = [path.read_text("utf-8") for path in shipped_profiles().values()]
    page = (DOCS / "how-to" / "workloads.md").read_text("utf-8")
    texts += re.findall(r"^```toml\n(description.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(texts) == len(shipped_profiles()) + 1
    for text in texts:
        assert workload_schema().errors(tomllib.loads(text)) == []


def test_the_schema_has_the_options_that_a_workload_may_set() -> None:
    properties = workload_schema().schema["properties"]["load"]["properties"]
    assert set(properties) == {one.flag for one in all_options().values() if one.workload}


@pytest.mark.parametrize("name", shipped_profiles())
def test_what_ships_is_valid_and_sends_valid_requests(name: str) -> None:
    profile = load_profile(name)
    assert profile.description
    assert profile.defaults
    validator = Validator(request_schema(SchemaVariant.CLOSED))
    bodies = made(name)
    for slot in range(30):
        conversation = bodies.conversation(slot)
        turn = conversation.next(None)
        while turn is not None:
            body = json.loads(turn.body)
            assert [str(error) for error in validator.errors(body)] == []
            assert conversation.canary in json.dumps(body["input"])
            assert body["max_output_tokens"] >= 16
            answer = {"type": "message", "role": "assistant", "id": "msg_1", "status": "completed"}
            answer["content"] = [{"type": "output_text", "text": "a", "annotations": [], "logprobs": []}]  # type: ignore[assignment]
            turn = conversation.next({"id": "resp_1", "output": [answer]})


@pytest.mark.parametrize(
    ("value", "mean", "low", "high"),
    [
        (128, 128, 128, 128),
        ({"uniform": [10, 30]}, 20, 10, 30),
        ({"normal": 50, "sd": 5, "min": 40, "max": 60}, 50, 40, 60),
        ({"lognormal": 100, "sigma": 0.5, "max": 10_000}, 113.3, 1, 10_000),
        ({"exponential": 3.0}, 3, 0, 1000),
        ({"choice": [1, 3], "weights": [3, 1]}, 1.5, 1, 3),
    ],
)
def test_distributions_have_their_mean_and_bounds(
    tmp_path: Path, value: Any, mean: float, low: float, high: float
) -> None:
    chosen = distribution(tmp_path, value)
    generator = random.Random(1)
    drawn = [chosen.draw(generator) for _ in range(20_000)]
    assert statistics.mean(drawn) == pytest.approx(mean, rel=0.03)
    assert low <= min(drawn) <= max(drawn) <= high


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("many", 'is "many", expected non-negative number or table'),
        (True, "is true, expected non-negative number or table"),
        (-3, "is -3, expected at least 0"),
        (0, "can be 0, expected at least 1"),
        ({}, ".uniform is missing"),
        ({"uniform": [1, 2], "normal": 3}, ".normal cannot be used here. Length of the input"),
        ({"unifrom": [1, 2]}, ".unifrom is not a known key. Did you mean uniform?"),
        ({"uniform": [2, 1]}, ".uniform has a lower bound above its upper bound"),
        ({"uniform": [0, 1]}, ".uniform can be 0"),
        ({"uniform": 3}, ".uniform is 3, expected array"),
        ({"uniform": [3]}, ".uniform has 1 entry, expected at least 2"),
        ({"normal": 3}, ".sd is missing. The standard deviation"),
        ({"normal": 3, "sd": -1}, ".sd is -1, expected at least 0"),
        ({"normal": 3, "sd": 1, "max": -1}, ".max can be -1"),
        ({"lognormal": 0, "sigma": 1}, ".lognormal is 0, expected more than 0"),
        ({"lognormal": 5, "sigma": "x"}, '.sigma is "x", expected number'),
        ({"exponential": float("inf")}, ".exponential is inf, expected a finite number"),
        ({"choice": []}, ".choice has 0 entries, expected at least 1"),
        ({"choice": [1, 2], "weights": [1]}, ".weights has 1 value, expected 2"),
        ({"choice": [1, 2], "weights": [0, 0]}, ".weights has 2 values, expected 2 that are not all 0"),
        ({"uniform": [1, 2], "sd": 3}, ".sd cannot be used here"),
        ({"uniform": [1, 2], "min": 5, "max": 3}, ".min is 5, above max 3"),
    ],
)
def test_an_impossible_distribution_names_file_line_and_key(tmp_path: Path, value: Any, wanted: str) -> None:
    with pytest.raises(UsageError) as caught:
        distribution(tmp_path, value)
    assert wanted in str(caught.value)
    place, _, key = str(caught.value).partition(": ")
    assert re.fullmatch(rf"{re.escape(str(tmp_path))}/mine.toml, line [1-9]", place)
    assert key.startswith("requests[0].input_tokens")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("[[requests]", "not valid TOML"),
        ("", ": requests is missing. The scenarios"),
        ("requests = 3", "line 1: requests is 3, expected array"),
        ("requests = []", "line 1: requests has 0 entries, expected at least 1. The scenarios"),
        ("descripton = ''\n[[requests]]", "line 1: descripton is not a known key. Did you mean description?"),
        (
            "[[requests]]\n\ninput_token = 3",
            "line 3: requests[0].input_token is not a known key. Did you mean input_tokens?",
        ),
        ("[[requests]]\n[[requests]]\nfoo = 3", "line 3: requests[1].foo is not a known key. Use name, weight,"),
        (
            "[[requests]]\nprefix = {tokens = 3, pol = 3}",
            "line 2: requests[0].prefix.pol is not a known key. Did you mean pool?",
        ),
        (
            "[[requests]]\n[requests.prefix]\npol = 3",
            "line 3: requests[0].prefix.pol is not a known key. Did you mean pool?",
        ),
        ("[[requests]]\nprefix.pol = 3", "line 2: requests[0].prefix.pol is not a known key. Did you mean pool?"),
        ("[[requests]]\nprefix = {tokens = {uniform = [1, 2]}}", "prefix.tokens is a table, expected number"),
        ("[[requests]]\nweight = -1", "line 2: requests[0].weight is -1, expected at least 0. Weight"),
        ("[[requests]]\nweight = 0", "line 1: requests have only weights of 0"),
        (
            "[[requests]]\nname = 'a'\n[[requests]]\nname = 'a'",
            'line 4: requests[1].name is "a", which another request uses',
        ),
        ("[[requests]]\nhistory = 'none'", 'history is "none", expected one of server, replay'),
        ("[[requests]]\ncancel = {share = 3}", "share is 3, expected at most 1"),
        (
            "[[requests]]\nbody = {input = 'x'}",
            "line 2: requests[0].body.input cannot be set here. The run sets",
        ),
        ("[[requests]]\nturns = 3\nbackground = {}", "turns cannot be combined"),
        ("[[requests]]\nprompt = 'x'\ncorpus = 'x'", "line 2: requests[0].prompt cannot be combined with corpus"),
        ("[[requests]]\ncorpus = 'none.json'", "none.json: No such file"),
        ("[[requests]]\nprompt = 3", "line 2: requests[0].prompt is 3, expected string. Input text"),
        (
            "[load]\nconcurency = 3\n[[requests]]",
            "line 2: load.concurency is not a known key. Did you mean concurrency?",
        ),
        ("[load]\nconcurrency = '3'\n[[requests]]", 'line 2: load.concurrency is "3", expected integer'),
        ("[load]\nconcurrency = 3\nrate = 3\n[[requests]]", "line 1: load has both concurrency and rate"),
    ],
)
def test_a_bad_profile_names_file_line_and_key(tmp_path: Path, text: str, wanted: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UsageError) as caught:
        load_profile(str(path))
    assert wanted in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_a_profile_that_is_not_there_is_a_clear_error() -> None:
    with pytest.raises(UsageError, match="Did you mean chat"):
        load_profile("chatt")


def test_a_slot_is_the_same_in_every_process_and_others_differ() -> None:
    first, second = made("mixed"), made("mixed")
    assert [first.body(slot) for slot in range(50)] == [second.body(slot) for slot in range(50)]
    assert len({first.body(slot) for slot in range(50)}) == 50
    assert first.body(3) != made("mixed", seed=1).body(3)
    kinds = [first.conversation(slot).kind.name for slot in range(2000)]
    assert kinds.count("chat") == pytest.approx(1200, rel=0.1)


def test_prefixes_are_shared() -> None:
    inputs = [json.loads(made("shared-prefix").body(slot))["input"] for slot in range(100)]
    starts = {text[:2000] for text in inputs}
    assert len(starts) == 4
    assert len({text[:20000] for text in inputs}) == 100


def test_a_conversation_names_the_last_response_or_repeats_it(tmp_path: Path) -> None:
    text = "[[requests]]\nturns = 3\nhistory = '{}'\ninput_tokens = 20"
    for history in ("server", "replay"):
        conversation = made(written(tmp_path, text.format(history))).conversation(1)
        load_profile.cache_clear()
        turns = [conversation.next(None), conversation.next({"id": "r1", "output": [{"a": 1}]})]
        turns += [conversation.next({"id": "r2", "output": [{"a": 2}]}), conversation.next({"id": "r3"})]
        bodies = [json.loads(turn.body) for turn in turns if turn is not None]
        assert len(bodies) == 3
        if history == "server":
            assert [body.get("previous_response_id") for body in bodies] == [None, "r1", "r2"]
            assert all(isinstance(body["input"], str) for body in bodies)
        else:
            assert [len(body["input"]) for body in bodies] == [1, 3, 5]
            assert bodies[2]["input"][:3] == bodies[1]["input"]
            assert bodies[2]["input"][3] == {"a": 2}
        assert all(conversation.canary in json.dumps(body) for body in bodies)


def test_a_conversation_ends_where_an_answer_is_missing() -> None:
    conversation = made("conversation").conversation(1)
    assert conversation.next(None) is not None
    assert conversation.next(None) is None


def test_a_trace_gives_lengths_and_shared_blocks(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    lines = [
        {"timestamp": 0, "input_length": 1100, "output_length": 52, "hash_ids": [7, 8, 9]},
        {"timestamp": 9, "input_length": 1200, "output_length": 26, "hash_ids": [7, 5, 4]},
    ]
    trace.write_text("\n".join(map(json.dumps, lines)))
    bodies = RequestSource(LoadSettings(url=URL, model="m", trace=str(trace)))
    first, second = (json.loads(bodies.body(slot)) for slot in (0, 1))
    assert (first["max_output_tokens"], second["max_output_tokens"]) == (52, 26)
    counts = [len(body["input"].split()) for body in (first, second)]
    assert counts == [pytest.approx(1100, abs=15), pytest.approx(1200, abs=15)]
    same = [a == b for a, b in zip(first["input"].split(), second["input"].split(), strict=False)]
    assert all(same[:512])
    assert not all(same[512:600])


@given(st.integers(1, 300), st.integers(0, 1 << 40))
def test_words_are_counted_and_differ_from_the_start(count: int, place: int) -> None:
    assert len(filler_text(count, place).split()) == count
    assert filler_text(count, place) == filler_text(300, place)[: len(filler_text(count, place))]


def test_long_texts() -> None:
    assert len(filler_text(200_000, 3).split()) == 200_000


@given(st.integers(0, 1 << 40), st.integers(0, 1 << 40))
def test_a_canary_is_found_unless_it_is_garbled(own: int, other: int) -> None:
    mine, theirs = slot_canary(0, own), slot_canary(0, other)
    text = f"it said {mine}, and then{theirs}.".encode()
    assert foreign_canaries(text, mine) == ([theirs] if own != other else [])
    garbled = theirs[:5] + ("0" if theirs[5] != "0" else "1") + theirs[6:]
    assert foreign_canaries(garbled.encode(), mine) == []
    assert foreign_canaries(theirs[:-1].encode(), mine) == []


def stream(*deltas: str) -> Exchange:
    events: list[dict[str, Any]] = [{"type": "response.output_text.delta", "delta": delta} for delta in deltas]
    events.append({"type": "response.completed", "response": {"status": "completed", "output": []}})
    data = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events).encode()
    request = Request("POST", "/v1/responses", (), b'{"stream":true}')
    headers = (("content-type", "text/event-stream"),)
    return Exchange("x", request, Outcome.COMPLETE, 200, headers, (Chunk(0.1, data),), role="stream", ended_at=0.2)


def test_a_stream_that_shows_another_canary_is_nonconforming() -> None:
    mine, theirs = slot_canary(0, 1), slot_canary(0, 2)
    dialect = load_dialect("northstar")
    assert measure(stream("you said ", mine), dialect, lambda *_: BrokenRules(), mine).outcome == "ok"
    mixed = measure(stream("you said ", theirs[:4], theirs[4:]), dialect, lambda *_: BrokenRules(), mine)
    assert mixed.outcome == "nonconforming"
    assert theirs in mixed.detail
    assert measure(stream("you said ", theirs), dialect, lambda *_: BrokenRules(), "").outcome == "ok"


@pytest.mark.parametrize(
    ("given", "where"),
    [
        ("hi", str),
        ([{"role": "user", "content": "hi"}], list),
        ([{"role": "user", "content": [{"type": "input_text", "text": "hi"}]}], list),
    ],
)
def test_a_corpus_is_marked_where_the_user_speaks(given: Any, where: type) -> None:
    found = marked(given, "rj0")
    assert isinstance(found, where)
    assert "rj0" in json.dumps(found)
    assert "rj0" not in json.dumps(given)


@pytest.mark.parametrize("given", [None, [], [{"type": "function_call_output", "output": "x"}], ["x"]])
def test_other_inputs_stay_as_they_are(given: Any) -> None:
    assert marked(given, "rj0") == given


def test_the_bodies_of_a_profile_are_limited_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bodies.ndjson").write_text('{"input": "Hi"}\n' * 10, "utf-8")
    text = "".join(f'[[requests]]\nname = "{name}"\ncorpus = "bodies.ndjson"\n' for name in "ab")
    path = written(tmp_path, text)
    assert [len(kind.corpus) for kind in load_profile.__wrapped__(str(path)).kinds] == [10, 10]
    monkeypatch.setattr("rejoinder.load.workload.profiles.INPUT_BODIES", 299)
    with pytest.raises(
        UsageError, match=r"mine.toml, line \d: requests\[1\].corpus makes the request bodies .* 299 bytes"
    ):
        load_profile.__wrapped__(str(path))


def test_bodies_are_limited_in_number_and_in_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "bodies"
    monkeypatch.setattr("rejoinder.load.workload.corpus._MAX_BODIES", 3)
    monkeypatch.setattr("rejoinder.load.workload.corpus.INPUT_BODY_VALUES", 9)
    for text, words in (
        ('{"input": "Hi"}\n' * 4, "has more than 3 request bodies"),
        ("[" + '{"input": "Hi"},' * 3 + '{"input": "Hi"}]', "has more than 3 request bodies"),
        ('{"input": "Hi"}\n{"input": [' + "1," * 9 + "1]}\n", "line 2: not JSON: it has more than 9 values"),
        ('\n\n["x"]', "entry 1: not a JSON object"),
    ):
        file.write_text(text, "utf-8")
        with pytest.raises(UsageError) as caught:
            read_corpus(file)
        assert words in caught.value.message
    file.write_text('\n [{"input": "Hi"},\n{"input": "\\ud800"}]', "utf-8")
    assert list(read_corpus(file)) == [{"input": "Hi"}, {"input": "\ud800"}]

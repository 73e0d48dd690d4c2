"""Settings and bodies: what can be used, and what is said of the rest."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from configargparse import ArgumentParser

from rejoinder.cli._help import Page
from rejoinder.cli.load import click_options
from rejoinder.errors import RejoinderError, UsageError
from rejoinder.load.generator.request_source import RequestSource
from rejoinder.load.options import (
    OptionGroup,
    add_locust_arguments,
    option,
    options_of,
    seconds,
)
from rejoinder.load.plan import make_plan
from rejoinder.load.run import check_settings
from rejoinder.load.settings import UNTIMED, LoadSettings

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
        ({}, "needs a concurrency or a rate"),
        ({"concurrency": 1, "rate": 1.0}, "--concurrency cannot be used with --rate"),
        ({"rate": 1.0, "phases": "5@3s"}, "--rate cannot be used with phases"),
        ({"concurrency": 1, "profile": "chat", "bodies": "x"}, "--profile cannot be used with --bodies"),
        ({"phases": "60000@3s"}, "rate is 60000"),
        ({"concurrency": 1, "ramp": 11}, "ramp is 11"),
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
        ({"concurrency": 1, "processes": 2}, "--processes is 2, expected at most the concurrency 1"),
        ({"rate": 1.0, "max_output_tokens": -1}, "max-output-tokens is -1"),
        ({"rate": 1.0, "idle_timeout": 0.0}, "--timeout is 0"),
    ],
)
def test_settings_that_make_no_sense_are_a_clear_error(values: dict[str, Any], words: str) -> None:
    with pytest.raises(RejoinderError, match=words.replace("+", r"\+")):
        LoadSettings(url=URL, **values).check()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"concurrency": 1}, "A closed loop starts requests at any rate, so it cannot keep to --rate-limit 2/s."),
        ({"rate": 2.5}, "The load starts 2.5 requests/s, more than --rate-limit 2/s."),
        ({"phases": "1@3s,1..4@3s"}, "The load starts 4 requests/s"),
    ],
)
def test_a_load_above_the_rate_limit_is_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=re.escape(words)) as caught:
        LoadSettings(url=URL, rate_limit=2.0, **values).check()
    assert "omit --rate-limit" in caught.value.hint


def test_a_load_within_the_rate_limit_is_fine() -> None:
    LoadSettings(url=URL, rate_limit=2.0, rate=2.0).check()
    LoadSettings(url=URL, rate_limit=2.0, phases="1@3s,1..2@3s").check()
    slos = ("ttft:p99<1s",)
    assert make_plan(URL, {"find_rate": "1..2", "slos": slos, "rate_limit": "120/min"}).settings.rate_limit == 2.0
    for given in ({"find_rate": "1..5", "slos": slos}, {"sweep": "1,2"}):
        with pytest.raises(UsageError, match="--rate-limit"):
            make_plan(URL, {**given, "rate_limit": "2/s"})


def test_what_is_added_to_every_request_travels_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENANT", "tenant-token-0123456789")
    settings = LoadSettings(
        url=URL,
        rate=1.0,
        extra_body='{"top_k": 1}',
        header=("X-A: 1; 2", "X-B: |,"),
        header_env=("X-Token=TENANT",),
        api_key_header="api-key",
        rate_limit=5.0,
        input_form="list",
    )
    variables = settings.to_environment()
    assert "tenant-token-0123456789" not in str(variables)
    values = {name.removeprefix("REJOINDER_LOAD_").lower(): value for name, value in variables.items()}
    again = LoadSettings.from_mapping({**values, "url": URL})
    assert again == settings
    options = again.request_options("sk-secret-0123456789")
    assert options.headers == (("X-A", "1; 2"), ("X-B", "|,"))
    assert options.secret_headers == (("X-Token", "tenant-token-0123456789"),)


@pytest.mark.parametrize(
    ("form", "expected"),
    [("string", str), ("list", [["role", "content"]]), ("typed_list", [["type", "role", "content"]])],
)
def test_inputs_have_the_form_that_the_endpoint_takes(form: str, expected: Any) -> None:
    [body, *_] = bodies(input_form=form, extra_body='{"top_k": 1, "stream_me": {"a": 1}}')
    given = body["input"]
    assert type(given) is str if expected is str else [list(message) for message in given] == expected
    assert (body["top_k"], body["stream_me"]) == (1, {"a": 1})


def test_an_unknown_form_of_input_is_a_clear_error() -> None:
    with pytest.raises(UsageError, match='"xml" is not a form of input'):
        LoadSettings(url=URL, rate=1.0, input_form="xml").check()


def test_settings_travel_through_the_environment() -> None:
    settings = LoadSettings(url=URL, model="m", rate=2.5, duration=3, seed=4, prompt="a b", max_output_tokens=0)
    values = {name.removeprefix("REJOINDER_LOAD_").lower(): value for name, value in settings.to_environment().items()}
    assert LoadSettings.from_mapping({**values, "url": URL}) == settings


def test_an_option_that_is_no_number_is_a_clear_error() -> None:
    with pytest.raises(UsageError, match='max-in-flight is "x", expected a number'):
        LoadSettings.from_mapping({"url": URL, "max_in_flight": "x"})


@pytest.mark.parametrize("settings", [{}, {"concurrency": 3}, {"rate": 2.5}, {"trace": "x"}])
def test_a_run_completes_settings_without_a_pace(settings: dict[str, Any], tmp_path: Path) -> None:
    profile = tmp_path / "mine.toml"
    profile.write_text(
        "[load]\nrate = '6@500ms,12@500ms'\narrivals = 'poisson'\nslo = ['goodput>=50%']\nprocesses = 2\n[[requests]]",
        "utf-8",
    )
    trace = tmp_path / "x"
    trace.write_text('{"timestamp": 0, "input_length": 1, "output_length": 2}\n')
    given = {**settings, **({"trace": str(trace)} if "trace" in settings else {})}
    complete = LoadSettings.complete(url=URL, profile=str(profile), **given)
    assert complete.slos == ("goodput>=50%",)
    assert complete.arrivals == "poisson"
    assert complete.processes == 2
    assert complete.phases == ("" if settings else "6@500ms,12@500ms")
    assert complete.duration == (0.1 if "trace" in settings else 10.0 if settings else 1.0)
    assert {name: getattr(complete, name) for name in given} == given
    checked = check_settings(LoadSettings(url=URL, profile=str(profile), **given))
    assert checked.phases == complete.phases
    assert checked.mode == complete.mode


def test_what_is_given_goes_before_the_profile() -> None:
    complete = LoadSettings.complete(url=URL, profile="mixed", arrivals="constant", duration="2min", rate="5@30s")
    assert (complete.arrivals, complete.duration, complete.phases, complete.rate) == ("constant", 120.0, "5@30s", None)


def test_without_anything_eight_requests_are_in_flight() -> None:
    assert check_settings(LoadSettings(url=URL)).concurrency == 8
    assert LoadSettings.complete(url=URL, requests=5).duration == UNTIMED


@dataclass(frozen=True, slots=True, kw_only=True)
class MoreSettings(LoadSettings):
    """The settings of a run, and one option more."""

    patience: float = option(
        7.0, OptionGroup.BOUNDS, "How patient.", metavar="S", parse=seconds, bounds=(1, 9), excludes=("seed",)
    )


def test_one_row_makes_an_option_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    options = options_of(MoreSettings)
    command = Page("load", params=click_options(options), callback=lambda **given: given)
    shown = CliRunner().invoke(command, ["--help"]).output
    assert re.search(r"Timeouts and limits:\n(  .*\n)*  --patience S .*How patient\.  \[default: 7s\]", shown)
    given = command.main(["--patience", "2min"], standalone_mode=False)
    assert given["patience"] == 120.0
    assert given["seed"] is None

    monkeypatch.setenv("REJOINDER_LOAD_PATIENCE", "3s")
    parser = ArgumentParser()
    add_locust_arguments(parser, options)
    assert parser.parse_args([]).rejoinder_patience == 3.0
    assert parser.parse_args(["--rejoinder-patience", "4"]).rejoinder_patience == 4.0
    assert "--rejoinder-patience" in parser.format_help()

    settings = MoreSettings(url=URL, rate=1.0, patience=5.0)
    assert settings.to_environment()["REJOINDER_LOAD_PATIENCE"] == "5.0"
    assert MoreSettings.from_mapping({"url": URL, "rate": "1", "patience": "5s"}) == settings
    assert settings.to_json()["patience"] == 5.0
    with pytest.raises(UsageError, match="patience is 10, expected a number from 1 to 9"):
        replace(settings, patience=10.0).check()
    with pytest.raises(UsageError, match="--patience cannot be used with --seed"):
        replace(settings, seed=1).check()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["--rejoinder-seed", "x"], "expected a number"), (["--rejoinder-drain", "x"], "not a duration")],
)
def test_a_bad_argument_of_locust_is_a_clear_error(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = ArgumentParser()
    add_locust_arguments(parser, options_of(LoadSettings))
    with pytest.raises(SystemExit):
        parser.parse_args(arguments)
    assert words in capsys.readouterr().err


def bodies(**values: Any) -> list[dict[str, Any]]:
    made = RequestSource(LoadSettings(url=URL, rate=1, **{"model": "m", **values}))
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
        (b"", "contains no request bodies"),
        (b"{}\n{x\n", "line 2: not JSON"),
        (b"[{}, 3]", "entry 2: not a JSON object"),
        (b"[{]", "not a valid JSON array"),
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


@pytest.mark.parametrize("slo", ["ttft:p99<300ms", "tpot<30ms", "output_tokens_per_user:p1>5/s"])
def test_an_slo_that_no_request_can_have_a_value_for_is_refused(tmp_path: Path, slo: str) -> None:
    path = tmp_path / "bodies.ndjson"
    path.write_text('{"input": "a", "stream": false}\n{"input": "b", "stream": false}\n')
    values = {"concurrency": 1, "slos": (slo, "goodput>=95%")}
    with pytest.raises(UsageError, match="of streams, but the workload requests none"):
        LoadSettings.complete(url="http://127.0.0.1", bodies=str(path), **values).check()
    with pytest.raises(UsageError, match="of streams, but the workload requests none"):
        LoadSettings.complete(url="http://127.0.0.1", profile="background", **values).check()
    condition = {"concurrency": 1, "abort_on": ("ttft:p99>5s", "error>50%")}
    with pytest.raises(UsageError, match='condition "ttft:p99>5s" limits the TTFT of streams'):
        LoadSettings.complete(url="http://127.0.0.1", profile="background", **condition).check()
    # A mixed workload has values of its streams.
    path.write_text('{"input": "a", "stream": false}\n{"input": "b"}\n')
    LoadSettings.complete(url="http://127.0.0.1", bodies=str(path), **values).check()
    LoadSettings.complete(url="http://127.0.0.1", bodies=str(path), concurrency=1, slos=("e2e:p99<1s",)).check()


def test_a_limit_on_tls_needs_tls() -> None:
    LoadSettings.complete(url="https://127.0.0.1", concurrency=1, slos=("tls:p99<1s",)).check()
    with pytest.raises(UsageError, match="the URL is http"):
        LoadSettings.complete(url="http://127.0.0.1", concurrency=1, slos=("tls:p99<1s",)).check()

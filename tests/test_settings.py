"""Settings come from the right place, in the right kind, and nothing unknown is passed over."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rejoinder.errors import UsageError
from rejoinder.settings import (
    Budget,
    load_settings,
    options_of,
    parse_budget,
    parse_duration,
    parse_rate,
)

KNOWN: dict[str, dict[str, type | Callable[[str], Any]]] = {
    "check": {"model": str, "seed": int, "select": list, "budget": parse_budget, "quiet": bool},
    "load": {"model": str, "rate": float, "duration": parse_duration},
}


def load(folder: Path, own: str = "", tool: str = "", environ: dict[str, str] | None = None) -> dict[str, Any]:
    if own:
        (folder / "rejoinder.toml").write_text(own, "utf-8")
    if tool:
        (folder / "pyproject.toml").write_text(tool, "utf-8")
    found = {command: load_settings(KNOWN, command, folder=folder, environ=environ or {}) for command in KNOWN}
    return {command: values for command, values in found.items() if values}


def test_nothing_is_set(tmp_path: Path) -> None:
    assert load(tmp_path) == {}
    assert load(tmp_path, tool="[tool.other]\nx = 1\n") == {}


def test_a_common_key_reaches_every_command_that_knows_it(tmp_path: Path) -> None:
    assert load(tmp_path, own='model = "m"\nseed = 3\n') == {"check": {"model": "m", "seed": 3}, "load": {"model": "m"}}


def test_order_of_the_places(tmp_path: Path) -> None:
    tool = '[tool.rejoinder]\nmodel = "tool"\nseed = 1\nrate = 1\n[tool.rejoinder.check]\nquiet = true\n'
    own = 'model = "own"\n[check]\nmodel = "own check"\nselect = ["a"]\n'
    expected = {
        "check": {"model": "own check", "seed": 1, "quiet": True, "select": ["a"]},
        "load": {"model": "own", "rate": 1.0},
    }
    assert load(tmp_path, own, tool) == expected
    environ = {"REJOINDER_MODEL": "env", "REJOINDER_LOAD_MODEL": "env load", "REJOINDER_SEED": "7", "HOME": "/"}
    assert load(tmp_path, own, tool, environ) == {
        "check": {"model": "env", "seed": 7, "quiet": True, "select": ["a"]},
        "load": {"model": "env load", "rate": 1.0},
    }


def test_hyphens_are_underscores(tmp_path: Path) -> None:
    known = {"check": {"api_key_env": str}}
    environ = {"REJOINDER_API_KEY_ENV": "K"}
    assert load_settings(known, "check", folder=tmp_path, environ=environ) == {"api_key_env": "K"}
    (tmp_path / "rejoinder.toml").write_text('api-key-env = "L"')
    assert load_settings(known, "check", folder=tmp_path, environ={}) == {"api_key_env": "L"}


def test_other_commands_are_looked_up_for_unknown_names_only(tmp_path: Path) -> None:
    class Known(dict[str, dict[str, Any]]):
        looked_up: ClassVar[list[str]] = []

        def __getitem__(self, command: str) -> dict[str, Any]:
            self.looked_up.append(command)
            return super().__getitem__(command)

        def values(self) -> Any:
            return (self[command] for command in self)

        def items(self) -> Any:
            return ((command, self[command]) for command in self)

    (tmp_path / "rejoinder.toml").write_text('model = "m"\n[check]\nseed = 1\n')
    environ = {"REJOINDER_QUIET": "yes", "REJOINDER_CHECK_SELECT": "a"}
    settings = load_settings(Known(KNOWN), "check", folder=tmp_path, environ=environ)
    assert settings == {"model": "m", "seed": 1, "quiet": True, "select": ["a"]}
    assert set(Known.looked_up) == {"check"}
    (tmp_path / "rejoinder.toml").write_text("[load]\nrate = 1\n")
    assert load_settings(Known(KNOWN), "check", folder=tmp_path, environ={"REJOINDER_LOAD_MODEL": "m"}) == {}
    assert set(Known.looked_up) == {"check", "load"}


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("SEED", " -5 ", -5),
        ("RATE", "2.5", 2.5),
        ("QUIET", "Yes", True),
        ("QUIET", "0", False),
        ("SELECT", "SSE-*, EVT-01,", ["SSE-*", "EVT-01"]),
        ("BUDGET", "10min", "10min"),
        ("DURATION", "30", "30"),
    ],
)
def test_kinds_in_the_environment(tmp_path: Path, name: str, text: str, value: Any) -> None:
    (settings,) = load(tmp_path, environ={f"REJOINDER_{name}": text}).values()
    assert settings == {name.lower(): value}


def test_numbers_where_a_function_reads_texts(tmp_path: Path) -> None:
    assert load(tmp_path, own="duration = 30") == {"load": {"duration": "30"}}


@pytest.mark.parametrize(
    ("own", "words"),
    [
        ('modell = "m"', ['rejoinder.toml: "modell"', 'Did you mean "model"?']),
        ("[check]\nsede = 1", ['rejoinder.toml, [check]: "sede"', 'Did you mean "seed"?']),
        ("[chekc]\nseed = 1", ['"chekc"', 'Did you mean "check"?']),
        ("[check]\nrate = 1", ['[check]: "rate"', "Settings: "]),
        ("zzzzzz = 1", ['"zzzzzz"', "Settings: ", "model"]),
        ("check = 1", ["rejoinder.toml: check is not a table"]),
        ('seed = "many"', ['rejoinder.toml: seed is "many", expected an integer']),
        ("seed = true", ["seed is true, expected an integer"]),
        ("seed = 1.5", ["seed is 1.5, expected an integer"]),
        ("model = 1", ["model is 1, expected a string"]),
        ('quiet = "perhaps"', ["expected true or false"]),
        ("select = [1]", ["select is [1], expected a list of strings"]),
        ("rate = false", ["rate is false, expected a number"]),
        ("[model]\nx = 1", ["expected a string"]),
        (
            '[load]\nduration = "5 parsecs"',
            ["rejoinder.toml, [load]: duration", '"parsecs" is not a unit of time', "30s"],
        ),
        ("duration = []", ["duration is [], expected a string or a number"]),
        ('api-key = "sk-1"', ["API keys do not belong into files", "REJOINDER_API_KEY"]),
        ("model = ", ["not valid TOML", "end of document"]),
    ],
)
def test_errors_in_a_file(tmp_path: Path, own: str, words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        load(tmp_path, own=own)
    for word in words:
        assert word in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert "sk-1" not in str(caught.value)


@pytest.mark.parametrize(
    ("tool", "words"),
    [
        ("[tool.rejoinder]\nsede = 1", ["[tool.rejoinder] of", 'pyproject.toml: "sede"', '"seed"']),
        ("[tool]\nrejoinder = 1", ["tool.rejoinder is not a table"]),
        ("[tool.rejoinder", ["pyproject.toml is not valid TOML"]),
    ],
)
def test_errors_in_pyproject(tmp_path: Path, tool: str, words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        load(tmp_path, tool=tool)
    for word in words:
        assert word in str(caught.value)


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "rejoinder.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="not valid TOML"):
        load(tmp_path)
    (tmp_path / "rejoinder.toml").unlink()
    (tmp_path / "rejoinder.toml").mkdir()
    with pytest.raises(UsageError, match="Cannot read"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("REJOINDER_MODLE", ["REJOINDER_MODLE is not a rejoinder setting", "Did you mean REJOINDER_MODEL?"]),
        ("REJOINDER_CHECK_SED", ["Did you mean REJOINDER_CHECK_SEED?"]),
        ("REJOINDER_APIKEY", ["Did you mean REJOINDER_API_KEY?"]),
        ("REJOINDER_QQQQQQQQQQ", ["Unset it"]),
        ("REJOINDER_SEED", ["The environment variable REJOINDER_SEED is"]),
        ("REJOINDER_BUDGET", ["The environment variable REJOINDER_BUDGET: "]),
    ],
)
def test_errors_in_the_environment(tmp_path: Path, name: str, words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        load(tmp_path, environ={name: "secret?"})
    for word in words:
        assert word in str(caught.value)


def test_keys_are_known_and_never_settings(tmp_path: Path) -> None:
    environ = {"REJOINDER_API_KEY": "sk-1", "REJOINDER_STAGING_API_KEY": "sk-2"}
    assert load(tmp_path, environ=environ) == {}


def test_with_a_click_command(tmp_path: Path) -> None:
    @click.command()
    @click.argument("url")
    @click.option("--plan", type=click.Choice(["smoke", "full"]))
    @click.option("--number", type=int, default=1)
    @click.option("--range", "range_", type=click.IntRange(1, 5))
    @click.option("--share", type=float)
    @click.option("--yes/--no")
    @click.option("--select", multiple=True)
    @click.version_option("1")
    def check(**options: Any) -> None:
        click.echo(repr(sorted(options.items())))

    known = {"check": options_of(check)}
    assert set(known["check"]) == {"plan", "number", "range_", "share", "yes", "select"}

    def settings(text: str) -> dict[str, Any] | None:
        (tmp_path / "rejoinder.toml").write_text(text)
        return load_settings(known, "check", folder=tmp_path, environ={})

    found = settings('plan = "full"\nnumber = 4\nshare = 1\nyes = true\nselect = ["a", "b"]\n[check]\nrange_ = 3\n')
    from click.testing import CliRunner

    result = CliRunner().invoke(check, ["u", "--number", "9"], default_map=found)
    assert result.output.strip() == repr(
        sorted(
            {
                "url": "u",
                "plan": "full",
                "number": 9,
                "range_": 3,
                "share": 1.0,
                "yes": True,
                "select": ("a", "b"),
            }.items()
        )
    )
    with pytest.raises(UsageError, match=r"rejoinder\.toml: plan.*smoke"):
        settings('plan = "huge"')
    with pytest.raises(UsageError, match="range_"):
        settings("range_ = 9")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("30", 30),
        (" 2 min ", 120),
        ("1h", 3600),
        ("1h30min", 5400),
        ("1h 30m 5s", 5405),
        ("500ms", 0.5),
        ("1.5H", 5400),
        ("2 minutes", 120),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", " ", "s", "5parsecs", "0", "0s", "-5s", "1m1h", "1s1s", "5 5", "1h30", "1e3s", "١s", "1..5s", "s5", "nan"],
)
def test_bad_durations(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_duration(text)
    assert "30s" in caught.value.hint


def test_a_duration_with_too_many_digits_is_named_as_such() -> None:
    with pytest.raises(UsageError, match="a number has more than 15 digits"):
        parse_duration("99999999999999999999h")


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("200requests", Budget(requests=200)),
        ("1 request", Budget(requests=1)),
        ("50ktokens", Budget(tokens=50_000)),
        ("2Mtokens", Budget(tokens=2_000_000)),
        ("1.5k tokens", Budget(tokens=1500)),
        ("10min", Budget(seconds=600)),
        ("200requests, 50ktokens,10min", Budget(200, 50_000, 600)),
    ],
)
def test_budgets(text: str, budget: Budget) -> None:
    assert parse_budget(text) == budget
    assert parse_budget(str(budget)) == budget


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has no limit"),
        ("200", "has no unit"),
        ("200 request s", "not a budget limit"),
        ("10tokenz", "Did you mean tokens?"),
        ("0requests", "at least 1"),
        ("0.5tokens", "at least 1"),
        ("1min,2min", "limits seconds twice"),
        ("1requests,", "not a budget limit"),
        ("0s", "not a duration above 0"),
        ("200requests|1min", "not a budget limit"),
    ],
)
def test_bad_budgets(text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_budget(text)
    assert words in str(caught.value)


@given(
    st.none() | st.integers(1, 10**12),
    st.none() | st.integers(1, 10**12),
    st.none() | st.floats(0.001, 1e9).map(lambda x: round(x, 3)),
)
def test_a_budget_is_read_as_it_is_written(requests: int | None, tokens: int | None, seconds: float | None) -> None:
    budget = Budget(requests, tokens, seconds)
    if str(budget):
        again = parse_budget(str(budget))
        assert (again.requests, again.tokens) == (requests, tokens)
        assert again.seconds == (None if seconds is None else pytest.approx(seconds))


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    for parse in (parse_budget, parse_duration):
        with suppress(UsageError):
            parse(text)


@pytest.mark.parametrize(
    ("text", "rate"), [("5/s", 5), ("300/min", 5), (" 1800 / H ", 0.5), ("0.25/sec", 0.25), ("7", 7), ("1.5/m", 0.025)]
)
def test_a_rate_has_a_unit_of_time(text: str, rate: float) -> None:
    assert parse_rate(text) == pytest.approx(rate)


@pytest.mark.parametrize("text", ["", "0/s", "-1/s", "5/week", "often", "5/", "/s", "1e3/s", "nan"])
def test_what_is_no_rate_is_told(text: str) -> None:
    with pytest.raises(UsageError, match="not a rate above 0") as caught:
        parse_rate(text)
    assert "300/min" in caught.value.hint

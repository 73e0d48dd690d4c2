"""Help pages: what every page of every command must have, on narrow and wide terminals."""

from __future__ import annotations

import importlib
import re
import shlex
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from rejoinder.cli import COMMANDS, cli
from rejoinder.cli._help import Argument, Page


def pages() -> Iterator[tuple[str, ...]]:
    """Yield the words of every command, those of commands in groups too."""
    yield ()
    for name in COMMANDS:
        yield (name,)
        command = importlib.import_module(f"rejoinder.cli.{name}").command
        if isinstance(command, click.Group):
            yield from ((name, inner) for inner in command.commands)


PAGES = list(pages())


def command_of(words: tuple[str, ...]) -> Page:
    context = click.Context(cli, info_name="rejoinder")
    command: click.Command = cli
    for word in words:
        assert isinstance(command, click.Group)
        found = command.get_command(context, word)
        assert found is not None
        command = found
    assert isinstance(command, Page)
    return command


def render(words: tuple[str, ...], width: int, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", str(width))
    result = CliRunner().invoke(cli, [*words, "--help"], prog_name="rejoinder")
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("words", PAGES, ids=" ".join)
def test_a_page_fits_its_terminal(words: tuple[str, ...], width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    text = render(words, width, monkeypatch)
    assert "\\b" not in text
    assert all(char.isprintable() or char == "\n" for char in text)
    assert [line for line in text.splitlines() if len(line) > width] == []
    assert not re.search(r"[a-z]\.\.\.$", text, re.MULTILINE), "a summary is cut"
    for example in command_of(words).examples:
        assert all(f"  {line}\n" in text for line in (f"# {example[0]}", example[1])), "an example is wrapped"


@pytest.mark.parametrize("words", PAGES, ids=" ".join)
def test_everything_on_a_page_is_described_in_sentences(words: tuple[str, ...]) -> None:
    command = command_of(words)
    texts = {"the page": (command.help or "").strip()}
    for param in command.get_params(click.Context(command, info_name="x")):
        name = param.opts[0]
        text = param.description if isinstance(param, Argument) else getattr(param, "help", None)
        texts[name] = re.sub(r"  \[default: .*\]$", "", text or "")
    texts |= {sentence: sentence for sentence, _ in command.examples}
    texts |= {f"exit code {code}": meaning for code, meaning in command.exit_codes.items()}
    if isinstance(command, click.Group):
        inner = COMMANDS if command is cli else {name: one.short_help for name, one in command.commands.items()}
        texts |= {name: summary or "" for name, summary in inner.items()}
    for name, text in texts.items():
        assert text.endswith("."), f"{name}: {text!r}"
        assert text[0].isupper() or text.startswith(("rejoinder", "max_output_tokens")), f"{name}: {text!r}"


@pytest.mark.parametrize("words", PAGES, ids=" ".join)
def test_the_examples_of_a_page_can_be_parsed(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    command = command_of(words)
    assert command.examples
    for _, line in command.examples:
        name, *rest = shlex.split(line.replace("URL2", "http://b").replace("URL", "http://a"))
        assert name == "rejoinder"
        parsed: Page = cli
        while isinstance(parsed, click.Group):
            parsed = command_of((*words_of(parsed), rest.pop(0)))
        assert words == () or words[0] in line
        with parsed.make_context(parsed.name, rest):
            pass


def words_of(command: click.Command) -> tuple[str, ...]:
    return next(words for words in PAGES if command_of(words) is command)


def test_every_exit_code_of_a_page_is_in_the_table() -> None:
    codes = {code for words in PAGES for code in command_of(words).exit_codes}
    assert codes == set(command_of(()).exit_codes)


def test_dialects_are_explained_where_one_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    for words in PAGES:
        chooses = any(param.name == "dialect" for param in command_of(words).params)
        assert chooses == ("vLLM-style Responses API" in render(words, 120, monkeypatch)), words


def test_load_shows_its_options_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    text = render(("load",), 80, monkeypatch)
    headings = re.findall(r"^(\S.*):$", text, re.MULTILINE)
    assert headings[:3] == ["Arguments", "Load (choose one)", "Schedule"]
    assert text.index("Schedule:") < text.index("--duration TIME") < text.index("Requests:")

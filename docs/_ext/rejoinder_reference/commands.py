"""The command line: a page for each command, all settings, and the exit codes."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click

from rejoinder.cli import COMMANDS, cli
from rejoinder.cli._help import Argument, GroupedOption, Page
from rejoinder.errors import EXIT_CODES
from rejoinder.settings import FILE, KEY_VARIABLE, PREFIX, SECOND_KEY_VARIABLE, options_of
from rejoinder_reference import markdown as md


def pages() -> dict[str, str]:
    """Return a page for each command, and the pages of settings and exit codes."""
    found = {f"commands/{name}": _command(name) for name in COMMANDS}
    return {
        **found,
        "commands/index": _index(),
        "settings": _settings(),
        "exit-codes": _exit_codes(),
    }


def _find(name: str) -> click.Command:
    command = cli.get_command(click.Context(cli), name)
    if command is None:
        raise ValueError(f"There is no command {name}.")
    return command


def _index() -> str:
    rows = [(f"[`rejoinder {name}`]({name}.md)", md.text(line)) for name, line in COMMANDS.items()]
    return md.page("Commands", *md.table(["command", "what it does"], rows), *md.toctree(COMMANDS))


def _command(name: str) -> str:
    command = _find(name)
    root = click.Context(cli, info_name="rejoinder")
    lines = list(_sections(command, click.Context(command, info_name=name, parent=root), "##"))
    return md.page(f"rejoinder {name}", *lines)


def _sections(command: click.Command, context: click.Context, heading: str) -> Iterator[str]:
    yield from md.block("text", context.get_usage().removeprefix("Usage: "))
    assert isinstance(command, Page)
    for paragraph in re.split(r"\n\s*\n", (command.help or "").strip()):
        yield from (md.text(paragraph), "")
    described = [param for param in command.params if isinstance(param, Argument)]
    rows = [(md.code(param.metavar or (param.name or "").upper()), md.text(param.description)) for param in described]
    if rows:
        yield from md.table(["argument", "meaning"], rows)
    groups: dict[str, list[str]] = {title: [] for title in command.groups}
    others: list[str] = []
    for param in command.get_params(context):
        if isinstance(param, click.Option) and not param.hidden:
            group = groups.setdefault(param.group, []) if isinstance(param, GroupedOption) else others
            group.extend(_option(param, context))
    for title, options in {**groups, "Other options" if any(groups.values()) else "Options": others}.items():
        if options:
            yield from (f"{heading} {md.text(title)}", "", f"```{{program}} {context.command_path}", "```", "")
            yield from options
    for title, entries in command.sections.items():
        rows = [(md.code(term), md.text(meaning)) for term, meaning in entries.items()]
        yield from (f"{heading} {md.text(title)}", "", *md.table(["value", "meaning"], rows))
    if command.exit_codes:
        rows = [(md.code(str(int(code))), md.text(meaning)) for code, meaning in command.exit_codes.items()]
        yield from (f"{heading} Exit codes", "", *md.table(["code", "meaning"], rows))
    if command.examples:
        shown = "\n\n".join(f"# {sentence}\n{line}" for sentence, line in command.examples)
        yield from (f"{heading} Examples", "", *md.block("sh", shown))
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from (f"{heading} {context.command_path} {name}", "")
            yield from _sections(inner, click.Context(inner, info_name=name, parent=context), f"{heading}#")


def _option(option: click.Option, context: click.Context) -> list[str]:
    record = option.get_help_record(context)
    if record is None:
        return []
    # The default and the range are at the end of the help, as the terminal shows them.
    help_text, extra = record[1], ""
    if found := re.search(r"\s*\[([^\]]*)\]$", help_text):
        help_text, extra = help_text[: found.start()], found[1]
    lines = [md.text(help_text), ""]
    notes = [_note(part.strip()) for part in extra.split(";") if part.strip()]
    if option.multiple:
        notes.append("may be given several times")
    if notes:
        shown = "; ".join(notes)
        lines += [f"{shown[:1].upper()}{shown[1:]}.", ""]
    return md.directive("option", record[0].replace(" / ", ", "), lines)


def _note(part: str) -> str:
    """Return a default, or a range such as ``1<=x<=256``, as people write them."""
    if found := re.fullmatch(r"default: (.*)", part):
        shown = found[1].removesuffix(".0") if re.fullmatch(r"\d+\.0", found[1]) else found[1]
        return f"default: {md.code(shown)}" if " " not in shown else f"default: {md.text(shown)}"
    if found := re.fullmatch(r"([\d.]+)<=x<=([\d.]+)", part):
        return f"from {found[1]} to {found[2]}"
    if found := re.fullmatch(r"x>=([\d.]+)", part):
        return f"at least {found[1]}"
    return md.text(part)


def _settings() -> str:
    rows: dict[str, list[str]] = {}
    for name in COMMANDS:
        for key in options_of(_find(name)):
            rows.setdefault(key, []).append(name)
    lines = [
        "Every option of a command is also a setting. rejoinder takes a setting from the first of these that has it:",
        "",
        "1. the option on the command line;",
        f"2. the environment variable, such as `{PREFIX}DIALECT=openai`, or `{PREFIX}CHECK_DIALECT=openai` for one "
        "command;",
        f"3. the key in `{FILE}` in the current folder;",
        "4. the key in the table `[tool.rejoinder]` of `pyproject.toml` in the current folder.",
        "",
        "A key at the top of a file holds for every command that has the option. A key in a table named after a "
        "command holds for that command:",
        "",
        *md.block("toml", 'dialect = "openresponses"\n\n[check]\nplan = "full"\nconcurrency = 1\n'),
        "A setting that no command knows is an error.",
        "",
        "API keys are never settings: they do not come from a file or an option. rejoinder reads the key from "
        f"`{KEY_VARIABLE}`, or from the variable that `--api-key-env` names. The key of a second tenant comes from "
        f"`{SECOND_KEY_VARIABLE}`.",
        "",
        "## All settings",
        "",
    ]
    table = [
        (md.code(key.replace("_", "-")), md.code(f"{PREFIX}{key.upper()}"), _defaults(key, names), _commands(names))
        for key, names in sorted(rows.items())
    ]
    return md.page("Settings", *lines, *md.table(["key", "variable", "default", "commands"], table))


def _commands(names: list[str]) -> str:
    return ", ".join(f"[{name}](commands/{name}.md)" for name in names)


def _defaults(key: str, names: list[str]) -> str:
    """Return the default of a setting; where commands differ, each with its command."""
    found: dict[str, list[str]] = {}
    for name in names:
        command = _find(name)
        [option] = [one for one in command.params if isinstance(one, click.Option) and one.name == key]
        record = option.get_help_record(click.Context(command, info_name=name))
        shown = re.search(r"\[(?:.*;\s*)?default: ([^;\]]*)", record[1]) if record else None
        default = shown[1] if shown else option.default if isinstance(option.default, str | int | float) else ""
        found.setdefault("" if default is False else str(default), []).append(name)
    if len(found) == 1:
        [default] = found
        return md.code(default) if default else "–"
    return ", ".join(f"{md.code(default) if default else '–'} ({', '.join(where)})" for default, where in found.items())


def _exit_codes() -> str:
    rows = [(md.code(str(code.value)), md.text(meaning)) for code, meaning in EXIT_CODES.items()]
    return md.page("Exit codes", "All commands use the same exit codes.", "", *md.table(["code", "meaning"], rows))

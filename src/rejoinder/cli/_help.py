"""Help pages: options under headings, arguments with a description, and examples that are not re-wrapped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

ENDPOINT: Final = "Endpoint"
RULES: Final = "Rules and known failures"
OUTPUT: Final = "Output"


class Argument(click.Argument):
    """An argument with a description, which arguments of older click versions lack."""

    def __init__(self, *args: Any, description: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.description = description


class GroupedOption(click.Option):
    """An option under the heading ``group``."""

    def __init__(self, *args: Any, group: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.group = group


class Page(click.Command):
    """A command whose help page has headings, a description of each argument, and examples.

    ``examples`` are pairs of a sentence and a command line. ``exit_codes`` are those that the page lists, with their
    meaning. ``sections`` are further lists of terms and descriptions, by heading. ``groups`` are headings of options
    in their order on the page; those that it leaves out follow in the order of the options.
    """

    def __init__(
        self,
        *args: Any,
        examples: Sequence[tuple[str, str]] = (),
        exit_codes: Mapping[int, str] | None = None,
        sections: Mapping[str, Mapping[str, str]] | None = None,
        groups: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)
        self.exit_codes = exit_codes or {}
        self.sections = sections or {}
        self.groups = tuple(groups)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        lists: dict[str, list[tuple[str, str]]] = {heading: [] for heading in ("Arguments", *self.groups)}
        others: list[tuple[str, str]] = []
        for param in self.get_params(ctx):
            if isinstance(param, Argument):
                name = param.metavar or (param.name or "").upper()
                lists["Arguments"].append((name, param.description))
            elif record := param.get_help_record(ctx):
                (lists.setdefault(param.group, []) if isinstance(param, GroupedOption) else others).append(record)
        grouped = any(isinstance(param, GroupedOption) for param in self.params)
        lists["Other options" if grouped else "Options"] = others
        for heading, records in lists.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)
        if isinstance(self, click.Group):
            self.format_commands(ctx, formatter)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections = dict(self.sections)
        if any(param.name == "dialect" for param in self.params):
            from rejoinder.contract import dialect_summaries

            sections["Dialects"] = dialect_summaries()
        if self.exit_codes:
            sections["Exit codes"] = {str(int(code)): meaning for code, meaning in self.exit_codes.items()}
        for heading, entries in sections.items():
            with formatter.section(heading):
                formatter.write_dl(list(entries.items()))
        if self.examples:
            with formatter.section("Examples"):
                formatter.write("\n".join(f"  # {sentence}\n  {line}\n" for sentence, line in self.examples))


class Group(Page, click.Group):
    """A group of commands with such a page; the summaries of its commands are never cut."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, one.short_help or "") for name, one in commands if one is not None])

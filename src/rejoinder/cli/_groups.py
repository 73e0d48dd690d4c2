"""Options under headings: a click command whose ``--help`` shows groups of options."""

from __future__ import annotations

from typing import Any

import click


class GroupedOption(click.Option):
    """An option that belongs to a group."""

    def __init__(self, *args: Any, group: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.group = group


class GroupedCommand(click.Command):
    """A command that shows its options group by group, those without one at the end."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        rest: list[tuple[str, str]] = []
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx) if isinstance(param, click.Option) else None
            if record is not None:
                (groups.setdefault(param.group, []) if isinstance(param, GroupedOption) else rest).append(record)
        for title, records in {**groups, "Endpoint and results": rest}.items():
            with formatter.section(title):
                formatter.write_dl(records)

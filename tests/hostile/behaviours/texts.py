"""Behaviours in the text of replies: what would be obeyed if a surface took it for more than text."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Final

from tests.hostile.endpoint import Connection, HttpRequest, event, on_create, response_object, stream_events

create = partial(on_create, "text")


def everywhere(text: str) -> Callable[[Connection, HttpRequest], None]:
    """Return what puts a text into each place of a reply that a report may quote; the reply breaks rules, too."""

    def act(connection: Connection, request: HttpRequest) -> None:
        named = {"id": text, "model": text, "status": text, "metadata": {text: text}, text: text}
        if request.number % 3 == 2:
            error = {"message": text, "type": text, "param": text, "code": text}
            connection.reply(json.dumps({"error": error}).encode(), status=400)
        elif request.streams:
            connection.stream()
            for kind, data in stream_events(text):
                connection.send(event(kind, {**data, "item_id": text, "obfuscation": text}))
            connection.send(event("response." + text.replace("\n", " ").replace("\r", " "), {"type": text}))
        else:
            connection.reply(json.dumps(response_object(text, **named)).encode())

    return act


TEXTS: Final = {
    "ansi_escapes": (
        "The text contains terminal escapes.",
        "\x1b[31;1mred\x1b[0m\x1b[2J\x1b[H\x9b31m\x1bc",
    ),
    "osc_escapes": (
        "The text sets a title and a link of the terminal.",
        "\x1b]0;t\x07\x1b]8;;http://x.invalid\x1b\\c",
    ),
    "github_commands": (
        "The text is a command of GitHub's runner.",
        "a\n::error title=Owned::obeyed\n  ::set-env name=A::b",
    ),
    "azure_commands": (
        "The text is a command of Azure Pipelines.",
        "##vso[task.complete result=Failed]x\n##[error]x",
    ),
    "teamcity_commands": (
        "The text is a service message of TeamCity.",
        "##teamcity[buildStatus status='FAILURE' text='x']",
    ),
    "gitlab_sections": (
        "The text opens a section of GitLab.",
        "section_start:1:x[collapsed=true]\r\x1b[0Kx",
    ),
    "html_script": (
        "The text is a script.",
        '"><script>alert(1)</script><img src=x onerror=alert(1)>&lt;',
    ),
    "html_comment": (
        "The text ends scripts, comments and styles.",
        "--></script></style></textarea></title><!--<script>",
    ),
    "markdown": (
        "The text is Markdown.",
        "[a](http://x.invalid) ![b](http://x.invalid/p) <b>c</b>\n# d\n| e | f |\n```\n",
    ),
    "xml": (
        "The text is XML that ends a CDATA section.",
        "]]></failure></testcase><testcase name='x'>&amp;\ufffe\uffff",
    ),
    "csv_formula": (
        "The text is a formula of a spreadsheet.",
        '=HYPERLINK("http://x.invalid","a")\n+1+1\n@SUM(1)\n-2',
    ),
    "template": (
        "The text is code of templates and markup.",
        "{{7*7}}{%raw%}${{ secrets.X }}$(id)`id`[bold red]a[/][link=x]",
    ),
    "bidirectional": (
        "The text turns the direction of writing.",
        "\u202eabc\u202c\u2066def\u2069\u200f\u061c\u200b\ufeff",
    ),
    "control_characters": (
        "The text has every control character.",
        "".join(map(chr, range(32))) + "\x7f\x80\x85\x9f",
    ),
    "line_separators": (
        "The text has separators of lines and paragraphs.",
        "a\u2028::error::b\u2029c\x0b::warning::d\x0ce\x85::f::g",
    ),
    "lone_surrogates": (
        "The text has halves of surrogate pairs.",
        "a\ud800b\udfffc",
    ),
    "combining_characters": (
        "The text piles 5,000 accents on a letter.",
        "a" + "\u0301" * 5000,
    ),
    "path_traversal": (
        "Ids and names are paths.",
        "../../../../etc/passwd",
    ),
    "file_names": (
        "Ids and names are no file names.",
        "CON\\..\\:*?<>|\x00/" + "n" * 300,
    ),
    "text_of_1_mb": (
        "Each name and id is 100 kB long.",
        "n" * 100_000,
    ),
}
"""What one text can do in every place of a reply: by name, the cause and the text."""


def _register(name: str, cause: str, text: str) -> None:
    act = everywhere(text)
    act.__name__ = name
    create(cause)(act)


for _name, (_cause, _value) in TEXTS.items():
    _register(_name, _cause, _value)

"""Behaviours of GET /v1/models, from which a run takes its model."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from tests.hostile.endpoint import Behaviour, Connection, HttpRequest, on_models

models = partial(on_models, "model lists")


def _list(name: str, cause: str, content: Any) -> Behaviour:
    """Register a behaviour that answers with this JSON."""

    def act(connection: Connection, request: HttpRequest) -> None:
        connection.reply(json.dumps(content).encode())

    act.__name__ = name
    return models(cause)(act)


def _named(*ids: Any) -> dict[str, Any]:
    return {"object": "list", "data": [{"id": one, "object": "model"} for one in ids]}


LISTS = [
    _list("models_none", "The list is empty.", _named()),
    _list("models_null", "The list is null.", {"object": "list", "data": None}),
    _list("models_array", "The body is the array itself.", ["a", "b"]),
    _list("models_number", "The body is a number.", 7),
    _list("models_texts", "The entries are texts.", {"data": ["a", "b"]}),
    _list("models_numbers", "The names are numbers, lists and null.", _named(7, ["a"], None, {"a": 1}, True)),
    _list("models_surrogate", "The name has half of a surrogate pair.", _named("a\ud800b")),
    _list("models_nul", "The name has NUL and line breaks.", _named("a\0b\r\nX: y")),
    _list("models_escapes", "The name has terminal escapes.", _named("\x1b[31mred\x1b]0;t\x07")),
    _list("models_command", "The name is a command for CI.", _named("\n::error::obeyed", "##vso[task.complete]")),
    _list("models_script", "The name is a script.", _named("</title><script>alert(1)</script>")),
    _list("models_path", "The name is a path.", _named("../../../../tmp/x")),
    _list("models_long", "The name is 1 MB long.", _named("x" * 1_000_000)),
    _list("models_same", "One name occurs 50,000 times.", _named(*["same"] * 50_000)),
    _list("models_empty", "The name is empty.", _named("")),
]
"""The behaviours that are one body of JSON."""


@models("The list is a page of HTML.")
def models_html(connection: Connection, request: HttpRequest) -> None:
    connection.reply(b"<!doctype html><title>Sign in</title>", kind="text/html")


@models("The list hangs.")
def models_hang(connection: Connection, request: HttpRequest) -> None:
    connection.wait_gone()


@models("The connection of the list is reset.")
def models_reset(connection: Connection, request: HttpRequest) -> None:
    connection.reset()


@models("The list trickles, a byte at a time.")
def models_trickle(connection: Connection, request: HttpRequest) -> None:
    connection.head(200, ("Content-Type", "application/json"))
    connection.forever(b" ", every=0.05)


@models("The list redirects to another host.")
def models_redirect(connection: Connection, request: HttpRequest) -> None:
    connection.reply(b"", ("Location", "http://elsewhere.invalid/v1/models"), status=302)


@models("The list is refused, and the refusal echoes the key.")
def models_401(connection: Connection, request: HttpRequest) -> None:
    error = {"error": {"message": f"Bad key: {request.headers.get('authorization')}"}}
    connection.reply(json.dumps(error).encode(), status=401)


@models("The list is nested 100,000 deep.")
def models_deep(connection: Connection, request: HttpRequest) -> None:
    connection.reply(b'{"data":' * 100_000 + b"1" + b"}" * 100_000)

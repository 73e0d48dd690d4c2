"""The paths of operations: every id of a path gets a value by its name, in every dialect."""

from __future__ import annotations

from pathlib import Path

import pytest

from rejoinder.conformance.running.in_process import ManualClock
from rejoinder.conformance.stateful.endpoint import EndpointConnection
from rejoinder.contract import dialect_names, load_dialect
from rejoinder.sandbox import Sandbox, app

OWN = """
name = "own"
title = "own API"
summary = "For tests."
base = "openai"
source = "a test"

[overlay.operations.add]
"/x-operations/move" = { method = "POST", path = "/v1/threads/{thread}/items/{item}/to/{target}", reply = "response" }
"/x-operations/share" = { method = "PUT", path = "/tenants/{tenant}/responses/{id}/share", reply = "response" }
"/x-operations/ping" = { method = "GET", path = "/v1/ping", reply = "response" }
"""


def connected(dialect: str | Path) -> EndpointConnection:
    connection = EndpointConnection(app(Sandbox("northstar", clock=ManualClock())), dialect=dialect)
    connection.open()
    return connection


@pytest.mark.parametrize("dialect", dialect_names())
def test_every_operation_of_a_dialect_has_a_path(dialect: str) -> None:
    connection = connected(dialect)
    for name, operation in load_dialect(dialect).operations.items():
        ids = {one: f"{one} 7" for one in operation.ids}
        method, path = connection.operation_path(name, ids)
        expected = operation.path
        for one in ids:
            expected = expected.replace(f"{{{one}}}", f"{one}%207")
        assert (method, path) == (operation.method, expected)
        assert operation.match(method, path) == ids
        assert connection.operation_path(name, tuple(ids.values()), "a=b") == (method, f"{expected}?a=b")


def test_a_dialect_names_ids_as_it_likes(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text(OWN)
    connection = connected(file)
    assert connection.operation_path("move", {"thread": "a", "item": "b/c", "target": "d"}) == (
        "POST",
        "/v1/threads/a/items/b%2Fc/to/d",
    )
    # What comes before the create endpoint in the path is part of the address.
    assert connection.operation_path("share", "r") == ("PUT", "/v1/responses/r/share")
    assert connection.operation_path("share", {"id": "r"}) == ("PUT", "/v1/responses/r/share")
    assert connection.operation_path("ping") == ("GET", "/v1/ping")
    with pytest.raises(ValueError, match=r"'move': the path .* needs thread, target"):
        connection.operation_path("move", {"item": "b"})
    connection.close()

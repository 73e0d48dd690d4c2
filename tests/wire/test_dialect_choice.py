"""Choosing a dialect: by the marks of an endpoint, else by the shape of its replies."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from rejoinder.contract import dialect_names, load_dialect
from rejoinder.model.exchange import Chunk, Exchange, Outcome, Request
from rejoinder.sandbox import Sandbox, running
from rejoinder.wire.dialect_choice import AUTO, STREAM, VERSION, better_than, choose
from rejoinder.wire.target import Target, find_target

RESPONSE = {"id": "r", "object": "response", "created_at": 1, "model": "m", "output": [], "status": "completed"}


def reply(
    body: Any, *, method: str = "POST", path: str = "/v1/responses", headers: tuple[tuple[str, str], ...] = ()
) -> Exchange:
    return Exchange(
        id=path,
        request=Request(method, path, (), b""),
        outcome=Outcome.COMPLETE,
        status=200,
        headers=(("content-type", "application/json"), *headers),
        chunks=(Chunk(0.0, json.dumps(body).encode()),),
    )


def models(owner: str) -> Exchange:
    return reply({"object": "list", "data": [{"id": "m", "owned_by": owner}]}, method="GET", path="/v1/models")


def found(url: str, dialect: str) -> tuple[Target, list[Exchange]]:
    return asyncio.run(find_target(url, dialect=dialect))


@pytest.mark.parametrize("dialect", dialect_names())
def test_the_dialect_of_a_sandbox_is_found_with_few_requests(dialect: str) -> None:
    with running(Sandbox(dialect)) as url:
        target, exchanges = found(url, AUTO)
    assert target.dialect == dialect
    assert target.chosen is not None
    assert target.chosen.reason
    assert target.form == load_dialect(dialect).usual_form
    assert len(exchanges) <= 6
    assert {VERSION, STREAM} <= {exchange.role for exchange in exchanges}
    assert len({exchange.id for exchange in exchanges}) == len(exchanges)


def test_a_named_dialect_costs_no_request_and_may_get_a_hint() -> None:
    with running(Sandbox("vllm")) as url:
        target, exchanges = found(url, "northstar")
    assert (target.dialect, target.chosen) == ("northstar", None)
    assert [exchange.role for exchange in exchanges] == ["models", "plain"]
    assert target.better is not None
    assert target.better.dialect == "vllm"


def streamed(url: str) -> list[Exchange]:
    """Return the exchanges of a run: those that found the endpoint, a stream among them."""
    return found(url, AUTO)[1]


BETTER = {
    # What the endpoint is, and which dialect is named beside each one in use.
    "northstar": {},
    "openai": {"northstar": "openai", "openresponses": "openai", "vllm": "openai"},
    "openresponses": {"northstar": "openresponses", "openai": "openresponses", "vllm": "openresponses"},
    "vllm": {"northstar": "vllm", "openai": "vllm", "openresponses": "vllm"},
}


@pytest.mark.parametrize("dialect", dialect_names())
def test_the_dialect_that_fits_better_is_named(dialect: str) -> None:
    with running(Sandbox(dialect)) as url:
        exchanges = streamed(url)
    named = {used: better_than(used, exchanges) for used in dialect_names()}
    assert {used: better.dialect for used, better in named.items() if better} == BETTER[dialect]
    assert all(better.hint.startswith("Hint: the ") for better in named.values() if better)


@pytest.mark.parametrize("dialect", dialect_names())
def test_a_first_reply_alone_names_no_dialect_for_its_shape(dialect: str) -> None:
    with running(Sandbox(dialect)) as url:
        better = found(url, "northstar")[0].better
    assert (better.dialect if better else "") == ("vllm" if dialect == "vllm" else "")


def test_events_of_a_vendor_belong_to_every_dialect() -> None:
    with running(Sandbox("openresponses", freedoms=["vendor-events"])) as url:
        assert any(b"acme:" in exchange.body for exchange in streamed(url))
        assert found(url, AUTO)[0].dialect == "openresponses"


def test_the_reason_says_why_no_dialect_fits() -> None:
    choice = choose([reply({key: value for key, value in RESPONSE.items() if key != "id"})])
    assert choice.dialect == "northstar"
    assert choice.reason.startswith(
        "the default, because no dialect fits: for northstar, the response object lacks id; "
    )
    assert all(f"for {name}, " in choice.reason for name in dialect_names())


def test_a_custom_dialect_that_fits_gets_no_hint(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text('name = "own"\n[stream]\ndone_sentinel = "allowed"\n')
    with running(Sandbox("openresponses")) as url:
        assert better_than(str(file), streamed(url)) is None


@pytest.mark.parametrize(
    ("owner", "headers", "extra", "dialect"),
    [
        ("vllm", {}, {}, "vllm"),
        ("acme", {}, {"kv_transfer_params": None}, "vllm"),
        ("acme", {"OpenAI-Version": "2020-10-01"}, {}, "openai"),
        ("acme", {"Server": "uvicorn"}, {}, "northstar"),
        ("vllm", {"openai-version": "2020-10-01"}, {}, "northstar"),
    ],
)
def test_marks(owner: str, headers: Mapping[str, str], extra: Mapping[str, Any], dialect: str) -> None:
    choice = choose([models(owner), reply({**RESPONSE, **extra}, headers=tuple(headers.items()))])
    assert choice.dialect == dialect
    assert choice.clear == (dialect != "northstar")
    assert choice.sentence.startswith(f"Dialect {load_dialect(dialect).label}: ")


def test_a_reply_of_another_shape_goes_before_a_mark() -> None:
    """A gateway may pass on the models of the engine behind it, and write responses of its own."""
    with running(Sandbox("openai")) as url:
        exchanges = found(url, AUTO)[1]
    assert choose([models("vllm"), *exchanges]).dialect == "openai"


@pytest.mark.parametrize("body", [None, [], "text", {"data": {}}, {"data": [7]}])
def test_nothing_useful_is_no_evidence(body: Any) -> None:
    odd = [reply(body, method="GET", path="/v1/models"), reply(body, method="GET", path="/version"), reply(body)]
    assert choose(odd).dialect == choose([]).dialect == "northstar"

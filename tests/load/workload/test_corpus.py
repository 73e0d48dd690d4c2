"""The bodies of the corpus that ships: what strategies give for every branch of the contract."""

from __future__ import annotations

import json
from typing import Any

from rejoinder.load.workload.corpus import read_corpus
from rejoinder.load.workload.covering_corpus import covering_bodies
from rejoinder.load.workload.profiles import shipped_profiles
from rejoinder.model.exchange import Request
from rejoinder.sandbox import Sandbox


def shipped() -> list[dict[str, Any]]:
    return read_corpus(shipped_profiles()["corpus"].with_suffix(".ndjson"))


def test_the_shipped_corpus_is_what_strategies_give() -> None:
    assert shipped() == json.loads(json.dumps(covering_bodies()))


def test_every_body_of_the_corpus_is_answered_by_an_endpoint_that_has_everything() -> None:
    sandbox = Sandbox()
    for body in shipped():
        request = Request("POST", "/v1/responses", (("Content-Type", "application/json"),), json.dumps(body).encode())
        exchange = sandbox.exchange(request)
        assert (exchange.status, exchange.content_type) == (200, "text/event-stream"), (body, exchange.body)

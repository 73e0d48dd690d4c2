"""The bodies of the corpus that ships: what strategies give for every branch of the contract.

`python tests/load/workload/test_corpus.py > load/workload/shipped/corpus.ndjson` writes it anew.
"""

from __future__ import annotations

import json
from typing import Any

from rejoinder.load.workload.corpus import read_corpus
from rejoinder.load.workload.profiles import shipped_profiles
from rejoinder.model.exchange import Request
from rejoinder.model.verdict import ABSENT
from rejoinder.sandbox import Sandbox
from rejoinder.strategies import EndpointProfile, each_choice


def covering_bodies() -> list[dict[str, Any]]:
    """Return the valid bodies of the default dialect that together take every branch of the contract, as streams.

    What needs things that are there at the endpoint (stored responses, files) is not among them.
    """
    fixed = {"stream": True, "background": ABSENT, "model": ABSENT}
    return [case.body for case in each_choice("item", profile=EndpointProfile(max_output_tokens=16, fixed=fixed))]


def shipped() -> list[dict[str, Any]]:
    return list(read_corpus(shipped_profiles()["corpus"].with_suffix(".ndjson")))


def test_the_shipped_corpus_is_what_strategies_give() -> None:
    assert shipped() == json.loads(json.dumps(covering_bodies()))


def test_every_body_of_the_corpus_is_answered_by_an_endpoint_that_has_everything() -> None:
    sandbox = Sandbox()
    for body in shipped():
        request = Request("POST", "/v1/responses", (("Content-Type", "application/json"),), json.dumps(body).encode())
        exchange = sandbox.exchange(request)
        assert (exchange.status, exchange.content_type) == (200, "text/event-stream"), (body, exchange.body)


if __name__ == "__main__":
    for covering in covering_bodies():
        print(json.dumps(covering, ensure_ascii=False, separators=(",", ":")))

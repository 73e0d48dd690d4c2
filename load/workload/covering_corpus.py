"""Writes the request bodies of the shipped profile ``corpus``.

A module of its own, which only its test and a maintainer run: a load generator has no use for the strategies.
"""

from __future__ import annotations

import json
from typing import Any

from rejoinder.model.verdict import ABSENT
from rejoinder.strategies import EndpointProfile, each_choice


def covering_bodies() -> list[dict[str, Any]]:
    """Return the valid bodies of the default dialect that together take every branch of the contract, as streams.

    What needs things that are there at the endpoint (stored responses, files) is not among them. The profile
    ``corpus`` sends them from a file, which ``python -m rejoinder.load.workload.covering_corpus`` writes.
    """
    fixed = {"stream": True, "background": ABSENT, "model": ABSENT}
    return [case.body for case in each_choice("item", profile=EndpointProfile(max_output_tokens=16, fixed=fixed))]


if __name__ == "__main__":
    for body in covering_bodies():
        print(json.dumps(body, ensure_ascii=False, separators=(",", ":")))

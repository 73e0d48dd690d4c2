"""What a client may send.

Hypothesis strategies for requests and their parts, and deterministic sets that cover the contract:

    from hypothesis import given
    from rejoinder.strategies import requests

    @given(requests(model="m"))
    def test_takes_every_request(body): ...

Strategies are plural functions with keyword-only options. What they generate is valid under the contract and
undisputed between its sources; :class:`Environment` narrows it to what an endpoint can serve.
"""

from __future__ import annotations

from rejoinder.strategies.bodies import (
    content_parts,
    input_items,
    previous_input_messages,
    reasoning_configs,
    requests,
    text_formats,
    tool_choices,
    tools,
)
from rejoinder.strategies.compiler import from_contract
from rejoinder.strategies.conversations import conversations
from rejoinder.strategies.corpus import draw
from rejoinder.strategies.coverage import Branches, Coverage
from rejoinder.strategies.edge import EdgeCase, edge_cases
from rejoinder.strategies.encode import to_bytes
from rejoinder.strategies.environment import Environment
from rejoinder.strategies.invalid import Mutant, classify, invalid_requests, surely_invalid
from rejoinder.strategies.reduce import Reduction, minimise
from rejoinder.strategies.streams import event_streams, output_items, responses, to_sse, unfold
from rejoinder.strategies.systematic import Case, each_choice, one_factor, pairwise, variants

__all__ = [
    "Branches",
    "Case",
    "Coverage",
    "EdgeCase",
    "Environment",
    "Mutant",
    "Reduction",
    "classify",
    "content_parts",
    "conversations",
    "draw",
    "each_choice",
    "edge_cases",
    "event_streams",
    "from_contract",
    "input_items",
    "invalid_requests",
    "minimise",
    "one_factor",
    "output_items",
    "pairwise",
    "previous_input_messages",
    "reasoning_configs",
    "requests",
    "responses",
    "surely_invalid",
    "text_formats",
    "to_bytes",
    "to_sse",
    "tool_choices",
    "tools",
    "unfold",
    "variants",
]

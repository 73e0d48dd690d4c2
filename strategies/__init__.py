"""Hypothesis strategies for requests and streams, and deterministic sets that cover the contract.

::

    from hypothesis import given
    from rejoinder.strategies import request_bodies

    @given(request_bodies(model="m"))
    def test_takes_every_request(body): ...

Strategies are plural functions with keyword-only options. They generate values that are valid under the contract and
undisputed between its sources. :class:`EndpointProfile` limits them to what an endpoint supports. A wrong argument
raises ``hypothesis.errors.InvalidArgument``: a strategy raises it when a value is drawn, everything else at once.
"""

from __future__ import annotations

from rejoinder.contract.branches import Branches, Coverage
from rejoinder.strategies.bodies import (
    content_parts,
    conversations,
    input_items,
    previous_input_messages,
    reasoning_configs,
    request_bodies,
    text_formats,
    tool_choices,
    tools,
)
from rejoinder.strategies.encode import to_bytes
from rejoinder.strategies.measuring import Variety, measure, variety
from rejoinder.strategies.operations import (
    OperationCase,
    invalid_operation_cases,
    invalid_operation_requests,
    operation_bodies,
    operation_cases,
    operation_queries,
)
from rejoinder.strategies.profile import EndpointProfile
from rejoinder.strategies.reduce import Reduction, empty_lists, minimise, minimise_bytes
from rejoinder.strategies.replies import event_streams, output_items, response_objects, to_sse, unfold
from rejoinder.strategies.sampling import sample
from rejoinder.strategies.schema.compiler import from_contract
from rejoinder.strategies.sets.broken_streams import BrokenStream, broken_streams
from rejoinder.strategies.sets.edge import EdgeCase, edge_cases
from rejoinder.strategies.sets.forms import Form, changed, forms
from rejoinder.strategies.sets.invalid import Mutant, classify, invalid_requests, surely_invalid
from rejoinder.strategies.sets.repairs import one_change, without_source
from rejoinder.strategies.sets.systematic import (
    FormSeed,
    GeneratedCase,
    each_choice,
    form_seeds,
    one_factor,
    pairwise_cases,
    variants,
)

__all__ = [
    "Branches",
    "BrokenStream",
    "Coverage",
    "EdgeCase",
    "EndpointProfile",
    "Form",
    "FormSeed",
    "GeneratedCase",
    "Mutant",
    "OperationCase",
    "Reduction",
    "Variety",
    "broken_streams",
    "changed",
    "classify",
    "content_parts",
    "conversations",
    "each_choice",
    "edge_cases",
    "empty_lists",
    "event_streams",
    "form_seeds",
    "forms",
    "from_contract",
    "input_items",
    "invalid_operation_cases",
    "invalid_operation_requests",
    "invalid_requests",
    "measure",
    "minimise",
    "minimise_bytes",
    "one_change",
    "one_factor",
    "operation_bodies",
    "operation_cases",
    "operation_queries",
    "output_items",
    "pairwise_cases",
    "previous_input_messages",
    "reasoning_configs",
    "request_bodies",
    "response_objects",
    "sample",
    "surely_invalid",
    "text_formats",
    "to_bytes",
    "to_sse",
    "tool_choices",
    "tools",
    "unfold",
    "variants",
    "variety",
    "without_source",
]

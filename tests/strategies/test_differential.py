"""The contract as this package reads it, against two readers that know nothing of it.

jsonschema-rs judges every one-fault neighbour of every instance; hypothesis-jsonschema generates items of every
variant by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.internal.conjecture import utils
from hypothesis_jsonschema import from_schema

from rejoinder.contract import SchemaVariant, request_schema
from rejoinder.contract.nodes import request_nodes
from rejoinder.strategies import Branches, variants
from rejoinder.strategies.sets.invalid import _at, _change, _faults
from rejoinder.strategies.sets.systematic import seeds

SCHEMA = request_schema(SchemaVariant.GENERATION)


@pytest.mark.parametrize("view", [SchemaVariant.GENERATION, SchemaVariant.PERMISSIVE])
def test_own_reading_and_validator_agree_on_every_neighbour_of_a_valid_body(view: SchemaVariant) -> None:
    validator = jsonschema_rs.Draft202012Validator(request_schema(view))
    branches = Branches(request_nodes(view))
    disagreed: list[Any] = []
    judged = {True: 0, False: 0}
    for seed in seeds():
        assert branches.of(seed.body)
        for kind, holder, key, new, pointer, _ in _faults(_at(seed.body, seed.below), seed.below, ""):
            undo = _change(holder, key, new)
            valid = validator.is_valid(seed.body)
            judged[valid] += 1
            if bool(branches.of(seed.body)) != valid:
                disagreed.append((seed.variant, kind, pointer))
            undo()
    assert disagreed == []
    assert min(judged.values()) > 200


@pytest.fixture(autouse=True)
def _drawable_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give Hypothesis back the method that hypothesis-jsonschema draws objects with, where it is gone."""
    if hasattr(utils.many, "more"):
        return

    def more(self: Any) -> bool:
        if not hasattr(self, "_elements"):
            self.__enter__()
            self._elements = iter(self)
        return next(self._elements, self) is not self

    monkeypatch.setattr(utils.many, "more", more, raising=False)


def _inlined(node: Any) -> Any:
    """Replace references by what they refer to, which hypothesis-jsonschema reads much faster."""
    if isinstance(node, list):
        return [_inlined(child) for child in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return _inlined(SCHEMA["$defs"][node["$ref"].rpartition("/")[2]])
    return {key: _inlined(child) for key, child in node.items() if not key.startswith("x-")}


def _distinct() -> Iterator[str]:
    """Yield the variants without those that repeat another field by field."""
    seen: list[Any] = []
    for name, node in variants().items():
        schema = _inlined(SCHEMA["$defs"][node.name])
        if schema not in seen:
            seen.append(schema)
            yield name


@pytest.mark.slow(0.3)
@pytest.mark.parametrize("name", list(_distinct()))
def test_items_that_another_generator_makes_are_read_as_their_variant(name: str) -> None:
    node = variants()[name]
    branches = Branches()
    seen = 0

    @settings(
        max_examples=4,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(from_schema(_inlined(SCHEMA["$defs"][node.name])))
    def draw(item: dict[str, Any]) -> None:
        nonlocal seen
        seen += 1
        assert f"input[array][]={node.name}" in branches.of({"input": [item]})

    draw()
    assert seen

"""Places: every value of a reply has one, and a place leads back to its values."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from rejoinder.sandbox.mutants.places import Shape, Spot, spots, steps_of, walk

VALUE = {"a": [{"type": "x", "b": 1}, {"type": "y", "b": 2}, {"type": "x", "b": 3}], "c/d": [[4]], "m": {"free": 5}}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


def test_elements_are_named_by_their_type() -> None:
    found = {
        place: [spot.value for place_, spot in walk(VALUE, None) if place_ == place] for place, _ in walk(VALUE, None)
    }
    assert found["/a/[x]/b"] == [1, 3]
    assert found["/a/[y]/b"] == [2]
    assert found["/c~1d/[]/[]"] == [4]


def test_keys_that_no_schema_names_are_no_places() -> None:
    element = {"properties": {"type": {"type": "string"}, "b": {"type": "integer", "enum": [1, 2, 3]}}}
    shape = Shape(
        {
            "properties": {
                "a": {"items": {"anyOf": [{"$ref": "#/$defs/x"}, {"type": "null"}]}},
                "m": {"type": "object"},
            },
            "$defs": {"x": element},
        }
    )
    assert {place for place, _ in walk(VALUE, shape)} == {
        *("/a", "/a/[x]", "/a/[y]", "/a/[x]/type", "/a/[y]/type", "/a/[x]/b", "/a/[y]/b", "/m"),
    }
    assert shape.at(["a", "[x]", "b"]) == (element["properties"]["b"],)
    assert shape.at(["a", "[x]", "unknown"]) == ()


def test_a_schema_may_contain_itself() -> None:
    node = {"properties": {"inner": {"$ref": "#/$defs/node"}}}
    shape = Shape({"$ref": "#/$defs/node", "$defs": {"node": node}})
    assert [place for place, _ in walk({"inner": {"inner": {}}}, shape)] == ["/inner", "/inner/inner"]


@settings(max_examples=50, deadline=None)
@given(JSON)
def test_a_place_leads_to_exactly_its_spots(value: object) -> None:
    found: dict[str, list[Spot]] = {}
    for place, spot in walk(value, None):
        found.setdefault(place, []).append(spot)
    for place, expected in found.items():
        again = spots(value, steps_of(place))
        assert [(id(spot.owner), spot.key) for spot in again] == [(id(spot.owner), spot.key) for spot in expected]


@settings(max_examples=50, deadline=None)
@given(JSON, st.lists(st.text(max_size=3), min_size=1, max_size=3))
def test_other_places_lead_nowhere(value: object, steps: list[str]) -> None:
    before = json.dumps(value)
    assert all(spot.value is not value for spot in spots(value, steps))
    assert json.dumps(value) == before

"""What an EndpointProfile is given is coerced and checked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis.errors import InvalidArgument

from rejoinder.contract import dialect_names
from rejoinder.contract.nodes import Object, Scalar, Union
from rejoinder.model.verdict import ABSENT
from rejoinder.strategies import EndpointProfile, conversations, each_choice, edge_cases, sample
from rejoinder.strategies.profile import served


def names() -> Iterator[str]:
    yield "input_image"


@pytest.mark.parametrize("given", [["input_image"], {"input_image"}, ("input_image",), names(), {"input_image": 1}])
def test_any_iterable_of_names_will_do(given: Any) -> None:
    profile = EndpointProfile(unsupported_types=given)
    assert profile == EndpointProfile(unsupported_types=frozenset({"input_image"}))
    assert hash(profile) == hash(EndpointProfile(unsupported_types=["input_image"]))
    assert not any("'type': 'input_image'" in str(case.body) for case in each_choice(profile=profile))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"unsupported_types": ["input_imag"]}, "there is no type 'input_imag'. Did you mean input_image?"),
        ({"unsupported_fields": ["strore"]}, "there is no top-level field 'strore'. Did you mean store?"),
        ({"fixed": {"temprature": 0}}, "fixed: there is no top-level field 'temprature'. Did you mean temperature?"),
        ({"unsupported_types": "input_image"}, "is not a collection of names; write ['input_image']"),
        ({"unsupported_fields": 3}, "unsupported_fields=3 is not a collection of names"),
        ({"unsupported_types": [3]}, "there is no type 3"),
        ({"unsupported_types": ["quite-another-thing"]}, "The contract has no such name."),
        ({"fixed": [("temperature", 0)]}, "is not a mapping of field names to values"),
        ({"dialect": "nothern"}, "dialect='nothern': "),
        ({"dialect": None}, "dialect=None: "),
        ({"model": 3}, "model=3 is not a string or None"),
        ({"max_output_tokens": "16"}, "max_output_tokens='16' is not an integer or None"),
        ({"max_output_tokens": True}, "max_output_tokens=True is not an integer or None"),
        ({"max_output_tokens": 0}, "max_output_tokens=0 is less than 1"),
        ({"file_id": b"f"}, "file_id=b'f' is not a string or None"),
    ],
)
def test_what_the_contract_does_not_have_is_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        EndpointProfile(**options)
    assert sentence in str(caught.value)


def test_what_another_dialect_has_may_be_named() -> None:
    for dialect in dialect_names():
        EndpointProfile(dialect=dialect, unsupported_types=["computer_call"], fixed={"background": ABSENT})


def test_options_of_sets_are_checked() -> None:
    with pytest.raises(InvalidArgument, match="there is no tier 'edgy' here"):
        edge_cases("edgy")  # type: ignore[arg-type]


def test_fixed_fields_of_conversations_may_be_absent_and_are_never_shared() -> None:
    profile = EndpointProfile(fixed={"store": ABSENT, "metadata": {"a": "b"}})
    bodies = sample(conversations(profile=profile), 3)
    assert all("store" not in body for body in bodies)
    bodies[0]["metadata"].clear()
    assert bodies[1]["metadata"] == profile.fixed["metadata"] == {"a": "b"}


@pytest.mark.parametrize("dialect", dialect_names())
def test_metadata_keeps_to_the_documented_limits(dialect: str) -> None:
    [metadata] = [item.node for item in served(EndpointProfile(dialect=dialect)).fields if item.name == "metadata"]
    assert isinstance(metadata, Union)
    [pairs] = [node for node in metadata.alternatives if isinstance(node, Object)]
    assert isinstance(pairs.extra, Scalar)
    assert (pairs.largest, pairs.extra.schema["maxLength"]) == (16, 512)

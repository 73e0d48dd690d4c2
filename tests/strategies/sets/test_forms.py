"""Other valid forms of a body: one change each, valid, and of undisputed ones no source disagrees."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rejoinder.contract import SchemaVariant, dialect_names, request_schema
from rejoinder.model.verdict import ABSENT
from rejoinder.strategies import EndpointProfile, Form, FormSeed, changed, form_seeds, forms
from rejoinder.validation import Validator, pointer_keys


@cache
def seeds(dialect: str) -> list[FormSeed]:
    return list(form_seeds(profile=EndpointProfile(dialect=dialect, model="m")))


@cache
def found(dialect: str) -> list[tuple[FormSeed, Form]]:
    return [(seed, form) for seed in seeds(dialect) for form in forms(seed.body, dialect=dialect, below=seed.below)]


def at(value: Any, pointer: str) -> Any:
    for step in pointer_keys(pointer):
        try:
            value = value[int(step)] if isinstance(value, list) else value[step]
        except (LookupError, TypeError):
            return ABSENT
    return value


@pytest.mark.parametrize("dialect", dialect_names())
def test_forms_are_valid_and_differ_in_one_place(dialect: str) -> None:
    sound, possible = (
        Validator(request_schema(variant, dialect=dialect))
        for variant in (SchemaVariant.GENERATION, SchemaVariant.PERMISSIVE)
    )
    assert {form.kind for _, form in found(dialect)} == {"absent", "present", "null"}
    for seed, form in found(dialect):
        assert sound.is_valid(seed.body)
        other = changed(seed.body, form.pointer, form.value)
        assert other != seed.body
        assert changed(other, form.pointer, at(seed.body, form.pointer)) == seed.body
        assert possible.is_valid(other)
        assert sound.is_valid(other) is not form.disputed
        assert form.id.isascii()


@pytest.mark.parametrize("dialect", dialect_names())
def test_seeds_have_one_id_each_and_hold_what_they_name(dialect: str) -> None:
    assert len({seed.id for seed in seeds(dialect)}) == len(seeds(dialect))
    assert all(at(seed.body, seed.below) is not ABSENT for seed in seeds(dialect))


def test_the_forms_that_clients_send_are_among_them() -> None:
    ids = {form.id for _, form in found("northstar")}
    assert {"absent.message.type", "present.function_call.id", "null.function.strict", "null.reasoning.content"} <= ids
    assert not any(form.id.startswith("absent.input_image.image_url") for _, form in found("northstar"))


def test_an_image_without_detail_is_disputed_where_the_documents_disagree() -> None:
    image = {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "auto"}
    body = {"input": [{"type": "message", "role": "user", "content": [image]}]}
    for dialect, disputed in (("northstar", True), ("openai", True), ("openresponses", False)):
        [form] = [form for form in forms(body, dialect=dialect) if form.id == "absent.input_image.detail"]
        assert form.disputed is disputed


def test_undisputed_forms_are_valid_by_the_types_of_openai() -> None:
    pydantic = pytest.importorskip("pydantic")
    module = pytest.importorskip("openai.types.responses.response_create_params")
    adapter = pydantic.TypeAdapter(module.ResponseCreateParamsNonStreaming)

    def whole(value: Any) -> Any:
        # What the types call Iterable is checked as it is read.
        if isinstance(value, dict):
            return {key: whole(inner) for key, inner in value.items()}
        return value if isinstance(value, str) or not hasattr(value, "__iter__") else [whole(inner) for inner in value]

    undisputed = [(seed, form) for seed, form in found("openai") if not form.disputed]
    assert len(undisputed) > 100
    for seed, form in undisputed:
        whole(adapter.validate_python(changed(seed.body, form.pointer, form.value)))


@given(
    st.recursive(
        st.integers() | st.text(max_size=3),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab0/~"), inner, max_size=3),
    ),
    st.lists(st.sampled_from(["a", "b", "0", "1", "~0", "~1"]), min_size=1, max_size=3).map(
        lambda p: "/" + "/".join(p)
    ),
    st.sampled_from([ABSENT, None, 7]),
)
def test_a_change_leaves_the_body_alone_and_is_there_in_the_copy(body: Any, pointer: str, value: Any) -> None:
    before = copy.deepcopy(body)
    other = changed(body, pointer, value)
    assert body == before
    if other is not None:
        assert at(other, pointer) is value or at(other, pointer) == value

"""Bodies in the base form: what is changed, what is added, and what stays as it is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rejoinder.contract import load_dialect
from rejoinder.model.base_form import USUAL_FORM, BaseForm, InputForm
from rejoinder.wire.base_form import fit_body, fit_input, merge_below

STRING = BaseForm(input=InputForm.STRING)
TYPED = BaseForm(input=InputForm.TYPED_LIST)
MESSAGE = {"role": "user", "content": "Hi"}
PART = {"type": "input_text", "text": "Hi"}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from(["a", "b", "metadata", "stream"]) | st.text(max_size=3), VALUES, max_size=4)


@pytest.mark.parametrize(
    ("given_input", "form", "expected"),
    [
        ([MESSAGE], STRING, "Hi"),
        ([{**MESSAGE, "type": "message"}], STRING, "Hi"),
        ([{"role": "user", "content": [PART]}], STRING, "Hi"),
        ([MESSAGE], TYPED, [{"type": "message", **MESSAGE}]),
        ([{"type": "function_call"}, MESSAGE], TYPED, [{"type": "function_call"}, {"type": "message", **MESSAGE}]),
        ("Hi", TYPED, "Hi"),
        ([MESSAGE], USUAL_FORM, [MESSAGE]),
    ],
)
def test_input_is_written_as_the_endpoint_takes_it(given_input: Any, form: BaseForm, expected: Any) -> None:
    assert fit_body({"input": given_input}, form, {}) == {"input": expected}


def test_operations_beside_create_get_the_form_of_input_only() -> None:
    form = BaseForm(input=InputForm.TYPED_LIST, stream_false=True, max_output_tokens=False)
    body = {"input": [MESSAGE], "max_output_tokens": 1}
    assert fit_input(body, form.input) == {"input": [{"type": "message", **MESSAGE}], "max_output_tokens": 1}
    assert fit_input({"model": "m"}, form.input) == {"model": "m"}
    assert fit_input(None, form.input) is None
    assert fit_input(b"{}", form.input) == b"{}"


def test_traits_are_what_differs_from_the_usual_form_of_the_dialect() -> None:
    usual = load_dialect("openresponses").usual_form
    assert usual == TYPED
    assert usual.traits(usual) == []
    assert USUAL_FORM.traits(usual) == ["input as a list of messages"]
    assert load_dialect("northstar").usual_form == USUAL_FORM


@pytest.mark.parametrize(
    "given_input",
    [
        [MESSAGE, MESSAGE],
        [],
        7,
        [{"role": "assistant", "content": "Hi"}],
        [{"role": "nobody", "content": "Hi"}],
        [{**MESSAGE, "id": "msg_1"}],
        [{"role": "user"}],
        [{"role": "user", "content": 7}],
        [{"role": "user", "content": [PART, PART]}],
        [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}],
        [{"role": "user", "content": [{**PART, "extra": 1}]}],
        [{**MESSAGE, "type": "function_call"}],
    ],
)
def test_what_is_not_one_text_of_the_user_does_not_become_a_string(given_input: Any) -> None:
    assert fit_body({"input": given_input}, STRING, {}) == {"input": given_input}


def test_a_body_that_is_about_a_field_keeps_it() -> None:
    form = BaseForm(input=InputForm.STRING, stream_false=True)
    body = {"input": [MESSAGE]}
    assert fit_body(body, form, {"top_k": 1}, keeps=("input", "stream")) == {"input": [MESSAGE], "top_k": 1}
    assert fit_body(body, form, {"top_k": 1}, keeps=("top_k",)) == {"input": "Hi", "stream": False}


@pytest.mark.parametrize(
    ("value", "kept"), [(16, False), (10**30, False), (0, True), (-1, True), ("16", True), (None, True)]
)
def test_a_limit_that_the_endpoint_refuses_is_left_out(value: Any, kept: bool) -> None:
    form, body = BaseForm(max_output_tokens=False), {"input": "x", "max_output_tokens": value}
    assert fit_body(body, form, {}) == (body if kept else {"input": "x"})
    assert fit_body(body, form, {}, keeps=("max_output_tokens",)) == body
    assert fit_body(body, USUAL_FORM, {}) == body


def test_plain_requests_say_so_where_the_endpoint_streams_without_it() -> None:
    form = BaseForm(stream_false=True)
    assert fit_body({"input": "x"}, form, {}) == {"input": "x", "stream": False}
    assert fit_body({"input": "x", "stream": True}, form, {}) == {"input": "x", "stream": True}
    assert fit_body({"input": "x", "stream": None}, form, {}) == {"input": "x", "stream": None}


@given(OBJECTS, OBJECTS)
def test_the_own_fields_of_a_body_win(own: dict[str, Any], extra: dict[str, Any]) -> None:
    merged = merge_below(own, extra)
    assert merged.keys() == own.keys() | extra.keys()
    for name, value in own.items():
        if isinstance(value, dict) and isinstance(extra.get(name), dict):
            assert merged[name] == merge_below(value, extra[name])
        else:
            assert merged[name] == value
    for name in extra.keys() - own.keys():
        assert merged[name] == extra[name]
    assert merge_below(own, {}) == own
    assert merge_below(merged, extra) == merged


@given(OBJECTS, OBJECTS, st.sampled_from(["", " ", "\n\t"]))
def test_bytes_get_what_they_lack_and_nothing_else_changes(
    own: dict[str, Any], extra: dict[str, Any], space: str
) -> None:
    data = (space + json.dumps(own, ensure_ascii=False) + space).encode()
    fitted = fit_body(data, USUAL_FORM, extra)
    assert json.loads(fitted) == {**extra, **own}
    rest = data.lstrip()[1:]
    assert fitted.endswith(rest)
    assert (fitted == data) == (extra.keys() <= own.keys())


@pytest.mark.parametrize(
    "body",
    [b'{"input": "Say', b"", b"[1]", b"null", '{"a":1}'.encode("utf-16"), '{"a":1}'.encode("utf-16-le"), 7, None, [1]],
)
def test_what_is_no_object_stays_as_it_is(body: Any) -> None:
    assert fit_body(body, BaseForm(stream_false=True), {"a": 1, "b": 2}) == body


def test_peculiar_bytes_stay_peculiar() -> None:
    data = b'\xef\xbb\xbf { "input" : "x", "input": "y", "temperature": 1e999999 }'
    assert fit_body(data, USUAL_FORM, {"top_k": 1}) == data.replace(b" {", b' {"top_k":1,')


@pytest.mark.parametrize("form", [USUAL_FORM, STRING, TYPED, BaseForm(model=False, stream_false=True, plain=False)])
def test_only_an_unusual_form_has_traits(form: BaseForm) -> None:
    assert bool(form.traits()) == (form != USUAL_FORM)

"""Listed items: whatever the input holds, its items are listed as the dialect defines them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rejoinder.contract import dialect_names, load_dialect
from rejoinder.sandbox.endpoint.items import listed
from rejoinder.strategies import input_items

LISTS = [
    (name, operation)
    for name in dialect_names()
    for operation in ("input_items", "list_conversation_items")
    if operation in load_dialect(name).operations
]


def _is_reference(item: dict[str, Any]) -> bool:
    """Whether an item stands for another one; its type may be null or absent."""
    return item.get("type") == "item_reference" or (item.get("type") is None and "content" not in item)


@pytest.mark.slow(3)
@pytest.mark.parametrize(("dialect", "operation"), LISTS)
@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_every_item_is_listed_as_its_definition_says(dialect: str, operation: str, data: st.DataObject) -> None:
    item: dict[str, Any] = data.draw(input_items(dialect=dialect).filter(lambda item: not _is_reference(item)))
    page = {
        "object": "list",
        "data": [listed(item, lambda: "item_1")],
        "first_id": "item_1",
        "last_id": "item_1",
        "has_more": False,
    }
    assert [error.located for error in load_dialect(dialect).operations[operation].reply_validator.errors(page)] == []

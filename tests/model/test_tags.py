"""The tags of exchanges."""

from __future__ import annotations

import json

from rejoinder.model.exchange import Exchange, Outcome, Request
from rejoinder.model.tags import BOOKKEEPING, UNCERTAIN, Tag, sent_for, wrong_field, wrong_field_of


def test_tags_are_plain_strings_in_a_run_file_and_found_again() -> None:
    tags = (Tag.INVALID, wrong_field("input[0].type"), sent_for("TOL-09"))
    sent = Exchange("x", Request("POST", "/v1/responses"), Outcome.COMPLETE, 400, tags=tags)
    text = json.dumps(sent.to_json())
    assert '["invalid", "param:input[0].type", "TOL-09"]' in text
    read = Exchange.from_json(json.loads(text))
    assert Tag.INVALID in read.tags
    assert Tag.VALID not in read.tags
    assert sent_for("TOL-09") in read.tags
    assert not UNCERTAIN.isdisjoint(read.tags)
    assert not BOOKKEEPING & {*read.tags}
    assert wrong_field_of(read.tags) == "input[0].type"


def test_without_a_wrong_field_there_is_none() -> None:
    assert wrong_field_of((Tag.VALID, Tag.BASIC)) == ""

"""Running cases against a sandbox in the same process."""

from __future__ import annotations

from typing import Any

import pytest

from rejoinder.conformance.running.case import PlannedCase, RequestSpec
from rejoinder.conformance.running.in_process import dry_run, renamed


@pytest.mark.parametrize(
    ("body", "renamed_body"),
    [
        ({"model": "tiny", "input": "tiny"}, {"model": "other", "input": "tiny"}),
        ({"model": "large"}, {"model": "large"}),
        (b'{"model":"tiny","input":"a\\ud800"}', b'{"model":"other","input":"a\\ud800"}'),
        (b'{"model" : "tiny", "input": "\xff"}', b'{"model" : "other", "input": "\xff"}'),
        (b'{"model":"tiny-2"}', b'{"model":"tiny-2"}'),
        (None, None),
    ],
)
def test_the_model_is_renamed_in_every_body(body: Any, renamed_body: Any) -> None:
    case = PlannedCase("c", "One.", (RequestSpec("plain", body=body),))
    assert renamed(case, "tiny", "other").requests[0].body == renamed_body


def test_a_body_of_bytes_is_refused_for_its_own_fault_only() -> None:
    body = b'{"model":"tiny","input":"Say hello.","top_p":"high"}'
    [[exchange]] = dry_run([PlannedCase("c", "One.", (RequestSpec("plain", body=body),))], "northstar", "tiny")
    assert exchange.status == 400
    assert exchange.json()["error"]["param"] == "top_p"

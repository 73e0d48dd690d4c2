from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import jsonschema_rs
import pytest

from rejoinder.contract import SchemaVariant, request_schema
from rejoinder.strategies import EndpointProfile
from rejoinder.strategies.sets.edge import TIERS, EdgeCase, edge_cases

GENERATION = jsonschema_rs.Draft202012Validator(request_schema(SchemaVariant.GENERATION))
ENV = EndpointProfile(model="m", max_output_tokens=2)


def _parsed(case: EdgeCase) -> object:
    """Return what strict JSON makes of a body; raises ValueError or RecursionError where it is none."""

    def refuse(name: str) -> object:
        raise ValueError(name)

    return json.loads(case.data.decode("utf-8-sig"), parse_constant=refuse)


def test_tiers_can_be_chosen_and_ids_are_unique() -> None:
    everything = edge_cases()
    ids = [case.id for case in everything]
    assert len(set(ids)) == len(ids)
    assert all(id_.isascii() for id_ in ids)
    assert Counter(case.tier for case in everything).keys() == set(TIERS)
    assert [case for tier in TIERS for case in edge_cases(tier)] == everything
    assert [case.data for case in edge_cases()] == [case.data for case in everything]


@pytest.mark.parametrize("profile", [None, ENV], ids=["whole", "model"])
def test_valid_cases_are_valid_small_and_harmless(profile: EndpointProfile | None) -> None:
    for case in edge_cases("valid", profile=profile):
        assert GENERATION.is_valid(_parsed(case)), case.id
        assert len(case.data) < 2000
        assert b"\\u0000" not in case.data


def test_edge_cases_are_schema_valid_json() -> None:
    checked = 0
    for case in edge_cases("edge", size=10_000):
        body = json.loads(case.data.decode("utf-8-sig"), parse_int=_small, parse_float=_finite)
        checked += 1
        # Only the token limit may stand as text: no other number of that length is in these bodies.
        assert isinstance(body, dict), case.id
        assert GENERATION.is_valid(body), case.id
    assert checked > 100


def _small(text: str) -> int:
    """Read an integer; the validators here cannot hold huge ones, whose validity does not depend on their size."""
    return int(text) if len(text) < 18 else 2**53


def _finite(text: str) -> float:
    return min(float(text), 1e308)


def test_raw_cases_are_no_json_or_no_request() -> None:
    for case in edge_cases("raw", size=10_000):
        try:
            body = _parsed(case)
        except (ValueError, RecursionError):
            continue
        assert not GENERATION.is_valid(body) or case.content_type != "application/json", case.id


def test_a_profile_shows_and_size_scales() -> None:
    for case in edge_cases("edge", profile=ENV, size=1000):
        assert b'"model":"m"' in case.data, case.id
    long = {size: max(len(case.data) for case in edge_cases("edge", size=size)) for size in (1000, 100_000)}
    assert long[1000] < 20_000 < 100_000 <= long[100_000]
    without = edge_cases("edge", profile=EndpointProfile(unsupported_types=frozenset({"input_image"})))
    assert not any(case.id.startswith("edge.image_url") for case in without)


LIMITED = str(Path(__file__).parent.parent / "limits.toml")
"""A dialect with every keyword that limits values."""


def test_cases_meet_the_limits_of_the_schema_and_stay_within_them() -> None:
    sound = jsonschema_rs.Draft202012Validator(request_schema(SchemaVariant.GENERATION, dialect=LIMITED))
    cases = edge_cases("valid", "edge", dialect=LIMITED, size=2000)
    bodies = {case.id: json.loads(case.data.decode("utf-8-sig"), parse_float=_finite) for case in cases}
    assert [name for name, body in bodies.items() if "overflow" not in name and not sound.is_valid(body)] == []
    numbers = [body["numbers"] for name, body in bodies.items() if name.startswith("valid.limit.request.numbers")]
    assert {value for values in numbers for value in values} >= {10, 15, 35, 40}
    assert bodies["valid.limit.request.share.is_1e.06"]["share"] == 1e-06
    assert {len(body["code"]) for name, body in bodies.items() if ".request.code.length" in name} == {3, 4, 5}


def test_long_texts_have_exactly_as_many_characters_as_the_schema_allows(tmp_path: Path) -> None:
    dialect = tmp_path / "long.toml"
    dialect.write_text(
        'name = "long"\nbase = "openresponses"\n[overlay.request.add]\n'
        '"/properties/essay" = { type = "string", maxLength = 100_000 }\n'
    )
    whole = {case.id: case for case in edge_cases("edge", dialect=dialect, size=100_000)}
    assert len(json.loads(whole["edge.limit.request.essay.length_100000"].data)["essay"]) == 100_000
    less = edge_cases("edge", dialect=dialect, size=99_000)
    assert not any("essay.length" in case.id for case in less)

"""Run files of version 1 as rejoinder 0.1.0 wrote them, shortened: they are read whole, and written back unchanged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rejoinder.errors import RunFileError
from rejoinder.model.outcomes import RequestOutcome
from rejoinder.model.runfile import RunWriter, line_is_valid, read_run
from rejoinder.model.samples import KINDS, ProbeSample, Repeat, RequestSample, SearchStep, Validity, read_sample
from rejoinder.model.verdict import Status

FILES = sorted((Path(__file__).parent / "v1").glob("*.ndjson"))
SAMPLES = [
    record for path in FILES for line in path.read_text().splitlines() if (record := json.loads(line)).get("what")
]


def test_every_kind_of_line_is_there() -> None:
    assert {sample["what"] for sample in SAMPLES} == set(KINDS)
    assert len(FILES) == 5


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_run_is_read_without_loss(path: Path, tmp_path: Path) -> None:
    run = read_run(path)
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert run.damage == []
    assert len(run.exchanges) + len(run.verdicts) + len(run.samples) + 2 == len(records)
    with RunWriter(tmp_path / "run.ndjson") as writer:
        for exchange in run.exchanges:
            writer.exchange(exchange)
        for verdict in run.verdicts:
            writer.verdict(verdict)
        for sample in run.samples:
            writer.sample(sample)
    again = [json.loads(line) for line in (tmp_path / "run.ndjson").read_text().splitlines()]
    order = ["exchange", "verdict", "sample"]
    middle = [record for record in records if record["kind"] in order]
    assert again == sorted((without_empty(record) for record in middle), key=lambda one: order.index(one["kind"]))


def without_empty(record: dict[str, Any]) -> dict[str, Any]:
    """Return a line without the empty fields that are left out today."""
    return {
        name: value for name, value in record.items() if (record.get("what"), name, value) != ("probe", "evidence", {})
    }


def test_the_figures_are_those_that_were_written() -> None:
    found = {path.stem: read_run(path) for path in FILES}
    load = found["load-open"].load
    assert load is not None
    assert (load.started, load.outcomes, load.self_check.verdict) == (60, {RequestOutcome.OK: 60}, Validity.SUSPECT)
    assert [(slo.text, slo.met) for slo in load.slos] == [
        ("ttft:p90<300ms", True), ("e2e<2s", None), ("goodput>=50%", True), ("output_tokens>1/s", True)
    ]  # fmt: skip
    assert found["load-open"].samples_of(RequestSample)[0].times["ttft"] > 0
    repeats = found["load-repeats"]
    sides = "".join(repeat.of[0] for repeat in repeats.samples_of(Repeat))
    assert sides == "eaaeea"
    assert [probe.name for probe in repeats.samples_of(ProbeSample)] == [
        "streams stop", "replies stop", "stays up", "side by side"
    ]  # fmt: skip
    search = found["load-find-rate"]
    assert search.load is not None
    assert search.load.search is not None
    assert search.load.search.steps[: len(search.samples_of(SearchStep))] == search.samples_of(SearchStep)
    failed = {verdict.rule for verdict in found["check"].verdicts if verdict.status is Status.FAIL}
    assert failed == {"EVT-02", "RSP-08"}


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample["what"])
def test_types_and_schema_agree(sample: dict[str, Any]) -> None:
    def readable(record: dict[str, Any]) -> bool:
        try:
            read_sample(record)
        except ValueError:
            return False
        return True

    for name in sample.keys() - {"kind"}:
        without = {key: value for key, value in sample.items() if key != name}
        assert line_is_valid(without) == readable(without), name
        wrongs: tuple[Any, ...] = ({"strange": True}, [[[]]], "strange", None, -(10**30))
        for wrong in wrongs:
            changed = {**sample, name: wrong}
            assert line_is_valid(changed) == readable(changed), (name, wrong)
    assert line_is_valid({**sample, "of_a_newer_version": 1})
    assert readable({**sample, "of_a_newer_version": 1})


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_newer_version_is_refused_in_a_sentence(path: Path, tmp_path: Path) -> None:
    header, *rest = path.read_text().splitlines(keepends=True)
    newer = tmp_path / "run.ndjson"
    newer.write_text("".join([json.dumps({**json.loads(header), "version": 2}) + "\n", *rest]))
    with pytest.raises(RunFileError) as caught:
        read_run(newer)
    assert str(caught.value) == (
        f"{newer} has run file version 2, but this rejoinder reads up to version 1. Upgrade rejoinder."
    )

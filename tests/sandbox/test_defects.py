"""Every class of defects is modelled by faults, or says why not."""

from __future__ import annotations

from rejoinder.sandbox import FAULTS
from rejoinder.sandbox.defects import classes_of, load_defects
from rejoinder.sandbox.server import SERVER_FAULTS


def test_every_class_has_faults_or_one_reason() -> None:
    for row in load_defects().values():
        told = [row.reported, row.unseen]
        assert sum(map(bool, (row.faults, row.under_load, *told))) == 1, row.id
        assert row.statement.endswith(".")
        assert not row.reason or row.reason.endswith("."), row.id


def test_no_class_is_forgotten() -> None:
    # 102 classes of the collection of defects, and 12 that were found in the field later.
    assert len(load_defects()) == 102 + 12
    assert list(load_defects()) == sorted(load_defects())


def test_every_fault_that_a_class_names_exists() -> None:
    named = {name for row in load_defects().values() for name in row.faults}
    assert named <= set(FAULTS)
    assert {name for row in load_defects().values() for name in row.under_load} == set(SERVER_FAULTS)


def test_classes_are_found_by_fault() -> None:
    assert classes_of("arguments-merged") == ("parallel-call-arguments-merged",)
    assert classes_of("event-ids-sent") == ()

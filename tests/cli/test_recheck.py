"""``rejoinder recheck``: what the new run keeps of the old one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rejoinder.model.runfile import read_run
from rejoinder.sandbox import Sandbox, running

Invoke = Callable[..., tuple[int, str, str]]


@pytest.mark.slow(3)
def test_the_evidence_is_about_the_minimal_request(invoke: Invoke, tmp_path: Path) -> None:
    with running(Sandbox(faults=("total-tokens-wrong",))) as url:
        assert invoke("check", url, "--plan", "smoke", "-q", "--out", "old")[0] == 1
    assert invoke("recheck", "old", "--out", "new")[0] == 1
    found = [finding for verdict in read_run(Path("new")).verdicts for finding in verdict.findings]
    minimal = [(finding.minimal.exchange, finding.evidence.exchange) for finding in found if finding.minimal]
    assert minimal
    assert all(one == other for one, other in minimal)


@pytest.mark.slow(6)
def test_the_dialect_is_chosen_and_recorded(invoke: Invoke, tmp_path: Path) -> None:
    with running(Sandbox("vllm")) as url:
        code, out, err = invoke("check", url, "--dialect", "auto", "--plan", "smoke", "--out", "auto")
        assert code == 0, err
        assert "Dialect chosen: the response object has kv_transfer_params" in out + err
        code, out, err = invoke("check", url, "--plan", "smoke", "--out", "default")
        assert code == 0
        assert "--dialect vllm fits" in out + err
        assert invoke("load", url, "--dialect", "auto", "--requests", "2", "-q", "--out", "load")[0] == 0
    chosen = {name: read_run(Path(name)).header.target for name in ("auto", "default", "load")}
    assert {name: target.dialect for name, target in chosen.items()} == {
        "auto": "vllm",
        "default": "northstar",
        "load": "vllm",
    }
    assert chosen["auto"].dialect_reason == chosen["load"].dialect_reason
    assert "kv_transfer_params" in Path("auto/report.html").read_text("utf-8")
    assert invoke("recheck", "default", "--dialect", "auto", "--out", "again")[0] == 0
    assert read_run(Path("again")).header.target.dialect == "vllm"


@pytest.mark.slow(6)
def test_a_dialect_that_fits_by_shape_is_named_after_the_run(invoke: Invoke, tmp_path: Path) -> None:
    smoke = ("--plan", "smoke", "--no-confirm")
    hint = "Hint: the response object has all 31 fields that openresponses requires, and data: [DONE] ends the stream. "
    with running(Sandbox("openresponses")) as url:
        _, out, err = invoke("check", url, *smoke, "--quiet", "--out", "default")
        assert hint + "--dialect openresponses fits" in err
        assert "Hint" not in out
        _, _, err = invoke(
            "check", url, "--plan", "smoke", "--no-confirm", "--dialect", "openresponses", "--out", "own"
        )
        assert "Hint" not in err
        _, out, err = invoke("replay", "default", "--all", "--dialect", "auto", "--out", "replayed")
        assert "Dialect chosen: the response object has all 31 fields" in out + err
    assert read_run(Path("replayed")).header.target.dialect == "openresponses"
    baseline = ("--baseline", "known.toml", "--reason", "known")
    code, out, err = invoke("baseline", "update", "default", *baseline, "--dialect", "auto")
    assert code == 0, err
    assert "Dialect openresponses (" in out
    # Against another dialect than that of the run, no reason is left of it.
    assert invoke("recheck", "replayed", "--dialect", "openai", "--out", "again")[0] in (0, 1)
    assert read_run(Path("again")).header.target.dialect_reason == ""


def test_features_are_read_after_the_dialect_is_chosen(invoke: Invoke, tmp_path: Path) -> None:
    with running(Sandbox("vllm")) as url:
        code, _, err = invoke("check", url, "--dialect", "auto", "--plan", "smoke", "--require", "delete", "--out", "x")
    assert code == 2
    assert "vllm" in err

"""Dropped requests: what a server does after its clients have gone, and how sure the answer is."""

from __future__ import annotations

import pytest

from rejoinder.errors import UsageError
from rejoinder.load.disconnect_probe import DisconnectProbe
from rejoinder.load.settings import LoadSettings
from rejoinder.model.samples import ProbeSample
from rejoinder.sandbox import Sandbox
from rejoinder.sandbox import running as serving


def probe(*faults: str, metrics: bool = True, tokens: int = 900) -> dict[str, str]:
    sandbox = Sandbox(token_delay=0.01, min_tokens=tokens)
    with serving(sandbox, faults=faults) as url:
        settings = LoadSettings(url=url, model="parrot", rate=1, metrics=("auto",) if metrics else ())
        shown: list[ProbeSample] = []
        results = DisconnectProbe(settings, None, streams=4, rounds=2, grace=0.5, on_result=shown.append).run()
    assert shown == results
    assert all(result.text.endswith(".") for result in results)
    return {result.name: result.verdict for result in results}


CLEAN = {"streams stop": "pass", "replies stop": "pass", "stays up": "pass", "side by side": "pass"}


@pytest.mark.slow(24)
@pytest.mark.parametrize(
    ("fault", "name", "verdict"),
    [
        ("", "", ""),
        ("streams-run-on", "streams stop", "fail"),
        ("replies-run-on", "replies stop", "fail"),
        ("disconnect-forgets", "stays up", "fail"),
    ],
)
def test_each_defect_is_found_and_nothing_else(fault: str, name: str, verdict: str) -> None:
    found = probe(*([fault] if fault else []))
    assert found == {**CLEAN, **({name: verdict} if fault else {})}


@pytest.mark.slow(6)
def test_a_server_that_crashes_is_found() -> None:
    assert probe("disconnect-crashes")["stays up"] == "fail"


@pytest.mark.slow(12)
def test_streams_one_after_the_other_are_found() -> None:
    assert probe("one-stream-at-a-time", tokens=300)["side by side"] == "warn"


@pytest.mark.slow(15)
def test_what_does_not_show_is_not_claimed() -> None:
    # Without metrics, and where long streams slow nothing down, nobody can say whether they end.
    for faults in ((), ("streams-run-on",)):
        found = probe(*faults, metrics=False)
        assert (found["streams stop"], found["replies stop"]) == ("unclear", "unclear")


@pytest.mark.slow(55)
@pytest.mark.parametrize("faults", [(), ("streams-run-on", "replies-run-on")])
def test_times_tell_where_a_few_slots_make_others_wait(faults: tuple[str, ...]) -> None:
    sandbox = Sandbox(token_delay=0.003, min_tokens=900)
    with serving(sandbox, faults=faults, slots=2) as url:
        settings = LoadSettings(url=url, model="parrot", rate=1)
        results = DisconnectProbe(settings, None, streams=4, grace=0.3, patience=0.5).run()
    verdicts = {result.name: (result.verdict, result.text) for result in results}
    # On a busy machine the times may say nothing; they must never say the opposite.
    for name in ("streams stop", "replies stop"):
        assert verdicts[name][0] in {"unclear", "fail" if faults else "pass"}, verdicts
    assert verdicts["stays up"][0] == "pass"


def test_an_endpoint_that_is_not_there_proves_nothing() -> None:
    settings = LoadSettings(url="http://127.0.0.1:9", model="m", rate=1)
    results = DisconnectProbe(settings, None, streams=2, rounds=2, grace=0.01).run()
    assert [result.verdict for result in results] == ["unclear", "unclear", "fail", "unclear"]


def test_an_unknown_fault_of_the_server_is_told() -> None:
    with pytest.raises(UsageError, match="not a server fault"), serving(Sandbox(), faults=["x"]):
        pass


def test_times_decide_where_there_are_no_counts() -> None:
    probes = DisconnectProbe(LoadSettings(url="http://h", rate=1), None)
    idle, busy = [0.10, 0.11, 0.10, 0.12], [0.50, 0.52, 0.55, 0.49]
    assert probes._by_times("streams", idle, busy, [0.51, 0.50, 0.56, 0.48])[0] == "fail"
    assert probes._by_times("streams", idle, busy, [0.10, 0.12, 0.11, 0.11])[0] == "pass"
    assert probes._by_times("streams", idle, idle, idle)[0] == "unclear"
    assert probes._by_times("streams", idle, busy, [0.1, 0.5, 0.1, 0.6])[0] == "unclear"

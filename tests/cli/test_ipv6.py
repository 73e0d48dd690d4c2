"""Commands reach an endpoint on the IPv6 loopback address, with and without a port in the Host header."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rejoinder.model.runfile import read_run
from rejoinder.sandbox import Sandbox, running

Invoke = Callable[..., tuple[int, str, str]]


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


pytestmark = [
    pytest.mark.may_skip,
    pytest.mark.skipif(not _has_ipv6(), reason="This machine has no IPv6 loopback address."),
]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with running(Sandbox(min_tokens=0), host="::1") as url:
        yield url


@pytest.mark.slow(4)
def test_a_check_and_a_replay_over_ipv6(endpoint: str, invoke: Invoke, tmp_path: Path) -> None:
    assert endpoint.startswith("http://[::1]:")
    code, text, _ = invoke("check", endpoint, "--plan", "smoke", "--out", "run", "--quiet")
    assert code == 0
    run = read_run(tmp_path / "run")
    assert run.header.target.url == f"{endpoint}/v1/responses"
    assert endpoint in "".join(text.split())
    assert "has no findings" in invoke("replay", "run", "--all")[1]


@pytest.mark.slow(5)
def test_a_load_over_ipv6(endpoint: str, invoke: Invoke, tmp_path: Path) -> None:
    options = ("--requests", "4", "--concurrency", "2", "--metrics", "auto", "--out", "run", "--quiet")
    code, text, _ = invoke("load", endpoint, *options)
    assert code in (0, 4), text  # 4: the machine was busy
    load = read_run(tmp_path / "run").load
    assert load is not None
    assert load.outcomes == {"ok": 4}


def test_an_address_that_is_in_use_is_shown_with_brackets(endpoint: str, invoke: Invoke) -> None:
    port = endpoint.rpartition(":")[2]
    code, _, err = invoke("sandbox", "--host", "::1", "--port", port)
    assert code == 2
    assert f"Cannot listen on [::1]:{port}: " in err

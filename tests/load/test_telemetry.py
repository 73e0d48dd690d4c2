"""Telemetry: pages of known servers, what is no page, and a run with one."""

from __future__ import annotations

import http.server
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.hostile.endpoint import Act, Behaviour, Connection, HostileEndpoint, HttpRequest, On

from rejoinder.errors import UsageError
from rejoinder.load.gpus import Gpus
from rejoinder.load.run import check_settings, run_load
from rejoinder.load.settings import LoadSettings
from rejoinder.load.telemetry import GPUS, Scrape, Telemetry, fetch_values, parse_metrics, read_values
from rejoinder.model.footer import Footer
from rejoinder.model.header import RunTarget, new_header
from rejoinder.model.histogram import Histogram
from rejoinder.model.runfile import RunWriter, read_run
from rejoinder.model.samples import SecondSample

VLLM = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="a {b} \\"c\\""} 3.0
vllm:num_requests_running{engine="1",model_name="a"} 4.0
vllm:num_requests_waiting{engine="0"} 2 1700000000000
vllm:kv_cache_usage_perc{engine="0"} 0.25
vllm:kv_cache_usage_perc{engine="1"} 0.5
vllm:prefix_cache_hits_total{engine="0"} 30
vllm:prefix_cache_queries_total{engine="0"} 1e2
vllm:time_to_first_token_seconds_bucket{le="+Inf"} 10
vllm:time_to_first_token_seconds_sum 2.5
vllm:time_to_first_token_seconds_count 10
"""
SGLANG = (
    'sglang:num_running_reqs{tp_rank="0"} 5\nsglang:num_queue_reqs 1\nsglang:token_usage 0.4\nsglang:cache_hit_rate 0.9'
)
LLAMA = "llamacpp:requests_processing 2\nllamacpp:requests_deferred 7"
SGLANG_COUNTERS = """\
sglang:num_retracted_requests_total{priority=""} 4
sglang:inter_token_latency_seconds_sum 3
sglang:inter_token_latency_seconds_count 100
sglang:queue_time_seconds_sum 5
sglang:queue_time_seconds_count 10
sglang:time_to_first_token_seconds_sum 9
sglang:time_to_first_token_seconds_count 10
"""
TGI = """\
tgi_batch_current_size 6
tgi_queue_size 2
tgi_request_queue_duration_sum 1.5
tgi_request_queue_duration_count 30
tgi_request_mean_time_per_token_duration_sum 0.6
tgi_request_mean_time_per_token_duration_count 30
"""
DYNAMO = """\
dynamo_frontend_inflight_requests{model="m"} 9
dynamo_frontend_queued_requests{model="m"} 3
dynamo_frontend_time_to_first_token_seconds_sum{model="m"} 4
dynamo_frontend_time_to_first_token_seconds_count{model="m"} 8
dynamo_frontend_inter_token_latency_seconds_sum{model="m"} 2
dynamo_frontend_inter_token_latency_seconds_count{model="m"} 80
dynamo_component_kvstats_gpu_cache_usage_percent{dp_rank="0"} 0.7
dynamo_component_kvstats_gpu_prefix_cache_hit_rate{dp_rank="0"} 0.4
"""
DCGM = 'DCGM_FI_DEV_GPU_UTIL{gpu="0"} 80\nDCGM_FI_DEV_GPU_UTIL{gpu="1"} 60\nDCGM_FI_DEV_POWER_USAGE{gpu="0"} 300.5'
DCGM += '\nDCGM_FI_PROF_SM_ACTIVE{gpu="0"} 0.6\nDCGM_FI_PROF_SM_ACTIVE{gpu="1"} 0.4'


@pytest.mark.parametrize(
    ("page", "values"),
    [
        (
            VLLM,
            {
                "running": 7,
                "waiting": 2,
                "cache_use": 0.5,
                "hits": 30,
                "queries": 100,
                "ttft_sum": 2.5,
                "ttft_count": 10,
            },
        ),
        (SGLANG, {"running": 5, "waiting": 1, "cache_use": 0.4, "hit_rate": 0.9}),
        (LLAMA, {"running": 2, "waiting": 7}),
        (
            SGLANG_COUNTERS,
            {
                "preempted": 4,
                "itl_sum": 3,
                "itl_count": 100,
                "queue_time_sum": 5,
                "queue_time_count": 10,
                "ttft_sum": 9,
                "ttft_count": 10,
            },
        ),
        (
            TGI,
            {
                "running": 6,
                "waiting": 2,
                "queue_time_sum": 1.5,
                "queue_time_count": 30,
                "itl_sum": 0.6,
                "itl_count": 30,
            },
        ),
        (
            DYNAMO,
            {
                "running": 9,
                "waiting": 3,
                "ttft_sum": 4,
                "ttft_count": 8,
                "itl_sum": 2,
                "itl_count": 80,
                "cache_use": 0.7,
                "hit_rate": 0.4,
            },
        ),
        (DCGM, {"gpu_percent": 70, "gpu_power": 300.5, "gpu_active": 0.5}),
        ("python_info 1\nvllm:num_requests_running NaN\n", {}),
        ("vllm:num_requests_running +Inf\nvllm:num_requests_waiting 1e308\nvllm:kv_cache_usage_perc -1e999\n", {}),
        ('vllm:num_requests_running{a="1"} 9e17\nvllm:num_requests_running{a="2"} 9e17\n', {}),
    ],
)
def test_pages_of_known_servers(page: str, values: dict[str, float]) -> None:
    assert read_values(parse_metrics(page)) == values


@pytest.mark.parametrize("page", ["<html>", "a b", "a{b 1", "1a 3", "a 1 2 3"])
def test_what_is_no_page(page: str) -> None:
    with pytest.raises(ValueError, match=r"no metric|could not convert"):
        parse_metrics(page)


@given(st.text())
def test_anything_else_is_no_page_or_numbers(text: str) -> None:
    try:
        found = parse_metrics(text)
    except ValueError:
        return
    assert all(isinstance(value, float) for values in found.values() for value in values)


def scrape(second: float, **values: float) -> Scrape:
    return Scrape(round((100 + second) * 1e9), values)


def test_counters_become_rates_on_the_axis_of_the_run() -> None:
    telemetry = Telemetry(())
    telemetry.series["page"] = [
        scrape(-3, running=0, hits=10, queries=20, preempted=1, ttft_sum=1, ttft_count=10),
        scrape(0.5, running=4, hits=10, queries=20, preempted=1, ttft_sum=2, ttft_count=12, gpu_percent=50),
        scrape(1.5, running=8, hits=40, queries=60, preempted=3, ttft_sum=2, ttft_count=12, gpu_percent=100),
        scrape(2.5, running=0, hits=0, queries=0, preempted=0, ttft_sum=0, ttft_count=0),
    ]
    assert telemetry.seconds(100 * 10**9) == {
        0: {"running": 4, "preemptions": 0, "ttft": 0.5, "gpu_use": 0.5},
        1: {"running": 8, "prefix_hit_rate": 0.75, "preemptions": 2, "gpu_use": 1.0},
        2: {"running": 0},
    }
    del telemetry.series["page"][3]
    seen = Histogram()
    seen.add(0.6)
    summary = telemetry.summary(100 * 10**9, seen)
    assert (summary["running_mean"], summary["running_max"], summary["samples"]) == (6, 8, 2)
    assert (summary["prefix_hit_rate"], summary["preemptions"]) == (0.75, 2)
    assert (summary["ttft"], summary["ttft_difference"]) == (0.5, pytest.approx(0.1))


def test_means_of_a_second_come_from_what_its_sums_grew() -> None:
    telemetry = Telemetry(())
    telemetry.series["page"] = [
        scrape(0.5, itl_sum=1, itl_count=100, queue_time_sum=0, queue_time_count=0),
        scrape(1.5, itl_sum=3, itl_count=200, queue_time_sum=4, queue_time_count=8),
    ]
    assert telemetry.seconds(100 * 10**9)[1] == {"itl": 0.02, "queue_time": 0.5}
    assert telemetry.summary(100 * 10**9, None)["itl"] == 0.02


class NVMLError(Exception):
    """What the library raises."""


class FakeNvml:
    """A host with two GPUs. The second does not tell its power, and its memory includes what the driver reserves."""

    NVMLError = NVMLError

    def __init__(self, count: int = 2, broken: bool = False) -> None:
        self.count, self.broken = count, broken
        self.nvmlMemory_v2 = 2

    def nvmlInit(self) -> None:  # noqa: N802
        if self.broken:
            raise NVMLError("Driver Not Loaded")

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return self.count

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> SimpleNamespace:  # noqa: N802
        return SimpleNamespace(gpu=[80, 40][handle])

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:  # noqa: N802
        if handle:
            raise NVMLError("Not Supported")
        return 250_500

    def nvmlDeviceGetMemoryInfo(self, handle: int, version: int = 0) -> SimpleNamespace:  # noqa: N802
        if version and handle:
            raise NVMLError("Argument Version Mismatch")
        reserved = 0 if version else 600 << 20
        return SimpleNamespace(used=((1 + handle) << 30) + reserved)


def test_the_gpus_of_this_host_are_on_the_axis_too() -> None:
    gpus = Gpus(FakeNvml())
    assert gpus.read() == {"gpu_percent": 60, "gpu_power": 250.5, "gpu_memory": 3672}
    telemetry = Telemetry((), gpus)
    telemetry.start()
    telemetry.stop()
    assert telemetry.seconds(0)[telemetry.series[GPUS][0].at // 10**9] == {
        "gpu_use": 0.6,
        "gpu_power": 250.5,
        "gpu_memory": 3672,
    }


def test_each_source_has_a_series_of_its_own() -> None:
    """Of two pages one is read every second, the other every other second; both are on one axis."""
    telemetry = Telemetry(())
    telemetry.series["page"] = [scrape(second, running=2, hits=second, queries=2 * second) for second in (1, 3)]
    telemetry.series[GPUS] = [scrape(second, gpu_percent=50) for second in (0, 1, 2, 3)]
    assert telemetry.seconds(100 * 10**9) == {
        0: {"gpu_use": 0.5},
        1: {"running": 2, "gpu_use": 0.5},
        2: {"gpu_use": 0.5},
        3: {"running": 2, "prefix_hit_rate": 0.5, "gpu_use": 0.5},
    }
    summary = telemetry.summary(100 * 10**9, None)
    assert (summary["samples"], summary["gpu_use_mean"], summary["prefix_hit_rate"]) == (4, 0.5, 0.5)


def test_a_slow_page_does_not_thin_out_the_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page answers when the GPUs have been read five times, which they never are if they wait for it."""
    five = threading.Event()

    class CountedGpus(Gpus):
        readings = 0

        def read(self) -> dict[str, float]:
            self.readings += 1
            if self.readings == 5:
                five.set()
            return super().read()

    def slow(url: str, context: ssl.SSLContext | None = None) -> dict[str, float] | None:
        return {"running": 1.0} if five.wait(10) else None

    monkeypatch.setattr("rejoinder.load.telemetry.EVERY", 0.01)
    monkeypatch.setattr("rejoinder.load.telemetry.fetch_values", slow)
    telemetry = Telemetry(["http://h/metrics"], CountedGpus(FakeNvml()))
    telemetry.start()
    telemetry.stop()
    assert len(telemetry.series[GPUS]) >= 5
    assert telemetry.series["http://h/metrics"][0].values == {"running": 1.0}


def test_a_host_without_gpus_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    for library, message in ((FakeNvml(0), "has no GPU"), (FakeNvml(broken=True), "Driver Not Loaded")):
        with pytest.raises(UsageError, match=message):
            Gpus(library)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(UsageError, match=r"rejoinder\[gpu\]"):
        check_settings(LoadSettings(url="http://h", rate=1, gpu=True))


def test_nothing_there_is_fine() -> None:
    telemetry = Telemetry(["http://127.0.0.1:9/metrics"])
    telemetry.start()
    telemetry.stop()
    assert telemetry.summary(0, None) == {}


def test_addresses() -> None:
    settings = LoadSettings(url="http://h:81/v1", rate=1, metrics=("auto", "http://127.0.0.1:9400/metrics"))
    assert settings.metrics_urls() == ["http://h:81/metrics", "http://127.0.0.1:9400/metrics"]
    with pytest.raises(UsageError, match="not an http"):
        LoadSettings(url="http://h", rate=1, metrics=("yes",)).check()


LINE = b"vllm:num_requests_running 7\n"


def slow_page(connection: Connection, request: HttpRequest) -> None:
    """Each byte of the page comes 0.05 seconds after the last one."""
    connection.head(200)
    connection.send(LINE)
    connection.forever(b"#", every=0.05)


def slow_head(connection: Connection, request: HttpRequest) -> None:
    """Each byte of the headers comes 0.05 seconds after the last one."""
    connection.send(b"HTTP/1.1 200 OK\r\nX: ")
    connection.forever(b"x", every=0.05)


def page_without_end(connection: Connection, request: HttpRequest) -> None:
    """The page never ends."""
    connection.head(200)
    connection.send(LINE)
    connection.forever(b"# comment\n")


@pytest.mark.slow(3)
@pytest.mark.parametrize("act", [slow_page, slow_head, page_without_end])
def test_a_page_that_does_not_end_is_none(act: Act, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rejoinder.load.telemetry.METRICS_SECONDS", 1.0 if act is not page_without_end else 60.0)
    with HostileEndpoint(act) as endpoint:
        assert fetch_values(f"{endpoint.url}/metrics") is None


CERTIFICATE = Path(__file__).parents[1] / "wire" / "self-signed.pem"


def shakes(sock: socket.socket) -> socket.socket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context.wrap_socket(sock, server_side=True)


def slow_handshake(sock: socket.socket) -> None:
    """Each byte of the first record comes 0.05 seconds after the last one."""
    sock.sendall(b"\x16\x03\x03\x40\x00")
    while True:
        sock.sendall(b"\x02")
        time.sleep(0.05)


def sound_page(connection: Connection, request: HttpRequest) -> None:
    connection.reply(LINE)


@pytest.mark.slow(1)
@pytest.mark.parametrize(
    ("act", "opens", "values"),
    [
        (sound_page, shakes, {"running": 7}),
        (slow_page, shakes, None),
        (slow_head, shakes, None),
        (sound_page, slow_handshake, None),
    ],
)
def test_a_page_over_tls_ends_in_time_or_is_none(
    act: Act,
    opens: Callable[[socket.socket], socket.socket | None],
    values: dict[str, float] | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("rejoinder.load.telemetry.METRICS_SECONDS", 1.0 if values is None else 60.0)
    context = ssl.create_default_context(cafile=str(CERTIFICATE))
    with HostileEndpoint(Behaviour("one", "TLS", "", act, On.METRICS, opens=opens, tls=True)) as endpoint:
        assert fetch_values(f"{endpoint.url}/metrics", context) == values


@pytest.mark.parametrize(
    ("target", "values", "paths"),
    [
        ("/metrics/", {"running": 7}, ["/metrics", "/metrics/"]),
        ("/metrics", None, ["/metrics"] * 3),
        ("http://localhost:{port}/metrics/", None, ["/metrics"]),
        ("https://127.0.0.1:{port}/metrics/", None, ["/metrics"]),
        ("ftp://127.0.0.1:{port}/metrics/", None, ["/metrics"]),
        ("//[", None, ["/metrics"]),
    ],
)
def test_only_redirects_to_the_same_origin_are_followed(
    target: str, values: dict[str, float] | None, paths: list[str]
) -> None:
    def elsewhere(connection: Connection, request: HttpRequest) -> None:
        port = request.headers["host"].rpartition(":")[2]
        if request.path == "/metrics":
            connection.reply(b"vllm:num_requests_running 9\n", ("Location", target.format(port=port)), status=307)
        else:
            connection.reply(LINE)

    with HostileEndpoint(elsewhere) as endpoint:
        assert fetch_values(f"{endpoint.url}/metrics") == values
        assert [request.path for request in endpoint.requests] == paths


@pytest.fixture
def page() -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(VLLM.encode())

        def log_message(self, *_: Any) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/metrics"
        server.shutdown()
        thread.join()


@pytest.mark.slow(3)
def test_a_run_has_the_server_on_its_axis(timed_server: Any, page: str, tmp_path: Path) -> None:
    settings = LoadSettings(
        url=timed_server.url, model="ttft=30&gap=5&tokens=8", concurrency=1, duration=2.5, metrics=(page,)
    )
    with RunWriter(tmp_path / "run.ndjson") as writer:
        writer.header(new_header(RunTarget(url=settings.url, model="m", dialect="northstar")))
        result = run_load(settings, writer)
        writer.footer(Footer(ended_at=0.0, exit_code=0))
    run = read_run(tmp_path)
    assert run.damage == []
    assert result.load.server["running_max"] == 7
    with_server = [second for second in run.samples_of(SecondSample) if second.server]
    assert with_server
    assert with_server[0].server["waiting"] == 2

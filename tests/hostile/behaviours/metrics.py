"""Behaviours of /metrics, which a load reads beside its requests."""

from __future__ import annotations

import gzip
from functools import partial

from tests.hostile.endpoint import Connection, HttpRequest, on_metrics

metrics = partial(on_metrics, "metrics")

PAGE = b"# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running 1\n"
TEXT = "text/plain; version=0.0.4"


def _page(connection: Connection, body: bytes, *headers: tuple[str, str]) -> None:
    connection.reply(body, *headers, kind=TEXT)


@metrics("The page is empty.")
def metrics_empty(connection: Connection, request: HttpRequest) -> None:
    _page(connection, b"")


@metrics("The page is HTML.")
def metrics_html(connection: Connection, request: HttpRequest) -> None:
    connection.reply(b"<html><script>alert(1)</script>", kind="text/html")


@metrics("The page is JSON.")
def metrics_json(connection: Connection, request: HttpRequest) -> None:
    connection.reply(b'{"vllm:num_requests_running": 1}')


@metrics("The page has status 500.")
def metrics_500(connection: Connection, request: HttpRequest) -> None:
    connection.reply(b"::error::obeyed\n", status=500, kind="text/plain")


@metrics("Values are infinite, 1e308 and no numbers.")
def metrics_infinite(connection: Connection, request: HttpRequest) -> None:
    values = (b"+Inf", b"-Inf", b"NaN", b"1e308", b"1e999", b"9" * 400, b"0x10", b"1_000", b"one", b"")
    _page(connection, b"".join(b'vllm:num_requests_running{n="%d"} %s\n' % pair for pair in enumerate(values)))


@metrics("Counters run backwards.")
def metrics_backwards(connection: Connection, request: HttpRequest) -> None:
    _page(connection, b"# TYPE vllm:generation_tokens counter\nvllm:generation_tokens_total %d\n" % -request.at)


@metrics("Buckets of a histogram contradict each other.")
def metrics_histogram(connection: Connection, request: HttpRequest) -> None:
    name = b"vllm:time_to_first_token_seconds"
    lines = (
        b'_bucket{le="0.1"} 9',
        b'_bucket{le="0.01"} 5',
        b'_bucket{le="x"} -1',
        b'_bucket{le="+Inf"} 3',
        b"_count 7",
    )
    _page(connection, b"# TYPE %s histogram\n" % name + b"".join(name + line + b"\n" for line in lines))


@metrics("The page has 100,000 series.")
def metrics_series(connection: Connection, request: HttpRequest) -> None:
    _page(connection, b"".join(b'vllm:num_requests_running{n="%d"} 1\n' % n for n in range(100_000)))


@metrics("The page has no end.")
def metrics_without_end(connection: Connection, request: HttpRequest) -> None:
    connection.head(200, ("Content-Type", TEXT))
    connection.forever(PAGE)


@metrics("The page trickles, a byte at a time.")
def metrics_trickle(connection: Connection, request: HttpRequest) -> None:
    connection.head(200, ("Content-Type", TEXT))
    connection.forever(b"#", every=0.05)


@metrics("The page hangs.")
def metrics_hang(connection: Connection, request: HttpRequest) -> None:
    connection.wait_gone()


@metrics("The connection of the page is reset.")
def metrics_reset(connection: Connection, request: HttpRequest) -> None:
    connection.reset()


@metrics("The page is a gzip bomb.")
def metrics_bomb(connection: Connection, request: HttpRequest) -> None:
    _page(connection, gzip.compress(b"# x\n" * 50_000_000 + PAGE), ("Content-Encoding", "gzip"))


@metrics("The page redirects to another host.")
def metrics_redirect(connection: Connection, request: HttpRequest) -> None:
    connection.reply(b"", ("Location", "http://elsewhere.invalid/metrics"), status=302)


@metrics("The page redirects to FTP.")
def metrics_redirect_ftp(connection: Connection, request: HttpRequest) -> None:
    connection.reply(b"", ("Location", "ftp://elsewhere.invalid/metrics"), status=302)


@metrics("Names and labels have terminal escapes, and the key.")
def metrics_text(connection: Connection, request: HttpRequest) -> None:
    key = request.headers.get("authorization", "none").encode()
    _page(connection, PAGE + b'vllm:\x1b[31m{a="%s\x07</script>"} 1\nvllm:num_requests_waiting{a="\xff"} 2\n' % key)


@metrics("Labels never end.")
def metrics_label(connection: Connection, request: HttpRequest) -> None:
    _page(connection, b'vllm:num_requests_running{a="' + b"x" * 5_000_000)

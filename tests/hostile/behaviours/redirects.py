"""Behaviours that redirect. A client that follows them takes its key along."""

from __future__ import annotations

from functools import partial

from tests.hostile.endpoint import Connection, HttpRequest, On, behaviour, on_create

create = partial(on_create, "redirects")

ELSEWHERE = "http://elsewhere.invalid/v1/responses"


def _to(connection: Connection, place: str | None, status: int = 307, body: bytes = b"") -> None:
    location = () if place is None else (("Location", place),)
    connection.reply(body, *location, status=status, kind="text/plain")


@create("The endpoint redirects to itself, with status 301.")
def redirect_301(connection: Connection, request: HttpRequest) -> None:
    _to(connection, request.path, 301)


@create("The endpoint redirects to itself, with status 302.")
def redirect_302(connection: Connection, request: HttpRequest) -> None:
    _to(connection, request.path, 302)


@create("The endpoint says See Other, to itself.")
def redirect_303(connection: Connection, request: HttpRequest) -> None:
    _to(connection, request.path, 303)


@create("The endpoint redirects to itself without end, and keeps the method.")
def redirect_loop(connection: Connection, request: HttpRequest) -> None:
    _to(connection, request.path, 307)


@create("Each redirect names another path.")
def redirect_chain(connection: Connection, request: HttpRequest) -> None:
    _to(connection, f"/v{request.number}/responses", 308)


@create("The redirect names another host.")
def redirect_to_another_host(connection: Connection, request: HttpRequest) -> None:
    _to(connection, ELSEWHERE)


@create("The redirect names another host without a scheme.")
def redirect_without_scheme(connection: Connection, request: HttpRequest) -> None:
    _to(connection, "//elsewhere.invalid/v1/responses")


@create("The redirect names another port of the host.")
def redirect_to_another_port(connection: Connection, request: HttpRequest) -> None:
    _to(connection, "http://127.0.0.1:9/v1/responses")


@create("The redirect names a file.")
def redirect_to_a_file(connection: Connection, request: HttpRequest) -> None:
    _to(connection, "file:///etc/passwd")


@create("The redirect is a script.")
def redirect_to_a_script(connection: Connection, request: HttpRequest) -> None:
    _to(connection, "javascript:alert(1)//%0a::error::x")


@create("The redirect names user and password.")
def redirect_with_password(connection: Connection, request: HttpRequest) -> None:
    _to(connection, "http://user:secret@elsewhere.invalid@127.0.0.1/v1/responses")


@create("The redirect has no place.")
def redirect_without_place(connection: Connection, request: HttpRequest) -> None:
    _to(connection, None)


@create("The place of the redirect is empty.")
def redirect_to_nothing(connection: Connection, request: HttpRequest) -> None:
    _to(connection, "")


@create("The place of the redirect is 1 MB long.")
def redirect_of_1_mb(connection: Connection, request: HttpRequest) -> None:
    _to(connection, "/" + "x" * 1_000_000)


@create("The place of the redirect is no URL.")
def redirect_to_no_url(connection: Connection, request: HttpRequest) -> None:
    _to(connection, "http://[::1:99999/\x7f\t%zz")


@create("The endpoint offers multiple choices.")
def redirect_300(connection: Connection, request: HttpRequest) -> None:
    _to(connection, ELSEWHERE, 300)


@behaviour("redirects", "Every path redirects to another host, the model list and metrics too.", on=On.ALL)
def redirect_everything(connection: Connection, request: HttpRequest) -> None:
    _to(connection, "http://elsewhere.invalid" + request.path)

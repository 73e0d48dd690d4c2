"""Behaviours in the JSON of a plain body."""

from __future__ import annotations

import json
from functools import partial

from tests.hostile.endpoint import Connection, HttpRequest, on_create, plain_body, response_object

create = partial(on_create, "JSON")


@create("The body is empty.")
def empty_body(connection: Connection, request: HttpRequest) -> None:
    connection.reply(b"")


@create("The body is null.")
def null_body(connection: Connection, request: HttpRequest) -> None:
    connection.reply(b"null")


@create("The body is an array of responses.")
def array_body(connection: Connection, request: HttpRequest) -> None:
    connection.reply(b"[" + plain_body() + b"," + plain_body() + b"]")


@create("The body is a string that contains the response.")
def string_body(connection: Connection, request: HttpRequest) -> None:
    connection.reply(json.dumps(plain_body().decode()).encode())


@create("The body is a number of 5,000 digits.")
def long_number(connection: Connection, request: HttpRequest) -> None:
    connection.reply(b"9" * 5000)


@create("Counts of tokens have 5,000 digits.")
def long_counts(connection: Connection, request: HttpRequest) -> None:
    connection.reply(plain_body().replace(b'"output_tokens": 1', b'"output_tokens": ' + b"9" * 5000))


@create("Counts and times are 1e400.")
def infinite_numbers(connection: Connection, request: HttpRequest) -> None:
    body = plain_body().replace(b'"output_tokens": 1', b'"output_tokens": 1e400')
    connection.reply(body.replace(b'"created_at": 1', b'"created_at": 1e400'))


@create("Numbers are NaN and Infinity.")
def nan_numbers(connection: Connection, request: HttpRequest) -> None:
    body = plain_body().replace(b'"output_tokens": 1', b'"output_tokens": NaN')
    connection.reply(body.replace(b'"created_at": 1', b'"created_at": -Infinity'))


@create("Counts and times are negative, fractions and booleans.")
def odd_numbers(connection: Connection, request: HttpRequest) -> None:
    usage = {"input_tokens": -5, "output_tokens": 0.5, "total_tokens": True}
    connection.reply(json.dumps(response_object(created_at=-1e300, usage=usage)).encode())


@create("Objects are nested 100,000 deep in the metadata.")
def deep_objects(connection: Connection, request: HttpRequest) -> None:
    deep = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
    connection.reply(plain_body()[:-1] + b', "metadata": ' + deep + b"}")


@create("A key is 1 MB long.")
def key_of_1_mb(connection: Connection, request: HttpRequest) -> None:
    connection.reply(json.dumps({**response_object(), "k" * 1_000_000: 1}).encode())


@create("The output has 50,000 numbers for items.")
def output_of_numbers(connection: Connection, request: HttpRequest) -> None:
    connection.reply(json.dumps(response_object(output=list(range(50_000)))).encode())


@create("The output is a text, its items objects in an object.")
def output_of_other_types(connection: Connection, request: HttpRequest) -> None:
    whole = response_object(id=7, object=None, model=["m"], status={"a": 1}, output="Hello.", usage=[], error=False)
    connection.reply(json.dumps(whole).encode())


@create("The body is cut in the middle of a text.")
def cut_body(connection: Connection, request: HttpRequest) -> None:
    connection.reply(plain_body()[:-60])


@create("A second object follows the first.")
def two_objects(connection: Connection, request: HttpRequest) -> None:
    connection.reply(plain_body() + b"\n" + plain_body("Injected."))


@create("The body has comments and a comma at the end.")
def json_5(connection: Connection, request: HttpRequest) -> None:
    connection.reply(b"// hello\n" + plain_body()[:-1] + b", /* end */ }")


@create("The body has single quotes, as Python prints a dictionary.")
def python_dictionary(connection: Connection, request: HttpRequest) -> None:
    connection.reply(str(response_object()).encode())


@create("The body is a page of HTML with status 200.")
def html_page(connection: Connection, request: HttpRequest) -> None:
    connection.reply(b"<!doctype html><title>Sign in</title><form action=x>", kind="text/html")


@create("The body is XML with nested entities.")
def xml_entities(connection: Connection, request: HttpRequest) -> None:
    entities = b"".join(b'<!ENTITY l%d "%s">' % (n, b"&l%d;" % (n - 1) * 10) for n in range(1, 10))
    connection.reply(b'<!DOCTYPE r [<!ENTITY l0 "lol">' + entities + b"]><r>&l9;</r>", kind="application/xml")


@create("Keys are names that languages give a meaning to.")
def special_keys(connection: Connection, request: HttpRequest) -> None:
    special = {"__proto__": {"polluted": 1}, "constructor": {"prototype": {}}, "__class__": "x", "$ref": "file:///x"}
    connection.reply(json.dumps({**response_object(metadata=special), **special}).encode())

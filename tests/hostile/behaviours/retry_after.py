"""Behaviours in Retry-After and in being overloaded."""

from __future__ import annotations

import json
from functools import partial

from tests.hostile.endpoint import Behaviour, Connection, HttpRequest, answer, on_create

create = partial(on_create, "Retry-After")

ERROR = json.dumps(
    {"error": {"message": "Slow down.", "type": "rate_limit_error", "param": None, "code": "rate_limit_exceeded"}}
).encode()


def _later(name: str, cause: str, *values: str, status: int = 429) -> Behaviour:
    def act(connection: Connection, request: HttpRequest) -> None:
        connection.reply(ERROR, *(("Retry-After", value) for value in values), status=status)

    act.__name__ = name
    return create(cause)(act)


LATER = [
    _later("retry_without_a_time", "Status 429 says nothing of a time."),
    _later("retry_at_once", "Status 429 says 0 seconds, again and again.", "0"),
    _later("retry_negative", "The time is negative.", "-5"),
    _later("retry_fraction", "The time is a fraction.", "0.001"),
    _later("retry_exponent", "The time is 1e400.", "1e400"),
    _later("retry_nan", "The time is no number.", "nan"),
    _later("retry_words", "The time is a word.", "tomorrow"),
    _later("retry_empty", "The time is empty.", ""),
    _later("retry_400_digits", "The time has 400 digits.", "9" * 400),
    _later("retry_a_billion", "The time is a billion seconds.", "1000000000"),
    _later("retry_other_digits", "The digits are those of another script.", "\u00b2\u00b3"),
    _later("retry_twice", "Two times contradict each other.", "0", "3600"),
    _later("retry_past_date", "The date is past.", "Sun, 06 Nov 1994 08:49:37 GMT"),
    _later("retry_year_9999", "The date is beyond what computers count.", "Fri, 31 Dec 9999 23:59:59 -2359"),
    _later("retry_year_99999", "The year has five digits.", "Fri, 31 Dec 99999 23:59:59 GMT"),
    _later("retry_odd_zone", "The zone of the date is beyond a day.", "Sun, 06 Nov 2094 08:49:37 +9999"),
    _later("retry_bytes", "The time has bytes of no encoding.", "\xff\xfe"),
    _later("retry_503", "Status 503 says 1 second, again and again.", "1", status=503),
    _later("retry_200", "Status 200 has the body of an error and a time.", "5", status=200),
]
"""The behaviours that refuse with one value of Retry-After."""


@create("Each create is refused once, then answered.")
def retry_every_second(connection: Connection, request: HttpRequest) -> None:
    if request.number % 2:
        answer(connection, request)
    else:
        connection.reply(ERROR, ("Retry-After", "0"), status=429)

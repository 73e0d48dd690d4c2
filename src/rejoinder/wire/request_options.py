"""What a user adds to every request: fields, headers, the header of the key, TLS files, a rate limit.

Texts of the command line, of settings and of environment variables are read here, and refused in one sentence.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rejoinder.budgets import INPUT_CERTIFICATES
from rejoinder.errors import UsageError
from rejoinder.input_file import check_file, parse_json_file, read_text
from rejoinder.model.exchange import Headers
from rejoinder.model.header import RequestRecord
from rejoinder.wire.redact import MIN_SECRET, REDACTED, SECRET_NAME, Redactor

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET_FIELD: Final = re.compile(
    r"(api|access|auth|secret|private)[-_]?(key|token)|authorization|passwords?|secrets?", re.I
)
_SECRET_VALUE: Final = re.compile(
    r"(bearer|basic)\s+\S{8,}"
    r"|(sk-|sk_|pk_|rk_|ghp_|gho_|github_pat_|glpat-|hf_|xox[a-z]-|AIza|AKIA)[\w-]{8,}\Z"
    r"|eyJ[\w-]{8,}\.[\w-]+",
    re.I | re.ASCII,
)
_OWN_HEADERS: Final[Mapping[str, str]] = {
    "host": "It follows from the URL.",
    "content-length": "It follows from the body.",
    "content-type": "It follows from the body.",
    "transfer-encoding": "It follows from the body.",
    "connection": "rejoinder opens and closes connections itself.",
    "accept": "It follows from the request.",
    "accept-encoding": "rejoinder requests no compression, because that would change times and bytes.",
}
"""Headers that rejoinder sets itself, with the reason why nothing can be put in their place."""
_OWN_FIELDS: Final[Mapping[str, str]] = {
    "model": "Name the model with --model.",
    "input": "Each request has its own input.",
    "stream": "Requests are sent with and without streaming.",
    "stream_options": "Requests are sent with and without streaming.",
    "background": "Requests are sent in the foreground and in the background.",
    "previous_response_id": "Requests that continue a response name it themselves.",
    "conversation": "One conversation for all requests would mix them.",
    "request_id": "Each request has its own id.",
    "max_output_tokens": "Each request has its own limit.",
}
"""Fields of a create body that each request sets itself, with what to do instead."""


@dataclass(frozen=True, slots=True)
class RequestOptions:
    """What every request to an endpoint has besides what its sender gives it.

    ``extra_body`` are fields of each create body that the body itself lacks. ``headers`` and ``secret_headers`` are
    sent with every request; the values of the latter never show in a ``repr``, a recording or a report, and
    ``header_env`` names the environment variables that they came from, by header. ``key_header``
    names the header that holds the key as it is; empty for ``Authorization: Bearer``. ``ca_file`` holds the only
    authorities that are trusted, in PEM format; ``client_cert`` the client's certificate, and its key if ``client_key``
    does not. ``rate_limit`` is the highest number of requests that are started in a second; ``None`` is no limit.
    """

    extra_body: Mapping[str, Any] = field(default_factory=dict)
    headers: Headers = ()
    secret_headers: Headers = field(default=(), repr=False)
    header_env: tuple[tuple[str, str], ...] = ()
    key_header: str = ""
    ca_file: str = ""
    client_cert: str = ""
    client_key: str = ""
    rate_limit: float | None = None

    def record(self) -> RequestRecord | None:
        """Return what a run file holds of the options, without any value of a credential; ``None`` for nothing."""
        record = RequestRecord(
            extra_body=dict(self.extra_body),
            headers=list(self.headers),
            header_env=dict(self.header_env),
            api_key_header=self.key_header,
        )
        return None if record == RequestRecord() else record

    def secrets(self) -> list[str]:
        """Return the values of secret headers.

        A credential after a scheme (``Basic ...``) is there alone, too, and so is each value in a cookie.
        """
        values = [value for _, value in self.secret_headers]
        values += [value.split(None, 1)[1] for value in values if " " in value.strip()]
        cookies = [value for name, value in self.secret_headers if name.lower() == "cookie"]
        values += [pair.partition("=")[2].strip() for cookie in cookies for pair in cookie.split(";")]
        return list(dict.fromkeys(values))

    def secret_names(self) -> set[str]:
        """Return the names of the headers that carry credentials, in lower case."""
        return ({name.lower() for name, _ in self.secret_headers} | {self.key_header.lower()}) - {""}

    def redactor(self, *keys: str | None) -> Redactor:
        """Return what takes the keys and the values of secret headers out of recordings."""
        return Redactor(*keys, *self.secrets(), headers=self.secret_names())

    def shown_headers(self) -> Headers:
        """Return the headers as recordings hold them: without secret values."""
        return (*self.headers, *((name, REDACTED) for name, _ in self.secret_headers))

    def tls_context(self) -> ssl.SSLContext | None:
        """Return how certificates are checked and which one is shown; ``None`` where no file says anything of it.

        Raises :class:`UsageError` for files that cannot be used.
        """
        if not (self.ca_file or self.client_cert):
            return None
        try:
            if self.ca_file:
                check_file(self.ca_file, INPUT_CERTIFICATES)
            context = ssl.create_default_context(cafile=self.ca_file or None)
        except (OSError, ValueError) as error:
            what = _why(error, "it contains no certificate in PEM format")
            raise UsageError(f"Cannot use --ca-file {self.ca_file}: {what}.", "Name a file in PEM format.") from error
        if self.client_cert:
            try:
                for file in filter(None, (self.client_cert, self.client_key)):
                    check_file(file, INPUT_CERTIFICATES)
                # Without a password of its own, OpenSSL would ask for one on the terminal.
                context.load_cert_chain(self.client_cert, self.client_key or None, password=lambda: "")
            except (OSError, ValueError) as error:
                names = f"--client-cert {self.client_cert}"
                names += f" with --client-key {self.client_key}" if self.client_key else ""
                raise UsageError(
                    f"Cannot use {names}: {_why(error, 'certificate and key do not fit or are encrypted')}.",
                    "Name a certificate and its unencrypted private key, both in PEM format.",
                ) from error
        return context


def read_request_options(
    *,
    extra_body: str | None = None,
    header: Iterable[str] = (),
    header_env: Iterable[str] = (),
    api_key_header: str | None = None,
    client_cert: str | Path | None = None,
    client_key: str | Path | None = None,
    ca_file: str | Path | None = None,
    rate_limit: float | None = None,
    keys: Sequence[str | None] = (),
    environ: Mapping[str, str] | None = None,
) -> RequestOptions:
    """Return the options that texts describe.

    ``extra_body`` is a JSON object, or the name of a file with one after ``@``; each ``header`` is ``Name: value``,
    each ``header_env`` is ``Name=VARIABLE``, whose value comes from ``environ`` (by default the process's). ``keys``
    are the keys in use, which none of the other options may contain.

    Raises :class:`UsageError` for whatever cannot be used: no JSON object, a field or header that requests set
    themselves, a credential outside of the environment, a header that cannot be sent, a file that cannot be read.
    """
    environ = os.environ if environ is None else environ
    secrets = tuple(key for key in keys if key and len(key) >= MIN_SECRET)
    key_header = _key_header(api_key_header) if api_key_header else ""
    plain = tuple(_header(text, secrets) for text in header)
    variables = tuple(_variable(text) for text in header_env)
    secret = tuple((name, _secret_value(name, variable, environ)) for name, variable in variables)
    _check_names(plain, secret, key_header, has_key=any(keys))
    if client_key and not client_cert:
        raise UsageError("--client-key needs --client-cert.", "Add --client-cert FILE with the certificate.")
    options = RequestOptions(
        extra_body=_extra_body(extra_body, secrets) if extra_body and extra_body.strip() else {},
        headers=plain,
        secret_headers=secret,
        header_env=variables,
        key_header=key_header,
        ca_file=str(Path(ca_file).absolute()) if ca_file else "",
        client_cert=str(Path(client_cert).absolute()) if client_cert else "",
        client_key=str(Path(client_key).absolute()) if client_key else "",
        rate_limit=rate_limit,
    )
    options.tls_context()
    return options


def _extra_body(text: str, secrets: Sequence[str]) -> dict[str, Any]:
    where = "--extra-body"
    hint = """Write a JSON object, as in --extra-body '{"metadata": {"tenant": "a"}}', or @ and the name of a file."""
    if text.startswith("@"):
        where = f"--extra-body {text}"
        try:
            text = read_text(text[1:])
        except OSError as error:
            raise UsageError(f"Cannot read the file of {where}: {error.strerror}.", hint) from error
        except ValueError as error:
            raise UsageError(f"The file of {where} is not UTF-8.", hint) from error
    try:
        value = parse_json_file(text)
    except ValueError as error:
        raise UsageError(f"{where} is not JSON: {error}.", hint) from error
    if not isinstance(value, dict):
        raise UsageError(f"{where} is JSON, but not an object.", hint)
    for name, reason in _OWN_FIELDS.items():
        if name in value:
            raise UsageError(f'{where} sets "{name}", which each request sets itself.', reason)
    place = _secret_in(value, secrets)
    if place:
        raise UsageError(
            f"{where} contains what looks like a credential in {place}.",
            "Recordings contain the body. Send keys in REJOINDER_API_KEY, or with --header-env NAME=VARIABLE.",
        )
    return value


def _secret_in(value: Any, secrets: Sequence[str], place: str = "", name: str = "") -> str:
    """Return where a JSON value contains a credential, as the name of a field; empty where it contains none."""
    if isinstance(value, str):
        named = value and _SECRET_FIELD.fullmatch(name)
        secret = named or _SECRET_VALUE.match(value) or any(one in value for one in secrets)
        return place if secret else ""
    if isinstance(value, dict):
        inner = [(key, child, f"{place}.{key}" if place else key) for key, child in value.items()]
        if any(one in key for key in value for one in secrets):
            return f"a field name of {place}" if place else "a field name"
        return next((found for key, child, at in inner if (found := _secret_in(child, secrets, at, key))), "")
    if isinstance(value, list):
        numbered = enumerate(value)
        return next((found for n, child in numbered if (found := _secret_in(child, secrets, f"{place}[{n}]"))), "")
    return ""


def _header(text: str, secrets: Sequence[str]) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    name, value = name.strip(" "), value.strip(" \t")
    if not colon or not _TOKEN.fullmatch(name):
        shown = "".join(char if char.isprintable() else "?" for char in text.partition(":")[0])[:60]
        raise UsageError(f'--header "{shown}" is not a header.', "Write it as --header 'Name: value'.")
    env = f"Put the value into an environment variable and add --header-env {name}=VARIABLE."
    if SECRET_NAME.search(name):
        raise UsageError(f"--header {name} looks like a credential, which recordings would contain.", env)
    if _SECRET_VALUE.match(value) or any(secret in value for secret in secrets):
        raise UsageError(f"The value of --header {name} looks like a credential, which recordings would contain.", env)
    _check_value(f"--header {name}", value)
    return name, value


def _variable(text: str) -> tuple[str, str]:
    """Return the names of a header and of the environment variable with its value."""
    name, equals, variable = (part.strip() for part in text.partition("="))
    if not equals or not _TOKEN.fullmatch(name) or not _VARIABLE.fullmatch(variable):
        # What was meant as the variable may be the secret itself, so it is not repeated.
        raise UsageError(
            "--header-env needs the name of a header and that of an environment variable.",
            "Write it as --header-env X-Token=MY_TOKEN, and put the value of the header into MY_TOKEN.",
        )
    return name, variable


def _secret_value(name: str, variable: str, environ: Mapping[str, str]) -> str:
    value = environ.get(variable, "")
    if not value:
        raise UsageError(
            f"--header-env {name} names the environment variable {variable}, which is not set.",
            f"Set {variable}, or omit --header-env {name}.",
        )
    _check_value(f"the header {name} from {variable}", value)
    return value


def _check_value(what: str, value: str) -> None:
    what = what[0].upper() + what[1:]
    if not (value.isascii() and value.replace("\t", " ").isprintable()) or value != value.strip():
        raise UsageError(
            f"{what} has a control character, a space at its start or end, or a character outside ASCII.",
            "A header cannot carry it.",
        )


def _key_header(name: str) -> str:
    if not _TOKEN.fullmatch(name):
        raise UsageError(f'--api-key-header "{name[:60]}" is not the name of a header.', "Example: api-key.")
    if name.lower() in _OWN_HEADERS:
        raise UsageError(f"--api-key-header {name} cannot carry a key.", _OWN_HEADERS[name.lower()])
    return name


def _check_names(plain: Headers, secret: Headers, key_header: str, *, has_key: bool) -> None:
    """Raise for headers that rejoinder sets itself, and for one that is given in two ways."""
    given = [("--header", name) for name, _ in plain] + [("--header-env", name) for name, _ in secret]
    key_name = (key_header or "authorization").lower() if has_key else ""
    for option, name in given:
        if name.lower() in _OWN_HEADERS:
            raise UsageError(f"{option} {name} cannot be used: rejoinder sets it.", _OWN_HEADERS[name.lower()])
        if name.lower() == key_name:
            raise UsageError(
                f"{option} {name} cannot be used: that header carries the API key.",
                f"Omit {option} {name}, or unset the variable with the API key.",
            )
    both = {name.lower() for name, _ in plain} & {name.lower() for name, _ in secret}
    if both:
        raise UsageError(f"The header {min(both)} is given with --header and with --header-env.", "Omit one of them.")


def _why(error: OSError | ValueError, otherwise: str) -> str:
    """Return what is wrong with a file of certificates or keys, in a few words."""
    return otherwise if isinstance(error, ssl.SSLError) or not isinstance(error, OSError) else str(error.strerror)

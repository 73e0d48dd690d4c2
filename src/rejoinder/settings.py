"""Settings: their sources, and the format of budgets and durations.

A setting comes from the first of these that has it: the command line, the environment (``REJOINDER_MODEL``), the
file ``rejoinder.toml`` in the current folder, the table ``[tool.rejoinder]`` of ``pyproject.toml`` there. A key at the
top of a file holds for every command that has the option. A key in a table named after a command holds for that
command and takes precedence within the file. Likewise, ``REJOINDER_CHECK_SEED`` takes precedence over
``REJOINDER_SEED``. An unknown setting is an error, never ignored.

The known settings are data: a mapping from command to setting to kind (:data:`Known`). The command line makes it of the
commands' options (:func:`options_of`), lazily: looking up a command may import its module, so the commands that do not
run are looked up only when a name is not known to the one that runs.
"""

from __future__ import annotations

import contextlib
import difflib
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from rejoinder.errors import UsageError
from rejoinder.formatting import compact_json, one_line, truncate
from rejoinder.input_file import parse_toml, read_text

if TYPE_CHECKING:
    import click

PREFIX: Final = "REJOINDER_"
KEY_VARIABLE: Final = "REJOINDER_API_KEY"
SECOND_KEY_VARIABLE: Final = "REJOINDER_SECOND_API_KEY"
FILE: Final = "rejoinder.toml"

Kind = type | Callable[[str], Any]
"""What a setting may be: ``str``, ``int``, ``float``, ``bool``, ``list`` (of texts), or a function that takes a text
and raises ``ValueError``, :class:`UsageError` or ``click.BadParameter`` when it does not like it."""

Known = Mapping[str, Mapping[str, Kind]]
"""Setting names (with underscores) and their kinds, by command."""

_KIND_NAMES: Final[Mapping[Any, str]] = {
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "true or false",
    list: "a list of strings",
}
_HELP: Final = "`rejoinder COMMAND --help` describes the setting."
_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off"})


class _FoundValue(NamedTuple):
    """A value and where it was found, as an error names it: file and key, or a variable."""

    value: Any
    where: str


def load_settings(
    known: Known, command: str, *, folder: Path | None = None, environ: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return the settings of a command by option name, for its part of a click group's ``default_map``.

    Reads the environment (``environ``, by default the process's) and the two files in ``folder`` (by default the
    current one). Values are checked by their kind; numbers, truth values and lists come back as such, and values whose
    kind is a function come back as texts, so that the option's own type reads them. The API key is never among them.
    Variables that end in ``_API_KEY`` are left alone: ``--api-key-env`` and ``--second-key-env`` name them.

    Raises :class:`UsageError` for a file that cannot be read, for a key, table or variable that no command knows, and
    for a value of the wrong kind; the message names the file and key, the hint the closest known name.
    """
    folder = Path() if folder is None else folder
    environ = os.environ if environ is None else environ
    found = {
        **_pyproject(known, command, folder),
        **_own_file(known, command, folder),
        **_environment(known, command, environ),
    }
    return {name: _convert(known[command][name], value) for name, value in found.items()}


def options_of(command: click.Command) -> dict[str, Kind]:
    """Return the options that settings can give for a command; arguments and flags that exit are left out."""
    import click

    def kind(option: click.Option) -> Kind:
        if option.multiple or option.nargs != 1:
            return list
        if option.is_flag or isinstance(option.type, click.types.BoolParamType):
            return bool
        if option.count or type(option.type) is click.types.IntParamType:
            return int
        if type(option.type) is click.types.FloatParamType:
            return float
        context = click.Context(command, resilient_parsing=True)
        return lambda text: option.type.convert(text, option, context)

    return {
        option.name: kind(option)
        for option in command.params
        if isinstance(option, click.Option) and option.name and not (option.is_eager and option.is_flag)
    }


def _own_file(known: Known, command: str, folder: Path) -> dict[str, _FoundValue]:
    path = folder / FILE
    return _from_table(known, command, _read_toml(path), str(path), FILE)


def _pyproject(known: Known, command: str, folder: Path) -> dict[str, _FoundValue]:
    path = folder / "pyproject.toml"
    tool = _read_toml(path).get("tool", {})
    table = tool.get("rejoinder", {}) if isinstance(tool, dict) else {}
    if not isinstance(table, dict):
        raise UsageError(f"{path}: tool.rejoinder is not a table.", "Put the settings below the line [tool.rejoinder].")
    return _from_table(known, command, table, f"[tool.rejoinder] of {path}", "[tool.rejoinder]")


def _read_toml(path: Path) -> dict[str, Any]:
    """Return the file's content, empty when there is no such file."""
    try:
        return parse_toml(read_text(path))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise UsageError(f"Cannot read {path}: {error.strerror}.", "Check the permissions of the file.") from error
    except ValueError as error:  # bad TOML or bad UTF-8
        raise UsageError(f"{path} is not valid TOML: {one_line(str(error))}.", "Correct the file.") from error


def _from_table(known: Known, command: str, table: Mapping[str, Any], where: str, short: str) -> dict[str, _FoundValue]:
    common: dict[str, _FoundValue] = {}
    own: dict[str, _FoundValue] = {}
    for key, value in table.items():
        name = _name(key)
        if key in known and isinstance(value, dict):
            for inner, inner_value in value.items():
                if _name(inner) not in known[key]:
                    raise _unknown_key(f"{where}, [{key}]", inner, [*known[key]])
                if key == command:
                    own[_name(inner)] = _FoundValue(inner_value, f"{where}, [{key}]: {inner}")
        elif name in known[command]:
            common[name] = _FoundValue(value, f"{where}: {key}")
        elif not any(name in names for names in known.values()):
            if key in known:
                raise UsageError(f"{where}: {key} is not a table.", f"Put settings for {key} below [{key}] in {short}.")
            raise _unknown_key(where, key, [*known, *_names(known)])
    return {**common, **own}


def _environment(known: Known, command: str, environ: Mapping[str, str]) -> dict[str, _FoundValue]:
    common: dict[str, _FoundValue] = {}
    own: dict[str, _FoundValue] = {}
    for variable in sorted(environ):
        if not variable.startswith(PREFIX) or variable.endswith("_API_KEY"):
            continue
        name = variable.removeprefix(PREFIX).lower()
        found = _FoundValue(environ[variable], f"the environment variable {variable}")
        if name in known[command]:
            common[name] = found
        elif name.removeprefix(f"{command}_") in known[command]:
            own[name.removeprefix(f"{command}_")] = found
        elif not any(name in names or name.removeprefix(f"{other}_") in names for other, names in known.items()):
            raise _unknown_variable(known, variable)
    return {**common, **own}


def _unknown_variable(known: Known, variable: str) -> UsageError:
    scoped = [f"{command}_{name}" for command, names in known.items() for name in names]
    # The common beginning would make any two names look alike.
    names = [name.upper() for name in (*_names(known), KEY_VARIABLE.removeprefix(PREFIX), *scoped)]
    near = _nearest(variable.removeprefix(PREFIX), names)
    return UsageError(
        f"The environment variable {variable} is not a rejoinder setting.",
        f"Did you mean {PREFIX}{near}?" if near else f"Unset it. Variables that start with {PREFIX} are settings.",
    )


def _convert(kind: Kind, found: _FoundValue) -> Any:
    value, where = found
    if any(isinstance(part, str) and "\0" in part for part in (value if isinstance(value, list) else [value])):
        raise UsageError(f"{_sentence(where)} has the character NUL.", "Remove it.")
    if kind is bool:
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in _TRUE | _FALSE:
            return value.lower() in _TRUE
    elif kind is int:
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if isinstance(value, str) and re.fullmatch(r"[+-]?\d{1,18}", value.strip(), re.ASCII):
            return int(value)
    elif kind is float:
        if isinstance(value, (int, float, str)) and not isinstance(value, bool):
            with contextlib.suppress(ValueError, OverflowError):
                number = float(value)
                if math.isfinite(number):
                    return number
    elif kind is list:
        if isinstance(value, str):
            return [part.strip() for part in value.split(",") if part.strip()]
        if isinstance(value, list) and all(isinstance(part, str) for part in value):
            return value
    elif kind is str:
        if isinstance(value, str):
            return value
    elif isinstance(value, (str, int, float)) and not isinstance(value, bool):
        return _checked(kind, str(value), where)
    expected = _KIND_NAMES.get(kind, "a string or a number")
    raise UsageError(f"{_sentence(where)} is {_short(value)}, expected {expected}.", f"Set it to {expected}.")


def _checked(kind: Callable[[str], Any], text: str, where: str) -> str:
    try:
        kind(text)
    except UsageError as error:
        raise UsageError(f"{_sentence(where)}: {one_line(error.message).rstrip('.')}.", error.hint or _HELP) from error
    except Exception as error:
        # click's errors carry their sentence in ``message``; importing click for that alone would slow every start.
        message = getattr(error, "message", None)
        if not isinstance(error, ValueError) and message is None:
            raise
        raise UsageError(f"{_sentence(where)}: {one_line(str(message or error)).rstrip('.')}.", _HELP) from error
    return text


def _unknown_key(where: str, key: str, names: Iterable[str]) -> UsageError:
    if _name(key) in ("api_key", "key"):
        return UsageError(
            f'{where}: "{key}" is not a setting. API keys do not belong into files.',
            f"Put the key into {KEY_VARIABLE}, or set api_key_env to the name of another variable.",
        )
    near = _nearest(_name(key), names)
    return UsageError(
        f'{where}: "{one_line(key, 60)}" is not a setting.',
        f'Did you mean "{near}"?' if near else f"Settings: {', '.join(sorted(set(names)))}.",
    )


def _names(known: Known) -> list[str]:
    return sorted({name for names in known.values() for name in names})


def _name(key: str) -> str:
    return key.replace("-", "_")


def _nearest(name: str, names: Iterable[str]) -> str:
    return next(iter(difflib.get_close_matches(name, list(names), n=1, cutoff=0.6)), "")


def _sentence(where: str) -> str:
    return where[:1].upper() + where[1:] if where.startswith("the ") else where


def _short(value: Any) -> str:
    return truncate(compact_json(value), 60)


@dataclass(frozen=True, slots=True)
class Budget:
    """What a run may use: requests, tokens (as the endpoint's usage counts them), seconds. ``None`` is no limit."""

    requests: int | None = None
    tokens: int | None = None
    seconds: float | None = None

    def __str__(self) -> str:
        parts = [
            f"{self.requests}requests" if self.requests is not None else "",
            f"{self.tokens}tokens" if self.tokens is not None else "",
            f"{self.seconds:.12g}s" if self.seconds is not None else "",
        ]
        return ",".join(part for part in parts if part)


_SECONDS: Final[Mapping[str, float]] = {
    **dict.fromkeys(("ms",), 0.001),
    **dict.fromkeys(("", "s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hour", "hours"), 3600.0),
}
_COUNTED: Final[Mapping[str, str]] = {
    **dict.fromkeys(("request", "requests"), "requests"),
    **dict.fromkeys(("token", "tokens"), "tokens"),
}
_MULTIPLES: Final[Mapping[str, int]] = {"": 1, "k": 1000, "m": 1_000_000}
_AMOUNT: Final = r"(\d{1,15}(?:\.\d{1,15})?)\s*"


def parse_duration(text: str) -> float:
    """Return seconds for ``30s``, ``2min``, ``1h``, ``500ms``, ``1h30min``, or a bare number of seconds.

    Raises :class:`UsageError` for anything else, and for zero.
    """
    hint = "Write it as 30s, 2min, 1h30min or 500ms."
    compact = text.strip().lower()
    if re.search(r"\d{16}", compact, re.ASCII):
        raise UsageError(f'"{truncate(text, 40)}" is not a duration: a number has more than 15 digits.', hint)
    parts = re.findall(_AMOUNT + r"([a-z]*)\s*", compact, re.ASCII)
    if not parts or not re.fullmatch(rf"(?:{_AMOUNT}[a-z]*\s*)+", compact, re.ASCII):
        raise UsageError(f'"{text}" is not a duration.', hint)
    units = [unit for _, unit in parts]
    for unit in units:
        if unit not in _SECONDS:
            raise UsageError(f'"{text}" is not a duration: "{unit}" is not a unit of time.', hint)
    sizes = [_SECONDS[unit] for unit in units]
    if any(later >= earlier for earlier, later in pairwise(sizes)) or (len(units) > 1 and "" in units):
        raise UsageError(f'"{text}" is not a duration: units go from the largest to the smallest.', hint)
    seconds = sum(float(number) * size for (number, _), size in zip(parts, sizes, strict=True))
    if seconds <= 0:
        raise UsageError(f'"{text}" is not a duration above 0.', hint)
    return seconds


def parse_rate(text: str) -> float:
    """Return requests per second for ``5/s``, ``300/min``, ``1000/h``, or a bare number of requests per second.

    Raises :class:`UsageError` for anything else, and for zero.
    """
    match = re.fullmatch(_AMOUNT + r"(?:/\s*([a-z]+)\s*)?", text.strip().lower(), re.ASCII)
    unit = _SECONDS.get(match[2] or "s") if match else None
    rate = float(match[1]) / unit if match and unit else 0.0
    if rate <= 0:
        raise UsageError(f'"{text}" is not a rate above 0.', "Write it as 5/s, 300/min or 1000/h.")
    return rate


class RequestOption(NamedTuple):
    """An option about every request; ``multiple``: it may be given several times. ``help`` is its description."""

    metavar: str
    help: str
    multiple: bool = False
    is_file: bool = False


REQUEST_OPTIONS: Final[Mapping[str, RequestOption]] = {
    "extra_body": RequestOption(
        "JSON",
        "JSON object with fields to add to each create body, or @FILE. A field that a request sets itself wins.",
    ),
    "header": RequestOption("'NAME: VALUE'", "Header to send with every request.", True),
    "header_env": RequestOption(
        "NAME=VARIABLE", "Header to send with every request, with its secret value from an environment variable.", True
    ),
    "api_key_header": RequestOption(
        "NAME", "Header that carries the API key as it is. Default: Authorization, with Bearer before the key."
    ),
    "client_cert": RequestOption("FILE", "Client certificate for TLS, in PEM format.", is_file=True),
    "client_key": RequestOption("FILE", "Private key of --client-cert, if that file lacks it.", is_file=True),
    "ca_file": RequestOption(
        "FILE", "Certificate authorities to trust instead of those of the system, in PEM format.", is_file=True
    ),
}
"""The options that say what to add to every request, by name, for each command and tool that sends requests."""

RATE_LIMIT: Final = RequestOption(
    "RATE",
    "Highest rate at which requests start. Examples: 5/s, 300/min. A Retry-After of up to 30 s is always waited out.",
)


RESEND: Final = (
    "Send a request once more if its connection is lost before a response. The endpoint may have processed the first. "
    "Requests with GET are always sent once more."
)
"""Help of the option --resend."""


def parse_budget(text: str) -> Budget:
    """Return the budget for ``200requests``, ``50ktokens``, ``10min``, or several of them with commas between.

    Counts may carry ``k`` or ``M`` (thousands, millions). Raises :class:`UsageError` for anything else, for zero, and
    for a limit given twice.
    """
    hint = "Write it as 200requests, 50ktokens or 10min. Separate several limits with commas."
    found: dict[str, Any] = {}
    for part in _parts(text):
        name, amount = _limit(text, part, hint)
        if name in found:
            raise UsageError(f'The budget "{text}" limits {name} twice.', hint)
        found[name] = amount
    if not found:
        raise UsageError(f'The budget "{text}" has no limit.', hint)
    return Budget(**found)


def _parts(text: str) -> Iterator[str]:
    if text.strip():
        yield from (part.strip().lower() for part in text.split(","))


def _limit(text: str, part: str, hint: str) -> tuple[str, int | float]:
    match = re.fullmatch(_AMOUNT + r"([km]?)\s*(requests?|tokens?)", part, re.ASCII)
    if match:
        number, multiple, unit = match.groups()
        amount = float(number) * _MULTIPLES[multiple] if "." in number else int(number) * _MULTIPLES[multiple]
        if amount != int(amount) or amount < 1:
            raise UsageError(f'"{part}" in the budget "{text}" is not an integer of at least 1.', hint)
        return _COUNTED[unit], int(amount)
    if re.fullmatch(r"[\d.]+", part, re.ASCII):
        raise UsageError(f'"{part}" in the budget "{text}" has no unit.', hint)
    units = re.findall("[a-z]+", part)
    if units and all(unit in _SECONDS for unit in units):
        return "seconds", parse_duration(part)
    near = _nearest(part.lstrip("0123456789. "), ["requests", "tokens", "ktokens", "min", "hours", "seconds"])
    raise UsageError(f'"{part}" is not a budget limit.', f"Did you mean {near}? {hint}" if near else hint)

"""The parameters of create requests, each with the rules that show its effect or the reason why none does."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Final

import msgspec

FILE: Final = "parameters.toml"


class Parameter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What shows the effect of a parameter, or of a field inside one.

    ``shown`` says in one sentence what is sent and compared, and ``rules`` are the ids of the rules that do it. Without
    ``shown``, ``unseen`` says why a client cannot see the effect, and ``rules`` test no more than the echo.
    """

    shown: str = ""
    rules: tuple[str, ...] = ()
    unseen: str = ""


@cache
def load_parameters() -> Mapping[str, Parameter]:
    """Return the parameters of all dialects by name, in alphabetical order.

    A field inside a parameter has its name after a dot, such as ``text.verbosity``.
    """
    table = tomllib.loads(files("rejoinder.contract").joinpath(FILE).read_text("utf-8"))
    return MappingProxyType(msgspec.convert(table, dict[str, Parameter]))

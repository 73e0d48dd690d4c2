"""The checks, one module per rule family. Importing this package registers them all."""

from __future__ import annotations

from rejoinder.conformance.checks import (
    acc,
    bgr,
    cap,
    ech,
    err,
    evt,
    http,
    iso,
    itm,
    lif,
    mem,
    par,
    prt,
    rsp,
    sse,
    sta,
    tol,
    usg,
)

__all__ = [
    "acc",
    "bgr",
    "cap",
    "ech",
    "err",
    "evt",
    "http",
    "iso",
    "itm",
    "lif",
    "mem",
    "par",
    "prt",
    "rsp",
    "sse",
    "sta",
    "tol",
    "usg",
]

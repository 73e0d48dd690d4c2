"""Conformance and load testing for endpoints that implement ``POST /v1/responses``.

The spine lives here; the four rooms of the house are the sub-packages ``strategies`` (what a client may send),
``conformance`` (what a server must answer), ``load`` (what a server must bear) and ``reports`` (what people see).
Importing this package imports none of them.
"""

from __future__ import annotations

__version__ = "0.1.0"

"""Conformance and load testing for endpoints that implement ``POST /v1/responses``.

``strategies`` generates requests, ``conformance`` checks responses, ``load`` measures an endpoint under load, and
``reports`` presents runs. The other sub-packages are shared by these four. Importing this package imports none of them.
"""

from __future__ import annotations

from typing import Final

__version__ = "0.1.0"

CATALOGUE_VERSION: Final = "2.0"
"""Version of the shipped rules, recorded in run files and shown in reports and badges.

The first number rises when a response that passed may fail: a rule is added as MUST or SHOULD, raised, or tests more.
The second rises for everything else that changes a verdict. ``tests/contract/test_catalogue.py`` watches it.
"""

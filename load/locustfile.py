"""Load on ``POST /v1/responses`` in plain Locust: ``locust -f load/locustfile.py --host URL``, with its web interface.

The number of Locust users is the number of requests in flight; with ``--rejoinder-rate R`` it is R requests per second
instead, whatever the number of users. ``--processes N`` and ``--master`` / ``--worker`` spread the same load. Options:
``--rejoinder-*`` or the variables ``REJOINDER_LOAD_*``; the key comes from ``REJOINDER_API_KEY``.
"""

from __future__ import annotations

from rejoinder.load.generator.coordinator import install
from rejoinder.load.generator.user import ResponsesUser

install()

__all__ = ["ResponsesUser"]

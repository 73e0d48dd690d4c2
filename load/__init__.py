"""What a server must bear: load on Locust, measured from raw receive times and judged by the conformance rules.

The parts, from the inside out:

``histogram``, ``arrivals``, ``bodies``, ``settings``
    values: distributions, start times, request bodies, options.
``recording``, ``reader``
    one request and its reply as raw bytes with receive times, and the socket reader that produces it.
``analysis``, ``tally``
    what a recording says (times, outcome, broken rules), and sums of that which merge over processes.
``analyst``
    the process that analyses recordings, so that the process that reads sockets does nothing else.
``engine``, ``locustfile``
    the only modules that import Locust and gevent.
``run``
    starts Locust in a subprocess and copies what it measured into a run file.

Importing this package, or ``run``, imports neither Locust nor gevent: importing Locust patches sockets.
"""

from __future__ import annotations

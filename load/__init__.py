"""What a server must bear: load on Locust, measured from raw receive times and judged by the conformance rules.

The parts, from the inside out:

``histogram``, ``bounds``, ``slo``, ``settings``
    values: what was measured, how sure it is, what was asked of it, options.
``arrivals``, ``traces``
    when requests start: one schedule for the whole run.
``profiles`` (with ``distributions``, ``tables``, ``corpus``, ``workloads``), ``bodies`` (with ``words``, ``canaries``)
    what is asked: workloads as TOML files, and the conversation that each slot of a run holds.
``recording``, ``reader``
    one request and its reply as raw bytes with receive times, and the socket reader that produces it.
``analysis``, ``tally``
    what a recording says (times, outcome, broken rules), and sums of that which merge over processes.
``analyst``
    the process that analyses recordings, so that the process that reads sockets does nothing else.
``engine``, ``locustfile``
    the only modules that import Locust and gevent.
``run``, ``telemetry``
    starts Locust in a subprocess, copies what it measured into a run file, and asks the server for its own metrics.
``search``
    several runs, one after the other: sweeps with their knee, and the highest rate that keeps the objectives.

Importing this package, or ``run``, imports neither Locust nor gevent: importing Locust patches sockets.
"""

from __future__ import annotations

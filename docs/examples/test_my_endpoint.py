"""A test suite for an endpoint and for its client.

Run it with: pytest test_my_endpoint.py --rejoinder-url http://127.0.0.1:8000
"""

import json

from hypothesis import HealthCheck, given, settings

from rejoinder.conformance import Status, assert_conforms
from rejoinder.strategies import EndpointProfile, event_streams, request_bodies, to_sse

# Keep responses short. The profile names no stored responses and no files, so none are requested.
SERVED = EndpointProfile(max_output_tokens=16)


def test_rules_that_our_client_depends_on(rejoinder_run):
    """The check run covers every rule; these three must not fail."""
    ours = [verdict for verdict in rejoinder_run.verdicts if verdict.rule in ("EVT-02", "EVT-03", "SSE-01")]
    assert {verdict.rule: verdict.status for verdict in ours if verdict.status is Status.FAIL} == {}


def test_our_own_prompt(rejoinder_ask, rejoinder_target):
    """The response to our own request follows every MUST rule that applies to it."""
    exchange = rejoinder_ask({"input": "Say hello.", "max_output_tokens": 16})
    assert exchange.status == 200
    assert_conforms(exchange, rejoinder_target["dialect"])
    assert exchange.json()["usage"]["output_tokens"] <= 16


def test_a_broken_body_is_refused(rejoinder_ask):
    """Bytes are sent unchanged."""
    exchange = rejoinder_ask(b'{"input": ')
    assert exchange.status == 400
    assert exchange.json()["error"]["message"]


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(body=request_bodies(profile=SERVED, max_items=2))
def test_no_valid_request_breaks_the_server(rejoinder_ask, body):
    """Hypothesis draws valid requests and minimises the first one that fails."""
    assert rejoinder_ask(body).status in range(200, 500)


def my_parser(data):
    """Replace this with the client under test: bytes of an event stream in, events out."""
    lines = data.decode().splitlines()
    return [json.loads(line[6:]) for line in lines if line.startswith("data: {")]


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(events=event_streams())
def test_our_client_reads_every_stream(events):
    """Test a client instead of a server: rejoinder generates the stream, and no endpoint is involved."""
    assert my_parser(to_sse(events)) == events

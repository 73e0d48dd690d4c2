"""Rules, checks and verdicts.

Check recorded exchanges, in a test or anywhere else::

    from rejoinder.conformance import assert_conforms, judge, read_run

    # Raises AssertionError and names every broken rule.
    assert_conforms(exchange)
    verdicts = judge(read_run("rejoinder-runs/1").exchanges, "openresponses")

Run a whole check. It sends requests and returns the recorded run::

    run = examine("http://127.0.0.1:8000", plan="smoke")

Let Hypothesis test conversations. It chooses the requests, and every reply is checked::

    TestConversations = conversation_machine("http://127.0.0.1:8000").TestCase

Write your own check, in an extension::

    @check("ACME-01", Subject.PLAIN)
    def replies_are_traced(view: ExchangeView) -> Iterator[Problem]:
        ...

Importing this package loads none of its modules. Each name is imported from its module on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rejoinder.lazy import lazy_names

if TYPE_CHECKING:
    from rejoinder.conformance.assertion import assert_conforms
    from rejoinder.conformance.extending import use_extensions
    from rejoinder.conformance.judgement import broken_rules, judge, select_rules
    from rejoinder.conformance.judging.exchange_view import CaseView, Event, ExchangeView
    from rejoinder.conformance.judging.problems import at_event, get, in_response, is_integer, is_set
    from rejoinder.conformance.judging.registry import Declined, Subject, check
    from rejoinder.conformance.plugin import RequestSender
    from rejoinder.conformance.running.case import CaseContext, PlannedCase, RequestSpec
    from rejoinder.conformance.running.endpoint import examine
    from rejoinder.conformance.stateful.machine import ConversationMachine, conversation_machine
    from rejoinder.model.exchange import Exchange, Outcome
    from rejoinder.model.runfile import Run, read_run
    from rejoinder.model.verdict import ABSENT, Finding, Level, Problem, Status, Verdict
    from rejoinder.wire.request_options import RequestOptions

__all__ = [
    "ABSENT",
    "CaseContext",
    "CaseView",
    "ConversationMachine",
    "Declined",
    "Event",
    "Exchange",
    "ExchangeView",
    "Finding",
    "Level",
    "Outcome",
    "PlannedCase",
    "Problem",
    "RequestOptions",
    "RequestSender",
    "RequestSpec",
    "Run",
    "Status",
    "Subject",
    "Verdict",
    "assert_conforms",
    "at_event",
    "broken_rules",
    "check",
    "conversation_machine",
    "examine",
    "get",
    "in_response",
    "is_integer",
    "is_set",
    "judge",
    "read_run",
    "select_rules",
    "use_extensions",
]

if not TYPE_CHECKING:  # a type checker must know a misspelt name from a lazy one
    __getattr__ = lazy_names(
        __name__,
        {
            "rejoinder.conformance.assertion": ("assert_conforms",),
            "rejoinder.conformance.extending": ("use_extensions",),
            "rejoinder.conformance.judgement": ("broken_rules", "judge", "select_rules"),
            "rejoinder.conformance.judging.exchange_view": ("CaseView", "Event", "ExchangeView"),
            "rejoinder.conformance.judging.problems": ("at_event", "get", "in_response", "is_integer", "is_set"),
            "rejoinder.conformance.judging.registry": ("Declined", "Subject", "check"),
            "rejoinder.conformance.plugin": ("RequestSender",),
            "rejoinder.conformance.running.case": ("CaseContext", "PlannedCase", "RequestSpec"),
            "rejoinder.conformance.running.endpoint": ("examine",),
            "rejoinder.conformance.stateful.machine": ("ConversationMachine", "conversation_machine"),
            "rejoinder.model.exchange": ("Exchange", "Outcome"),
            "rejoinder.model.runfile": ("Run", "read_run"),
            "rejoinder.model.verdict": ("ABSENT", "Finding", "Level", "Problem", "Status", "Verdict"),
            "rejoinder.wire.request_options": ("RequestOptions",),
        },
    )


def __dir__() -> list[str]:
    return __all__

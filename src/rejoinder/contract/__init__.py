"""The contract as data: schemas, dialects and rules.

Everything that needs a field list, an event type or a rule reads it from here: strategies, checks, sandbox, docs and
reports. The files beside this module are the only truth:

``request.schema.json``
    the request body, permissive view. ``x-null: contested`` marks nulls that the sources disagree on. The closed view
    and the generation view are derived from it (:func:`request_schema`).
``response.schema.json``
    the response object; output items are judged by the class that their ``type`` names.
``events.schema.json``
    one definition per stream event type; its ``x-`` annotations tell the stream fold what the event does.
``error.schema.json``
    the body of a refused request.
``dialects/*.toml``
    what differs between dialects: levels, required fields, sentinel, error event.
``rules/*.toml``
    the rule catalogue, one file per family.
"""

from __future__ import annotations

from rejoinder.contract._dialect import DEFAULT_DIALECT, Dialect, EventSpec, dialect_names, load_dialect
from rejoinder.contract._explain import SchemaError, Validator
from rejoinder.contract._rules import FAMILIES, Rule, load_rules
from rejoinder.contract._schemas import View, load_schema, request_schema

__all__ = [
    "DEFAULT_DIALECT",
    "FAMILIES",
    "Dialect",
    "EventSpec",
    "Rule",
    "SchemaError",
    "Validator",
    "View",
    "dialect_names",
    "load_dialect",
    "load_rules",
    "load_schema",
    "request_schema",
]

"""The contract as data: schemas, dialects and rules.

Strategies, checks, sandbox, documentation and reports read field lists, event types and rules from here. The files
beside this module are the only source:

``request.schema.json``
    the request body, permissive variant. ``x-null: contested`` marks nulls that the sources disagree on. The variants
    closed and generation are derived from it (:func:`request_schema`).
``response.schema.json``
    the response object; output items are checked against the class that their ``type`` names.
``events.schema.json``
    one definition per stream event type; its ``x-`` annotations describe for the stream fold what the event does.
``error.schema.json``
    the body of a refused request.
``operations.schema.json``
    the operations beside create, such as retrieve, cancel and create_conversation (:func:`load_operations`).
``dialects/*.toml``
    what differs between dialects: parameters, and overlays on the schemas. Custom dialect files have the same format
    (described in ``_source.py`` and ``_overlay.py``); every function that takes a dialect takes the path of one.
``features.toml``
    the features that an endpoint may have or lack, and which requests use one (:func:`features_of`).
``relations.toml``
    which two requests of a run are the same but for how they are sent (:func:`load_relations`).
``documents.toml``
    the documents that rules cite, each with its link, revision and the day on which it was read.
``sentences.toml``
    the sentences of the text of a specification, each with the rules that test it (:func:`load_sentences`).
``parameters.toml``
    the parameters of create requests, each with the rules that show its effect or the reason why none does
    (:func:`load_parameters`).
``rules/*.toml``
    the rule catalogue, one file per family; what a row holds is described in ``_rules.py``. :func:`read_rules` reads
    custom rows from another folder.
"""

from __future__ import annotations

from rejoinder.contract._clients import Harm, clients_file, harms_of, proven_faults
from rejoinder.contract._dialect import Dialect, EventSpec, every_feature, features_of, load_dialect, read_features
from rejoinder.contract._features import Feature, load_features
from rejoinder.contract._operations import Operation, Requested, load_operations, requested_operation
from rejoinder.contract._parameters import Parameter, load_parameters
from rejoinder.contract._relations import Aspect, Relation, load_relations, load_volatile
from rejoinder.contract._rules import (
    FAMILIES,
    Citation,
    Follows,
    Reading,
    Rule,
    Within,
    cite,
    client_of,
    extension_records,
    family_modules,
    load_documents,
    load_families,
    load_rules,
    read_catalogue,
    read_rules,
    speaks_for,
)
from rejoinder.contract._schemas import SchemaVariant, as_variant, load_schema, request_schema
from rejoinder.contract._sentences import Sentence, documents_with_sentences, load_sentences
from rejoinder.contract._source import (
    DEFAULT_DIALECT,
    Mark,
    dialect_family,
    dialect_label,
    dialect_names,
    dialect_summaries,
)

__all__ = [
    "DEFAULT_DIALECT",
    "FAMILIES",
    "Aspect",
    "Citation",
    "Dialect",
    "EventSpec",
    "Feature",
    "Follows",
    "Harm",
    "Mark",
    "Operation",
    "Parameter",
    "Reading",
    "Relation",
    "Requested",
    "Rule",
    "SchemaVariant",
    "Sentence",
    "Within",
    "as_variant",
    "cite",
    "client_of",
    "clients_file",
    "dialect_family",
    "dialect_label",
    "dialect_names",
    "dialect_summaries",
    "documents_with_sentences",
    "every_feature",
    "extension_records",
    "family_modules",
    "features_of",
    "harms_of",
    "load_dialect",
    "load_documents",
    "load_families",
    "load_features",
    "load_operations",
    "load_parameters",
    "load_relations",
    "load_rules",
    "load_schema",
    "load_sentences",
    "load_volatile",
    "proven_faults",
    "read_catalogue",
    "read_features",
    "read_rules",
    "request_schema",
    "requested_operation",
    "speaks_for",
]

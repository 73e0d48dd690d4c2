"""Dialects from OpenAPI 3.1 documents.

:func:`read_document` reads a document, :func:`convert` returns what it says about the Responses API, and
:func:`dialect_files` makes the files of a dialect of that. What could not be carried over is listed place by place.
"""

from __future__ import annotations

from rejoinder.contract.openapi.convert import Conversion, DialectFiles, convert, dialect_files, schema_text
from rejoinder.contract.openapi.document import Document, read_document
from rejoinder.contract.openapi.translate import Loss

__all__ = [
    "Conversion",
    "DialectFiles",
    "Document",
    "Loss",
    "convert",
    "dialect_files",
    "read_document",
    "schema_text",
]

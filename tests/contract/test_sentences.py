"""Every sentence of a specification's text is tested by a rule of its dialect, or says why it is not."""

from __future__ import annotations

import pytest

from rejoinder.contract import (
    Sentence,
    documents_with_sentences,
    load_dialect,
    load_documents,
    load_rules,
    load_sentences,
)
from rejoinder.errors import ContractError
from rejoinder.model.verdict import Level

SENTENCES = [
    pytest.param(document, sentence, id=f"{document}-{number}")
    for document in documents_with_sentences()
    for number, sentence in enumerate(load_sentences(document), 1)
]


@pytest.mark.parametrize(("document", "sentence"), SENTENCES)
def test_every_sentence_has_rules_of_its_dialect_or_a_reason(document: str, sentence: Sentence) -> None:
    assert sentence.text.endswith(".")
    assert sentence.rules or sentence.reason.endswith("."), sentence
    for dialect in load_documents()[document]["speaks_for"]:
        for name in sentence.rules:
            assert load_dialect(dialect).level_of(load_rules()[name]) is not Level.OFF, name
    assert len(set(sentence.rules)) == len(sentence.rules)


def test_the_text_of_open_responses_is_complete() -> None:
    assert len(load_sentences("openresponses")) == 72


def test_rules_of_sentences_cite_the_text() -> None:
    """Some rules follow from a sentence and have other sources, such as the schema of what it speaks of."""
    mapped = {name for sentence in load_sentences("openresponses") for name in sentence.rules}
    url = load_documents()["openresponses"]["url"]
    cited = {rule.id for rule in load_rules().values() if any(source.url.startswith(url) for source in rule.sources)}
    assert len(mapped & cited) > len(mapped) * 3 // 4, sorted(mapped - cited)


def test_a_document_without_sentences_is_named() -> None:
    with pytest.raises(ContractError, match="has no sentences of nothing"):
        load_sentences("nothing")

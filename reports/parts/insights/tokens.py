"""What a load says of its tokens: where they came from, and where usage cannot be right."""

from __future__ import annotations

from collections.abc import Iterator

from rejoinder.formatting import format_percent, plural
from rejoinder.model.samples import LoadSample
from rejoinder.reports.parts.insights.insight import Insight


def token_insights(total: LoadSample) -> Iterator[Insight]:
    """Yield the observations on the tokens of a run; none for runs of versions that did not count them."""
    tokens = total.tokens
    if tokens is None:
        return
    responses = plural(tokens.responses, "response")
    for count, problem in (
        (tokens.too_many, "more output_tokens than the text can have"),
        (tokens.too_few, "fewer output_tokens than the text can have"),
        (tokens.zero_tokens, "0 output_tokens for a text"),
    ):
        if count:
            yield Insight("warn", f"Implausible usage: {problem}, in {count:,} of {responses}.", terminal=True)
    if tokens.estimated_responses:
        share = format_percent(tokens.estimated, total.output_tokens)
        text = f"usage has no output tokens in {tokens.estimated_responses:,} of {responses}"
        rest = f"Estimated from the text: {tokens.estimated:,} ({share}) of all output tokens."
        yield Insight("warn", f"Estimated tokens: {text}. {rest}", terminal=True)
    if tokens.cached:
        share = format_percent(tokens.cached, tokens.cached_of)
        yield Insight(
            "info", f"Cached input tokens: {tokens.cached:,} of {tokens.cached_of:,} ({share}).", terminal=True
        )
    if tokens.reasoning:
        share = format_percent(tokens.reasoning, total.output_tokens)
        text = f"Reasoning tokens: {tokens.reasoning:,} of {total.output_tokens:,} output tokens ({share})."
        if tokens.not_streamed:
            text += f" {tokens.not_streamed:,} of them were not streamed, so TPOT leaves them out."
        yield Insight("info", text, terminal=True)

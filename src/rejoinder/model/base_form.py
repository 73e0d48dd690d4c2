"""The base form: how a request must be written so that this endpoint takes it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Final

from msgspec import Struct

from rejoinder.model.samples import about


class InputForm(StrEnum):
    """How ``input`` is written."""

    LIST = "list"
    """A list of messages without ``type``."""
    TYPED_LIST = "typed_list"
    """A list of messages with ``"type": "message"``."""
    STRING = "string"
    """A string."""

    @property
    def label(self) -> str:
        """The form as people read it."""
        return _LABELS[self]


_LABELS: Final[Mapping[InputForm, str]] = {
    InputForm.LIST: "a list of messages",
    InputForm.TYPED_LIST: 'a list of messages with "type": "message"',
    InputForm.STRING: "a string",
}


class BaseForm(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """What the first requests showed of the form of a request that the endpoint accepts.

    The defaults are the usual form: a list of messages, with or without a model, a limit of output tokens, plain
    replies without ``stream``.
    """

    input: Annotated[InputForm, about("how requests write input")] = InputForm.LIST
    model: Annotated[bool, about("whether the endpoint accepts requests that name a model")] = True
    stream_false: Annotated[
        bool, about('whether non-streaming requests send "stream": false, because the endpoint streams without it')
    ] = False
    max_output_tokens: Annotated[bool, about("whether the endpoint accepts requests with max_output_tokens")] = True
    plain: Annotated[bool, about("whether a non-streaming request got a response")] = True

    def traits(self, usual: BaseForm | None = None) -> list[str]:
        """Return in a few words each what is not usual; empty for the usual form.

        ``usual`` is the form that is usual in the dialect of the run, by default :data:`USUAL_FORM`.
        """
        found = [] if self.input is (usual or USUAL_FORM).input else [f"input as {self.input.label}"]
        found += [] if self.model else ["no model"]
        found += [] if self.max_output_tokens else ["no max_output_tokens"]
        found += ['"stream": false in non-streaming requests'] if self.stream_false else []
        return found + ([] if self.plain else ["non-streaming requests fail"])


USUAL_FORM: Final = BaseForm()

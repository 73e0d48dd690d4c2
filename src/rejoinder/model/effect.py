"""What a broken rule does to a client."""

from __future__ import annotations

from enum import StrEnum


class Effect(StrEnum):
    """What a broken rule does to a client, the worst first.

    ``words`` are the effect in short, ``meaning`` a sentence about it.
    """

    CLIENT_BREAKS = "client_breaks", "client breaks", "A client raises an error or waits forever."
    DATA_LOST = "data_lost", "data lost", "Input, output or stored data of a client is lost."
    WRONG_ANSWER = "wrong_answer", "wrong answer", "A client gets another answer or result than it requested."
    MISLEADING = "misleading", "misleading", "A field, status or error gives a client wrong information."
    COSMETIC = "cosmetic", "cosmetic", "No effect on clients is known."

    words: str
    meaning: str

    def __new__(cls, value: str, words: str = "", meaning: str = "") -> Effect:
        """Return a member with its texts."""
        member = str.__new__(cls, value)
        member._value_, member.words, member.meaning = value, words, meaning
        return member

    @property
    def urgent(self) -> bool:
        """Whether a failure with this effect belongs to those to fix first: a client breaks, or data is lost."""
        return self in (Effect.CLIENT_BREAKS, Effect.DATA_LOST)

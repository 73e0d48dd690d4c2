"""The roles by which checks find the requests of a case; cases give them, and checks look them up."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Role(StrEnum):
    """The role of a request in its case, if checks need it: grouped by the family of these checks."""

    # Of several families.
    PLAIN = "plain"
    STREAM = "stream"
    AGAIN = "again"
    STREAMED = "streamed"
    FIRST = "first"
    GET = "get"
    GET_AFTER = "get-after"
    GET_STREAMED = "get-streamed"
    GET_CANCELLED = "get-cancelled"
    NULLS = "nulls"
    AFTER = "after"
    CONTROL = "control"
    CONTROL_STREAM = "control-stream"
    CONFIRM = "confirm"
    CONFIRM_STREAM = "confirm-stream"
    WITH = "with"
    WITHOUT = "without"

    # HTTP
    STRING = "string"
    LIST = "list"

    # RSP
    UNCAPPED = "uncapped"
    CAPPED = "capped"

    # ERR
    SURE = "sure"
    GREEDY = "greedy"
    PUSHED = "pushed"

    # REQ
    COMPLETE = "complete"
    MIRRORED = "mirrored"
    SPACED = "spaced"
    UNESCAPED = "unescaped"
    ESCAPED = "escaped"
    FRACTION = "fraction"
    STRING_CONTENT = "string-content"
    OUTPUT_MESSAGE = "output-message"
    OUTPUT_LIST = "output-list"
    TWO_PARTS = "two-parts"
    TWO_MESSAGES = "two-messages"
    TWO_ANSWERS = "two-answers"
    TWO_TOOLS = "two-tools"
    TWO_CALLS = "two-calls"
    TWO_IMAGES = "two-images"
    IMAGE_IN_OUTPUT = "image-in-output"
    FILE_IN_OUTPUT = "file-in-output"
    SYSTEM_MESSAGE = "system-message"
    DEVELOPER_MESSAGE = "developer-message"
    NAMED_CHOICE = "named-choice"

    # ECH
    ABSENT = "absent"

    # TOL
    CHOICE = "choice"
    MAX_CALLS = "max-calls"
    NAME = "name"
    TEMPTED = "tempted"
    NONE = "none"
    LIMITED = "limited"
    SENT_BACK = "sent-back"
    SENT_BACK_BARE = "sent-back-bare"
    IN_ORDER = "in-order"
    REVERSED = "reversed"
    TEXT_OUTPUT = "text-output"
    LIST_OUTPUT = "list-output"
    LIST_OUTPUT_AGAIN = "list-output-again"
    SCREENSHOT = "screenshot"
    ACTION = "action"

    # STA
    UNSTORED = "unstored"
    GET_AGAIN = "get-again"
    GET_UNSTORED = "get-unstored"
    GET_UNKNOWN = "get-unknown"
    DELETE_UNKNOWN = "delete-unknown"
    CANCEL_UNKNOWN = "cancel-unknown"
    DELETE = "delete"
    GET_DELETED = "get-deleted"
    LISTED = "listed"
    ASCENDING = "ascending"
    PAGE = "page"
    PAGE_AFTER = "page-after"
    PAGE_LAST = "page-last"
    INLINE = "inline"
    CHAINED = "chained"
    THIRD = "third"
    CHILD = "child"
    SIBLING = "sibling"
    GRANDCHILD = "grandchild"
    CONTINUES_CANCELLED = "continues-cancelled"
    CONTINUES_RUNNING = "continues-running"
    GET_RUNNING = "get-running"
    NEXT = "next"
    LATE = "late"
    CUT = "cut"
    CALLED = "called"
    UNKNOWN = "unknown"
    CONVERSATION = "conversation"
    NEXT_UNSTORED = "next-unstored"
    NEXT_FAILING = "next-failing"
    NEXT_PLAIN_AGAIN = "next-plain-again"
    THEIRS = "theirs"
    THEIR_GET = "their-get"
    THEIR_LISTING = "their-listing"
    THEIR_UNKNOWN = "their-unknown"
    THEIR_CONTINUED = "their-continued"
    THEIR_CANCEL = "their-cancel"
    THEIR_DELETE = "their-delete"
    GET_STORY = "get-story"
    TALK_CREATED = "talk-created"
    TALK_FIRST = "talk-first"
    TALK_INLINE = "talk-inline"
    TALK_CHAINED = "talk-chained"
    TALK_GET = "talk-get"
    TALK_UPDATED = "talk-updated"
    TALK_GET_UPDATED = "talk-get-updated"
    TALK_DELETED = "talk-deleted"
    TALK_GET_DELETED = "talk-get-deleted"
    TALK_ADDED = "talk-added"
    TALK_LISTED = "talk-listed"
    TALK_LISTED_AFTER = "talk-listed-after"
    TALK_ITEM = "talk-item"
    TALK_ITEM_DELETED = "talk-item-deleted"
    TALK_GET_DELETED_ITEM = "talk-get-deleted-item"
    TALK_GET_UNKNOWN = "talk-get-unknown"
    TALK_UPDATE_UNKNOWN = "talk-update-unknown"
    TALK_LIST_UNKNOWN = "talk-list-unknown"
    TALK_DELETE_UNKNOWN = "talk-delete-unknown"

    # MEM
    OSLO = "oslo"
    CAIRO = "cairo"
    CONTINUED = "continued"

    # PAR
    ONCE = "once"
    SALTED = "salted"
    SALTED_OTHERWISE = "salted-otherwise"
    SECOND = "second"
    CLAIMED = "claimed"

    # BGR
    NOT_STORED = "not-stored"
    POLL = "poll"
    CANCEL = "cancel"
    CANCEL_AGAIN = "cancel-again"
    LEFT = "left"
    ATTACHED = "attached"
    RESUMED = "resumed"
    WHOLE = "whole"
    REPLAY = "replay"
    REPLAY_MIDDLE = "replay-middle"
    REPLAY_CUT = "replay-cut"
    REPLAY_END = "replay-end"
    REPLAY_NEGATIVE = "replay-negative"
    REPLAY_WORD = "replay-word"
    RACED = "raced"
    GET_RACED = "get-raced"
    GET_RACED_AGAIN = "get-raced-again"

    # ISO
    SOLO = "alone"
    ONE = "one"
    TWO = "two"


def role_of(*parts: object) -> str:
    """Return the role of one of several requests: of a role with a number, or with another role, behind it."""
    return "-".join(map(str, parts))


SLOW_READER: Final = "isolation.slow"
"""The case in which the first of the streams that run together is read slowly."""

INSTRUCTIONS_ANYWHERE: Final = "roundtrip.roles"
"""The case whose requests have a system or developer message at each place; their roles say which and where."""

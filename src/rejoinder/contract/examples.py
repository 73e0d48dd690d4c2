"""Examples of items and tools that plans and the sandbox send, in a form that all dialects with their type take."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Mapping
from typing import Any, Final

IMAGE_URL: Final = (
    "data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
)
"""A red square of one pixel."""


def image_url(side: int) -> str:
    """Return a red PNG square, with its side in pixels, as a data URL of some hundred characters."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    rows = (b"\0" + b"\xff\0\0" * side) * side
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


COMPUTER_TOOL: Final[Mapping[str, Any]] = {
    "type": "computer_use_preview",
    "display_width": 800,
    "display_height": 600,
    "environment": "browser",
}

CITED_MESSAGE: Final[Mapping[str, Any]] = {
    "type": "message",
    "role": "assistant",
    "id": "msg_1",
    "status": "completed",
    "content": [
        {
            "type": "output_text",
            "text": "Oslo is in Norway.",
            "annotations": [
                {
                    "type": "url_citation",
                    "url": "https://example.org/oslo",
                    "title": "Oslo",
                    "start_index": 0,
                    "end_index": 4,
                },
                {"type": "file_citation", "file_id": "file_1", "filename": "norway.txt", "index": 0},
            ],
        }
    ],
}
"""An answer with an annotation of each kind that cites."""

HOSTED_CALLS: Final[tuple[Mapping[str, Any], ...]] = (
    {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "Oslo"}},
    {"type": "file_search_call", "id": "fs_1", "status": "completed", "queries": ["Oslo"], "results": None},
    {
        "type": "code_interpreter_call",
        "id": "ci_1",
        "status": "completed",
        "container_id": "cntr_1",
        "code": "print(1 + 1)\nprint('two lines')",
        "outputs": [{"type": "logs", "logs": "2"}],
    },
    {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": IMAGE_URL.partition(",")[2]},
    {
        "type": "mcp_call",
        "id": "mcp_1",
        "server_label": "maps",
        "name": "find",
        "arguments": '{"place": "Oslo city hall"}',
        "output": "59.9, 10.7",
    },
    {"type": "mcp_list_tools", "id": "mcpl_1", "server_label": "maps", "tools": []},
)
"""A call of each kind that the endpoint runs itself, as it stands in the output."""

"""The sandbox as an upstream of gateways: the same parrot behind ``POST /v1/chat/completions``."""

from rejoinder.sandbox.chat.endpoint import ChatSandbox

__all__ = ["ChatSandbox"]

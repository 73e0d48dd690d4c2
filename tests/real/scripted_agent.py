"""An agent without a model for fastresponses: it calls the first tool it is offered, else it says a few words."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, DeltaToolCalls, FunctionModel

ANSWER = "Six words, and Grüße to 🙂."
ARGUMENTS = {"city": "Oslo"}


def wanted_tool(messages: list[ModelMessage], info: AgentInfo) -> str | None:
    """Return the tool to call: the first one, as long as no tool has answered yet."""
    answered = any(isinstance(part, ToolReturnPart) for message in messages for part in message.parts)
    return None if answered or not info.function_tools else info.function_tools[0].name


def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    """Answer at once."""
    tool = wanted_tool(messages, info)
    return ModelResponse(parts=[ToolCallPart(tool, ARGUMENTS) if tool else TextPart(ANSWER)])


async def stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str | DeltaToolCalls]:
    """Answer word by word, or with a call in two pieces."""
    tool = wanted_tool(messages, info)
    if tool:
        text = json.dumps(ARGUMENTS)
        yield {0: DeltaToolCall(name=tool, json_args=text[:8], tool_call_id="call_1")}
        yield {0: DeltaToolCall(json_args=text[8:])}
        return
    for number, word in enumerate(ANSWER.split(" ")):
        yield f" {word}" if number else word


agent = Agent(FunctionModel(answer, stream_function=stream), name="tiny")

"""Official clients as witnesses: they read the clean sandbox as they read the endpoints they were made for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from rejoinder.sandbox import Sandbox, running

WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}


@pytest.fixture
def client() -> Iterator[Any]:
    openai = pytest.importorskip("openai")
    with (
        running(Sandbox("openai", key="k")) as url,
        openai.OpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0) as client,
    ):
        yield client


def strictly(model: Any) -> Any:
    """Validate what was received against the client's own types, which the client itself does not do."""
    return type(model).model_validate(model.to_dict())


def test_openai_reads_a_plain_reply(client: Any) -> None:
    response = client.responses.create(model="parrot", input="Say hello to Köln.", instructions="Be kind.")
    assert response.status == "completed"
    assert "Köln" in response.output_text
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens
    strictly(response)


def test_openai_reads_a_stream(client: Any) -> None:
    with client.responses.stream(
        model="parrot", input="Say hello to Köln.", reasoning={"effort": "low", "summary": "auto"}
    ) as stream:
        events = list(stream)
        response = stream.get_final_response()
    assert "Köln" in response.output_text
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(deltas) == response.output_text
    assert [item.type for item in response.output] == ["reasoning", "message"]


def test_openai_types_fit_every_event(client: Any) -> None:
    bodies: list[dict[str, Any]] = [
        {"input": "Say hello to Köln.", "reasoning": {"effort": "low", "summary": "detailed"}},
        {"input": "Call get_weather for Oslo.", "tools": [WEATHER]},
        {"input": "List files", "tools": [{"type": "custom", "name": "shell"}], "tool_choice": "required"},
        {"input": "Say this.", "include": ["message.output_text.logprobs"], "top_logprobs": 2},
        {"input": "Say this.", "model": "parrot-refusal"},
        {"input": "Take your time.", "background": True},
    ]
    for body in bodies:
        for event in client.responses.create(**{"model": "parrot", **body}, stream=True):
            strictly(event)


def test_openai_reads_a_streamed_call(client: Any) -> None:
    with client.responses.stream(
        model="parrot", input="Call get_weather for Oslo.", tools=[WEATHER], tool_choice="required"
    ) as stream:
        for _ in stream:
            pass
        response = stream.get_final_response()
    call = response.output[0]
    assert (call.type, call.name) == ("function_call", "get_weather")
    assert "city" in call.parsed_arguments


def test_openai_reads_an_incomplete_stream(client: Any) -> None:
    events = list(client.responses.create(model="parrot", input="one two three", max_output_tokens=2, stream=True))
    assert events[-1].type == "response.incomplete"
    assert events[-1].response.incomplete_details.reason == "max_output_tokens"
    assert [event.sequence_number for event in events] == list(range(len(events)))
    for event in events:
        strictly(event)


def test_openai_reads_a_failed_stream(client: Any) -> None:
    events = list(client.responses.create(model="parrot-failing", input="hello", stream=True))
    assert [event.type for event in events[-2:]] == ["error", "response.failed"]
    assert events[-1].response.error.code == events[-2].code == "server_error"
    for event in events:
        strictly(event)


def test_openai_chains_retrieves_and_deletes(client: Any) -> None:
    openai = pytest.importorskip("openai")
    first = client.responses.create(model="parrot", input="My word is xylophone.")
    second = client.responses.create(model="parrot", input="What is it?", previous_response_id=first.id)
    assert "xylophone" in second.output_text
    assert client.responses.retrieve(second.id).output_text == second.output_text
    items = list(client.responses.input_items.list(first.id))
    assert [item.content[0].text if not isinstance(item.content, str) else item.content for item in items] == [
        "My word is xylophone."
    ]
    client.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(first.id)


def test_openai_polls_and_cancels_background_work(client: Any) -> None:
    response = client.responses.create(model="parrot", input="Take your time.", background=True)
    assert response.status == "queued"
    assert client.responses.cancel(response.id).status == "cancelled"
    assert client.responses.retrieve(response.id).status == "cancelled"


def test_openai_maps_refusals(client: Any) -> None:
    openai = pytest.importorskip("openai")
    with pytest.raises(openai.NotFoundError) as missing:
        client.responses.create(model="none", input="hello")
    assert (missing.value.code, missing.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.BadRequestError) as bad:
        client.responses.create(model="parrot", input="hello", temperature=9)
    assert bad.value.param == "temperature"
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="wrong").responses.create(model="parrot", input="hello")


def test_openai_lists_the_models(client: Any) -> None:
    assert next(iter(client.models.list())).id == "parrot"


def test_tzafon_reads_a_plain_reply() -> None:
    tzafon = pytest.importorskip("tzafon")
    with (
        running(Sandbox("northstar")) as url,
        tzafon.Lightcone(base_url=url, api_key="k", max_retries=0) as client,
    ):
        response = client.responses.create(model="parrot", input="Say hello to Köln.")
        assert response.status == "completed"
        assert "Köln" in response.output[0].content[0].text
        strictly(response)
        computer: Any = {
            "type": "computer_use_preview",
            "display_width": 800,
            "display_height": 600,
            "environment": "browser",
        }
        acted = client.responses.create(input="Look.", tools=[computer], tool_choice="required")
        call = acted.output[0]
        assert (call.type, call.action.type) == ("computer_call", "screenshot")
        strictly(acted)
        seen: Any = {
            "type": "computer_call_output",
            "call_id": call.call_id,
            "output": {"type": "computer_screenshot", "image_url": "https://example.org/i.png"},
        }
        after = client.responses.create(input=[seen], previous_response_id=acted.id)
        assert after.status == "completed"
        with pytest.raises(tzafon.NotFoundError):
            client.responses.create(model="none", input="hello")


def test_openai_reads_what_is_beside_create(client: Any) -> None:
    talk = [{"type": "message", "role": "user", "content": "It is quartz-1234."}]
    compacted = client.responses.compact(model="parrot", input=talk)
    assert [item.type for item in compacted.output] == ["message", "compaction"]
    strictly(compacted.usage)
    strictly(compacted.output[-1])
    # The client types every message of the output as an assistant's, also those of the user.
    sent_back = [item.to_dict(warnings=False) for item in compacted.output]
    question = {"role": "user", "content": "What are the code words? Answer with the code words only."}
    response = client.responses.create(model="parrot", input=[*sent_back, question])
    assert response.output_text == "quartz-1234"
    listed = client.responses.input_items.list(response.id, include=["message.input_image.image_url"])
    assert [item.type for item in listed.data] == ["message", "compaction", "message"]
    for item in listed.data:
        strictly(item)
    reference = [{"type": "item_reference", "id": response.output[0].id}, question]
    assert client.responses.create(model="parrot", input=reference).output_text == "quartz-1234"
    counted = client.responses.input_tokens.count(model="parrot", input=talk, personality="friendly")
    assert strictly(counted).input_tokens == compacted.usage.input_tokens
    again = client.responses.retrieve(response.id, include=["message.output_text.logprobs"])
    assert strictly(again).id == response.id

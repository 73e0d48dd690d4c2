"""The contract beside the typed references: the seed's own SDK (tzafon) and openai-python, walked in step.

Both are optional; what is deliberately different is listed here with its reason.
"""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin

import pytest
from tests.contract.typed_reference import LISTS, SCALARS, Walk, fields, is_class, literals, members, tags

from rejoinder.contract import SchemaVariant, load_dialect, load_operations, load_schema, request_schema


def test_the_seeds_own_sdk() -> None:
    module = pytest.importorskip("tzafon.types.response_create_params")
    walk = Walk(load_schema("request"))
    walk.object(module.ResponseCreateParams, walk.schema, "")
    assert walk.fields == 580
    assert walk.differences == {
        # The seed says List[object] and Optional[object], the SDK Iterable[Dict[str, object]] and None.
        ".previous_input_messages.*.content.*": "anything",
        ".input.*(InputUnionMember1McpListTools).tools.*.annotations": "anything",
        # Five of the 44 alternatives are repeats, which typing.Union drops.
        ".input.*": "39 classes here 44",
    }


def test_what_the_seeds_own_sdk_says_of_its_operations() -> None:
    module = pytest.importorskip("tzafon.types.response_retrieve_params")
    query = load_operations()["retrieve"].query
    assert query is not None
    walk = Walk(query)
    walk.object(module.ResponseRetrieveParams, query, "")
    assert walk.differences == {}
    assert walk.fields == 2


def test_the_seeds_own_sdk_of_the_response() -> None:
    module = pytest.importorskip("tzafon.types.response_create_response")
    schema = load_schema("response")
    theirs = fields(module.ResponseCreateResponse)
    assert list(theirs) == list(schema["properties"])
    assert [name for name, (required, _) in theirs.items() if required] == schema["required"]


def test_openai_requests() -> None:
    module = pytest.importorskip("openai.types.responses.response_create_params")
    walk = Walk(request_schema(SchemaVariant.PERMISSIVE, dialect="openai"), once=True)
    walk.object(module.ResponseCreateParamsNonStreaming, walk.schema, "")
    filters = ".input.*(ResponseToolSearchOutputItemParamParam).tools.*(FileSearchToolParam).filters(CompoundFilter)"
    tools = ".input.*(ResponseToolSearchOutputItemParamParam).tools.*"
    assert walk.differences == {
        # Servers refuse a request without input (HTTP-08), although a prompt template could stand in for it.
        ".input": "required there False",
        # The class for requests that do not stream has stream: false only.
        ".stream": "literals ['False']",
        # The windows of hours need further fields, so they are contested.
        ".background_options.completion_window": "literals ['2h', '8h']",
        # The types say 'object' (anything) for what is an object: nested filters and JSON Schemas.
        f"{filters}.filters.*": "types ['any', 'object'] here ['object']",
        f"{tools}(ToolSearchOutputNamespaceToolParam).tools.*(ToolFunction).parameters": (
            "types ['any'] here ['object']"
        ),
        f"{tools}(ToolSearchToolParam).parameters": "types ['any'] here ['object']",
        ".input.*(AdditionalTools).tools.*(NamespaceToolParam).tools.*(ToolFunction).parameters": (
            "types ['any'] here ['object']"
        ),
    }
    assert walk.fields > 450


def json_types(hint: Any) -> set[str]:
    """Return the JSON types that a Python type stands for; an optional field's null is left out."""
    found = set()
    for one in members(hint):
        origin = get_origin(one)
        if origin is Literal:
            found |= {SCALARS[type(value)] for value in get_args(one)}
        elif one is not type(None):
            found.add("array" if origin in LISTS else "object" if is_class(one) else SCALARS.get(one, "object"))
    return found


#: Required fields that the contract takes as optional, and the other way round.
EVENT_REQUIRED = {
    # The types have it as an optional 'object'; an event that adds an annotation has one (PRT-10).
    ("response.output_text.annotation.added", "annotation"): True,
    # The shape of the error event is a parameter of the dialect (stream.error_event) and judged by that (EVT-10).
    ("error", "message"): False,
}


#: What is in the types of tool choices and tools as 'object' (anything) is an object.
FILTERS = "(FileSearchTool).filters(CompoundFilter).filters.*"
ANY_OBJECT = {
    f"{place}.tools.*{tool}": difference
    for place in ("(AdditionalTools)", "(ResponseToolSearchOutputItem)")
    for tool, difference in (
        (FILTERS, "types ['any', 'object'] here ['object']"),
        ("(NamespaceTool).tools.*(ToolFunction).parameters", "types ['any'] here ['object']"),
        ("(ToolSearchTool).parameters", "types ['any'] here ['object']"),
    )
}

#: How output items differ from their types.
ITEM_DIFFERENCES = {
    **ANY_OBJECT,
    # Servers that follow earlier types send the error of a call as text.
    "(McpCall).error": "types ['object'] here ['object', 'string']",
    # Nullable in the request, so it may be absent in a response.
    "(ResponseFunctionToolCallOutputItem).output.*(ResponseInputImage).detail": "required there True",
    "(ResponseCustomToolCallOutputItem).output.*(ResponseInputImage).detail": "required there True",
    # The environment of a call is that of the request.
    "(ResponseFunctionShellToolCall).environment(ResponseLocalEnvironment).skills": "missing there",
}

#: How fields of events differ from their types.
EVENT_DIFFERENCES = {
    **{f"item{place}": difference for place, difference in ITEM_DIFFERENCES.items()},
    # Any text may name the status of a part.
    "status": "literals ['incomplete']",
    # Log probabilities in events have the bytes of those in parts, which the types of events lack.
    "logprobs.*.bytes": "missing there",
    "logprobs.*.top_logprobs.*.bytes": "missing there",
}


def test_openai_events() -> None:
    module = pytest.importorskip("openai.types.responses.response_stream_event")
    classes = {tag: cls for cls in members(module.ResponseStreamEvent) for tag in tags(cls)}
    events = load_dialect("openai").events
    assert set(classes) == set(events)
    assert len(events) == 59
    for type_, cls in classes.items():
        theirs = {name: what for name, what in fields(cls).items() if name not in ("type", "sequence_number")}
        spec = events[type_]
        # Padding of deltas, which clients may switch off, is described with the request (include_obfuscation); a name
        # on the done event of a function call is in the API's own document.
        further = {"obfuscation"} if type_.endswith(".delta") else set()
        further |= {"name"} if type_ == "response.function_call_arguments.done" else set()
        assert set(spec.types) - further == set(theirs) - further, type_
        for name, (required, hint) in theirs.items():
            assert (name in spec.required) == EVENT_REQUIRED.get((type_, name), required), (type_, name)
            assert {spec.types[name]} == json_types(hint), (type_, name)
            walk = Walk(load_dialect("openai").event_schema(type_), once=True, relaxed=True)
            if name != "response":  # see test_openai_responses
                walk.value(hint, walk.schema["properties"][name], name)
            assert walk.differences.items() <= EVENT_DIFFERENCES.items(), (type_, name)


def test_the_events_of_all_dialects() -> None:
    """59 in the types, and two pairs for reasoning: vLLM's parts and the texts of Open Responses, which has 24."""
    every = {name: set(load_dialect(name).events) for name in ("northstar", "openai", "openresponses")}
    assert every["northstar"] - every["openai"] == {"response.reasoning_part.added", "response.reasoning_part.done"}
    assert every["openai"] <= every["northstar"]
    assert every["openresponses"] - every["openai"] == {"response.reasoning.delta", "response.reasoning.done"}
    assert len(every["openresponses"]) == 24
    assert len(set().union(*every.values())) == 63


def test_openai_responses() -> None:
    """The response with its items, parts, tools and the like, field by field."""
    module = pytest.importorskip("openai.types.responses.response")
    schema = load_schema("response", dialect="openai")
    walk = Walk(schema, once=True, relaxed=True)
    walk.object(module.Response, schema, "")
    differences = {**walk.differences}
    # The API's document requires what the types make optional for older servers' sake; the status is in every
    # response (RSP-04).
    optional = ("error", "incomplete_details", "instructions", "metadata", "status", "temperature", "top_p")
    assert {name for name in optional if differences.pop(f".{name}") == "required there False"} == set(optional)
    assert (
        differences.items()
        >= {
            # Not required: servers of today lack it.
            ".usage.input_tokens_details.cache_write_tokens": "required there True",
            # A parameter of the dialect, in the order of the document (RSP-08).
        }.items()
    )
    known = {
        ".usage.input_tokens_details.cache_write_tokens",
        ".incomplete_details.reason",
        # The codes are a parameter of the dialect (RSP-07).
        ".error.code",
        # What instructions consist of was compared with the request.
        ".instructions.*",
        # Required in the types and nullable in the request that they echo.
        ".access_programs.cyber",
        ".image.context_compression",
        *(f".output.*{place}" for place in ITEM_DIFFERENCES),
        *(f".tools.*{place.partition('.tools.*')[2]}" for place in ANY_OBJECT),
    }
    assert {place for place in differences if not place.startswith(".instructions.*(")} <= known
    assert walk.fields > 600


def outer(schema: dict[str, Any], node: dict[str, Any]) -> set[str]:
    """Return the JSON types that a schema allows, without looking into objects and arrays."""
    while "$ref" in node:
        node = schema["$defs"][node["$ref"].removeprefix("#/$defs/")]
    if "anyOf" in node:
        return {kind for branch in node["anyOf"] for kind in outer(schema, branch)}
    values = node.get("enum", [node["const"]] if "const" in node else [])
    return {SCALARS[type(value)] for value in values} or {node.get("type", "any")}


def test_openai_operations() -> None:
    responses = pytest.importorskip("openai.types.responses")
    types_ = pytest.importorskip("openai.types")
    operations = load_operations("openai")
    assert set(operations) >= {"retrieve", "cancel", "models", "delete", "input_items", "input_tokens", "compact"}

    def compared(cls: Any, schema: dict[str, Any] | None) -> dict[str, str]:
        assert schema is not None
        walk = Walk(schema, once=True)
        walk.object(cls, schema, "")
        return walk.differences

    def queries(name: str) -> Any:
        return pytest.importorskip(f"openai.types.responses.{name}")

    retrieve = queries("response_retrieve_params")
    # The types have one class for stream: true and one for false.
    assert compared(retrieve.ResponseRetrieveParamsStreaming, operations["retrieve"].query) == {
        ".stream": "required there True"
    }
    assert compared(queries("input_item_list_params").InputItemListParams, operations["input_items"].query) == {}
    assert compared(responses.InputTokenCountResponse, operations["input_tokens"].reply) == {}
    assert compared(types_.Model, operations["models"].reply["$defs"]["Model"]) == {}
    bodies = {
        "input_tokens": queries("input_token_count_params").InputTokenCountParams,
        "compact": queries("response_compact_params").ResponseCompactParams,
    }
    for name, cls in bodies.items():
        # What the fields share with the request was compared there.
        found = {
            place for place in compared(cls, operations[name].body) if not place.startswith((".input.", ".tools."))
        }
        assert found == set(), name
    for name, cls in {"input_items": responses.ResponseItemList, "compact": responses.CompactedResponse}.items():
        theirs, reply = fields(cls), operations[name].reply
        assert {name for name, (required, _) in theirs.items() if required} == set(reply["required"])
        assert set(reply["properties"]) <= set(theirs)


def test_openai_conversations() -> None:
    types_ = pytest.importorskip("openai.types.conversations")
    operations = load_operations("openai")

    def params(name: str) -> Any:
        module = pytest.importorskip(f"openai.types.conversations.{name}")
        return getattr(module, "".join(word.capitalize() for word in name.split("_")))

    def compared(cls: Any, schema: dict[str, Any] | None) -> set[str]:
        assert schema is not None
        walk = Walk(schema, once=True)
        walk.object(cls, schema, "")
        # What an item shares with the input of a request was compared there.
        return {place for place in walk.differences if not place.startswith(".items.")}

    assert compared(params("conversation_create_params"), operations["create_conversation"].body) == set()
    assert compared(params("conversation_update_params"), operations["update_conversation"].body) == set()
    assert compared(params("item_list_params"), operations["list_conversation_items"].query) == set()
    # The types have path, query and body in one class.
    adding = fields(params("item_create_params"))
    body, query = operations["create_conversation_items"].body, operations["create_conversation_items"].query
    assert body is not None
    assert query is not None
    assert set(adding) == set(body["properties"]) | set(query["properties"])
    assert set(fields(params("item_retrieve_params"))) == {"conversation_id", "include"}
    for name, cls in {
        "create_conversation": types_.Conversation,
        "retrieve_conversation": types_.Conversation,
        "update_conversation": types_.Conversation,
        "delete_conversation": types_.ConversationDeletedResource,
        "create_conversation_items": types_.ConversationItemList,
        "list_conversation_items": types_.ConversationItemList,
        "delete_conversation_item": types_.Conversation,
    }.items():
        theirs, reply = fields(cls), operations[name].reply
        assert {field for field, (required, _) in theirs.items() if required} == set(reply["required"]), name
        assert set(reply["properties"]) == set(theirs), name
    message = operations["retrieve_conversation_item"].reply["$defs"]["ConversationMessage"]
    theirs = fields(types_.Message)
    assert {field for field, (required, _) in theirs.items() if required} == set(message["required"])
    assert set(message["properties"]) == set(theirs)


@pytest.mark.parametrize(
    ("operation", "module", "union"),
    [
        ("input_items", "responses.response_item", "ResponseItem"),
        ("list_conversation_items", "conversations.conversation_item", "ConversationItem"),
    ],
)
def test_openai_listed_items(operation: str, module: str, union: str) -> None:
    """A listed item without a field that its type requires is refused."""
    items = getattr(pytest.importorskip(f"openai.types.{module}"), union)
    reply = load_operations("openai")[operation].reply_validator
    for cls in members(items):
        # What has one value only says which class is meant: the type, and the role of a message.
        single = {name: literals(hint) for name, (_, hint) in fields(cls).items() if len(literals(hint)) == 1}
        item = {name: value for name, (value,) in single.items() if name in ("type", "role")}
        page = {"object": "list", "data": [item], "first_id": "a", "last_id": "a", "has_more": False}
        missing = {error.pointer.rpartition("/")[2] for error in reply.errors(page) if error.keyword == "required"}
        assert {name for name, (needed, _) in fields(cls).items() if needed} - item.keys() <= missing, cls


def test_a_response_of_northstar_may_follow_either_of_its_documents() -> None:
    """A field of a response has the types of tzafon and of openai-python. It is required if both require it."""
    seed = pytest.importorskip("tzafon.types.response_create_response")
    openai = pytest.importorskip("openai.types.responses.response")
    schema = load_schema("response", dialect="northstar")
    theirs = (fields(seed.ResponseCreateResponse), fields(openai.Response))
    # The status is in every response (RSP-04): openai-python makes it optional for older servers' sake.
    assert set(schema["required"]) - {"status"} <= {name for name in theirs[0] if all(of[name][0] for of in theirs)}
    follows_both(schema, schema["properties"], theirs)
    rules = {rule["if"]["properties"]["type"]["const"]: rule["then"] for rule in schema["$defs"]["OutputItem"]["allOf"]}
    items = [
        {tag: cls for cls in members(hint) if is_class(cls) for tag in tags(cls)}
        for hint in (seed.Output, pytest.importorskip("openai.types.responses.response_output_item").ResponseOutputItem)
    ]
    # vLLM sends items of the types of openai-python that the seed's response does not name.
    assert set(items[0]) <= set(rules) <= set(items[1])
    for tag, rule in rules.items():
        node = schema["$defs"][rule["$ref"].removeprefix("#/$defs/")]
        both = tuple(fields(types[tag]) for types in items if tag in types)
        assert set(node["required"]) <= {name for name in both[0] if all(of[name][0] for of in both)}, tag
        follows_both(schema, node["properties"], both)


def follows_both(schema: dict[str, Any], properties: dict[str, Any], both: tuple[dict[str, Any], ...]) -> None:
    for name, node in properties.items():
        ours = outer(schema, node)
        for theirs in both:
            kinds = json_types(theirs[name][1]) - {"null"} if name in theirs else set()
            # A number may be whole.
            assert ours >= kinds or (kinds == {"integer"} and "number" in ours), name

"""What each fault of the sandbox does to official clients, found by running them against it.

    python -m rejoinder.conformance.proof.clients --js FOLDER

Each client sends a plain request, a streamed one, a request for JSON of a schema and a tool call to a sandbox without
faults and to one with each fault, and the results are compared. The run writes ``contract/clients.toml``. It takes the
packages of the dependency group ``clients``; FOLDER is one in which ``npm install openai`` ran. Without it the results
of the JavaScript client stay as they are.
"""

from __future__ import annotations

import importlib.metadata
import json
import logging
import os
import subprocess
import sys
import tomllib
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final, cast

import click

from rejoinder.contract import clients_file
from rejoinder.sandbox import Sandbox, load_faults
from rejoinder.sandbox.fault import Fault
from rejoinder.sandbox.server import running

LIMIT: Final = 5.0
"""Seconds that a client waits before it counts as waiting forever; an answer takes some milliseconds."""
NOT_COMPARABLE: Final = (
    "crash-with-page",
    "extension-event-carries-text",
    "extension-event-not-numbered",
    "rate-limit-without-retry-after",
    "wrong-key-forbidden",
)
"""Faults whose replies harm clients without the defect, too: errors and extension events. So do faults that fail."""
MODEL: Final = "parrot"
WAITS: Final = "waits forever"
_TEXT: Final = "Repeat this text: a marigold and seven larks"
_TOOL: Final[Mapping[str, Any]] = {
    "type": "function",
    "name": "get_weather",
    "description": "Return the weather.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}
_RESULTS: Final = {
    "streamed": "streamed text",
    "final": "final text",
    "first": "stored text",
    "calls": "tool calls",
    "outputs": "tool outputs",
    "parsed": "parsed object",
}
"""The parts of a result in words, where their names do not say it."""
_SCRIPT: Final = Path(__file__).with_name("clients.mjs")

Result = Mapping[str, Any]
"""What a client got: the text, the tool calls and the parsed object, by name."""
Use = Callable[[str], Result]
"""A use of a client: takes the base URL and returns what the client got."""


def uses() -> dict[str, Use]:
    """Return the uses of the clients that are installed, by name: the client, then the call."""
    found: dict[str, Use] = {}
    for package, make in (("openai", _openai), ("agents", _agents), ("langchain_openai", _langchain)):
        try:
            __import__(package)
        except ImportError:
            continue
        found |= make()
    return found


def versions() -> dict[str, str]:
    """Return the versions of the Python clients that are installed, by the client's name."""
    packages = {"openai-python": "openai", "openai-agents": "openai-agents", "langchain-openai": "langchain-openai"}
    found = {}
    for client, package in packages.items():
        try:
            found[client] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _openai() -> dict[str, Use]:
    import openai
    from pydantic import BaseModel

    class City(BaseModel):
        city: str

    def client(url: str) -> Any:
        return openai.OpenAI(base_url=f"{url}/v1", api_key="x", timeout=LIMIT, max_retries=0)

    def closing(use: Callable[[Any], Result]) -> Use:
        def work(url: str) -> Result:
            with client(url) as opened:
                return use(opened)

        return work

    def result(response: Any) -> Result:
        calls = [(item.name, item.arguments) for item in response.output if item.type == "function_call"]
        return {"text": response.output_text, "calls": calls, "status": response.status}

    def create(client: Any) -> Result:
        return result(client.responses.create(model=MODEL, input=_TEXT))

    def tool(client: Any) -> Result:
        tools = cast(Any, [_TOOL])
        first = client.responses.create(model=MODEL, input=_TEXT, tools=tools, tool_choice="required")
        call = next((item for item in first.output if item.type == "function_call"), None)
        if call is None:
            return {}
        output = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny and warm"}
        history = [{"role": "user", "content": _TEXT}, *first.output, output]
        second = client.responses.create(model=MODEL, input=cast(Any, history), tools=tools)
        return {"calls": [(call.name, json.loads(call.arguments))], "text": second.output_text}

    def chain(client: Any) -> Result:
        first = client.responses.create(model=MODEL, input=_TEXT)
        second = client.responses.create(model=MODEL, input="What did I say?", previous_response_id=first.id)
        return {"first": client.responses.retrieve(first.id).output_text, "text": second.output_text}

    def stream(client: Any) -> Result:
        text, calls, final = "", [], None
        for event in client.responses.create(model=MODEL, input=_TEXT, stream=True):
            if event.type == "response.output_text.delta":
                text += event.delta
            elif event.type == "response.output_item.done":
                calls.append(event.item.type)
            elif event.type in ("response.completed", "response.incomplete", "response.failed"):
                final = event.response.output_text
        return {"text": text, "items": calls, "final": final}

    def stream_tool(client: Any) -> Result:
        tools = cast(Any, [_TOOL])
        with client.responses.stream(model=MODEL, input=_TEXT, tools=tools, tool_choice="required") as events:
            seen = [event.arguments for event in events if event.type == "response.function_call_arguments.done"]
            return {**result(events.get_final_response()), "streamed": seen}

    def helper(client: Any) -> Result:
        with client.responses.stream(model=MODEL, input=_TEXT) as events:
            text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
            return {**result(events.get_final_response()), "streamed": text}

    def parse(client: Any) -> Result:
        response = client.responses.parse(model=MODEL, input=_TEXT, text_format=City)
        return {"parsed": response.output_parsed is not None, **result(response)}

    return {
        "openai-python responses.create": closing(create),
        "openai-python responses.create, tool": closing(tool),
        "openai-python responses.create, previous_response_id": closing(chain),
        "openai-python responses.create, stream": closing(stream),
        "openai-python responses.stream": closing(helper),
        "openai-python responses.stream, tool": closing(stream_tool),
        "openai-python responses.parse": closing(parse),
    }


def _agents() -> dict[str, Use]:
    import asyncio

    import agents
    import openai

    agents.set_tracing_disabled(True)

    def get_weather(city: str) -> str:
        """Return the weather."""
        return f"sunny in {city}"

    weather = agents.function_tool(get_weather)

    def agent(url: str, *tools: Any) -> Any:
        client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="x", timeout=LIMIT, max_retries=0)
        model = agents.OpenAIResponsesModel(model=MODEL, openai_client=client)
        choice = agents.ModelSettings(tool_choice="required" if tools else None)
        return agents.Agent(name="a", model=model, tools=list(tools), model_settings=choice)

    def outputs(result: Any) -> list[Any]:
        return [getattr(item, "output", None) for item in result.new_items]

    def plain(url: str) -> Result:
        return {"text": agents.Runner.run_sync(agent(url), _TEXT).final_output}

    def tool(url: str) -> Result:
        result = agents.Runner.run_sync(agent(url, weather), _TEXT, max_turns=3)
        return {"text": result.final_output, "outputs": outputs(result)}

    def stream(url: str, *tools: Any) -> Result:
        async def work() -> Result:
            result = agents.Runner.run_streamed(agent(url, *tools), _TEXT, max_turns=3)
            text = ""
            async for event in result.stream_events():
                if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
                    text += event.data.delta
            return {"streamed": text, "text": result.final_output, "outputs": outputs(result)}

        return asyncio.run(asyncio.wait_for(work(), LIMIT))

    return {
        "openai-agents Runner.run": plain,
        "openai-agents Runner.run, tool": tool,
        "openai-agents Runner.run_streamed": stream,
        "openai-agents Runner.run_streamed, tool": lambda url: stream(url, weather),
    }


def _langchain() -> dict[str, Use]:
    from langchain_openai import ChatOpenAI

    def model(url: str) -> Any:
        settings: Any = {"base_url": f"{url}/v1", "api_key": "x", "timeout": LIMIT, "max_retries": 0}
        return ChatOpenAI(model=MODEL, use_responses_api=True, **settings)

    def calls(message: Any) -> list[Any]:
        return [(call["name"], call["args"]) for call in message.tool_calls] + [
            ("invalid", call["args"]) for call in message.invalid_tool_calls
        ]

    def invoke(url: str) -> Result:
        message = model(url).invoke(_TEXT)
        return {"text": message.text, "calls": calls(message)}

    def whole(parts: Iterable[Any]) -> Any:
        total = None
        for part in parts:
            total = part if total is None else total + part
        return total

    def stream(url: str) -> Result:
        message = whole(model(url).stream(_TEXT))
        return {"text": message.text, "calls": calls(message)}

    def tool(url: str) -> Result:
        message = model(url).bind_tools([_TOOL], tool_choice="required").invoke(_TEXT)
        return {"calls": calls(message)}

    def stream_tool(url: str) -> Result:
        return {"calls": calls(whole(model(url).bind_tools([_TOOL], tool_choice="required").stream(_TEXT)))}

    return {
        "langchain-openai invoke": invoke,
        "langchain-openai stream": stream,
        "langchain-openai invoke, tool": tool,
        "langchain-openai stream, tool": stream_tool,
    }


class JavaScript:
    """The JavaScript client in a Node process, which runs all of its uses for each base URL that it gets."""

    def __init__(self, folder: Path) -> None:
        environment = {**os.environ, "OPENAI_FOLDER": str(folder.resolve())}
        self._process = subprocess.Popen(
            ["node", str(_SCRIPT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.version: str = self._read()["version"]

    def _read(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def results(self, url: str) -> dict[str, Any]:
        """Return the outcome of each use: ``{"ok": result}`` or ``{"error": name}``."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"url": f"{url}/v1", "limit": LIMIT * 1000, "text": _TEXT, "tool": _TOOL}))
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        found: dict[str, Any] = self._read()
        return found

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def outcomes(url: str, chosen: Mapping[str, Use], script: JavaScript | None = None) -> dict[str, Any]:
    """Return for each use what came out: ``{"ok": result}``, or ``{"error": name}`` of an exception."""
    found: dict[str, Any] = {}
    for name, use in chosen.items():
        try:
            found[name] = {"ok": json.loads(json.dumps(use(url), default=str))}
        except Exception as error:  # whatever a client raises is the result
            found[name] = {"error": _name(error)}
    return found | (script.results(url) if script else {})


def _name(error: BaseException) -> str:
    waited = ("timeout", "timedout")
    names = {type(one).__name__ for one in (error, error.__cause__, error.__context__) if one is not None}
    if any(word in name.lower() for name in names for word in waited):
        return WAITS
    return type(error).__name__


def effects(clean: Mapping[str, Any], broken: Mapping[str, Any]) -> dict[str, str]:
    """Return what a fault does to each use that it harms, compared with the results without the fault."""
    found = {}
    for name, before in clean.items():
        after = broken.get(name)
        if after is None or "error" in before:
            continue
        if "error" in after:
            found[name] = after["error"] if after["error"] == WAITS else f"raises {after['error']}"
        elif lost := [key for key, value in before["ok"].items() if value and not after["ok"].get(key)]:
            found[name] = f"loses {_words(lost)}"
        elif other := [key for key, value in before["ok"].items() if value != after["ok"].get(key)]:
            found[name] = f"gets wrong {_words(other)}"
    return found


def _words(keys: list[str]) -> str:
    return ", ".join(_RESULTS.get(key, key) for key in keys)


def dialect_of(fault: Fault) -> str:
    """Return the dialect in which a fault is shown to the clients: that of the clients, if it is a fault there."""
    return "openai" if not fault.dialects or "openai" in fault.dialects else fault.dialects[0]


@contextmanager
def _sandbox(dialect: str, *faults: str) -> Iterator[str]:
    with running(Sandbox(dialect, faults)) as url:
        yield url


def measure(pattern: str, chosen: Mapping[str, Use], script: JavaScript | None = None) -> dict[str, dict[str, str]]:
    """Return the effects of every fault whose id matches, by fault and use; a harmless fault has none."""
    clean: dict[str, Any] = {}
    found = {}
    for name, fault in load_faults().items():
        if not fnmatchcase(name, pattern) or fault.fails or name in NOT_COMPARABLE:
            continue
        dialect = dialect_of(fault)
        if dialect not in clean:
            with _sandbox(dialect) as url:
                clean[dialect] = outcomes(url, chosen, script)
        with _sandbox(dialect, name) as url:
            found[name] = effects(clean[dialect], outcomes(url, chosen, script))
        click.echo(f"{name:44}{len(found[name]):3}", err=True)
    return found


def toml(known: Mapping[str, str], found: Mapping[str, Mapping[str, str]]) -> str:
    """Return the text of the file."""
    lines = ["# Generated by `python -m rejoinder.conformance.proof.clients`. By fault of the sandbox: the rules"]
    lines += [
        "# that it breaks, and the uses of clients that it harms, and how. One without uses harms none of them.",
        "",
        "[versions]",
    ]
    lines += [f'{client} = "{version}"' for client, version in known.items()]
    for fault, harmed in found.items():
        rules = ", ".join(f'"{rule}"' for rule in load_faults()[fault].breaks)
        lines += ["", f"[faults.{fault}]", f"rules = [{rules}]"]
        lines += [f'"{use}" = "{effect}"' for use, effect in harmed.items()]
    return "\n".join(lines) + "\n"


@click.command("clients")
@click.option("--fault", "pattern", default="*", metavar="GLOB", help="Only faults whose id matches; print the result.")
@click.option(
    "--js", "folder", type=click.Path(path_type=Path, exists=True), help="Folder with the npm package openai."
)
def command(pattern: str, folder: Path | None) -> None:
    """Run the clients against the faults of the sandbox and write what each fault does to them."""
    warnings.simplefilter("ignore")
    logging.disable()
    script = JavaScript(folder) if folder else None
    known = versions() | ({"openai-node": script.version} if script else {})
    found = measure(pattern, uses(), script)
    if script:
        script.close()
    elif (written := Path(str(clients_file()))).exists():
        before = tomllib.loads(written.read_text("utf-8"))
        known |= {name: value for name, value in before["versions"].items() if name not in known}
        for fault, harmed in found.items():
            old = before["faults"].get(fault, {})
            harmed |= {
                use: effect for use, effect in old.items() if " " in use and use.partition(" ")[0] not in versions()
            }
    if pattern == "*":
        Path(str(clients_file())).write_text(toml(known, found), "utf-8")
    else:
        click.echo(toml(known, found), nl=False)
    sys.exit(0)


if __name__ == "__main__":
    command()

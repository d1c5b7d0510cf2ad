"""Libraries for programs, in Python: openai, anthropic, openai-agents, LangChain. Cases and reports have the form of those of sdks.mjs.

The libraries are installed in an environment of their own, whose Python runs this module.
"""

import asyncio
import gc
import importlib
import json
import os
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from typing import Any

from pydantic import BaseModel

Saw = dict[str, Any]
Deed = Callable[[str, dict[str, Any], Saw], None]
ROUNDS = 4
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"location": {"type": "string"}},
    "required": ["location"],
    "additionalProperties": False,
}
ABOUT = "Current weather for a city."


class Person(BaseModel):
    """The structured output that the cases ask for."""

    name: str
    age: int


def get_weather(location: str) -> str:
    """Current weather for a city."""
    return f"{location}: 25°C"


def _package(name: str) -> Any:
    return importlib.import_module(name)


def _stop_text_arrived(case: dict[str, Any], saw: Saw) -> bool:
    """Return whether the case's stop text has arrived; the report then gets the event `aborted`."""
    if not case.get("stop") or case["stop"] not in saw["text"]:
        return False
    saw["events"].append("aborted")
    return True


def _counted(usage: Any) -> dict[str, int] | None:
    return None if usage is None else {"input": usage.input_tokens, "output": usage.output_tokens}


# openai: the Responses API, and legacy completions.


def _openai(base: str) -> Any:
    return _package("openai").OpenAI(base_url=f"{base}/v1", api_key="sk-client", timeout=240)


def _responded(client: Any, asked: dict[str, Any], case: dict[str, Any], saw: Saw) -> Any:
    with client.responses.stream(**asked) as stream:
        for event in stream:
            if event.type == "response.output_text.delta":
                saw["text"] += event.delta
            elif event.type == "response.reasoning_summary_text.delta":
                saw["thoughts"] += event.delta
            if _stop_text_arrived(case, saw):
                return None
        response = stream.get_final_response()
    saw["usage"] = _counted(response.usage)
    return response


def _responses_stream(base: str, case: dict[str, Any], saw: Saw) -> None:
    with _openai(base) as client:
        _responded(client, {"model": case["model"], "input": case["ask"]}, case, saw)


def _responses_complete(base: str, case: dict[str, Any], saw: Saw) -> None:
    with _openai(base) as client:
        response = client.responses.create(model=case["model"], input=case["ask"])
    saw["text"], saw["usage"] = response.output_text, _counted(response.usage)


def _responses_tools(base: str, case: dict[str, Any], saw: Saw) -> None:
    """Run the tools and ask again with all earlier items, since nothing is stored at the server."""
    tools = [{"type": "function", "name": "get_weather", "description": ABOUT, "parameters": SCHEMA, "strict": True}]
    items: list[Any] = [{"role": "user", "content": case["ask"]}]
    with _openai(base) as client:
        for _ in range(ROUNDS):
            asked = {"model": case["model"], "input": items, "tools": tools, "store": False}
            output = _responded(client, asked, case, saw).output
            items += [item.model_dump(exclude_none=True, exclude={"parsed_arguments"}) for item in output]
            calls = [item for item in output if item.type == "function_call"]
            if not calls:
                return
            for call in calls:
                given = json.loads(call.arguments)
                saw["calls"].append([call.name, given])
                items.append({"type": "function_call_output", "call_id": call.call_id, "output": get_weather(**given)})


def _responses_parse(base: str, case: dict[str, Any], saw: Saw) -> None:
    with _openai(base) as client:
        response = client.responses.parse(model=case["model"], input=case["ask"], text_format=Person)
    saw["object"] = response.output_parsed.model_dump()


def _chat_parse(base: str, case: dict[str, Any], saw: Saw) -> None:
    with _openai(base) as client:
        messages = [{"role": "user", "content": case["ask"]}]
        made = client.chat.completions.parse(model=case["model"], messages=messages, response_format=Person)
    saw["object"] = made.choices[0].message.parsed.model_dump()


def _completions_stream(base: str, case: dict[str, Any], saw: Saw) -> None:
    with _openai(base) as client:
        asked = {"model": case["model"], "prompt": case["ask"], "stream": True, "stream_options": {"include_usage": True}}
        with client.completions.create(**asked) as stream:
            for chunk in stream:
                saw["text"] += "".join(choice.text for choice in chunk.choices)
                if chunk.usage:
                    saw["usage"] = {"input": chunk.usage.prompt_tokens, "output": chunk.usage.completion_tokens}
                if _stop_text_arrived(case, saw):
                    return


def _completions_complete(base: str, case: dict[str, Any], saw: Saw) -> None:
    with _openai(base) as client:
        made = client.completions.create(model=case["model"], prompt=[case["ask"]])
    saw["text"] = made.choices[0].text
    saw["usage"] = {"input": made.usage.prompt_tokens, "output": made.usage.completion_tokens}


# anthropic: the Messages API.


def _anthropic(base: str) -> Any:
    return _package("anthropic").Anthropic(base_url=base, api_key="sk-client", timeout=240)


def _messaged(client: Any, asked: dict[str, Any], case: dict[str, Any], saw: Saw) -> Any:
    with client.messages.stream(max_tokens=1000, model=case["model"], **asked) as stream:
        for event in stream:
            if event.type == "text":
                saw["text"] += event.text
            elif event.type == "thinking":
                saw["thoughts"] += event.thinking
            if _stop_text_arrived(case, saw):
                return None
        message = stream.get_final_message()
    saw["usage"] = _counted(message.usage)
    return message


def _messages_stream(base: str, case: dict[str, Any], saw: Saw) -> None:
    with _anthropic(base) as client:
        _messaged(client, {"messages": [{"role": "user", "content": case["ask"]}]}, case, saw)


def _messages_complete(base: str, case: dict[str, Any], saw: Saw) -> None:
    with _anthropic(base) as client:
        made = client.messages.create(max_tokens=1000, model=case["model"], messages=[{"role": "user", "content": case["ask"]}])
    saw["text"], saw["usage"] = "".join(block.text for block in made.content), _counted(made.usage)


def _messages_tools(base: str, case: dict[str, Any], saw: Saw) -> None:
    tools = [{"name": "get_weather", "description": ABOUT, "input_schema": SCHEMA}]
    messages: list[dict[str, Any]] = [{"role": "user", "content": case["ask"]}]
    with _anthropic(base) as client:
        for _ in range(ROUNDS):
            message = _messaged(client, {"messages": messages, "tools": tools}, case, saw)
            if message.stop_reason != "tool_use":
                return
            calls = [block for block in message.content if block.type == "tool_use"]
            saw["calls"] += [[call.name, call.input] for call in calls]
            results = [{"type": "tool_result", "tool_use_id": call.id, "content": get_weather(**call.input)} for call in calls]
            messages += [{"role": "assistant", "content": message.content}, {"role": "user", "content": results}]


def _messages_parse(base: str, case: dict[str, Any], saw: Saw) -> None:
    with _anthropic(base) as client:
        messages = [{"role": "user", "content": case["ask"]}]
        made = client.messages.parse(max_tokens=1000, model=case["model"], messages=messages, output_format=Person)
    saw["object"] = made.parsed_output.model_dump()


# openai-agents.


def _agents_stream(base: str, case: dict[str, Any], saw: Saw) -> None:
    asyncio.run(_ran(base, case, saw, {}))


def _agents_tools(base: str, case: dict[str, Any], saw: Saw) -> None:
    def get_weather_noted(location: str) -> str:
        saw["calls"].append(["get_weather", {"location": location}])
        return get_weather(location)

    tool = _package("agents").function_tool(get_weather_noted, name_override="get_weather", description_override=ABOUT)
    asyncio.run(_ran(base, case, saw, {"tools": [tool]}))


def _agents_parse(base: str, case: dict[str, Any], saw: Saw) -> None:
    asyncio.run(_ran(base, case, saw, {"output_type": Person}))
    saw["text"] = ""


async def _ran(base: str, case: dict[str, Any], saw: Saw, more: dict[str, Any]) -> None:
    """Run an agent of openai-agents until its final output, and put the result into the report."""
    agents = _package("agents")
    async with _package("openai").AsyncOpenAI(base_url=f"{base}/v1", api_key="sk-client", timeout=240) as client:
        model = agents.OpenAIResponsesModel(case["model"], client)
        result = agents.Runner.run_streamed(agents.Agent(name="An agent", model=model, **more), case["ask"])
        async for event in result.stream_events():
            if event.type != "raw_response_event":
                continue
            if event.data.type == "response.output_text.delta":
                saw["text"] += event.data.delta
            elif event.data.type == "response.reasoning_summary_text.delta":
                saw["thoughts"] += event.data.delta
            if _stop_text_arrived(case, saw):
                result.cancel()
                return
        saw["usage"] = _counted(result.context_wrapper.usage)
        if isinstance(result.final_output, Person):
            saw["object"] = result.final_output.model_dump()


# LangChain: chat completions, the Responses API, legacy completions.


def _langchain(base: str, case: dict[str, Any], **more: Any) -> Any:
    return _package("langchain_openai").ChatOpenAI(model=case["model"], base_url=f"{base}/v1", api_key="sk-client", timeout=240, **more)


def _langchain_stream(base: str, case: dict[str, Any], saw: Saw) -> None:
    _chained(_langchain(base, case, stream_usage=True), case["ask"], case, saw)


def _langchain_responses(base: str, case: dict[str, Any], saw: Saw) -> None:
    _chained(_langchain(base, case, use_responses_api=True), case["ask"], case, saw)


def _chained(model: Any, asked: Any, case: dict[str, Any], saw: Saw) -> Any:
    """Read a LangChain stream into the report; return the message that its chunks add up to, or None if it was stopped."""
    total = None
    with closing(model.stream(asked)) as stream:
        for chunk in stream:
            total = chunk if total is None else total + chunk
            for block in chunk.content_blocks:
                if block["type"] == "text":
                    saw["text"] += block["text"]
                elif block["type"] == "reasoning":
                    saw["thoughts"] += block.get("reasoning", "")
            if _stop_text_arrived(case, saw):
                return None
    if total is not None and total.usage_metadata:
        saw["usage"] = {"input": total.usage_metadata["input_tokens"], "output": total.usage_metadata["output_tokens"]}
    return total


def _langchain_complete(base: str, case: dict[str, Any], saw: Saw) -> None:
    made = _langchain(base, case).invoke(case["ask"])
    saw["text"] = made.text
    saw["usage"] = {"input": made.usage_metadata["input_tokens"], "output": made.usage_metadata["output_tokens"]}


def _tools_of(model: Any, case: dict[str, Any], saw: Saw) -> None:
    messages = _package("langchain_core.messages")
    said: list[Any] = [messages.HumanMessage(case["ask"])]
    bound = model.bind_tools([get_weather])
    for _ in range(ROUNDS):
        answer = _chained(bound, said, case, saw)
        said.append(answer)
        if not answer.tool_calls:
            return
        for call in answer.tool_calls:
            saw["calls"].append([call["name"], call["args"]])
            said.append(messages.ToolMessage(get_weather(**call["args"]), tool_call_id=call["id"]))


def _langchain_tools(base: str, case: dict[str, Any], saw: Saw) -> None:
    _tools_of(_langchain(base, case), case, saw)


def _langchain_responses_tools(base: str, case: dict[str, Any], saw: Saw) -> None:
    _tools_of(_langchain(base, case, use_responses_api=True), case, saw)


def _structured(method: str, **more: Any) -> Deed:
    """Return a deed that uses `with_structured_output` with one of its three methods."""

    def deed(base: str, case: dict[str, Any], saw: Saw) -> None:
        made = _langchain(base, case, **more).with_structured_output(Person, method=method).invoke(case["ask"])
        saw["object"] = made.model_dump()

    return deed


def _langchain_embed(base: str, case: dict[str, Any], saw: Saw) -> None:
    """Ask for embeddings with `check_embedding_ctx_length=False`; otherwise LangChain downloads a table to count tokens."""
    embeddings = _package("langchain_openai").OpenAIEmbeddings
    made = embeddings(model=case["model"], base_url=f"{base}/v1", api_key="sk-client", check_embedding_ctx_length=False)
    saw["object"] = made.embed_documents(["soup", "a book"])


def _langchain_completions(base: str, case: dict[str, Any], saw: Saw) -> None:
    """Stream a legacy completion, then collect garbage: LangChain closes an abandoned stream only there."""
    model = _package("langchain_openai").OpenAI(model=case["model"], base_url=f"{base}/v1", api_key="sk-client", timeout=240)
    with closing(model.stream(case["ask"])) as stream:
        for text in stream:
            saw["text"] += text
            if _stop_text_arrived(case, saw):
                break
    gc.collect()


def _langchain_completions_complete(base: str, case: dict[str, Any], saw: Saw) -> None:
    made = _package("langchain_openai").OpenAI(model=case["model"], base_url=f"{base}/v1", api_key="sk-client", timeout=240)
    result = made.generate([case["ask"]])
    saw["text"] = result.generations[0][0].text
    usage = result.llm_output["token_usage"]
    saw["usage"] = {"input": usage["prompt_tokens"], "output": usage["completion_tokens"]}


CLIENTS: dict[str, dict[str, Deed]] = {
    "openai-python-responses": {
        "stream": _responses_stream,
        "complete": _responses_complete,
        "tools": _responses_tools,
        "parse": _responses_parse,
    },
    "openai-python-chat": {"parse": _chat_parse},
    "openai-python-completions": {"stream": _completions_stream, "complete": _completions_complete},
    "anthropic-python": {"stream": _messages_stream, "complete": _messages_complete, "tools": _messages_tools, "parse": _messages_parse},
    "openai-agents": {"stream": _agents_stream, "tools": _agents_tools, "parse": _agents_parse},
    "langchain": {
        "stream": _langchain_stream,
        "complete": _langchain_complete,
        "tools": _langchain_tools,
        "parse": _structured("json_schema"),
        "parse-by-function": _structured("function_calling"),
        "parse-by-json-mode": _structured("json_mode"),
        "embed": _langchain_embed,
    },
    "langchain-responses": {
        "stream": _langchain_responses,
        "tools": _langchain_responses_tools,
        "parse": _structured("json_schema", use_responses_api=True),
    },
    "langchain-completions": {"stream": _langchain_completions, "complete": _langchain_completions_complete},
}


def run(case: dict[str, Any]) -> Saw:
    """Run one case and return the report: what a program that uses the library would have got."""
    saw: Saw = {"text": "", "thoughts": "", "calls": [], "error": None, "object": None, "usage": None, "events": []}
    try:
        CLIENTS[case["client"]][case["deed"]](case["base"], {"ask": "Hi", **case}, saw)
    except Exception as error:  # noqa: BLE001  # what a client raises is what is observed here
        body: object = getattr(error, "body", None)
        saw["error"] = {"kind": type(error).__name__, "status": getattr(error, "status_code", None), "message": f"{error} {body or ''}"}
    return saw


@contextmanager
def opened() -> Generator[Callable[[dict[str, Any]], Saw]]:
    """Import the libraries with their tracing switched off; yield the function that runs a case."""
    os.environ |= {"LANGSMITH_TRACING": "false", "LANGCHAIN_TRACING_V2": "false", "OPENAI_AGENTS_DISABLE_TRACING": "1"}
    for name in ("openai", "anthropic", "agents", "langchain_openai"):
        _package(name)  # in one thread: they import each other
    yield run

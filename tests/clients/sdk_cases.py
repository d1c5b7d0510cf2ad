"""The cases of libraries for programs: what a program asks, and what the library must return. One table for all libraries."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.clients.cases import BROKE_OFF
from tests.clients.harness import SDKS, Sdk
from tests.clients.router_cases import PERSON

CITIES = ("Beijing", "Shanghai", "Paris")
CALLS = [["get_weather", {"location": city}] for city in CITIES]


@dataclass(frozen=True)
class SdkCase:
    """A program's request to a model id, and what the library must return."""

    name: str
    model: str
    deed: str = "stream"
    text: str = ""
    thoughts: str = ""
    calls: Sequence[Any] = ()
    error: str = ""
    """A pattern that the message of the raised error must contain; empty if none is raised."""
    status: int | None = None
    """The HTTP status of the raised error; None if it came in the stream."""
    made: Any = None
    """The expected structured output."""
    stop: str | None = None
    """Text after which the program stops the answer."""

    def __str__(self) -> str:
        return self.name

    @property
    def asked(self) -> dict[str, Any]:
        """The case as a line for the worker."""
        return {"model": self.model, "deed": self.deed, **({"stop": self.stop} if self.stop else {})}


SDK_CASES = (
    SdkCase("text", "text", text="Hello, world!"),
    SdkCase("not-streamed", "text", "complete", text="Hello, world!"),
    SdkCase("thought", "thought", text="Hi there.", thoughts="The user greets me. I greet back."),
    SdkCase("three-tools", "three", "tools", text="All are sunny.", calls=CALLS),
    SdkCase("rescue", "rescue", text="Half and whole."),
    SdkCase("error-before", "error-before", error=BROKE_OFF, status=502),
    SdkCase("error-in-the-stream", "error-after", text="Partial", error=BROKE_OFF),
    SdkCase("stop", "stop", text="Before", stop="Before"),
    SdkCase("structured", "person", "parse", made=PERSON),
    SdkCase("structured-by-function", "person", "parse-by-function", made=PERSON),
    SdkCase("structured-by-json-mode", "person", "parse-by-json-mode", made=PERSON),
    SdkCase("structured-by-stream-object", "person", "stream-object", made=PERSON),
)
STREAMED = {"text", "rescue", "error-before", "error-in-the-stream", "stop"}
WHOLE = {*STREAMED, "not-streamed"}
CHAT = {*WHOLE, "thought", "three-tools", "structured"}
PLAYS: Mapping[str, set[str]] = {
    "openai-node-responses": CHAT,
    "openai-node-completions": WHOLE,
    "openai-node-chat": {"structured"},
    "anthropic-node": CHAT,
    "ai-sdk-openai": {*CHAT, "structured-by-stream-object"},
    "ai-sdk-openai-chat": {*CHAT, "structured-by-stream-object"} - {"thought"},
    "ai-sdk-openai-completions": WHOLE,
    "ai-sdk-anthropic": {*CHAT, "structured-by-stream-object"},
    "openai-python-responses": CHAT,
    "openai-python-completions": WHOLE,
    "openai-python-chat": {"structured"},
    "anthropic-python": CHAT,
    "openai-agents": CHAT - {"not-streamed"},
    "langchain": {*CHAT, "structured-by-function", "structured-by-json-mode"} - {"thought"},
    "langchain-responses": CHAT - {"not-streamed"},
    "langchain-completions": WHOLE,
}
"""Client → names of its cases. @ai-sdk/openai and LangChain read no reasoning in chat completions, where OpenAI itself sends none."""


def played_by_sdks() -> list[tuple[Sdk, SdkCase]]:
    """Return each case with each library that supports it."""
    return [(client, case) for case in SDK_CASES for client in SDKS if case.name in PLAYS[client.name]]

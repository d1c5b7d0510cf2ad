"""Structured output: how a target is asked for an answer of a given form, by a field of the request, an instruction, or both.

A provider that enforces schemas (`facts: schemas`) is sent the schema, in the subset that it takes; its answer is `native`, and
is streamed. Otherwise JSON mode (`facts: json_mode`) with an instruction, or an instruction alone, asks for it. Failover holds back
such an answer, and validates it.
"""

import json

from router.chat import Ask, Json, JsonObject, Message, OutputFormat
from router.events import OutputWay
from router.targets.facts import Facts
from router.targets.subset import CLAUDE, GEMINI, GUIDED, OBJECT, OPENAI, SCHEMA, STRICT, Subset, narrowed
from router.value import Value, replace

SUBSETS = {
    "openai": OPENAI,
    "anthropic": CLAUDE,
    "gemini": GEMINI,
    **dict.fromkeys(("azure", "groq", "cerebras", "openrouter", "vercel_ai_gateway"), STRICT),
}
"""Provider → the subset of JSON schemas that it takes; GUIDED for all others."""
APART = frozenset({"groq"})
"""Providers that refuse an output format beside tools. Source: Groq's guide to structured outputs."""
ONLY = "Answer with {} alone: no Markdown, no code fence, and no word before or after it."


class FittedQuestion(Value, frozen=True):
    """A question whose output format is in the form that one target takes. Made by `structured`.

    ask: the question, with an instruction if needed
    way: how the format is requested (OutputWay); empty without a format
    schema: the JSON schema for the request; None if none is sent
    mode: true if JSON mode is requested
    """

    ask: Ask
    way: OutputWay = ""
    schema: JsonObject | None = None
    mode: bool = False

    @property
    def chat(self) -> dict[str, Json]:
        """Return `{"response_format": …}` for the body of a chat completion; an empty dict if it is not sent."""
        if self.schema is not None:
            return {"response_format": {"type": "json_schema", "json_schema": self._named}}
        return {"response_format": {"type": "json_object"}} if self.mode else {}

    @property
    def text_format(self) -> dict[str, Json] | None:
        """Return the value of `text.format` for the Responses API; None if it is not sent."""
        return {"type": "json_schema", **self._named} if self.schema is not None else {"type": "json_object"} if self.mode else None

    @property
    def _named(self) -> dict[str, Json]:
        output = self.ask.output or OutputFormat()
        said: dict[str, Json] = {"description": output.description} if output.description else {}
        return {"name": output.name, **said, "schema": self.schema, "strict": self.way == "native"}

    @property
    def sent(self) -> tuple[str, ...]:
        """Return (`json_schema`,) or (`json_object`,), whichever the request has, as the name in a refusal; empty if neither."""
        return (SCHEMA,) if self.schema is not None else (OBJECT,) if self.mode else ()


def subset_of(provider: str) -> Subset:
    """Return the subset of JSON schemas that a provider takes; GUIDED for a provider without an entry."""
    return SUBSETS.get(provider, GUIDED)


def emulated(facts: Facts, model: str, schema: JsonObject) -> bool | None:
    """Return whether a schema has to be emulated by an instruction for a model (provider/model) with these facts.
    True: its provider enforces no schema. False: it enforces this one. None: it enforces schemas, but does not take this one.
    """
    if not facts.schemas:
        return True
    return False if narrowed(schema, subset_of(model.partition("/")[0])) is not None else None


def structured(ask: Ask, facts: Facts, subset: Subset, *, loose: bool = False, beside_tools: bool = True) -> FittedQuestion:
    """Return a question with its output format in the form that a model with these facts takes; unchanged without an output format.

    The first possible way is taken: the provider enforces the schema; it takes it as a hint; JSON mode; an instruction alone. All but the
    first add an instruction.

    loose: true if the provider takes a schema outside of its subset as a hint
    beside_tools: true if it takes an output format beside tools
    """
    output = ask.output
    if output is None:
        return FittedQuestion(ask)
    schema, taken = output.schema, beside_tools or not ask.tools
    if schema is not None and facts.schemas and taken:
        if (exact := narrowed(schema, subset)) is not None:
            return FittedQuestion(ask, "native", schema=exact)
        if loose and schema.get("type") == "object":
            return FittedQuestion(instructed(ask, output), "json_schema", schema=schema)
    if taken and facts.json_mode is not False and (schema is None or schema.get("type") == "object"):
        way: OutputWay = "native" if schema is None and facts.json_mode else "json_object"
        return FittedQuestion(instructed(ask, output), way, mode=True)  # OpenAI refuses JSON mode unless the prompt has the word "JSON"
    return FittedQuestion(instructed(ask, output), "instruction")


def instructed(ask: Ask, output: OutputFormat) -> Ask:
    """Return the question with an instruction for JSON output at the end of its first system message.
    Without a system message, it is at the end of the last user message; without a user message, too, in a new system message.
    """
    words, messages = instruction(output), list(ask.messages)
    roles = [one.role for one in messages]
    place = roles.index("system") if "system" in roles else next((at for at in range(len(roles) - 1, -1, -1) if roles[at] == "user"), None)
    if place is None:
        return ask.with_messages(Message("system", (words,)), *messages)
    messages[place] = replace(messages[place], parts=(*messages[place].parts, f"\n\n{words}"))
    return ask.with_messages(*messages)


def instruction(output: OutputFormat) -> str:
    """Return the text that asks a model for an output format: JSON alone, its description and its schema."""
    schema = output.schema
    said = [ONLY.format("one JSON object" if schema is None or schema.get("type") == "object" else "JSON")]
    if output.description:
        said.append(f"What it is for: {output.description}")
    if schema is not None:
        said.append(f"It must keep to this JSON schema:\n{json.dumps(schema, ensure_ascii=False, default=dict)}")
    return "\n".join(said)

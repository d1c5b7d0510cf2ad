"""Requests for the form of an answer: in the provider's own words if it keeps to them by itself, else by instruction.

A provider that is known to keep to schemas (`facts: schemas`) is sent the schema, in the subset that it takes; its answer is `native`, and
is streamed. Otherwise JSON mode (`facts: json_mode`) keeps the answer to JSON, and an instruction says the rest; or the instruction
says all. What such a target answers is held back and checked by failover.
"""

import json

from router.chat import Ask, Json, JsonObject, Message, OutputFormat
from router.events import OutputWay
from router.targets.facts import Facts
from router.targets.subset import CLAUDE, GEMINI, GUIDED, OBJECT, OPENAI, SCHEMA, STRICT, Subset, narrowed
from router.value import Value, replace

SUBSETS = {
    "openai": OPENAI,
    "azure": STRICT,
    "groq": STRICT,
    "cerebras": STRICT,
    "openrouter": STRICT,
    "vercel_ai_gateway": STRICT,
    "anthropic": CLAUDE,
    "gemini": GEMINI,
}
"""Provider → the schemas that it takes; all others GUIDED."""
APART = frozenset({"groq"})
"""Providers that refuse a form beside tools. Source: Groq's guide to structured outputs."""
ONLY = {
    True: "Answer with one JSON object alone: no Markdown, no code fence, and no word before or after it.",
    False: "Answer with JSON alone: no Markdown, no code fence, and no word before or after it.",
}


class FittedQuestion(Value, frozen=True):
    """A question as it is put to a target.

    ask: the question, with the instruction where it has one
    way: how it is asked for the form
    schema: the JSON schema that its provider is sent; None where it is sent none
    mode: whether it is sent the wish for JSON alone instead
    """

    ask: Ask
    way: OutputWay = ""
    schema: JsonObject | None = None
    mode: bool = False

    @property
    def chat(self) -> dict[str, Json]:
        """The field of OpenAI's chat completions; nothing where it is not sent."""
        if self.schema is not None:
            return {"response_format": {"type": "json_schema", "json_schema": self._named}}
        return {"response_format": self._object} if self.mode else {}

    @property
    def text_format(self) -> dict[str, Json] | None:
        """The form as OpenAI's Responses API has it; None where it is not sent."""
        return {"type": "json_schema", **self._named} if self.schema is not None else self._object

    @property
    def _object(self) -> dict[str, Json] | None:
        return {"type": "json_object"} if self.mode else None

    @property
    def _named(self) -> dict[str, Json]:
        output = self.ask.output or OutputFormat()
        said: dict[str, Json] = {"description": output.description} if output.description else {}
        return {"name": output.name, **said, "schema": self.schema, "strict": self.way == "native"}

    @property
    def sent(self) -> tuple[str, ...]:
        """The word by which a refusal of what is sent is learned from."""
        return (SCHEMA,) if self.schema is not None else (OBJECT,) if self.mode else ()


def subset_of(provider: str) -> Subset:
    """The schemas that a provider takes."""
    return SUBSETS.get(provider, GUIDED)


def emulated(facts: Facts, model: str, schema: JsonObject) -> bool | None:
    """Return whether a schema is emulated for a model (provider/model) of these facts.

    True if its provider keeps to no schema, None if it keeps to others than this.
    """
    if not facts.schemas:
        return True
    return False if narrowed(schema, subset_of(model.partition("/")[0])) is not None else None


def structured(ask: Ask, facts: Facts, subset: Subset, *, loose: bool = False, beside_tools: bool = True) -> FittedQuestion:
    """The question as a model of these facts is asked it. One without a form is as it was.

    loose: whether the provider takes a schema outside of its subset, as a hint
    beside_tools: whether it takes a form where tools are offered
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
        return FittedQuestion(instructed(ask, output), way, mode=True)  # OpenAI refuses it where nothing says "JSON"
    return FittedQuestion(instructed(ask, output), "instruction")


def instructed(ask: Ask, output: OutputFormat) -> Ask:
    """The question with the wish for its form: at the end of the system prompt, else of the user's last message."""
    words = instruction(output)
    messages = list(ask.messages)
    places = [at for at, one in enumerate(messages) if one.role == "system"][:1] or [
        at for at, one in enumerate(messages) if one.role == "user"
    ][-1:]
    if not places:
        return ask.with_messages(Message("system", (words,)), *messages)
    place = places[0]
    messages[place] = replace(messages[place], parts=(*messages[place].parts, f"\n\n{words}"))
    return ask.with_messages(*messages)


def instruction(output: OutputFormat) -> str:
    """The wish for a form, in words."""
    schema = output.schema
    said = [ONLY[schema is None or schema.get("type") == "object"]]
    if output.description:
        said.append(f"What it is for: {output.description}")
    if schema is not None:
        said.append(f"It must keep to this JSON schema:\n{json.dumps(schema, ensure_ascii=False, default=dict)}")
    return "\n".join(said)

"""Reading a request of OpenAI's legacy completions API into a question.

    {model, prompt: a text, or a list of texts, echo, max_tokens, stop, temperature, …}

Each prompt is asked as one message of the user. A field that changes the answer and that no chat model serves is refused by its name.
Source: OpenAI's reference of the completions API.
"""

from collections.abc import Mapping

from router.chat import Json, JsonObject, Message
from router.errors import BadAsk
from router.intake.client_tools import Harmless, refuse_unserved
from router.intake.fields import Fields, flag, listing, text

MAX_PROMPTS = 20
"""The most prompts of one request: LangChain splits its batches so."""
MEANT: Harmless = {
    "suffix": ("",),
    "best_of": (1,),
    "logprobs": (),
    "n": (1,),
    "messages": (),
    "tools": ([],),
    "prompt_embeds": (),
    "use_beam_search": (False,),
    **dict.fromkeys(("guided_json", "guided_regex", "guided_choice", "guided_grammar", "structured_outputs", "grammar", "json_schema"), ()),
}
"""Fields of this API and of compatible servers that change the answer and are not served → their harmless values."""
READ = frozenset({"prompt", "echo", "response_format"})
"""Fields that are read here and therefore not kept in `ask.fields`."""


def messages(fields: Fields) -> tuple[Message, ...]:
    """Return the first prompt as a conversation of one user message. BadAsk for an invalid prompt, or a field that is not served."""
    refuse_unserved(fields, MEANT)
    return (Message("user", (_prompts(fields)[0],)),)


def prompts(fields: Fields) -> tuple[Message, ...]:
    """Return all prompts, each as a user message, if there are several; an empty tuple if there is only one."""
    given = _prompts(fields)
    return tuple(Message("user", (one,)) for one in given) if len(given) > 1 else ()


def repeated(fields: Mapping[str, Json]) -> JsonObject:
    """Return what the answer's writer needs: `prompts`, their number, and `echo`, their texts if the client wants an echo, else empty."""
    given = _prompts(fields)
    return {"prompts": len(given), "echo": [*given] if flag(fields.get("echo"), "echo") else []}


def _prompts(fields: Fields) -> list[str]:
    given = fields.get("prompt")
    if isinstance(given, str):
        return [text(given, "prompt")]
    listed = listing(given)
    if not listed:
        raise BadAsk("prompt: a text, or a list of texts, is needed.")
    if any(isinstance(one, int | list) for one in listed):
        raise BadAsk("prompt: tokens are not served here; send the text.")
    if len(listed) > MAX_PROMPTS:
        raise BadAsk(f"prompt: {MAX_PROMPTS} texts at most are served in one request.")
    return [text(one, f"prompt[{index}]") for index, one in enumerate(listed)]

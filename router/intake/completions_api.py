"""A body of OpenAI's legacy completions API → its question.

    {model, prompt: a text, or a list with one, echo, max_tokens, stop, temperature, …}

The prompt is asked as one message of the user. Fields that change the answer and that no chat model serves are refused by their name.
Source: OpenAI's reference of the completions API.
"""

from collections.abc import Mapping

from router.chat import Json, JsonObject, Message
from router.errors import BadAsk
from router.intake.client_tools import refuse_unserved
from router.intake.fields import Fields, listing
from router.intake.messages import text

MEANT: dict[str, tuple[Json, ...]] = {
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
"""Fields of this API, and of servers that speak it, that change the answer and that we cannot serve → the values that ask for nothing."""
READ = frozenset({"prompt", "echo", "response_format"})
"""Fields whose content is in the question or its answer, and stands in no other place of it."""


def messages(fields: Fields) -> tuple[Message, ...]:
    """The prompt as a conversation. BadAsk names the field that is not served."""
    refuse_unserved(fields, MEANT)
    return (Message("user", (_prompt(fields),)),)


def repeated(fields: Mapping[str, Json]) -> JsonObject:
    """Return what the answer repeats: the prompt, where the client wants its echo."""
    wanted = fields.get("echo")
    if not isinstance(wanted, bool | None):
        raise BadAsk("echo: true or false is needed.")
    return {"echo": _prompt(fields)} if wanted else {}


def _prompt(fields: Fields) -> str:
    """The text of the prompt. Several at once are several questions: limits, prices and the log count one for each request."""
    given = fields.get("prompt")
    if isinstance(given, str):
        return text(given, "prompt")
    listed = listing(given)
    if not listed:
        raise BadAsk("prompt: a text, or a list with one text, is needed.")
    if any(isinstance(one, int | list) for one in listed):
        raise BadAsk("prompt: tokens are not served here; send the text.")
    if len(listed) > 1:
        raise BadAsk("prompt: one text at a time is served here; send a request for each.")
    return text(listed[0], "prompt[0]")

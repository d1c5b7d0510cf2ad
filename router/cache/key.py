"""The key of an answer in a cache: a digest of everything that the answer depends on, and of nothing else.

The question is read where it leaves the pipeline, so the key covers what a provider is sent. Fields of the body that no template used do
not count, nor does the order of an object's keys. Values that could be mistaken for each other (a text for a file, two parts for one, the
number 1 for the text "1") have different forms.
"""

import hashlib

from router.chat import Ask, Call, File, Json, Part, ReasoningState
from router.jsontext import writer

dumps = writer(dict, sort_keys=True, separators=(",", ":"))


def key(ask: Ask, made_by: str, owner: str) -> str:
    """Return a question's cache key, a SHA-256 in hex. `made_by`: digest of the configuration; `owner`: `Ask.owner`; empty for everyone."""
    output = ask.output
    made: dict[str, Json] = {
        "by": made_by,
        "for": owner,
        "messages": [
            [message.role, [part_of(part) for part in message.parts], *((message.name,) if message.name else ())]
            for message in ask.messages
        ],
        "params": ask.params.given,
        "tools": [[tool.name, tool.description, tool.parameters, *(("strict",) if tool.strict else ())] for tool in ask.tools],
        "choice": [ask.choice.kind, ask.choice.name],
        **({"output": [output.schema, output.name, output.description]} if output is not None else {}),
        **({"approvable": True} if ask.approvable else {}),
        **({"held": sorted(ask.held)} if ask.held is not None else {}),  # who answers depends on it
    }
    return hashlib.sha256(dumps(made).encode()).hexdigest()


def part_of(part: Part) -> Json:
    """Return a message's part as JSON for a hash: different parts give different JSON."""
    if isinstance(part, str):
        return part
    match part:
        case File():
            return _file(part)
        case Call(call_id, name, arguments, approval):
            return ["call", call_id, name, arguments, *((approval,) if approval else ())]
        case ReasoningState(issuer, value, call_id, after):
            return ["state", issuer, value, call_id, after]
        case _:
            shown: list[Json] = [_file(one) for one in part.files]
            return ["result", part.call_id, part.name, part.value, part.is_error, *shown]


def _file(file: File) -> Json:
    return ["file", file.kind, file.url, file.name, *((file.detail,) if file.detail else ())]

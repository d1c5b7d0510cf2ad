"""Documents beside the chat, as vercel/ai-chatbot shows them: createDocument, updateDocument, editDocument and requestSuggestions.

The text comes from the routes `artifact-model` and `suggestion-model` of this configuration. The page gets it as data parts while it is written.
The router keeps no document: `route.ts` sends those of the chat in the body's field `documents`, and saves those that change.

    documents: [{id, title, kind: "text" | "code" | "sheet", content}]

A result with `error` is drawn by the page as an error; a failed call, without a result, is not.
"""

import json
import uuid
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, cast

from pydantic import Field

from router.errors import ToolError
from router.toolbox import DataPart, Fields, RouteAnswer, Routes

Kind = Literal["text", "code", "sheet"]
KINDS: tuple[Kind, ...] = ("text", "code", "sheet")
Title = Annotated[str, Field(min_length=1, max_length=300)]
DocumentId = Annotated[str, Field(min_length=1, max_length=100)]
Parts = AsyncGenerator[DataPart | dict[str, str], None]

PIECE = 24
"""Characters of a part of a text: one for each token of a model would be ten times the bytes."""
GROWTH = 1.08
"""Growth of code or a sheet between two parts. Each holds all that was written so far, so their sum is bounded by a multiple of the last."""
MAX_SUGGESTIONS = 5


@dataclass(frozen=True, slots=True)
class _Document:
    """A document as `route.ts` sends it."""

    document_id: str
    title: str
    kind: Kind
    content: str


async def createDocument(title: Title, kind: Kind, routes: Routes) -> Parts:
    """Write a document, which the user sees beside the chat. It is written from its title alone: say in it what matters.

    title: the document's title
    kind: code for a program, sheet for a table, text for everything else
    """
    document_id = str(uuid.uuid4())
    yield DataPart("kind", kind)
    yield DataPart("id", document_id)
    yield DataPart("title", title)
    yield DataPart("clear")
    answer = routes.ask("artifact-model", title, fields={"kind": kind, "title": title})
    document = _Document(document_id, title, kind, "")
    async for part in _written(answer, document, "The document is written. The user sees it beside the chat."):
        yield part


async def updateDocument(id: DocumentId, routes: Routes, fields: Fields, description: str = "Improve it.") -> Parts:  # noqa: A002 - the page's name
    """Write an existing document anew, for changes to most of it.

    id: the document's id
    description: the changes to make
    """
    document = _found(fields, id)
    if document is None:
        yield {"error": UNKNOWN}
        return
    yield DataPart("clear")
    asked = {"kind": document.kind, "title": document.title, "content": document.content}
    answer = routes.ask("artifact-model", description, fields=asked)
    async for part in _written(answer, document, "The document is changed. The user sees it beside the chat."):
        yield part


async def editDocument(id: DocumentId, old_string: str, new_string: str, fields: Fields, replace_all: bool = False) -> Parts:  # noqa: A002, FBT001, FBT002 - the page's names
    """Replace a passage of an existing document, for changes to a part of it.

    id: the document's id
    old_string: the passage, exactly as it stands there, with enough around it to be unique
    new_string: the text in its place
    replace_all: true to replace each place where it stands
    """
    document = _found(fields, id)
    if document is None:
        yield {"error": UNKNOWN}
        return
    if not old_string or old_string not in document.content:
        yield {"error": "This passage does not stand in the document."}
        return
    content = document.content.replace(old_string, new_string, -1 if replace_all else 1)
    yield DataPart("clear")
    yield DataPart(f"{document.kind}Delta", content)
    yield DataPart("finish")
    yield _result(document, "The passage is replaced. The user sees the document beside the chat.")


async def requestSuggestions(documentId: DocumentId, routes: Routes, fields: Fields) -> Parts:  # noqa: N803 - the page's name
    """Suggest changes to an existing document. Only if the user asks for suggestions.

    documentId: the document's id
    """
    document = _found(fields, documentId)
    if document is None:
        yield {"error": UNKNOWN}
        return
    text, read, count = "", 0, 0
    try:
        async for piece in routes.ask("suggestion-model", document.content):
            text += piece
            suggestions, read = _suggestions(text, read)
            for original, suggested, description in suggestions[: MAX_SUGGESTIONS - count]:
                count += 1
                suggestion = {"id": str(uuid.uuid4()), "documentId": documentId, "originalText": original}
                yield DataPart("suggestion", {**suggestion, "suggestedText": suggested, "description": description, "isResolved": False})
    except ToolError as error:
        yield {"error": error.public}
        return
    yield {"id": documentId, "title": document.title, "kind": document.kind, "message": f"{count} suggestions stand beside the document."}


UNKNOWN = "There is no such document in this chat."


def _found(fields: Fields, document_id: str) -> _Document | None:
    """Return the document of this id from the request's body; None if there is none of a known kind."""
    listed = fields.get("documents")
    for one in listed if isinstance(listed, list) else []:
        match one:
            case {"id": str(known), "title": str(title), "kind": kind, "content": str(content)} if known == document_id and kind in KINDS:
                return _Document(document_id, title, kind, content)
            case _:
                pass
    return None


def _result(document: _Document, content: str) -> dict[str, str]:
    """Return the object that the page draws as a card."""
    return {"id": document.document_id, "title": document.title, "kind": document.kind, "content": content}


async def _written(answer: RouteAnswer, document: _Document, content: str) -> Parts:
    """Yield the parts of a document as it is written, then its result."""
    part = f"{document.kind}Delta"
    text, shown = "", 0
    try:
        async for piece in answer:
            text += piece
            if document.kind == "text" and len(text) - shown >= PIECE:
                yield DataPart(part, text[shown:])
                shown = len(text)
            elif document.kind != "text" and len(text) > max(shown * GROWTH, shown + PIECE):
                yield DataPart(part, text)
                shown = len(text)
    except ToolError as error:
        yield DataPart("finish")
        yield {"error": error.public}
        return
    if shown < len(text):
        yield DataPart(part, text[shown:] if document.kind == "text" else text)
    yield DataPart("finish")
    yield _result(document, content)


def _suggestions(text: str, read: int) -> tuple[list[tuple[str, str, str]], int]:
    """Return the suggestions that are complete since position `read` of the JSON text, and the new position."""
    decoder, found = json.JSONDecoder(), list[tuple[str, str, str]]()
    read = read or text.find("[") + 1
    while read and (start := text.find("{", read)) >= 0:
        try:
            one, read = decoder.raw_decode(text, start)
        except ValueError:
            break  # the rest of it is not here yet
        if isinstance(one, Mapping):
            values = [cast("Mapping[str, object]", one).get(name) for name in ("original", "suggested", "description")]
            if all(isinstance(value, str) and value for value in values):
                found.append((str(values[0]), str(values[1]), str(values[2])))
    return found, read

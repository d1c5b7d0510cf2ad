"""Sources and images in a model's answer, from the provider to the clients of each wire, and from cache and recording."""

import base64
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anthropic
import openai
import pytest

from router.wire import WIRES
from tests.conftest import Client, Workspace, direct_target, parsed_lines, routes, serving
from tests.support.provider import DONE, Reply, chunk, provider, usage
from tests.wire.readers import READERS

PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
PAGE = ("https://a.org/1", "One")
CITED = {"type": "url_citation", "url_citation": {"start_index": 0, "end_index": 3, "url": PAGE[0], "title": PAGE[1]}}
DRAWN = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}, "index": 0}
FRAMES = (
    chunk({"role": "assistant", "content": "Rome "}),
    chunk({"annotations": [CITED]}),
    chunk({"content": "it is."}),
    chunk({"images": [DRAWN]}),
    chunk({}, "stop"),
    usage(),
    DONE,
)
ASKED: list[Any] = [{"role": "user", "content": "Hi"}]


@asynccontextmanager
async def served(workspace: Workspace, frames: tuple[bytes, ...] = FRAMES) -> AsyncGenerator[Client, None]:
    """Run a router whose provider answers each question with these frames, and yield its client."""
    async with (
        provider(Reply(frames)) as fake,
        serving(workspace.write("routes.yaml", routes(direct_target(fake.base))).build()) as client,
    ):
        yield client


async def read(client: Client, wire: str, chat: str = "") -> Any:
    """Ask a question in this wire and return what its reader parsed."""
    more = {"id": chat} if chat else {}
    return READERS[wire]((await client.post(f"/api/chat?protocol={wire}", messages=ASKED, **more)).body)


async def test_cache_hit_has_the_sources_and_images_of_the_answer(workspace: Workspace) -> None:
    """A cache hit has the same text, sources and images as the first answer."""
    async with provider(Reply(FRAMES)) as fake:
        workspace.write("routes.yaml", routes(direct_target(fake.base), "targets: [a]\n    cache: {ttl: 1h}"))
        async with serving(workspace.build()) as client:
            first, second = [await read(client, "line") for _ in range(2)]
    assert len(fake.requests) == 1
    assert first == second
    assert (first.text, first.sources, first.files) == ("Rome it is.", [PAGE], [("image/png", PIXEL)])


async def test_resumed_answer_has_its_sources_and_images_in_each_wire_that_shows_them(workspace: Workspace) -> None:
    """A resumed answer has its sources in every wire but the two text ones, and its images in all of those but Anthropic's."""
    async with served(workspace) as client:
        await read(client, "ui-message-stream", "c1")
        found = {wire: READERS[wire]((await client.get(f"/api/chat/c1/stream?protocol={wire}")).body) for wire in WIRES}
    silent = {"text", "text-completion"}
    assert {wire for wire, heard in found.items() if heard.sources != [PAGE]} == silent
    assert {wire for wire, heard in found.items() if heard.files != [("image/png", PIXEL)]} == {*silent, "anthropic"}
    assert {heard.text for heard in found.values()} == {"Rome it is."}


@pytest.mark.parametrize("wire", ["line", "data-stream", "ui-message-stream"])
async def test_unstreamed_answer_has_sources_and_images(workspace: Workspace, wire: str) -> None:
    """An answer with `stream: false` in the line protocol and in both wires of the AI SDK has its sources and images."""
    async with served(workspace) as client:
        made = (await client.post(f"/api/chat?protocol={wire}", messages=ASKED, stream=False)).json
    page = {"url": PAGE[0], "title": PAGE[1]}
    if wire == "line":
        assert made["sources"] == [{"sourceType": "url", "id": "s1", **page}]
        assert made["files"] == [{"mimeType": "image/png", "data": PIXEL}]
    elif wire == "data-stream":
        source = {"type": "source", "source": {"sourceType": "url", "id": "s1", **page}}
        assert made["parts"] == [{"type": "text", "text": "Rome it is."}, {"type": "file", "mimeType": "image/png", "data": PIXEL}, source]
    else:
        text = {"type": "text", "text": "Rome it is.", "state": "done"}
        file = {"type": "file", "mediaType": "image/png", "url": f"data:image/png;base64,{PIXEL}"}
        assert made["parts"][1:] == [text, {"type": "source-url", "sourceId": "s1", **page}, file]


async def test_openai_client_gets_sources_as_annotations_and_images(workspace: Workspace) -> None:
    """OpenAI's client gets sources as `url_citation` and images, from completions and responses, streamed and unstreamed."""
    async with (
        served(workspace) as client,
        openai.AsyncOpenAI(base_url=f"{client.base}/v1", api_key="none", max_retries=0) as sdk,
    ):
        made = (await sdk.chat.completions.create(model="gpt-4", messages=ASKED)).choices[0].message
        stream = await sdk.chat.completions.create(model="gpt-4", messages=ASKED, stream=True)
        deltas: list[Any] = [chunk.choices[0].delta.to_dict() async for chunk in stream]
        response = await sdk.responses.create(model="gpt-4", input="Hi")
        async with sdk.responses.stream(model="gpt-4", input="And?", previous_response_id=response.id) as events:
            kinds = [event.type async for event in events]
            final = await events.get_final_response()
        items: list[Any] = [one.to_dict() for one in final.output]
        again = await sdk.responses.create(model="gpt-4", input=[*ASKED, *items, *ASKED], store=False)
    assert made.annotations is not None
    assert [(one.url_citation.url, one.url_citation.title) for one in made.annotations] == [PAGE]
    assert made.to_dict()["images"] == [DRAWN]
    assert [one["url_citation"]["url"] for delta in deltas for one in delta.get("annotations", ())] == [PAGE[0]]
    assert [one for delta in deltas for one in delta.get("images", ())] == [DRAWN]
    for shown in (response, final, again):
        output: list[Any] = [one.to_dict() for one in shown.output]
        message, image = output
        said = message["content"][0]
        assert [(one["type"], one["url"]) for one in said["annotations"]] == [("url_citation", PAGE[0])]
        assert (image["type"], image["result"]) == ("image_generation_call", PIXEL)
    assert "response.output_text.annotation.added" in kinds
    assert "response.image_generation_call.completed" in kinds


async def test_anthropic_client_gets_sources_as_citations(workspace: Workspace) -> None:
    """Anthropic's client gets sources as citations of the text, streamed and unstreamed, and may send them back."""
    async with (
        served(workspace) as client,
        anthropic.AsyncAnthropic(base_url=client.base, api_key="none", max_retries=0) as sdk,
    ):
        made = await sdk.messages.create(model="gpt-4", max_tokens=99, messages=ASKED)
        async with sdk.messages.stream(model="gpt-4", max_tokens=99, messages=ASKED) as stream:
            streamed = await stream.get_final_message()
        turns: list[Any] = [*ASKED, {"role": "assistant", "content": streamed.content}, *ASKED]
        again = await sdk.messages.create(model="gpt-4", max_tokens=99, messages=turns)
    for message in (made, streamed, again):
        (block,) = message.content
        assert block.type == "text"
        assert block.text == "Rome it is."
        assert [(one.url, one.title) for one in block.citations or () if one.type == "web_search_result_location"] == [PAGE]


async def test_source_that_precedes_the_text_is_cited_in_the_text(workspace: Workspace) -> None:
    """A source that the provider sends before any text is attached to the text that follows."""
    frames = (chunk({"annotations": [CITED]}), chunk({"content": "Rome."}), chunk({}, "stop"), usage(), DONE)
    async with served(workspace, frames) as client:
        for wire in ("anthropic", "responses", "openai", "ui-message-stream"):
            heard = await read(client, wire)
            assert (heard.text, heard.sources) == ("Rome.", [PAGE]), wire
        whole = (await client.post("/v1/messages", model="gpt-4", max_tokens=9, messages=ASKED)).json
    assert [(one["text"], len(one["citations"])) for one in whole["content"]] == [("Rome.", 1)]


async def test_line_protocol_has_h_lines_for_sources_and_k_lines_for_files(workspace: Workspace) -> None:
    """The line protocol sends a source as an `h:` line and an image as a `k:` line, in their order among the texts."""
    async with served(workspace) as client:
        lines = parsed_lines((await client.post(messages=ASKED)).body)
    assert [code for code, _ in lines] == ["0", "h", "0", "k", "d"]

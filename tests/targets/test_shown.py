"""Sources and files in a model's answer: what each lane reads, and which of them a client gets."""

import base64
import json
import logging
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.chat import Ask, Message
from router.config.declaration import TargetConfig
from router.config.values import Name, Secret
from router.events import Event, Finish, Order, Produced, Source, Start, Text
from router.targets import Connections, open_target, shown
from router.targets.shown import MAX_FILE
from router.targets.speech import MAX_PRODUCED, MAX_SOURCES, Speech
from tests.support.provider import DONE, Reply, chunk, frame, joined, provider, text, usage

HI = Ask(model="m", messages=(Message("user", ("Hi",)),))
PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
IMAGE = Produced("image/png", PIXEL)
PAGE, OTHER = Source("https://a.org/1", "One"), Source("https://b.org/2")


async def heard(model: str, frames: tuple[bytes, ...] = (), body: bytes | None = None, via: Any = None) -> list[Event]:
    """Return the events of an answer of these frames, or of this body, without its Start and Finish."""
    connections, order = Connections(), Order()
    async with provider(Reply(frames, body=body)) as fake:
        base = fake.base if via or model.startswith("openai/") else fake.base.removesuffix("/v1")
        declared = TargetConfig(model=Name(model), api_base=base, api_key=Secret("sk-test"), via=via)
        try:
            async with aclosing(open_target("a", declared, 3, connections).answer(HI)) as events:
                seen = [order.see(event) async for event in events]
        finally:
            await connections.close()
    order.end()
    return [event for event in joined(seen) if not isinstance(event, Start | Finish)]


CITED = {"type": "url_citation", "url_citation": {"start_index": 0, "end_index": 3, "url": PAGE.url, "title": PAGE.title}}
DRAWN = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}, "index": 0}
OPENAI = (
    chunk({"role": "assistant", "content": "Rome."}),
    chunk({"content": "", "annotations": [CITED, {"type": "url_citation", "url_citation": {"url": OTHER.url}}]}),
    chunk({"content": "", "annotations": [CITED], "images": [DRAWN]}),
    chunk({}, "stop"),
    usage(),
    DONE,
)
SHOWN: list[Event] = [Text("Rome."), PAGE, OTHER, IMAGE]


@pytest.mark.parametrize("via", [None, "litellm"])
async def test_openai_annotations_and_images_become_sources_and_files(via: Any) -> None:
    """Citations in OpenAI's form become sources, a repeated one only once; images in OpenRouter's form become files, on both lanes."""
    assert await heard("openai/fake", OPENAI, via=via) == SHOWN


async def test_unstreamed_openai_answer_has_sources_and_files() -> None:
    """Citations and images of a complete JSON answer become the source and the file."""
    message = {"role": "assistant", "content": "Rome.", "annotations": [CITED], "images": [DRAWN]}
    body = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    assert await heard("openai/fake", body=json.dumps(body).encode()) == [Text("Rome."), PAGE, IMAGE]


async def test_malformed_openai_annotations_and_images_are_ignored() -> None:
    """Annotations and images of another form are ignored, and the text and a valid citation are yielded."""
    odd: list[Any] = [{"type": "unknown"}, 5, None, [], {"type": "url_citation"}, {"type": "url_citation", "url_citation": []}, CITED]
    frames = (chunk({"content": "Rome.", "annotations": odd, "images": [5, {}, {"image_url": 5}]}), *text("")[-3:])
    assert await heard("openai/fake", frames) == [Text("Rome."), PAGE]


async def test_citations_of_perplexity_and_xai_follow_the_text() -> None:
    """Perplexity's repeated search results and xAI's bare URLs become sources after the text; a `javascript:` URL is dropped."""
    results = [{"url": PAGE.url, "title": PAGE.title, "date": "2026-01-01"}]
    perplexity = (chunk({"content": "Ro"}, search_results=results), chunk({"content": "me."}, "stop", search_results=results), DONE)
    xai = (chunk({"content": "Rome."}), chunk({}, "stop", citations=[OTHER.url, "javascript:alert(1)"]), DONE)
    assert await heard("openai/fake", perplexity) == [Text("Rome."), PAGE]
    assert await heard("openai/fake", xai) == [Text("Rome."), OTHER]


def of_anthropic(*events: dict[str, Any]) -> tuple[bytes, ...]:
    """Return a stream of Anthropic's with these events in its middle."""
    begin: dict[str, Any] = {"type": "message_start", "message": {"usage": {"input_tokens": 1}}}
    end = [{"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}}, {"type": "message_stop"}]
    return tuple(map(frame, [begin, *events, *end]))


LOCATED = {"type": "web_search_result_location", "url": PAGE.url, "title": PAGE.title, "cited_text": "…", "encrypted_index": "E"}
LETTER = {"type": "page_location", "document_title": "A letter", "document_index": 0, "cited_text": "…"}
FOUND: dict[str, Any] = {
    "type": "web_search_tool_result",
    "tool_use_id": "srvtoolu_1",
    "content": [{"type": "web_search_result", "url": OTHER.url, "title": "", "encrypted_content": "E"}],
}
MESSAGE = of_anthropic(
    {"type": "content_block_start", "index": 0, "content_block": FOUND},
    {"type": "content_block_stop", "index": 0},
    {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": "", "citations": []}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "citations_delta", "citation": LOCATED}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "Rome."}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "citations_delta", "citation": LETTER}},
    {"type": "content_block_stop", "index": 1},
)
DOCUMENT = Source("", "A letter", "application/pdf")


async def test_anthropic_citations_and_search_results_become_sources() -> None:
    """Anthropic's search results, and citations of pages and documents, become sources in stream order."""
    assert await heard("anthropic/claude-sonnet-4-5", MESSAGE) == [OTHER, PAGE, Text("Rome."), DOCUMENT]


async def test_anthropic_sources_arrive_through_litellm() -> None:
    """Sources and text of an Anthropic stream arrive through LiteLLM, in whichever order."""
    found = await heard("anthropic/claude-sonnet-4-5", MESSAGE, via="litellm")
    assert {one for one in found if isinstance(one, Source)} == {OTHER, PAGE, DOCUMENT}
    assert "".join(one.text for one in found if isinstance(one, Text)) == "Rome."


async def test_unstreamed_anthropic_message_has_sources() -> None:
    """Search results and citations of a complete JSON message become sources."""
    body = {"type": "message", "content": [FOUND, {"type": "text", "text": "Rome.", "citations": [LOCATED]}], "stop_reason": "end_turn"}
    assert await heard("anthropic/claude-sonnet-4-5", body=json.dumps(body).encode()) == [OTHER, Text("Rome."), PAGE]


async def test_gemini_grounding_and_images_become_sources_and_files() -> None:
    """Gemini's grounding becomes sources, and its image a file; a draft image among the thoughts is dropped."""
    grounding = {"groundingChunks": [{"web": {"uri": PAGE.url, "title": PAGE.title}}, {"retrievedContext": {"title": "notes.txt"}}, 7]}
    drawn = {"inlineData": {"mimeType": "image/png", "data": PIXEL}}
    frames = (
        frame({"candidates": [{"content": {"parts": [{"thought": True, **drawn}, {"text": "Rome."}, drawn]}}]}),
        frame({"candidates": [{"finishReason": "STOP", "groundingMetadata": grounding}], "usageMetadata": {"promptTokenCount": 1}}),
    )
    assert await heard("gemini/gemini-3.1-flash-image", frames) == [Text("Rome."), IMAGE, PAGE, Source("", "notes.txt", "text/plain")]


async def test_answer_of_an_image_alone_is_complete() -> None:
    """A Gemini answer with an image and no text is yielded without an error."""
    drawn = {"inlineData": {"mimeType": "image/png", "data": PIXEL}}
    frames = (frame({"candidates": [{"content": {"parts": [drawn]}, "finishReason": "STOP"}]}),)
    assert await heard("gemini/gemini-3.1-flash-image", frames) == [IMAGE]


async def test_responses_annotations_and_images_become_sources_and_files() -> None:
    """URL and file citations, and generated images, of the Responses API become sources and files, streamed or not."""
    place = {"item_id": "m", "output_index": 0, "content_index": 0}
    cited = {"type": "url_citation", "url": PAGE.url, "title": PAGE.title, "start_index": 0, "end_index": 4}
    filed = {"type": "file_citation", "file_id": "file-1", "filename": "notes.pdf", "index": 3}
    drawn = {"type": "image_generation_call", "id": "ig", "result": PIXEL, "output_format": "png", "status": "completed"}
    frames = tuple(
        map(
            frame,
            [
                {"type": "response.output_text.delta", "delta": "Rome.", **place},
                {"type": "response.output_text.annotation.added", "annotation_index": 0, "annotation": cited, **place},
                {"type": "response.output_text.annotation.added", "annotation_index": 1, "annotation": filed, **place},
                {"type": "response.output_item.done", "output_index": 1, "item": drawn},
                {"type": "response.completed", "response": {"status": "completed"}},
            ],
        )
    )
    expected: list[Event] = [Text("Rome."), PAGE, Source("", "notes.pdf", "application/pdf"), IMAGE]
    assert await heard("openai/responses/gpt-6-astra", frames) == expected
    said = {"type": "output_text", "text": "Rome.", "annotations": [cited, filed]}
    body = {"object": "response", "status": "completed", "output": [{"type": "message", "content": [said]}, drawn]}
    assert await heard("openai/responses/gpt-6-astra", body=json.dumps(body).encode()) == expected


@pytest.mark.parametrize(
    "url",
    [
        *("javascript:alert(1)", "data:text/html,<script>", "file:///etc/passwd", "//a.org/1", "a.org", "https://", "https:///path"),
        *("https://bank.com@evil.org/", "https://a.org/\u202e", "https://a.org/ b", 'https://a.org/"onclick', "https://[::1/"),
        *(f"https://a.org/{'x' * shown.MAX_URL}", 5, None, ["https://a.org"]),
    ],
)
def test_unsafe_source_url_is_dropped(url: Any) -> None:
    """A source URL is dropped unless it is http(s) with a host, without user name, hidden characters, blanks or excessive length."""
    assert shown.page(url) is None


@given(st.text() | st.integers() | st.none())
def test_source_title_is_one_bounded_printable_line(title: Any) -> None:
    """A source's title becomes printable text of at most MAX_TITLE characters, whatever value the provider sends."""
    made = shown.page("https://a.org/1", title)
    assert made is not None
    assert len(made.title) <= shown.MAX_TITLE
    assert made.title.isprintable()


@pytest.mark.parametrize(
    ("media_type", "data"),
    [
        *(("text/html", PIXEL), ("image/svg+xml", PIXEL), ("application/javascript", PIXEL), (None, PIXEL)),
        *(("image/png", ""), ("image/png", "not base64!"), ("image/png", "AAA"), ("image/png", 5)),
    ],
)
def test_unsafe_or_invalid_file_is_dropped(media_type: Any, data: Any) -> None:
    """A file that a browser might run (HTML, SVG, script), has no media type, or is not base64 is dropped."""
    assert shown.produced(media_type, data) is None


async def test_dropped_file_is_logged_once_per_answer(caplog: pytest.LogCaptureFixture) -> None:
    """Two dropped images of one answer are logged once as `file_left_out` with the target; the text is yielded."""
    wrong = {"type": "image_url", "image_url": {"url": "data:text/html;base64,AAAA"}}
    frames = (chunk({"content": "Rome.", "images": [wrong, wrong]}), *text("")[-3:])
    with caplog.at_level(logging.WARNING):
        assert await heard("openai/fake", frames) == [Text("Rome.")]
    logged = [record for record in caplog.records if record.getMessage() == "file_left_out"]
    assert [record.__dict__["fields"] for record in logged] == [{"target": "a"}]


async def test_number_of_sources_is_bounded() -> None:
    """An answer with more than MAX_SOURCES citations yields MAX_SOURCES sources."""
    cited: Callable[[int], Any] = lambda number: {"type": "url_citation", "url_citation": {"url": f"https://a.org/{number}"}}  # noqa: E731
    frames = (chunk({"content": "Rome.", "annotations": [cited(number) for number in range(MAX_SOURCES + 9)]}), *text("")[-3:])
    assert sum(isinstance(one, Source) for one in await heard("openai/fake", frames)) == MAX_SOURCES


def test_size_of_produced_files_is_bounded() -> None:
    """A file above MAX_FILE characters is dropped, as are files of one model call beyond MAX_PRODUCED characters in all."""
    speech = Speech("a")
    for _ in range(5):
        speech.file(shown.produced("image/png", "A" * MAX_FILE))
    assert len(speech.take()) == MAX_PRODUCED // MAX_FILE == 2
    assert shown.produced("image/png", "A" * (MAX_FILE + 4)) is None

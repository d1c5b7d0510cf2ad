"""Sources and files of models: what each lane reads of them, and what of it a client may have."""

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
    """Return the events of an answer of these frames, or of this body, without its Start."""
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
async def test_chat_completion_has_annotations_and_images(via: Any) -> None:
    """OpenAI's form of citations, and OpenRouter's of images, in either lane; a repeated citation is one source."""
    assert await heard("openai/fake", OPENAI, via=via) == SHOWN


async def test_whole_chat_completion_has_them_too() -> None:
    """A body that is no stream."""
    message = {"role": "assistant", "content": "Rome.", "annotations": [CITED], "images": [DRAWN]}
    body = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    assert await heard("openai/fake", body=json.dumps(body).encode()) == [Text("Rome."), PAGE, IMAGE]


async def test_annotation_of_another_form_is_passed_over() -> None:
    """The text goes on, whatever stands beside it."""
    odd: list[Any] = [{"type": "unknown"}, 5, None, [], {"type": "url_citation"}, {"type": "url_citation", "url_citation": []}, CITED]
    frames = (chunk({"content": "Rome.", "annotations": odd, "images": [5, {}, {"image_url": 5}]}), *text("")[-3:])
    assert await heard("openai/fake", frames) == [Text("Rome."), PAGE]


async def test_citations_beside_the_choices_come_after_the_text() -> None:
    """Perplexity repeats its results in each chunk, and xAI has addresses alone."""
    results = [{"url": PAGE.url, "title": PAGE.title, "date": "2026-01-01"}]
    perplexity = (chunk({"content": "Ro"}, search_results=results), chunk({"content": "me."}, "stop", search_results=results), DONE)
    xai = (chunk({"content": "Rome."}), chunk({}, "stop", citations=[OTHER.url, "javascript:alert(1)"]), DONE)
    assert await heard("openai/fake", perplexity) == [Text("Rome."), PAGE]
    assert await heard("openai/fake", xai) == [Text("Rome."), OTHER]


def of_anthropic(*events: dict[str, Any]) -> tuple[bytes, ...]:
    """Return a stream of Anthropic's."""
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


async def test_message_has_citations_and_results_of_a_search() -> None:
    """Anthropic's citations of pages and documents, and what its search found."""
    assert await heard("anthropic/claude-sonnet-4-5", MESSAGE) == [OTHER, PAGE, Text("Rome."), DOCUMENT]


async def test_litellm_hands_them_over_in_anthropics_form() -> None:
    """Sources come with the chunk that has them; how LiteLLM orders them is its own affair."""
    found = await heard("anthropic/claude-sonnet-4-5", MESSAGE, via="litellm")
    assert {one for one in found if isinstance(one, Source)} == {OTHER, PAGE, DOCUMENT}
    assert "".join(one.text for one in found if isinstance(one, Text)) == "Rome."


async def test_whole_message_has_them_too() -> None:
    """A body that is no stream."""
    body = {"type": "message", "content": [FOUND, {"type": "text", "text": "Rome.", "citations": [LOCATED]}], "stop_reason": "end_turn"}
    assert await heard("anthropic/claude-sonnet-4-5", body=json.dumps(body).encode()) == [OTHER, Text("Rome."), PAGE]


async def test_gemini_has_grounding_and_files() -> None:
    """A file is an image that it drew; a draft of one among its thoughts is not."""
    grounding = {"groundingChunks": [{"web": {"uri": PAGE.url, "title": PAGE.title}}, {"retrievedContext": {"title": "notes.txt"}}, 7]}
    drawn = {"inlineData": {"mimeType": "image/png", "data": PIXEL}}
    frames = (
        frame({"candidates": [{"content": {"parts": [{"thought": True, **drawn}, {"text": "Rome."}, drawn]}}]}),
        frame({"candidates": [{"finishReason": "STOP", "groundingMetadata": grounding}], "usageMetadata": {"promptTokenCount": 1}}),
    )
    assert await heard("gemini/gemini-3.1-flash-image", frames) == [Text("Rome."), IMAGE, PAGE, Source("", "notes.txt", "text/plain")]


async def test_image_alone_is_an_answer() -> None:
    """A model that draws need not say anything."""
    drawn = {"inlineData": {"mimeType": "image/png", "data": PIXEL}}
    frames = (frame({"candidates": [{"content": {"parts": [drawn]}, "finishReason": "STOP"}]}),)
    assert await heard("gemini/gemini-3.1-flash-image", frames) == [IMAGE]


async def test_response_has_annotations_and_images() -> None:
    """The Responses API: an annotation has its event, an image is an item."""
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
def test_address_that_no_page_should_open_is_no_source(url: Any) -> None:
    """Only http and https, without a user's name, without what hides the rest of it."""
    assert shown.page(url) is None


@given(st.text() | st.integers() | st.none())
def test_title_is_one_line_of_visible_characters(title: Any) -> None:
    """Whatever the provider calls it."""
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
def test_file_that_no_page_should_show_is_left_out(media_type: Any, data: Any) -> None:
    """A file that a browser would run, and what is no file."""
    assert shown.produced(media_type, data) is None


async def test_file_that_is_left_out_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """The text goes on. The provider's words are not in the log."""
    wrong = {"type": "image_url", "image_url": {"url": "data:text/html;base64,AAAA"}}
    frames = (chunk({"content": "Rome.", "images": [wrong, wrong]}), *text("")[-3:])
    with caplog.at_level(logging.WARNING):
        assert await heard("openai/fake", frames) == [Text("Rome.")]
    logged = [record for record in caplog.records if record.getMessage() == "file_left_out"]
    assert [record.__dict__["fields"] for record in logged] == [{"target": "a"}]


async def test_number_of_sources_is_bounded() -> None:
    """A model that cites more has the rest left out."""
    cited: Callable[[int], Any] = lambda number: {"type": "url_citation", "url_citation": {"url": f"https://a.org/{number}"}}  # noqa: E731
    frames = (chunk({"content": "Rome.", "annotations": [cited(number) for number in range(MAX_SOURCES + 9)]}), *text("")[-3:])
    assert sum(isinstance(one, Source) for one in await heard("openai/fake", frames)) == MAX_SOURCES


def test_size_of_files_is_bounded() -> None:
    """Of one file, and of all files of a model call."""
    speech = Speech("a")
    for _ in range(5):
        speech.file(shown.produced("image/png", "A" * MAX_FILE))
    assert len(speech.take()) == MAX_PRODUCED // MAX_FILE == 2
    assert shown.produced("image/png", "A" * (MAX_FILE + 4)) is None

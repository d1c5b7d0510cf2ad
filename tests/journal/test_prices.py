"""Prices from the model table: cached tokens, long prompts, service tiers, audio, images and searches, for each provider's wire."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from router.targets.table import ModelRow, about
from router.usage import Usage
from tests.conftest import Workspace
from tests.journal.test_bill import asking, logged
from tests.support.provider import DONE, Reply, chunk, frame, provider

SPOT_CHECKS: dict[str, tuple[str, Usage, Callable[[Mapping[str, Any]], float]]] = {
    "a prompt from Claude's cache, and some written to it for five minutes and for an hour": (
        "anthropic/claude-sonnet-4-5",
        Usage(10_000, 500, cached_tokens=6000, cache_write_tokens=3000, cache_write_1h_tokens=1000),
        lambda row: (
            1000 * row["input_cost_per_token"]
            + 6000 * row["cache_read_input_token_cost"]
            + 2000 * row["cache_creation_input_token_cost"]
            + 1000 * row["cache_creation_input_token_cost_above_1hr"]
            + 500 * row["output_cost_per_token"]
        ),
    ),
    "three searches of Claude's own tool": (
        "anthropic/claude-opus-4-7",
        Usage(1000, 100, searches=3),
        lambda row: (
            1000 * row["input_cost_per_token"]
            + 100 * row["output_cost_per_token"]
            + 3 * row["search_context_cost_per_query"]["search_context_size_medium"]
        ),
    ),
    "a short prompt of Gemini, its cache and its thoughts": (
        "gemini/gemini-2.5-pro",
        Usage(200_000, 900, cached_tokens=100_000, reasoning_tokens=400),
        lambda row: 100_000 * (row["input_cost_per_token"] + row["cache_read_input_token_cost"]) + 900 * row["output_cost_per_token"],
    ),
    "a long prompt of Gemini": (
        "gemini/gemini-2.5-pro",
        Usage(200_001, 900, cached_tokens=100_000),
        lambda row: (
            100_001 * row["input_cost_per_token_above_200k_tokens"]
            + 100_000 * row["cache_read_input_token_cost_above_200k_tokens"]
            + 900 * row["output_cost_per_token_above_200k_tokens"]
        ),
    ),
    "a long prompt of Gemini's with priority": (
        "gemini/gemini-2.5-pro",
        Usage(300_000, 10, service_tier="priority"),
        lambda row: (
            300_000 * row["input_cost_per_token_above_200k_tokens_priority"] + 10 * row["output_cost_per_token_above_200k_tokens_priority"]
        ),
    ),
    "audio that Gemini hears": (
        "gemini/gemini-2.5-flash",
        Usage(5000, 100, cached_tokens=1000, audio_input_tokens=3000),
        lambda row: (
            1000 * row["input_cost_per_token"]
            + 1000 * row["cache_read_input_token_cost"]
            + 3000 * row["input_cost_per_audio_token"]
            + 100 * row["output_cost_per_token"]
        ),
    ),
    "an image that Gemini makes": (
        "gemini/gemini-2.5-flash-image",
        Usage(20, 1300, image_output_tokens=1290),
        lambda row: 20 * row["input_cost_per_token"] + 10 * row["output_cost_per_token"] + 1290 * row["output_cost_per_image_token"],
    ),
    "audio that GPT hears and speaks": (
        "openai/gpt-audio",
        Usage(1000, 500, audio_input_tokens=800, audio_output_tokens=400),
        lambda row: (
            200 * row["input_cost_per_token"]
            + 800 * row["input_cost_per_audio_token"]
            + 100 * row["output_cost_per_token"]
            + 400 * row["output_cost_per_audio_token"]
        ),
    ),
    "a cheaper service tier": (
        "openai/o3",
        Usage(1000, 100, cached_tokens=400, service_tier="flex"),
        lambda row: (
            600 * row["input_cost_per_token_flex"] + 400 * row["cache_read_input_token_cost_flex"] + 100 * row["output_cost_per_token_flex"]
        ),
    ),
    "a dearer service tier and a long prompt": (
        "openai/gpt-5.4",
        Usage(300_000, 100, service_tier="flex"),
        lambda row: (
            300_000 * row["input_cost_per_token_above_272k_tokens_flex"] + 100 * row["output_cost_per_token_above_272k_tokens_flex"]
        ),
    ),
    "embeddings": ("openai/text-embedding-3-small", Usage(12_345), lambda row: 12_345 * row["input_cost_per_token"]),
    "a tier that the table has no price of": (
        "anthropic/claude-sonnet-4-5",
        Usage(1000, 10, service_tier="priority"),
        lambda row: 1000 * row["input_cost_per_token"] + 10 * row["output_cost_per_token"],
    ),
}


@pytest.mark.parametrize("case", SPOT_CHECKS)
def test_price_of_the_table_charges_each_kind_of_token_as_its_row_says(case: str) -> None:
    """The cost of a usage equals the sum over the fields of the model's row, read under LiteLLM's names for them."""
    model, usage, expected = SPOT_CHECKS[case]
    row = about(model)
    assert row.price is not None
    assert row.price.of(usage) == pytest.approx(expected(row.stated), rel=1e-9)


def test_long_prompt_of_a_service_tier_without_a_price_of_its_own_costs_its_share() -> None:
    """A tier at half the price for short prompts, with no own price for long ones, costs half of the regular price for long prompts."""
    stated = {
        "input_cost_per_token": 2e-6,
        "output_cost_per_token": 8e-6,
        "input_cost_per_token_above_200k_tokens": 4e-6,
        "output_cost_per_token_above_200k_tokens": 12e-6,
        "input_cost_per_token_flex": 1e-6,
        "output_cost_per_token_flex": 4e-6,
    }
    row = ModelRow(stated=stated)
    assert row.price is not None
    assert row.price.of(Usage(300_000, 10, service_tier="flex")) == pytest.approx(300_000 * 2e-6 + 10 * 6e-6)


def counted(usage: dict[str, Any], **more: Any) -> bytes:
    """Return the frame of the OpenAI wire that reports this usage."""
    return frame({"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [], "usage": usage, **more})


SPOKEN = (chunk({"content": "Hi"}), chunk({}, "stop"))
HEARD = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
GEMINI = {
    "promptTokenCount": 1000,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 100}, {"modality": "AUDIO", "tokenCount": 900}],
    "candidatesTokenCount": 100,
    "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 60}],
}
CLAUDE = [
    {"type": "message_start", "message": {"model": "m", "usage": {"input_tokens": 1000, "output_tokens": 1}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "Hi"}},
    {"type": "content_block_stop", "index": 0},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn"},
        "usage": {"output_tokens": 100, "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 1}, "service_tier": "standard"},
    },
    {"type": "message_stop"},
]
SAID = {"type": "response.output_text.delta", "item_id": "m1", "output_index": 0, "content_index": 0, "delta": "Hi"}
RESPONSE = {
    "type": "response.completed",
    "response": {
        "status": "completed",
        "service_tier": "priority",
        "output": [{"type": "message", "content": [{"type": "output_text", "text": "Hi"}]}],
        "usage": {"input_tokens": 1000, "output_tokens": 100},
    },
}
LANES: dict[str, tuple[str, tuple[bytes, ...], Usage]] = {
    "chat completions, flex": ("openai/o3", (*SPOKEN, counted(HEARD, service_tier="flex"), DONE), Usage(1000, 100, service_tier="flex")),
    "chat completions, default": ("openai/o3", (*SPOKEN, counted(HEARD, service_tier="default"), DONE), Usage(1000, 100)),
    "chat completions, a tier that is no text": ("openai/o3", (*SPOKEN, counted(HEARD, service_tier=[1]), DONE), Usage(1000, 100)),
    "chat completions, audio": (
        "openai/gpt-audio",
        (
            *SPOKEN,
            counted(HEARD | {"prompt_tokens_details": {"audio_tokens": 900}, "completion_tokens_details": {"audio_tokens": 60}}),
            DONE,
        ),
        Usage(1000, 100, audio_input_tokens=900, audio_output_tokens=60),
    ),
    "responses, priority": ("openai/responses/o3", (frame(SAID), frame(RESPONSE)), Usage(1000, 100, service_tier="priority")),
    "Anthropic, two searches": (
        "anthropic/claude-sonnet-4-5",
        tuple(f"event: {one['type']}\ndata: {json.dumps(one)}\n\n".encode() for one in CLAUDE),
        Usage(1000, 100, searches=2),
    ),
    "Gemini, audio and an image": (
        "gemini/gemini-2.5-flash-image",
        (
            frame(
                {"candidates": [{"content": {"parts": [{"text": "Hi"}]}, "finishReason": "STOP"}], "usageMetadata": GEMINI},
            ),
        ),
        Usage(1000, 100, audio_input_tokens=900, image_output_tokens=60),
    ),
    "Gemini, flex": (
        "gemini/gemini-2.5-pro",
        (
            frame(
                {
                    "candidates": [{"content": {"parts": [{"text": "Hi"}]}, "finishReason": "STOP"}],
                    "usageMetadata": {"promptTokenCount": 1000, "candidatesTokenCount": 100, "serviceTier": "flex"},
                }
            ),
        ),
        Usage(1000, 100, service_tier="flex"),
    ),
}


@pytest.mark.parametrize("case", LANES)
async def test_request_costs_the_usage_its_provider_reports(workspace: Workspace, case: str) -> None:
    """For each wire, the cost of a request follows from the reported service tier, audio, images and searches, and is no estimate."""
    model, frames, usage = LANES[case]
    price = about(model.replace("/responses", "")).price
    assert price is not None
    async with provider(Reply(frames)) as fake:
        base = fake.base.removesuffix("/v1") if model.startswith("gemini") else fake.base
        target = f"a: {{model: {model}, api_base: '{base}', api_key: sk-test}}\n"
        async with asking(workspace, target, "targets: [a]") as client:
            told = await logged(client, (await client.ask()).headers["x-request-id"])
            assert told["cost_usd"] == pytest.approx(price.of(usage), abs=1e-9)
            assert not told["estimated"]

"""Token counts of providers, normalised to one Usage: input with its caches, output with its reasoning; prices and token estimates."""

import json
from typing import Any

import pytest

from router import usage
from router.chat import Ask, Message
from router.config.price import Price, TieredPrice
from router.targets import anthropic_reader, openai, responses
from router.targets.speech import Speech
from router.targets.table import about, entries
from router.usage import Usage, tokens_in

CHAT: dict[str, tuple[dict[str, Any], Usage]] = {
    "OpenAI": (
        {
            "prompt_tokens": 1144,
            "completion_tokens": 20,
            "total_tokens": 1164,
            "prompt_tokens_details": {"cached_tokens": 1024, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 12},
        },
        Usage(1144, 20, 1024, reasoning_tokens=12),
    ),
    "xAI, whose reasoning is beside": (
        {
            "prompt_tokens": 12,
            "completion_tokens": 1,
            "total_tokens": 303,
            "prompt_tokens_details": {"cached_tokens": 11},
            "completion_tokens_details": {"reasoning_tokens": 290},
        },
        Usage(12, 291, 11, reasoning_tokens=290),
    ),
    "DeepSeek": (
        {"prompt_tokens": 400, "completion_tokens": 8, "prompt_cache_hit_tokens": 256, "prompt_cache_miss_tokens": 144},
        Usage(400, 8, 256),
    ),
    "Moonshot, Together": ({"prompt_tokens": 41, "completion_tokens": 15, "total_tokens": 56, "cached_tokens": 32}, Usage(41, 15, 32)),
    "OpenRouter": (
        {"prompt_tokens": 900, "completion_tokens": 8, "prompt_tokens_details": {"cached_tokens": 500, "cache_write_tokens": 300}},
        Usage(900, 8, 500, 300),
    ),
    "LiteLLM's proxy": (
        {
            "prompt_tokens": 2854,
            "completion_tokens": 16,
            "cache_read_input_tokens": 2800,
            "cache_creation_input_tokens": 40,
            "prompt_tokens_details": {"cached_tokens": 2800, "cache_creation_tokens": 40},
        },
        Usage(2854, 16, 2800, 40),
    ),
    "a gateway in Anthropic's words, caches beside the input": (
        {
            "prompt_tokens": 10,
            "completion_tokens": 5,
            "cache_read_input_tokens": 900,
            "cache_creation_input_tokens": 100,
            "cache_creation": {"ephemeral_5m_input_tokens": 60, "ephemeral_1h_input_tokens": 40},
        },
        Usage(1010, 5, 900, 100, cache_write_1h_tokens=40),
    ),
    "Alibaba, an explicit cache": (
        {"prompt_tokens": 2000, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 0, "cache_creation_input_tokens": 1500}},
        Usage(2000, 5, 0, 1500),
    ),
    "GitHub Copilot": ({"prompt_tokens": 67, "completion_tokens": 12, "reasoning_tokens": 4}, Usage(67, 12, reasoning_tokens=4)),
    "nothing but the two": ({"prompt_tokens": 7, "completion_tokens": 3}, Usage(7, 3)),
    "nulls": ({"prompt_tokens": 7, "completion_tokens": 3, "prompt_tokens_details": None, "completion_tokens_details": {}}, Usage(7, 3)),
    "more reasoning than output": (
        {"prompt_tokens": 43, "completion_tokens": 10, "total_tokens": 53, "completion_tokens_details": {"reasoning_tokens": 11}},
        Usage(43, 10, reasoning_tokens=10),
    ),
    "numbers that are none": (
        {"prompt_tokens": 7, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": -5}, "cached_tokens": 1e300},
        Usage(7, 3),
    ),
    "more than a float holds": (
        {"prompt_tokens": 10**400, "completion_tokens": 0.5, "total_tokens": 10**400, "reasoning_tokens": 10**400},
        Usage(),
    ),
}


@pytest.mark.parametrize("who", CHAT)
def test_chat_completion_usage_is_normalised_for_each_provider(who: str) -> None:
    """The `usage` of each provider on the OpenAI wire becomes input with cache, and output with reasoning; invalid numbers are ignored."""
    counted, usage = CHAT[who]
    speech = Speech("a")
    openai.ChatReader("a", speech).frame(json.dumps({"choices": [], "usage": counted}).encode())
    assert speech.used == usage


def test_groq_usage_is_read_from_x_groq() -> None:
    """Groq's token counts are read from `x_groq.usage` of a chunk."""
    speech = Speech("a")
    told = {"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 8}}
    openai.ChatReader("a", speech).frame(json.dumps({"choices": [], "x_groq": {"usage": told}}).encode())
    assert speech.used == Usage(9, 4, 8)


def test_responses_api_usage_is_normalised() -> None:
    """The usage of a completed response on the Responses API becomes a Usage with cached, cache-write and reasoning tokens."""
    speech = Speech("a")
    usage = {
        "input_tokens": 366,
        "input_tokens_details": {"cached_tokens": 256, "cache_write_tokens": 64},
        "output_tokens": 59,
        "output_tokens_details": {"reasoning_tokens": 14},
    }
    frame = {"type": "response.completed", "response": {"status": "completed", "usage": usage}}
    responses.ResponseReader("a", speech).frame(json.dumps(frame).encode())
    assert speech.used == Usage(366, 59, 256, 64, 14)


FULL = {
    "input_tokens": 10,
    "cache_read_input_tokens": 1000,
    "cache_creation_input_tokens": 200,
    "cache_creation": {"ephemeral_5m_input_tokens": 150, "ephemeral_1h_input_tokens": 50},
    "output_tokens": 1,
}
ANTHROPIC: dict[str, tuple[dict[str, Any], dict[str, Any], Usage]] = {
    "the end counts the output alone": (FULL, {"output_tokens": 7}, Usage(1210, 7, 1000, 200, cache_write_1h_tokens=50)),
    "the end counts all again": (FULL, {**FULL, "output_tokens": 7}, Usage(1210, 7, 1000, 200, cache_write_1h_tokens=50)),
    "the end leaves the caches out": (
        FULL,
        {"input_tokens": 10, "output_tokens": 7},
        Usage(1210, 7, 1000, 200, cache_write_1h_tokens=50),
    ),
    "the end has zeros for the caches": (
        FULL,
        {"input_tokens": 10, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0, "output_tokens": 7},
        Usage(1210, 7, 1000, 200, cache_write_1h_tokens=50),
    ),
    "all of it comes at the end": ({"input_tokens": 0, "output_tokens": 0}, {**FULL, "output_tokens": 7}, Usage(1210, 7, 1000, 200, 0, 50)),
    "thinking": ({"input_tokens": 5}, {"output_tokens": 92, "output_tokens_details": {"thinking_tokens": 53}}, Usage(5, 92, 0, 0, 53)),
}


@pytest.mark.parametrize("case", ANTHROPIC)
def test_anthropic_cache_tokens_are_added_to_the_input(case: str) -> None:
    """Anthropic's cache counts are added to the input tokens, and a last count that omits or zeroes the caches does not lower them."""
    begun, ended, usage = ANTHROPIC[case]
    speech = Speech("a")
    reader = anthropic_reader.MessageReader("a", speech)
    for frame in (
        {"type": "message_start", "message": {"usage": begun}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": ended},
    ):
        reader.frame(json.dumps(frame).encode())
    assert speech.used == usage


SONNET = Price(input=3, output=15, cached=0.3, cache_write=3.75, cache_write_1h=6)


@pytest.mark.parametrize(
    ("price", "usage", "dollars"),
    [
        (SONNET, Usage(1210, 7, 1000, 200, cache_write_1h_tokens=50), (10 * 3 + 1000 * 0.3 + 150 * 3.75 + 50 * 6 + 7 * 15) / 1e6),
        (Price(input=3, output=15), Usage(1210, 7, 1000, 200), (1210 * 3 + 7 * 15) / 1e6),
        (Price(input=3, output=15, cache_write=4), Usage(100, 0, 0, 100, cache_write_1h_tokens=100), 100 * 4 / 1e6),
        (Price(input=1, output=2, reasoning=3), Usage(10, 10, reasoning_tokens=4), (10 + 6 * 2 + 4 * 3) / 1e6),
        (Price(input=0.05, output=0.4, cached=0.005), Usage(1, 0, 1), 0.000000005),
        (SONNET, Usage(5, 0, 9), 9 * 0.3 / 1e6),
    ],
    ids=[
        "all kinds",
        "caches at the price of the input",
        "an hour at the price of five minutes",
        "reasoning",
        "one token",
        "more than all",
    ],
)
def test_cost_is_summed_per_kind_of_token(price: Price, usage: Usage, dollars: float) -> None:
    """A cost sums the kinds of tokens; a kind without a price has that of its wider kind: input, output, or cache writes for one hour's."""
    assert price.of(usage) == pytest.approx(dollars, rel=1e-12)


def test_cache_saving_is_negative_if_tokens_were_only_written() -> None:
    """The saving is the input price of the cached tokens minus their own price: positive for reads, negative for writes alone."""
    assert SONNET.saved(Usage(1000, 5, 1000)) == pytest.approx(1000 * 2.7 / 1e6)
    assert SONNET.saved(Usage(1000, 5, 0, 1000)) == pytest.approx(-1000 * 0.75 / 1e6)


def test_price_tier_applies_to_all_tokens_above_its_bound() -> None:
    """A prompt of 200,001 tokens pays the long-prompt price for all input and output; one of 200,000 pays the usual price."""
    price = TieredPrice(input=1, output=10, tiers=((200_000, Price(input=2, output=15)),))
    assert price.of(Usage(200_000, 10)) == pytest.approx((200_000 + 100) / 1e6)
    assert price.of(Usage(200_001, 10)) == pytest.approx((400_002 + 150) / 1e6)


@pytest.mark.skipif(not entries(), reason="LiteLLM is not installed")
def test_litellm_table_has_prices_of_caches_and_long_prompts() -> None:
    """Prices per token in LiteLLM's table become dollars per million tokens, with cache prices and tiers for long prompts."""
    sonnet = about("anthropic/claude-sonnet-4-5").price
    assert sonnet is not None
    assert (sonnet.cached, sonnet.cache_write, sonnet.cache_write_1h) == (0.3, 3.75, 6.0)
    gemini = about("gemini/gemini-2.5-pro").price
    assert isinstance(gemini, TieredPrice)
    assert gemini.of(Usage(1_000_000, 0, 1_000_000)) == pytest.approx(0.25)
    assert gemini.of(Usage(100_000, 0, 100_000)) == pytest.approx(0.0125)


ENGLISH = (
    "Sure! Here's a short overview of how photosynthesis works. Plants absorb light, mostly through chlorophyll in their leaves, and use "
    "that energy to turn water and carbon dioxide into glucose and oxygen. The process happens in two stages: the light-dependent "
    "reactions and the Calvin cycle. Would you like me to go into more detail on either of them? I can also suggest a few experiments you "
    "could try at home."
)
PYTHON = '''def rate(text: str) -> Rate:
    """A whole number in a time."""
    hit = re.fullmatch(rf"([1-9]\\d{{0,14}})/({'|'.join(UNITS)})", text, re.ASCII)
    if hit is None:
        raise Misfit(f"`{text}` is not a rate: write a whole number and second, minute, hour or day, e.g. 10/minute")
    return Rate(int(hit[1]), UNITS[hit[2]])
'''
JSON = (
    '{"location":"Beijing","temperature":25.5,"conditions":["sunny","windy"],"forecast":[{"day":"Monday","high":27,"low":16},'
    '{"day":"Tuesday","high":24,"low":15}]}'
)
CHINESE = (
    "人工智能正在改变我们的生活方式。从智能手机到自动驾驶汽车，从语音助手到医疗诊断，人工智能的应用无处不在。许多专家认为，未来十年内，"
    "人工智能将会对经济、教育和社会产生深远的影响。"
)
JAPANESE = "人工知能は私たちの生活を大きく変えています。スマートフォンから自動運転車まで、さまざまな分野で活用されています。"
GERMAN = (
    "Künstliche Intelligenz verändert unsere Lebensweise. Vom Smartphone bis zum selbstfahrenden Auto, vom Sprachassistenten bis zur "
    "medizinischen Diagnose: Überall finden sich Anwendungen."
)
TEXTS = {
    "English": (ENGLISH, (82, 84, 84)),
    "Python": (PYTHON, (111, 109, 116)),
    "JSON": (JSON, (49, 47, 47)),
    "Chinese": (CHINESE, (58, 102, 95)),
    "Japanese": (JAPANESE, (40, 56, 55)),
    "German": (GERMAN, (37, 49, 52)),
}
"""Text → its token counts by o200k, cl100k and Anthropic's published tokenizer."""


@pytest.mark.parametrize("what", TEXTS)
def test_token_estimate_is_within_20_percent_of_a_tokenizer(what: str) -> None:
    """The estimate lies between 0.8 × the smallest and 1.2 × the largest of three tokenizers' counts, and within 20 % of one of them."""
    text, counted = TEXTS[what]
    assert 0.8 * min(counted) <= tokens_in(text) <= 1.2 * max(counted)
    assert any(abs(tokens_in(text) - count) <= 0.2 * count for count in counted)


def test_token_estimate_of_a_long_mixed_text_is_within_20_percent() -> None:
    """The estimate of a long text, half English and half Chinese, is within 20 % of the sum of its parts; an empty text has 0 tokens."""
    text = ENGLISH * 2000 + CHINESE * 5000
    whole = 2000 * tokens_in(ENGLISH) + 5000 * tokens_in(CHINESE)
    assert tokens_in(text) == pytest.approx(whole, rel=0.2)
    assert tokens_in("") == 0


def test_token_estimate_reads_a_bounded_part_of_a_conversation(monkeypatch: pytest.MonkeyPatch) -> None:
    """The estimate of 900 messages reads at most MAX_READ_IN_ALL characters, and is within 20 % of the sum over all messages."""
    asked = Ask(model="m", messages=tuple(Message("user", ((ENGLISH if number % 3 else CHINESE) * 20,)) for number in range(900)))
    counted = sum(tokens_in(message.text) for message in asked.messages)
    read: list[int] = []
    tokens = usage._tokens

    def counted_run(run: str) -> float:
        read.append(len(run))
        return tokens(run)

    monkeypatch.setattr(usage, "_tokens", counted_run)
    assert asked.tokens == pytest.approx(counted, rel=0.2)
    assert sum(read) <= usage.MAX_READ_IN_ALL < asked.extent[0]

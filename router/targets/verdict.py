"""Classification of a provider's refusal, for every lane: status, headers and body → a TargetError, which is returned, not raised.

Providers disagree on statuses (a wrong key is a 400 at xAI, a long conversation a plain 400 at most), so the body is
read too, only here; its text is not passed on.
"""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Literal, cast

from router.chat import FileSort
from router.errors import ContentFiltered, ContextTooLong, FileRefused, TargetDenied, TargetDown, TargetError, TargetRefused
from router.targets.delays import delay_asked_for, limits_reset, quota_reset, retry_after

Why = Literal[
    "too_long", "filtered", "no_images", "no_documents", "no_audio", "no_credit", "wrong_key", "no_access", "unknown_model",
    "this_question", "its_content", "bad_parameter",
]  # fmt: skip
"""Reasons of a refusal.

this_question: another fault of the question than the ones above
its_content: the content, in a 403, without saying what is wrong with it
no_access: the key may not do this, or not from this country"""
SUCH_INPUT = r"( inputs?| fields?| content blocks?)?\s*([.,;:(]|$| for user messages)"
"""Pattern of what follows the name of a kind of file that a model does not read."""
PHRASES: dict[Why, dict[str, str]] = {
    "too_long": {
        r"context[_ ]length[_ ](is )?exceeded|exceeded[_ ]context[_ ]length": "OpenAI's code; Ollama, openclaw/openclaw#58839",
        r"(maximum|max) context (length|window|size)": "OpenAI, vLLM, OpenRouter, Ollama; earendil-works/pi#5929",
        r"exceed(s|ed|ing)? (the |this |its |your )?(model'?s? |available |maximum |max )*context": "OpenAI, llama.cpp; pi#129",
        r"exceed_context_size|context size has been exceeded|context (window|length) exceeds": "llama.cpp, MiniMax; pi#129",
        r"exceeds? (the )?model context window|model_context_window_exceeded": "Anthropic-like gateways; openclaw/openclaw#58847",
        r"exceeds? context (limit|window|length)": "Anthropic, with max_tokens; stackblitz/bolt.new#7414",
        r"prompt (is )?too long": "Anthropic, Ollama; stackblitz/bolt.new#1748",
        r"input is too long": "Bedrock; openclaw/openclaw#58839",
        r"input tokens exceeded|number of input tokens exceeds|exceeds the max input token": "Bedrock; openclaw/openclaw#58839",
        r"input token count.{0,40}exceeds": "Google; pi#129",
        r"input tokens exceed the configured limit": "Azure; letta-ai/letta, its table of errors",
        r"maximum prompt length is \d+": "xAI; cline/cline#3120",
        r"exceeded model token limit": "Moonshot; pi#129",
        r"range of input length should be": "DashScope; Alibaba's error codes",
        r"prompt exceeds (the )?max(imum)? (context )?length|prompt exceeds the length limit": "Z.ai, its code 1261",
        r"tokens in request more than max tokens": "Z.ai; anomalyco/opencode#35918",
        r"longer than the maximum (model length|allowed)": "vLLM, NVIDIA; Gabesarch/grounded-rl#16",
        r"(inputs?|prompt)`? tokens \+ `?max_new_tokens`? must be": "Together, TGI; huggingface/text-generation-inference",
        r"must have less than \d+ tokens": "TGI; huggingface/text-generation-inference",
        r"prompt_tokens.{0,24}must be less than max_seq_len": "SiliconFlow; its error codes",
        r"prompt token count.{0,24}exceeds the limit|max_prompt_tokens_exceeded": "GitHub Copilot; pi#129",
        r"tokens_limit_reached|request body too large for .{1,60} model": "GitHub Models",
        r"input length.{0,24}exceeds? (the )?(maximum|context)": "SambaNova, Ollama; openclaw/openclaw#58839",
        r"reduce (the length of|your) (the |your )?(messages|input|prompt|message size)": "Groq, vLLM; pi#129, pi#5929",
        r"too many input tokens|\btoo many tokens in (the )?(prompt|input|request)": "SambaNova, Cohere",
        r"total (number of )?tokens.{0,24}exceeds": "Cohere; openclaw/openclaw#58839",
        r"(prompt|input)( tokens?)?.{0,40}(greater|larger|more) than the (context|model)": "LM Studio; pi#129",
        r"too large for model with \d+ maximum context": "Mistral; strands-agents/harness-sdk#2958",
        r"exceeds? (the )?(max(imum)?|allowed|model'?s?)( (allowed|number of|input|total))* (tokens?|length)": "Fireworks, Volcengine",
        r"too many tokens: |size limit exceeded by \d+ tokens": "Cohere; Quansight/ragna#351, cohere-ai/sandbox-topically#4",
        r"when context the overflows|loaded with (a )?context length of only": (
            "LM Studio; lmstudio-ai/lmstudio-bug-tracker#546, cline/cline#3664"
        ),
        r"input is too large to process|prompt is too big": "llama.cpp; ggml-org/llama.cpp#12295, gpustack/gpustack#1357",
        r"exceed(s|ed|ing)?\b.{0,40}\bcontext (window|length|size|limit)": "gateways, in general words",
        r"context (window|size|limit) (is |was |has been )?exceeded": "gateways, in general words",
        r"\b(input|prompt|conversation|context) (is |are )?too long": "gateways, in general words",
        r"(length|size) of (the |your )?(input|prompt|messages|conversation) exceeds": "gateways, in general words",
        r"exceed(s|ed|ing)? (the )?(max(imum)?|allowed) (number|amount) of (input |prompt )?tokens": "gateways, in general words",
        r"(输入|上下文|提示).{0,12}(过长|超过|超出|超限)": "DashScope, SiliconFlow, in Chinese",
    },
    # A filter stopped the question or the answer.
    "filtered": {
        r"content_?filter|content filtering policy|content filter (was )?triggered": (
            "OpenAI, Moonshot, Anthropic; MoonshotAI/kimi-cli#1002, anthropics/claude-code#6195"
        ),
        r"content[_ ]management[_ ]policy|responsible ?ai ?policy|responsible_ai": "Azure; continuedev/continue#4192",
        r"content[_ ]policy[_ ]violation|violat\w* (of )?(our|the|openai'?s?) (usage|content|safety) polic": "OpenAI, images and reasoning",
        r"prompt was flagged|prompt_blocked": "OpenAI; alan-turing-institute/t0-1#69",
        r"(rejected|blocked) (by|as a result of) our safety system|safety system": "OpenAI's images and audio",
        r"cyber_policy_violation|bio_policy_violation": "OpenAI's reasoning models",
        r"content violates usage guidelines|safety_check_type": "xAI; theopenco/llmgateway#1785, UKGovernmentBEIS/inspect_ai#2267",
        r"content exists risk": "DeepSeek; deepseek-ai/DeepSeek-V2#30",
        r"data_?inspection_?failed|may contain inappropriate content": "DashScope; QwenLM/qwen-code#3145, 1Panel-dev/MaxKB#1085",
        r"considered high risk": "Moonshot; MoonshotAI/kimi-cli#1002",
        r"new_sensitive|content is sensitive|image is sensitive": "MiniMax, its codes 1026 and 1027; MiniMax-AI/MiniMax-M3#11",
        r"unsafe or sensitive content|不安全或敏感": "Z.ai, its code 1301",
        r"sensitive_?content_?detected|inputtextsensitive|outputtextsensitive": "Volcengine, its codes",
        r"(input|prompt|message|content|text)[\w ]{0,20}\bflagged|flagged_input|requires moderation": "OpenRouter's documents",
        r"prohibited_content|request contains prohibited content|blocked_reason_|response was blocked due to safety": "Google",
        r"guardrail_intervened|blocked by (the )?guardrail|content blocked by guardrail": "Bedrock, Together, Databricks",
        r"(blocked|rejected|flagged|refused)[\w ]{0,24}\b(safety|moderation|harmful|unsafe)": "gateways, in general words",
        r"violat\w*[\w' ]{0,24}(usage|content|safety) polic": "gateways, in general words",
        r"违规信息|敏感内容": "DashScope, SiliconFlow, in Chinese",
    },
    # The model reads no images, or no documents, at all. A refusal of a format, a size or a count is about this file alone.
    "no_images": {
        r"endpoints found that support image": "OpenRouter's 404; openclaw/openclaw#99078, aaif-goose/goose#5396",
        rf"(not|n't) support (the )?images?{SUCH_INPUT}": (
            "Ollama, Bedrock, LM Studio; ollama/ollama#17301, earendil-works/pi#8960, lmstudio-ai/lmstudio-bug-tracker#362"
        ),
        r"image_url is only supported by certain models": "OpenAI; vllm-project/vllm#11629",
        r"unknown variant .?image_url": "DeepSeek; 1jehuang/jcode#310",
        r"image input is not supported": "llama.cpp, with a 500; ggml-org/llama.cpp#13566",
        r"is not a multimodal model": "vLLM; vllm-project/vllm#23402",
        r"missing data required for image input": "Ollama, with a 500; open-webui/open-webui#13077, valentinfrlch/ha-llmvision#691",
        r"messages?\[\d+\]\.content must be a string": "Groq; vercel/ai#2837",
        r"\b(images?|image[ _](inputs?|content|url)|vision|multimodal( inputs?)?) (is |are )?not (supported|enabled) (by|for|with|in) (this|the)? ?model": (
            "gateways, in general words"
        ),
        r"(not|n't) (support|have) (vision|image_url|multimodal)|only supports? text inputs?": "gateways, in general words",
    },
    "no_documents": {rf"(not|n't) support (the )?(document|pdf)s?{SUCH_INPUT}": "Bedrock; anomalyco/models.dev#6821"},
    "no_audio": {
        r"content blocks are expected to be either text or image_url": "OpenAI; openai/openai-python#2454",
        r"audio input is not supported": "llama.cpp, with a 500; ServiceStack/llms#2, mozilla-ai/llamafile#960",
        r"audio content type \S+ is not supported for this model": "Google; hkjarral/AVA-AI-Voice-Agent-for-Asterisk#541",
    },
    "no_credit": {
        r"insufficient[_ ](balance|credits?|funds)|credit balance is too low|out of credits": "DeepSeek, Anthropic, OpenRouter",
        r"billing_not_active|billing hard limit|arrearage|doesn't have any credits|overdue[- ]payment": "OpenAI, DashScope, xAI",
    },
    "wrong_key": {
        r"(incorrect|invalid|missing|expired|wrong)[\w ]*api[ _-]?key": "xAI, OpenAI; recordings of both",
        r"api[ _-]?key[\w ]*(invalid|not valid|expired|incorrect)|api_key_invalid": "Google, Mistral",
        r"invalid_authentication|authentication (fails|failed|error)|unauthorized": "DeepSeek, Moonshot",
    },
    "no_access": {
        r"permission|access|account|\bmodel|organi[sz]ation|subscription|billing|api[ _-]?key|token|credential": "every API's own 403",
        r"not (available|supported|allowed) in your (country|region|location)|country, region|suspended|terminated": "OpenAI, Moonshot",
    },
    "unknown_model": {
        r"model[_ ]not[_ ](found|exist)|not a valid model|unknown model": "OpenAI, DeepSeek, OpenRouter",
        r"model .{0,100}(does not exist|not found)": "OpenAI, DeepSeek, OpenRouter",
        r"model identifier is invalid|deploymentnotfound|unable to access non-serverless model": "Bedrock, Azure, Together",
    },
    "this_question": {
        r"support(s|ing)? (image|audio|video|file|pdf|tool|vision|multimodal)": (
            "OpenRouter's 404; openclaw/openclaw#99078, aaif-goose/goose#5396"
        ),
        r"endpoints found that (support|can handle)": "OpenRouter's 404; openclaw/openclaw#99078",
        r"\b(image|file|attachment|document|tool|tool_call|response|item|conversation)s?\b.{0,60}\bnot (be )?found": (
            "OpenAI, Google, of what a question refers to"
        ),
        r"fewer max_tokens|can only afford": "OpenRouter's 402: this answer might cost more than there is",
    },
    "its_content": {
        r"\b(prompt|content|image|picture|attachment|input|moderation|safety)s?\b": "xAI, OpenRouter, of a 403; theopenco/llmgateway#1785",
        r"\b(this|your) (message|request|question)\b.{0,24}\b(blocked|rejected|denied)|firewall|security rule": (
            "firewalls before a provider, whose refusal is a document"
        ),
    },
    # The model does not take a parameter, or not with this value.
    "bad_parameter": {
        r"unsupported[_ ](parameter|value)|unknown[_ ]parameter|unrecognized request argument": "OpenAI; openai.err-400-bad-request-3",
        r"extra_forbidden|extra inputs are not permitted|is not (supported|permitted|allowed)": "Anthropic, Mistral, vLLM",
        r"is deprecated|only .{1,40} (is|are) (allowed|supported)|must be (between|one of|less|greater)": "Anthropic, Moonshot: own rules",
    },
}
"""Reason → case-insensitive patterns of the words by which providers give it → the providers, and where that was reported or is documented
(a GitHub thread as owner/name#number). Reasons are tried in the order of ALLOWED for the status; the first match counts."""


@cache
def _pattern(why: Why) -> re.Pattern[str]:
    """Return the compiled pattern of all phrases of one reason."""
    return re.compile("|".join(f"(?:{words})" for words in PHRASES[why]), re.IGNORECASE)


FILES: dict[Why, FileSort] = {"no_images": "image", "no_documents": "document", "no_audio": "audio"}
"""Reasons about files that the model does not read → the sort of file."""
QUESTION: tuple[Why, ...] = ("too_long", "filtered", *FILES)
"""Reasons that lie in the question, and are looked for whatever the status, unless ALLOWED lists others for it."""
ALLOWED: dict[int, tuple[Why, ...]] = {
    400: (*QUESTION, "no_credit", "wrong_key", "unknown_model", "bad_parameter"),
    401: ("wrong_key",),
    402: ("this_question", "no_credit"),
    403: (*QUESTION, "no_credit", "wrong_key", "this_question", "its_content", "no_access"),
    404: (*QUESTION, "unknown_model", "this_question"),
    413: QUESTION,
    422: (*QUESTION, "wrong_key", "bad_parameter"),
    429: (),
}
"""Status → the reasons that are looked for in its text, in this order. Any other status is the server's failure, unless it has a reason of
QUESTION, for which some servers send a 500."""
AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529})
DENIED = frozenset({401, 402, 403, 404, 407})
QUOTED = 8 * 1024
"""Characters of a refusal's text that are searched."""


def reason(status: int, body: str) -> Why | None:
    """Return the reason in a refusal's text, among those of its status (ALLOWED, else QUESTION); None if no phrase of theirs matches."""
    words = "\n".join(_own_words(body))[:QUOTED]
    return next((why for why in ALLOWED.get(status, QUESTION) if _pattern(why).search(words)), None)


def verdict(target: str, status: int, body: str = "", headers: Mapping[str, str] | None = None) -> TargetError:
    """Return the TargetError for a refusal by its status and reason; the first of these that applies:

    * too long, or a 413 without an API's answer: ContextTooLong
    * a content filter: ContentFiltered
    * a file that the model does not read: FileRefused
    * another fault of the question: TargetRefused
    * no credit, a wrong key, or a status of DENIED: TargetDenied; unless `certain`, it may concern this question alone
    * a status of AGAIN, or from 500 on: TargetDown, with the delay that the provider asks for
    * any other: TargetRefused
    """
    outcome = f"status_{status}"
    why = reason(status, body)
    page = PAGE.match(body) is not None
    if why == "too_long" or (status == 413 and (page or not body)):
        return ContextTooLong(target, "context_too_long")
    if why == "filtered":
        return ContentFiltered(target, "content_filter")
    if why in FILES:
        return FileRefused(target, outcome, FILES[why])
    if why in ("this_question", "bad_parameter") or (why == "its_content" and "{" in body):
        return TargetRefused(target, outcome)
    if why in ("no_credit", "wrong_key") or status in DENIED:
        # A firewall refuses a single message with a page or a line of text; an API states a reason.
        certain = status != 403 or why in ("no_credit", "wrong_key") or (why == "no_access" and not page)
        return TargetDenied(target, outcome, certain=certain)
    if status in AGAIN or status >= 500:
        wait = retry_after(headers or {})
        if wait is None and status == 429:
            wait = delay_asked_for(body) or quota_reset(body) or limits_reset(headers or {})
        return TargetDown(target, outcome, retry_after=wait)
    return TargetRefused(target, outcome)


PAGE = re.compile(r"\s*<")
"""Pattern of the start of an HTML page, from a proxy or firewall in front of the provider."""
TAG = re.compile(r"<[^>]{0,2000}>")
SAYING = frozenset((
    "error", "errors", "message", "msg", "detail", "details", "code", "type", "status", "title", "reason", "reasons", "param", "raw",
    "error_msg", "error_message", "error_description", "innererror", "metadata", "statusMessage", "description", "base_resp", "status_msg",
    "contentFilter", "flagged_input",
))  # fmt: skip
"""Keys whose values are the provider's own words. Values of other keys may repeat the request."""
PAIR = re.compile(r"""['"](\w{1,30})['"]\s{0,8}:\s{0,8}(['"])(.{0,2048}?)(?<!\\)\2""", re.DOTALL)
"""Pattern of a key and its text in a document that is not valid JSON: cut off, or in Python's notation."""
ECHO = re.compile(r"""(?<!\w)'.{0,2048}?'(?!\w)|(?<!\w)"[^"]{0,2048}"(?!\w)""", re.DOTALL)
"""Pattern of words in quotation marks, which may be quoted from the request; an apostrophe within a word is not a quotation mark."""
NESTED = 6
"""Levels of an error's body that are searched."""


def _own_words(body: str) -> Iterator[str]:
    """Yield the provider's own words in a body, in pieces, without words that may be quoted from the request."""
    begin, end = body.find("{"), body.rfind("}")
    if PAGE.match(body) or begin < 0:
        yield ECHO.sub(" ", TAG.sub(" ", body))
        return
    yield ECHO.sub(" ", body[:begin])  # LiteLLM and gateways put their own words before the document
    try:
        held: object = json.loads(body[begin : end + 1])
    except (ValueError, RecursionError):
        yield from (ECHO.sub(" ", text) for name, _, text in PAIR.findall(body) if name in SAYING)
    else:
        yield from _words_in(held, NESTED)


def _words_in(held: object, levels: int) -> Iterator[str]:
    if levels and isinstance(held, dict):
        for name, inner in cast("dict[str, object]", held).items():
            if name in SAYING:
                yield name
                yield from () if name == "flagged_input" else _words_in(inner, levels - 1)
    elif levels and isinstance(held, list):
        for inner in cast("list[object]", held):
            yield from _words_in(inner, levels - 1)
    elif isinstance(held, str):
        yield from _own_words(held) if held.startswith("{") else (ECHO.sub(" ", held),)
    elif isinstance(held, int):
        yield str(held)


NAMED = {
    **dict.fromkeys(("content_filter", "invalid_request_error", "invalid_prompt", "BadRequestError", "INVALID_ARGUMENT"), 400),
    **dict.fromkeys(("authentication_error", "invalid_api_key", "UNAUTHENTICATED"), 401),
    "billing_error": 402,
    **dict.fromkeys(("permission_error", "PERMISSION_DENIED"), 403),
    **dict.fromkeys(("model_not_found", "not_found_error", "NotFoundError", "NOT_FOUND"), 404),
    "request_too_large": 413,
    **dict.fromkeys(("insufficient_quota", "rate_limit_error", "rate_limit_exceeded", "RESOURCE_EXHAUSTED"), 429),
    "UNAVAILABLE": 503,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""An error's code or type inside a 200 → the status that it corresponds to. Of two, the larger counts, because many providers use
`invalid_request_error` for everything."""


def inside(target: str, error: Any) -> TargetError:
    """Return the TargetError for an error, an object or a text, that came with status 200.
    It is judged by the status in the error, else by that of its name in NAMED, else by 500.
    """
    known: dict[str, Any] = cast("dict[str, Any]", error) if isinstance(error, dict) else {}
    stated = [known.get(name) for name in ("code", "status", "status_code", "type")]
    numbers = [int(one) for one in stated if isinstance(one, int) or (isinstance(one, str) and re.fullmatch("[45][0-9]{2}", one))]
    named = max((NAMED[one] for one in stated if isinstance(one, str) and one in NAMED), default=500)
    status = next((number for number in numbers if 400 <= number < 600), named)
    text = error if isinstance(error, str) else json.dumps(error)
    made = verdict(target, status, text)
    made.stated = (status, text)
    return made

"""Refusals in the words of real providers, each with the thread or document that quotes it, and their meaning."""

import json
import re
from collections.abc import Callable

import pytest

from router.errors import ContentFiltered, ContextTooLong, FileRefused, TargetDenied, TargetDown, TargetError, TargetRefused
from router.targets.verdict import PHRASES, reason, verdict


def openai(message: str, kind: str = "invalid_request_error", code: str | int | None = None) -> str:
    """Return an error body in the form of OpenAI's API."""
    return json.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}}, ensure_ascii=False)


def anthropic(message: str, kind: str = "invalid_request_error") -> str:
    """Return an error body in the form of Anthropic's API."""
    return json.dumps({"type": "error", "error": {"type": kind, "message": message}})


Said = tuple[int, str]
"""Status and body of a refusal."""

TOO_LONG: dict[str, Said] = {
    "OpenAI, chat completions": (
        400,
        openai("This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens."),
    ),
    "OpenAI, its code": (400, openai("Too much.", code="context_length_exceeded")),
    "OpenAI, Responses (earendil-works/pi#129)": (400, openai("Your input exceeds the context window of this model.")),
    "Anthropic (stackblitz/bolt.new#1748)": (400, anthropic("prompt is too long: 202128 tokens > 200000 maximum")),
    "Anthropic, with max_tokens (stackblitz/bolt.new#7414)": (
        400,
        anthropic("input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000, decrease input length or `max_tokens`"),
    ),
    "Google (earendil-works/pi#129)": (
        400,
        openai("The input token count (1196265) exceeds the maximum number of tokens allowed (1048575).", "INVALID_ARGUMENT", 400),
    ),
    "xAI (cline/cline#3120)": (
        400,
        json.dumps(
            {
                "code": "Client specified an invalid argument",
                "error": "This model's maximum prompt length is 131072 but the request contains 136973 tokens.",
            }
        ),
    ),
    "Groq (earendil-works/pi#129)": (413, openai("Please reduce the length of the messages or completion.")),
    "Groq, by the minute": (
        413,
        openai("Request too large for model `m` on tokens per minute (TPM): Limit 6000, Requested 7000, please reduce your message size."),
    ),
    "OpenRouter (recording openrouter.err-400-context-length)": (
        400,
        openai("This endpoint's maximum context length is 200000 tokens. However, you requested about 2500021 tokens.", code=400),
    ),
    "Azure": (400, openai("Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in 300000 tokens.")),
    "Bedrock (openclaw/openclaw#58839)": (400, json.dumps({"message": "Input is too long for requested model."})),
    "Bedrock, another model (openclaw/openclaw#58839)": (400, json.dumps({"message": "Input exceeds the max input token limit"})),
    "Bedrock (recording bedrock.err-400-context-length)": (
        400,
        json.dumps(
            {"message": "The model returned the following errors: Input Tokens Exceeded: Number of input tokens exceeds maximum length."}
        ),
    ),
    "llama.cpp (recording llamacpp.err-400-context-length)": (
        400,
        openai(
            "request (2009 tokens) exceeds the available context size (512 tokens), try increasing it", "exceed_context_size_error", 400
        ),
    ),
    "llama.cpp, older": (500, openai("context size has been exceeded", "server_error", 500)),
    "LM Studio (earendil-works/pi#129)": (
        400,
        json.dumps({"error": "The number of tokens to keep from the initial prompt is greater than the context length."}),
    ),
    "Ollama (recording ollama-cloud.err-400-context-length)": (
        400,
        json.dumps({"error": "prompt too long; exceeded max context length by 1119046 tokens"}),
    ),
    "Ollama, embedded": (400, json.dumps({"error": "the input length exceeds the context length"})),
    "GitHub Copilot (earendil-works/pi#129)": (
        400,
        openai("prompt token count of 140000 exceeds the limit of 128000", code="model_max_prompt_tokens_exceeded"),
    ),
    "GitHub Models": (413, openai("Request body too large for gpt-4o model. Max size: 8000 tokens.", code="tokens_limit_reached")),
    "MiniMax (earendil-works/pi#129)": (400, openai("invalid params, context window exceeds limit (2013)")),
    "Moonshot (earendil-works/pi#129)": (
        400,
        openai("Invalid request: Your request exceeded model token limit: 131072 (requested: 140210)"),
    ),
    "DashScope": (
        400,
        openai("<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 129024]", code="invalid_parameter_error"),
    ),
    "Z.ai": (400, openai("Prompt exceeds max length", code="1261")),
    "Z.ai (anomalyco/opencode#35918)": (400, openai("tokens in request more than max tokens allowed")),
    "vLLM (earendil-works/pi#5929)": (
        400,
        json.dumps(
            {
                "object": "error",
                "message": "This model's maximum context length is 262144 tokens. However, you requested 0 output tokens and your prompt"
                " contains at least 262145 input tokens.",
                "type": "BadRequestError",
                "code": 400,
            }
        ),
    ),
    "vLLM, with images (Gabesarch/grounded-rl#16)": (
        400,
        json.dumps({"object": "error", "message": "The decoder prompt (length 10127) is longer than the maximum model length of 8192."}),
    ),
    "TGI, Together": (
        422,
        openai("Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8193. Given: 9000 `inputs` tokens and 500"),
    ),
    "SiliconFlow": (400, json.dumps({"code": 20015, "message": "length of prompt_tokens (40000) must be less than max_seq_len (32768)."})),
    "SambaNova": (400, json.dumps({"error": "Input length 9000 exceeds the maximum allowed length 8192"})),
    "NVIDIA": (400, openai("Input is longer than the maximum allowed tokens")),
    "Mistral (strands-agents/harness-sdk#2958)": (
        400,
        json.dumps({"object": "error", "message": "Prompt contains 40000 tokens, too large for model with 32768 maximum context length"}),
    ),
    "Cohere, older": (400, json.dumps({"message": "too many tokens in the prompt"})),
    "TGI": (422, json.dumps({"error": "Input validation error: `inputs` must have less than 1000 tokens. Given: 1024"})),
    "a gateway (openclaw/openclaw#58847)": (400, openai("Request size exceeds model context window")),
    "Cohere (openclaw/openclaw#58839)": (400, json.dumps({"message": "total tokens exceeds the model's max of 4096"})),
    "Fireworks": (400, openai("The prompt exceeds the maximum allowed length of 131071 tokens")),
    "Cohere (Quansight/ragna#351)": (
        400,
        json.dumps({"message": "too many tokens: size limit exceeded by 1502 tokens. Try using shorter or fewer inputs."}),
    ),
    "LM Studio (lmstudio-ai/lmstudio-bug-tracker#546)": (
        400,
        json.dumps(
            {
                "error": "Trying to keep the first 111490 tokens when context the overflows. However, the model is loaded with context "
                "length of only 32768 tokens, which is not enough."
            }
        ),
    ),
    "llama.cpp, its batch (ggml-org/llama.cpp#12295)": (
        500,
        openai("input is too large to process. increase the physical batch size", "server_error", 500),
    ),
    "a gateway, of the window": (400, openai("Request contains 9000 tokens, which exceeds the 8192 token context window")),
    "a gateway, of the conversation": (422, json.dumps({"detail": "Conversation too long: 200000 tokens"})),
    "a gateway, of the input": (400, openai("The total length of the input exceeds the limit")),
    "a gateway, of the number": (400, openai("exceeded maximum number of tokens")),
    "in Chinese": (400, openai("输入长度超过限制")),
    "a proxy, of the bytes": (413, "<html><head><title>413 Request Entity Too Large</title></head></html>"),
    "Cerebras, without a word (earendil-works/pi#129)": (413, ""),
    "a gateway that wraps another's": (
        400,
        json.dumps(
            {"error": {"message": "Provider returned error", "metadata": {"raw": openai("prompt is too long: 3 tokens > 2 maximum")}}}
        ),
    ),
    "LiteLLM, with Python's quotation marks": (400, "Error code: 400 - {'error': {'message': 'prompt is too long: 3 > 2', 'code': None}}"),
}

FILTERED: dict[str, Said] = {
    "OpenAI, a model that thinks (alan-turing-institute/t0-1#69)": (
        400,
        openai("Invalid prompt: your prompt was flagged as potentially violating our usage policy.", code="invalid_prompt"),
    ),
    "OpenAI, images": (400, openai("Your request was rejected as a result of our safety system.", code="content_policy_violation")),
    "Azure (continuedev/continue#4192)": (
        400,
        openai("The response was filtered due to the prompt triggering Microsoft's content management policy.", code="content_filter"),
    ),
    "Anthropic (anthropics/claude-code#6195)": (400, anthropic("Output blocked by content filtering policy")),
    "xAI (theopenco/llmgateway#1785)": (
        403,
        json.dumps(
            {
                "code": "The caller does not have permission to execute the specified operation",
                "error": "Content violates usage guidelines. Team: t, API key ID: k, Model: grok-4, Failed check: SAFETY_CHECK_TYPE_BIO",
            }
        ),
    ),
    "DeepSeek (deepseek-ai/DeepSeek-V2#30)": (400, openai("Content Exists Risk", code="invalid_request_error")),
    "DeepSeek, older (deepseek-ai/DeepSeek-V2#30)": (400, json.dumps({"detail": "Content Exists Risk"})),
    "DashScope (QwenLM/qwen-code#3145)": (
        400,
        openai("<400> InternalError.Algo.DataInspectionFailed: Input text data may contain inappropriate content."),
    ),
    "DashScope, its code (Samueli924/chaoxing#539)": (400, openai("Input data may contain it.", code="data_inspection_failed")),
    "Moonshot (MoonshotAI/kimi-cli#1002)": (
        400,
        openai("The request was rejected because it was considered high risk", "content_filter", 400),
    ),
    "MiniMax (esengine/DeepSeek-Reasonix#6818)": (
        422,
        json.dumps({"base_resp": {"status_code": 1026, "status_msg": "input new_sensitive"}}),
    ),
    "MiniMax, an image (MiniMax-AI/MiniMax-M3#11)": (
        500,
        anthropic("input new_sensitive, messages[1]'s content[1] image is sensitive, please check your input (1026)"),
    ),
    "Z.ai": (400, openai("System detected potentially unsafe or sensitive content in input or generation.", code="1301")),
    "Zhipu": (400, openai("系统检测到输入或生成内容可能包含不安全或敏感内容，请您避免输入易产生敏感内容的提示语。", code="1301")),
    "Volcengine": (
        400,
        openai("The request failed because the input text may contain sensitive information.", code="InputTextSensitiveContentDetected"),
    ),
    "OpenRouter": (403, json.dumps({"error": {"code": 403, "message": "Your input was flagged", "metadata": {"flagged_input": "..."}}})),
    "Google, behind the OpenAI wire": (400, openai("The response was blocked.", code="PROHIBITED_CONTENT")),
    "Bedrock": (400, json.dumps({"message": "Content blocked by guardrail: GUARDRAIL_INTERVENED"})),
    "OpenAI, biology": (400, openai("This request was stopped.", code="bio_policy_violation")),
    "a gateway, of safety": (400, openai("Your request was blocked due to safety concerns")),
    "a gateway, of moderation": (400, openai("The prompt was rejected by moderation")),
    "a gateway, of a policy": (400, openai("The content may violate our usage policies")),
    "in Chinese": (400, openai("抱歉，您所输入的内容含有违规信息")),
}

NO_CREDIT: dict[str, Said] = {
    "Anthropic": (400, anthropic("Your credit balance is too low to access the Anthropic API.")),
    "DeepSeek": (402, openai("Insufficient Balance", "unknown_error", "invalid_request_error")),
    "DashScope": (400, openai("Access denied, please make sure your account is in good standing.", code="Arrearage")),
    "xAI": (
        403,
        json.dumps({"code": "The caller does not have permission", "error": "Your newly created team doesn't have any credits yet."}),
    ),
}

WRONG_KEY: dict[str, Said] = {
    "xAI": (400, json.dumps({"code": "Client specified an invalid argument", "error": "Incorrect API key provided: xa***."})),
    "Google": (400, openai("API key not valid. Please pass a valid API key.", "INVALID_ARGUMENT", 400)),
    "DeepSeek": (401, openai("Authentication Fails, Your api key: ****-key is invalid", "authentication_error")),
}

NO_ACCESS: dict[str, Said] = {
    "Google": (403, openai("Permission 'aiplatform.endpoints.predict' denied on resource '//x'.", "PERMISSION_DENIED", 403)),
    "OpenAI": (403, openai("Country, region, or territory not supported", code="unsupported_country_region_territory")),
    "Moonshot (clacky-ai/openclacky#192)": (403, openai("Access terminated. Review our Guidelines.", "access_terminated_error")),
    "Bedrock": (403, json.dumps({"message": "The security token included in the request is expired"})),
}

UNKNOWN_MODEL: dict[str, Said] = {
    "OpenAI": (404, openai("The model `gpt-9` does not exist or you do not have access to it.", code="model_not_found")),
    "Azure": (404, openai("The API deployment for this resource does not exist.", code="DeploymentNotFound")),
    "a model named after images": (404, openai("The model `any-image-1` was not found.")),
    "Ollama": (404, json.dumps({"error": "model 'nonexistent' not found"})),
}

THIS_QUESTION: dict[str, Said] = {
    "OpenRouter, a tool (rbb-dev/Open-WebUI-OpenRouter-pipe#58)": (
        404,
        openai('No endpoints found that support tool use. Try disabling "get_time".', code=404),
    ),
    "OpenRouter, parameters": (404, openai("No endpoints found that can handle the requested parameters.", code=404)),
    "OpenRouter, a long answer": (
        402,
        openai("This request requires more credits, or fewer max_tokens. You can only afford 12.", code=402),
    ),
    "OpenAI, a file": (404, openai("File `file-123` not found.")),
    "an image that is not allowed": (403, openai("Image input is not permitted for this request")),
    "a firewall, of a message": (403, json.dumps({"message": "Access denied: this message was blocked by a security rule"})),
    "a prompt that is not allowed": (403, openai("Your prompt was rejected", code="forbidden")),
}

NO_IMAGES: dict[str, Said] = {
    "OpenRouter (openclaw/openclaw#99078)": (404, openai("No endpoints found that support image input", code=404)),
    "Ollama (ollama/ollama#17301)": (400, json.dumps({"error": "this model does not support image input (ref: b8bd630e)"})),
    "Bedrock (earendil-works/pi#8960)": (
        400,
        json.dumps({"message": "This model doesn't support the image field for user messages. Remove image and try again."}),
    ),
    "LM Studio (lmstudio-ai/lmstudio-bug-tracker#362)": (400, openai("Model does not support images. Please use a model that does.")),
    "OpenAI (vllm-project/vllm#11629)": (400, openai("Invalid content type. image_url is only supported by certain models.")),
    "DeepSeek (1jehuang/jcode#310)": (
        400,
        openai("Failed to deserialize the JSON body into the target type: messages[7]: unknown variant `image_url`, expected `text`"),
    ),
    "llama.cpp (ggml-org/llama.cpp#13566)": (500, openai("image input is not supported by this server", "server_error", 500)),
    "Ollama, a model without its projector (valentinfrlch/ha-llmvision#691)": (
        500,
        json.dumps(
            {"error": "Failed to create new sequence: failed to process inputs: this model is missing data required for image input"}
        ),
    ),
    "Groq (vercel/ai#2837)": (400, openai("messages[0].content must be a string")),
    "a gateway, of images": (400, openai("Image inputs are not supported by this model.")),
    "a gateway, of vision": (400, openai("The selected model does not support vision")),
    "vLLM (vllm-project/vllm#23402)": (400, openai("/models/llama is not a multimodal model", "BadRequestError", 400)),
}

NO_AUDIO: dict[str, Said] = {
    "OpenAI (openai/openai-python#2454)": (400, openai("content blocks are expected to be either text or image_url type")),
    "llama.cpp (mozilla-ai/llamafile#960)": (
        500,
        openai("audio input is not supported - hint: if this is unexpected, you may need to provide the mmproj", "server_error", 500),
    ),
    "Google (hkjarral/AVA-AI-Voice-Agent-for-Asterisk#541)": (
        400,
        openai("The audio content type (CONTENT_TYPE_AUDIO) is not supported for this model configuration.", "INVALID_ARGUMENT", 400),
    ),
}

NO_DOCUMENTS: dict[str, Said] = {
    "Bedrock (anomalyco/models.dev#6821)": (400, json.dumps({"message": "This model doesn't support documents."})),
    "Bedrock, in other words (anomalyco/models.dev#6821)": (
        400,
        json.dumps({"message": "This model doesn't support the document field for user messages. Remove document and try again."}),
    ),
}

BAD_PARAMETER: dict[str, Said] = {
    "OpenAI": (400, openai("Unsupported parameter: 'stop' is not supported with this model.", code="unsupported_parameter")),
    "Anthropic": (400, anthropic("`temperature` is deprecated for this model.")),
    "Moonshot": (400, openai("invalid temperature: only 1 is allowed for this model")),
    "Mistral": (
        422,
        json.dumps({"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]}),
    ),
}

SAID: dict[type[TargetError], tuple[dict[str, Said], ...]] = {
    ContextTooLong: (TOO_LONG,),
    ContentFiltered: (FILTERED,),
    TargetDenied: (NO_CREDIT, WRONG_KEY, NO_ACCESS, UNKNOWN_MODEL),
    FileRefused: (NO_IMAGES, NO_DOCUMENTS, NO_AUDIO),
    TargetRefused: (THIS_QUESTION, BAD_PARAMETER),
}
EACH = [(kind, who, said) for kind, tables in SAID.items() for table in tables for who, said in table.items()]


@pytest.mark.parametrize(("kind", "who", "said"), EACH, ids=[who for _, who, _ in EACH])
def test_quoted_refusal_is_classified(kind: type[TargetError], who: str, said: Said) -> None:
    """Each quoted refusal becomes the TargetError that it means; one that is a TargetDenied is marked `certain`."""
    error = verdict("a", *said)
    assert type(error) is kind, who
    assert not isinstance(error, TargetDenied) or error.certain


@pytest.mark.parametrize(("sort", "table"), [("image", NO_IMAGES), ("document", NO_DOCUMENTS), ("audio", NO_AUDIO)])
def test_refusal_of_files_has_the_sort_of_file(sort: str, table: dict[str, Said]) -> None:
    """A refusal of images, documents or audio becomes FileRefused with that sort."""
    for who, said in table.items():
        error = verdict("a", *said)
        assert isinstance(error, FileRefused), who
        assert error.sort == sort, who


@pytest.mark.parametrize(
    "said",
    [
        "This model does not support image/webp. Supported: image/png, image/jpeg.",
        "We do not support image format bmp",
        "The image is too large: at most 5 MB",
        "You uploaded an unsupported image. Please make sure your image has one of the following formats",
        "At most 1 image(s) may be provided in one prompt.",
        "Could not process image",
        "This model does not support documents of more than 100 pages",
        "temperature is not supported with this model",
    ],
)
def test_refusal_of_one_file_is_not_a_refusal_of_its_sort(said: str) -> None:
    """A refusal for one file's format, size, number or pages does not become FileRefused."""
    assert not isinstance(verdict("a", 400, openai(said)), FileRefused)


@pytest.mark.parametrize(("words", "source"), [row for rows in PHRASES.values() for row in rows.items()])
def test_each_phrase_has_a_source_and_a_quoted_refusal(words: str, source: str) -> None:
    """Each pattern of PHRASES names its source and matches at least one quoted refusal."""
    assert source
    assert any(re.search(words, body, re.IGNORECASE) for _, _, (_, body) in EACH)


ECHOED = [
    "how long is the maximum context length of gpt-4",
    "it said: prompt is too long",
    "is 'incorrect api key' an error?",
    "Content Exists Risk",
    "the model xyz does not exist",
    "insufficient balance",
]
ECHOES: dict[str, Callable[[str], str]] = {
    "in quotation marks": lambda words: openai(f"Invalid content in messages[0]: '{words}' is no list"),
    "as the input of a check": lambda words: json.dumps({"detail": [{"type": "list_type", "msg": "wrong", "input": {"content": words}}]}),
    "as a long input of a check": lambda words: json.dumps({"detail": [{"type": "list_type", "msg": "wrong", "input": [words] * 2000}]}),
    "cut off": lambda words: json.dumps({"detail": [{"type": "list_type", "msg": "wrong", "input": [words] * 2000}]})[:20_000],
}


@pytest.mark.parametrize("words", ECHOED)
@pytest.mark.parametrize("how", ECHOES)
def test_words_quoted_from_the_question_do_not_classify_a_refusal(how: str, words: str) -> None:
    """A 400 that quotes the question stays a plain TargetRefused, even if the quoted words are those of a known refusal."""
    assert type(verdict("a", 400, ECHOES[how](words))) is TargetRefused
    assert reason(400, ECHOES[how](words)) is None


UNCERTAIN = {
    "a firewall's page": (
        403,
        "<html><head><title>403 Forbidden</title></head><body>You don't have permission to access this.</body></html>",
    ),
    "a firewall's line": (403, "Blocked by the content filter of this network"),
    "an API's, without a reason": (403, json.dumps({"error": {"code": "forbidden", "message": "Forbidden"}})),
    "nothing at all": (403, ""),
}


@pytest.mark.parametrize("who", UNCERTAIN)
def test_403_without_a_reason_gives_an_uncertain_target_denied(who: str) -> None:
    """A 403 that names neither key, account nor model becomes a TargetDenied that is not `certain`."""
    error = verdict("a", *UNCERTAIN[who])
    assert isinstance(error, TargetDenied)
    assert not error.certain


@pytest.mark.parametrize(
    "said",
    [
        "Invalid 'tools': array too long. Expected an array with maximum length 128",
        "Invalid 'messages[1].tool_calls[0].id': string too long. Expected a string with maximum length 40",
        "tool name too long: maximum length 64",
        "max_tokens is too large: 100000. This model supports at most 16384 completion tokens",
        "max_tokens: 500000 > 64000, which is the maximum allowed number of output tokens",
        "The image is too large",
    ],
)
def test_refusal_of_another_length_is_not_of_the_conversations(said: str) -> None:
    """A refusal of a list, a name, an image or the answer's limit as too long does not become ContextTooLong."""
    assert type(verdict("a", 400, openai(said))) is TargetRefused


def test_too_many_tokens_in_a_429_is_throttling() -> None:
    """A 429 with the words `Too many tokens` becomes TargetDown, not ContextTooLong."""
    assert type(verdict("a", 429, json.dumps({"message": "Too many tokens, please wait before trying again."}))) is TargetDown

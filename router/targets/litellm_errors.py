"""Translation of LiteLLM's errors into TargetErrors."""

from router.errors import ContentFiltered, ContextTooLong, TargetDenied, TargetDown, TargetError, TargetRefused, TargetSilent
from router.targets.litellm_chunks import ChunkParser
from router.targets.litellm_providers import ASKED
from router.targets.verdict import verdict


def raised(target: str, provider: str, error: BaseException, parser: ChunkParser) -> TargetError:
    """Return the TargetError for a failed call of LiteLLM; `error` itself if it is one.

    An error within the stream is judged by its own words, as on the direct lanes. A stream that ended without a finish reason, or with one that means a failure, is `cut`, whichever error LiteLLM raises for it.
    A refusal within a stream of Ollama's counts as a failure of the server (`status_500`).
    """
    original = getattr(error, "original_exception", None) or error
    if parser.stated is not None and not parser.speech.finished:
        return verdict(target, *parser.stated)
    if isinstance(error, TargetError):
        return error
    if parser.stream is not None and not parser.speech.finished and (parser.is_broken or "StopAsyncIteration" in _causes(original)):
        return TargetDown(target, "cut")
    raised = translated(target, error)
    if provider in ASKED and type(raised) is TargetRefused and parser.stream is not None:
        return TargetDown(target, "status_500")  # LiteLLM reports any error inside Ollama's stream as a 400
    return raised


def status_and_text(error: BaseException) -> tuple[int, str]:
    """Return the HTTP status and the text of LiteLLM's error; status 0 if the error has none."""
    status = getattr(error, "status_code", None)
    return status if isinstance(status, int) else 0, str(error)


def translated(target: str, error: BaseException) -> TargetError:
    """Return the TargetError for LiteLLM's error; `malformed` for an error of no known kind.

    LiteLLM's message is left out, because it may contain the provider's body and the key.
    """
    original = getattr(error, "original_exception", None)
    if isinstance(original, BaseException):
        error = original
    kinds, causes = _kinds(error), _causes(error)
    if "ContextWindowExceededError" in kinds:
        return ContextTooLong(target, "context_too_long")
    if "ContentPolicyViolationError" in kinds:
        return ContentFiltered(target, "content_filter")
    if kinds & {"Timeout", "APITimeoutError", "TimeoutError"} and not causes & ANSWERED:
        return TargetSilent(target, "timeout_connect")
    if (kinds | causes) & CERTIFICATE:
        return TargetDenied(target, "tls")
    if (kinds | causes) & CONNECTION and not causes & ANSWERED:
        return TargetDown(target, "connection")  # OpenAI's arrives as an InternalServerError that was caused by it
    status = getattr(error, "status_code", None)
    if isinstance(status, int) and 300 <= status < 400:
        return TargetRefused(target, "redirect")
    if isinstance(status, int) and 400 <= status < 600:
        headers = getattr(error, "litellm_response_headers", None) or getattr(getattr(error, "response", None), "headers", None)
        return verdict(target, status, str(error), dict(headers or {}))
    return TargetDown(target, "malformed")


CERTIFICATE = frozenset({"SSLError", "ClientSSLError"})
ANSWERED = frozenset({"APIStatusError", "HTTPStatusError"})
"""Class names of errors for which a response came: LiteLLM raises one error class for a provider's 408 or 504 and for its own timeout."""
CONNECTION = frozenset({"APIConnectionError", "TransportError", "ClientError", "OSError"})


def _causes(error: BaseException) -> set[str]:
    """Return the class names of an error's causes and of their base classes, up to 8 causes deep; its own class is not included."""
    names: set[str] = set()
    cause = error.__cause__ or error.__context__
    for _ in range(8):
        if cause is None:
            break
        names |= _kinds(cause)
        cause = cause.__cause__ or cause.__context__
    return names


def _kinds(error: BaseException) -> set[str]:
    """Return the names of an error's class and base classes. Names, because LiteLLM's classes exist only once it is imported."""
    return {kind.__name__ for kind in type(error).__mro__}

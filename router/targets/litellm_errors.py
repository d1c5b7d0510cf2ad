"""Translation of LiteLLM's errors into TargetErrors."""

from router.errors import ContentFiltered, ContextTooLong, TargetDenied, TargetDown, TargetError, TargetRefused, TargetSilent
from router.targets.litellm_chunks import Hearing
from router.targets.litellm_providers import ASKED
from router.targets.verdict import verdict


def raised(target: str, provider: str, error: BaseException, hear: Hearing) -> TargetError:
    """Return the TargetError for a failed call.

    An end without a finish reason, or with one that means a failure, is a cut stream. For which of them LiteLLM raises an error of its own
    depends on its version. A refusal within a stream of Ollama's counts as a failure of the server.
    """
    original = getattr(error, "original_exception", None) or error
    if hear.stream is not None and not hear.speech.finished and (hear.is_broken or "StopAsyncIteration" in _causes(original)):
        return TargetDown(target, "cut")
    raised = translated(target, error)
    if provider in ASKED and type(raised) is TargetRefused and hear.stream is not None:
        return TargetDown(target, "status_500")  # whatever goes wrong inside a stream of Ollama's is told as a 400
    return raised


def said(error: BaseException) -> tuple[int, str]:
    """Return the status and the text of a refusal; status 0 if the error has none."""
    status = getattr(error, "status_code", None)
    return status if isinstance(status, int) else 0, str(error)


def translated(target: str, error: BaseException) -> TargetError:
    """Return the TargetError for LiteLLM's error, without its message, which may contain the provider's body and the key.

    An error of no known kind is a TargetDown with the outcome `malformed`.
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
    """Return the class names of an error's causes and of their base classes, up to 8 levels deep; its own are not included."""
    names: set[str] = set()
    cause = error.__cause__ or error.__context__
    for _ in range(8):
        if cause is None:
            break
        names |= _kinds(cause)
        cause = cause.__cause__ or cause.__context__
    return names


def _kinds(error: BaseException) -> set[str]:
    """Return the names of an error's class and base classes: the classes themselves exist only once LiteLLM is imported."""
    return {kind.__name__ for kind in type(error).__mro__}

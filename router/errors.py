"""The errors of the router, as one small tree. Code decides by the type of an error, never by its message.

RouterError                  .code (stable, public)  .status (HTTP)  .public (a safe sentence)
├─ ConfigError               every complaint about a configuration: file:line:col and what to do
├─ Refused                   the caller's doing, before the stream: BadAsk 400, Unauthorized 401, NotAllowed 403, UnknownModel,
│                            UnknownAddress, UnknownResponse 404, WrongMethod 405, TooLarge 413, TooMany 429
├─ TargetError               one target did not answer; names it, never what it said
│   ├─ TargetDown            worth a retry: 429, 5xx, connection, malformed, empty
│   │   └─ TargetSilent      no answer in time: worth another target, no retry
│   └─ TargetRefused         not worth it on this target: 400, 422
│       ├─ TargetDenied      401, 403, 404, TLS: this key, model or address does not work at all
│       └─ ParameterMissed, FileRefused, ContextTooLong (each worth another target), ContentFiltered (not worth one)
├─ Unanswered 502            no target of the route answered: Overlong, Filtered, FileAddress, UnsupportedParameter, UnreadFile,
│                            NoTarget, OutputCutOff 400, InvalidOutput 502, Busy 503, TimedOut 504
├─ Unverifiable, Undeleted, Unfindable, Crowded, Stopping, Overtaken 503, Stopped 409, ReplicaLost 502
└─ ToolError                 sent to the model as a result, not to the user as a failure
"""

from collections.abc import Iterable, Sequence
from typing import ClassVar, Literal

from router.usage import Usage
from router.value import Value


class Place(Value, frozen=True, gc=False):
    """A position in a file: line and column, from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


WIDEST = 300
"""Characters of a line that a complaint quotes at most: a whole configuration may stand in one line, as JSON."""


class Complaint(Value, frozen=True):
    """A mistake in a configuration, or a warning. `line`: the text of the line that it stands in; empty if that is not known."""

    place: Place
    message: str
    line: str = ""

    def as_json(self) -> dict[str, str | int]:
        """Return the complaint as a dict of file, line, column and message."""
        return {"file": self.place.file, "line": self.place.line, "column": self.place.column, "message": self.message}

    def __str__(self) -> str:
        if not self.line.strip():
            return f"{self.place}: {self.message}"
        shown, before = _around(self.line, self.place.column - 1)
        # Tabs stay tabs in the caret's indent, so that it stands below its character in every terminal.
        indent = "".join("\t" if character == "\t" else " " for character in before)
        return f"{self.place}: {self.message}\n    {shown}\n    {indent}^"


def _around(line: str, at: int) -> tuple[str, str]:
    """Return (the part of a line around an index, what stands there before the index): WIDEST characters at most, `…` for the others."""
    start = max(0, min(at - WIDEST // 2, len(line) - WIDEST))
    cut = "…" if start else ""
    return f"{cut}{line[start : start + WIDEST]}{'…' if len(line) > start + WIDEST else ''}", cut + line[start:at]


class Misfit(ValueError):
    """The error of a value that is not accepted. `field`: the field of the record that is at fault; None for all of it."""

    def __init__(self, message: str, field: str | None = None, *, place: Place | None = None) -> None:
        super().__init__(message)
        self.message, self.field, self.place = message, field, place
        """The place of the mistake, if the value itself stands elsewhere (a template's own line)."""


class RouterError(Exception):
    """An unexpected error in the router. In Python, `RouterError` is the base of all errors of the router."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    sentence: ClassVar[str] = "Something went wrong here."

    def __init_subclass__(cls, code: str = "", status: int = 0, sentence: str = "") -> None:
        super().__init_subclass__()
        for name, value in (("code", code), ("status", status), ("sentence", sentence)):
            if value:
                setattr(cls, name, value)

    def __init__(self, public: str | None = None) -> None:
        self.public = public or self.sentence
        self.logged = self.public
        """The sentence for the log: without any text of the client."""
        super().__init__(self.public)


class ConfigError(RouterError, code="bad_configuration"):
    """The configuration is invalid. This error is never sent to a client. In Python, `complaints` has all mistakes, in reading order."""

    def __init__(self, complaints: tuple[Complaint, ...]) -> None:
        super().__init__("\n".join(str(complaint) for complaint in complaints))
        self.complaints = complaints


class Refused(RouterError, status=400):
    """The base of errors that are the request's own fault: it is refused before an answer begins."""


class BadAsk(Refused, code="bad_request", sentence="The request is malformed."):
    """The request body is malformed, or one of its fields is invalid."""

    def __init__(self, public: str | None = None, *, logged: str | None = None) -> None:
        super().__init__(public)
        self.logged = logged or self.public


class TooLarge(Refused, code="too_large", status=413, sentence="The request is too large."):
    """The body, a list in it, or the prompt made from it is larger than the router accepts."""


class UnknownModel(Refused, code="unknown_model", status=404):
    """The requested model is neither the id nor an alias of a route."""

    sentence = "There is no such model here. GET /api/models lists those there are."


class UnknownAddress(Refused, code="unknown_address", status=404, sentence="Nothing is served at this address in this way."):
    """Nothing is served at this path. Below `/v1/` and `/v4/ai` a wrong method has this code, too, unless the path answers questions."""

    def __init__(self, served: str = "", *, sentence: str = "") -> None:
        super().__init__(f"{self.sentence} Served are: {served}." if served else sentence or None)


class UnknownResponse(Refused, code="response_not_found", status=404):
    """The caller has no response, and no item of a response, with the id in the request."""

    sentence = (
        "There is no such response here: it was not stored, is no longer kept (server.resume.keep), or is somebody else's. "
        "Send the items themselves instead of previous_response_id or item_reference (with the AI SDK: store: false)."
    )


class WrongMethod(Refused, code="method_not_allowed", status=405, sentence="This address takes POST."):
    """A path that answers questions got a request with a method other than POST."""


class Unauthorized(Refused, code="unauthorized", status=401, sentence="This server takes a key: Authorization: Bearer …"):
    """The request has no valid credentials."""

    def __init__(self, public: str | None = None, *, caller: str = "") -> None:
        super().__init__(public)
        self.caller = caller
        """The caller for the log: the name of an expired key, or the beginning of an unknown one."""


class Unverifiable(RouterError, code="unverifiable", status=503):
    """An issuer's keys cannot be fetched, so its tokens cannot be verified."""

    sentence = "Your credentials could not be verified. Please try again in a moment."

    def __init__(self, retry_after: float = 2.0) -> None:
        super().__init__()
        self.retry_after = retry_after
        """Seconds until the issuer may be asked again."""


class NotAllowed(Refused, code="not_allowed", status=403, sentence="Your credentials have no access to this model."):
    """The caller may not use this route or page, or the server does not serve other machines."""


class TooMany(Refused, code="rate_limited", status=429, sentence="Rate limit exceeded. Please try again later."):
    """A limit is reached: of the caller, its end user, its address or the route.

    limit: requests, tokens, spend or concurrent
    retry_after: seconds
    headers: the limit, and how much of it is left
    """

    def __init__(self, limit: str, retry_after: float, *, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        super().__init__()
        self.limit, self.retry_after, self.headers = limit, retry_after, headers


class TargetError(RouterError, code="target_error", status=502):
    """The failure of one target. `outcome`: the error category, for logs and metrics.

    retry_after: seconds for which the provider wants no request; None if it named none
    used: tokens until the answer broke off, as far as the provider had counted them; None if it had not
    stated: status and text of an error that came within an answer; None for any other failure
    """

    def __init__(self, target: str, outcome: str, *, retry_after: float | None = None) -> None:
        super().__init__()
        self.target, self.outcome, self.retry_after = target, outcome, retry_after
        self.used: Usage | None = None
        self.stated: tuple[int, str] | None = None

    def __str__(self) -> str:
        return f"{self.target}: {self.outcome}"


class TargetDown(TargetError, code="target_down"):
    """A failure that is worth a retry, on the same target or another one."""


class TargetSilent(TargetDown, code="target_silent"):
    """A timeout of a target, or a target skipped for its breaker or by an operator: the next one is asked, this one not retried."""


class TargetRefused(TargetError, code="target_refused"):
    """A refusal by a target of this question, which a retry would not change."""


class TargetDenied(TargetRefused, code="target_denied"):
    """The target does not work as configured: its key, model or address is refused, or its TLS certificate is invalid."""

    def __init__(self, target: str, outcome: str, *, certain: bool = True) -> None:
        super().__init__(target, outcome)
        self.certain = certain
        """False if the refusal may concern this question only, such as one by a firewall before the provider."""


class ParameterMissed(TargetRefused, code="unsupported_parameter"):
    """The target's model does not take a parameter of the question whose omission would change the answer."""

    def __init__(self, target: str, parameter: str) -> None:
        super().__init__(target, self.code)
        self.parameter = parameter


class FileRefused(TargetRefused):
    """The target's model does not read files of this sort (`image`, `document` or `audio`)."""

    def __init__(self, target: str, outcome: str, sort: Literal["image", "document", "audio"]) -> None:
        super().__init__(target, outcome)
        self.sort: Literal["image", "document", "audio"] = sort


class ContextTooLong(TargetRefused, code="context_too_long"):
    """The conversation is longer than this target's context window."""


class ContentFiltered(TargetRefused, code="content_filter"):
    """The content filter of one target stopped the question or its answer. No other target is asked; the client gets Filtered."""


class Unanswered(RouterError, code="no_answer", status=502, sentence="No model could answer just now. Please try again."):
    """The route gave no answer: each of its targets failed, or could not be asked."""


class Overlong(Unanswered, code="context_too_long", status=400):
    """The conversation is longer than the context window of every target that could be asked."""

    sentence = "This conversation is too long for the model. Please start a new one or shorten it."


class Filtered(Unanswered, code="content_filter", status=400, sentence="The model's content filter refused this request."):
    """The content filter of a provider refused the question or stopped its answer. No other target is asked."""


class FileAddress(Unanswered, code="file_address", status=400):
    """The question has the address of a file, and no target that could be asked fetches files from addresses."""

    sentence = "The models here do not fetch files from addresses. Please send the file itself, as a data: URL."


class UnsupportedParameter(Unanswered, code="unsupported_parameter", status=400):
    """A parameter of the request is accepted by no target that could be asked."""

    sentence = "The models here do not support a parameter of this request."

    def __init__(self, parameter: str = "") -> None:
        super().__init__(f"{parameter}: the models here do not support this parameter." if parameter else None)


UNREAD: dict[tuple[str, ...], str] = {
    ("audio",): "No model of this route listens to audio. Please send the words as text.",
    ("audio", "document"): "No model of this route reads PDF documents or audio. Please send the question without them.",
    ("audio", "image"): "No model of this route reads images or audio. Please send the question without them.",
    ("audio", "document", "image"): "No model of this route reads images, PDF documents or audio. Please send the question without them.",
    ("image",): "No model of this route reads images. Please send the question without the image.",
    ("document",): "No model of this route reads PDF documents. Please send their text instead.",
    ("document", "image"): "No model of this route reads images or PDF documents. Please send the question without them.",
    ("both",): "No model of this route reads both images and PDF documents. Please send one kind at a time.",
    ("all",): "No model of this route reads all of these kinds of files. Please send one kind at a time.",
}
"""Sorts of files that no model reads, in alphabetical order → the sentence for the client."""


class UnreadFile(Unanswered, code="unread_file", status=400):
    """The question has files that no target of the route reads.

    sorts: those sorts; empty if unknown. If each is read by some target and all by none: `both` for images and documents, else `all`
    """

    sentence = "No model of this route reads files of this kind. Please send the question without them."

    def __init__(self, sorts: Iterable[str] = ()) -> None:
        super().__init__(UNREAD.get(tuple(sorted(sorts))))


class NoTarget(Unanswered, code="no_target", status=400, sentence="No model of this route is meant for such a question."):
    """The question does not meet the condition of any target of the route."""


class Busy(Unanswered, code="overloaded", status=503, sentence="The models are overloaded just now. Please try again in a moment."):
    """All targets are out of use just now (429, open breaker, drained), or the router is at a bound. `Retry-After`: seconds, if known."""

    def __init__(self, *, retry_after: float | None = None) -> None:
        super().__init__()
        self.retry_after = retry_after


class TimedOut(Unanswered, code="timeout", status=504, sentence="The answer took too long. Please try again."):
    """The whole answer took too long, or no target began to answer in time."""


class Undeleted(RouterError, code="not_deleted", status=503, sentence="The response could not be deleted everywhere. Please try again."):
    """A response may not have been deleted on other replicas, because Redis does not answer."""


class Unfindable(RouterError, code="response_unavailable", status=503):
    """A response cannot be looked up: another replica may have it, and the shared Redis does not answer."""

    sentence = (
        "This response may be another replica's, and cannot be looked up: the store that replicas share (server.redis) does not answer. "
        "Please try again, or send the items themselves instead of previous_response_id or item_reference."
    )
    retry_after = 2.0
    """Seconds until Redis is probably back."""


class InvalidOutput(Unanswered, code="invalid_output"):
    """The answer does not have the required form, and was not corrected: the model failed to, or a part had been sent already."""

    sentence = "The model's answer is not the JSON that was asked for, and could not be corrected. Please try again."


class OutputCutOff(Unanswered, code="output_cut_off", status=400):
    """The answer reached its token limit before its required JSON was complete."""

    sentence = "The answer reached its limit of tokens before its JSON was whole. Please allow more tokens (max_tokens)."


class Crowded(RouterError, code="overloaded", status=503, sentence="The server is busy just now. Please try again in a moment."):
    """The server has reached its limit of concurrent answers, or of request bodies in memory."""

    retry_after = 1.0


class Stopping(RouterError, code="stopping", status=503, sentence="The server is being restarted. Please try again."):
    """The server is shutting down: it refuses a new question, or ends an answer before it is complete."""

    retry_after = 1.0
    """Seconds until another process can take the request."""


class Stopped(RouterError, code="stopped", status=409, sentence="The answer was stopped."):
    """The client stopped the answer."""


class ReplicaLost(RouterError, code="replica_lost", status=502, sentence="The server that gave this answer is gone. Please try again."):
    """The replica that produced the answer is gone or cannot be reached any more."""


class Overtaken(RouterError, code="overtaken", status=503, sentence="The answer could not be kept for so slow a reader. Please try again."):
    """The client read a shared answer too slowly: a part that it had not read was dropped."""


class ToolError(RouterError, code="tool_error"):
    """A tool's refusal of a call: its sentence is sent to the model and shown on the tool's card."""

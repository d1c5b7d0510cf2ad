"""The errors of the router, as one small tree.

    RouterError                  .code (stable, public)  .status (HTTP)  .public (a safe sentence)
    ├─ ConfigError               every complaint about a configuration: file:line:col and what to do
    ├─ Refused                   the caller's doing, before the stream
    │   ├─ BadAsk 400  ├─ TooLarge 413  ├─ UnknownModel 404  ├─ UnknownAddress 404  ├─ UnknownResponse 404
    │   ├─ WrongMethod 405
    │   └─ Unauthorized 401  ├─ NotAllowed 403  └─ TooMany 429
    ├─ TargetError               one target did not answer; names it, never what it said
    │   ├─ TargetDown            worth a retry: 429, 5xx, connection, malformed, empty
    │   │   └─ TargetSilent      no answer in time: worth another target, no retry
    │   └─ TargetRefused         not worth it on this target: 400, 422
    │       ├─ TargetDenied      401, 403, 404, TLS: this key, model or address does not work at all
    │       ├─ ParameterMissed   its model does not take a parameter that would be missed
    │       ├─ FileRefused       worth a target that reads files of this sort
    │       ├─ ContextTooLong    worth a target with a larger window
    │       └─ ContentFiltered   reported to the client, no other target is asked
    ├─ Unanswered 502            no target of the route answered
    │   ├─ Overlong 400  ├─ Filtered 400  ├─ FileAddress 400  ├─ UnsupportedParameter 400
    │   ├─ UnreadFile 400  ├─ NoTarget 400  ├─ Busy 503  ├─ TimedOut 504
    │   └─ InvalidOutput 502  └─ OutputCutOff 400
    ├─ Unverifiable 503          the credentials cannot be verified just now
    ├─ Undeleted 503             other replicas may still find what is to be deleted
    ├─ Unfindable 503            other replicas may have what is looked up, and Redis is away
    ├─ Crowded 503               the limit of concurrent answers is reached
    ├─ Stopping 503              the server ends before the answer does
    ├─ Stopped 409               the client stopped it, before its first word
    ├─ ReplicaLost 502           the replica that gave the answer cannot be reached
    ├─ Overtaken 503             a follower of a shared answer is too far behind
    └─ ToolError                 sent to the model as a result, not to the user as a failure

Code decides by the type of an error, never by its message.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from router.usage import Usage


@dataclass(frozen=True, slots=True)
class Place:
    """A position in a text: 1-based line and column."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Complaint:
    """A mistake in a configuration: its place, the message, and the text of the line that it stands in (empty if that is not known)."""

    place: Place
    message: str
    line: str = ""

    def as_json(self) -> dict[str, str | int]:
        """Return the complaint as a dict of file, line, column and message."""
        return {"file": self.place.file, "line": self.place.line, "column": self.place.column, "message": self.message}

    def __str__(self) -> str:
        if not self.line.strip():
            return f"{self.place}: {self.message}"
        # Tabs stay tabs in the caret's indent, so that it stands below its character in every terminal.
        indent = "".join("\t" if character == "\t" else " " for character in self.line[: self.place.column - 1])
        return f"{self.place}: {self.message}\n    {self.line}\n    {indent}^"


class Misfit(ValueError):
    """A value that its owner cannot accept. `field` names the owner's field at fault."""

    def __init__(self, message: str, field: str | None = None, *, place: Place | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.place = place
        """The place of the mistake, if the value itself stands elsewhere (a template's own line)."""


class RouterError(Exception):
    """An unexpected error in the router; as a class, the base of all its errors."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    sentence: ClassVar[str] = "Something went wrong here."

    def __init__(self, public: str | None = None) -> None:
        self.public = public or self.sentence
        self.logged = self.public
        """The sentence for the log: without any text of the client."""
        super().__init__(self.public)


class ConfigError(RouterError):
    """An invalid configuration; holds every complaint, in reading order."""

    code = "bad_configuration"

    def __init__(self, complaints: tuple[Complaint, ...]) -> None:
        super().__init__("\n".join(str(complaint) for complaint in complaints))
        self.complaints = complaints


class Refused(RouterError):
    """A request that is refused because of the request itself."""

    status = 400


class BadAsk(Refused):
    """The request body is malformed, or a field of it is invalid."""

    code = "bad_request"
    sentence = "The request is malformed."

    def __init__(self, public: str | None = None, *, logged: str | None = None) -> None:
        super().__init__(public)
        self.logged = logged or self.public


class TooLarge(Refused):
    """The body, or what it holds, is beyond the bounds."""

    code = "too_large"
    status = 413
    sentence = "The request is too large."


class UnknownModel(Refused):
    """The requested model is no route's id or alias."""

    code = "unknown_model"
    status = 404
    sentence = "There is no such model here. GET /api/models lists those there are."


class UnknownAddress(Refused):
    """The path is not served."""

    code = "unknown_address"
    status = 404
    sentence = "Nothing is served at this address in this way."

    def __init__(self, served: str = "", *, sentence: str = "") -> None:
        super().__init__(f"{self.sentence} Served are: {served}." if served else sentence or None)


class UnknownResponse(Refused):
    """Unknown response id: no response, or no item of one, is kept under it for this caller."""

    code = "response_not_found"
    status = 404
    sentence = (
        "There is no such response here: it was not stored, is no longer kept (server.resume.keep), or is somebody else's. "
        "Send the items themselves instead of previous_response_id or item_reference (with the AI SDK: store: false)."
    )


class WrongMethod(Refused):
    """The path is served with another method."""

    code = "method_not_allowed"
    status = 405
    sentence = "This address takes POST."


class Unauthorized(Refused):
    """The request has no valid credentials."""

    code = "unauthorized"
    status = 401
    sentence = "This server takes a key: Authorization: Bearer …"

    def __init__(self, public: str | None = None, *, caller: str = "") -> None:
        super().__init__(public)
        self.caller = caller
        """The caller for the log: the name of an expired key, or the beginning of an unknown one."""


class Unverifiable(RouterError):
    """An issuer's keys cannot be fetched, so its tokens cannot be verified."""

    code = "unverifiable"
    status = 503
    sentence = "Your credentials could not be verified. Please try again in a moment."

    def __init__(self, retry_after: float = 2.0) -> None:
        super().__init__()
        self.retry_after = retry_after
        """Seconds until the issuer may be asked again."""


class NotAllowed(Refused):
    """The caller may not use this route."""

    code = "not_allowed"
    status = 403
    sentence = "Your credentials have no access to this model."


class TooMany(Refused):
    """The caller has reached a limit.
    limit: requests, tokens, spend or concurrent
    retry_after: seconds
    headers: the limit, and how much of it is left
    """

    code = "rate_limited"
    status = 429
    sentence = "Rate limit exceeded. Please try again later."

    def __init__(self, limit: str, retry_after: float, *, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        super().__init__()
        self.limit = limit
        self.retry_after = retry_after
        self.headers = headers


class TargetError(RouterError):
    """A target did not answer. `outcome` is an error category, which goes to logs and metrics."""

    code = "target_error"
    status = 502

    def __init__(self, target: str, outcome: str, *, retry_after: float | None = None) -> None:
        super().__init__()
        self.target = target
        self.outcome = outcome
        self.retry_after = retry_after
        """Seconds, as the provider asked for; None where it did not."""
        self.used: Usage | None = None
        """Tokens until it broke off, as far as the provider had counted them."""

    def __str__(self) -> str:
        return f"{self.target}: {self.outcome}"


class TargetDown(TargetError):
    """A failure that is worth a retry, on the same target or another one."""

    code = "target_down"


class TargetSilent(TargetDown):
    """A timeout of a target: the next target is asked, and this one is not retried."""

    code = "target_silent"


class TargetRefused(TargetError):
    """The target will not answer this question, however often it is asked."""

    code = "target_refused"


class TargetDenied(TargetRefused):
    """The target does not work as configured: its key, model or address is refused, or its TLS certificate is invalid.

    certain: False if the refusal may concern this question only, such as one by a firewall before the provider
    """

    code = "target_denied"

    def __init__(self, target: str, outcome: str, *, certain: bool = True) -> None:
        super().__init__(target, outcome)
        self.certain = certain


class ParameterMissed(TargetRefused):
    """The target's model does not take a parameter of the question whose omission would change the answer."""

    code = "unsupported_parameter"

    def __init__(self, target: str, parameter: str) -> None:
        super().__init__(target, self.code)
        self.parameter = parameter


class FileRefused(TargetRefused):
    """The target's model does not read files of this sort (`image`, `document` or `audio`)."""

    def __init__(self, target: str, outcome: str, sort: Literal["image", "document", "audio"]) -> None:
        super().__init__(target, outcome)
        self.sort: Literal["image", "document", "audio"] = sort


class ContextTooLong(TargetRefused):
    """The conversation is longer than this target's context window."""

    code = "context_too_long"


class ContentFiltered(TargetRefused):
    """A target's error, raised in the router: the target's content filter stopped the question or its answer.

    No other target is asked; the client gets Filtered.
    """

    code = "content_filter"


class Unanswered(RouterError):
    """Every target of the route was asked, or could not be asked, without success."""

    code = "no_answer"
    status = 502
    sentence = "No model could answer just now. Please try again."


class Overlong(Unanswered):
    """The conversation is longer than the context window of every target that could be asked."""

    code = "context_too_long"
    status = 400
    sentence = "This conversation is too long for the model. Please start a new one or shorten it."


class Filtered(Unanswered):
    """The content filter of the model's provider stopped the question or its answer, and the request ends with this error.

    ContentFiltered is the error of the one target, raised before it.
    """

    code = "content_filter"
    status = 400
    sentence = "The model's content filter refused this request."


class FileAddress(Unanswered):
    """The targets that could be asked do not fetch files from addresses."""

    code = "file_address"
    status = 400
    sentence = "The models here do not fetch files from addresses. Please send the file itself, as a data: URL."


class UnsupportedParameter(Unanswered):
    """The targets that could be asked do not take a parameter of the request."""

    code = "unsupported_parameter"
    status = 400
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


class UnreadFile(Unanswered):
    """The question has files that no target of the route reads.

    sorts: the sorts of these files; `both` (an image and a document) or `all` (others): each is read by some target, and no target reads
        all of them; empty if they are not known
    """

    code = "unread_file"
    status = 400
    sentence = "No model of this route reads files of this kind. Please send the question without them."

    def __init__(self, sorts: Iterable[str] = ()) -> None:
        super().__init__(UNREAD.get(tuple(sorted(sorts))))


class NoTarget(Unanswered):
    """The conditions of the route's targets exclude this question."""

    code = "no_target"
    status = 400
    sentence = "No model of this route is meant for such a question."


class Busy(Unanswered):
    """Every asked target was overloaded or over a rate limit. `retry_after`: seconds, if a provider named them."""

    code = "overloaded"
    status = 503
    sentence = "The models are overloaded just now. Please try again in a moment."

    def __init__(self, *, retry_after: float | None = None) -> None:
        super().__init__()
        self.retry_after = retry_after


class TimedOut(Unanswered):
    """The answer exceeded its time limit."""

    code = "timeout"
    status = 504
    sentence = "The answer took too long. Please try again."


class Undeleted(RouterError):
    """A response may still exist on other replicas, because Redis does not answer."""

    code = "not_deleted"
    status = 503
    sentence = "The response could not be deleted everywhere. Please try again."


class Unfindable(RouterError):
    """A response that another replica may have, while the shared Redis does not answer."""

    code = "response_unavailable"
    status = 503
    sentence = (
        "This response may be another replica's, and cannot be looked up: the store that replicas share (server.redis) does not answer. "
        "Please try again, or send the items themselves instead of previous_response_id or item_reference."
    )

    def __init__(self, retry_after: float = 2.0) -> None:
        super().__init__()
        self.retry_after = retry_after
        """Seconds until Redis is probably back."""


class InvalidOutput(Unanswered):
    """The answer does not have the required form, also after the model was asked to correct it."""

    code = "invalid_output"
    sentence = "The model's answer is not the JSON that was asked for, also after it was asked to correct it. Please try again."


class OutputCutOff(Unanswered):
    """The answer reached its token limit before its required JSON was complete."""

    code = "output_cut_off"
    status = 400
    sentence = "The answer reached its limit of tokens before its JSON was whole. Please allow more tokens (max_tokens)."


class Crowded(RouterError):
    """The server has reached its limit of concurrent answers."""

    code = "overloaded"
    status = 503
    sentence = "The server is busy just now. Please try again in a moment."
    retry_after = 1.0


class Stopping(RouterError):
    """The server shuts down before the answer is complete."""

    code = "stopping"
    status = 503
    sentence = "The server is being restarted. Please try again."
    retry_after = 1.0
    """Seconds until another process, or this one's successor, can take the request."""


class Stopped(RouterError):
    """The client stopped the answer."""

    code = "stopped"
    status = 409
    sentence = "The answer was stopped."


class ReplicaLost(RouterError):
    """The replica that produced the answer is gone or cannot be reached any more."""

    code = "replica_lost"
    status = 502
    sentence = "The server that gave this answer is gone. Please try again."


class Overtaken(RouterError):
    """A follower of a shared answer is too slow: events it has not read were dropped."""

    code = "overtaken"
    status = 503
    sentence = "The answer could not be kept for so slow a reader. Please try again."


class ToolError(RouterError):
    """A tool's refusal of a call: its sentence is sent to the model and shown on the tool's card."""

    code = "tool_error"

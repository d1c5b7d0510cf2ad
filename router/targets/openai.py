"""The OpenAI lane: asks providers of the chat-completions wire without LiteLLM, at a fortieth of its processor time per chunk.

Each event of a stream is decoded to the few fields that are used, and becomes events or nothing. An invalid frame is skipped; an error
or a cut raises TargetError. Questions that need the Responses API are asked there (responses.py).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from operator import attrgetter
from typing import Any

import msgspec

from router.chat import Ask, Json, issued_by
from router.config.declaration import TargetConfig
from router.errors import TargetDown, TargetRefused
from router.events import Answer, Events, Start
from router.params import NO_PARAMS, Params
from router.targets import completions, http, responses, shown
from router.targets.address import AT_RESPONSES, reached, responding_at
from router.targets.chat_chunks import DECODE, SILENT, Chunk, Delta, Function, NamedTextChunk, TextChunk
from router.targets.connections import Connections
from router.targets.conversation import fitted, plain_messages
from router.targets.decoding import SMALL, decoded
from router.targets.facts import Facts
from router.targets.files import FILE_ADDRESS, has_address, refused
from router.targets.fit import NEEDS, Fitted, check_answerable, fit, uncarried
from router.targets.http import Asking, Prepared
from router.targets.inband import ErrorData, error_in
from router.targets.learned import Learned
from router.targets.options import Api, Options, options_of
from router.targets.prompt_cache import CONTROL, is_long, mark_messages, session_key
from router.targets.providers import CACHE_KEY, PROVIDERS, rules_of
from router.targets.reasoning import NOTHING, TEXTS, Reasoning, Returns, beside, returned
from router.targets.resolved_facts import facts_of
from router.targets.speech import Speech
from router.targets.structured import APART, structured, subset_of
from router.targets.template import NOT_TEXT
from router.targets.text_filters import AnswerLimits
from router.targets.text_frames import TextFrames
from router.value import Value

DONE = b"[DONE]"
COMPLETIONS = "/chat/completions"
APIS: Mapping[str, tuple[Api, ...]] = {"never": ("chat",), "always": ("responses",), "tools_while_thinking": ("chat", "responses")}
"""Value of `Facts.responses` → the APIs through which the target may be asked."""


class Terms(Value, frozen=True):
    """The common part of all questions with the same parameters, with or without tools. Made once for those without parameters of their own.
    fits: the parameters as the model takes them
    takes: the reasoning that it takes back
    bounds: limits that the router enforces
    overridden: names of parameters that the target's own `body` sets as well
    fields: the request's fields for the parameters
    checks: true if there are tools or parameters of NEEDS, so that the model may be unable to answer
    simple: true if a plain question of one text a message needs nothing but `fields`, its messages and perhaps a CACHE_KEY
    reader: makes the reader of an answer
    omitted: names of the parameters that are not sent
    """

    fits: Fitted
    takes: Returns
    bounds: AnswerLimits
    overridden: tuple[str, ...]
    fields: dict[str, Json]
    checks: bool
    simple: bool
    reader: Callable[[Speech], "ChatReader"]
    omitted: tuple[str, ...]


def _terms(name: str, declared: TargetConfig, options: Options, known: Facts, params: Params, *, tools: bool) -> Terms:
    model = str(declared.model)
    fits, overridden = fit(known, params).beside(tools=tools), options.over(params)
    takes = returned(known, fits, model, own=declared.api_base is not None)
    checks = tools or any(getattr(params, name) is not None for name in NEEDS)
    simple = not checks and known.session_key in ("", CACHE_KEY) and known.marks_from <= 0 and known.responses != "always"
    reader, omitted = partial(ChatReader, name, takes=takes), fits.omitted + overridden
    return Terms(fits, takes, fits.bounds(known), overridden, _fields(fits, known, model, tools=tools), checks, simple, reader, omitted)


def serves(declared: TargetConfig) -> bool:
    """Return whether this lane serves a target: its provider is in PROVIDERS, and `via` is not set."""
    return declared.via is None and str(declared.model).partition("/")[0] in PROVIDERS


def answer(
    name: str,
    declared: TargetConfig,
    connect: float,
    pool: Connections,
    learned: Learned | None = None,
    *,
    facts: Facts | None = None,
    fetches: bool = True,
) -> Answer:
    """Return the function that asks a declared target. Raises Misfit if its address or key is missing, or its own `body` may not be sent.
    connect: seconds a connection may take
    learned: lessons from earlier refusals
    facts: looked up if None
    fetches: whether it may be sent URLs of files (`files.fetches`)
    """
    learned, facts = learned or Learned(), facts or facts_of(declared)
    return ChatTarget(name, declared, pool, connect=connect, learned=learned, facts=facts, fetches=fetches).answer


class ChatTarget:
    """A target on the chat-completions wire: what all its questions share, and the requests for them."""

    def __init__(
        self, name: str, declared: TargetConfig, pool: Connections, *, connect: float, learned: Learned, facts: Facts, fetches: bool
    ) -> None:
        self._name, self._declared, self._params, self._pool, self._connect = name, declared, declared.params, pool, connect
        self._learned, self._facts, self._fetches = learned, facts, fetches
        prefix, _, model = str(declared.model).partition("/")
        self._model = model.removeprefix(AT_RESPONSES)
        url, headers = reached(declared, COMPLETIONS)
        self._options = options = options_of(declared, *APIS[facts.responses])
        self._endpoint = pool.endpoint(url, options.beside(headers), connect)
        self._start, self._issuer = Start(name, str(declared.model)), issued_by(name, str(declared.model))
        self._rules = rules_of(prefix, self._model, own=declared.api_base is not None)
        self._subset, self._beside_tools = subset_of(prefix), prefix not in APART
        self._secret = declared.api_key.value if declared.api_key else ""
        self._usual: dict[bool, Terms] = {}
        """Terms of a usual question, with tools (True) or without. Made with the first question, not for each target that is loaded."""

    @cached_property
    def _at_responses(self) -> http.Endpoint:
        """The endpoint of the Responses API."""
        url, headers = reached(self._declared, COMPLETIONS)
        return self._pool.endpoint(responding_at(url, self._declared), self._options.beside(headers), self._connect)

    def answer(self, ask: Ask) -> Events:
        """Stream the events of the answer to a question; see `http.answered` for the errors."""
        params = self._params if ask.params is NO_PARAMS else ask.params.over(self._params)
        if (messages := plain_messages(ask, self._rules)) is None:
            if not self._fetches and has_address(ask):
                return refused(self._name)
            ask = fitted(ask, self._rules, self._name)
        prepare = partial(self._prepare, ask, params, messages)
        return http.answered(Asking(self._start, self._issuer, self._pool, prepare, self._learned.over(self._facts), self._learned))

    def _prepare(self, ask: Ask, params: Params, messages: Sequence[dict[str, Json]] | None, known: Facts) -> Prepared:
        """Return the request for a question. `messages`: those of a plain question, which has no tools; None for any other."""
        tools, usual = bool(ask.tools), known is self._facts and params is self._params
        terms = self._usual.get(tools) if usual else None
        if terms is None:
            terms = _terms(self._name, self._declared, self._options, known, params, tools=tools)
            if usual:
                self._usual[tools] = terms
        if messages is None or not terms.simple or ask.output is not None or ask.unsent:
            return self._prepared(ask, params, messages, known, terms)
        body = {**terms.fields, "messages": messages}
        if known.session_key and (session := ask.session()):
            body[CACHE_KEY] = session_key(session, self._secret)
        return Prepared(self._endpoint, body, terms.reader, terms.omitted, terms.bounds, "chat", self._options)

    def _prepared(self, ask: Ask, params: Params, messages: Sequence[dict[str, Json]] | None, known: Facts, terms: Terms) -> Prepared:
        """Return the request for a question that is not plain, or at a target that needs more than its messages."""
        name, options, plain, fits = self._name, self._options, messages is not None, terms.fits
        if responding := known.responses != "never" and responses.needed(ask, known, fits):
            known = responses.lacking(known)
            fits = fit(known, params)
        if terms.checks:
            check_answerable(name, known, ask, params)
        if not plain and has_address(ask, "audio"):
            raise TargetRefused(name, FILE_ADDRESS)  # this API takes the audio itself
        omitted = fits.omitted + (ask.unsent if plain else uncarried(known, ask)) + terms.overridden
        session = ask.session() if known.session_key else ""
        key = known.session_key if session else ""
        chat = session_key(session, self._secret) if key else ""
        form = structured(ask, known, self._subset, loose=True, beside_tools=self._beside_tools)
        if responding:
            body = responses.request(form.ask, fits, known, self._model, self._issuer, form=form.text_format)
            if chat:
                body[CACHE_KEY] = chat  # a header is for chat completions alone
            reader, bounds = partial(responses.ResponseReader, name), responses.bounds(fits, known)
            return Prepared(self._at_responses, body, reader, omitted, bounds, "responses", options, within=form.sent, output=form.way)
        if messages is None or form.way:
            messages = completions.messages(form.ask, beside(form.ask, self._issuer, terms.takes), known.carries)
        within = form.sent
        if known.marks_from > 0 and is_long(ask, known.marks_from):
            messages, within = mark_messages(messages), (CONTROL, *within)
        tools = completions.tools(ask, known) if ask.tools else {}
        body = {**terms.fields, **tools, "messages": messages, **form.chat}
        asked = self._endpoint
        if key == CACHE_KEY:
            body[CACHE_KEY] = chat
        elif key and key not in options.headers:
            asked = asked.bearing(key, chat)
        return Prepared(asked, body, terms.reader, omitted, terms.bounds, "chat", options, within=within, output=form.way)


def _fields(fits: Fitted, facts: Facts, target: str, *, tools: bool) -> dict[str, Json]:
    """Return the fields of a chat-completions request for the model's name and the parameters. `target`: provider/model."""
    prefix, _, model = target.partition("/")
    names = PROVIDERS[prefix].names
    made: dict[str, Json] = {"model": model.removeprefix(AT_RESPONSES), "stream": True}
    if facts.stream_options:
        made["stream_options"] = {"include_usage": True}
    for name, value in fits.hints.items():
        made[names.get(name, name)] = completions.parameter(name, value)
    if not tools:
        made.pop("parallel_tool_calls", None)
    if fits.effort is not None:
        made["reasoning_effort"] = fits.effort
    if fits.max_tokens is not None and facts.limit != "none":
        made[facts.limit] = fits.max_tokens
    if fits.stop:
        made["stop"] = list(fits.stop)
    return made


class ChatReader(TextFrames):
    """Parser of one chat completion, streamed or complete, which feeds a Speech (the assembler of the answer's events).
    takes: the fields of reasoning that the provider takes back, which are kept for the next request
    """

    decode = msgspec.json.Decoder(TextChunk).decode
    decode_named = msgspec.json.Decoder(NamedTextChunk).decode
    text_of = attrgetter("choices.only.delta.content")
    ends = DONE

    def __init__(self, name: str, speech: Speech, takes: Returns = NOTHING) -> None:
        self.name = name
        self.speech = speech
        self._takes = takes
        self._cited: Sequence[Any] = ()
        """Sources that stand beside the choices, not in the Speech yet."""

    @cached_property
    def _reasoning(self) -> Reasoning:
        """Return the reasoning of the answer, whose states the Speech gets at the end; made with the first piece of it."""
        made = Reasoning(self._takes)
        self.speech.states_at_end = made.states
        return made

    def names(self, frame: NamedTextChunk) -> None:
        """Record the model's name if a frame of text has it."""
        if frame.model:
            self.speech.called(frame.model)

    def frame(self, data: bytes) -> bool:
        """Read the data of one event. Return False for `[DONE]`, otherwise True. Raises TargetError for an error; skips unreadable data."""
        if data != DONE:
            try:
                chunk = DECODE.decode(data) if len(data) <= SMALL else decoded(data, DECODE)
            except NOT_TEXT:
                chunk = decoded(data, DECODE)  # for what the decoder refuses; it would cost all other chunks a call
            if chunk is not None or data.strip() != DONE:
                self._judge(data, chunk)
                return True
        if not self.speech.finished:
            self.speech.finish()
        return False

    def complete(self, body: bytes) -> None:
        """Read a body that is not a stream. Raises TargetError if it is an error, or cannot be read."""
        complete = decoded(body, DECODE)
        self._judge(body, complete)
        if complete is None:
            raise TargetDown(self.name, "malformed")

    def _judge(self, data: bytes, chunk: Chunk | None) -> None:
        """Feed a decoded document to the Speech. Raises TargetError if the document is an error.
        `data` is the document before decoding. If `chunk` is None, it could not be decoded, and is only checked for an error.
        """
        if (
            chunk is None
            or chunk.error is not None
            or not (chunk.choices or chunk.x_groq or (chunk.usage and chunk.usage.prompt_tokens))
            or data.__class__ is ErrorData
        ) and (error := error_in(self.name, data)) is not None:
            raise error
        if chunk is None:
            return
        speech = self.speech
        if speech.model is None and chunk.model:
            speech.called(chunk.model)
        if chunk.search_results or chunk.citations:
            self._cited = chunk.search_results or chunk.citations or ()
        counted = chunk.usage or (chunk.x_groq and chunk.x_groq.usage)
        if counted is not None and counted.prompt_tokens is not None:
            speech.usage(counted.counts(chunk.service_tier))
        for choice in chunk.choices or ():
            if choice.index:
                continue  # another candidate
            if choice.error:
                raise error_in(self.name, data) or TargetDown(self.name, "cut")
            said = choice.delta or choice.message
            if said is not None and said != SILENT and not speech.finished:
                self._said(said)
            if choice.finish_reason:
                if self._cited:
                    self._cite()
                speech.finish(choice.finish_reason)

    def _cite(self) -> None:
        """Pass the sources that stand beside the choices to the Speech, and forget them."""
        for one in self._cited:
            match one:
                case {"url": url, **more}:
                    self.speech.source(shown.page(url, more.get("title")))
                case _:
                    self.speech.source(shown.page(one))
        self._cited = ()

    def _said(self, said: Delta) -> None:
        """Feed a piece to the Speech, and record its reasoning for the next request, in the fields that the provider takes back."""
        speech, content = self.speech, said.content
        if said == Delta(content) and (not content or isinstance(content, str)):
            if content:
                speech.text(content)
            return  # the usual case: nothing else
        if said.reasoning_details:
            self._reasoning.details(said.reasoning_details)
        if (thought := said.reasoning_content or said.reasoning) and isinstance(thought, str):
            self._reasoning.text(TEXTS[0] if said.reasoning_content else TEXTS[1], thought)
            speech.thought(thought)
        if isinstance(content, str):
            speech.text(content)
        elif isinstance(content, list):
            said_in_parts(content, speech)  # pyright: ignore[reportUnknownArgumentType]
        if said.refusal and isinstance(said.refusal, str):
            speech.text(said.refusal)  # the model's own words: the user should see them
        for one in said.annotations or ():
            speech.source(shown.annotation(one))
        for one in said.images or ():
            speech.file(shown.image(one))
        for position, call in enumerate(said.tool_calls or ()):
            function, index = call.function or Function(), position if call.index is None else call.index
            written = function.arguments
            part = written if isinstance(written, str) else json.dumps(written) if isinstance(written, dict) else ""
            speech.call(index, "" if call.id is None else str(call.id), function.name or "", part)
            if call.extra_content:
                speech.state({"extra_content": call.extra_content}, index)


def said_in_parts(parts: list[Any], speech: Speech) -> None:
    """Pass content that is a list of parts to the Speech: texts, thoughts and images. Mistral's thinking models send it."""
    for part in parts:
        match part:
            case {"type": "text", "text": str(text)}:
                speech.text(text)
            case {"type": "thinking", "thinking": [{"text": str(text)}]}:
                speech.thought(text)
            case {"type": "image_url"}:
                speech.file(shown.image(part))
            case _:
                pass

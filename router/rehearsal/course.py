"""The course of a rehearsal: the questions in their order, and what each answer or refusal shows.

The plain question comes first: if it is not answered, no other is asked. Every later one differs from it in one thing. So a refusal
that names no parameter is about that thing. A refusal that names one is learned from as always (`router.targets.learned`), and the fact
that was learned is a finding. No provider's words are kept: an error is its category.
"""

import math
import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Literal, cast

from router.chat import Ask, Json, Message, Result
from router.config.declaration import TargetConfig
from router.config.facts import FactsConfig
from router.config.values import written_duration
from router.errors import TargetSilent
from router.events import Usage
from router.failover.rescue import prefilled, wished
from router.rehearsal import questions
from router.rehearsal.estimate import MAX_CALLS, room
from router.rehearsal.findings import HINTS, NAMES, Finding, changed, declarable, facts_line
from router.rehearsal.heard import ACCOUNT, Clock, Heard, hear
from router.rehearsal.questions import QUESTIONS, SAID, Question, Verdict
from router.targets import Facts, Target
from router.targets.providers import variable
from router.value import Mutable, Value, field, replace

DEADLINE = 60.0
"""Seconds for one question, its repetitions included."""
FAILURES = 3
"""Questions in a row that fail for other reasons than a refusal; after that many the rehearsal ends."""
FULL = 0.9
"""Share of the limit that an answer must reach to count as cut at it, and not at a smaller limit of the model's own."""
INSISTS = Verdict("it insists on the reasoning before each call", {"returns": "reasoning_content"})
State = Literal["works", "wrong", "refused", "failed", "skipped"]


class QuestionOutcome(Value, frozen=True):
    """The outcome of one question of a rehearsal.

    state: works; wrong (answered, but not as asked); refused; failed (the provider, or the connection); skipped (not asked)
    outcome: `ok`, the category of the error, or the reason that it was skipped
    learned: what a refusal taught, in the words of the admin pages
    first_token: seconds until the answer began; None if it did not
    """

    question: str
    state: State
    outcome: str = "ok"
    omitted: tuple[str, ...] = ()
    learned: tuple[str, ...] = ()
    first_token: float | None = None


class Rehearsed(Value, frozen=True):
    """The result of a rehearsal.

    facts: what the target's `facts` should hold, declared ones included; empty if nothing is to be written
    used: tokens, as far as the provider counted them
    first_token: the median over the answers, in seconds; None without an answer
    """

    asked: tuple[QuestionOutcome, ...]
    findings: tuple[Finding, ...]
    facts: Mapping[str, Json]
    calls: int
    used: Usage
    first_token: float | None

    @property
    def answers(self) -> bool:
        """Return whether the plain question was answered."""
        return bool(self.asked) and self.asked[0].state == "works"


class Course(Mutable):
    """A rehearsal of one target while it runs: asks the questions and collects findings. For one call of `run`.

    open: opens the target with another declaration; all that it opens share one `Learned`
    patience: seconds to the first token for which the routes that ask the target wait
    clock: seconds that never go backwards
    deadline: seconds for each question
    """

    name: str
    declared: TargetConfig
    open: Callable[[TargetConfig], Target]
    patience: float
    clock: Clock = time.monotonic
    deadline: float = DEADLINE
    _asked: list[QuestionOutcome] = field(default_factory=list[QuestionOutcome])
    _findings: list[Finding] = field(default_factory=list[Finding])
    _facts: dict[str, Json] = field(default_factory=dict[str, Json])
    """Facts that were found without a refusal that taught them."""
    _calls: int = 0
    """Questions that were asked, without the repetitions."""
    _used: Usage = field(default_factory=Usage)
    _times: list[float] = field(default_factory=list[float])
    _called: tuple[Ask, Heard] | None = None
    """A question that was answered with a call, and the answer: the conversation of the second round."""
    _failures: int = 0
    _unreasoned: bool = False
    """True once no effort is sent any more."""

    async def run(self) -> Rehearsed:
        """Ask the questions until the plain one is not answered, the account is refused, or FAILURES fail in a row. Return the result."""
        target = self.open(self.declared)
        spare = MAX_CALLS - len(QUESTIONS)
        target.learned.repeats_left = spare
        if target.ready is not None:
            await target.ready()  # a library is imported: that is no time of the target's
        for question in QUESTIONS:
            if why := self._skipped(question, target):
                self._asked.append(QuestionOutcome(question.name, "skipped", why))
                continue
            await self._ask(question, target)
            if self._asked[0].state != "works" or self._asked[-1].outcome in ACCOUNT or self._failures >= FAILURES:
                break
        self._record_slow()
        calls = self._calls + int(spare - target.learned.repeats_left)
        first = median(self._times) if self._times else None
        return Rehearsed(tuple(self._asked), tuple(self._findings), self._to_write(target), calls, self._used, first)

    def _skipped(self, question: Question, target: Target) -> str:
        """Return why a question is not asked: `no_tools`, `no_images`, `no_effort` or `no_call`; empty if it is asked."""
        known = target.learned.over(target.facts)
        takes_tools = known.tools and self._facts.get("tools", True)
        if question.ask.tools and not takes_tools:
            return "no_tools"
        if question.name == "image" and known.images is False:
            return "no_images"
        if question is questions.THINKING_TOOL and (
            self._unreasoned or known.thinking == "none" or "reasoning_effort" in known.refuses or self._called is None
        ):
            return "no_effort" if takes_tools and self._called else "no_call"
        return "no_call" if question is questions.ROUNDS and self._called is None else ""

    async def _ask(self, question: Question, target: Target) -> None:
        """Ask one question, and record its outcome and findings."""
        before = target.learned.over(target.facts)
        ask = self._compose(question, target)
        heard = await self._hear(target, ask)
        self._record_learned(question, before, target.learned.over(target.facts))
        state: State = "works"
        if heard.refused:
            state = await self._judge_refusal(question, ask, target, heard)
        elif heard.error is not None:
            state = "failed"
            if question is questions.PLAIN:
                self._record_remedy(heard)
        elif (verdict := self._verdict(question, ask, heard)) is not None:
            state = "wrong"
            self._record_verdict(question, verdict)
        self._failures = self._failures + 1 if state == "failed" else 0
        if question.ask.params.reasoning_effort and ("reasoning_effort" in heard.omitted or state == "refused"):
            self._unreasoned = True
        if question in (questions.TOOL, questions.THINKING_TOOL) and state == "works":
            self._called = (ask, heard)
        taught = {one.partition(":")[0] for one in heard.learned}
        omitted = tuple(one for one in heard.omitted if one not in taught)
        self._asked.append(QuestionOutcome(question.name, state, heard.outcome, omitted, heard.learned, heard.first_token))

    def _record_learned(self, question: Question, before: Facts, after: Facts) -> None:
        """Add a finding for each fact that differs between before and after a question: a refusal taught it."""
        old = declarable(before)
        for name, value in changed(before, after).items():
            known = cast("list[Json]", old[name]) if name == "refuses" else []
            new = [one for one in value if one not in known] if isinstance(value, list) else value
            self._findings.append(Finding(question.name, f"the router learned `{name}` from a refusal", line=facts_line({name: new})))

    async def _hear(self, target: Target, ask: Ask) -> Heard:
        self._calls += 1
        heard = await hear(target, ask, self.deadline, self.clock)
        if heard.usage is not None:
            self._used += heard.usage
        if heard.first_token is not None:
            self._times.append(heard.first_token)
        return heard

    def _compose(self, question: Question, target: Target) -> Ask:
        """Return a question as it is sent: with a token limit, and, where it continues an earlier answer, with that answer."""
        ask = question.ask
        if question is questions.ROUNDS and self._called is not None:
            ask, heard = self._called
            results = tuple(Result(one.call_id, one.name, "4°C, rain") for one in heard.calls)
            ask = ask.with_messages(*ask.messages, heard.as_message(), Message("tool", results))
        elif question is questions.FOREIGN and not self._unreasoned:
            ask = replace(ask, params=questions.LOW)
        elif question is questions.CONTINUE:
            ask = prefilled(ask, SAID) if target.prefill else wished(ask, SAID)
        if ask.params.max_tokens is None:
            ask = replace(ask, params=replace(ask.params, max_tokens=room(target.facts)))
        return ask

    async def _judge_refusal(self, question: Question, ask: Ask, target: Target, heard: Heard) -> State:
        """Return the state of a refused question (`works` if another form of it is answered), and add the finding that follows."""
        if question is questions.PLAIN:
            self._record_remedy(heard)
        elif question in (questions.ROUNDS, questions.FOREIGN):
            if "returns" in self._facts or await self._insists(target, ask):
                if "returns" not in self._facts:
                    self._record_verdict(question, INSISTS)
                return "works"
        elif question is questions.CONTINUE and target.prefill and self._take_repeat(target):
            again = await self._hear(target, replace(wished(question.ask, SAID), params=ask.params))
            if again.error is None:
                self._record_verdict(question, Verdict("it does not go on from the assistant's last words", {"prefill": False}))
                return "works" if question.judge(again) is None else "wrong"
        elif question.refused is not None:
            self._record_verdict(question, question.refused)
        return "refused"

    def _take_repeat(self, target: Target) -> bool:
        """Take one of the calls left for repetitions. Return False if none is left."""
        if target.learned.repeats_left < 1:
            return False
        target.learned.repeats_left -= 1
        self._calls -= 1  # it counts among the repetitions
        return True

    async def _insists(self, target: Target, ask: Ask) -> bool:
        """Ask the question again with reasoning, or a placeholder, beside each call it repeats. Return whether that is answered.

        Return False without asking if no repetition is left, in another lane than `openai`, or if the target is sent its reasoning anyway.
        """
        if target.lane != "openai" or target.facts.returns or not self._take_repeat(target):
            return False
        facts = replace(self.declared.facts or FactsConfig(), returns="reasoning_content")
        return (await self._hear(self.open(replace(self.declared, facts=facts)), ask)).error is None

    def _verdict(self, question: Question, ask: Ask, heard: Heard) -> Verdict | None:
        """Return the fault that an answer shows; None without one. An answer cut at the course's limit is not judged, except the plain one.

        An answer cut well below the limit is not judged either: a finding with the model's own limit is recorded.
        """
        most = ask.params.max_tokens or 0
        if heard.reason == "length" and question.ask.params.max_tokens is None:
            written = heard.usage.output_tokens if heard.usage else most
            if not 0 < written < FULL * most or heard.thoughts:
                return None if question is not questions.PLAIN else questions.says_something(heard)
            if "max_output" not in self._facts:
                self._record_verdict(question, Verdict("its answers are cut at a limit of its own", {"max_output": written}))
            return None
        return question.judge(heard)

    def _record_verdict(self, question: Question, verdict: Verdict) -> None:
        """Record a verdict's facts and a finding, which is about routes if the verdict has a line for them, else about the target."""
        facts = dict(verdict.facts)
        if "refuses" in facts:
            facts["refuses"] = [*cast("list[Json]", self._facts.get("refuses", [])), *cast("list[Json]", facts["refuses"])]
        self._facts |= facts
        line = f"{verdict.route}: 10" if verdict.route else facts_line(verdict.facts) if verdict.facts else ""
        self._findings.append(Finding(question.name, verdict.sentence, "route" if verdict.route else "target", line))

    def _record_remedy(self, heard: Heard) -> None:
        """Add a finding for a plain question without an answer: the fault, and the line of routes.yaml to correct."""
        line = remedy(heard, self.declared)
        sentence = REMEDIES.get(heard.outcome, "it does not answer")
        late = isinstance(heard.error, TargetSilent) and heard.outcome not in ("timeout_connect", "proxy_timeout")
        self._findings.append(Finding(questions.PLAIN.name, sentence, "route" if late else "target", line))

    def _record_slow(self) -> None:
        """Add a finding with a longer timeout if the slowest first token came later than the routes wait."""
        slowest = max(self._times, default=0.0)
        if slowest > self.patience:
            enough = written_duration(float(math.ceil(1.5 * slowest)))
            sentence = f"it began to answer after {slowest:.3g} s; routes wait {written_duration(self.patience)}"
            self._findings.append(Finding(questions.PLAIN.name, sentence, "route", f"timeout: {{first_token: {enough}}}"))

    def _to_write(self, target: Target) -> dict[str, Json]:
        """Return the declared facts of the target, updated with those learned and found; empty if nothing was learned or found."""
        taught = target.learned.over(target.facts)
        found = {**changed(target.facts, taught), **self._facts}
        if not found:
            return {}
        if "refuses" in found:
            refused = {*cast("list[str]", declarable(taught)["refuses"]), *cast("list[str]", self._facts.get("refuses", []))}
            found["refuses"] = [one for one in HINTS if one in refused]
        own: dict[str, Json] = {name: value for name in NAMES if (value := getattr(self.declared.facts, name, None)) is not None}
        return {**{name: list(value) if isinstance(value, tuple) else value for name, value in own.items()}, **found}


REMEDIES = {
    "status_401": "the key is refused",
    "status_402": "the account has no credit",
    "status_403": "the key has no access to the model",
    "status_404": "there is no such model at this address",
    "connection": "nothing answers at this address",
    "timeout_connect": "nothing answers at this address",
    "tls": "the certificate of this address is not trusted",
    "proxy_login": "the proxy on the way refuses its credentials",
    "proxy_denied": "the proxy on the way does not lead to this address",
    "proxy_tls": "the certificate of the proxy on the way is not trusted",
    "proxy_gateway": "the proxy on the way cannot reach this address",
    "proxy_connection": "no proxy answers on the way",
    "proxy_timeout": "the proxy on the way opened no connection in time",
    "redirect": "this address leads to another one, and no redirect is followed",
    "timeout_first_token": "it did not begin to answer in time",
    "timeout_total": "its answer did not end in time",
}
"""Outcome of the plain question → the fault."""


def remedy(heard: Heard, declared: TargetConfig) -> str:
    """Return the line of the declaration to correct after this failure, with placeholders for a key or address; empty if no line helps."""
    if heard.outcome in ("status_401", "status_403"):
        return f"api_key: ${{{variable(str(declared.model).partition('/')[0])}}}"
    if heard.outcome in ("connection", "timeout_connect", "tls", "redirect"):
        return "api_base: http://host:port/v1"
    return f"model: {declared.model}" if heard.outcome == "status_404" else ""

"""Lessons from a target's refusals, which correct the facts about its model for later questions."""

import logging
import math
from collections.abc import Collection, Sequence
from functools import reduce

from router.targets.facts import Facts
from router.targets.refusal import Lesson, blamed, lesson
from router.value import Mutable, field

MAX_LESSONS_PER_QUESTION = 4
"""Retries of one question at a target to leave out refused parameters."""
MAX_LESSONS = 32
"""Lessons that are kept for one target: more than a request has parameters."""
FILES = ("images", "documents", "audio")
"""Lessons about files, not parameters: a question with such a file goes to other targets."""
OURS = frozenset({"prompt_cache_key", "cache_control"})
"""Fields that the router adds for prompt caching, and that no question contains."""
log = logging.getLogger("router.targets")


class Learned:
    """The lessons of one target: parameters and files that it refused. Kept over reloads that leave the target unchanged."""

    def __init__(self) -> None:
        self._lessons: dict[str, Lesson] = {}
        self._taught: tuple[Facts, Facts] | None = None
        self._own: dict[str, None] = {}
        """Refused fields of the target's own `body`: each is logged once. An empty set would take 216 bytes for each target."""
        self.repeats_left = math.inf
        """Retries that are still allowed for learning at this target; limited only in a rehearsal."""

    def over(self, facts: Facts) -> Facts:
        """Return the facts of the target's model, corrected by these lessons."""
        if not self._lessons:
            return facts
        if self._taught is None or self._taught[0] is not facts:
            self._taught = (facts, reduce(lambda taught, one: one.applied(taught), self._lessons.values(), facts))
        return self._taught[1]

    @property
    def sentences(self) -> Sequence[str]:
        """Return the lessons for pages: `temperature` if it is left out, `max_tokens:cut` if it is handled differently."""
        return [str(one) for one in self._lessons.values()]

    def own_refused(self, target: str, name: str) -> None:
        """Log once that a field of the target's own `body` was refused. The field is still sent, because the operator declared it."""
        if name not in self._own and len(self._own) < MAX_LESSONS:
            self._own[name] = None
            log.warning("a provider refused a field of the target's own `body`", extra={"fields": {"target": target, "field": name}})

    def keep(self, target: str, lessons: Collection[Lesson]) -> None:
        """Add lessons for later questions, and log each new one as a warning. Beyond MAX_LESSONS new ones are ignored."""
        for one in lessons:
            if str(one) not in self._lessons and len(self._lessons) < MAX_LESSONS:
                self._lessons[str(one)] = one
                self._taught = None
                fields = {"target": target, "parameter": one.parameter, "instead": one.instead or None}
                log.warning(
                    "a model refused files of this sort: they are not sent again"
                    if one.parameter in FILES
                    else "a model refused a parameter: it is not sent again",
                    extra={"fields": fields},
                )


class Pupil(Mutable):
    """The lessons of one question's refusals at a target, and the facts for its next attempt. Made for each question.
    facts: the facts of the next attempt
    lessons: lessons from refusals of this question; empty for nearly all questions
    """

    _target: str
    facts: Facts
    _learned: Learned
    lessons: list[Lesson] = field(default_factory=list[Lesson])
    _retries: int = 0

    def refused(self, status: int, body: str, sent: Collection[str], own: Collection[str] = ()) -> bool:
        """Learn from a refusal, and correct `facts`; return True if the question is to be sent again with them.
        False if nothing new is learned, or the retries are used up. `sent`: the fields of the request that the router wrote.
        `own`: the fields of the target's own `body`, about which nothing is learned.
        """
        if own and (name := blamed(status, body, {*sent, *own})) in own and name not in sent:
            self._learned.own_refused(self._target, str(name))
            return False
        if self._learned.repeats_left < 1:
            return False
        found = lesson(status, body, sent, self.facts)
        if found is None or any(str(one) == str(found) for one in self.lessons):
            return False
        if self._retries >= MAX_LESSONS_PER_QUESTION:
            self.answered()  # each retry met another refusal: the next question starts with these lessons
            return False
        self._learned.repeats_left -= 1
        self._retries += 1
        self.lessons.append(found)
        self.facts = found.applied(self.facts)
        return True

    def answered(self) -> None:
        """Add this question's lasting lessons to the target's, and clear `learned`: the target accepted it, or its retries are used up."""
        if self.lessons:
            self._learned.keep(self._target, [one for one in self.lessons if one.lasting])
            self.lessons.clear()

    @property
    def learned(self) -> tuple[str, ...]:
        """Return the question's parameters that its own refusals taught not to send as asked; fields that the router adds are left out."""
        return tuple(dict.fromkeys([one.parameter for one in self.lessons if one.parameter not in OURS]))

"""A rehearsal: about a dozen small questions to one target, to learn what its model accepts before it answers users."""

from router.rehearsal.course import MAX_CALLS, Course, QuestionOutcome, Rehearsed
from router.rehearsal.estimate import Estimate, estimate
from router.rehearsal.findings import facts_line
from router.rehearsal.questions import QUESTIONS

__all__ = ["MAX_CALLS", "QUESTIONS", "Course", "Estimate", "QuestionOutcome", "Rehearsed", "estimate", "facts_line"]

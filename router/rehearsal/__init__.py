"""A rehearsal: about a dozen small questions to one target, to learn what its model accepts before it answers users.

questions.py   the questions, and what a right answer is
heard.py       one answer, collected
findings.py    the findings, as lines of routes.yaml
course.py      the order of the questions, the bound of the calls, what each answer or refusal shows
"""

from router.rehearsal.course import MAX_CALLS, Course, QuestionOutcome, Rehearsed
from router.rehearsal.estimate import Estimate, estimate
from router.rehearsal.findings import Finding, facts_line
from router.rehearsal.heard import Heard
from router.rehearsal.questions import QUESTIONS, Question

__all__ = [
    "MAX_CALLS", "QUESTIONS", "Course", "Estimate", "Finding", "Heard", "Question", "QuestionOutcome", "Rehearsed", "estimate",
    "facts_line",
]  # fmt: skip

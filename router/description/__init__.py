"""A configuration as plain JSON, nothing secret in it; and what the change from one to another means.

    describe(declaration)    → Description: what is served, with what is left out filled in, each value spelled in one way
    changes(before, after)   → what it means that one becomes the other: a sentence each

A description needs no environment: `${VAR}` stays `${VAR}`. So it can be made where no key is set, and shown.
"""

from router.description.canonical import listing, shown, table
from router.description.changes import changes
from router.description.described import Description, conditions, describe, pools, tool_sets, understood
from router.description.sentences import Change, sentences, worded

__all__ = [
    "Change",
    "Description",
    "changes",
    "conditions",
    "describe",
    "listing",
    "pools",
    "sentences",
    "shown",
    "table",
    "tool_sets",
    "understood",
    "worded",
]

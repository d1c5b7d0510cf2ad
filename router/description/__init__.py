"""Descriptions of configurations: plain JSON without secrets (`describe`), and sentences for the change from one to another (`changes`).

A description needs no environment: `${VAR}` stays `${VAR}`. It can be made where no key is set, and can be shown.
"""

from router.description.canonical import listing, shown, table
from router.description.changes import changes
from router.description.described import Description, conditions, describe, pipelines_of, pools, tool_sets, understood
from router.description.sentences import sentences, worded

__all__ = [
    "Description", "changes", "conditions", "describe", "listing", "pipelines_of", "pools", "sentences", "shown", "table", "tool_sets",
    "understood", "worded",
]  # fmt: skip

"""Explanations of YAML errors, with advice: libyaml's own messages name neither the mistake nor the remedy."""

import re
from collections.abc import Sequence

import yaml

UNSPACED = re.compile(r"\s*(?:- +)?(?P<key>[A-Za-z_][\w-]*):(?=[^\s:/\\\d])")
"""A key of the block form whose value follows the colon at once."""
REFERENCE = re.compile(r"(?<![\"'\w])\$\{(?P<body>[^{}\s]*)")
"""A `${NAME}` without quotes."""
KEY_AND_VALUE = re.compile(r"\s*(?:- +)?[^\s#'\"{\[][^#'\"{\[]*?:\s+\S")
NO_START = {"while scanning an alias": "`*` begins an alias", "while scanning an anchor": "`&` begins an anchor"}
"""libyaml's context of an error → words for the character that misled it."""


def explained(error: yaml.MarkedYAMLError, text: str) -> tuple[int, int, str]:
    """Return (line, column, advice) for a YAML error, counted from 1. The advice repeats no value of the text."""
    lines = text.splitlines()
    at = _place(error.problem_mark or error.context_mark)
    began = _place(error.context_mark) if error.context_mark else at
    problem, context = error.problem or "syntax error", error.context or ""
    line = _line(lines, at[0])
    indent = line[: len(line) - len(line.lstrip())]
    if "\t" in indent or line[at[1] - 1 : at[1]] == "\t":
        return at[0], indent.find("\t") + 1 or at[1], "indent with spaces, not tabs"
    if context.endswith("quoted scalar"):
        if "escape" in problem:
            return *at, "in double quotes a backslash begins an escape: write it twice, or use single quotes"
        return *began, "the quote that begins here is not closed: write its other half"
    if context in NO_START:
        return *began, f"{NO_START[context]}: put the value in quotes"
    if "cannot start any token" in problem:
        character = line[at[1] - 1 : at[1]]
        return *at, f"a value cannot begin with {'a backtick' if character == '`' else f'`{character}`'}: put it in quotes"
    in_block = problem.startswith("mapping values") or problem == "could not find expected ':'"
    for number in range(max(1, began[0] - 1), at[0] + 1 if in_block else 0):
        if hit := UNSPACED.match(_line(lines, number)):
            key = hit["key"]
            return number, hit.start("key") + 1, f"a space is missing after the colon of `{key}`: write `{key}: …`"
    if context in ("while parsing a flow mapping", "while parsing a flow sequence"):
        return _flow(line, at, began, context)
    if problem.startswith("mapping values"):
        return _second_colon(lines, line, at)
    if problem == "could not find expected ':'":
        return *began, "a key needs a colon behind it, and a list's entry `- ` before it"
    if problem.startswith("did not find expected key"):
        # Either the line belongs to no mapping, or it is text behind a value that has ended.
        if line[: at[1] - 1].strip():
            return *at, "the value has ended before this: put all of it in quotes, or take one bracket away"
        if line[at[1] - 1 : at[1]] == "-":
            return *at, "a list's entry stands among the keys of a mapping: give the list a key, and indent it"
        return *at, f"this line lines up with none above it: indent it by {began[1] - 1} spaces, or as the line above"
    if problem.startswith("did not find expected '-'"):
        return *at, "this line stands in a list: begin it with `- `, or indent it as the keys of the entry above"
    if problem.startswith("did not find expected node content"):
        return *at, "a value is missing before this, or a bracket is not closed"
    return *at, problem


def _place(mark: yaml.Mark | None) -> tuple[int, int]:
    return (mark.line + 1, mark.column + 1) if mark else (1, 1)


def _line(lines: Sequence[str], number: int) -> str:
    return lines[number - 1] if 0 < number <= len(lines) else ""


def _flow(line: str, at: tuple[int, int], began: tuple[int, int], context: str) -> tuple[int, int, str]:
    """Return (line, column, advice) for a mistake between `{` and `}`, or `[` and `]`."""
    opening, closing = ("{", "}") if context.endswith("mapping") else ("[", "]")
    if hit := REFERENCE.search(line[: at[1] + 1]):
        name = re.match(r"[A-Za-z_]\w*", line[hit.start("body") :]) or ["NAME"]
        return at[0], hit.start() + 1, f'between {opening} and {closing} a reference stands in quotes: write "${{{name[0]}}}"'
    if at[0] > began[0]:
        return *began, f"the `{opening}` that begins here is not closed before line {at[0]}: write `{closing}`"
    return *at, (
        f"a `,` or the `{closing}` of column {began[1]} is missing before this; put a value that holds `: `, `,` or a bracket in quotes"
    )


def _second_colon(lines: Sequence[str], line: str, at: tuple[int, int]) -> tuple[int, int, str]:
    """Return (line, column, advice) for a colon where no key can stand: within a value, or in a line that is indented too far."""
    if KEY_AND_VALUE.match(line[: at[1] - 1]):
        return *at, "put a value that holds `: ` in quotes, and two keys on two lines"
    indent = len(line) - len(line.lstrip())
    above = next((one for one in reversed(lines[: at[0] - 1]) if one.strip() and not one.lstrip().startswith("#")), "")
    wanted = len(above) - len(above.lstrip())
    if above and indent > wanted:
        return at[0], indent + 1, f"this line is indented by {indent} spaces, below a key that has its value already: indent it by {wanted}"
    return *at, "a colon with a space makes a key, and none can stand here: put the value in quotes"

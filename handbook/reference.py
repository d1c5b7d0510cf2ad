"""The reference, made from the code: keys of the YAML files, commands, error codes and metrics."""

import argparse
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from prometheus_client.parser import text_string_to_metric_families

from router.commands import COMMANDS, command, parser
from router.config.schema import drills_schema, routes_schema
from router.errors import Refused, RouterError, TargetError, ToolError
from router.journal.metrics import Metrics

Node = Mapping[str, Any]

MADE = "<!-- Made by `make pages` from the code. Do not edit. -->\n"


def keys() -> str:
    """Return the page of all keys of routes.yaml and drills.yaml, from their JSON schemas."""
    text = f"""\
# Keys of the YAML files

{MADE}
Every key of `routes.yaml` and `drills.yaml`, with its type, its default and its range. `router check` and editors use the same data. Use
this page to look up a key whose name you know. [routes.md](../routes.md) and [drills.md](../drills.md) explain the keys with examples.

A section is one kind of mapping. The first, RoutesFile, is `routes.yaml` itself; the last, DrillFile, is `drills.yaml`. An empty default
means that the key may be left out.

"""
    routes, drills = (cast("dict[str, Node]", schema()["$defs"]) for schema in (routes_schema, drills_schema))
    for name, node in {**routes, **drills, **routes}.items():
        text += f"## {name}\n\n{_sentence(node.get('description', ''))}\n\n| key | type | default | meaning |\n|---|---|---|---|\n"
        required = node.get("required", ())
        for key, value in cast("dict[str, Node]", node.get("properties", {})).items():
            default = "required" if key in required else _default(value)
            text += f"| `{key}` | {_cell(_type(value))} | {default} | {_cell(value.get('description', ''))} |\n"
        text += "\n"
    return text.rstrip("\n") + "\n"


def _default(node: Node) -> str:
    if "default" not in node:
        return ""
    value = node["default"]
    return f"`{value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}`" if value not in ("", [], {}) else "none"


def _type(node: Node) -> str:
    """Return a schema's type in words: a link to its mapping, its allowed values, or its kind with the range."""
    if "$ref" in node:
        name = str(node["$ref"]).rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in node:
        return ", or ".join(dict.fromkeys(map(_type, node["anyOf"])))
    if "const" in node:
        return f"`{node['const']}`"
    if "enum" in node:
        return ", ".join(f"`{one}`" for one in node["enum"])
    match node.get("type"):
        case "array":
            return f"list of {_grouped(node['items'])}" if "items" in node else "list"
        case "object":
            more = node.get("additionalProperties")
            return f"mapping of names to {_grouped(cast('Node', more))}" if isinstance(more, Mapping) and more else "mapping"
        case "string":
            return f"text, e.g. `{node['examples'][0]}`" if node.get("examples") else "text"
        case "boolean":
            return "true or false"
        case "integer":
            return "whole number" + _range(node)
        case "number":
            return "number" + _range(node)
        case _:
            return "any value"


def _grouped(node: Node) -> str:
    """Return a schema's type in words, in brackets if it is one of several."""
    return f"({_type(node)})" if "anyOf" in node else _type(node)


def _range(node: Node) -> str:
    low, high = node.get("minimum", node.get("exclusiveMinimum")), node.get("maximum")
    if low is None and high is None:
        return ""
    if high is None:
        return f", {'above' if 'exclusiveMinimum' in node else 'at least'} {low}"
    return f", {low} to {high}" if low is not None else f", at most {high}"


def _cell(text: str) -> str:
    """Return a text as one table cell: pipes and angle brackets are escaped."""
    plain = re.sub(r"\s+", " ", text).strip().replace("|", "\\|")
    return re.sub(r"(`[^`]*`)|<", lambda hit: hit[1] or "&lt;", plain)


def _sentence(text: str) -> str:
    """Return a text with a capital first letter and a full stop."""
    plain = _cell(text)
    return plain if not plain else plain[0].upper() + plain[1:] + ("" if plain.endswith((".", ":")) else ".")


def commands() -> str:
    """Return the page of all commands, from their parsers and docstrings."""
    text = f"""\
# Options of the command line

{MADE}
Every command with its arguments and options, as its `--help` prints them. Square brackets mark an argument that may be left out.
[commands.md](../commands.md) explains the purpose of each command, and shows what it prints.

"""
    known: dict[str, argparse.ArgumentParser] = next(one for one in _actions(parser()) if one.dest == "command").choices  # type: ignore[assignment]
    for name in COMMANDS:
        words, _, more = (command(name).__doc__ or "").strip().partition("\n\n")
        text += f"## router {name}\n\n{_cell(words)}\n\n| argument | meaning |\n|---|---|\n"
        for action in _actions(known[name]):
            if action.nargs == argparse.PARSER:  # commands below this one
                commands_below = cast("Mapping[str, argparse.ArgumentParser]", action.choices)
                for word, below in commands_below.items():
                    text += "".join(f"| `{word}` {_spelled(one)} | {_cell(_help(one))} |\n" for one in _actions(below))
            else:
                text += f"| {_spelled(action)} | {_cell(_help(action))} |\n"
        text += f"\n```text\n{more.strip()}\n```\n\n"
    return text.rstrip("\n") + "\n"


def _actions(made: argparse.ArgumentParser) -> Sequence[argparse.Action]:
    """Return the arguments and options of a parser, except `--help`."""
    return [one for one in made._actions if one.dest != "help"]  # noqa: SLF001 - argparse has no public list of them


def _spelled(action: argparse.Action) -> str:
    """Return a command-line argument as it is typed: its options, then its value."""
    values = "|".join(map(str, action.choices)) if action.choices is not None else ""
    value = "" if action.nargs == 0 else values or (action.metavar if isinstance(action.metavar, str) else action.dest.upper())
    names = ", ".join(action.option_strings)
    if not names:
        value = f"[{value}]" if action.nargs in ("?", "*") else value
    return _cell(f"`{' '.join(filter(None, (names, value)))}`")


def _help(action: argparse.Action) -> str:
    words = (action.help or "").replace("%%", "%")
    return words.replace("%(default)s", str(action.default))


def errors() -> str:
    """Return the page of all error codes that clients can receive, from the classes of router/errors.py."""
    text = f"""\
# Error codes

{MADE}
Every error code with its HTTP status and its default sentence, for those who write a client. [wire.md](../wire.md#errors) says when each
code is sent.

| code | status | sentence | meaning |
|---|---|---|---|
"""
    seen: set[str] = set()
    for kind in _below(RouterError):
        if kind.code in seen or issubclass(kind, TargetError | ToolError) or kind is Refused:
            continue
        seen.add(kind.code)
        text += f"| `{kind.code}` | {kind.status} | {_cell(kind.sentence)} | {_cell((kind.__doc__ or '').partition(chr(10))[0])} |\n"
    return text


def _below(kind: type[RouterError]) -> Iterator[type[RouterError]]:
    """Yield an error class and all its subclasses of the same module, in the order of their definition."""
    yield kind
    for one in kind.__subclasses__():
        if one.__module__ == kind.__module__:
            yield from _below(one)


def metrics() -> str:
    """Return the page of all counters and histograms, from the registry that counts them."""
    text = f"""\
# Counters and histograms

{MADE}
The counters and histograms of `GET /metrics`, for those who build dashboards and alerts. [observability.md](../observability.md#metrics)
has their labels, and the gauges. `router_redis_departures_total` is left out here: it exists only with a Redis.

| name | type | meaning |
|---|---|---|
"""
    families = text_string_to_metric_families(Metrics().text(()).decode())
    for family in sorted(families, key=lambda one: one.name):
        if family.type != "gauge":
            name = f"{family.name}_total" if family.type == "counter" else family.name
            text += f"| `{name}` | {family.type} | {_cell(family.documentation)} |\n"
    return text

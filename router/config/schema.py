"""routes.schema.json and drills.schema.json: what editors complete and check the two files with, made from the declaration."""

from typing import Any, cast

from router.config.declaration import Defaults, DrillFile, Route, Routes
from router.signature import record_of, schema


def routes_schema() -> dict[str, object]:
    """The JSON schema of routes.yaml. A text that holds `${…}` may stand for any scalar: it is known only when it is loaded."""
    definitions: dict[str, object] = {}
    root = schema(record_of(Routes), definitions)
    route = cast("dict[str, Any]", definitions[record_of(Route).name])
    own = cast("dict[str, dict[str, object]]", route["properties"])
    route["required"].remove("pipeline")
    route |= {"if": {"properties": {"kind": {"const": "embeddings"}}, "required": ["kind"]}, "then": {}, "else": {"required": ["pipeline"]}}
    for item in record_of(Defaults).fields:
        own[item.name].pop("default", None)  # a route that says nothing has what `defaults` says
    return _document("routes.yaml", root, definitions)


def drills_schema() -> dict[str, object]:
    """The JSON schema of drills.yaml."""
    definitions: dict[str, object] = {}
    return _document("drills.yaml", schema(record_of(DrillFile), definitions), definitions)


def _document(title: str, root: dict[str, object], definitions: dict[str, object]) -> dict[str, object]:
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **root, "$defs": definitions}

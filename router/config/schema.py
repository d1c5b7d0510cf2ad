"""JSON schemas of routes.yaml and drills.yaml, made from the declaration: editors complete and check the files with them."""

from typing import Any, cast

from router.config.declaration import Defaults, Route, RoutesFile
from router.config.drills import DrillFile
from router.signature import record_of, schema

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def routes_schema() -> dict[str, object]:
    """Return the JSON schema of routes.yaml. A text with `${…}` may stand for any scalar: its value is known only at load."""
    definitions: dict[str, object] = {}
    root = schema(record_of(RoutesFile), definitions)
    route = cast("dict[str, Any]", definitions[record_of(Route).name])
    own = cast("dict[str, dict[str, object]]", route["properties"])
    route["required"].remove("pipeline")
    route |= {"if": {"properties": {"kind": {"const": "embeddings"}}, "required": ["kind"]}, "then": {}, "else": {"required": ["pipeline"]}}
    for item in record_of(Defaults).fields:
        own[item.name].pop("default", None)  # a route without it has the value of `defaults`
    return {"$schema": DIALECT, "title": "routes.yaml", **root, "$defs": definitions}


def drills_schema() -> dict[str, object]:
    """Return the JSON schema of drills.yaml."""
    definitions: dict[str, object] = {}
    return {"$schema": DIALECT, "title": "drills.yaml", **schema(record_of(DrillFile), definitions), "$defs": definitions}

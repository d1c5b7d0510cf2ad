"""Helm as a program: renders or lints a chart. It is run by the Python that has Helm's SDK installed.

stdin: {"do": "render" | "lint", "chart": path, "values": {…}}; stdout: {"files": {name: text}}, {"errors": […]} or {"refused": why}.
"""

import json
import sys
from typing import Any

import helm_python as helm  # pyright: ignore[reportMissingImports]


def answered(wish: dict[str, Any]) -> dict[str, Any]:
    """Return the object that is written to stdout for this object of stdin."""
    found: Any = helm
    if wish["do"] == "lint":
        return {"errors": found.lint(wish["chart"], wish["values"], strict=True)["errors"]}
    try:
        with found.Chart.load(wish["chart"]) as chart:
            chart.validate_schema(wish["values"])
            return {"files": chart.render(wish["values"], name="pointsman", namespace="chat")}
    except found.HelmError as error:
        return {"refused": str(error)}


sys.stdout.write(json.dumps(answered(json.load(sys.stdin))))

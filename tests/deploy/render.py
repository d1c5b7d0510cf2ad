"""Helm, as a program: renders a chart, or lints it. It is run by the Python that Helm's SDK is installed for.

stdin: {"do": "render" | "lint", "chart": path, "values": {…}}; stdout: {"files": {name: text}}, {"errors": […]} or {"refused": why}.
"""

import json
import sys
from typing import Any

import helm_python as helm  # pyright: ignore[reportMissingImports]


def answered(wish: dict[str, Any]) -> dict[str, Any]:
    """What Helm makes of it."""
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

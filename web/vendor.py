"""Copy the page's libraries from web/node_modules into router/web/vendor, with a manifest of their versions, hashes and licences.

`make vendor` runs this. A browser resolves no package names (an import map would have to stand inline, which the page's policy forbids), so
imports of one library by another are rewritten to the file beside it. Nothing else of a file changes.
"""

import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
MODULES = HERE / "node_modules"
VENDOR = HERE.parent / "router" / "web" / "vendor"
SOURCES = {
    "preact.js": ("preact", "dist/preact.mjs"),
    "hooks.js": ("preact", "hooks/dist/hooks.mjs"),
    "htm.js": ("htm", "dist/htm.mjs"),
    "signals-core.js": ("@preact/signals-core", "dist/signals-core.mjs"),
    "signals.js": ("@preact/signals", "dist/signals.mjs"),
    "marked.js": ("marked", "lib/marked.esm.js"),
    "purify.js": ("dompurify", "dist/purify.min.js"),
}
"""File of the page → the package and the file in it."""
BESIDE = {"preact": "preact.js", "preact/hooks": "hooks.js", "@preact/signals-core": "signals-core.js"}
"""Name that a library imports → the file of the page."""
TYPES = {
    "preact.js": 'export * from "preact";',
    "hooks.js": 'export * from "preact/hooks";',
    "htm.js": 'export { default } from "htm";',
    "signals-core.js": 'export * from "@preact/signals-core";',
    "signals.js": 'export * from "@preact/signals";',
    "marked.js": 'export * from "marked";',
    "purify.js": "export {};",
}
"""File of the page → what `tsc` reads in its place: the types that the package ships. Not served."""
SOURCE_MAP = re.compile(r"\n?//# sourceMappingURL=\S+\s*$")
NAMED = re.compile(r"""(from|import)(\s*)(["'])([^"'./][^"']*)\3""")


def main() -> int:
    """Replace the vendored files and their manifest, and return 0. An import of a package that is not vendored exits with 1."""
    lock = json.loads((HERE / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    VENDOR.mkdir(parents=True, exist_ok=True)
    for old in VENDOR.iterdir():
        old.unlink()
    files: dict[str, Any] = {}
    for name, (package, path) in SOURCES.items():
        entry = lock[f"node_modules/{package}"]
        data = _rewritten((MODULES / package / path).read_text(encoding="utf-8"), name).encode()
        (VENDOR / name).write_bytes(data)
        (VENDOR / name).with_suffix(".d.ts").write_text(TYPES[name] + "\n", encoding="utf-8")
        files[name] = {
            "package": package,
            "version": entry["version"],
            "path": path,
            "licence": entry["license"],
            "integrity": entry["integrity"],
            "sha256": hashlib.sha256(data).hexdigest(),
        }
    (VENDOR / "LICENSES.txt").write_text(_licences(), encoding="utf-8")
    (VENDOR / "manifest.json").write_text(json.dumps(files, indent=2) + "\n", encoding="utf-8")
    return 0


def _rewritten(text: str, name: str) -> str:
    """Return the module with imports of files beside it and without the address of its source map."""

    def beside(hit: re.Match[str]) -> str:
        if (package := hit[4]) not in BESIDE:
            sys.exit(f"{name} imports {package}, which is not vendored")
        return f"{hit[1]}{hit[2]}{hit[3]}./{BESIDE[package]}{hit[3]}"

    return NAMED.sub(beside, SOURCE_MAP.sub("\n", text)) if name not in ("marked.js", "purify.js") else SOURCE_MAP.sub("\n", text)


def _licences() -> str:
    """Return the licence of each package, whole, one after the other."""
    found: dict[str, str] = {}
    for package, _ in SOURCES.values():
        path = next(one for one in sorted((MODULES / package).iterdir()) if one.name.upper().startswith("LICENSE"))
        found[package] = path.read_text(encoding="utf-8").strip()
    return "\n\n".join(f"== {package} ==\n\n{text}" for package, text in found.items()) + "\n"


if __name__ == "__main__":
    sys.exit(main())

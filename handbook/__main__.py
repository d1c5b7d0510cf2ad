"""Write the generated pages of the handbook. `make pages` runs this; `python -m handbook --check` only lists outdated ones."""

import argparse
import sys

from handbook.pages import ROOT, pages


def main() -> int:
    """Write each outdated page. With --check, write nothing and return 1 if a page is outdated."""
    parser = argparse.ArgumentParser(prog="python -m handbook", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if a page is not current")
    given = parser.parse_args()
    stale = [name for name, text in pages().items() if not (ROOT / name).is_file() or (ROOT / name).read_text(encoding="utf-8") != text]
    for name in stale:
        if not given.check:
            (ROOT / name).parent.mkdir(parents=True, exist_ok=True)
            (ROOT / name).write_text(pages()[name], encoding="utf-8")
        sys.stdout.write(f"{name} {'is not current' if given.check else 'is written anew'}\n")
    return int(given.check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())

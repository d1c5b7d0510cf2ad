"""A worker process in Python: reads one case per line of stdin and writes one report of its client per line of stdout, eight at a time.

    python -I worker.py openai_python|sdks_python     the module whose clients this worker drives

Cases and reports have the form of those of worker.mjs.
"""

import importlib
import json
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any


def _one(run: Callable[[dict[str, Any]], dict[str, Any]], line: str, speaking: threading.Lock) -> None:
    case = json.loads(line)
    try:
        answer = {"id": case["id"], "saw": run(case)}
    except Exception as error:  # noqa: BLE001  # the script itself is at fault: the test is told
        answer = {"id": case["id"], "broken": repr(error)}
    with speaking:
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def main() -> None:
    """Run the cases of stdin until it ends."""
    sys.path.insert(0, str(Path(__file__).parent))  # isolated, Python does not look there
    family = importlib.import_module(sys.argv[1])
    speaking = threading.Lock()
    with family.opened() as run, ThreadPoolExecutor(8) as pool:
        for line in sys.stdin:
            pool.submit(_one, run, line, speaking)


if __name__ == "__main__":
    main()

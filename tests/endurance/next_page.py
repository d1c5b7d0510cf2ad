"""Builds the Next.js example with `next build`, as its README says, and runs its browser tests on the result of `next start`.

    python -m tests.endurance.next_page

npm installs the newest versions within the example's ranges, so incompatible releases are noticed. The normal suite does not use Next.js:
building takes a minute of CPU. Exit code 1 if a command or a test fails.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.conftest import ROOT
from tests.examples.build import EXAMPLES, OWN
from tests.examples.pages import NEXT

STEPS = (("npm", "install", "--no-audit", "--no-fund"), ("npm", "run", "check"), ("npm", "run", "build"))
TESTS = (sys.executable, "-m", "pytest", "-q", "-rs", "tests/examples/test_pages_in_a_browser.py", "-k", "not usechat")


def main() -> int:
    """Install, check and build the example, then run its tests; return the first exit code that is not 0."""
    with tempfile.TemporaryDirectory() as root:
        folder = Path(shutil.copytree(EXAMPLES / "nextjs", Path(root) / "nextjs", ignore=lambda _, names: OWN & set(names)))
        environment = {**os.environ, "NEXT_TELEMETRY_DISABLED": "1", NEXT: str(folder)}
        for command in STEPS:
            print("$", *command, flush=True)
            if done := subprocess.run(command, cwd=folder, env=environment, check=False).returncode:
                return done
        return subprocess.run(TESTS, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

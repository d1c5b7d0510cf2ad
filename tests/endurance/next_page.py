"""Is the Next.js example what `next build` and `next start` make of it? Builds it as its README says, and runs its browser tests on the result.

    python -m tests.endurance.next_page

npm installs the newest versions that the example's ranges allow, so this also tells when a library has moved. The suite uses no Next.js: to install and build it
takes a minute of a processor. Exit code 1 where a command or a test fails.
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
    """Run it."""
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

"""Are the times kept that the documentation promises? Runs the tests that take them, and holds each to its promise.

    python -m tests.endurance.times [-k WORDS]

The suite itself holds nobody to a clock: on a busy machine it would fail for nothing. This wants a machine with room. Arguments go to pytest.
Exit code as pytest's: 1 where a promise is broken.
"""

import os
import subprocess
import sys

from tests.conftest import ROOT
from tests.support.promises import HELD


def main() -> int:
    """Run it."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "times", "--durations", "0", *sys.argv[1:]]
    return subprocess.run(command, cwd=ROOT, env=os.environ | {HELD: "1"}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

"""Checks the times that the documentation promises, by running the tests that measure them.

    python -m tests.endurance.times [-k WORDS]

The normal suite does not check times, since a busy machine would fail it. Run this on an idle machine. Arguments go to pytest.
Exit code as pytest's: 1 if a promise is broken.
"""

import os
import subprocess
import sys

from tests.conftest import ROOT
from tests.support.promises import HELD


def main() -> int:
    """Run the tests marked `times` with their checks on; return pytest's exit code."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "times", "--durations", "0", *sys.argv[1:]]
    return subprocess.run(command, cwd=ROOT, env=os.environ | {HELD: "1"}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

"""`python -m router`: the command line."""

import sys

from router.commands import main

if __name__ == "__main__":
    sys.exit(main())

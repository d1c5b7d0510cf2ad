"""Exit codes of commands, and the error messages of those that fail."""

import os
import sys
from collections.abc import Callable

from router.errors import ConfigError, RouterError


def exit_code(run: Callable[[], int]) -> int:
    """Run a command, and return its exit code, or that of its error:
    1: a RouterError, which is printed to stderr; a ConfigError with all its complaints
    130: Ctrl-C
    141: the reader of the output has gone
    """
    try:
        return run()
    except ConfigError as error:
        for complaint in error.complaints:
            print(complaint, file=sys.stderr)
        count = len(error.complaints)
        print(f"\n{count} mistake{'s' if count > 1 else ''} in the configuration.", file=sys.stderr)
        return 1
    except RouterError as error:
        print(f"error: {error.public} [{error.code}]", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of the output has gone (`router chat … | head -1`): nothing is left to print, not at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141

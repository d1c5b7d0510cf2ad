"""Runs TensorZero's gateway from its Python package, in the Python of its own environment.

    python embedded.py CONFIG PORT-FILE

The gateway chooses a free port, which is written to PORT-FILE.
"""

import importlib
import signal
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

native: Any = importlib.import_module("tensorzero.tensorzero")
start: Any = native._start_http_gateway  # noqa: SLF001 - the package offers it to its own clients alone
gateway: Any = start(config_file=sys.argv[1], clickhouse_url=None, postgres_url=None, valkey_url=None, async_setup=False)
Path(sys.argv[2]).write_text(str(urlsplit(str(gateway.base_url)).port), encoding="utf-8")
signal.pause()

"""A client of a running server's admin pages, for `--live` options.

The admin key is sent to loopback or over https; over plain http elsewhere only with --insecure. No redirect is followed. Proxies that
the environment names are not used.
"""

import argparse
import json
import threading
from contextlib import suppress
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import cast
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPDefaultErrorHandler, HTTPErrorProcessor, HTTPHandler, HTTPSHandler, OpenerDirector, Request

from router.chat import JsonObject
from router.commands.paths import is_file
from router.config import env_file_of, routes_from_environment, variable
from router.config.values import loopback
from router.description import Description, listing, table, understood
from router.errors import Misfit, RouterError
from router.value import Value

WAIT_S = 10.0
"""Seconds in which a server must have answered completely."""
MAX_PAGE_BYTES = 64 * 1024 * 1024
"""Maximum bytes of a page's response."""
REFUSED = {
    401: "the server takes an admin key: name its file with --key-file, or set ROUTER_ADMIN_KEY",
    403: "the server shows this to its own machine alone: ask there, or declare server.admin.key",
    404: "there is no {path}: is this the address of a router?",
}
"""Status of a refusal → the sentence for it."""


class NoServer(RouterError, code="no_server"):
    """The error of a server that cannot be reached, refuses, or whose answer cannot be used."""


def options(parser: argparse.ArgumentParser, what: str) -> None:
    """Declare `--live`, `--key-file` and `--insecure` for a command that may ask a server. `what`: the effect of --live, for the help."""
    parser.add_argument("--live", metavar="URL", help=f"{what}, e.g. http://127.0.0.1:8000")
    key_file = "the file with the server's admin key; default: the variable ROUTER_ADMIN_KEY"
    is_file(parser.add_argument("--key-file", type=Path, metavar="FILE", help=key_file))
    parser.add_argument("--insecure", action="store_true", help="allow http to another machine; others on the way can read the key")


class Served(Value, frozen=True):
    """The configuration of a running server. `digest`: the id of its generation. `skipped`: target → reason.
    `refused`: complaints about a newer edit that it does not serve, as lines
    """

    digest: str
    declared: Description
    skipped: JsonObject
    refused: tuple[str, ...]


class Running:
    """A running server, asked over HTTP. Its methods raise NoServer if it does not answer within `wait` seconds, or not as expected.
    The constructor raises NoServer for an invalid address, an unreadable key file, or plain http to another machine without --insecure.
    """

    def __init__(self, given: argparse.Namespace, wait: float = WAIT_S) -> None:
        self._wait = wait
        scheme, host = _address(str(given.live))
        if scheme == "http" and not loopback(host) and not given.insecure:
            raise NoServer("over http others could read the admin key: write an https address, or add --insecure")
        self._base = str(given.live).rstrip("/")
        self._key = _key(given)
        self._opener = OpenerDirector()
        for handler in (HTTPHandler(), HTTPSHandler(), HTTPErrorProcessor(), HTTPDefaultErrorHandler()):
            self._opener.add_handler(handler)

    def served(self) -> Served:
        """Return what the server serves: its configuration, skipped targets, and complaints about a newer edit."""
        said = self._page("/admin/config")
        live, failed = table(said.get("live")), table(said.get("failed"))
        try:
            declared = understood(live.get("declared"))
        except Misfit:
            raise NoServer("the server does not say what it runs in a form that is known here: it is of another version") from None
        errors = [table(one) for one in listing(failed.get("errors"))]
        refused = tuple(f"{one.get('file')}:{one.get('line')}:{one.get('column')}: {one.get('message')}" for one in errors)
        return Served(str(live.get("digest")), declared, table(live.get("skipped")), refused)

    def targets(self) -> dict[str, JsonObject]:
        """Return name of a target → its health and load, as GET /admin/targets has them."""
        return {str(one.get("name")): one for one in map(table, listing(self._page("/admin/targets").get("targets")))}

    def budgets(self) -> list[JsonObject]:
        """Return the limits on tokens or money with their used share, as GET /admin/budgets has them; empty if that page cannot be read."""
        with suppress(NoServer):
            return [table(one) for one in listing(self._page("/admin/budgets").get("budgets"))]
        return []

    def _page(self, path: str) -> JsonObject:
        headers = {"accept": "application/json", "user-agent": "pointsman"}
        headers |= {"authorization": f"Bearer {self._key}"} if self._key else {}
        request = Request(self._base + path, headers=headers)  # noqa: S310 - its scheme was checked
        box: SimpleQueue[bytes | NoServer] = SimpleQueue()
        # In a thread: urllib's own time limit holds for each read anew, so a server that trickles would never be given up.
        threading.Thread(target=self._ask, args=(request, path, box), daemon=True).start()
        try:
            said = box.get(timeout=self._wait)
        except Empty:
            raise NoServer(f"the server does not answer within {self._wait:g} s") from None
        if isinstance(said, NoServer):
            raise said
        try:
            return table(json.loads(said))
        except (ValueError, RecursionError):
            raise NoServer(f"{path} is not answered as a router answers it: is this its address?") from None

    def _ask(self, request: Request, path: str, box: "SimpleQueue[bytes | NoServer]") -> None:
        try:
            with cast("HTTPResponse", self._opener.open(request, timeout=self._wait)) as response:
                body = response.read(MAX_PAGE_BYTES + 1)
            too_large = NoServer(f"the answer to {path} is larger than {MAX_PAGE_BYTES // 1024 // 1024} MiB")
            box.put(body if len(body) <= MAX_PAGE_BYTES else too_large)
        except HTTPError as error:
            error.close()
            sentence = REFUSED.get(error.code, "the server answers {path} with status {status}")
            box.put(NoServer(sentence.format(path=path, status=error.code)))
        except (HTTPException, OSError, ValueError) as error:  # URLError is an OSError
            reason = getattr(error, "reason", error)
            why = reason.strerror if isinstance(reason, OSError) and reason.strerror else type(reason).__name__
            box.put(NoServer(f"the server cannot be asked: {why}"))


def _address(url: str) -> tuple[str, str]:
    """Return (scheme, host) of a server's address. Raises NoServer for an invalid one, without repeating it: it may hold a password."""
    try:
        parts = urlsplit(url)
        complete = parts.port != 0 and bool(parts.hostname)
    except ValueError:
        complete, parts = False, urlsplit("")
    if not complete or parts.scheme not in ("http", "https") or parts.query or parts.fragment or parts.username is not None:
        raise NoServer("this is no address of a server: write e.g. --live http://127.0.0.1:8000")
    return parts.scheme, str(parts.hostname)


def _key(given: argparse.Namespace) -> str:
    if (file := given.key_file) is None:
        return variable("ROUTER_ADMIN_KEY", env_file_of(getattr(given, "routes", routes_from_environment())))
    try:
        key = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        raise NoServer(f"the key file {file} cannot be read") from None
    if not key.isprintable() or " " in key:
        raise NoServer(f"the key file {file} holds no key: one line of visible characters is needed")
    return key

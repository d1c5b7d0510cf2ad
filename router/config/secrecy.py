"""Secrets by their names: parameters of addresses, headers, fields of a body."""

import re
from urllib.parse import parse_qsl

SECRETS = (
    "key", "token", "secret", "password", "passwd", "pwd", "signature", "sig", "credential", "subscription", "code", "auth",
    "authorization", "bearer", "jwt", "sas", "cookie",
)  # fmt: skip
"""Words that end the name of a secret, or are a part of it: `api_key`, `subscription-key`, `accessToken`, `X-Amz-Signature`."""
JOINED = ("apikey", "authkey", "accesskey", "sharedkey", "accesstoken", "authtoken", "clientsecret")
PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def secret_in_query(query: str) -> str | None:
    """Return the word that marks a parameter of a query as a secret, e.g. `key`, as `secret_in_name`; None without one."""
    found = (secret_in_name(name) for name, _ in parse_qsl(query, keep_blank_values=True, separator="&"))
    return next((word for word in found if word is not None), None)


def secret_in_name(name: str) -> str | None:
    """Return the word of SECRETS or JOINED that marks a name as that of a secret, e.g. `key`; None without one."""
    parts = [part.lower() for part in PARTS.findall(name)]
    return next((word for word in (*SECRETS, *JOINED) if word in parts), None)


QUERY = re.compile(r"""(://[^\s?#'"]*[?#])([^\s'"]+)""")


def without_secret_queries(line: str) -> str:
    """Return a line of a file with `***` in place of the query or fragment of each address that holds a secret."""
    return QUERY.sub(lambda hit: hit[1] + ("***" if secret_in_query(hit[2]) else hit[2]), line)

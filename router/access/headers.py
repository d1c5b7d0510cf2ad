"""Headers of a request by their names, which the server, the access check and the request itself look at."""

BY_NAME = "router.headers"
"""Key of a scope: a dict of its headers by name; of a repeated one, the last value. It is made once for each request.

`Door` and `Edge.__call__` set it. A layer that changes `headers` stands before the latter, which makes it anew.
"""

"""Handover at shutdown: a router that is about to end has its proxy send an unanswered request to another router.

A proxy may not send a POST twice: the model may have been asked. Only the router knows that none was, so it says so, in nginx's own
word, X-Accel-Redirect. It is said only to a proxy that knows the place it names (see deploy/nginx.conf) and told so.
"""

from starlette.types import Message, Scope, Send

KNOWS = (b"x-router-handover", b"yes")
"""The request header of a proxy that can ask another router."""
ANOTHER = (b"x-accel-redirect", b"@another")
"""Place in deploy/nginx.conf that does."""


def handing_over(scope: Scope, send: Send) -> Send:
    """Return a `send` for a draining router: a refusal asks a proxy that supports it to try another router."""
    if KNOWS not in scope["headers"]:
        return send

    async def announce(message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == 503:
            message = {**message, "headers": [*message["headers"], ANOTHER]}
        await send(message)

    return announce

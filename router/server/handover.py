"""Handover at shutdown: a router that is about to end has its proxy send an unanswered request to another router.

A proxy may not repeat a POST by itself: a model may have been asked. The router knows that none was, and answers with nginx's header
X-Accel-Redirect. It does so only if the proxy announced, by X-Router-Handover, that it has the named location (see deploy/nginx.conf).
"""

from starlette.types import Message, Scope, Send

KNOWS = (b"x-router-handover", b"yes")
"""Request header by which a proxy announces that it can ask another router."""
ANOTHER = (b"x-accel-redirect", b"@another")
"""Response header that names the location in deploy/nginx.conf which asks another router."""


def handing_over(scope: Scope, send: Send) -> Send:
    """Return a `send` that adds `X-Accel-Redirect: @another` to a 503; without `X-Router-Handover: yes` in the request, `send` itself."""
    if KNOWS not in scope["headers"]:
        return send

    async def announce(message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == 503:
            message = {**message, "headers": [*message["headers"], ANOTHER]}
        await send(message)

    return announce

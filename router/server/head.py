"""HEAD requests: the response of GET without its body (RFC 9110, 9.3.2). FastAPI's routes do not serve them."""

from starlette.types import Message, Scope, Send


def as_get(scope: Scope, send: Send) -> tuple[Scope, Send]:
    """Return (scope, send) for a HEAD request as a GET whose body is dropped; those of any other request unchanged."""
    if scope["method"] != "HEAD":
        return scope, send

    async def bodiless(message: Message) -> None:
        await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

    return {**scope, "method": "GET"}, bodiless

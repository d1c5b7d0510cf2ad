"""HEAD: what GET answers, without the body (RFC 9110, 9.3.2). FastAPI's routes do not take it by themselves."""

from starlette.types import Message, Scope, Send


def as_get(scope: Scope, send: Send) -> tuple[Scope, Send]:
    """Return a HEAD request as the GET that it asks about, and a `send` that leaves its body out. Other requests stay as they are."""
    if scope["method"] != "HEAD":
        return scope, send

    async def bodiless(message: Message) -> None:
        await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

    return {**scope, "method": "GET"}, bodiless

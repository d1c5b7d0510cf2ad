"""A router whose connections are fed by hand."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from bench.by_hand import ByHand


@asynccontextmanager
async def fed_by_hand(folder: Path, routes: str) -> AsyncGenerator[ByHand, None]:
    """Yield a router with this routes.yaml and a pipeline `chat` without steps, both written into the folder."""
    (folder / "pipelines").mkdir()
    (folder / "pipelines/chat.yaml").write_text("steps: []\n", encoding="utf-8")
    (folder / "routes.yaml").write_text(routes, encoding="utf-8")
    made = ByHand(folder / "routes.yaml")
    yield made
    await made.close()

"""Take docs/page.png: the shipped demo after one click, in Chromium. `make picture` runs this."""

import asyncio
from pathlib import Path

from router.config import declare, read
from router.generation import build
from tests.conftest import serving
from tests.support.browser import browser

HERE = Path(__file__).parent.parent
WIDTH, HEIGHT = 1280, 720


async def main() -> None:
    """Ask the demo for a rescue, and write the picture docs/page.png once the page shows how the rescue went."""
    async with serving(build(declare(read(HERE / "routes.yaml"), {}))) as client, browser("en") as tab:
        await tab.shape(WIDTH, HEIGHT)
        await tab.open(f"{client.base}/")
        await tab.click("#rescue")
        await tab.until("document.querySelector('.answer .seam') && document.querySelector('.waterfall')")
        await tab.run("document.querySelector('#question').blur()")
        await tab.picture(HERE / "docs" / "page.png")


if __name__ == "__main__":
    asyncio.run(main())

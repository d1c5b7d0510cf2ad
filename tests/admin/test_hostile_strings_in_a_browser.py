"""Hostile strings (HTML, scripts, addresses) in each place of the page that shows foreign text. Skipped without Chromium."""

import json

from tests.conftest import OPERATOR, Workspace, routes, serving
from tests.support.hostile import HOSTILE
from tests.support.page import ANSWERED, UNHARMED, ask, open_cockpit, opened, pretended, unharmed, unlock


async def test_model_output_runs_no_script_and_loads_no_address(workspace: Workspace) -> None:
    """Hostile strings in thoughts and text are shown as text or safe links: nothing runs, loads or is logged on the console."""
    said = "\n\n".join(HOSTILE)
    lines = [{"thought": said}, {"text": said}]
    workspace.write("routes.yaml", routes(f"a: {{script: {json.dumps(lines).replace('$', '$$')}}}", "targets: [a]\n    reasoning: show"))
    async with serving(workspace.build()) as client, opened(client) as tab:
        await ask(tab, "<img src=x onerror=window.hit=1>")
        await tab.until(ANSWERED.format(1))
        await unharmed(tab, "answer")
        assert await tab.run("document.querySelectorAll('.markdown a[href]').length") > 0


EACH_DOCUMENT = """(async () => {
    const found = [];
    for (const card of document.querySelectorAll('.artifact-card')) {
        card.click();
        const content = () => document.querySelector('.document');
        for (let tries = 0; tries < 200 && content()?.querySelector('h3 span').textContent !== card.querySelector('strong').textContent;
        tries++)
            await new Promise((resolve) => setTimeout(resolve, 5));
        if (content()?.querySelector('h3 span').textContent === card.querySelector('strong').textContent) found.push(UNHARMED);
    }
    return found;
})()""".replace("UNHARMED", UNHARMED)
"""A script that opens each document and returns what UNHARMED finds on the page then."""


async def test_server_data_runs_no_script_in_the_playground(workspace: Workspace) -> None:
    """Hostile strings in each field of the server's answers, such as route ids and tool inputs, run and load nothing in the playground."""
    async with serving(workspace.write("routes.yaml", routes("a: {script: [{text: Hi}]}")).build()) as client, pretended(client) as tab:
        await unharmed(tab, "greeting")
        await ask(tab, HOSTILE[0])
        await tab.until(ANSWERED.format(1))
        await tab.until("document.querySelector('.answer .seam')")
        assert await tab.run("document.querySelectorAll('.answer .tool').length") == len(HOSTILE)
        await unharmed(tab, "answer")
        assert await tab.run("document.querySelectorAll('.decision').length") == len(HOSTILE) // 3
        assert await tab.run("document.querySelectorAll('.sources a').length") >= len(HOSTILE)
        documents = await tab.run(EACH_DOCUMENT)
        assert len(documents) == len(HOSTILE)
        assert [one for one in documents if one != [None, 0, [], 0, [], 0]] == []
        for place in ("timeline", "bytes", "copyAs"):
            await tab.click(f"#tab-{place}")
            await tab.until(f"document.querySelector('#tab-{place}').ariaSelected === 'true'")
            await unharmed(tab, place)
        await tab.run("window.refuses = true")
        await ask(tab, HOSTILE[3])
        await tab.until(ANSWERED.format(2))
        await unharmed(tab, "error")


async def test_server_data_runs_no_script_in_the_cockpit(workspace: Workspace) -> None:
    """Hostile names, learned facts, edits, complaints, drills and a refused reload neither run nor load anything in the cockpit."""
    async with serving(workspace.write("routes.yaml", routes("a: {script: [{text: Hi}]}")).build()) as client, pretended(client) as tab:
        await open_cockpit(tab, client)
        await tab.until("document.querySelector('.pending pre')")
        await tab.until("document.querySelectorAll('.requests tbody tr').length")
        await unharmed(tab, "cockpit")
        await tab.click(".requests tbody .link")
        await unlock(tab, OPERATOR)
        await tab.click("#drills")
        await tab.until("document.querySelector('.drills')")
        await tab.until("!document.querySelector('#reload').disabled")
        await tab.click("#reload")
        await tab.until("document.querySelector('.came')?.textContent.includes(':1:1:')")
        await unharmed(tab, "control")

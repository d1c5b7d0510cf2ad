"""The HTTP edge, as a front end meets it."""

from tests.conftest import Workspace, litellm_target, routes, serving
from tests.provider import Reply, provider, text

SEED = {"messages": [{"role": "user", "content": "你好"}], "model": "gpt-4", "temperature": 0.7, "stream": True}


async def test_the_seeds_body_gets_the_seeds_lines(workspace: Workspace) -> None:
    """The example of the guide, byte for byte."""
    workspace.write("routes.yaml", routes('a: {script: [{text: "你"}, {text: "好"}, {text: "！"}]}'))
    async with serving(workspace.build()) as client:
        answer = await client.post(**SEED)
    assert answer.status == 200
    expected = [f'0:{{"type":"text-delta","textDelta":"{piece}"}}\n' for piece in "你好！"]
    expected.append('d:{"type":"finish","finishReason":"stop","usage":{"promptTokens":1,"completionTokens":3}}\n')
    assert answer.body.decode() == "".join(expected)


async def test_text_through_litellm(workspace: Workspace) -> None:
    """A provider's stream comes out as lines, its usage on the last."""
    async with provider(Reply(text("Hello", ", ", "world!"))) as fake:
        workspace.write("routes.yaml", routes(litellm_target(fake.base)))
        async with serving(workspace.build()) as client:
            answer = await client.post(**SEED)
    assert answer.text == "Hello, world!"
    assert answer.lines[-1][1] == {"type": "finish", "finishReason": "stop", "usage": {"promptTokens": 11, "completionTokens": 3}}
    assert fake.requests[0]["messages"] == [{"role": "user", "content": "你好"}]
    assert fake.requests[0]["temperature"] == 0.7

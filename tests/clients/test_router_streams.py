"""The public clients before the router: the same table that the replayed streams are held to."""

import pytest

from router.wire import WIRES
from tests.clients.cases import CASES, NAMED, Case, Seen, differences, played
from tests.clients.harness import CHATS, OPENAI, Client, Workers
from tests.clients.router_cases import Running

pytestmark = pytest.mark.skipif(not {"data-stream", "ui-message-stream", "openai", "text"} <= set(WIRES), reason="the router does not speak these dialects")


@pytest.mark.parametrize(("client", "case"), played(*CASES), ids=str)
def test_an_answer_is_shown_as_it_was_meant(client: Client, case: Case, workers: Workers, router: Running) -> None:
    """Each client makes of the router's answer to each case the messages, the status and the callbacks that the table says."""
    saw = workers.saw(client, router.base, case.asks(client, case.name))
    assert differences(client, case.sees[client.wire], saw) == {}

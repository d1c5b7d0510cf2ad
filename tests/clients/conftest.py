"""What the client tests share: the replay server, and the workers."""

import hashlib
from collections.abc import Iterator

import pytest

from tests.clients import router_cases
from tests.clients.harness import Workers
from tests.clients.replay import Replay, replaying


@pytest.fixture(scope="session")
def workers() -> Iterator[Workers]:
    """The clients' processes, for the whole session."""
    made = Workers()
    yield made
    made.close()


@pytest.fixture(scope="session")
def replay() -> Iterator[Replay]:
    """The server that says what a test stages."""
    with replaying() as running:
        yield running


@pytest.fixture(scope="session")
def router(replay: Replay, tmp_path_factory: pytest.TempPathFactory) -> Iterator[router_cases.Running]:
    """The router with each case as a model id, for the whole session."""
    with router_cases.router(tmp_path_factory.mktemp("router"), replay) as running:
        yield running


@pytest.fixture(scope="session")
def newer_router(replay: Replay, tmp_path_factory: pytest.TempPathFactory) -> Iterator[router_cases.Running]:
    """The same, for clients from AI SDK 6 on."""
    with router_cases.router(tmp_path_factory.mktemp("newer"), replay, ", ui: {min_client: '6.0'}") as running:
        yield running


@pytest.fixture(scope="session")
def patient_router(replay: Replay, tmp_path_factory: pytest.TempPathFactory) -> Iterator[router_cases.Running]:
    """The same, which goes on for a while where nobody reads any more."""
    with router_cases.router(tmp_path_factory.mktemp("patient"), replay, ", resume: {grace: 20s}") as running:
        yield running


@pytest.fixture(scope="session")
def keyed_router(replay: Replay, tmp_path_factory: pytest.TempPathFactory) -> Iterator[router_cases.Running]:
    """The same, which answers nobody whose key it does not know: none of these clients has one."""
    hashed = hashlib.sha256(b"sk-nobody-has-this").hexdigest()
    with router_cases.router(
        tmp_path_factory.mktemp("keyed"), replay, f", auth: {{keys: {{alice: {{hash: 'sha256:{hashed}'}}}}}}"
    ) as running:
        yield running

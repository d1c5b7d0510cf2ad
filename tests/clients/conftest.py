"""Fixtures of the client tests: the replay server, the routers and the worker processes."""

import hashlib
from collections.abc import Iterator

import pytest

from tests.clients import router_cases
from tests.clients.harness import Workers
from tests.clients.replay import Replay, replaying


@pytest.fixture(scope="session")
def workers() -> Iterator[Workers]:
    """The worker processes that drive the clients, for the whole session."""
    made = Workers()
    yield made
    made.close()


@pytest.fixture(scope="session")
def replay() -> Iterator[Replay]:
    """The server that replays the bytes that a test stages."""
    with replaying() as running:
        yield running


@pytest.fixture(scope="session")
def router(replay: Replay, tmp_path_factory: pytest.TempPathFactory) -> Iterator[router_cases.Running]:
    """A router with one model id per case, for the whole session."""
    with router_cases.router(tmp_path_factory.mktemp("router"), replay) as running:
        yield running


@pytest.fixture(scope="session")
def newer_router(replay: Replay, tmp_path_factory: pytest.TempPathFactory) -> Iterator[router_cases.Running]:
    """The router with `ui: {min_client: '6.0'}`, for clients from AI SDK 6 on."""
    with router_cases.router(tmp_path_factory.mktemp("newer"), replay, ", ui: {min_client: '6.0'}") as running:
        yield running


@pytest.fixture(scope="session")
def patient_router(replay: Replay, tmp_path_factory: pytest.TempPathFactory) -> Iterator[router_cases.Running]:
    """The router with `resume: {grace: 20s}`, which continues an answer for 20 s after its client disconnected."""
    with router_cases.router(tmp_path_factory.mktemp("patient"), replay, ", resume: {grace: 20s}") as running:
        yield running


@pytest.fixture(scope="session")
def keyed_router(replay: Replay, tmp_path_factory: pytest.TempPathFactory) -> Iterator[router_cases.Running]:
    """The router with an API key that no client of these tests has."""
    hashed = hashlib.sha256(b"sk-nobody-has-this").hexdigest()
    with router_cases.router(
        tmp_path_factory.mktemp("keyed"), replay, f", auth: {{keys: {{alice: {{hash: 'sha256:{hashed}'}}}}}}"
    ) as running:
        yield running

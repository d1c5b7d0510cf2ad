"""Secrets in the addresses of a configuration: recognised by the names of query parameters, refused, and not quoted."""

import pytest

from router.config.secrecy import secret_in_query
from router.config.values import web_address
from router.errors import ConfigError, Misfit
from tests.conftest import Workspace, routes

SECRET = [
    *("key", "api_key", "apikey", "API-KEY", "x-api-key", "subscription-key", "Ocp-Apim-Subscription-Key", "x-functions-key", "sharedKey"),
    *(
        "token",
        "access_token",
        "accessToken",
        "authToken",
        "secret",
        "client_secret",
        "password",
        "passwd",
        "pwd",
        "code",
        "sig",
        "signature",
    ),
    *("X-Amz-Signature", "X-Amz-Credential", "auth", "Authorization", "subscription", "jwt"),
]
HARMLESS = [
    "api-version",
    "region",
    "tenant",
    "deployment",
    "keyspace",
    "codec",
    "monkeys",
    "tokens",
    "max_tokens",
    "signal",
    "author",
    "v",
]


@pytest.mark.parametrize("name", SECRET)
def test_address_with_a_secret_query_parameter_is_refused_without_its_value(name: str) -> None:
    """An address with a secret in a parameter of its query or fragment raises `Misfit`, whose message does not contain the value."""
    for address in (f"https://host/v1?{name}=sk-HIDDEN", f"https://host/v1?a=b&{name}=sk-HIDDEN&c", f"https://host/v1#{name}=sk-HIDDEN"):
        with pytest.raises(Misfit, match=r"a secret .* does not belong in an address") as caught:
            web_address(address)
        assert "HIDDEN" not in caught.value.message


@pytest.mark.parametrize("name", HARMLESS)
def test_harmless_query_parameter_is_not_taken_for_a_secret(name: str) -> None:
    """A query parameter such as `region` or `max_tokens` is not taken for a secret."""
    assert secret_in_query(f"{name}=1&x=key") is None


ADDRESSES = {
    "a target": routes("a: {model: openai/x, api_base: 'https://host/v1?code=sk-HIDDEN'}"),
    "an MCP server": routes("a: {script: demo}", "targets: [a]\n    tools: [{mcp: 'https://host/mcp?sig=sk-HIDDEN'}]"),
    "a collector": routes("a: {script: demo}", more="server: {otel: {endpoint: 'https://host/?token=sk-HIDDEN'}}\n"),
    "an issuer's keys": routes(
        "a: {script: demo}",
        more="server: {auth: {jwt: {issuer: x, audience: y, algorithms: [RS256], jwks: 'https://host/jwks?secret=sk-HIDDEN'}}}\n",
    ),
    "a Redis": routes("a: {script: demo}", more="server: {redis: 'redis://host/0?password=sk-HIDDEN'}\n"),
}


@pytest.mark.parametrize("what", ADDRESSES)
def test_secret_in_any_address_of_the_configuration_is_refused(workspace: Workspace, what: str) -> None:
    """A secret in the address of a target, MCP server, collector, JWKS or Redis gives one complaint that does not contain it."""
    with pytest.raises(ConfigError) as caught:
        workspace.write("routes.yaml", ADDRESSES[what]).build()
    assert len(caught.value.complaints) == 1
    assert "HIDDEN" not in str(caught.value)

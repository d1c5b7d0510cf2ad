"""API keys in a configuration: their references, and what complaints show of them."""

import pytest

from router.config.values import Secret
from router.errors import ConfigError
from tests.config.written import ROUTES, complaints, declared, more, route, target
from tests.conftest import Workspace

LITERALS = {
    "behind it": target("{model: openai/x, optionl: true, api_key: sk-HIDDEN}"),
    "before it": target("{model: openai/x, api_key: sk-HIDDEN, optionl: true}"),
    "in quotes": target("""{model: openai/x, "api_key": 'sk-HIDDEN', optionl: true}"""),
    "that is none": target("{model: openai/x, api_key: sk-HIDDEN é}"),
    "on its own line": f"targets:\n  a:\n    model: openai/x\n    api_key:\n      sk-HIDDEN é\n{ROUTES}",
    "below a comment": f"targets:\n  a:\n    model: openai/x\n    api_key:\n      # mine\n\n      sk-HIDDEN é\n{ROUTES}",
    "below a comment beside its word": f"targets:\n  a:\n    model: openai/x\n    api_key:  # mine\n      sk-HIDDEN é\n{ROUTES}",
    "in a list": target("{model: openai/x, api_key: [sk-HIDDEN]}"),
    "under the variable's name": target("{model: openai/x, OPENAI_API_KEY: sk-HIDDEN}"),
    "under client_secret": target("{model: openai/x, client_secret: sk-HIDDEN}"),
    "under access_token": target("{model: openai/x, access_token: sk-HIDDEN}"),
    "in a header": target("{model: openai/x, headers: {Authorization: Bearer sk-HIDDEN}}"),
    "without the space after the colon": target("{model: openai/x, api_key:sk-HIDDEN}"),
    "behind an equals sign": target("{model: openai/x, api_key=sk-HIDDEN}"),
    "behind a wide colon": target("{model: openai/x, api_key：sk-HIDDEN}"),
    "under a mistyped word": target("{model: openai/x, api_kye: sk-HIDDEN}"),
    "as a default": target("{model: openai/x, api_key: '${NOPE:-sk-HIDDEN}', optionl: true}"),
    "as a password in an address": target("{model: openai/x, api_base: 'https://me:sk-HIDDEN@host/v1'}"),
    "as a password in an origin": more("server: {cors: {origins: ['https://me:sk-HIDDEN@host/']}}"),
    "as a parameter of an address": target("{model: openai/x, api_base: 'https://host/v1?api_key=sk-HIDDEN'}"),
    "as a password of a Redis": more("server: {redis: 'redis://:sk-HIDDEN@host/x'}"),
    "in a file that is not YAML": target("{model: openai/x, api_key: sk-HIDDEN"),
}


@pytest.mark.parametrize("where", LITERALS)
def test_complaint_does_not_quote_a_literal_key_in_its_line(workspace: Workspace, where: str) -> None:
    """A complaint about a setting with a written-out key or password does not print it, wherever it stands and however it is named."""
    with pytest.raises(ConfigError) as caught:
        workspace.write("routes.yaml", LITERALS[where]).build()
    assert caught.value.complaints
    assert "HIDDEN" not in str(caught.value)


VARIABLES = {
    "a model": target("{model: '${V}'}"),
    "a key": target("{model: openai/x, api_key: '${V} é'}"),
    "an address": target("{model: openai/x, api_base: '${V}'}"),
    "a number": target("{script: demo, context_window: '${V}'}"),
    "a truth": target("{script: demo, optional: '${V}'}"),
    "a word": target("{script: '${V}'}"),
    "a temperature": target("{model: openai/x, params: {temperature: '${V}'}}"),
    "a list of targets": route("{pipeline: chat, targets: '${V}'}"),
    "a target": route("{pipeline: chat, targets: ['${V}']}"),
    "a target twice": route("{pipeline: chat, targets: ['${V}', '${V}']}"),
    "an alias": route("{pipeline: chat, targets: [a], aliases: ['${V}', '${V}']}"),
    "an origin": more("server: {cors: {origins: ['${V}']}}"),
    "a size": more("server: {request: {body: '${V}'}}"),
    "a duration": more("defaults: {timeout: {connect: '${V}'}}"),
    "a Redis": more("server: {redis: '${V}'}"),
    "half a span": more("defaults: {retry: {backoff: '${V}..4s'}}"),
}


@pytest.mark.parametrize("what", VARIABLES)
def test_complaint_shows_the_reference_and_not_the_value_of_a_variable(workspace: Workspace, what: str) -> None:
    """A complaint about a value from a variable contains `${V}`, not the value."""
    with pytest.raises(ConfigError) as caught:
        workspace.write("routes.yaml", VARIABLES[what]).build(V="sk-HIDDEN")
    assert "HIDDEN" not in str(caught.value)
    assert "${V}" in str(caught.value)


KEYS: dict[str, tuple[str, str, str]] = {
    "a variable": ("${KEY}", "sk-1", "${KEY}"),
    "a variable in a text": ("sk-${KEY}-x", "sk-sk-1-x", "sk-${KEY}-x"),
    "a default": ("${NOPE:-sk-2}", "sk-2", "***"),
    "no default needed": ("${KEY:-sk-2}", "sk-1", "***"),
    "a default for what is empty": ("${EMPTY:-sk-2}", "sk-2", "***"),
    "a message not needed": ("${KEY:?set it}", "sk-1", "${KEY:?set it}"),
    "a file": ("${file:secrets/key}", "sk-3", "${file:secrets/key}"),
    "a dollar sign": ("sk-$$${KEY}", "sk-$sk-1", "sk-$$${KEY}"),
    "a literal": ("sk-4", "sk-4", "***"),
}


@pytest.mark.parametrize("spelled", KEYS)
def test_api_key_has_the_resolved_value_and_its_reference_as_repr(workspace: Workspace, spelled: str) -> None:
    """An API key has the value of its reference (variable, default, file); its repr is the reference, or `***` for a literal or default."""
    written, value, shown = KEYS[spelled]
    workspace.write("secrets/key", "sk-3\n")
    made = declared(workspace, target(f"{{model: openai/x, api_key: '{written}'}}"), KEY="sk-1", EMPTY="")
    key = next(iter(made.routes.targets.values())).api_key
    assert isinstance(key, Secret)
    assert (key.value, repr(key), str(key)) == (value, shown, shown)


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"x" * (1024 * 1024 + 1), "is larger than 1 MiB"), (b"caf\xe9", "cannot be read: it is not UTF-8")],
    ids=["too large", "not UTF-8"],
)
def test_secret_file_that_is_too_large_or_not_utf8_is_refused(workspace: Workspace, content: bytes, why: str) -> None:
    """A secret file above 1 MiB, or not UTF-8, gives one complaint with its name and no content."""
    workspace.write("routes.yaml", target("{model: openai/x, api_key: '${file:key}'}"))
    (workspace.root / "key").write_bytes(content)
    assert complaints(workspace) == [f"routes.yaml:2:33: the secret file key {why}"]


def test_variable_that_contains_yaml_is_used_as_plain_text(workspace: Workspace) -> None:
    """A variable whose value contains YAML becomes part of the model's name and adds no keys."""
    made = declared(workspace, target("{model: 'openai/${V}'}"), V="x, api_key: stolen}\nb: {")
    one = next(iter(made.routes.targets.values()))
    assert (one.model, one.api_key) == ("openai/x, api_key: stolen}\nb: {", None)

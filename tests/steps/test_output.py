"""The pipeline step `output`: a JSON schema in a file beside the pipeline, which every answer must fit."""

import json
from typing import Any

import pytest

from router.commands import main
from router.config import declare, read
from router.description import changes, describe, sentences
from router.errors import ConfigError
from router.generation import Generation
from tests.conftest import Workspace, routes, serving

PERSON: dict[str, Any] = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"], "additionalProperties": False}
ADA = '{"name": "Ada"}'
TARGETS = f"a: {{script: [{{text: '{ADA}'}}]}}"


def built(workspace: Workspace, schema: str | None, steps: str = "  - output: person.json\n", targets: str = TARGETS) -> Generation:
    """Build the generation of a pipeline with these steps and this schema file."""
    workspace.write("pipelines/chat.yaml", f"steps:\n{steps}").write("routes.yaml", routes(targets))
    if schema is not None:
        workspace.write("pipelines/person.json", schema)
    return workspace.build()


async def test_every_answer_of_a_pipeline_with_output_fits_its_schema(workspace: Workspace) -> None:
    """An answer of a pipeline with `output` fits its schema in the line protocol and, despite another `response_format`, in completions."""
    async with serving(built(workspace, json.dumps(PERSON))) as client:
        line = await client.ask()
        whole = await client.post(
            "/v1/chat/completions",
            model="chat-model",
            messages=[{"role": "user", "content": "Hi"}],
            response_format={"type": "json_schema", "json_schema": {"schema": {"type": "array"}}},
        )
    assert line.text == ADA
    assert whole.json["choices"][0]["message"]["content"] == ADA


@pytest.mark.parametrize(
    ("schema", "steps", "said"),
    [
        (None, "  - output: person.json\n", "pipelines/chat.yaml:2:13: there is no pipelines/person.json"),
        ('{\n  "type": }', "  - output: person.json\n", "pipelines/person.json:2:11: this is no JSON: Expecting value"),
        ("[]", "  - output: person.json\n", "pipelines/person.json:1:1: a JSON schema is needed, an object"),
        ('{"type": "wish"}', "  - output: person.json\n", "pipelines/person.json:1:1: this is no JSON schema: at $.type"),
        (
            '{"$ref": "http://other/"}',
            "  - output: person.json\n",
            "pipelines/person.json:1:1: $ref: only what stands in the schema itself",
        ),
        (
            "{}",
            "  - edit: {strip: quotes}\n  - output: person.json\n",
            "pipelines/chat.yaml:2:5: `edit` would change the JSON that `output` promises",
        ),
    ],
)
def test_mistake_in_an_output_schema_is_reported_at_load(workspace: Workspace, schema: str | None, steps: str, said: str) -> None:
    """A missing or invalid schema file, or an `edit` step before `output`, is a configuration error with file, line and column."""
    with pytest.raises(ConfigError) as wrong:
        built(workspace, schema, steps)
    assert str(wrong.value).startswith(said)


def test_missing_schema_file_suggests_a_similar_name(workspace: Workspace) -> None:
    """The error of a missing schema file asks "did you mean" with the name of a similar file that exists."""
    workspace.write("pipelines/persons.json", "{}")
    with pytest.raises(ConfigError, match=r"did you mean `persons\.json`\?"):
        built(workspace, None)


def test_changed_output_schema_file_is_listed_among_the_changes(workspace: Workspace) -> None:
    """An edited schema file changes the configuration's digest and is named in the list of changes."""
    seen: list[Any] = []
    for schema in (PERSON, {**PERSON, "title": "Person"}):
        built(workspace, json.dumps(schema))
        seen.append(declare(read(workspace.root / "routes.yaml"), {}))
    before, after = map(describe, seen)
    assert seen[0].digest != seen[1].digest
    assert "person.json" in " ".join(map(str, sentences(changes(before, after))))


def test_check_names_targets_that_emulate_structured_output(
    workspace: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`router check` warns of a target whose model has no JSON schemas and gets JSON mode instead; `router show` describes each target."""
    targets = "a: {model: openai/gpt-4o, api_key: k}\nb: {model: deepseek/deepseek-chat, api_key: k}"
    workspace.write("pipelines/chat.yaml", "steps:\n  - output: person.json\n").write("pipelines/person.json", json.dumps(PERSON))
    workspace.write("routes.yaml", routes(targets, route="targets: [a, b]"))
    monkeypatch.chdir(workspace.root)
    main(["check"])
    checked = capsys.readouterr().out
    main(["show", "chat-model"])
    shown = capsys.readouterr().out
    assert (
        "b: deepseek-chat keeps to no JSON schema by itself: JSON mode stands in for the chat pipeline's output, answers are held back and checked"
        in checked
    )
    assert "a: gpt-4o keeps to no" not in checked
    assert "keeps to a JSON schema by itself" in shown
    assert "is emulated where a JSON schema is asked for: JSON mode stands in" in shown


def test_check_names_targets_that_do_not_support_this_schema(
    workspace: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`router check` names a target whose model supports JSON schemas but not all of the pipeline's schema."""
    loose = {"type": "object", "properties": {"name": {"type": "string", "minLength": 1}}}
    workspace.write("pipelines/chat.yaml", "steps:\n  - output: person.json\n").write("pipelines/person.json", json.dumps(loose))
    workspace.write("routes.yaml", routes("a: {model: openai/gpt-4o, api_key: k}"))
    monkeypatch.chdir(workspace.root)
    main(["check"])
    assert "a: gpt-4o does not take all of the chat pipeline's JSON schema" in capsys.readouterr().out

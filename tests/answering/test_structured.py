"""Structured output (`response_format` and its kin): an answer is valid JSON of the requested schema, or an error."""

import asyncio
import json
import random
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal, cast

import anthropic
import jsonschema
import openai
import pydantic
import pytest

from router.generation import Generation
from tests.conftest import Answered, Client, Workspace, routes, serving
from tests.support.provider import DONE, Provider, Reply, chunk, error, running, text, usage
from tests.support.schemas import instance, schema_of, spoiled
from tests.wire.readers import READERS

SCHEMAS = 200
PERSON: dict[str, Any] = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
PERSON_FORMAT: dict[str, Any] = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON, "strict": True}}
ADA = '{"name": "Ada", "age": 36}'
Kind = Literal["guaranteed", "json_mode", "neither"]
MODELS: dict[Kind, str] = {"guaranteed": "gpt-4o", "json_mode": "home-made", "neither": "home-made"}
FACTS: dict[Kind, str] = {
    "guaranteed": "",
    "json_mode": ", facts: {schemas: false, json_mode: true}",
    "neither": ", facts: {schemas: false, json_mode: false}",
}


class Model(Provider):
    """A fake provider of one kind (strict schemas, JSON mode, neither) that answers with JSON of the schema it was sent.

    Of a kind that guarantees nothing, every third answer is invalid, and some of the others are in code fences or among words.
    """

    def __init__(self, kind: Kind, seed: int = 0) -> None:
        super().__init__([Reply()])
        self._kind = kind
        self._chance = random.Random(seed)
        self.broken: list[str] = []
        """Messages of the refused requests: the rules of a real provider that they broke."""

    def reply(self, headers: dict[str, str], body: dict[str, Any]) -> Reply:
        """Return a 400 for a `response_format` that the kind does not support, else JSON of the schema, perhaps wrong if not `strict`."""
        form = body.get("response_format")
        if form is not None and (why := self._refuses(form, body)):
            self.broken.append(why)
            return error(400, why, "invalid_request_error")
        schema = form["json_schema"]["schema"] if form and form["type"] == "json_schema" else self._told(body)
        value = instance(schema, self._chance)
        if form and form["type"] == "json_schema" and form["json_schema"]["strict"]:
            return Reply(_pieces(json.dumps(value)))
        if self._chance.random() < 1 / 3:
            value = spoiled(value, self._chance)
        written = json.dumps(value)
        if form is None:
            written = self._chance.choice(
                (written, f"```json\n{written}\n```", f"Here you are: {written}\nAnything else?", "I cannot do that.")
            )
        return Reply(_pieces(written))

    def _refuses(self, form: dict[str, Any], body: dict[str, Any]) -> str:
        said = json.dumps(body["messages"])
        match form["type"]:
            case _ if self._kind == "neither":
                return "response_format is not supported by this model"
            case "json_schema" if self._kind == "json_mode":
                return "This response_format type is unavailable now"
            case "json_object":
                return (
                    ""
                    if "json" in said.lower()
                    else "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'."
                )
            case _:
                inner = form["json_schema"]
                if inner["schema"].get("type") != "object":
                    return f"Invalid schema for response_format '{inner['name']}': schema must be a JSON Schema of 'type: \"object\"'."
                return strict_fault(inner["schema"]) if inner["strict"] else ""

    def _told(self, body: dict[str, Any]) -> Any:
        """Return the schema in the instruction of a request; without one, a schema of objects."""
        for message in body["messages"]:
            _, found, rest = str(message["content"]).partition("It must keep to this JSON schema:\n")
            if found:
                return json.JSONDecoder().raw_decode(rest)[0]
        return {"type": "object", "properties": {}}


def strict_fault(schema: Any, place: tuple[str, ...] = ()) -> str:
    """Return OpenAI's error message for a schema outside its strict subset, or an empty text."""
    assert isinstance(schema, dict)
    schema = cast("dict[str, Any]", schema)
    taken = {
        *("type", "title", "description", "properties", "required", "additionalProperties", "items", "enum", "anyOf", "$ref", "$defs"),
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minItems", "maxItems", "pattern", "format"),
    }
    if other := sorted(set(schema) - taken):
        return f"Invalid schema for response_format: In context={place}, '{other[0]}' is not permitted."
    if not schema.keys() & {"type", "anyOf", "$ref"}:
        return f"Invalid schema for response_format: In context={place}, schema must have a 'type' key."
    if schema.get("type") == "object":
        if schema.get("additionalProperties") is not False:
            return f"Invalid schema for response_format: In context={place}, 'additionalProperties' is required to be supplied and to be false."
        if sorted(schema["required"]) != sorted(schema["properties"]):
            return f"Invalid schema for response_format: In context={place}, 'required' must include every key in properties."
    inner: list[tuple[str, Any]] = [
        *schema.get("properties", {}).items(),
        *schema.get("$defs", {}).items(),
        *(("anyOf", one) for one in schema.get("anyOf", ())),
    ]
    inner += [("items", schema["items"])] if "items" in schema else []
    return next((fault for name, one in inner if (fault := strict_fault(one, (*place, name)))), "")


def _pieces(written: str) -> tuple[bytes, ...]:
    return text(*(written[at : at + 9] for at in range(0, len(written), 9)))


@asynccontextmanager
async def asked(workspace: Workspace, model: Provider, kind: Kind = "guaranteed", **more: str) -> AsyncGenerator[Client, None]:
    """Run a router in front of this provider, whose target has the facts of this kind; yield the router's client."""
    async with running(model):
        declared = f"a: {{model: openai/{MODELS[kind]}, api_base: '{model.base}', api_key: k{FACTS[kind]}}}"
        workspace.write("routes.yaml", routes(declared, **more))
        async with serving(workspace.build()) as client:
            yield client


async def completed(client: Client, form: Any, **more: Any) -> Answered:
    """POST a question with this `response_format` to /v1/chat/completions and return the answer."""
    body = {"model": "chat-model", "messages": [{"role": "user", "content": "Who?"}], **more}
    return await client.post("/v1/chat/completions", response_format=form, **body)


def written(answer: Answered) -> tuple[str, str]:
    """Return the text of an answer, streamed or not, and its error code (empty without one)."""
    if answer.headers["content-type"].startswith("text/event-stream"):
        frames = [json.loads(line[6:]) for line in answer.body.decode().splitlines() if line.startswith("data: {")]
        said = "".join(one["choices"][0]["delta"].get("content") or "" for one in frames if one.get("choices"))
        return said, next((one["error"]["code"] for one in frames if "error" in one), "")
    if answer.status != 200:
        return "", answer.json["error"]["code"]
    return answer.json["choices"][0]["message"]["content"], ""


@pytest.mark.parametrize("kind", MODELS)
async def test_structured_answer_is_valid_for_its_schema_or_an_error(workspace: Workspace, kind: Kind) -> None:
    """Answers for 200 generated schemas, streamed or not, are valid, or an `invalid_output` error without any text."""
    model = Model(kind)
    outcomes: list[str] = []
    async with asked(workspace, model, kind) as client:
        for seed in range(SCHEMAS):
            schema = schema_of(random.Random(seed))
            form = {"type": "json_schema", "json_schema": {"name": "made", "schema": schema}}
            answer = await completed(client, form, stream=seed % 2 == 0)
            said, code = written(answer)
            assert code in ("", "invalid_output"), (schema, answer.body)
            if code:
                assert said == "", (schema, said)
            else:
                jsonschema.validate(json.loads(said), schema)
            outcomes.append(code)
    assert model.broken == []
    assert outcomes.count("") > SCHEMAS // 2
    assert ("invalid_output" in outcomes) == (kind != "guaranteed" or not all(_is_strict(body) for body in model.requests))


def _is_strict(body: dict[str, Any]) -> bool:
    form = body.get("response_format", {})
    return form.get("type") == "json_schema" and form["json_schema"]["strict"]


async def test_structured_answer_is_streamed_live_if_the_target_guarantees_it(workspace: Workspace) -> None:
    """A target with strict schemas has its JSON streamed to the client while the provider has not sent the rest."""
    gate = asyncio.Event()
    frames = (chunk({"content": '{"name": "A'}), chunk({"content": 'da", "age": 36}'}), chunk({}, "stop"), usage(), DONE)
    model = Provider([Reply(frames, gate=gate)])
    body = {"model": "chat-model", "messages": [{"role": "user", "content": "Who?"}], "response_format": PERSON_FORMAT, "stream": True}
    async with asked(workspace, model) as client, client.session.post(f"{client.base}/v1/chat/completions", json=body) as response:
        read = b""
        while b'\\"A"' not in read:
            read += await response.content.readany()
        gate.set()
        rest = await response.content.read()
    assert b"36}" not in read
    assert b"36}" in rest


async def test_keep_alive_is_sent_while_a_structured_answer_is_buffered(workspace: Workspace) -> None:
    """A stream whose JSON is buffered for validation sends keep-alive comments, and the JSON only at the end."""
    gate = asyncio.Event()
    frames = (chunk({"content": '{"name": "A'}), chunk({"content": 'da", "age": 36}'}), chunk({}, "stop"), usage(), DONE)
    model = Provider([Reply(frames, gate=gate)])
    body = {"model": "chat-model", "messages": [{"role": "user", "content": "Who?"}], "response_format": PERSON_FORMAT, "stream": True}
    async with (
        asked(workspace, model, "json_mode", more="server: {keep_alive: 1s}") as client,
        client.session.post(f"{client.base}/v1/chat/completions", json=body) as response,
    ):
        read = b""
        while read.count(b": keep-alive") < 2:
            read += await response.content.readany()
        gate.set()
        rest = await response.content.read()
    assert b"name" not in read
    assert b"Ada" in rest


async def test_structured_answer_in_json_mode_is_buffered_and_corrected(workspace: Workspace) -> None:
    """A client gets only the corrected JSON of an invalid answer in JSON mode, with the usage of both calls."""
    model = Provider([Reply(text('{"name": ', '"Ada"}')), Reply(text("```json\n", ADA, "\n```"))])
    async with asked(workspace, model, "json_mode") as client:
        answer = await completed(client, PERSON_FORMAT, stream=True, stream_options={"include_usage": True})
    heard = READERS["openai"](answer.body)
    assert (heard.text, heard.usage) == (ADA, (22, 6))
    told = model.requests[1]["messages"][-2:]
    assert told[0] == {"role": "assistant", "content": '{"name": "Ada"}'}
    assert "'age' is a required property" in told[1]["content"]


async def test_structured_answer_that_stays_invalid_is_an_error_of_the_wire(workspace: Workspace) -> None:
    """An answer that is invalid after one correction is an error in the form of its wire, 502 if unstreamed, without the model's text."""
    model = Provider([Reply(text("I would rather not, WORDS."))])
    async with asked(workspace, model, "neither") as client:
        whole = await completed(client, PERSON_FORMAT)
        assert len(model.requests) == 2
        streamed = await completed(client, PERSON_FORMAT, stream=True)
        ui = await client.post(
            "/api/chat?protocol=ui-message-stream", messages=[{"role": "user", "content": "Hi"}], response_format=PERSON_FORMAT
        )
        line = await client.ask(response_format=PERSON_FORMAT)
        claude = await client.post(
            "/v1/messages",
            model="chat-model",
            max_tokens=100,
            messages=[{"role": "user", "content": "Hi"}],
            output_config={"format": {"type": "json_schema", "schema": PERSON}},
        )
    assert (whole.status, whole.json["error"]["code"], whole.headers["x-should-retry"]) == (502, "invalid_output", "false")
    assert written(streamed) == ("", "invalid_output")
    assert b'"type":"error"' in ui.body
    assert [code for code, _ in line.lines] == ["3", "d"]
    assert (claude.status, claude.json["type"], claude.json["error"]["type"]) == (502, "error", "api_error")
    assert not any(b"WORDS" in one.body for one in (whole, streamed, ui, line, claude))


async def test_structured_answer_cut_off_by_max_tokens_gets_a_400(workspace: Workspace) -> None:
    """A structured answer cut off by `max_tokens` gets a 400 with code `output_cut_off`, without a correction call."""
    model = Provider([Reply(text('{"name": "Ad', finish="length"))])
    async with asked(workspace, model, "json_mode") as client:
        answer = await completed(client, PERSON_FORMAT, max_tokens=3)
    assert (answer.status, answer.json["error"]["code"], len(model.requests)) == (400, "output_cut_off", 1)


async def test_plain_text_of_a_target_with_strict_schemas_is_corrected(workspace: Workspace) -> None:
    """A target with strict schemas that answers with plain text is asked again, and the client gets only the valid JSON."""
    model = Provider([Reply(text("Of course! ", ADA[:9])), Reply(text(ADA))])
    async with asked(workspace, model) as client:
        answer = await completed(client, PERSON_FORMAT, stream=True)
    assert written(answer) == (ADA, "")


async def test_streamed_json_that_turns_out_invalid_ends_with_an_error(workspace: Workspace) -> None:
    """A stream of a target with strict schemas whose JSON is invalid ends with `invalid_output` and without a correction call."""
    model = Provider([Reply(text('{"name": "Ada", ', '"age": "old"}'))])
    async with asked(workspace, model) as client:
        answer = await completed(client, PERSON_FORMAT, stream=True)
    assert written(answer)[1] == "invalid_output"
    assert b'"finish_reason":"stop"' not in answer.body
    assert len(model.requests) == 1


@pytest.mark.parametrize("kind", ["guaranteed", "json_mode"])
async def test_structured_answer_that_breaks_off_is_retried_only_before_any_text_was_sent(workspace: Workspace, kind: Kind) -> None:
    """A structured answer that breaks off is retried if it was buffered; if part of it was streamed, it ends with an error."""
    broken = Reply((chunk({"content": '{"name": "A'}), chunk({"content": "d"})), drop=True)
    model = Provider([broken, Reply(text(ADA))])
    async with asked(workspace, model, kind) as client:
        answer = await completed(client, PERSON_FORMAT, stream=True)
    said, code = written(answer)
    assert (said, code) == ((ADA, "") if kind == "json_mode" else ('{"name": "Ad', "no_answer"))


async def test_refused_json_mode_falls_back_to_an_instruction_and_is_remembered(workspace: Workspace) -> None:
    """A model that refuses JSON mode is asked by an instruction in the prompt instead, then and in later requests."""
    model = Model("neither")
    async with running(model):
        workspace.write("routes.yaml", routes(f"a: {{model: openai/home-made, api_base: '{model.base}', api_key: k}}"))
        async with serving(workspace.build()) as client:
            ways = [(await completed(client, {"type": "json_object"})).headers["x-router-attempts"] for _ in range(3)]
    assert model.broken == ["response_format is not supported by this model"]
    assert all("output=instruction" in one for one in ways)


async def test_schema_refused_for_its_content_is_not_remembered_for_the_model(workspace: Workspace) -> None:
    """A 400 about the content of a schema leads to JSON mode for that request only; the next request sends its schema again."""
    fault = error(400, "Invalid schema for response_format 'person': In context=(), 'x' is not permitted.", "invalid_json_schema")
    model = Provider([fault, Reply(text(ADA)), Reply(text(ADA))])
    async with asked(workspace, model) as client:
        first, second = [await completed(client, PERSON_FORMAT) for _ in range(2)]
    forms = [body["response_format"]["type"] for body in model.requests]
    assert forms == ["json_schema", "json_object", "json_schema"]
    assert ("output=json_object" in first.headers["x-router-attempts"], "output" in second.headers["x-router-attempts"]) == (True, False)


async def test_log_names_the_schema_rules_that_an_invalid_answer_broke(workspace: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    """The log of an invalid answer has target, output mode and the broken schema rules, without the answer's text."""
    model = Provider([Reply(text('{"name": "WORDS"}')), Reply(text(ADA))])
    async with asked(workspace, model, "json_mode") as client:
        await completed(client, PERSON_FORMAT)
    [wrong] = [one for one in caplog.records if one.getMessage() == "an answer is not of the form that was asked for"]
    assert wrong.__dict__["fields"] == {"target": "a", "output": "json_object", "rules": ["required"], "sent": False}


CALL = (
    chunk({"content": "Let me look. "}),
    chunk(
        {
            "tool_calls": [
                {"index": 0, "id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": '{"location": "Rome"}'}}
            ]
        }
    ),
    chunk({}, "tool_calls"),
    usage(),
    DONE,
)


@pytest.mark.parametrize("kind", MODELS)
async def test_text_before_a_tool_call_is_not_part_of_a_structured_answer(workspace: Workspace, kind: Kind) -> None:
    """Text that a model sends before a tool call is not sent to the client; the answer is only the final JSON."""
    model = Provider([Reply(CALL), Reply(text(ADA))])
    async with asked(workspace, model, kind, route="targets: [a]\n    tools: [weather]") as client:
        answer = await completed(client, PERSON_FORMAT, stream=True)
    assert written(answer) == (ADA, "")


async def test_structured_answer_without_json_after_max_steps_is_an_error(workspace: Workspace) -> None:
    """A structured answer of a model that only calls tools until `max_steps` is a 502 with code `invalid_output`."""
    model = Provider([Reply(CALL)])
    async with asked(workspace, model, route="targets: [a]\n    tools: [weather]\n    max_steps: 2") as client:
        answer = await completed(client, PERSON_FORMAT)
    assert (answer.status, answer.json["error"]["code"]) == (502, "invalid_output")


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"type": "grammar"}, "response_format.type: one of text, json_object, json_schema is needed."),
        ({"type": "json_schema"}, "response_format.json_schema: an object with a schema is needed."),
        (
            {"type": "json_schema", "json_schema": {"name": "no blanks", "schema": {}}},
            "response_format.json_schema.name: letters, digits, _ and -, 64 at most.",
        ),
        ({"type": "json_schema", "json_schema": {"schema": []}}, "response_format.json_schema.schema: a JSON schema is needed, an object."),
        ({"type": "json_schema", "json_schema": {"schema": {"$ref": "http://169.254.169.254/"}}}, "only what stands in the schema itself"),
        ({"type": "json_schema", "json_schema": {"schema": {"type": "wish"}}}, "this is no JSON schema"),
        ("json_object", "response_format.type: one of text, json_object, json_schema is needed."),
    ],
)
async def test_invalid_response_format_gets_a_400_naming_the_field(workspace: Workspace, form: Any, said: str) -> None:
    """An invalid `response_format` gets a 400 whose message names the field, without a call to the provider."""
    model = Provider([Reply(text(ADA))])
    async with asked(workspace, model) as client:
        answer = await completed(client, form)
    assert (answer.status, said in answer.json["error"]["message"], model.requests) == (400, True, [])


async def test_response_format_text_is_not_sent_to_the_provider(workspace: Workspace) -> None:
    """A request with `response_format: {type: text}` is a plain one: the field is not sent to the provider."""
    model = Provider([Reply(text("Hello"))])
    async with asked(workspace, model) as client:
        answer = await completed(client, {"type": "text"})
    assert written(answer) == ("Hello", "")
    assert "response_format" not in model.requests[0]


class Person(pydantic.BaseModel):
    """A name and an age."""

    name: str
    age: int


@pytest.mark.parametrize("kind", MODELS)
async def test_openai_clients_parse_returns_the_object(workspace: Workspace, kind: Kind) -> None:
    """`parse` and `stream` of OpenAI's client return the object for every kind of target."""
    model = Provider([Reply(text(ADA))])
    asks: list[Any] = [{"role": "user", "content": "Who?"}]
    async with (
        asked(workspace, model, kind) as client,
        openai.AsyncOpenAI(base_url=f"{client.base}/v1", api_key="none", max_retries=0) as sdk,
    ):
        made = await sdk.chat.completions.parse(model="chat-model", messages=asks, response_format=Person)
        async with sdk.chat.completions.stream(model="chat-model", messages=asks, response_format=Person) as stream:
            final = await stream.get_final_completion()
    assert made.choices[0].message.parsed == Person(name="Ada", age=36)
    assert final.choices[0].message.parsed == Person(name="Ada", age=36)


async def test_openai_client_does_not_retry_an_answer_that_stays_invalid(workspace: Workspace) -> None:
    """OpenAI's client with its default retries makes one request for an answer that stays invalid: two calls to the provider."""
    model = Provider([Reply(text("No."))])
    async with asked(workspace, model, "neither") as client, openai.AsyncOpenAI(base_url=f"{client.base}/v1", api_key="none") as sdk:
        with pytest.raises(openai.InternalServerError):
            await sdk.chat.completions.parse(model="chat-model", messages=[{"role": "user", "content": "Who?"}], response_format=Person)
    assert len(model.requests) == 2


async def test_anthropic_output_format_is_sent_as_response_format(workspace: Workspace) -> None:
    """Anthropic's `output_config.format` and `output_format` become a `response_format`; an unknown type gets a 400."""
    model = Provider([Reply(text(ADA))])
    form: Any = {"type": "json_schema", "schema": PERSON}
    async with asked(workspace, model) as client, anthropic.AsyncAnthropic(base_url=client.base, api_key="none", max_retries=0) as sdk:
        asks: dict[str, Any] = {"model": "chat-model", "max_tokens": 99, "messages": [{"role": "user", "content": "Who?"}]}
        made: list[Any] = [
            await sdk.messages.create(**asks, extra_body={name: value})
            for name, value in (("output_config", {"format": form}), ("output_format", form))
        ]
        wrong = await client.post("/v1/messages", **asks, output_config={"format": {"type": "yaml"}})
    assert [one.content[0].text for one in made] == [ADA, ADA]
    assert [body["response_format"]["json_schema"]["schema"] for body in model.requests] == [PERSON, PERSON]
    assert (wrong.status, wrong.json["error"]["message"]) == (400, "output_config.format.type: json_schema is needed.")


async def test_ui_message_stream_sends_the_json_as_text_deltas(workspace: Workspace) -> None:
    """The text deltas of a UI message stream add up to the JSON without the model's code fence, followed by `finish`."""
    model = Provider([Reply(text("```json\n", ADA, "\n```"))])
    body: dict[str, Any] = {"messages": [{"role": "user", "parts": [{"type": "text", "text": "Who?"}]}], "response_format": PERSON_FORMAT}
    async with asked(workspace, model, "neither") as client:
        answer = await client.post("/api/chat", **body)
    parts = [json.loads(line[6:]) for line in answer.body.decode().splitlines() if line.startswith("data: {")]
    assert "".join(one["delta"] for one in parts if one["type"] == "text-delta") == ADA
    assert parts[-1]["type"] == "finish"


async def test_cache_key_contains_the_response_format(workspace: Workspace) -> None:
    """A cached question is a miss without its `response_format` or with another schema, and a hit with the same one."""
    other = {"type": "json_schema", "json_schema": {"name": "person", "schema": {**PERSON, "title": "Another"}}}
    model = Provider([Reply(text(ADA))])
    async with asked(workspace, model, route="targets: [a]\n    cache: {ttl: 60s}") as client:
        forms: Sequence[Any] = (PERSON_FORMAT, None, other, PERSON_FORMAT)
        told = [(await completed(client, form)).headers["x-router-cache"] for form in forms]
    assert told == ["miss", "miss", "miss", "hit"]


def _build(workspace: Workspace, pipeline: str, **files: str) -> Generation:
    workspace.write("pipelines/chat.yaml", f"steps:\n{pipeline}")
    for name, content in files.items():
        workspace.write(f"pipelines/{name}.json", content)
    return workspace.write("routes.yaml", routes('a: {script: [{text: \'{"name": "Ada", "age": 36}\'}]}')).build()


async def test_output_step_of_a_pipeline_overrides_the_response_format(workspace: Workspace) -> None:
    """A pipeline with `output: person.json` gives JSON of that schema, whether the client sends a `response_format` or none."""
    generation = _build(workspace, "  - output: person.json\n", person=json.dumps(PERSON))
    async with serving(generation) as client:
        whole = await completed(client, {"type": "json_object"})
        line = await client.ask()
    assert written(whole) == (ADA, "")
    assert line.text == ADA


async def test_scripted_target_that_answers_plain_text_is_invalid_output(workspace: Workspace) -> None:
    """A scripted target whose answer is not the requested JSON gives an `invalid_output` error."""
    workspace.write("routes.yaml", routes("a: {script: [{text: Hello}]}"))
    async with serving(workspace.build()) as client:
        answer = await completed(client, PERSON_FORMAT)
    assert written(answer) == ("", "invalid_output")


async def test_demo_target_answers_generated_schemas_with_valid_json(workspace: Workspace) -> None:
    """The demo answers at least 38 of 40 generated schemas with valid JSON, and one with `code` with a program."""
    workspace.write("routes.yaml", routes("a: {script: demo}"))
    outcomes: list[str] = []
    async with serving(workspace.build()) as client:
        for seed in range(40):
            schema = schema_of(random.Random(seed))
            said, code = written(await completed(client, {"type": "json_schema", "json_schema": {"schema": schema}}))
            outcomes.append(code)
            if not code:
                jsonschema.validate(json.loads(said), schema)
        artifact = {"type": "object", "properties": {"code": {"type": "string"}}, "required": ["code"], "additionalProperties": False}
        code, _ = written(await completed(client, {"type": "json_schema", "json_schema": {"schema": artifact}}, stream=True))
        anything, _ = written(await completed(client, {"type": "json_object"}))
    assert outcomes.count("") >= 38
    assert "def main" in json.loads(code)["code"]
    assert isinstance(json.loads(anything), dict)


async def test_responses_text_format_is_sent_as_response_format(workspace: Workspace) -> None:
    """`text.format` of a Responses request becomes a `response_format` and is repeated; an unknown type gets a 400."""
    form = {"type": "json_schema", "name": "person", "schema": PERSON, "strict": True}
    model = Provider([Reply(text(ADA))])
    async with asked(workspace, model) as client:
        made = await client.post("/v1/responses", model="chat-model", input="Who?", text={"format": form})
        wrong = await client.post("/v1/responses", model="chat-model", input="Who?", text={"format": {"type": "yaml"}})
    assert made.json["output"][-1]["content"][0]["text"] == ADA
    assert made.json["text"]["format"] == form
    assert model.requests[0]["response_format"]["json_schema"]["schema"] == PERSON
    assert (wrong.status, wrong.json["error"]["message"]) == (400, "text.format.type: one of text, json_object, json_schema is needed.")

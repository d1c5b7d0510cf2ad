"""Structured output: an answer is the JSON that was asked for, or an honest error; never anything else."""

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
    """A provider of one kind that enforces what the real ones do, and answers with JSON of the schema that it was told of; every
    third answer of one that guarantees nothing is wrong, and some of the others stand in fences or among words.
    """

    def __init__(self, kind: Kind, seed: int = 0) -> None:
        super().__init__([Reply()])
        self._kind = kind
        self._chance = random.Random(seed)
        self.broken: list[str] = []
        """Which of a real provider's rules a request broke."""

    def reply(self, headers: dict[str, str], body: dict[str, Any]) -> Reply:
        """A refusal, or JSON of the schema that it was told of."""
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
        """The schema in the instruction of a request."""
        for message in body["messages"]:
            _, found, rest = str(message["content"]).partition("It must keep to this JSON schema:\n")
            if found:
                return json.JSONDecoder().raw_decode(rest)[0]
        return {"type": "object", "properties": {}}


def strict_fault(schema: Any, place: tuple[str, ...] = ()) -> str:
    """What OpenAI says of a schema that is not in its subset; empty where it is."""
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
    """A running router in front of a provider of this kind."""
    async with running(model):
        declared = f"a: {{model: openai/{MODELS[kind]}, api_base: '{model.base}', api_key: k{FACTS[kind]}}}"
        workspace.write("routes.yaml", routes(declared, **more))
        async with serving(workspace.build()) as client:
            yield client


async def completed(client: Client, form: Any, **more: Any) -> Answered:
    """What /v1/chat/completions answers."""
    body = {"model": "chat-model", "messages": [{"role": "user", "content": "Who?"}], **more}
    return await client.post("/v1/chat/completions", response_format=form, **body)


def written(answer: Answered) -> tuple[str, str]:
    """The text of an answer, streamed or not, and its error's code."""
    if answer.headers["content-type"].startswith("text/event-stream"):
        frames = [json.loads(line[6:]) for line in answer.body.decode().splitlines() if line.startswith("data: {")]
        said = "".join(one["choices"][0]["delta"].get("content") or "" for one in frames if one.get("choices"))
        return said, next((one["error"]["code"] for one in frames if "error" in one), "")
    if answer.status != 200:
        return "", answer.json["error"]["code"]
    return answer.json["choices"][0]["message"]["content"], ""


@pytest.mark.parametrize("kind", MODELS)
async def test_answer_of_any_schema_is_valid_or_an_error(workspace: Workspace, kind: Kind) -> None:
    """200 generated schemas: what a target keeps to is streamed, what it does not is held back, checked, corrected once, or refused."""
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


async def test_guaranteed_answer_is_streamed_before_it_is_whole(workspace: Workspace) -> None:
    """Its first half is with the client while its provider has not said the second."""
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


async def test_signs_of_life_go_on_while_an_answer_is_held(workspace: Workspace) -> None:
    """A client, and a proxy on the way, see that the answer is being made; no word of it comes before it is whole."""
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


async def test_unguaranteed_answer_is_held_until_it_is_valid(workspace: Workspace) -> None:
    """Of an answer that has to be corrected the client reads the corrected one alone, in one piece; the usage is of both."""
    model = Provider([Reply(text('{"name": ', '"Ada"}')), Reply(text("```json\n", ADA, "\n```"))])
    async with asked(workspace, model, "json_mode") as client:
        answer = await completed(client, PERSON_FORMAT, stream=True, stream_options={"include_usage": True})
    heard = READERS["openai"](answer.body)
    assert (heard.text, heard.usage) == (ADA, (22, 6))
    told = model.requests[1]["messages"][-2:]
    assert told[0] == {"role": "assistant", "content": '{"name": "Ada"}'}
    assert "'age' is a required property" in told[1]["content"]


async def test_answer_that_stays_wrong_is_an_error_in_the_form_of_each_dialect(workspace: Workspace) -> None:
    """One correction is asked for, of the same target; then every dialect says that no valid answer came, and no word of it."""
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


async def test_answer_cut_off_at_its_limit_is_an_error_that_says_so(workspace: Workspace) -> None:
    """Nobody is asked again: with the same limit it would be cut off again."""
    model = Provider([Reply(text('{"name": "Ad', finish="length"))])
    async with asked(workspace, model, "json_mode") as client:
        answer = await completed(client, PERSON_FORMAT, max_tokens=3)
    assert (answer.status, answer.json["error"]["code"], len(model.requests)) == (400, "output_cut_off", 1)


async def test_target_that_promised_and_writes_words_is_corrected(workspace: Workspace) -> None:
    """A server that passes over the schema is held back from its first word on."""
    model = Provider([Reply(text("Of course! ", ADA[:9])), Reply(text(ADA))])
    async with asked(workspace, model) as client:
        answer = await completed(client, PERSON_FORMAT, stream=True)
    assert written(answer) == (ADA, "")


async def test_target_that_breaks_its_promise_in_mid_stream_ends_in_an_error(workspace: Workspace) -> None:
    """What was passed on cannot be taken back: the stream ends with an error, and not as a whole answer."""
    model = Provider([Reply(text('{"name": "Ada", ', '"age": "old"}'))])
    async with asked(workspace, model) as client:
        answer = await completed(client, PERSON_FORMAT, stream=True)
    assert written(answer)[1] == "invalid_output"
    assert b'"finish_reason":"stop"' not in answer.body
    assert len(model.requests) == 1


@pytest.mark.parametrize("kind", ["guaranteed", "json_mode"])
async def test_answer_that_breaks_off_is_asked_for_anew_only_while_nothing_was_sent(workspace: Workspace, kind: Kind) -> None:
    """No target goes on in the middle of another's JSON."""
    broken = Reply((chunk({"content": '{"name": "A'}), chunk({"content": "d"})), drop=True)
    model = Provider([broken, Reply(text(ADA))])
    async with asked(workspace, model, kind) as client:
        answer = await completed(client, PERSON_FORMAT, stream=True)
    said, code = written(answer)
    assert (said, code) == ((ADA, "") if kind == "json_mode" else ('{"name": "Ad', "no_answer"))


async def test_refused_form_is_asked_for_in_the_next_way_and_remembered(workspace: Workspace) -> None:
    """A model of which nobody knew is asked with JSON mode, refuses, and is asked by instruction: now, and from then on."""
    model = Model("neither")
    async with running(model):
        workspace.write("routes.yaml", routes(f"a: {{model: openai/home-made, api_base: '{model.base}', api_key: k}}"))
        async with serving(workspace.build()) as client:
            ways = [(await completed(client, {"type": "json_object"})).headers["x-router-attempts"] for _ in range(3)]
    assert model.broken == ["response_format is not supported by this model"]
    assert all("output=instruction" in one for one in ways)


async def test_schema_that_is_refused_for_itself_teaches_nothing_of_the_model(workspace: Workspace) -> None:
    """A 400 that speaks of what stands in the schema is of this question: the next schema is sent again."""
    fault = error(400, "Invalid schema for response_format 'person': In context=(), 'x' is not permitted.", "invalid_json_schema")
    model = Provider([fault, Reply(text(ADA)), Reply(text(ADA))])
    async with asked(workspace, model) as client:
        first, second = [await completed(client, PERSON_FORMAT) for _ in range(2)]
    forms = [body["response_format"]["type"] for body in model.requests]
    assert forms == ["json_schema", "json_object", "json_schema"]
    assert ("output=json_object" in first.headers["x-router-attempts"], "output" in second.headers["x-router-attempts"]) == (True, False)


async def test_log_says_how_the_form_was_emulated(workspace: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    """Each attempt has the way in which the form was asked for; a wrong answer is logged by the rules that it broke, without its words."""
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
async def test_words_beside_a_tool_call_are_no_part_of_the_json(workspace: Workspace, kind: Kind) -> None:
    """What a model says before it calls a tool is not sent; its last answer is the JSON, and nothing else."""
    model = Provider([Reply(CALL), Reply(text(ADA))])
    async with asked(workspace, model, kind, route="targets: [a]\n    tools: [weather]") as client:
        answer = await completed(client, PERSON_FORMAT, stream=True)
    assert written(answer) == (ADA, "")


async def test_model_that_only_calls_tools_gives_an_error(workspace: Workspace) -> None:
    """After max_steps there is no JSON: the answer is not an empty one that looks whole."""
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
async def test_form_that_cannot_be_read_is_refused_with_its_place(workspace: Workspace, form: Any, said: str) -> None:
    """It is the client's to correct, and costs no call."""
    model = Provider([Reply(text(ADA))])
    async with asked(workspace, model) as client:
        answer = await completed(client, form)
    assert (answer.status, said in answer.json["error"]["message"], model.requests) == (400, True, [])


async def test_text_format_asks_for_nothing(workspace: Workspace) -> None:
    """`{type: text}` is what every answer is."""
    model = Provider([Reply(text("Hello"))])
    async with asked(workspace, model) as client:
        answer = await completed(client, {"type": "text"})
    assert written(answer) == ("Hello", "")
    assert "response_format" not in model.requests[0]


class Person(pydantic.BaseModel):
    """Somebody."""

    name: str
    age: int


@pytest.mark.parametrize("kind", MODELS)
async def test_clients_parse_reads_an_object(workspace: Workspace, kind: Kind) -> None:
    """`parse` of OpenAI's client, and `stream` of it, give the object, whatever the target can do."""
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


async def test_client_that_retries_asks_once_for_an_answer_that_stays_wrong(workspace: Workspace) -> None:
    """Its model was asked twice: the client's own retries would make six calls of it."""
    model = Provider([Reply(text("No."))])
    async with asked(workspace, model, "neither") as client, openai.AsyncOpenAI(base_url=f"{client.base}/v1", api_key="none") as sdk:
        with pytest.raises(openai.InternalServerError):
            await sdk.chat.completions.parse(model="chat-model", messages=[{"role": "user", "content": "Who?"}], response_format=Person)
    assert len(model.requests) == 2


async def test_anthropics_client_gets_its_form(workspace: Workspace) -> None:
    """`output_config.format`, and `output_format` as the beta called it, are the same wish."""
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


async def test_ui_message_stream_brings_the_object_as_text(workspace: Workspace) -> None:
    """What AI SDK's Output.object reads: text deltas that are JSON together, and `finish` at the end."""
    model = Provider([Reply(text("```json\n", ADA, "\n```"))])
    body: dict[str, Any] = {"messages": [{"role": "user", "parts": [{"type": "text", "text": "Who?"}]}], "response_format": PERSON_FORMAT}
    async with asked(workspace, model, "neither") as client:
        answer = await client.post("/api/chat", **body)
    parts = [json.loads(line[6:]) for line in answer.body.decode().splitlines() if line.startswith("data: {")]
    assert "".join(one["delta"] for one in parts if one["type"] == "text-delta") == ADA
    assert parts[-1]["type"] == "finish"


async def test_answers_of_two_forms_are_kept_apart(workspace: Workspace) -> None:
    """The cache tells a question with a form from the same without, and from one with another."""
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


async def test_pipeline_promises_json_of_its_schema(workspace: Workspace) -> None:
    """`output: person.json` holds for every dialect, and stands over the form that a client asks for."""
    generation = _build(workspace, "  - output: person.json\n", person=json.dumps(PERSON))
    async with serving(generation) as client:
        whole = await completed(client, {"type": "json_object"})
        line = await client.ask()
    assert written(whole) == (ADA, "")
    assert line.text == ADA


async def test_script_that_says_no_json_is_an_error(workspace: Workspace) -> None:
    """A script is held to the form as every target is."""
    workspace.write("routes.yaml", routes("a: {script: [{text: Hello}]}"))
    async with serving(workspace.build()) as client:
        answer = await completed(client, PERSON_FORMAT)
    assert written(answer) == ("", "invalid_output")


async def test_demo_answers_any_schema_offline(workspace: Workspace) -> None:
    """A chatbot's artifacts (an object with `code`, or `csv`) come without a key; of generated schemas nearly all are answered."""
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


async def test_responses_api_gets_its_form(workspace: Workspace) -> None:
    """`text.format` is the same wish, and is repeated in the response; one that is none is refused with its place."""
    form = {"type": "json_schema", "name": "person", "schema": PERSON, "strict": True}
    model = Provider([Reply(text(ADA))])
    async with asked(workspace, model) as client:
        made = await client.post("/v1/responses", model="chat-model", input="Who?", text={"format": form})
        wrong = await client.post("/v1/responses", model="chat-model", input="Who?", text={"format": {"type": "yaml"}})
    assert made.json["output"][-1]["content"][0]["text"] == ADA
    assert made.json["text"]["format"] == form
    assert model.requests[0]["response_format"]["json_schema"]["schema"] == PERSON
    assert (wrong.status, wrong.json["error"]["message"]) == (400, "text.format.type: one of text, json_object, json_schema is needed.")

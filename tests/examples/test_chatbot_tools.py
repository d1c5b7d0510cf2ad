"""The tools of examples/chatbot, called through the router: the data parts and results that the front end draws."""

import json
from pathlib import Path

import pytest

from router.commands import main
from tests.conftest import ROOT
from tests.examples.chatbot import DOCUMENT, DONE, EXAMPLE, FORECAST, body, data, output, parts, setting, slowly, wish
from tests.support.provider import Reply, text

NOBODY = [Reply(status=500, body=b"{}")]
WRITTEN = {
    "text": ("# Rain\n\n" + "It rains in spring. " * 20, "# Rain"),
    "code": ("```python\nprint('rain')\n" + "print(1)\n" * 40 + "```\n", "print('rain')"),
    "sheet": ("month,rain (mm)\n" + "April,40\n" * 60, "month,rain (mm)"),
}


@pytest.mark.parametrize("kind", WRITTEN)
async def test_create_document_streams_the_parts_that_the_page_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """`createDocument` streams kind, id, title, clear, deltas and finish in this order; its result is the card's object."""
    said, begin = WRITTEN[kind]
    pieces = [said[at : at + 4] for at in range(0, len(said), 4)]
    wanted = wish("createDocument", title="Rain in spring", kind=kind)
    async with setting(tmp_path, monkeypatch, [wanted, DONE], [Reply(slowly(*pieces))]) as at:
        seen = await parts(at.client, body("Write about rain."))
    shown, made = data(seen), output(seen)
    assert [(name, value) for name, value in shown if not name.endswith("Delta")] == [
        ("kind", kind),
        ("id", made["id"]),
        ("title", "Rain in spring"),
        ("clear", None),
        ("finish", None),
    ]
    assert [name for name, _ in shown[:4]] == ["kind", "id", "title", "clear"]
    assert {name for name, _ in shown[4:-1]} == {f"{kind}Delta"}
    deltas = [value for name, value in shown if name.endswith("Delta")]
    content = "".join(deltas) if kind == "text" else deltas[-1]
    assert content.startswith(begin)
    assert content.strip() == said.removeprefix("```python\n").removesuffix("```\n").strip()
    if kind != "text":
        assert sum(map(len, deltas)) <= 20 * len(content)
    assert {**made, "content": ""} == {"id": made["id"], "title": "Rain in spring", "kind": kind, "content": ""}
    prompt = at.writer.requests[0]["messages"][0]["content"]
    assert ("CSV" in prompt, "Markdown" in prompt) == (kind == "sheet", kind == "text")
    ends = [part["type"] for part in seen]
    assert ends.index("data-finish") < ends.index("tool-output-available")


async def test_update_document_sends_the_current_content_to_the_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`updateDocument` sends the writing model the content from the request body; the page gets a clear and the new text."""
    wanted = wish("updateDocument", id=DOCUMENT["id"], description="Make it sunny.")
    async with setting(tmp_path, monkeypatch, [wanted, DONE], [Reply(text("The sun shines."))]) as at:
        seen = await parts(at.client, body("Make it sunny.", [DOCUMENT]))
    assert data(seen) == [("clear", None), ("textDelta", "The sun shines."), ("finish", None)]
    assert {**output(seen), "content": ""} == {"id": DOCUMENT["id"], "title": "Rain", "kind": "text", "content": ""}
    asked = at.writer.requests[0]["messages"]
    assert "It rains. It is wet." in asked[0]["content"]
    assert asked[-1]["content"] == "Make it sunny."
    assert "It rains. It is wet." in at.chat.requests[0]["messages"][0]["content"]


@pytest.mark.parametrize(
    ("old", "every", "content"),
    [("rains", False, "It snows. It is wet."), ("It", True, "snows rains. snows is wet."), ("hail", False, None), ("", False, None)],
)
async def test_edit_document_replaces_a_passage_without_asking_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, every: bool, content: str | None
) -> None:
    """`editDocument` replaces one or all occurrences of a passage without a model call; a missing passage is an error object."""
    wanted = wish("editDocument", id=DOCUMENT["id"], old_string=old, new_string="snows", replace_all=every)
    async with setting(tmp_path, monkeypatch, [wanted, DONE], NOBODY) as at:
        seen = await parts(at.client, body("Change it.", [DOCUMENT]))
        assert at.writer.requests == []
    if content is None:
        assert data(seen) == []
        assert output(seen) == {"error": "This passage does not stand in the document."}
    else:
        assert data(seen) == [("clear", None), ("textDelta", content), ("finish", None)]


async def test_request_suggestions_streams_at_most_five_suggestions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`requestSuggestions` streams five of the seven suggestions of the writing model, each as a data part."""
    listed = [{"original": f"It rains {one}.", "suggested": f"It pours {one}.", "description": "Stronger."} for one in range(7)]
    said = json.dumps({"suggestions": listed})
    wanted = wish("requestSuggestions", documentId=DOCUMENT["id"])
    async with setting(tmp_path, monkeypatch, [wanted, DONE], [Reply(slowly(*(said[at : at + 9] for at in range(0, len(said), 9))))]) as at:
        seen = await parts(at.client, body("Suggest.", [DOCUMENT]))
    shown = [value for name, value in data(seen) if name == "suggestion"]
    assert len({one.pop("id") for one in shown}) == 5
    assert shown[0] == {
        "documentId": DOCUMENT["id"],
        "originalText": "It rains 0.",
        "suggestedText": "It pours 0.",
        "description": "Stronger.",
        "isResolved": False,
    }
    assert output(seen) == {"id": DOCUMENT["id"], "title": "Rain", "kind": "text", "message": "5 suggestions stand beside the document."}
    assert at.writer.requests[0]["messages"][-1]["content"] == DOCUMENT["content"]


@pytest.mark.parametrize("name", ["updateDocument", "editDocument", "requestSuggestions"])
async def test_tool_call_with_an_unknown_document_returns_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A tool call with an unknown document id returns an object with the `error`, even if the request's `documents` are malformed."""
    arguments = {
        "updateDocument": {"id": "x", "description": "?"},
        "editDocument": {"id": "x", "old_string": "a", "new_string": "b"},
        "requestSuggestions": {"documentId": "x"},
    }[name]
    odd = [
        "x",
        {"id": "x"},
        {"id": "x", "title": "t", "kind": "image", "content": "c"},
        {"id": "x", "title": 1, "kind": "text", "content": ""},
    ]
    async with setting(tmp_path, monkeypatch, [wish(name, **arguments), DONE], NOBODY) as at:
        seen = await parts(at.client, {**body("Change it."), "documents": odd})
    assert output(seen) == {"error": "There is no such document in this chat."}


@pytest.mark.parametrize("name", ["createDocument", "requestSuggestions"])
async def test_tool_whose_writer_fails_returns_an_error_that_the_page_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A tool whose writing model fails returns an error object; `createDocument` still sends its finish part."""
    arguments = {"createDocument": {"title": "Rain", "kind": "text"}, "requestSuggestions": {"documentId": DOCUMENT["id"]}}[name]
    async with setting(tmp_path, monkeypatch, [wish(name, **arguments), DONE], NOBODY) as at:
        seen = await parts(at.client, body("Write.", [DOCUMENT]))
    assert output(seen) == {"error": "No model could answer just now. Please try again."}
    if name == "createDocument":
        assert data(seen)[-1] == ("finish", None)


@pytest.mark.parametrize("asked", [{"city": "Berlin"}, {"latitude": 52.52, "longitude": 13.41}])
async def test_get_weather_returns_the_weather_services_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: dict[str, object]
) -> None:
    """`getWeather` returns the fields of the forecast that the card draws, and the city's name if it was called with a city."""
    async with setting(tmp_path, monkeypatch, [wish("getWeather", **asked), DONE], NOBODY) as at:
        seen = await parts(at.client, body("Weather?"))
    assert output(seen) == {**FORECAST, **({"cityName": "Berlin"} if "city" in asked else {})}
    question = at.weather[-1]
    assert (question["latitude"], question["longitude"]) == ("52.52", "13.41")
    assert (question["current"], question["hourly"], question["daily"]) == ("temperature_2m", "temperature_2m", "sunrise,sunset")
    assert question["timezone"] == "auto"


async def test_get_weather_of_an_unknown_city_is_a_tool_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`getWeather` of an unknown city gives a tool error with a sentence for the model."""
    async with setting(tmp_path, monkeypatch, [wish("getWeather", city="Atlantis"), DONE], NOBODY) as at:
        seen = await parts(at.client, body("Weather?"))
    assert [part["errorText"] for part in seen if part["type"] == "tool-output-error"] == ["No city named Atlantis was found."]


@pytest.mark.parametrize("keys", [{}, {"OPENAI_API_KEY": "sk-1", "ANTHROPIC_API_KEY": "sk-2"}])
def test_router_check_accepts_the_chatbot_example(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], keys: dict[str, str]
) -> None:
    """`router check` ends with 0 for the chatbot example, with and without the providers' keys."""
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in keys.items():
        monkeypatch.setenv(name, value)
    assert main(["check", "--routes", str(EXAMPLE / "routes.yaml")]) == 0
    assert "all is well. 6 routes" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["artifact.yaml", "artifact.j2", "title.yaml", "title.j2"])
def test_chatbot_pipelines_equal_the_shipped_ones(name: str) -> None:
    """The chatbot example's artifact and title files (pipeline and template) equal those in the repository's own `pipelines/`, byte for byte."""
    assert (EXAMPLE / "pipelines" / name).read_bytes() == (ROOT / "pipelines" / name).read_bytes()

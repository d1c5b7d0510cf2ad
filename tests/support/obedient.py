"""A fake provider that does what a request asks for, as the checks of compliance suites expect."""

import json
from typing import Any

from tests.support.provider import Provider, Reply, calls, chunk, text


class Obedient(Provider):
    """A provider that calls the first tool where a call is required, reasons where effort is asked for, and otherwise answers in two pieces."""

    def reply(self, headers: dict[str, str], body: dict[str, Any]) -> Reply:
        """Return the reply that the request asks for: a tool call if one is required, else text, after a thought if it sets an effort.

        The text "Cut" ends with `length` if `max_tokens` is 16; "Half" and a dropped connection follow if a message contains `break`.
        """
        if body.get("tool_choice") == "required":
            return Reply(calls(("c1", body["tools"][0]["function"]["name"], '{"location":"San Francisco"}')))
        thoughts = [chunk({"role": "assistant", "reasoning_content": "Hm."})] if body.get("reasoning_effort") else []
        if body.get("max_tokens") == 16:
            return Reply((*thoughts, *text("Cut", finish="length")))
        if "break" in json.dumps(body["messages"]):
            return Reply((chunk({"content": "Half"}),), drop=True)
        return Reply((*thoughts, *text("Hello ", "there.")))

"""Hand-written streams: what a server sends on each wire for each case of cases.py, and malformed ones.

They are literals, so a client's reading of them is evidence about the client and not about an encoder. They use only chunks that the
oldest supported client of the wire knows. Each malformed stream stands beside what its reader makes of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from tests.clients.harness import Wire
from tests.clients.replay import Reply, ended

ONE = "0b54dc9c-2f3e-4a0f-8d3d-5a3d8e6a1c01"
TWO = "0b54dc9c-2f3e-4a0f-8d3d-5a3d8e6a1c02"
UNICODE = '你好！\n😀 "q" \\ \u2028</script>'


def ui(*chunks: str) -> Reply:
    """Return a UI message stream: each chunk as a frame, then the closing frame."""
    frames = "".join(f"data: {chunk}\n\n" for chunk in (*chunks, "[DONE]"))
    headers = (("x-vercel-ai-ui-message-stream", "v1"), ("cache-control", "no-cache"))
    return Reply(frames.encode(), content_type="text/event-stream", headers=headers)


def data(*lines: str) -> Reply:
    """Return a data stream of AI SDK 4 with these lines."""
    text = "".join(f"{line}\n" for line in lines)
    return Reply(text.encode(), content_type="text/plain; charset=utf-8", headers=(("x-vercel-ai-data-stream", "v1"),))


def chunks(*deltas: str, end: str = "[DONE]") -> Reply:
    """Return a stream of chat completion chunks; each argument is a `delta` or a complete chunk."""
    frames = (one if one.startswith(('{"id"', '{"error"')) else chunk(one) for one in deltas)
    return Reply("".join(f"data: {frame}\n\n" for frame in (*frames, end)).encode())


def chunk(delta: str, finish: str = "null") -> str:
    """Return one chat completion chunk as JSON."""
    return (
        '{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"chat-model",'
        f'"choices":[{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{finish}}}]}}'
    )


def text(said: str) -> Reply:
    """Return a raw text response."""
    return Reply(said.encode(), content_type="text/plain; charset=utf-8")


def plain_json(said: str, status: int = 200) -> Reply:
    """Return a JSON response."""
    return Reply(said.encode(), status, "application/json", (("x-request-id", "req_1"),))


# What streams begin and end with.
BEGIN = (f'{{"type":"start","messageId":"{ONE}"}}', '{"type":"start-step"}')
FINISH = '{"type":"finish","messageMetadata":{"finishReason":"stop","usage":{"inputTokens":11,"outputTokens":3,"totalTokens":14}}}'
END = ('{"type":"finish-step"}', FINISH)
F = f'f:{{"messageId":"{ONE}"}}'
E_STOP = 'e:{"finishReason":"stop","usage":{"promptTokens":11,"completionTokens":3},"isContinued":false}'
E_CALLS = 'e:{"finishReason":"tool-calls","usage":{"promptTokens":11,"completionTokens":3},"isContinued":false}'
D = 'd:{"finishReason":"stop","usage":{"promptTokens":11,"completionTokens":3}}'
ROLE = '{"role":"assistant","content":""}'
STOP = chunk("{}", '"stop"')
CALLS = chunk("{}", '"tool_calls"')


def ui_text(*pieces: str, message: str = ONE, part: str = "t1") -> Reply:
    """Return a UI message stream whose text deltas are these JSON strings."""
    deltas = (f'{{"type":"text-delta","id":"{part}","delta":{piece}}}' for piece in pieces)
    begin = f'{{"type":"start","messageId":"{message}"}}'
    return ui(begin, BEGIN[1], f'{{"type":"text-start","id":"{part}"}}', *deltas, f'{{"type":"text-end","id":"{part}"}}', *END)


def openai_text(*pieces: str) -> Reply:
    """Return a stream of chat completion chunks whose contents are these JSON strings."""
    return chunks(ROLE, *(f'{{"content":{piece}}}' for piece in pieces), STOP)


UI_TOOL = ui(
    *BEGIN,
    '{"type":"text-start","id":"t1"}',
    '{"type":"text-delta","id":"t1","delta":"Let me check."}',
    '{"type":"text-end","id":"t1"}',
    '{"type":"tool-input-start","toolCallId":"call_1","toolName":"get_weather"}',
    '{"type":"tool-input-delta","toolCallId":"call_1","inputTextDelta":"{\\"location\\":"}',
    '{"type":"tool-input-delta","toolCallId":"call_1","inputTextDelta":"\\"Beijing\\"}"}',
    '{"type":"tool-input-available","toolCallId":"call_1","toolName":"get_weather","input":{"location":"Beijing"}}',
    '{"type":"tool-output-available","toolCallId":"call_1","output":"Beijing: 25°C"}',
    '{"type":"finish-step"}',
    '{"type":"start-step"}',
    '{"type":"text-start","id":"t2"}',
    '{"type":"text-delta","id":"t2","delta":"It is sunny."}',
    '{"type":"text-end","id":"t2"}',
    *END,
)
DATA_TOOL = data(
    F,
    '0:"Let me check."',
    'b:{"toolCallId":"call_1","toolName":"get_weather"}',
    'c:{"toolCallId":"call_1","argsTextDelta":"{\\"location\\":"}',
    'c:{"toolCallId":"call_1","argsTextDelta":"\\"Beijing\\"}"}',
    '9:{"toolCallId":"call_1","toolName":"get_weather","args":{"location":"Beijing"}}',
    'a:{"toolCallId":"call_1","result":"Beijing: 25°C"}',
    E_CALLS,
    F,
    '0:"It is sunny."',
    E_STOP,
    D,
)
UNICODE_PIECES = ('"你"', '"好！\\n"', '"😀 \\"q\\" \\\\ \u2028</script>"')
PLAIN = ('"Hello"', '", "', '"world!"')
HTTP_ERROR = '{"code":"bad_gateway:chat","message":"No model could answer. (request req_1)","cause":null}'
UI_PARTIAL = ui(
    *BEGIN,
    '{"type":"text-start","id":"t1"}',
    '{"type":"text-delta","id":"t1","delta":"Partial"}',
    '{"type":"error","errorText":"The answer broke off. (request req_1)"}',
    '{"type":"finish-step"}',
    '{"type":"finish"}',
)
UI_LOST = ui(
    *BEGIN,
    '{"type":"tool-input-available","toolCallId":"call_1","toolName":"lost_orders","input":{"number":"A-1"}}',
    '{"type":"tool-output-error","toolCallId":"call_1","errorText":"There is no order of this number."}',
    '{"type":"finish-step"}',
    '{"type":"start-step"}',
    '{"type":"text-start","id":"t1"}',
    '{"type":"text-delta","id":"t1","delta":"I cannot find it."}',
    '{"type":"text-end","id":"t1"}',
    *END,
)
UI_THANKS = ui_text('"You are welcome."', message=TWO)
DATA_PARTIAL = data(
    F,
    '0:"Partial"',
    '3:"The answer broke off. (request req_1)"',
    'e:{"finishReason":"error","usage":{"promptTokens":0,"completionTokens":0},"isContinued":false}',
    'd:{"finishReason":"error","usage":{"promptTokens":0,"completionTokens":0}}',
)
DATA_LOST = data(
    F,
    '9:{"toolCallId":"call_1","toolName":"lost_orders","args":{"number":"A-1"}}',
    'a:{"toolCallId":"call_1","result":"There is no order of this number."}',
    E_CALLS,
    F,
    '0:"I cannot find it."',
    E_STOP,
    D,
)
DATA_THANKS = data(F.replace(ONE, TWO), '0:"You are welcome."', E_STOP, D)

RIGHT: Mapping[Wire, Mapping[str, tuple[Reply, ...]]] = {
    "ui-message-stream": {
        "text": (ui_text(*PLAIN),),
        "unicode": (ui_text(*UNICODE_PIECES),),
        "thought": (
            ui(
                *BEGIN,
                '{"type":"reasoning-start","id":"r1"}',
                '{"type":"reasoning-delta","id":"r1","delta":"The user greets me. "}',
                '{"type":"reasoning-delta","id":"r1","delta":"I greet back."}',
                '{"type":"reasoning-end","id":"r1"}',
                '{"type":"text-start","id":"t1"}',
                '{"type":"text-delta","id":"t1","delta":"Hi there."}',
                '{"type":"text-end","id":"t1"}',
                *END,
            ),
        ),
        "tool": (UI_TOOL,),
        "tools": (
            ui(
                *BEGIN,
                '{"type":"tool-input-available","toolCallId":"call_1","toolName":"get_weather","input":{"location":"Beijing"}}',
                '{"type":"tool-input-available","toolCallId":"call_2","toolName":"get_weather","input":{"location":"Shanghai"}}',
                '{"type":"tool-output-available","toolCallId":"call_2","output":"Shanghai: 25°C"}',
                '{"type":"tool-output-available","toolCallId":"call_1","output":"Beijing: 25°C"}',
                '{"type":"finish-step"}',
                '{"type":"start-step"}',
                '{"type":"tool-input-available","toolCallId":"call_3","toolName":"get_weather","input":{"location":"Paris"}}',
                '{"type":"tool-output-available","toolCallId":"call_3","output":"Paris: 25°C"}',
                '{"type":"finish-step"}',
                '{"type":"start-step"}',
                '{"type":"text-start","id":"t1"}',
                '{"type":"text-delta","id":"t1","delta":"All are sunny."}',
                '{"type":"text-end","id":"t1"}',
                *END,
            ),
        ),
        "tool-error": (UI_LOST,),
        "error-before": (plain_json(HTTP_ERROR, 502),),
        "error-after": (UI_PARTIAL,),
        "after-error": (UI_PARTIAL, UI_THANKS),
        "after-stop": (ended(ui_text('"Before"'), "hold"), UI_THANKS),
        "after-thought": (
            ended(ui(*BEGIN, '{"type":"reasoning-start","id":"r1"}', '{"type":"reasoning-delta","id":"r1","delta":"Hm"}'), "hold"),
            UI_THANKS,
        ),
        "after-stopped-tool": (
            ended(
                Reply(
                    UI_TOOL.body.partition(b'data: {"type":"tool-output-available"')[0].replace(b"get_weather", b"slow_weather"),
                ),
                "hold",
            ),
            UI_THANKS,
        ),
        "after-tool-error": (UI_LOST, UI_THANKS),
        "stop": (ended(ui_text('"Before"'), "hold"),),
        "resume": (
            ended(Reply(ui_text('"Before"').body.partition(b'data: {"type":"text-end"')[0]), "hold"),
            ui_text('"Before"', '" and after"'),
        ),
        "nothing-to-resume": (Reply(status=204),),
        "regenerate": (ui_text('"One"'), ui_text('"Two"', message=TWO)),
        "two-turns": (UI_TOOL, ui_text('"You are welcome."', message=TWO)),
        "file": (ui_text('"A red dot."'),),
        "client-tool": (
            ui(
                *BEGIN,
                '{"type":"tool-input-available","toolCallId":"call_1","toolName":"ask_user","input":{"question":"OK?"}}',
                *END,
            ),
            ui_text('"Then it is done."'),
        ),
        "slow": (Reply(ui_text('"slow"', '"ly"').body.replace(b"\n\n", b"\n\n: keep-alive\n\n").removesuffix(b": keep-alive\n\n")),),
        "continue": (ui_text('"One"'), ui_text('"One"', part="t2")),
        "length": (
            ui(
                *BEGIN,
                '{"type":"text-start","id":"t1"}',
                '{"type":"text-delta","id":"t1","delta":"cut o"}',
                '{"type":"text-end","id":"t1"}',
                '{"type":"finish-step"}',
                '{"type":"finish","messageMetadata":{"finishReason":"length"}}',
            ),
        ),
    },
    "data-stream": {
        "text": (data(F, *(f"0:{piece}" for piece in PLAIN), E_STOP, D),),
        "unicode": (data(F, *(f"0:{piece}" for piece in UNICODE_PIECES), E_STOP, D),),
        "thought": (data(F, 'g:"The user greets me. "', 'g:"I greet back."', '0:"Hi there."', E_STOP, D),),
        "tool": (DATA_TOOL,),
        "tools": (
            data(
                F,
                '9:{"toolCallId":"call_1","toolName":"get_weather","args":{"location":"Beijing"}}',
                '9:{"toolCallId":"call_2","toolName":"get_weather","args":{"location":"Shanghai"}}',
                'a:{"toolCallId":"call_2","result":"Shanghai: 25°C"}',
                'a:{"toolCallId":"call_1","result":"Beijing: 25°C"}',
                E_CALLS,
                F,
                '9:{"toolCallId":"call_3","toolName":"get_weather","args":{"location":"Paris"}}',
                'a:{"toolCallId":"call_3","result":"Paris: 25°C"}',
                E_CALLS,
                F,
                '0:"All are sunny."',
                E_STOP,
                D,
            ),
        ),
        "tool-error": (DATA_LOST,),
        "error-before": (plain_json(HTTP_ERROR, 502),),
        "error-after": (DATA_PARTIAL,),
        "after-error": (DATA_PARTIAL, DATA_THANKS),
        "after-stop": (ended(data(F, '0:"Before"'), "hold"), DATA_THANKS),
        "after-thought": (ended(data(F, 'g:"Hm"'), "hold"), DATA_THANKS),
        "after-stopped-tool": (
            ended(Reply(DATA_TOOL.body.partition(b"a:")[0].replace(b"get_weather", b"slow_weather")), "hold"),
            DATA_THANKS,
        ),
        "after-tool-error": (DATA_LOST, DATA_THANKS),
        "stop": (ended(data(F, '0:"Before"'), "hold"),),
        "resume": (ended(data(F, '0:"Before"'), "hold"), data(F, '0:"Before"', '0:" and after"', E_STOP, D)),
        "nothing-to-resume": (data(),),
        "regenerate": (data(F, '0:"One"', E_STOP, D), data(F.replace(ONE, TWO), '0:"Two"', E_STOP, D)),
        "two-turns": (DATA_TOOL, data(F.replace(ONE, TWO), '0:"You are welcome."', E_STOP, D)),
        "file": (data(F, '0:"A red dot."', E_STOP, D),),
        "client-tool": (
            data(F, '9:{"toolCallId":"call_1","toolName":"ask_user","args":{"question":"OK?"}}', E_CALLS, D.replace("stop", "tool-calls")),
            data(F, '0:"Then it is done."', E_STOP, D),
        ),
        "slow": (data(F, '0:"slow"', "", "", '0:"ly"', E_STOP, D),),
        "length": (data(F, '0:"cut o"', E_STOP.replace("stop", "length"), D.replace("stop", "length")),),
    },
    "openai": {
        "text": (openai_text(*PLAIN),),
        "unicode": (openai_text(*UNICODE_PIECES),),
        "thought": (
            chunks(
                '{"role":"assistant","content":null,"reasoning_content":"The user greets me. "}',
                '{"reasoning_content":"I greet back."}',
                '{"content":"Hi there."}',
                STOP,
            ),
        ),
        "tool": (openai_text('"Let me check."', '"It is sunny."'),),
        "tools": (openai_text('"All are sunny."'),),
        "tool-error": (openai_text('"I cannot find it."'),),
        "error-before": (
            plain_json(
                '{"error":{"message":"No model could answer. (request req_1)","type":"server_error","param":null,"code":"unanswered"}}', 502
            ),
        ),
        "error-after": (
            chunks(
                ROLE,
                '{"content":"Partial"}',
                '{"error":{"message":"The answer broke off. (request req_1)","type":"server_error","param":null,"code":"target_down"}}',
            ),
        ),
        "stop": (ended(openai_text('"Before"'), "hold"),),
        "two-turns": (openai_text('"Let me check."', '"It is sunny."'), openai_text('"You are welcome."')),
        "file": (openai_text('"A red dot."'),),
        "client-tool": (
            chunks(
                '{"role":"assistant","content":null}',
                '{"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"get_weather","arguments":""}}]}',
                '{"tool_calls":[{"index":0,"function":{"arguments":"{\\"loc"}}]}',
                '{"tool_calls":[{"index":0,"function":{"arguments":"ation\\":\\"Beijing\\"}"}}]}',
                CALLS,
            ),
            openai_text('"Then it is done."'),
        ),
        "slow": (Reply(openai_text('"slow"', '"ly"').body.replace(b"\n\n", b"\n\n: keep-alive\n\n")),),
        "length": (chunks(ROLE, '{"content":"cut o"}', chunk("{}", '"length"')),),
        "usage": (
            chunks(
                ROLE,
                '{"content":"Hi"}',
                STOP,
                '{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"chat-model","choices":[],'
                '"usage":{"prompt_tokens":11,"completion_tokens":3,"total_tokens":14}}',
            ),
        ),
        "complete": (
            plain_json(
                '{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"chat-model","choices":[{"index":0,'
                '"message":{"role":"assistant","content":"Hello, world!","refusal":null},"logprobs":null,"finish_reason":"stop"}],'
                '"usage":{"prompt_tokens":11,"completion_tokens":3,"total_tokens":14}}'
            ),
        ),
        "models": (
            plain_json(
                '{"object":"list","data":[{"id":"chat-model","object":"model","created":1700000000,"owned_by":"router"},'
                '{"id":"title-model","object":"model","created":1700000000,"owned_by":"router"}]}'
            ),
        ),
    },
}
TEXT: Mapping[str, tuple[Reply, ...]] = {
    "text": (text("Hello, world!"),),
    "unicode": (text(UNICODE),),
    "stop": (ended(text("Before"), "hold"),),
}


@dataclass(frozen=True)
class Wrong:
    """A malformed stream for the case `of`. `readers`: the clients that detect it; `by`: the field of their report that shows it."""

    name: str
    wire: Wire
    of: str
    reply: Reply
    by: str
    readers: tuple[str, ...] = ()
    """Names of the clients that detect the stream; all clients of the wire if empty."""
    before: tuple[Reply, ...] = ()
    """The replies to the requests before it."""


STRICT = ("ai5.0.0", "ai5.0.26", "ai5.0.108", "ai6.0.1", "ai6.0.37", "ai7.0.0", "ai7.0.15")
"""Releases that refuse an answer with one unknown key or chunk type."""


def _ui_with(old: str, new: str) -> Reply:
    said = ui_text(*PLAIN)
    assert old.encode() in said.body
    return Reply(said.body.replace(old.encode(), new.encode(), 1))


def _data_with(old: str, new: str, of: Reply = RIGHT["data-stream"]["text"][0]) -> Reply:
    assert old.encode() in of.body
    return Reply(of.body.replace(old.encode(), new.encode(), 1))


WRONG = (
    Wrong(
        "seed lines", "ui-message-stream", "text", Reply(b'0:{"type":"text-delta","textDelta":"Hello"}\nd:{"type":"finish"}\n'), "messages"
    ),
    Wrong("an unknown key", "ui-message-stream", "text", _ui_with('{"type":"start-step"}', '{"type":"start-step","n":1}'), "error", STRICT),
    Wrong(
        "a finish reason too early",
        "ui-message-stream",
        "text",
        _ui_with('{"type":"finish",', '{"type":"finish","finishReason":"stop",'),
        "error",
        STRICT[:2],
    ),
    Wrong("an unknown chunk", "ui-message-stream", "text", _ui_with('{"type":"start-step"}', '{"type":"began-step"}'), "error"),
    Wrong(
        "null where nothing should be",
        "ui-message-stream",
        "text",
        _ui_with('"text-end","id":"t1"', '"text-end","id":"t1","providerMetadata":null'),
        "error",
    ),
    Wrong("text that was not begun", "ui-message-stream", "text", _ui_with('"text-start","id":"t1"', '"text-start","id":"t9"'), "error"),
    Wrong("text that is not ended", "ui-message-stream", "text", _ui_with('data: {"type":"text-end","id":"t1"}\n\n', ""), "messages"),
    Wrong("no step", "ui-message-stream", "text", _ui_with('data: {"type":"start-step"}\n\n', ""), "messages"),
    Wrong("a frame that is not JSON", "ui-message-stream", "text", _ui_with('"delta":"Hello"}', '"delta":"Hello}'), "error"),
    Wrong("escaped twice", "ui-message-stream", "text", _ui_with('"delta":"Hello"', '"delta":"\\\\u0048ello"'), "messages"),
    Wrong("bytes that are not UTF-8", "ui-message-stream", "text", Reply(ui_text(*PLAIN).body.replace(b"Hello", b"Hell\xff")), "messages"),
    Wrong("cut off", "ui-message-stream", "text", ended(Reply(ui_text(*PLAIN).body[:-120]), "reset"), "error"),
    Wrong(
        "a result without its call",
        "ui-message-stream",
        "text",
        _ui_with('{"type":"text-end","id":"t1"}', '{"type":"tool-output-available","toolCallId":"x","output":1}'),
        "error",
    ),
    Wrong(
        "a continuation under another id",
        "ui-message-stream",
        "continue",
        ui_text('"One"', message=TWO),
        "messages",
        before=(ui_text('"One"'),),
    ),
    Wrong("seed lines", "data-stream", "text", _data_with('0:"Hello"', '0:{"type":"text-delta","textDelta":"Hello"}'), "error"),
    Wrong("no first step", "data-stream", "text", _data_with(F + "\n", ""), "messages", ("ai4",)),
    Wrong(
        "text glued over a tool",
        "data-stream",
        "tool",
        Reply(DATA_TOOL.body.replace(F.encode() + b"\n", b"").replace(E_CALLS.encode() + b"\n", b"")),
        "messages",
        ("ai4",),
    ),
    Wrong("arguments as a string", "data-stream", "tool", _data_with('"args":{"location":"Beijing"}', '"args":"{}"', DATA_TOOL), "error"),
    Wrong("a result without its call", "data-stream", "text", _data_with('0:"Hello"', 'a:{"toolCallId":"x","result":1}'), "error"),
    Wrong("an unknown code", "data-stream", "text", _data_with('0:"Hello"', 'z:"Hello"'), "error"),
    Wrong("a line that is not JSON", "data-stream", "text", _data_with('0:"Hello"', '0:"Hello'), "error"),
    Wrong("cut off", "data-stream", "text", ended(Reply(data(F, '0:"Hello"').body), "reset"), "error"),
    Wrong("no finish", "openai", "text", Reply(openai_text(*PLAIN).body.replace(STOP.encode(), chunk("{}").encode())), "finish"),
    Wrong("a frame that is not JSON", "openai", "text", Reply(openai_text(*PLAIN).body.replace(b'"Hello"', b'"Hello')), "error"),
    Wrong("cut off", "openai", "text", ended(Reply(openai_text(*PLAIN).body[:-300]), "reset"), "error"),
    Wrong(
        "a call without an index",
        "openai",
        "client-tool",
        Reply(RIGHT["openai"]["client-tool"][0].body.replace(b'"index":0,"id"', b'"id"')),
        "error",
    ),
    Wrong("server's calls shown", "openai", "tool", RIGHT["openai"]["client-tool"][0], "messages"),
)

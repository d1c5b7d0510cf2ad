"""Who is measured: how each is started, when it is ready, and how it is asked. One worker each.

The peers live in bench/.peers, which `make bench/.peers/.done` fills; one that is not there is skipped, and that is said.
"""

import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench import wire

HERE = Path(__file__).parent
PEERS = HERE / ".peers"
ROOT = HERE.parent
STREAMED = tuple(wire.MODELS)


@dataclass(frozen=True)
class Place:
    """Where a subject runs: its port, the provider's, a folder of its own."""

    port: int
    upstream: int
    folder: Path

    def listening(self) -> int:
        """The port that it listens on: its own choice, where it made one."""
        chosen = self.folder / "port"
        return int(chosen.read_text()) if chosen.exists() else self.port


@dataclass(frozen=True)
class Subject:
    """One of those that are measured.

    `lacks`: why it cannot be, or nothing. `clients`, `streams`: how many it is given at once; the slow get fewer, which are enough to
    keep them busy. `loop`: it is no server, but takes its jobs on stdin.
    """

    name: str
    about: str
    command: Callable[[Place], Sequence[str]]
    lacks: str = ""
    ready: str = "/"
    path: Callable[[str], str] = lambda _: "/v1/chat/completions"
    fields: Callable[[str], dict[str, object]] = lambda model: {"model": model}
    headers: Callable[[Place], dict[str, str]] = lambda _: {}
    environment: dict[str, str] = field(default_factory=dict[str, str])
    clients: int = 16
    streams: int = 100
    loop: bool = False

    def request(self, place: Place, model: str, stream: bool) -> str:  # noqa: FBT001 - the field of the wire
        """What the load sends it."""
        asked = {**self.fields(model), "stream": stream}
        return wire.request(self.path(model), asked, self.headers(place)).decode()


def direct(place: Place) -> Sequence[str]:
    """The provider itself, without anything between: on the subject's core, as the others are."""
    return [sys.executable, "-m", "bench.provider", str(place.port)]


def relay(place: Place) -> Sequence[str]:
    """The yardstick."""
    return [sys.executable, "-m", "bench.relay", str(place.port), str(place.upstream)]


NGINX = """
daemon off; master_process off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
events {{ worker_connections 8192; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; keepalive_requests 1000000;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream provider {{ server 127.0.0.1:{upstream}; keepalive 1024; keepalive_requests 1000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{ proxy_pass http://provider; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; }}
  }}
}}
"""


def nginx(place: Place) -> Sequence[str]:
    """`proxy_pass` without buffering."""
    file = place.folder / "nginx.conf"
    file.write_text(NGINX.format(folder=place.folder, port=place.port, upstream=place.upstream))
    return [shutil.which("nginx") or "nginx", "-c", str(file)]


def pointsman(lane: str) -> Callable[[Place], Sequence[str]]:
    """This router with one lane's targets, everything else as it comes."""

    def command(place: Place) -> Sequence[str]:
        provider, version = ("gemini", "v1beta") if lane == "gemini" else ("openai", "v1")
        address = f"'http://127.0.0.1:{place.upstream}/{version}'"
        via = ", via: litellm" if lane == "litellm" else ""
        targets = "".join(f"  {one}: {{model: {provider}/{one}, api_base: {address}, api_key: sk-bench{via}}}\n" for one in STREAMED)
        routes = "".join(f"  {one}: {{pipeline: chat, targets: [{one}]}}\n" for one in STREAMED)
        (place.folder / "pipelines").mkdir()
        (place.folder / "pipelines/chat.yaml").write_text("steps:\n  - history: {keep: 40}\n")
        (place.folder / "routes.yaml").write_text(f"targets:\n{targets}routes:\n{routes}")
        return [sys.executable, "-m", "router", "serve", "--routes", str(place.folder / "routes.yaml"), "--port", str(place.port)]

    return command


def bare(place: Place) -> Sequence[str]:
    """The library in a loop."""
    return [sys.executable, "-m", "bench.bare", str(place.upstream)]


def litellm(place: Place) -> Sequence[str]:
    """LiteLLM's proxy, with the models as its documentation lists them."""
    models = [
        {
            "model_name": one,
            "litellm_params": {"model": f"openai/{one}", "api_base": f"http://127.0.0.1:{place.upstream}/v1", "api_key": "k"},
        }
        for one in STREAMED
    ]
    file = place.folder / "config.yaml"
    file.write_text(json.dumps({"model_list": models}))
    return [
        str(PEERS / "litellm/bin/litellm"),
        "--config",
        str(file),
        "--host",
        "127.0.0.1",
        "--port",
        str(place.port),
        "--num_workers",
        "1",
    ]


def portkey(place: Place) -> Sequence[str]:
    """Portkey's gateway, from npm."""
    script = PEERS / "portkey/node_modules/@portkey-ai/gateway/build/start-server.js"
    return [shutil.which("node") or "node", "--import", str(HERE / "portkey.mjs"), str(script), "--headless", f"--port={place.port}"]


def portkey_headers(place: Place) -> dict[str, str]:
    """Which provider, told with each request."""
    host = f"http://127.0.0.1:{place.upstream}/v1"
    return {"x-portkey-provider": "openai", "x-portkey-custom-host": host, "authorization": "Bearer k"}


def tensorzero(place: Place) -> Sequence[str]:
    """TensorZero's gateway, as its Python package brings it."""
    made = "[gateway]\nobservability.enabled = false\n"
    for one in STREAMED:
        made += f'[models.{one}]\nrouting = ["fake"]\n[models.{one}.providers.fake]\ntype = "openai"\nmodel_name = "{one}"\n'
        made += f'api_base = "http://127.0.0.1:{place.upstream}/v1/"\napi_key_location = "none"\n'
    file = place.folder / "tensorzero.toml"
    file.write_text(made)
    return [str(PEERS / "tensorzero/bin/python"), str(HERE / "embedded.py"), str(file), str(place.folder / "port")]


def _without(path: Path) -> str:
    return "" if path.exists() else f"not installed ({path.relative_to(ROOT)}): `make bench/.peers/.done`"


def _chat(model: str) -> str:
    return f"/api/chat/{model}"


SUBJECTS: Sequence[Subject] = (
    Subject("direct", "no router at all", direct),
    Subject("relay", "raw ASGI relay under uvicorn", relay),
    Subject("nginx", "nginx proxy_pass", nginx, "" if shutil.which("nginx") else "nginx is not installed"),
    Subject("pointsman", "Pointsman, direct lane", pointsman("direct"), ready="/readyz", path=_chat, fields=lambda _: {}),
    Subject("pointsman-gemini", "Pointsman, Gemini lane", pointsman("gemini"), ready="/readyz", path=_chat, fields=lambda _: {}),
    Subject(
        "pointsman-litellm",
        "Pointsman, litellm lane",
        pointsman("litellm"),
        ready="/readyz",
        path=_chat,
        fields=lambda _: {},
        clients=4,
        streams=10,
    ),
    Subject("bare", "litellm.acompletion in a loop, no server", bare, clients=4, streams=10, loop=True),
    Subject(
        "litellm",
        "LiteLLM proxy",
        litellm,
        _without(PEERS / "litellm/bin/litellm"),
        ready="/health/liveliness",
        headers=lambda _: {"authorization": "Bearer sk-bench"},
        environment={"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False", "LITELLM_MASTER_KEY": "sk-bench"},
        clients=4,
        streams=10,
    ),
    Subject(
        "portkey",
        "Portkey gateway",
        portkey,
        _without(PEERS / "portkey/node_modules/@portkey-ai/gateway"),
        headers=portkey_headers,
        streams=50,
    ),
    Subject(
        "tensorzero",
        "TensorZero gateway",
        tensorzero,
        _without(PEERS / "tensorzero/bin/python"),
        path=lambda _: "/openai/v1/chat/completions",
        fields=lambda model: {"model": f"tensorzero::model_name::{model}"},
    ),
)


def environment(subject: Subject) -> dict[str, str]:
    """What a subject is started with: this checkout's router, and nothing of a proxy."""
    kept = {name: value for name, value in os.environ.items() if "proxy" not in name.lower() and name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPATH": str(ROOT), **subject.environment}

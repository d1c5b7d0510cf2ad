"""The subjects of the benchmark: how each is started, when it is ready, and how it is asked. Each runs one worker.

The other gateways are installed in bench/.peers by `make bench/.peers/.done`; missing ones are skipped with a note.
"""

import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench import machine, wire

HERE = Path(__file__).parent
PEERS = HERE / ".peers"
ROOT = HERE.parent
STREAMED = tuple(wire.MODELS)


@dataclass(frozen=True)
class Place:
    """Where a subject runs: its port, the provider's port, and a folder of its own."""

    port: int
    upstream: int
    folder: Path

    def listening(self) -> int:
        """Return the port on which the subject listens, which it may have chosen itself."""
        chosen = self.folder / "port"
        return int(chosen.read_text()) if chosen.exists() else self.port


@dataclass(frozen=True)
class Subject:
    """One subject of the benchmark.

    lacks: why it cannot run here; empty if it can
    clients, streams: how many are used at once; fewer for slow subjects, but enough to keep them busy
    loop: true if it is no server but takes jobs on stdin
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
        """Return the HTTP request that the load generator sends."""
        asked = {**self.fields(model), "stream": stream}
        return wire.request(self.path(model), asked, self.headers(place)).decode()


def direct(place: Place) -> Sequence[str]:
    """Return the command of the provider itself, without a gateway, on the subject's core."""
    return [sys.executable, "-m", "bench.provider", str(place.port)]


def relay(place: Place) -> Sequence[str]:
    """Return the command of the baseline relay."""
    return [machine.interpreter(), "-m", "bench.relay", str(place.port), str(place.upstream)]


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
    """Write an nginx configuration with `proxy_pass` and no buffering; return its command."""
    file = place.folder / "nginx.conf"
    file.write_text(NGINX.format(folder=place.folder, port=place.port, upstream=place.upstream))
    return [shutil.which("nginx") or "nginx", "-c", str(file)]


def pointsman(lane: str) -> Callable[[Place], Sequence[str]]:
    """Return a function that writes a configuration with targets of one lane and returns the router's command."""

    def command(place: Place) -> Sequence[str]:
        provider, version = ("gemini", "v1beta") if lane == "gemini" else ("openai", "v1")
        address = f"'http://127.0.0.1:{place.upstream}/{version}'"
        via = ", via: litellm" if lane == "litellm" else ""
        targets = "".join(f"  {one}: {{model: {provider}/{one}, api_base: {address}, api_key: sk-bench{via}}}\n" for one in STREAMED)
        routes = "".join(f"  {one}: {{pipeline: chat, targets: [{one}]}}\n" for one in STREAMED)
        (place.folder / "pipelines").mkdir()
        (place.folder / "pipelines/chat.yaml").write_text("steps:\n  - history: {keep: 40}\n")
        (place.folder / "routes.yaml").write_text(f"targets:\n{targets}routes:\n{routes}")
        return [machine.interpreter(), "-m", "router", "serve", "--routes", str(place.folder / "routes.yaml"), "--port", str(place.port)]

    return command


def bare(place: Place) -> Sequence[str]:
    """Return the command of the loop over `litellm.acompletion`."""
    return [machine.interpreter(), "-m", "bench.bare", str(place.upstream)]


def litellm(place: Place) -> Sequence[str]:
    """Write LiteLLM's configuration; return the command of its proxy."""
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
    """Return the command of Portkey's gateway, installed with npm."""
    script = PEERS / "portkey/node_modules/@portkey-ai/gateway/build/start-server.js"
    return [shutil.which("node") or "node", "--import", str(HERE / "portkey.mjs"), str(script), "--headless", f"--port={place.port}"]


def portkey_headers(place: Place) -> dict[str, str]:
    """Return the headers that tell Portkey which provider to ask."""
    host = f"http://127.0.0.1:{place.upstream}/v1"
    return {"x-portkey-provider": "openai", "x-portkey-custom-host": host, "authorization": "Bearer k"}


def tensorzero(place: Place) -> Sequence[str]:
    """Write TensorZero's configuration; return the command of its gateway."""
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
    Subject("pointsman", "Pointsman, direct lane", pointsman("direct"), ready="/readyz"),
    Subject("pointsman-line", "Pointsman, in the line protocol", pointsman("direct"), ready="/readyz", path=_chat, fields=lambda _: {}),
    Subject("pointsman-gemini", "Pointsman, Gemini lane", pointsman("gemini"), ready="/readyz"),
    Subject(
        "pointsman-litellm",
        "Pointsman, litellm lane",
        pointsman("litellm"),
        ready="/readyz",
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
    """Return the environment of a subject: its own variables, this checkout and its packages on PYTHONPATH, and no proxy variables."""
    kept = {name: value for name, value in os.environ.items() if "proxy" not in name.lower() and name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPATH": f"{ROOT}{os.pathsep}{machine.PACKAGES}", **subject.environment}

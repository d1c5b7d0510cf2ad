"""An OpenTelemetry collector on loopback, which keeps what was exported to it, parsed and as bytes."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass
class Collector:
    """A fake OpenTelemetry collector with what was exported to it: spans, metrics by name, raw bodies, authorization headers of traces."""

    endpoint: str = ""
    spans: list[Any] = field(default_factory=list[Any])
    metrics: dict[str, Any] = field(default_factory=dict[str, Any])
    raw: bytes = b""
    tokens: set[str] = field(default_factory=set[str])

    async def traces(self, request: web.Request) -> web.Response:
        """Accept POST /v1/traces."""
        made = ExportTraceServiceRequest()
        body = await request.read()
        made.ParseFromString(body)
        self.raw += body
        self.tokens.add(request.headers.get("authorization", ""))
        self.spans += [span for one in made.resource_spans for scope in one.scope_spans for span in scope.spans]
        return web.Response()

    async def measures(self, request: web.Request) -> web.Response:
        """Accept POST /v1/metrics."""
        made = ExportMetricsServiceRequest()
        body = await request.read()
        made.ParseFromString(body)
        self.raw += body
        for one in made.resource_metrics:
            for scope in one.scope_metrics:
                self.metrics |= {metric.name: metric for metric in scope.metrics}
        return web.Response()


@asynccontextmanager
async def collector() -> AsyncGenerator[Collector, None]:
    """Run a collector on loopback."""
    made = Collector()
    app = web.Application()
    app.router.add_post("/v1/traces", made.traces)
    app.router.add_post("/v1/metrics", made.measures)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.endpoint = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield made
    finally:
        await runner.cleanup()


def attributes(one: Any) -> dict[str, Any]:
    """Return the attributes of a span or data point as a dict of plain values."""
    made: dict[str, Any] = {}
    for attribute in one.attributes:
        kind = attribute.value.WhichOneof("value")
        value = getattr(attribute.value, kind)
        made[attribute.key] = [item.string_value for item in value.values] if kind == "array_value" else value
    return made

"""Traces and metrics for OpenTelemetry, by the names of its GenAI conventions.

These names are still "development", and stand in this module alone. Off unless `server.otel` is declared; the packages come with
`pointsman[otel]`.

A finished request becomes a span, with a child for each attempt and each tool. No span has text of users or models; the id of a declared
end user is in the request's span, and in no metric. The export has a thread and a bounded queue: an unreachable collector loses spans, and
delays no answer.
"""

import asyncio
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from router.attempt import Attempt
from router.config.network import tls_context
from router.config.server import Otel
from router.journal.entry import Entry
from router.reload import Live
from router.usage import Usage
from router.value import Mutable

PROVIDERS = {
    "azure": "azure.ai.openai",
    "azure_ai": "azure.ai.inference",
    "bedrock": "aws.bedrock",
    "cohere_chat": "cohere",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "vertex_ai": "gcp.vertex_ai",
    "watsonx": "ibm.watsonx.ai",
    "xai": "x_ai",
}
"""LiteLLM's prefix → the conventions' name, where they differ."""
CALL_ID = re.compile(r"(call|toolu)_[A-Za-z0-9]{1,64}")
"""Ids of tool calls that contain no text of a model; all others are left out."""
WITHIN = 5.0
"""Seconds that an export may take."""
DURATION = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)
"""Bounds of the histograms' buckets, of seconds (DURATION) and of tokens, as the conventions advise."""


class Traces:
    """The exporter of each request to an OpenTelemetry collector, as the live configuration declares it."""

    def __init__(self, live: Live, opened: Callable[[Otel], "Exports"] | None = None) -> None:
        self._live = live
        self._open = opened or exports
        self._declared: Otel | None = None
        self._exports: Exports | None = None
        self._opening: asyncio.Task[None] | None = None

    @property
    def opening(self) -> bool:
        """Return whether an exporter is being created."""
        return self._opening is not None and not self._opening.done()

    def observe(self, entry: Entry) -> None:
        """Export a finished request. Left out are requests while an exporter is being created: its packages take a while to import.
        The first request after `server.otel` has changed starts that, and is left out, too.
        """
        declared = self._live.generation.server.otel
        if declared != self._declared and not self.opening:
            self._declared = declared
            self._opening = asyncio.create_task(self._change(declared))
        elif self._exports is not None:
            self._exports.show(entry)

    async def _change(self, declared: Otel | None) -> None:
        before, self._exports = self._exports, None
        if before is not None:
            await asyncio.to_thread(before.close)
        if declared is not None:
            self._exports = await asyncio.to_thread(self._open, declared)

    async def close(self) -> None:
        """Export the spans and metrics that are still queued, within a short time, and close."""
        if self._opening is not None:
            await asyncio.wait([self._opening])
        await self._change(None)


class Exports(Mutable):
    """An exporter of traces and metrics by OpenTelemetry.

    parent: traceparent header → the context of the client's span
    below: span → the context of its children
    kinds, failed: the SDK's span kinds and its status for errors
    duration, first, between, tokens: histograms
    close: exports what is queued, and shuts the exporter down
    """

    tracer: Any
    parent: Callable[[str], Any]
    below: Callable[[Any], Any]
    kinds: Any
    failed: Any
    duration: Any
    first: Any
    between: Any
    tokens: Any
    close: Callable[[], None]

    def show(self, entry: Entry) -> None:
        """Export one request as spans and measurements."""
        request = self.tracer.start_span(
            f"{entry.operation} {entry.route}".strip(),
            context=self.parent(entry.traceparent) if entry.traceparent else None,
            kind=self.kinds.SERVER,
            start_time=_ns(entry, entry.began),
            attributes=_known(
                {
                    "gen_ai.operation.name": entry.operation,
                    "gen_ai.request.model": entry.route,
                    "gen_ai.response.finish_reasons": [entry.outcome] if entry.status == 200 else None,
                    **_usage(entry.charges.usage),
                    "http.response.status_code": entry.status or None,
                    "error.type": entry.outcome if entry.failed else None,
                    "enduser.id": entry.user or None,
                    "router.generation": entry.generation,
                    "router.request_id": entry.request_id,
                    "router.target": entry.target or None,
                    "router.rescues": entry.rescues,
                }
            ),
        )
        if entry.failed:
            request.set_status(self.failed)
        below = self.below(request)
        for attempt in entry.attempts:
            self._attempt(entry, attempt, below)
        for run in entry.tools:
            self._span(
                f"execute_tool {run.tool}",
                below,
                self.kinds.INTERNAL,
                (_ns(entry, run.began), _ns(entry, run.began + (run.seconds or 0.0))),
                {
                    "gen_ai.operation.name": "execute_tool",
                    "gen_ai.tool.name": run.tool,
                    "gen_ai.tool.call.id": run.call_id if CALL_ID.fullmatch(run.call_id) else None,
                    "error.type": "tool_error" if run.is_error else None,
                },
            )
        if entry.target:
            whose = _whose(entry, entry.target)
            for pause in entry.pauses:
                self.between.record(pause, whose)
        request.end(_ns(entry, entry.ended))

    def _attempt(self, entry: Entry, attempt: Attempt, below: Any) -> None:
        whose = _whose(entry, attempt.target)
        error = {"error.type": attempt.outcome} if attempt.outcome != "ok" else {}
        ours = {"router.target": attempt.target, "router.retry_after": attempt.wait}
        self._span(
            f"{entry.operation} {whose['gen_ai.request.model']}",
            below,
            self.kinds.CLIENT,
            (_ns(entry, attempt.began), _ns(entry, min(attempt.began + attempt.seconds, entry.ended))),  # its seconds are rounded
            {**whose, **error, "gen_ai.response.model": attempt.model or None, **_usage(attempt.usage), **ours},
        )
        self.duration.record(attempt.seconds, {**whose, **error})
        if attempt.first is not None:
            self.first.record(attempt.first, whose)
        if attempt.usage is not None:
            self.tokens.record(attempt.usage.input_tokens, {**whose, "gen_ai.token.type": "input"})
            self.tokens.record(attempt.usage.output_tokens, {**whose, "gen_ai.token.type": "output"})

    def _span(self, name: str, below: Any, kind: Any, times: tuple[int, int], attributes: Mapping[str, Any]) -> None:
        span = self.tracer.start_span(name, context=below, kind=kind, start_time=times[0], attributes=_known(attributes))
        if "error.type" in span.attributes:
            span.set_status(self.failed)
        span.end(times[1])


def _usage(usage: Usage | None) -> dict[str, Any]:
    """Return token counts under OpenTelemetry's names: cache tokens are part of the input, reasoning of the output."""
    if usage is None:
        return {}
    return {
        "gen_ai.usage.input_tokens": usage.input_tokens,
        "gen_ai.usage.output_tokens": usage.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": usage.cached_tokens,
        "gen_ai.usage.cache_creation.input_tokens": usage.cache_write_tokens,
        "gen_ai.usage.reasoning.output_tokens": usage.reasoning_tokens,
    }


def _known(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if value is not None}


def _ns(entry: Entry, moment: float) -> int:
    """Return a moment of the monotonic clock as nanoseconds since 1970."""
    return int((entry.at + moment - entry.began) * 1e9)


def _whose(entry: Entry, target: str) -> dict[str, Any]:
    model = entry.models.get(target, target)
    prefix, _, name = model.partition("/")
    provider = PROVIDERS.get(prefix, prefix)
    return {"gen_ai.operation.name": entry.operation, "gen_ai.provider.name": provider, "gen_ai.request.model": name or model}


def exports(declared: Otel) -> Exports:
    """Return an exporter to a collector, by OTLP over HTTP. Takes half a second: not on the event loop."""
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter  # noqa: PLC0415
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    headers = {"authorization": f"Bearer {declared.token.value}"} if declared.token else {}
    base = declared.endpoint.rstrip("/")
    spans = OTLPSpanExporter(f"{base}/v1/traces", headers=headers, timeout=WITHIN, session=_session(declared))
    measures = OTLPMetricExporter(f"{base}/v1/metrics", headers=headers, timeout=WITHIN, session=_session(declared))
    reader = PeriodicExportingMetricReader(measures, declared.every * 1000, WITHIN * 1000)
    return through(declared, BatchSpanProcessor(spans, schedule_delay_millis=1000), reader)


def _session(declared: Otel) -> Any:
    """Return an HTTP client that uses the declared proxy and CA, and takes nothing from the environment."""
    import requests  # noqa: PLC0415
    from requests.adapters import HTTPAdapter  # noqa: PLC0415

    egress = declared.egress
    context = tls_context(egress.ca)

    class Trusting(HTTPAdapter):
        """An HTTP adapter whose connections, to the collector and to a proxy, use the declared TLS context."""

        def init_poolmanager(self, *sizes: Any, **more: Any) -> None:
            super().init_poolmanager(*sizes, **more, ssl_context=context)

        def proxy_manager_for(self, proxy: str, **more: Any) -> Any:
            return super().proxy_manager_for(proxy, **more, ssl_context=context, proxy_ssl_context=context)

    session = requests.Session()
    session.trust_env = False
    session.mount("https://", Trusting())
    session.mount("http://", Trusting())
    if (proxy := egress.proxy_to(urlsplit(declared.endpoint).hostname or "")) is not None:
        session.proxies = {"http": proxy.url, "https": proxy.url}
    return session


def through(declared: Otel, processor: Any, reader: Any) -> Exports:
    """Return an exporter that uses this span processor and this metric reader. `declared`: for the service name and the sampled share."""
    from opentelemetry import trace  # noqa: PLC0415
    from opentelemetry.sdk.metrics import MeterProvider  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider, sampling  # noqa: PLC0415
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    resource = Resource.create({"service.name": declared.service})
    sampler = sampling.ParentBased(sampling.TraceIdRatioBased(declared.share))
    tracers = TracerProvider(resource=resource, sampler=sampler, shutdown_on_exit=False)
    tracers.add_span_processor(processor)
    meters = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
    meter = meters.get_meter("pointsman")
    propagator = TraceContextTextMapPropagator()

    def histogram(name: str, unit: str, words: str, buckets: tuple[float, ...]) -> Any:
        return meter.create_histogram(name, unit, words, explicit_bucket_boundaries_advisory=buckets)

    def close() -> None:
        tracers.shutdown()
        meters.shutdown(timeout_millis=WITHIN * 1000)

    return Exports(
        tracers.get_tracer("pointsman"),
        lambda header: propagator.extract({"traceparent": header}),
        trace.set_span_in_context,
        trace.SpanKind,
        trace.Status(trace.StatusCode.ERROR),
        histogram("gen_ai.client.operation.duration", "s", "One try of a target, from asking to its end", DURATION),
        histogram("gen_ai.client.operation.time_to_first_chunk", "s", "Until a target began to speak", DURATION),
        histogram("gen_ai.client.operation.time_per_output_chunk", "s", "Waits between two pieces of an answer", DURATION),
        histogram("gen_ai.client.token.usage", "{token}", "Tokens of an answer", TOKENS),
        close,
    )

"""Traces: a span for each request that asks a model, and one for each attempt at a deployment.

Imported where the OTEL_* variables ask for them, and nowhere else. A request notes what it does (Trace); a thread of
its own makes the spans and sends them by OTLP over HTTP. When that cannot keep up, or the collector is away, spans are
dropped and counted; no request waits. docs/traces.md says why this is not OpenTelemetry's own SDK.
"""

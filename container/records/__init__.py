"""Traces and the request log.

A trace has a span for each request to a model and one for each attempt at a deployment. The exporter is imported only
if OTEL_* variables enable it. Requests record what they do (Trace). A separate thread builds the spans and sends them
with OTLP over HTTP. If it cannot keep up or the collector is down, spans are dropped and counted; no request waits.
docs/traces.md explains why OpenTelemetry's SDK is not used.
"""

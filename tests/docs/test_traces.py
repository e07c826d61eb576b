"""docs/traces.md: the variables of its example, set as it sets them, do what it says."""

from tests.deploy.pages import Page, shell
from tests.fakes.server import FakeProvider
from tests.processes import StartProxy
from tests.tracing.collector import Collector
from tests.tracing.conftest import PARENT, ask, collector, config

__all__ = ["collector"]


def test_its_example_sends_traces_with_the_header(proxy: StartProxy, fake: FakeProvider, collector: Collector):
    script = Page("traces").block("export OTEL_EXPORTER_OTLP_ENDPOINT", "sh")
    printed = shell(script + "env | grep ^OTEL_", {"https://otlp.example.com": collector.url}, {})
    gateway = proxy(config(fake), environment=dict(line.split("=", 1) for line in printed.splitlines()))
    ask(gateway, headers={"traceparent": PARENT})  # sampled there, so also by `parentbased_…`
    gateway.stop()
    assert len(collector.spans(2)) == 2
    assert collector.paths[0] == "/v1/traces"
    assert collector.headers[0]["authorization"] == "Bearer secret"

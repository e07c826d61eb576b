"""Traces as a collector receives them: which spans exist, their parents, their end, and what they never contain."""

import hashlib
import json
import sys
import time

import httpx
import pytest

from tests.fakes.behaviour import Behaviour, Fault, failing
from tests.fakes.server import FakeProvider
from tests.metrics.conftest import Scraped
from tests.processes import MASTER_KEY, RunningProxy, StartProxy, free_tcp_port
from tests.tracing.collector import CLIENT, SERVER, Collector, Seen
from tests.tracing.conftest import MASTER, PARENT, ask, config, traced

CANARY = "the-canary-sings"


def test_a_request_with_retries_and_a_fallback_is_one_tree(
    proxy: StartProxy, fake: FakeProvider, second_fake: FakeProvider, collector: Collector
):
    gateway = proxy(config(fake, second_fake, retries=1), environment=traced(collector))
    fake.queue(failing(500), failing(503))
    answer = ask(gateway)
    assert answer.status_code == 200
    root, first, second, third = collector.spans(4)
    assert {span.trace for span in (root, first, second, third)} == {root.trace}
    assert (root.parent, root.kind, root.name) == ("", SERVER, "POST /v1/chat/completions")
    for attempt in (first, second, third):
        assert (attempt.parent, attempt.kind) == (root.id, CLIENT)
        assert root.start <= attempt.start <= attempt.end <= root.end
    assert [span.name for span in (first, second, third)] == ["chat gpt-4o", "chat gpt-4o", "chat spare"]
    assert [span.failed for span in (root, first, second, third)] == [False, True, True, False]
    assert first.attributes["error.type"] == second.attributes["error.type"] == "server"
    assert (first.attributes["http.response.status_code"], second.attributes["http.response.status_code"]) == (500, 503)
    assert "error.type" not in third.attributes
    assert third.attributes["litellm_router.deployment"] == answer.headers["x-litellm-model-id"]
    assert root.attributes["litellm_router.request_id"] == answer.headers["x-request-id"]
    assert (root.attributes["litellm_router.retries"], root.attributes["litellm_router.fallbacks"]) == (1, 1)
    assert root.attributes["http.response.status_code"] == 200
    assert root.scope == "litellm-router"


def test_an_attempt_follows_the_genai_semantic_conventions(
    gateway: RunningProxy, fake: FakeProvider, collector: Collector
):
    used = ask(gateway).json()["usage"]
    _, attempt = collector.spans(2)
    assert {
        name: attempt.attributes[name] for name in attempt.attributes if not name.startswith("litellm_router.")
    } == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.request.stream": False,
        "gen_ai.usage.input_tokens": used["prompt_tokens"],
        "gen_ai.usage.output_tokens": used["completion_tokens"],
        "http.response.status_code": 200,
        "server.address": "127.0.0.1",
        "server.port": int(fake.openai_base.rpartition(":")[2].partition("/")[0]),
    }


def test_a_stream_ends_its_spans_with_its_last_byte(gateway: RunningProxy, fake: FakeProvider, collector: Collector):
    fake.always(Behaviour(pace=0.05, chunks=20))
    began = time.time_ns()
    assert "[DONE]" in ask(gateway, stream=True).text
    ended = time.time_ns()
    root, attempt = collector.spans(2)
    for span in (root, attempt):
        assert began <= span.start
        assert span.end <= ended + 50_000_000
        assert span.end - span.start >= 0.9 * 19 * 50_000_000
    first = attempt.attributes["gen_ai.response.time_to_first_chunk"]
    assert 0 < first < (attempt.end - attempt.start) / 1e9
    assert attempt.attributes["gen_ai.usage.output_tokens"] > 0


def test_a_broken_stream_is_an_error(gateway: RunningProxy, fake: FakeProvider, collector: Collector):
    fake.always(Behaviour(Fault.RESET_MID_STREAM))
    ask(gateway, stream=True)
    root, attempt = collector.spans(2)
    assert (root.failed, attempt.failed) == (True, True)
    assert (root.attributes["http.response.status_code"], root.attributes["error.type"]) == (200, "502")


def test_a_client_disconnect_is_not_an_error(gateway: RunningProxy, fake: FakeProvider, collector: Collector):
    fake.always(Behaviour(Fault.HANG_BEFORE_HEADERS))
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{gateway.url}/v1/chat/completions",
            json={"model": "gpt", "messages": [{"role": "user", "content": "Hi"}]},
            headers=MASTER,
            timeout=0.5,
        )
    for span in collector.spans(2):
        assert (span.failed, span.attributes["error.type"]) == (False, "client_left")
        assert "http.response.status_code" not in span.attributes


def test_refusals_have_no_attempts_and_are_not_server_errors(gateway: RunningProxy, collector: Collector):
    ask(gateway, messages="wrong")
    ask(gateway, headers={"authorization": "Bearer sk-wrong"})
    spans = collector.spans(2)
    assert [span.attributes["http.response.status_code"] for span in spans] == [400, 401]
    assert not any(span.failed for span in spans)


def test_only_model_requests_are_traced(gateway: RunningProxy, collector: Collector):
    for path in ("/health", "/metrics", "/v1/models", "/key/list", "/nowhere"):
        httpx.get(gateway.url + path, headers=MASTER)
    httpx.post(f"{gateway.url}/key/generate", json={}, headers=MASTER)
    ask(gateway, "mock")
    assert {span.name for span in collector.spans(2)} == {"POST /v1/chat/completions", "chat mock"}


def test_the_clients_trace_is_continued_but_not_sent_to_the_provider(
    gateway: RunningProxy, fake: FakeProvider, collector: Collector
):
    ask(gateway, headers={"traceparent": PARENT, "tracestate": "their=secret", "baggage": f"user={CANARY}"})
    root, attempt = collector.spans(2)
    _, trace, parent, _ = PARENT.split("-")
    assert (root.trace, root.parent, attempt.trace, attempt.parent) == (trace, parent, trace, root.id)
    # sampled; OTLP says of both whether the parent is remote, and the root's is
    assert (root.flags, attempt.flags) == (0x301, 0x101)
    assert not {"traceparent", "tracestate", "baggage"} & {name.lower() for name in fake.last.headers}
    assert b"their" not in collector.bodies[0]


def test_a_client_may_opt_out_of_tracing(gateway: RunningProxy, collector: Collector):
    ask(gateway, headers={"traceparent": PARENT[:-1] + "0"})
    ask(gateway, "mock")
    assert {span.attributes.get("litellm_router.model_group") for span in collector.spans(2)} == {"mock"}


@pytest.mark.parametrize(
    ("sampler", "share", "traced_ones"),
    [("always_off", "", 0), ("always_on", "", 4), ("traceidratio", "0", 0), ("parentbased_traceidratio", "0", 2)],
)
def test_the_sampler_decides(
    proxy: StartProxy, fake: FakeProvider, collector: Collector, sampler: str, share: str, traced_ones: int
):
    more = {"OTEL_TRACES_SAMPLER": sampler, "OTEL_TRACES_SAMPLER_ARG": share}
    gateway = proxy(config(fake), environment=traced(collector, **more))
    ask(gateway, "mock")
    ask(gateway, "mock", headers={"traceparent": PARENT})
    gateway.stop()  # pending spans are sent at shutdown
    assert len(collector.spans(traced_ones)) == traced_ones


def test_the_key_is_named_as_in_the_request_log(gateway: RunningProxy, collector: Collector):
    key = httpx.post(f"{gateway.url}/key/generate", json={}, headers=MASTER).json()["key"]
    ask(gateway, "mock")
    ask(gateway, "mock", headers={"authorization": f"Bearer {key}"})
    owners = [span.attributes["litellm_router.key"] for span in collector.spans(4) if span.kind == SERVER]
    assert owners == ["master", hashlib.sha256(key.encode()).hexdigest()]
    assert all(key.encode() not in body for body in collector.bodies)


def test_spans_contain_neither_content_nor_secrets(
    proxy: StartProxy, fake: FakeProvider, collector: Collector, tmp_path
):
    written = config(fake)
    base = fake.openai_base.replace("http://", "http://me:hunter2hunter2@")
    written["model_list"][0]["litellm_params"]["api_base"] = base
    written["general_settings"] = {"request_logging": {"contents": True, "file": str(tmp_path / "requests.jsonl")}}
    gateway = proxy(written, environment=traced(collector))
    fake.queue(failing(400, message=f"I will not say {CANARY}"), Behaviour(text=f"I say {CANARY}"))
    assert ask(gateway, user=CANARY, metadata={CANARY: CANARY}).status_code == 400
    assert CANARY in ask(gateway).text
    collector.spans(4)
    sent = b"".join(collector.bodies)
    for secret in (CANARY, "hunter2", "sk-provider", MASTER_KEY):
        assert secret.encode() not in sent, secret


def test_service_name_and_headers_come_from_the_variables(proxy: StartProxy, fake: FakeProvider, collector: Collector):
    more = {
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{collector.url}/mine",
        "OTEL_EXPORTER_OTLP_HEADERS": "X-Tenant=a%20b,authorization=Basic%20c2VjcmV0",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        "OTEL_SERVICE_NAME": "gateway",
        "OTEL_RESOURCE_ATTRIBUTES": "service.name=not-this,deployment.environment.name=test%2C1",
    }
    gateway = proxy(config(fake), environment=traced(collector, **more))
    ask(gateway, "mock")
    root, _ = collector.spans(2)
    assert (root.resource["service.name"], root.resource["deployment.environment.name"]) == ("gateway", "test,1")
    assert collector.paths[0] == "/mine"
    headers = collector.headers[0]
    assert (headers["x-tenant"], headers["authorization"]) == ("a b", "Basic c2VjcmV0")
    assert (headers["content-encoding"], headers["content-type"]) == ("gzip", "application/x-protobuf")
    assert "c2VjcmV0" not in gateway.log()


def dropped(gateway: RunningProxy) -> tuple[float, float]:
    """The numbers of dropped and sent spans."""
    found = Scraped(httpx.get(f"{gateway.url}/metrics", headers=MASTER).text)
    return found["litellm_router_spans_dropped_total"], found["litellm_router_spans_sent_total"]


def test_without_a_collector_no_request_waits_and_dropped_spans_are_counted(proxy: StartProxy, fake: FakeProvider):
    port = free_tcp_port()
    more = {"OTEL_BSP_MAX_QUEUE_SIZE": "20", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "20", "OTEL_BSP_SCHEDULE_DELAY": "50"}
    gateway = proxy(config(fake), environment={"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}", **more})
    began = time.monotonic()
    for _ in range(50):
        assert ask(gateway, "mock").status_code == 200
    assert time.monotonic() - began < 10
    assert dropped(gateway) == (2 * 50 - 20, 0)
    assert gateway.log().count('"traces_lost"') == 1
    with Collector(port) as late:  # it comes back and receives the kept spans
        assert len(late.spans(20, timeout=40)) == 20
        end = time.monotonic() + 10
        while dropped(gateway) != (80, 20):
            assert time.monotonic() < end
            time.sleep(0.05)
        ask(gateway, "mock")
        late.spans(22)
    assert gateway.log().count('"traces_back"') == 1


def test_a_hanging_collector_delays_nothing(proxy: StartProxy, fake: FakeProvider):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        more = {"OTEL_BSP_MAX_QUEUE_SIZE": "4", "OTEL_BSP_SCHEDULE_DELAY": "10", "OTEL_EXPORTER_OTLP_TIMEOUT": "20000"}
        gateway = proxy(config(fake), environment={"OTEL_EXPORTER_OTLP_ENDPOINT": address, **more})
        for _ in range(20):
            assert ask(gateway, "mock").status_code == 200
        assert dropped(gateway) == (36, 0)
        began = time.monotonic()
        gateway.stop()
        assert time.monotonic() - began < 15


def test_spans_are_dropped_if_refused_and_retried_if_asked_to(gateway: RunningProxy, collector: Collector):
    collector.answers = [503, 200, 400, 307]
    ask(gateway, "mock")
    collector.spans(2)
    assert len(collector.bodies) == 2
    assert collector.bodies[0] == collector.bodies[1]
    for number in (2, 4):
        ask(gateway, "mock")
        end = time.monotonic() + 10
        while dropped(gateway) != (number, 2):
            assert time.monotonic() < end
            time.sleep(0.02)
    ask(gateway, "mock")
    collector.spans(4)
    assert len(collector.paths) == 5  # the redirect was not followed: the headers may hold a secret


def test_a_reload_keeps_the_exporter(gateway: RunningProxy, collector: Collector):
    ask(gateway, "mock")
    collector.spans(2)
    path = gateway.config_path
    path.write_text(path.read_text().replace("Hello!", "Hello again!"))
    end = time.monotonic() + 20
    while '"config_reloaded"' not in gateway.log():
        assert time.monotonic() < end
        time.sleep(0.05)
    ask(gateway, "mock")
    assert len({span.resource["service.instance.id"] for span in collector.spans(4)}) == 1


@pytest.mark.parametrize(
    "off",
    [
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_SDK_DISABLED": "true"},
        {"OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_tracing_is_off_by_default(proxy: StartProxy, fake: FakeProvider, collector: Collector, off: dict[str, str]):
    gateway = proxy(config(fake), environment={**traced(collector), **off})
    ask(gateway, "mock")
    gateway.stop()
    assert collector.paths == []


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://me:hunter2@127.0.0.1", "OTEL_EXPORTER_OTLP_HEADERS"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "hunter2", "name=value"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote", "parentbased_always_on"),
        ("OTEL_TRACES_SAMPLER_ARG", "2", "from 0 to 1"),
    ],
)
def test_invalid_settings_fail_the_start(proxy: StartProxy, fake: FakeProvider, name: str, value: str, said: str):
    with pytest.raises(AssertionError) as refused:
        proxy(config(fake), environment={name: value})
    assert name in str(refused.value)
    assert said in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_nothing_is_imported_while_tracing_is_off():
    import subprocess

    records = "[m for m in sys.modules if m.startswith('container.records.trace')]"
    code = f"import sys, container.cli.serve; print(json.dumps({records}))"
    done = subprocess.run([sys.executable, "-c", f"import json; {code}"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


def test_names_invented_by_clients_are_truncated(proxy: StartProxy, fake: FakeProvider, collector: Collector):
    written = config(fake)
    written["model_list"][0]["model_name"] = "wild/*"
    written["model_list"][0]["litellm_params"]["model"] = "openai/*"
    gateway = proxy(written, environment=traced(collector))
    ask(gateway, "wild/" + "ü" * 500)
    spans: list[Seen] = collector.spans(2)
    assert all(len(str(value)) <= 256 for span in spans for value in (span.name, *span.attributes.values()))

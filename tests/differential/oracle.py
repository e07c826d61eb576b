"""LiteLLM as the oracle: sends the same request through LiteLLM and through the proxy to the same fake provider."""

import asyncio
import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import httpx
import orjson
from hypothesis import HealthCheck, settings

from tests.fakes.behaviour import Behaviour
from tests.fakes.server import FakeProvider
from tests.processes import MASTER_KEY, RunningProxy

# LiteLLM would fetch its price map otherwise.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"


# Each example is two requests over sockets, to servers shared by all examples.
PATIENT = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)


class Said(NamedTuple):
    """`sent` is the body that the provider received, or None, and `path` its path. `status` and `answer` are the
    client's response, with the chunks of a stream joined (`put_together`)."""

    sent: Any
    path: str
    status: int
    answer: dict[str, Any]


class Oracle:
    """Sends requests both ways. `options` point LiteLLM's `acompletion` to the fake. All of its calls share one
    event loop."""

    def __init__(self, fake: FakeProvider, proxy: RunningProxy, options: Callable[[str], Mapping[str, Any]]) -> None:
        self._fake = fake
        self._options = options
        self._runner = asyncio.Runner()
        self._client = httpx.Client(
            base_url=proxy.url, headers={"authorization": f"Bearer {MASTER_KEY}"}, timeout=30, trust_env=False
        )

    def close(self) -> None:
        self._client.close()
        self._runner.close()

    def both(self, body: dict[str, Any], behaviour: Behaviour) -> tuple[Said, Said]:
        """LiteLLM's result and ours."""
        return self._said(self._litellm, body, behaviour), self._said(self._ours, body, behaviour)

    def _said(
        self, ask: Callable[[dict[str, Any]], tuple[int, dict[str, Any]]], body: dict[str, Any], behaviour: Behaviour
    ) -> Said:
        self._fake.reset()
        self._fake.always(behaviour)
        status, answer = ask(orjson.loads(orjson.dumps(body)))
        seen = [r for r in self._fake.requests if r.format != "google_token"]
        assert len(seen) <= 1, [(r.path, r.headers.get("user-agent"), r.body) for r in seen]
        return Said(seen[0].body, seen[0].path, status, answer) if seen else Said(None, "", status, answer)

    def _litellm(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        import litellm

        async def ask() -> dict[str, Any]:
            answer: Any = await litellm.acompletion(**body, **self._options(body["model"]), num_retries=0)
            if body.get("stream"):
                return put_together([chunk.model_dump(exclude_none=True) async for chunk in answer])
            return answer.model_dump(exclude_none=True)

        try:
            return 200, self._runner.run(ask())
        except litellm.exceptions.APIError as error:
            return error.status_code, {"error": str(error)}
        except litellm.exceptions.openai.APIStatusError as error:
            return error.status_code, {"error": str(error)}

    def _ours(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        response = self._client.post("/v1/chat/completions", json=body)
        if response.status_code != 200 or not body.get("stream"):
            return response.status_code, response.json()
        events = [line[6:] for line in response.text.splitlines() if line.startswith("data: ")]
        assert events[-1] == "[DONE]", events[-1]
        return 200, put_together([orjson.loads(event) for event in events[:-1]])


def put_together(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    """Joins a stream into the shape of a plain response."""
    choices: dict[int, dict[str, Any]] = {}
    result: dict[str, Any] = {}
    for chunk in chunks:
        if "error" in chunk:
            return chunk
        if chunk.get("usage"):
            result["usage"] = chunk["usage"]
        for said in chunk.get("choices") or ():
            choice = choices.setdefault(said["index"], {"index": said["index"], "message": {"role": "assistant"}})
            _add(choice["message"], said.get("delta") or {})
            if said.get("finish_reason"):
                choice["finish_reason"] = said["finish_reason"]
    return {**result, "choices": [choices[index] for index in sorted(choices)]}


def _add(message: dict[str, Any], delta: dict[str, Any]) -> None:
    for name in ("content", "reasoning_content"):
        if delta.get(name) is not None:
            message[name] = (message.get(name) or "") + delta[name]
    for call in delta.get("tool_calls") or ():
        calls = message.setdefault("tool_calls", [])
        known = next((c for c in calls if c["index"] == call["index"]), None)
        if known is None:
            calls.append({**call, "function": dict(call["function"])})
        else:
            known["function"]["arguments"] += call["function"].get("arguments") or ""

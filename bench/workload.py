"""What is asked and what has to come back: the requests of the load generator and the answers of the fake provider.

The provider learns from the message how many chunks to send and how far apart, so every gateway passes it on as it is.
"""

import json
import re
from dataclasses import dataclass

MODEL = "bench"
RESPONSES = "/responses"
# Stands once in every content chunk of a stream, and as often in a plain answer: counting it shows what is missing.
MARKER = b"w0rd"
PLAIN_MARKERS = 50

_INSTRUCTION = re.compile(rb"send (\d+) chunks, (\d+) ms apart")
_PROMPT = "You are a helpful assistant that answers in one paragraph. " * 4


@dataclass(frozen=True)
class Workload:
    """`chunks` of content, `gap_ms` milliseconds apart; 0 chunks: a plain answer."""

    name: str
    title: str
    chunks: int = 0
    gap_ms: int = 0

    @property
    def streams(self) -> bool:
        return self.chunks > 0

    @property
    def markers(self) -> int:
        """How often MARKER stands in a whole answer, not counting where a stream repeats its text at the end."""
        return self.chunks or PLAIN_MARKERS

    def body(self, model: str = MODEL, path: str = "") -> bytes:
        """The JSON of a chat completion, or of the Responses API if `path` is its own, about 500 bytes."""
        instruction = f"Please send {self.chunks} chunks, {self.gap_ms} ms apart."
        if path.endswith(RESPONSES):
            fields = {"model": model, "instructions": _PROMPT, "input": instruction}
            # As agents do: a response that is stored costs a write to the ledger's store.
            fields |= {
                "store": False,
                "max_output_tokens": 256,
                "temperature": 0.7,
                **({"stream": True} if self.streams else {}),
            }
            return json.dumps(fields).encode()
        fields = {
            "model": model,
            "messages": [{"role": "system", "content": _PROMPT}, {"role": "user", "content": instruction}],
            "max_tokens": 256,
            "temperature": 0.7,
        }
        if self.streams:
            fields["stream"] = True
        return json.dumps(fields).encode()


PLAIN = Workload("plain", "plain call")
STREAM = Workload("stream", "stream of 50 chunks", chunks=50)
PACED = Workload("paced", "stream of 20 chunks, 20 ms apart", chunks=20, gap_ms=20)
WORKLOADS = {w.name: w for w in (PLAIN, STREAM, PACED)}


def asked_for(body: bytes) -> tuple[int, int]:
    """Chunks and milliseconds between them, as the message in a request's body says."""
    found = _INSTRUCTION.search(body)
    return (int(found[1]), int(found[2])) if found else (0, 0)

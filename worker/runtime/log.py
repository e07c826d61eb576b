"""One JSON object per line, which Cloudflare indexes by its fields. Never a secret, never a body."""

import json
from datetime import UTC, datetime
from typing import Any


def log(level: str, event: str, **fields: Any) -> None:
    """`level`: info, warning or error; `event`: what happened, as `part.word`."""
    line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "level": level, "event": event, **fields}
    print(json.dumps(line, default=str), flush=True)

"""What every driver in Python does: each scenario with each model, one line of JSON for each.

A driver is a script. Its only argument is JSON: `{"url": …, "key": …, "models": […], "scenarios": […]}`. `url` has no
`/v1`.
A scenario is a function that takes the model's name and raises if the answer is wrong.
"""

import asyncio
import inspect
import json
import sys
import traceback
from collections.abc import Callable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

ASKED = json.loads(sys.argv[1])
URL: str = ASKED["url"]
KEY: str = ASKED["key"]

# The provider repeats the last text. `CALL` makes it call the tool, see tests/fakes/script.py.
HELLO = "The quick brown fox jumps over the lazy dog."
CALL = 'CALL weather {"city": "Ulm"} '
RESULT = "18 degrees and rain"
DESCRIPTION = "The weather in a city."
PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string", "description": "The city's name."}},
    "required": ["city"],
    "additionalProperties": False,
}


class Report(BaseModel):
    """The structured output."""

    model_config = ConfigDict(extra="forbid")

    city: str
    degrees: int
    sky: Literal["clear", "cloudy"]


REPORT = Report(city="Ulm", degrees=7, sky="clear")


def same(found: object, wanted: object) -> None:
    if found != wanted:
        raise AssertionError(f"{found!r} is not {wanted!r}")


def says(text: str | None, wanted: str) -> None:
    if wanted not in (text or ""):
        raise AssertionError(f"{text!r} does not contain {wanted!r}")


def streamed(pieces: list[str], wanted: str = HELLO) -> None:
    """The text came in several pieces."""
    if len(pieces) < 2:
        raise AssertionError(f"a stream of {len(pieces)} pieces")
    says("".join(pieces), wanted)


def run(**scenarios: Callable[[str], Any]) -> None:
    for model in ASKED["models"]:
        for name in ASKED["scenarios"]:
            error = None
            try:
                if name in scenarios:
                    done = scenarios[name](model)
                    if inspect.iscoroutine(done):
                        asyncio.run(done)
            except Exception as failed:  # noqa: BLE001 - whatever the client raises is reported
                error = f"{type(failed).__name__}: {failed}\n{traceback.format_exc()}"
            line = {"model": model, "scenario": name, "applies": name in scenarios, "error": error}
            print(json.dumps(line), flush=True)

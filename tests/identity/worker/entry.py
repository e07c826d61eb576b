"""A Worker that checks tokens with the edge's own door: see tests/identity/doors.py."""

import asyncio
import json
import time

from workers import WorkerEntrypoint

from core.identity.jwt import InvalidToken, KeysUnavailable, Trust, Verifier
from edge.runtime import interpreter
from edge.runtime.javascript import js
from edge.sign_in import TokenDoor

interpreter.install_entries()
interpreter.install_event_loop()
verifiers = {}
clocks = {}


@interpreter.stateless
class Default(WorkerEntrypoint):
    @interpreter.direct
    async def fetch(self, request, *_):
        request = interpreter.js_request(request)
        if request.method != "POST":
            return js.Response.new("{}")
        asked = json.loads(await request.text())
        try:
            answers = await answer(asked)
        except Exception as error:  # noqa: BLE001 - the test shows it
            answers = {"fault": repr(error)}
        return js.Response.new(json.dumps(answers))


async def answer(asked):
    name, options = asked["verifier"], asked["options"]
    clocks[name] = asked["clock"]
    if name not in verifiers:
        verifiers[name] = Verifier(TokenDoor(), **options, clock=lambda: clocks[name])
    trusts = [Trust(issuer, audience and tuple(audience), tuple(keys)) for issuer, audience, keys in asked["trusts"]]
    if "times" in asked:
        await verifiers[name].verify(asked["token"], trusts, asked["now"])
        began = time.perf_counter()
        for _ in range(asked["times"]):
            await verifiers[name].verify(asked["token"], trusts, asked["now"])
        await asyncio.sleep(0.001)  # the clock stands still without it
        return {"seconds": (time.perf_counter() - began) / asked["times"]}
    try:
        return {"claims": dict(await verifiers[name].verify(asked["token"], trusts, asked["now"]))}
    except InvalidToken as error:
        return {"invalid": str(error)}
    except KeysUnavailable as error:
        return {"unavailable": str(error)}

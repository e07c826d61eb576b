"""The container of the baseline: it reads a request and answers with as many bytes as the proxy.

Immediately, or with 50 events: the model `paced` sends one every 20 ms, as the fake provider of `tests.edge.figures`.
"""

import asyncio
import os

from aiohttp import web

_ANSWER = b'{"choices":[{"message":{"role":"assistant","content":"Hello out there!"}}]}'.ljust(360)
_EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"word "}}]}'.ljust(220) + b"\n\n"
_HEADERS = {"x-request-id": "floor"}


async def answer(request: web.Request) -> web.StreamResponse:
    body = await request.read()
    if b'"stream": true' not in body:
        return web.Response(body=_ANSWER, content_type="application/json", headers=_HEADERS)
    response = web.StreamResponse(headers={**_HEADERS, "content-type": "text/event-stream"})
    await response.prepare(request)
    for _ in range(50):
        await response.write(_EVENT)
        if b'"paced"' in body:
            await asyncio.sleep(0.02)
    await response.write(b"data: [DONE]\n\n")
    return response


if __name__ == "__main__":
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    web.run_app(application, host="127.0.0.1", port=int(os.environ["PORT"]), print=None, access_log=None)

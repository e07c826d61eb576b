"""The container of the baseline: it reads a request and answers immediately with as many bytes as the proxy."""

import os

from aiohttp import web

_ANSWER = b'{"choices":[{"message":{"role":"assistant","content":"Hello out there!"}}]}'.ljust(360)


async def answer(request: web.Request) -> web.Response:
    await request.read()
    return web.Response(body=_ANSWER, content_type="application/json", headers={"x-request-id": "floor"})


if __name__ == "__main__":
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    web.run_app(application, host="127.0.0.1", port=int(os.environ["PORT"]), print=None, access_log=None)

"""The practical limit: a proxy in aiohttp that swaps the key, forwards and streams back, and does nothing else."""

import sys
from collections.abc import AsyncIterator

import uvloop
from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector, web

PORT, UPSTREAM, KEY = int(sys.argv[1]), sys.argv[2], sys.argv[3]
HEADERS = {"content-type": "application/json", "authorization": f"Bearer {KEY}", "accept-encoding": "identity"}
SESSION = web.AppKey("session", ClientSession)


async def session(app: web.Application) -> AsyncIterator[None]:
    connector = TCPConnector(limit=0)
    async with ClientSession(connector=connector, cookie_jar=DummyCookieJar(), timeout=ClientTimeout()) as client:
        app[SESSION] = client
        yield


async def chat(request: web.Request) -> web.StreamResponse:
    body = await request.read()
    async with request.app[SESSION].post(UPSTREAM, data=body, headers=HEADERS) as answer:
        if answer.content_type != "text/event-stream":
            return web.Response(body=await answer.read(), status=answer.status, content_type=answer.content_type)
        response = web.StreamResponse(status=answer.status, headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        async for data in answer.content.iter_any():
            await response.write(data)
        await response.write_eof()
        return response


async def health(_: web.Request) -> web.Response:
    return web.Response()


app = web.Application()
app.add_routes([web.post("/v1/chat/completions", chat), web.get("/health", health)])
app.cleanup_ctx.append(session)
uvloop.install()
web.run_app(app, host="127.0.0.1", port=PORT, access_log=None, print=None)

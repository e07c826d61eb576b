"""The probe Worker: one path per runtime feature."""

import asyncio
import random
import sys
from urllib.parse import parse_qs, urlsplit

import js
from helpers import greeting
from pyodide.ffi import JsException, to_js
from workers import DurableObject, Response, WorkerEntrypoint

PORT = 8080
LATER: list[str] = []


class Box(DurableObject):
    """A table of counters."""

    def __init__(self, ctx, env):
        super().__init__(ctx, env)
        self.sql = ctx.storage.sql
        self.sql.exec("CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER)")

    async def add(self, name, amount=1, extra=None):
        self.sql.exec(
            "INSERT INTO counters VALUES (?, ?) ON CONFLICT(name) DO UPDATE SET value = value + excluded.value",
            name,
            amount,
        )
        row = self.sql.exec("SELECT value FROM counters WHERE name = ?", name).one()
        return {"name": name, "value": row.value, "extra": extra, "list": [1, None, "x"]}

    def shout(self, text):
        return text.upper()

    async def fail(self):
        raise ValueError("on purpose")

    async def fetch(self, request):
        rows = [[row.name, row.value] for row in self.sql.exec("SELECT name, value FROM counters ORDER BY name")]
        return Response.json({"rows": rows, "url": request.url})

    async def set_alarm(self, milliseconds):
        await self.ctx.storage.setAlarm(js.Date.now() + milliseconds)

    async def alarm(self):
        await self.add("alarm")


class Runner(DurableObject):
    """Starts its container at the first request and forwards requests to it."""

    async def fetch(self, request):
        container = self.ctx.container
        if not container.running:
            options = {"enableInternet": True, "env": {"GREETING": self.env.GREETING}}
            container.start(to_js(options, dict_converter=js.Object.fromEntries))
            self.watch = asyncio.ensure_future(self._watch(container))
        problem = ""
        for _ in range(40):
            try:
                return await container.getTcpPort(PORT).fetch(request.js_object)
            except JsException as error:
                problem = error.message
                if self.watch.done():
                    problem = self.watch.result()
                    break
                await asyncio.sleep(0.05)
        return Response(problem, status=503)

    async def _watch(self, container):
        """Records how the container ended. `exitCode` is present if it ran."""
        try:
            await container.monitor()
        except JsException as error:
            return f"{error.message} (exit code {getattr(error, 'exitCode', None)})"
        return "ended with exit code 0"

    async def ended(self):
        return await asyncio.wait_for(asyncio.shield(self.watch), 5)

    async def signal(self, number):
        self.ctx.container.signal(number)

    async def destroy(self):
        await self.ctx.container.destroy()

    async def running(self):
        return bool(self.ctx.container.running)


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        url = urlsplit(request.url)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        name = url.path.strip("/").replace("/", "_")
        if name.startswith("container"):
            return await self.container(name.removeprefix("container_"), query, request)
        return await getattr(self, f"do_{name}")(query, request)

    async def container(self, action, query, request):
        runner = self.env.RUNNER.getByName(query.get("id", "one"))
        try:
            if action in ("ended", "destroy", "running"):
                return Response.json(await getattr(runner, action)())
            if action == "signal":
                return Response.json(await runner.signal(int(query["number"])))
            return await runner.fetch(request.js_object)
        except (JsException, OSError) as error:
            return Response(f"caught {type(error).__name__}", status=503)

    async def do_hello(self, query, request):
        return Response(greeting(query.get("name", "world")))

    async def do_info(self, query, request):
        import pyodide

        return Response.json(
            {
                "platform": sys.platform,
                "pyodide": pyodide.__version__,
                "greeting": self.env.GREETING,
                "limits": self.env.LIMITS.to_py(),
                "random": random.random(),
            }
        )

    async def do_echo(self, query, request):
        headers = {"x-echo": request.headers.get("x-in", "")}
        return Response.json(
            {"method": request.method.value, "body": await request.json()}, headers=headers, status=201
        )

    async def do_box_add(self, query, request):
        box = self.env.BOX.getByName(query["id"])
        return Response.json(await box.add(query["name"], int(query.get("amount", "1")), {"a": [1, 2]}))

    async def do_box_shout(self, query, request):
        return Response(await self.env.BOX.getByName(query["id"]).shout(query["text"]))

    async def do_box_fail(self, query, request):
        try:
            await self.env.BOX.getByName(query["id"]).fail()
        except JsException as error:
            return Response(str(error), status=500)

    async def do_box_rows(self, query, request):
        return await self.env.BOX.getByName(query["id"]).fetch(request)

    async def do_box_alarm(self, query, request):
        await self.env.BOX.getByName(query["id"]).set_alarm(100)
        return Response("set")

    async def do_later(self, query, request):
        async def later():
            await asyncio.sleep(0.3)
            LATER.append(query["word"])

        self.ctx.waitUntil(later())
        return Response.json(LATER)

    async def do_said(self, query, request):
        return Response.json(LATER)

    async def do_sleep(self, query, request):
        await asyncio.sleep(float(query["seconds"]))
        return Response("slept")

    async def do_fail(self, query, request):
        raise RuntimeError("a bug of the Worker")

    async def do_print(self, query, request):
        print("printed by Python")
        return Response("printed")

"""A Worker that runs ledger decisions in the Durable Object named by the request's path.

POST /NAME/run {"steps": base64 of what `durable_store` packs, "transaction": bool, "breaks_off": null, or after how
    many statements} → the decision's result
POST /NAME/execute {"sql", "parameters"} → rows
POST /NAME/fail: a decision that fails after its first statement
POST /NAME/reload: a new store over the same storage
POST /NAME/rows → {"written", "read"}: rows since the last call, as Cloudflare bills them. The first call starts to
    count
"""

import base64
import importlib
import io
import json
import pickle

from workers import DurableObject, WorkerEntrypoint

from core.ledger import schema
from core.ledger.decision import Decision
from core.ledger.owners import OF_KIND
from edge.runtime.javascript import js, unwrapped
from edge.runtime.sql import SqlStore


class _Here(pickle.Unpickler):
    """Maps `worker.core` to `core`: outside the Worker, the ledger is part of the `worker` package. Batches get the
    store's memory, and a policy that is equal to the last one is the same, as in the edge's object."""

    policy = None

    def __init__(self, text, memory):
        super().__init__(io.BytesIO(base64.b64decode(text)))
        self._memory = memory

    def find_class(self, module, name):
        if name == "make_steps":
            return self._make_steps
        if name == "owner_kind":
            return OF_KIND.__getitem__
        return super().find_class(module.removeprefix("worker."), name)

    def _make_steps(self, module, name, arguments):
        steps = getattr(importlib.import_module(module.removeprefix("worker.")), name)
        if "memory" in arguments:
            if arguments["policy"] != _Here.policy:
                _Here.policy = arguments["policy"]
            arguments |= {"memory": self._memory, "policy": _Here.policy}
        return steps(**arguments)


def _breaking_off(steps, after):
    rows = None
    for _ in range(after):
        try:
            rows = yield steps.send(rows)
        except StopIteration:
            break
    raise RuntimeError("broken off on purpose")


class Store(DurableObject):
    def __init__(self, ctx, env):
        super().__init__(ctx, env)
        self._storage = unwrapped(ctx.storage)
        self._open()

    def _open(self):
        self._store = SqlStore(self._storage)
        self._prepare, self._cursors = self._store._prepare, []
        assert self._store.run(schema.migrate(self._store.dialect))["ok"]

    async def run(self, text):
        asked = json.loads(text)
        steps = _Here(asked["steps"], self._store.memory).load()
        if asked["breaks_off"] is not None:
            steps = _breaking_off(steps, asked["breaks_off"])
        return json.dumps(self._store.run(Decision(steps, asked["transaction"])))

    async def execute(self, text):
        asked = json.loads(text)

        def steps():
            return (yield asked["sql"], tuple(asked["parameters"]))

        return json.dumps(self._store.run(Decision(steps())))

    async def fail(self, text):
        def steps():
            yield "INSERT INTO ledger_accounts (id) VALUES ('user:half')", ()
            raise ValueError("on purpose")

        self._store.run(Decision(steps()))

    async def rows(self, text):
        cursors, self._cursors = self._cursors, []
        if self._store._prepare == self._prepare:
            self._store._prepared.clear()
            self._store._prepare = self._counted
        written, read = (sum(getattr(one, name) for one in cursors) for name in ("rowsWritten", "rowsRead"))
        return json.dumps({"written": written, "read": read})

    def _counted(self, sql):
        prepared = self._prepare(sql)

        def execute(*parameters):
            cursor = prepared.execute(*parameters)
            self._cursors.append(cursor)
            return cursor

        found = self._store._prepared[sql] = prepared._replace(execute=execute)
        return found

    async def reload(self, text):
        self._open()
        return "{}"


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        path = js.URL.new(request.js_object.url).pathname
        _, name, method = path.split("/") if path.count("/") == 2 else ("", "", "")
        if not name:
            return js.Response.new("ready")
        stub = unwrapped(self.env.STORES.getByName(name))
        try:
            answer = await getattr(stub, method)(await request.js_object.text())
        except Exception as error:  # noqa: BLE001 the test shall see it
            return js.Response.new(str(error), status=500)
        return js.Response.new(answer)

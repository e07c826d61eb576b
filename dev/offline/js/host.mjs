// Runs a Python Worker as workerd's own `python_workers` does, with Pyodide from npm instead of from the network.
import { restore } from "./prelude.mjs";
import { interpreter, place, ROOT, unpack } from "./interpreter.mjs";
import bytecode from "./bytecode.bin"; // empty: Python compiles the sources
import snapshot from "./snapshot.bin"; // empty: start Python from nothing
import sources from "./sources.json"; // { "path below ROOT": "text" }
import * as cloudflareWorkers from "cloudflare:workers";
import * as cloudflareSockets from "cloudflare:sockets";

const RAW_METHODS = ["alarm", "webSocketMessage", "webSocketClose", "webSocketError"]; // arguments unconverted

// A Python coroutine arrives here as a borrowed proxy that dies when the call returns, so a copy is kept alive.
function waitUntilFor(ctx) {
  const original = ctx.waitUntil.bind(ctx);
  return (promise) => {
    const kept = promise?.copy ? promise.copy() : promise;
    original((async () => {
      try {
        return await kept;
      } finally {
        kept?.destroy?.();
      }
    })());
  };
}

const patched = new WeakSet();
function patchWaitUntil(ctx) {
  // As workerd: only a Worker's context; a Durable Object's waitUntil takes no coroutine.
  if (Object.prototype.toString.call(ctx) !== "[object ExecutionContext]" || patched.has(ctx)) return;
  ctx.waitUntil = waitUntilFor(ctx);
  patched.add(ctx);
}

async function start(mainModule) {
  const pyodide = await interpreter({
    _loadSnapshot: snapshot.byteLength ? snapshot : undefined,
    stdout: (line) => console.log(line),
    stderr: (line) => console.error(line),
  });
  pyodide.loadPackage = () => { throw new Error("pyodide.loadPackage is not available in a Worker"); };
  pyodide.registerJsModule("_pyodide_entrypoint_helper", {
    doAnImport: (name) => import(name),
    cloudflareWorkersModule: { ...cloudflareWorkers, waitUntil: waitUntilFor(cloudflareWorkers) },
    cloudflareSocketsModule: cloudflareSockets,
    patchWaitUntil,
  });
  pyodide.registerJsModule("_cloudflare_compat_flags", globalThis.Cloudflare?.compatibilityFlags ?? {});
  const utf8 = new TextEncoder(); // FS.writeFile would encode a string by a loop in JavaScript
  place(pyodide.FS, Object.entries(JSON.parse(sources)).map(([path, text]) => [path, utf8.encode(text)]));
  place(pyodide.FS, unpack(bytecode));
  pyodide.runPython(`import sys; sys.path.insert(0, "${ROOT}"); sys.path.append("${ROOT}/python_modules")`);
  const bridge = pyodide.pyimport("_offline_bridge");
  restore("getRandomValues", "fetch"); // from here on the Worker's own imports meet workerd's rules for global scope
  const classes = (await bridge.load.callPromising(mainModule)).toJs({ dict_converter: Object.fromEntries });
  return { bridge, classes };
}

let seeded = false;
function beforeRequest(bridge) {
  if (seeded) return;
  seeded = true;
  bridge.reseed();
}

function expose(bridge, name, methods, base) {
  const isDurableObject = base === "DurableObject";
  const exposed = class extends cloudflareWorkers[base] {
    #instance;
    constructor(ctx, env) {
      super(ctx, env);
      beforeRequest(bridge);
      this.#instance = bridge.construct.callPromising(name, ctx, env);
      this.#instance.catch(() => {}); // each call that awaits it reports it
    }
    async _call(method, args) {
      const raw = isDurableObject && RAW_METHODS.includes(method);
      return bridge.invoke.callPromising(await this.#instance, raw, method, args);
    }
  };
  for (const method of methods) {
    exposed.prototype[method] = function (...args) { return this._call(method, args); };
  }
  Object.defineProperty(exposed, "name", { value: name });
  return exposed;
}

/** The Worker's classes by name, ready to be exported; `mainModule` is a Python module's name. */
export async function serve(mainModule) {
  try {
    const { bridge, classes } = await start(mainModule);
    return Object.fromEntries(
      Object.entries(classes).map(([name, { base, methods }]) => [name, expose(bridge, name, methods, base)]),
    );
  } finally {
    restore();
  }
}

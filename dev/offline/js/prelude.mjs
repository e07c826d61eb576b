// Imported before pyodide.mjs. While a module is evaluated workerd allows no fetch, no timers, no randomness and no
// compiling of WebAssembly bytes. Pyodide reaches those through globals only, so stand-ins that settle in microtasks
// take their place here, and restore() puts the originals back.

const originals = []; // [object, key, property descriptor], in the order they were replaced

function replace(object, key, value) {
  originals.push([object, key, Object.getOwnPropertyDescriptor(object, key)]);
  Object.defineProperty(object, key, { value, configurable: true, writable: true });
}

/** Puts back the globals of these names; all that are left when called without a name. */
export function restore(...keys) {
  for (let i = originals.length - 1; i >= 0; i--) {
    const [object, key, descriptor] = originals[i];
    if (keys.length && !keys.includes(key)) continue;
    originals.splice(i, 1);
    if (key === "fetch") fetchIsReal = true;
    if (descriptor) Object.defineProperty(object, key, descriptor);
    else delete object[key];
  }
}

export const files = new Map(); // file name -> ArrayBuffer: what the stand-in fetch serves
let wasmModule;
export const setWasm = (module) => { wasmModule = module; };

replace(globalThis, "process", undefined); // or Pyodide takes workerd for Node.js
replace(globalThis, "MessageChannel", undefined); // its ports would outlive the request that made them
replace(globalThis, "location", "file:///pyodide/");
replace(globalThis, "addEventListener", () => {}); // for browsers only

// pyodide.http keeps the `fetch` it finds when it is imported, so the stand-in must work afterwards too.
const realFetch = globalThis.fetch;
let fetchIsReal = false;
replace(globalThis, "fetch", async (url, ...rest) => {
  if (fetchIsReal) return realFetch(url, ...rest);
  const name = String(url).split("/").pop();
  if (!files.has(name)) throw new Error(`${name} is not among the embedded files`);
  return { ok: true, arrayBuffer: async () => files.get(name) };
});

replace(globalThis, "setTimeout", (callback, milliseconds, ...args) => {
  if (milliseconds) throw new Error("timers are not available while the Worker starts");
  queueMicrotask(() => callback(...args));
  return 0;
});

const instantiate = (module, imports) => new WebAssembly.Instance(module, imports);
replace(WebAssembly, "compile", async (bytes) => new WebAssembly.Module(bytes));
replace(WebAssembly, "instantiate", async (source, imports) => {
  if (source instanceof WebAssembly.Module) return instantiate(source, imports);
  const module = new WebAssembly.Module(source);
  return { module, instance: instantiate(module, imports) };
});
replace(WebAssembly, "instantiateStreaming", async (_response, imports) => ({
  module: wasmModule,
  instance: instantiate(wasmModule, imports),
}));

// A fixed sequence: real randomness comes with the first request (see beforeRequest in host.mjs).
let state = 0x9e3779b9;
replace(crypto, "getRandomValues", (view) => {
  const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  for (let i = 0; i < bytes.length; i++) bytes[i] = (state = (Math.imul(state, 1664525) + 1013904223) | 0) >>> 24;
  return view;
});

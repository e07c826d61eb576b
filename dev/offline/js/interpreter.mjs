// Starts Pyodide from the embedded files, in the same way for the host and for the making of a snapshot.
import { files, setWasm } from "./prelude.mjs";
import { loadPyodide } from "./pyodide.mjs";
import createPyodideModule from "./pyodide.asm.mjs";
import wasm from "./pyodide.asm.wasm";
import stdlib from "./python_stdlib.zip";
import lockFileContents from "./pyodide-lock.json";

export const ROOT = "/session/metadata"; // where workerd puts a Worker's files

export function interpreter(options) {
  setWasm(wasm);
  files.set("python_stdlib.zip", stdlib);
  return loadPyodide({
    indexURL: "file:///pyodide/",
    createPyodideModule,
    lockFileContents,
    env: { HOME: "/session", PYTHONHASHSEED: "0" }, // a snapshot and what it is loaded into must hash alike
    ...options,
  });
}

/** Writes files, [path below ROOT, bytes]. */
export function place(FS, named) {
  const folders = new Set();
  for (const [path, content] of named) {
    const full = `${ROOT}/${path}`;
    const folder = full.slice(0, full.lastIndexOf("/"));
    if (!folders.has(folder)) FS.mkdirTree(folder); // throws and catches an error for each folder that exists
    folders.add(folder);
    FS.writeFile(full, content);
  }
}

/** The files that bytecode.mjs has packed, as for `place`. */
export function* unpack(packed) {
  if (!packed.byteLength) return;
  const start = 4 + new DataView(packed).getUint32(0, true);
  let at = start;
  for (const [path, size] of JSON.parse(new TextDecoder().decode(new Uint8Array(packed, 4, start - 4)))) {
    yield [path, new Uint8Array(packed, at, size)];
    at += size;
  }
}

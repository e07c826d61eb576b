// Starts Pyodide from the embedded files, in the same way for the host and for the making of a snapshot.
import { files, setWasm } from "./prelude.mjs";
import { loadPyodide } from "./pyodide.mjs";
import createPyodideModule from "./pyodide.asm.mjs";
import wasm from "./pyodide.asm.wasm";
import stdlib from "./python_stdlib.zip";
import lockFileContents from "./pyodide-lock.json";

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

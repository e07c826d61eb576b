// The main module of a throw-away workerd that serves a memory snapshot of Pyodide with some modules imported.
import { restore } from "./prelude.mjs";
import { interpreter } from "./interpreter.mjs";
import warmUp from "./warm_up.py";

const pyodide = await interpreter({ _makeSnapshot: true });
pyodide.runPython(warmUp);
const snapshot = pyodide.makeMemorySnapshot();
restore();

export default { fetch: () => new Response(snapshot) };

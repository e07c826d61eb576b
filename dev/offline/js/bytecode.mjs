// The main module of a throw-away workerd that serves a Worker's modules as bytecode.
import { restore } from "./prelude.mjs";
import { interpreter, place, ROOT } from "./interpreter.mjs";
import snapshot from "./snapshot.bin";
import sources from "./sources.json";

const pyodide = await interpreter({ _loadSnapshot: snapshot.byteLength ? snapshot : undefined });
const utf8 = new TextEncoder();
place(pyodide.FS, Object.entries(JSON.parse(sources)).map(([path, text]) => [path, utf8.encode(text)]));
// Four bytes with the length of the index, the index (names and sizes), then the files. `unpack` reads it.
const packed = pyodide.runPython(`
import compileall, json, pathlib, py_compile
root = pathlib.Path("${ROOT}")
compileall.compile_dir(root, quiet=2, invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH)
files = {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*.pyc"))}
index = json.dumps([[name, len(content)] for name, content in files.items()]).encode()
len(index).to_bytes(4, "little") + index + b"".join(files.values())
`).toJs();
restore();

export default { fetch: () => new Response(packed) };

// Bundles Portkey's published server for workerd: node portkey_bundle.mjs ESBUILD SOURCE DIRECTORY
//
// Its Hono app is taken as it is. What differs: the server that listens (workerd does that), WebSockets (not
// measured), and the start banner, which uses timers at the top level, where workerd allows none.
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

const [esbuild, source, directory] = process.argv.slice(2);
const { build } = await import(esbuild);

const BANNER = ",console.clear(),await async function";
const code = readFileSync(source, "utf8").replace(/^#!.*\n/, "");
const end = code.indexOf(BANNER);
if (end < 0) throw new Error("the start banner is not where it was: another version?");

const STAND_INS = {
  "@hono/node-server": "export const serve = (options) => { globalThis.portkey = options.fetch; };",
  "@hono/node-ws":
    "export const createNodeWebSocket = () => ({ injectWebSocket() {}, upgradeWebSocket: () => () => {} });",
};

await build({
  stdin: { contents: code.slice(0, end) + ";", resolveDir: dirname(source), loader: "js" },
  bundle: true,
  format: "esm",
  platform: "node",
  conditions: ["workerd", "worker", "browser"],
  minify: true,
  outfile: join(directory, "portkey.js"),
  logLevel: "error",
  banner: { js: 'import { createRequire } from "node:module"; const require = createRequire("/");' },
  plugins: [
    {
      name: "stand-ins",
      setup(build) {
        build.onResolve({ filter: /^@hono\/node-(server|ws)$/ }, ({ path }) => ({ path, namespace: "stand-in" }));
        build.onLoad({ filter: /.*/, namespace: "stand-in" }, ({ path }) => ({ contents: STAND_INS[path] }));
      },
    },
  ],
});
writeFileSync(
  join(directory, "entry.js"),
  'import "./portkey.js";\nexport default { fetch: (request, env, ctx) => globalThis.portkey(request, env, ctx) };\n',
);

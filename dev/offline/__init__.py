"""The offline edge: the unmodified Python Worker in npm's workerd with npm's Pyodide, no network and no Docker.

By hand, with any directory that holds a wrangler.jsonc (here the repository itself):

    .venv/bin/python -m dev.offline . --port 8787 --var LITELLM_MASTER_KEY=sk-1234 --var LOCAL_DEVELOPMENT=true

`--engine SOCKET` gives ctx.container a Docker Engine API (without it, calls to a Durable Object that has a container
fail as where no engine runs), `--state DIRECTORY` keeps Durable Objects, `--no-snapshot` starts Python from nothing.

From Python:

    config = wrangler.read(Path("wrangler.jsonc"))
    built = build.build(config, out, storage=storage, vars={...}, snapshot=snapshot.find_or_make(config.main))
    server = workerd.Workerd(built)     # a free port; server.url
    server.start(); server.wait_until_ready(); ...; server.stop()
"""

"""The offline edge: the unmodified Python Worker in npm's workerd with npm's Pyodide, no network and no Docker.

By hand, with any directory that holds a wrangler.jsonc (here the repository itself):

    .venv/bin/python -m dev.run_offline . --port 8787 --var LITELLM_MASTER_KEY=sk-1234 --var LOCAL_DEVELOPMENT=true \\
        --container "ProxyContainer=.venv/bin/python -m container serve --config litellm_config.yaml --port {port}"

Without `--container` no engine runs, and calls to a Durable Object with a container fail.

From Python, with the process engine behind it: dev.edge.OfflineEdge. In parts:

    config = wrangler.read(Path("wrangler.jsonc"))
    memory = snapshot.find_or_make(config.main)
    compiled = bytecode.find_or_make(config.main, memory)
    built = build.build(config, out, storage=storage, vars={...}, snapshot=memory, bytecode=compiled)
    server = workerd.Workerd(built)     # a free port; server.url
    server.start(); server.wait_until_ready(); ...; server.stop()
"""

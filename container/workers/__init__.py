"""`serve --workers N`: several processes that serve one port.

    supervisor ──forks──▶ hub            keeps what exists once: ledger, engine, configuration, sums of the metrics
        │                  ▲
        │                  │ a Unix socket without a name for each worker (`link`)
        └────forks──▶ worker 0, 1, …     serve requests; share the state of deployments (`routing/health.py`)

The supervisor has no event loop, so that it can fork at any time. It replaces a worker that dies. The hub then charges
the worker's open reservations. If the hub dies, everything ends, and the service manager starts it again.
"""

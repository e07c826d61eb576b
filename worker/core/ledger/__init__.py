"""The ledger: who may spend, what is set aside for a request, and what it came to.

Pure decisions (see `decision`): the same code runs on a Durable Object's SQL, on a SQLite file and on PostgreSQL.
Standard library and relative imports only, as the Worker and the proxy both import it.
"""

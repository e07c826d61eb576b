"""The ledger: who may spend, what is reserved for a request and what the request finally costs.

Decisions are pure (see `decision`): the same code runs on a Durable Object's SQL, a SQLite file and PostgreSQL. Only
the standard library and relative imports are used, because both the Worker and the proxy import this package.
"""

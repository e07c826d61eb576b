"""Ledger stores for the standalone proxy: a SQLite file or PostgreSQL.

store = SqliteStore(path)                  # or PostgresStore(url)
await store.open()
result = await store.run(decision)         # LedgerUnavailable if the database cannot be used
"""

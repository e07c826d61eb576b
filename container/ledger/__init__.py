"""Where the ledger is kept when there is no edge in front: a SQLite file, or PostgreSQL.

store = await open_sqlite(path)            # or await open_postgres(url)
result = await store.run(admit(store.dialect, policy, ask, now))
"""

"""The Durable Objects: the ledger with the first container, and further containers."""

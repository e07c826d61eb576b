"""The Durable Objects: the ledger with the first container, and the further containers."""

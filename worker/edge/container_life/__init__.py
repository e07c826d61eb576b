"""A container's life cycle: one start for all waiting requests, recovery after a restart, replacement on failure.

`engine.py` and the stored record in `readiness.py` use Cloudflare's objects. Everything else is plain Python and tested
without them.
"""

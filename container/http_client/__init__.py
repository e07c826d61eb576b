"""An HTTP/1.1 client for provider calls, with pooling and streaming. A request has a whole body, or none.

docs/performance.md explains what it saves.
"""

"""An HTTP/1.1 client for provider calls, with pooling and streaming. It supports only POST.

docs/performance.md explains what it saves.
"""

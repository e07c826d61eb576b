"""The HTTP/1.1 client for calls to providers: POST, pooled, streamed. See docs/performance.md for what it saves."""

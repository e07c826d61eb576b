"""An HTTP/1.1 client for provider calls: POST only, with pooling and streaming. docs/performance.md
says what it saves.
"""

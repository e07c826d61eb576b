"""The HTTP server: sockets, requests and authentication."""

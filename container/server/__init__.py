"""The HTTP server: sockets, requests, who may ask."""

"""What the edge and the proxy share: pure decisions, without I/O, Cloudflare or aiohttp."""

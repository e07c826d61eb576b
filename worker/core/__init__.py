"""Code shared by the edge and the proxy: pure decisions, without I/O, Cloudflare or aiohttp."""

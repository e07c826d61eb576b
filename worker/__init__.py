"""The edge: a Cloudflare Python Worker. In workerd `entry.py` is the main module and this folder the import root."""

"""Measures the proxy beside its competitors, on loopback: `python -m bench --help`."""

"""The assembled proxy: what is built from a configuration, and how a new one replaces it."""

"""The proxy put together: what one configuration makes, and how it is replaced by another."""

"""The proxy."""

# As in pyproject.toml; the image has no distribution to ask.
VERSION = "0.1.0"

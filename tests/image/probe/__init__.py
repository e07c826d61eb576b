"""Runs the image's `litellm` inside the image, in front of fake providers, all on loopback.

`python -m tests.image.probe` prints one JSON object. It exits with 0 if every provider and endpoint responded.
"""

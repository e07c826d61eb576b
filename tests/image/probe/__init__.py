"""Runs inside the image: `litellm` as the image has it, in front of fakes of its providers, all on loopback.

`python -m tests.image.probe` prints one JSON object; exit code 0 when every provider and endpoint answered.
"""

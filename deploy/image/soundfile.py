"""Stands in the image for the package of this name, which LiteLLM imports at its start and uses to measure audio files.

With NumPy, which it needs, the package takes 59 MB. Without it LiteLLM takes the length of a file as unknown.
"""

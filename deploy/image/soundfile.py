"""A stub for the package of this name, which LiteLLM imports at its start and uses to measure audio files.

The real package and NumPy, which it needs, take 59 MB. With this stub, LiteLLM treats the length of a file as unknown.
"""

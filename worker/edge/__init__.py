"""The Worker's handling of a request: checks, then a response from the edge itself or from a container.

`settings.py`, `requests.py`, `container_life.py` and `objects/usage_drain.py` are plain Python. The other modules use
the Workers runtime.
"""

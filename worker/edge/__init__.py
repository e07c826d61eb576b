"""The Worker's way of a request: checked, answered here or passed on to a ProxyContainer, finished.

`settings.py`, `instances.py` and `nesting.py` are plain Python; the others speak to the Workers runtime.
"""

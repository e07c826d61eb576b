"""What the edge and the proxy answer alike: paths, errors, authentication, CORS, request ids.

Pure functions on the standard library, imported by the Worker as `api` and by the container as `worker.core.api`.
"""

"""HTTP behavior shared by the edge and the proxy: paths, errors, authentication, CORS and request ids.

Pure functions on the standard library. The Worker imports the package as `core.api`, the container as
`worker.core.api`.
"""

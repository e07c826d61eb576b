"""The APIs other than chat completions that clients may use with any model.

A deployment that has the same API gets the request as it is. For others it is translated to chat completions.
"""

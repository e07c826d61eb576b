"""The life of one container: started once for all who wait, found again after a restart, mended when it dies.

`engine.py` and `record.py` touch Cloudflare's objects; everything else is plain Python and tested without them.
"""

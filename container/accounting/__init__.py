"""Accounting: reserves the maximum cost of a request before it is sent, and settles its actual cost at the end.

reservation = await accounting.admit(context, "chat_completions", body, route)   # ApiError if the request is refused
reservation.trying(step); …; reservation.answered(usage)                           # what happened
await reservation.settle(status)                                                   # or abandon() on cancellation
"""

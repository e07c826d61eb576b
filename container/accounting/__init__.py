"""The proxy's money: what a request may cost is set aside before it goes out, and settled when it has ended.

reservation = await accounting.admit(context, "chat_completions", body, route)   # ApiError when it may not go out
reservation.trying(step); …; reservation.answered(usage)                           # what became of it
await reservation.settle(status)                                                   # or abandon(), when it is given up
"""

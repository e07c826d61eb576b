"""The proxy's money: what a request may cost is set aside before it goes out, and settled when it has ended.

reservation = await accounting.admit(exchange, "chat_completions", body, route)   # ApiError when it may not go out
reservation.trying(step); …; reservation.answered(usage)                           # what became of it
await reservation.settle(status)                                                   # or abandon(), when it is given up
"""

from . import unseen
from .accounting import Accounting, NoAccounting, check_models
from .edge import EdgeAccounting
from .place import Claim, NoLedger, fleeting, prepare, required, store, unusable, wanted, where
from .reservation import UNACCOUNTED, Reservation, Unaccounted
from .tariff import Tariff
from .transcript import Transcript, UsageEvents

Accounts = Accounting | EdgeAccounting | NoAccounting
AnyReservation = Reservation | Unaccounted

__all__ = [
    "UNACCOUNTED",
    "Accounting",
    "Accounts",
    "AnyReservation",
    "Claim",
    "EdgeAccounting",
    "NoAccounting",
    "NoLedger",
    "Reservation",
    "Tariff",
    "Transcript",
    "UsageEvents",
    "check_models",
    "fleeting",
    "prepare",
    "required",
    "store",
    "unseen",
    "unusable",
    "wanted",
    "where",
]

"""What participants send to the matching engine, and what it answers."""

from typing import Final

import numpy as np

GTC: Final = 0
IOC: Final = 1
POST_ONLY: Final = 2
FOK: Final = 3
"""Kinds of limit order."""

NEW: Final = 1
MARKET: Final = 2
CANCEL: Final = 3
REDUCE: Final = 4
MODIFY: Final = 5
"""Actions of a message."""

STP_NONE: Final = 0
STP_CANCEL_NEWEST: Final = 1
STP_CANCEL_OLDEST: Final = 2
STP_CANCEL_BOTH: Final = 3
STP_DECREMENT: Final = 4
"""Policies of self-trade prevention."""

RESTED: Final = 0
"""The order rests, whole or in part."""
DONE: Final = 1
"""The order was filled whole."""
CANCELLED: Final = 2
"""What was left was cancelled: asked for, or because it could not trade at once (IOC, market, FOK)."""
REJECTED_PRICE: Final = 3
"""The price is no price: it does not lie strictly between minus and plus PRICE_LIMIT."""
REJECTED_SIZE: Final = 4
"""The size is not positive."""
REJECTED_POST_ONLY: Final = 5
"""A post-only order would have traded."""
REJECTED_FULL: Final = 6
"""The book has no room and must grow first."""
REJECTED_UNKNOWN: Final = 7
"""No live order has this id."""
REJECTED_DUPLICATE: Final = 8
"""A live order has this id already, or it has none and would rest."""
REJECTED_MESSAGE: Final = 9
"""Action, side, kind or policy are none of those above, or a modify that is neither GTC nor POST_ONLY."""
CANCELLED_SELF: Final = 10
"""Self-trade prevention took what was left of the order."""

MESSAGE_DTYPE: Final = np.dtype(
    [
        ("order_id", "i8"),
        ("price_units", "i8"),
        ("size_lots", "i8"),
        ("owner", "i4"),
        ("action", "u1"),
        ("side", "i1"),
        ("kind", "u1"),
        ("policy", "u1"),
    ]
)
"""What a participant sends, 32 bytes. ``side`` is BID or ASK (new and market orders); ``size_lots`` is the whole size, of
a reduce what goes; a cancel reads only the id, a modify takes side and owner from the order."""

RESPONSE_DTYPE: Final = np.dtype([("lots", "i8"), ("fills", "i4"), ("status", "u1")], align=True)
"""What the engine answers, 16 bytes. ``lots`` by status: those that rest, 0 when done, those cancelled (CANCELLED_SELF: all that
prevention took off the order); what was asked for, or of a modify what still rests, when refused."""

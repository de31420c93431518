"""The rows of the engine's tables: orders as agent and venue know them, commands and answers on their way."""

from typing import Final

import numpy as np

AGENT_ORDER_DTYPE: Final = np.dtype(
    [
        ("order_id", "i8"),
        ("price_units", "i8"),
        ("size_lots", "i8"),
        ("leaves_lots", "i8"),
        ("sent_ns", "i8"),
        ("slot", "i2"),
        ("side", "i1"),
        ("state", "u1"),
        ("tif", "u1"),
        ("cancel_sent", "u1"),
        ("awaiting", "u1"),
        ("modify_sent", "u1"),
        ("asked_price", "i8"),
        ("asked_lots", "i8"),
    ]
)
"""An order as the agent knows it, 64 bytes; a row with state FREE is unused. ``awaiting``: an answer is under way (the first one,
or that to a cancel or a change); ``asked_price`` and ``asked_lots`` (the whole size): what a change under way asks for."""

VENUE_ORDER_DTYPE: Final = np.dtype(
    [
        ("order_id", "i8"),
        ("price_units", "i8"),
        ("leaves_lots", "i8"),
        ("ahead_lots", "f8"),
        ("level_lots", "i8"),
        ("traded_lots", "i8"),
        ("ghost_lots", "i8"),
        ("slot", "i2"),
        ("side", "i1"),
        ("active", "u1"),
        ("stamp", "u4"),
        ("size_lots", "i8"),
    ]
)
"""A resting order as the venue knows it, 72 bytes. ``ahead_lots`` is the queue before it (-1: not known), ``level_lots`` the
visible size of its level when last looked at, ``traded_lots`` prints since then that the level has not shown yet,
``ghost_lots`` lots ahead that have left the tape by an execution of which an earlier own order took a part, ``stamp`` its place
among arrivals (:mod:`trading.queues`)."""

COMMAND_DTYPE: Final = np.dtype(
    [
        ("due_ns", "i8"),
        ("order_id", "i8"),
        ("price_units", "i8"),
        ("size_lots", "i8"),
        ("slot", "i2"),
        ("side", "i1"),
        ("tif", "u1"),
        ("act", "u1"),
    ],
    align=True,
)
RESPONSE_DTYPE: Final = np.dtype(
    [
        ("due_ns", "i8"),
        ("venue_ns", "i8"),
        ("order_id", "i8"),
        ("price_units", "i8"),
        ("size_lots", "i8"),
        ("leaves_lots", "i8"),
        ("slot", "i2"),
        ("answer", "u1"),
        ("reason", "u1"),
        ("maker", "u1"),
    ],
    align=True,
)

"""The ledger's arithmetic: int64 in 1e-9 of the quote currency, exact to the last unit.

A fill moves ``price_units * size_lots * unit_nanos`` of cash and a fee. Fees in parts per million are rounded up to the next
nano, so a fee is never too small and a rebate never too large. A long position is marked at the best bid, a short one at the
best ask: equity is what closing at the touch would leave before fees, and at every moment

    equity = capital + sum over instruments of (cash + position * mark * unit_nanos)

holds exactly. Products stay below 2**63 while a position's value is below 9.2e9 of the quote currency.
"""

import numpy as np
from numba import njit

from trading.state import (
    G_EQUITY,
    I_CASH,
    I_EQUITY,
    I_FEES,
    I_MARK_ASK,
    I_MARK_BID,
    I_POSITION,
    I_TRADED_LOTS,
    Int64,
)

MILLION = 1_000_000


@njit(cache=True)
def share_ceil(amount: int, ppm: int) -> int:
    """Return ``amount * ppm / 1e6`` rounded up, without overflow for any amount; ppm may be negative, amount may not."""
    whole = (amount // MILLION) * ppm
    rest = (amount % MILLION) * ppm
    return whole - (-rest // MILLION)


@njit(cache=True)
def marked_equity(row: Int64, unit_nanos: int) -> int:
    """Return cash plus position at its mark for one instrument's row of ``EngineState.inst``."""
    position = row[I_POSITION]
    mark = row[I_MARK_BID] if position > 0 else row[I_MARK_ASK]
    return row[I_CASH] + position * mark * unit_nanos


@njit(cache=True)
def ledger_fill(row: Int64, side: int, price: int, lots: int, unit_nanos: int, fee: int) -> None:
    """Book a fill: ``side`` 1 bought, -1 sold. A side without a known quote is marked at the fill's price until it has one."""
    row[I_POSITION] += side * lots
    row[I_CASH] -= side * price * lots * unit_nanos + fee
    row[I_FEES] += fee
    row[I_TRADED_LOTS] += lots
    if row[I_MARK_BID] == 0:
        row[I_MARK_BID] = price
    if row[I_MARK_ASK] == 0:
        row[I_MARK_ASK] = price


@njit(cache=True)
def funding_paid(position: int, mark: int, unit_nanos: int, rate_ppb: int) -> int:
    """Return what a position pays at a funding time, in nanos: its value at the mark times the rate (in 1e-9), rounded up.

    Longs pay a positive rate, shorts receive it; what is received is rounded down.
    """
    value = position * mark * unit_nanos
    size = abs(value)
    rate = rate_ppb if value > 0 else -rate_ppb
    billion = 1_000_000_000
    return (size // billion) * rate - (-((size % billion) * rate) // billion)


@njit(cache=True)
def remark(g: Int64, row: Int64, unit_nanos: int) -> None:
    """Bring an instrument's equity and the account's up to date."""
    fresh = marked_equity(row, unit_nanos)
    g[G_EQUITY] += fresh - row[I_EQUITY]
    row[I_EQUITY] = fresh


def to_nanos(amount: float) -> int:
    """Return an amount of quote currency in nanos, rounded to the nearest."""
    return int(np.rint(amount * 1e9))

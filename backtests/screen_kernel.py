"""The compiled loop of the screen: one pass over decision rows with the taker's own rules."""

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from trading.ledger import share_ceil
from trading.strategies import T_EXIT_TICKS, T_HORIZON, T_MARGIN, entry_decision, stays_in
from trading.venue_rules import VOLUME_DAYS

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]

TRIP_DTYPE: Final = np.dtype(
    [
        ("entry_ns", "i8"),
        ("exit_ns", "i8"),
        ("entry_units", "i8"),
        ("exit_units", "i8"),
        ("lots", "i8"),
        ("gross_nanos", "i8"),
        ("fee_nanos", "i8"),
        ("entry_row", "i8"),
        ("exit_row", "i8"),
        ("instrument_id", "i2"),
        ("side", "i1"),
        ("capped", "u1"),
        ("spare", "u1", (4,)),
    ],
    align=True,
)
"""A round trip: both times at the venue, the first entry and the last exit price, lots held, money; ``exit_row`` is -1 where
the session's end closed it."""

GROSS: Final = 0
FEES: Final = 1
PAID: Final = 2
HELD_S: Final = 3
TURNOVER: Final = 4
TOTALS: Final = 5
"""Columns of the totals that the kernel writes."""


class Columns(NamedTuple):
    """The dataset's rows as the kernel reads them.

    ``cost`` is what a round trip costs at the row's quotes in price units, infinite where nothing may be opened; ``quotes`` are
    bid and ask at the row and at its ``arrive_ns``, ``lots`` those at ``arrive_ns``.
    """

    slot: npt.NDArray[np.int8]
    ts_recv: Int64
    due_ns: Int64
    arrive_ns: Int64
    cost: Float64
    quotes: Int64
    lots: Int64


class FeeTiers(NamedTuple):
    """Taker fees by the volume of thirty days, as the kernel reads them.

    ``venue`` is a number an instrument, ``from_volume`` and ``taker_ppm`` have shape (instruments, tiers), short schedules filled
    up with tiers that nothing reaches; ``stated`` is the volume that the settings state, ``day`` the ordinal of each session.
    """

    venue: Int64
    from_volume: Float64
    taker_ppm: Int64
    stated: Float64
    day: Int64


_POSITION: Final = 0
_EXPIRY: Final = 1
_BUSY: Final = 2
_CASH: Final = 3
_FEES: Final = 4
_ENTRY_NS: Final = 5
_ENTRY_ROW: Final = 6
_ENTRY_PRICE: Final = 7
_LOTS: Final = 8
_LAST: Final = 9
_CAPPED: Final = 10


@njit(cache=True)
def _session_fees(tiers: FeeTiers, volumes: Float64, s: int, out: Int64) -> None:
    """Write each instrument's taker fee in a session: the tier that the thirty days before it reach."""
    for k in range(len(out)):
        volume = tiers.stated[k]
        for p in range(s):
            if tiers.day[s] - VOLUME_DAYS <= tiers.day[p] < tiers.day[s]:
                for other in range(len(out)):
                    if tiers.venue[other] == tiers.venue[k]:
                        volume += volumes[p, other]
        reached = 0
        for tier in range(tiers.from_volume.shape[1]):
            if tiers.from_volume[k, tier] <= volume:
                reached = tier
        out[k] = tiers.taker_ppm[k, reached]


@njit(cache=True)
def _trade(book: Int64, inst: Int64, taker_ppm: int, side: int, lots: int, price: int) -> float:
    """Book a fill and return its value in quote currency."""
    notional = price * lots * inst[0]
    fee = share_ceil(notional, taker_ppm) + inst[4]
    book[_CASH] -= side * notional + fee
    book[_FEES] += fee
    book[_POSITION] += side * lots
    return notional * 1e-9


@njit(cache=True)
def _book_trip(book: Int64, inst: Int64, side: int, at: int, price: int, row: int, trip: Any, totals: Float64) -> int:
    """Write a finished round trip, add it to the totals and return what it earned."""
    earned = book[_CASH]
    trip.entry_ns = book[_ENTRY_NS]
    trip.exit_ns = at
    trip.entry_units = book[_ENTRY_PRICE]
    trip.exit_units = price
    trip.lots = book[_LOTS]
    trip.gross_nanos = earned + book[_FEES]
    trip.fee_nanos = book[_FEES]
    trip.entry_row = book[_ENTRY_ROW]
    trip.exit_row = row
    trip.instrument_id = inst[3]
    trip.side = side
    trip.capped = book[_CAPPED]
    totals[GROSS] += (earned + book[_FEES]) * 1e-9
    totals[FEES] += book[_FEES] * 1e-9
    totals[PAID] += earned > 0
    totals[HELD_S] += (at - book[_ENTRY_NS]) * 1e-9
    totals[TURNOVER] += float(book[_ENTRY_PRICE] + price) * book[_LOTS] * inst[0] * 1e-9
    book[_CASH] = 0
    book[_FEES] = 0
    return earned


@njit(cache=True)
def _interval(time: Int64, period: int, at: int) -> int:
    return time[2] + min(max((at - 1 - time[3]) // period, 0), time[4] - 1)


@njit(cache=True, nogil=True)
def screen_kernel(
    columns: Columns,
    times: Int64,
    inst: Int64,
    tiers: FeeTiers,
    ints: Int64,
    floats: Float64,
    response: int,
    period: int,
    values: Float64,
    edges: Float64,
    source: Int64,
    pnl: Int64,
    trips: Any,
    counts: Int64,
    totals: Float64,
) -> int:
    """Trade one set of forecasts with one set of parameters and return the number of round trips.

    ``times`` is as the screen's ``session_times`` makes it, ``inst`` one row an instrument (money of a unit, its least taker
    fee, tick, id, fee a fill in nanos), ``tiers`` what decides a session's taker fee, as an engine does that carries the volume
    from session to session, ``ints`` and ``floats`` the taker's. ``edges`` is the last column of ``values``, contiguous: most
    rows need nothing else.
    Written: ``pnl`` (nanos by interval), the first ``len(trips)`` round trips, ``counts`` (entries sent, those at the Kelly cap)
    and ``totals`` (gross profit, fees, round trips that paid, seconds held, turnover of both sides; money in quote currency).
    """
    slots, recv, due, arrive = columns.slot, columns.ts_recv, columns.due_ns, columns.arrive_ns
    cost, quotes, lots_there = columns.cost, columns.quotes, columns.lots
    hurdle = 1.0 + floats[T_MARGIN]
    spare = np.zeros(1, trips.dtype)
    books = np.zeros((len(inst), 11), np.int64)
    shifted = len(source) > 0
    fees = inst[:, 1].copy()
    volumes = np.zeros((len(times), len(inst)), np.float64)
    span = 0
    done = 0
    for s in range(len(times)):
        time = times[s]
        if s == 0 or times[s - 1, 7] == 0:
            span = s
            _session_fees(tiers, volumes, s, fees)
        books[:, _LAST] = -1
        for i in range(time[5], time[6]):
            if due[i] >= time[1]:
                break
            slot = slots[i]
            book = books[slot]
            book[_LAST] = i
            if due[i] < book[_BUSY]:
                continue
            place = source[i] if shifted else i
            position = book[_POSITION]
            if position == 0:
                if abs(edges[place]) <= cost[i] * hurdle or recv[i] > time[0]:
                    continue
                others = 0
                for k in range(len(inst)):
                    if k != slot and (books[k, _POSITION] != 0 or due[i] < books[k, _BUSY]):
                        others += 1
                unit, taker, trade = inst[slot, 0], fees[slot], inst[slot, 4]
                bid, ask = quotes[i, 0], quotes[i, 1]
                side, lots, capped = entry_decision(values[place], bid, ask, taker, trade, unit, others, ints, floats)
                if lots == 0:
                    continue
                counts[0] += 1
                counts[1] += capped
                book[_EXPIRY] = recv[i] + ints[T_HORIZON]
                book[_BUSY] = arrive[i] + response
                price = quotes[i, 3] if side > 0 else quotes[i, 2]
                there = lots_there[i, 1] if side > 0 else lots_there[i, 0]
                if there > 0 and (price <= ask if side > 0 else price >= bid):
                    lots = min(lots, there)
                    volumes[span, slot] += _trade(book, inst[slot], fees[slot], side, lots, price)
                    book[_ENTRY_NS] = arrive[i]
                    book[_ENTRY_ROW] = i
                    book[_ENTRY_PRICE] = price
                    book[_LOTS] = lots
                    book[_CAPPED] = capped
                continue
            bid, ask = quotes[i, 0], quotes[i, 1]
            if recv[i] < book[_EXPIRY] or bid > ask:
                continue
            if recv[i] <= time[0] and stays_in(
                edges[place], position, bid, ask, fees[slot], inst[slot, 4], inst[slot, 0], floats
            ):
                book[_EXPIRY] = recv[i] + ints[T_HORIZON]
                continue
            side = 1 if position > 0 else -1
            through = ints[T_EXIT_TICKS] * inst[slot, 2]
            price = quotes[i, 2] if side > 0 else quotes[i, 3]
            there = lots_there[i, 0] if side > 0 else lots_there[i, 1]
            book[_BUSY] = arrive[i] + response
            if there > 0 and (price >= bid - through if side > 0 else price <= ask + through):
                lots = min(abs(position), there)
                volumes[span, slot] += _trade(book, inst[slot], fees[slot], -side, lots, price)
                if book[_POSITION] == 0:
                    where = _interval(time, period, arrive[i])
                    trip = trips[done] if done < len(trips) else spare[0]
                    pnl[where] += _book_trip(book, inst[slot], side, arrive[i], price, i, trip, totals)
                    done += 1
        if time[7] != 0:
            continue
        for slot in range(len(inst)):
            book = books[slot]
            book[_BUSY] = 0
            if book[_POSITION] != 0 and book[_LAST] >= 0:
                side = 1 if book[_POSITION] > 0 else -1
                price = quotes[book[_LAST], 0] if side > 0 else quotes[book[_LAST], 1]
                volumes[span, slot] += _trade(book, inst[slot], fees[slot], -side, abs(book[_POSITION]), price)
                where = _interval(time, period, time[1])
                trip = trips[done] if done < len(trips) else spare[0]
                pnl[where] += _book_trip(book, inst[slot], side, time[1], price, -1, trip, totals)
                done += 1
    return done

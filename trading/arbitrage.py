"""Arbitrage monitor: what buying at one venue and selling at another would bring, after fees, at a size, with what is known.

For each ordered pair of venues and after every event group, with the books as received:

*net spread at size*: what ``size`` of the base is sold for at one venue's bids less its taker fee, less what it costs at the
other's asks with its fee, level by level, over that cost. Where a book does not show the size, there is none.

*the most that could be made*: lots are matched, cheapest ask with best bid, as long as the next pair still pays; no other
choice of lots makes more, since asks only get dearer and bids cheaper.

An *opportunity* is a stretch of time in which the net spread at size is at least ``least_bps`` and both books are fresh: each
has changed within ``stale_ns``. It ends when the spread closes, when a book becomes stale (at that moment, whether or not
anything arrives then), or when a book is lost (CLEAR, halt). What could still be made ``latency_ns`` after it began is kept
beside it: an opportunity that does not live that long cannot be had.

The monitor is a fold over events of all venues in order of ``ts_recv``; cutting the stream anywhere changes nothing. It believes
in nothing that it does not see: no transfer between venues, no funding, no chance that a quote is gone before the order is there
(that is what the latency column is for), and a perpetual against a spot is a basis, not an arbitrage.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from marketdata.clock import NS_PER_MS, NS_PER_S
from marketdata.events import EventArray
from marketdata.instruments import Instrument
from models.forecast import clean_copy
from trading.arbitrage_kernel import OPPORTUNITY_DTYPE, PAIR_COLUMNS, end_episodes, watch_events

CLOSE_NAMES: Final = ("", "closed", "stale", "lost", "end")
LEVELS: Final = 4_096

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]


class ArbitrageError(ValueError):
    """A monitor makes no sense; the message says why."""


class MonitorState(NamedTuple):
    """What the monitor knows; a checkpoint is a copy.

    Attributes
    ----------
    price, size, counts, counters : int64 arrays
        The venues' books, stacked.
    seen_ns : int64 array, shape (V,)
        Receive time of each book's latest group; -1: none since it was lost.
    began_ns : int64 array, shape (V, V)
        When the opportunity of buying at the row's venue and selling at the column's began; 0: there is none.
    pairs : float64 array, shape (V, V, PAIR_COLUMNS)
        What the running opportunities have been, and what is there now.
    totals : int64 array, shape (V, V, 3)
        Nanoseconds in which both books were known, in which both were fresh, and in which there was an opportunity.
    now_ns : int64 array, shape (1,)
    """

    price: Int64
    size: Int64
    counts: Int64
    counters: Int64
    seen_ns: Int64
    began_ns: Int64
    pairs: Float64
    totals: Int64
    now_ns: Int64


@dataclass(frozen=True)
class ArbitrageMonitor:
    """A frozen description; ``init``, ``step`` and ``finish`` make the fold.

    Attributes
    ----------
    legs : tuple of Instrument
        The same base and quote at different venues; sizes in base are lots times ``lot_size``, prices in quote are price units
        times ``price_decimals``.
    size : float
        Base units at which the net spread is judged.
    least_bps : float
        From which net spread on there is an opportunity.
    stale_ns : int
        How long a book may go without a change.
    latency_ns : int
        How long orders take.
    """

    legs: tuple[Instrument, ...]
    size: float
    least_bps: float = 0.0
    stale_ns: int = NS_PER_S
    latency_ns: int = 50 * NS_PER_MS

    def __post_init__(self) -> None:
        if len(self.legs) < 2:
            raise ArbitrageError("an arbitrage needs two venues at least")
        if len({leg.instrument_id for leg in self.legs}) < len(self.legs):
            raise ArbitrageError("two legs have one instrument_id")
        if not self.size > 0:
            raise ArbitrageError(f"size {self.size} is not positive")
        if self.stale_ns < 1 or self.latency_ns < 0:
            raise ArbitrageError("stale_ns is at least 1, latency_ns at least 0")
        for leg in self.legs:
            if not leg.is_traded:
                raise ArbitrageError(f"{leg.symbol} has no book")

    def init(self) -> MonitorState:
        """Return the state before the first event."""
        count = len(self.legs)
        return MonitorState(
            np.zeros((count, 2, LEVELS), np.int64),
            np.zeros((count, 2, LEVELS), np.int64),
            np.zeros((count, 2), np.int64),
            np.zeros((count, 4), np.int64),
            np.full(count, -1, np.int64),
            np.zeros((count, count), np.int64),
            np.zeros((count, count, PAIR_COLUMNS), np.float64),
            np.zeros((count, count, 3), np.int64),
            np.zeros(1, np.int64),
        )

    def step(self, state: MonitorState, events: EventArray) -> tuple[MonitorState, npt.NDArray[np.void]]:
        """Take events in order of ``ts_recv``; return the state and the opportunities that ended.

        Parameters
        ----------
        state : MonitorState
            Taken over: go on with the returned one, or with a copy made before.
        events : event array
            Of these and perhaps other instruments.

        Raises
        ------
        ValueError
            If an event was received before one that was taken already.
        """
        times = events["ts_recv"]
        if len(times) and (times[0] < state.now_ns[0] or bool(np.any(times[1:] < times[:-1]))):
            raise ValueError("events are not in order of ts_recv")
        ended, done = [], 0
        rows = events if events.flags.c_contiguous and events.flags.writeable else events.copy()
        while True:
            out = np.zeros(1_024, OPPORTUNITY_DTYPE)
            done, written = watch_events(state, self._ints, self._floats, self._leg_of, rows, done, out)
            ended.append(out[:written])
            if done == len(rows):
                return state, clean_copy(np.concatenate(ended))

    def finish(self, state: MonitorState, until_ns: int) -> tuple[MonitorState, npt.NDArray[np.void]]:
        """Let time pass to ``until_ns`` without events; what is open then ends."""
        out = np.zeros(1_024 + len(self.legs) ** 2, OPPORTUNITY_DTYPE)
        written = end_episodes(state, self._ints, until_ns, out)
        return state, out[:written]

    @property
    def _ints(self) -> Int64:
        return np.array([self.stale_ns, self.latency_ns], np.int64)

    @property
    def _floats(self) -> Float64:
        table = [(leg.price_decimals, leg.lot_size, 1e-6 * leg.fees.taker_ppm) for leg in self.legs]
        return np.array([(self.size, self.least_bps, 0.0), *table], np.float64)

    @property
    def _leg_of(self) -> Int64:
        found = np.full(max(leg.instrument_id for leg in self.legs) + 1, -1, np.int64)
        for k, leg in enumerate(self.legs):
            found[leg.instrument_id] = k
        return found

    def table(self, state: MonitorState) -> pl.DataFrame:
        """Return what is there now: one row for each ordered pair of venues.

        Returns
        -------
        pl.DataFrame
            ``buy, sell`` (symbols), ``net_bps`` at size (NaN where a book does not show it), ``profit`` and ``size`` of the most
            that could be made, ``buy_depth, sell_depth`` (base units that would pay, each leg alone against the other's best),
            ``buy_age_s, sell_age_s``, ``fresh`` and ``open``.
        """
        rows = []
        for v, buy in enumerate(self.legs):
            for w, sell in enumerate(self.legs):
                if v == w:
                    continue
                ages = [state.now_ns[0] - state.seen_ns[k] if state.seen_ns[k] >= 0 else -1 for k in (v, w)]
                pair = state.pairs[v, w]
                rows.append(
                    {
                        "buy": buy.symbol,
                        "sell": sell.symbol,
                        "net_bps": float(pair[0]) if min(ages) >= 0 else float("nan"),
                        "profit": float(pair[1]),
                        "size": float(pair[2]),
                        "buy_depth": float(pair[3]),
                        "sell_depth": float(pair[4]),
                        "buy_age_s": ages[0] / NS_PER_S if ages[0] >= 0 else float("nan"),
                        "sell_age_s": ages[1] / NS_PER_S if ages[1] >= 0 else float("nan"),
                        "fresh": min(ages) >= 0 and max(ages) <= self.stale_ns,
                        "open": bool(state.began_ns[v, w] > 0),
                    }
                )
        return pl.DataFrame(rows)

    def opportunities(self, ended: Sequence[npt.NDArray[np.void]]) -> pl.DataFrame:
        """Return opportunities as a frame with symbols and readable reasons, in the order in which they ended."""
        rows = np.concatenate([*ended, np.zeros(0, OPPORTUNITY_DTYPE)])
        frame = pl.DataFrame({name: np.ascontiguousarray(rows[name]) for name in OPPORTUNITY_DTYPE.names or ()})
        symbols = [leg.symbol for leg in self.legs]
        return frame.with_columns(
            pl.Series("buy", [symbols[k] for k in rows["buy"]], dtype=pl.String),
            pl.Series("sell", [symbols[k] for k in rows["sell"]], dtype=pl.String),
            pl.Series("reason", [CLOSE_NAMES[k] for k in rows["reason"]], dtype=pl.String),
        )


def copy_monitor(state: MonitorState) -> MonitorState:
    """Return a checkpoint of a monitor's state."""
    return MonitorState._make(array.copy() for array in state)

"""The screen: the taker's rule on decision rows alone, in milliseconds, for the gate and its control runs.

It trades forecasts exactly as the engine's taker does where only the top of the book matters: entries and exits are decided
when a forecast arrives, by the same compiled rule; orders are IOC limits that meet the venue's best quotes at the row's
``arrive_ns`` and fill at most the lots there; nothing is decided while an order's answer is under way; fees on both sides, to
the nano; everything is flat before the session's last seconds. What it leaves out: levels behind the best, the risk gate and
the drawdown ladder, quotes between two rows (the last close of a session uses the last row's quotes).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from numba import njit

from features.dataset import Dataset
from marketdata.settings import Settings
from models.forecast import FORECAST_DTYPE, ForecastArray
from trading.config import ENDING_NS, last_entry_ns, taker_strategy
from trading.ledger import share_ceil
from trading.strategies import T_EXIT_TICKS, T_HORIZON, T_MARGIN, entry_decision, round_trip_cost, stays_in

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
    ],
    align=True,
)
"""A round trip: both times at the venue, the first entry and the last exit price, lots held, money; ``exit_row`` is -1 where
the session's end closed it."""


@dataclass(frozen=True, slots=True)
class Clock:
    """The evidence clock: equal intervals from each session's first row to its close, sessions one after the other.

    Attributes
    ----------
    ts_ns : int64 array, shape (T,)
        End of each interval.
    day : int32 array, shape (T,)
        Index into ``days``.
    days : tuple of str
        ISO dates of the sessions that have rows.
    row_interval : int64 array, shape (n,)
        Interval of each dataset row, by its ``ts_recv``.
    first, start : int64 arrays, one entry a session of the dataset
        First interval of the session, and when it begins; -1 for sessions without rows.
    length : int64 array
        Intervals of the session.
    period_ns : int
    """

    ts_ns: Int64
    day: npt.NDArray[np.int32]
    days: tuple[str, ...]
    row_interval: Int64
    first: Int64
    start: Int64
    length: Int64
    period_ns: int


@dataclass(frozen=True, slots=True)
class ScreenResult:
    """What the screen earned.

    Attributes
    ----------
    pnl : float64 array, shape (T,)
        Net profit by interval of the clock, in quote currency, all instruments together, booked when a round trip ends.
    day_pnl : float64 array, one entry a day of the clock
    trips : TRIP_DTYPE array
    entries : int
        Entry orders sent, filled or not.
    at_cap : int
        Of them, sized at the Kelly cap.
    """

    clock: Clock
    pnl: Float64
    day_pnl: Float64
    trips: npt.NDArray[np.void]
    entries: int
    at_cap: int

    @property
    def round_trips(self) -> int:
        """Finished round trips."""
        return len(self.trips)

    @property
    def net(self) -> float:
        """Net profit over everything, in quote currency."""
        return float(self.pnl.sum())

    @property
    def holding_ns(self) -> float:
        """Mean holding time of a round trip; 0 without any."""
        return float((self.trips["exit_ns"] - self.trips["entry_ns"]).mean()) if len(self.trips) else 0.0


def evidence_clock(dataset: Dataset, period_ns: int) -> Clock:
    """Return the clock over the dataset's rows."""
    sessions = len(dataset.sessions)
    first, start, length = (np.full(sessions, -1, np.int64) for _ in range(3))
    ends, day, days = [], [], []
    interval = np.zeros(len(dataset), np.int64)
    done = 0
    for s in np.unique(dataset.session).tolist():
        session = dataset.sessions[s]
        rows = np.flatnonzero(dataset.session == s)
        begin = session.open_ns + (int(dataset.ts_recv[rows[0]]) - session.open_ns) // period_ns * period_ns
        count = max(-(-(session.close_ns - begin) // period_ns), 1)
        first[s], start[s], length[s] = done, begin, count
        ends.append(begin + period_ns * np.arange(1, count + 1))
        day.append(np.full(count, len(days), np.int32))
        days.append(session.date.isoformat())
        interval[rows] = done + np.clip((dataset.ts_recv[rows] - begin) // period_ns, 0, count - 1)
        done += count
    ts = np.concatenate(ends) if ends else np.zeros(0, np.int64)
    days_of = np.concatenate(day) if day else np.zeros(0, np.int32)
    return Clock(ts, days_of, tuple(days), interval, first, start, length, period_ns)


def align_forecasts(dataset: Dataset, forecasts: ForecastArray) -> ForecastArray:
    """Return the forecasts in the order of the dataset's rows, one a row.

    Raises
    ------
    ValueError
        If they were not made from exactly these rows.
    """
    if len(forecasts) == len(dataset):
        same = np.array_equal(forecasts["ts_recv"], dataset.ts_recv)
        if same and np.array_equal(forecasts["instrument_id"], dataset.instrument_id):
            return forecasts
        order = np.lexsort((forecasts["instrument_id"], forecasts["ts_recv"]))
        rows = np.lexsort((dataset.instrument_id, dataset.ts_recv))
        out = np.zeros(len(forecasts), FORECAST_DTYPE)
        out[rows] = forecasts[order]
        if np.array_equal(out["ts_recv"], dataset.ts_recv) and np.array_equal(
            out["instrument_id"], dataset.instrument_id
        ):
            return out
    raise ValueError(f"{len(forecasts)} forecasts do not belong to the {len(dataset)} rows of the dataset")


@dataclass(frozen=True, slots=True)
class Screen:
    """The screen of one dataset, prepared once for many sets of forecasts."""

    dataset: Dataset
    clock: Clock
    _rows: Int64
    _inst: Int64
    _times: Int64
    _ints: Int64
    _floats: Float64

    @classmethod
    def build(cls, dataset: Dataset, settings: Settings, *, edge_margin: float | None = None) -> "Screen":
        """Return the screen of a dataset under the taker of the settings.

        ``edge_margin`` stands in for the settings' margin (to choose it on training rows).
        """
        clock = evidence_clock(dataset, settings.gate.clock_ns)
        slot_of = np.full(max((i.instrument_id for i in dataset.instruments), default=0) + 1, -1, np.int64)
        inst = np.zeros((len(dataset.instruments), 5), np.int64)
        for slot, item in enumerate(dataset.instruments):
            slot_of[item.instrument_id] = slot
            inst[slot] = (item.unit_nanos, item.fees.taker_ppm, item.tick_units, item.instrument_id, item.is_traded)
        rows = np.empty((len(dataset), 10), np.int64)
        columns = ("ts_recv", "arrive_ns", "bid_units", "ask_units")
        entries = ("entry_bid_units", "entry_ask_units", "entry_bid_lots", "entry_ask_lots")
        for k, name in enumerate((*columns, *entries)):
            rows[:, k] = getattr(dataset, name)
        rows[:, 8] = slot_of[dataset.instrument_id]
        rows[:, 9] = dataset.session
        times = np.array(
            [
                (last_entry_ns(settings, s), s.close_ns - ENDING_NS, f, b, n)
                for s, f, b, n in zip(dataset.sessions, clock.first, clock.start, clock.length, strict=True)
            ],
            np.int64,
        ).reshape(-1, 5)
        latency = settings.latency
        some = dataset.sessions[0] if dataset.sessions else None
        ints = floats = np.zeros(1)
        if some is not None:
            strategy = taker_strategy(settings, some, edge_margin=edge_margin)
            ints, floats = np.array(strategy.ints, np.int64), np.array(strategy.floats, np.float64)
        own = np.array([latency.inference_ns, latency.response_ns, clock.period_ns], np.int64)
        return cls(dataset, clock, rows, inst, times, np.concatenate([own, ints.astype(np.int64)]), floats)

    def run(self, forecasts: ForecastArray, source: Int64 | None = None) -> ScreenResult:
        """Trade forecasts, one a row of the dataset.

        Parameters
        ----------
        forecasts : forecast array, shape (n,)
            In the dataset's order (:func:`align_forecasts`).
        source : int64 array, shape (n,), optional
            Row whose forecast each row gets in place of its own (control shifts); its time stays the row's.
        """
        values = np.empty((len(forecasts), 4), np.float64)
        for k, name in enumerate(("p_down", "p_flat", "p_up", "edge_units")):
            values[:, k] = forecasts[name]
        return self.run_values(values, source)

    def run_values(self, values: Float64, source: Int64 | None = None) -> ScreenResult:
        """Trade forecasts given as columns p_down, p_flat, p_up, edge; see :meth:`run`."""
        pnl = np.zeros(len(self.clock.ts_ns), np.int64)
        trips = np.zeros(len(values) // 2 + len(self._inst) * max(len(self.clock.days), 1) + 1, TRIP_DTYPE)
        counts = np.zeros(2, np.int64)
        used = source if source is not None else np.zeros(0, np.int64)
        n = _screen(
            self._rows, self._inst, self._times, self._ints[:3], self._ints[3:], self._floats, values, used, pnl, trips, counts
        )
        money = pnl / 1e9
        day_pnl = np.bincount(self.clock.day, weights=money, minlength=len(self.clock.days))
        return ScreenResult(self.clock, money, day_pnl, trips[:n], int(counts[0]), int(counts[1]))


def screen(
    dataset: Dataset, forecasts: ForecastArray, settings: Settings, *, edge_margin: float | None = None
) -> ScreenResult:
    """Trade one set of forecasts on the rows of a dataset.

    Parameters
    ----------
    dataset : Dataset
        Rows ordered by (``ts_recv``, ``instrument_id``), usually the test rows of a walk.
    forecasts : forecast array
        One a row.
    settings : Settings
        Strategy, latency, horizon, clock.
    edge_margin : float, optional
        In place of the settings' margin.
    """
    return Screen.build(dataset, settings, edge_margin=edge_margin).run(align_forecasts(dataset, forecasts))


_POSITION: Final = 0
_EXPIRY: Final = 1
_BUSY: Final = 2
_CASH: Final = 3
_FEES: Final = 4
_ENTRY_NS: Final = 5
_ENTRY_ROW: Final = 6
_ENTRY_PRICE: Final = 7
_LOTS: Final = 8
_BID: Final = 9
_ASK: Final = 10
_CAPPED: Final = 11


@njit(cache=True)
def _close(
    book: Int64,
    inst: Int64,
    time: Int64,
    period: int,
    pnl: Int64,
    trip: npt.NDArray[np.void],
    at: int,
    price: int,
    row: int,
) -> None:
    """Book a finished round trip: into the interval in which it ended, and as a row of its own."""
    trip.entry_ns = book[_ENTRY_NS]  # type: ignore[attr-defined]  # a record inside numba
    trip.exit_ns = at  # type: ignore[attr-defined]  # as above
    trip.entry_units = book[_ENTRY_PRICE]  # type: ignore[attr-defined]  # as above
    trip.exit_units = price  # type: ignore[attr-defined]  # as above
    trip.lots = book[_LOTS]  # type: ignore[attr-defined]  # as above
    trip.gross_nanos = book[_CASH] + book[_FEES]  # type: ignore[attr-defined]  # as above
    trip.fee_nanos = book[_FEES]  # type: ignore[attr-defined]  # as above
    trip.entry_row = book[_ENTRY_ROW]  # type: ignore[attr-defined]  # as above
    trip.exit_row = row  # type: ignore[attr-defined]  # as above
    trip.instrument_id = inst[3]  # type: ignore[attr-defined]  # as above
    trip.capped = book[_CAPPED]  # type: ignore[attr-defined]  # as above
    where = time[2] + min(max((at - 1 - time[3]) // period, 0), time[4] - 1)
    pnl[where] += book[_CASH]
    book[_CASH] = 0
    book[_FEES] = 0


@njit(cache=True)
def _trade(book: Int64, inst: Int64, side: int, lots: int, price: int) -> None:
    notional = price * lots * inst[0]
    fee = share_ceil(notional, inst[1])
    book[_CASH] -= side * notional + fee
    book[_FEES] += fee
    book[_POSITION] += side * lots


@njit(cache=True)
def _screen(
    rows: Int64,
    inst: Int64,
    times: Int64,
    own: Int64,
    ints: Int64,
    floats: Float64,
    values: Float64,
    source: Int64,
    pnl: Int64,
    trips: npt.NDArray[np.void],
    counts: Int64,
) -> int:
    slots = len(inst)
    books = np.zeros((slots, 12), np.int64)
    inference, response, period = own[0], own[1], own[2]
    shifted = len(source) > 0
    done = 0
    session = -1
    ended = False
    for i in range(len(rows) + 1):
        fresh = i == len(rows) or rows[i, 9] != session
        if session >= 0 and not ended and (fresh or rows[i, 0] + inference >= times[session, 1]):
            for k in range(slots):
                book = books[k]
                if book[_POSITION] != 0:
                    side = 1 if book[_POSITION] > 0 else -1
                    price = book[_BID] if side > 0 else book[_ASK]
                    _trade(book, inst[k], -side, abs(book[_POSITION]), price)
                    trips[done].side = side
                    _close(book, inst[k], times[session], period, pnl, trips[done], times[session, 1], price, -1)
                    done += 1
                book[_BUSY] = 0
            ended = True
        if i == len(rows):
            break
        if fresh:
            session = rows[i, 9]
            ended = rows[i, 0] + inference >= times[session, 1]
        slot = rows[i, 8]
        book = books[slot]
        bid, ask = rows[i, 2], rows[i, 3]
        book[_BID] = bid
        book[_ASK] = ask
        due = rows[i, 0] + inference
        if ended or due < book[_BUSY] or inst[slot, 4] == 0:
            continue
        value = values[source[i] if shifted else i]
        position = book[_POSITION]
        taker = inst[slot, 1]
        if position != 0:
            if rows[i, 0] < book[_EXPIRY] or bid > ask:
                continue
            if rows[i, 0] <= times[session, 0] and stays_in(value[3], position, bid, ask, taker, floats):
                book[_EXPIRY] = rows[i, 0] + ints[T_HORIZON]
                continue
            side = 1 if position > 0 else -1
            through = ints[T_EXIT_TICKS] * inst[slot, 2]
            price = rows[i, 4] if side > 0 else rows[i, 5]
            there = rows[i, 6] if side > 0 else rows[i, 7]
            book[_BUSY] = rows[i, 1] + response
            reachable = price >= bid - through if side > 0 else price <= ask + through
            if there > 0 and reachable:
                _trade(book, inst[slot], -side, min(abs(position), there), price)
                if book[_POSITION] == 0:
                    trips[done].side = side
                    _close(book, inst[slot], times[session], period, pnl, trips[done], rows[i, 1], price, i)
                    done += 1
            continue
        if rows[i, 0] > times[session, 0] or bid > ask:
            continue
        if abs(value[3]) <= round_trip_cost(bid, ask, taker) * (1.0 + floats[T_MARGIN]):
            continue
        others = 0
        for k in range(slots):
            if k != slot and (books[k, _POSITION] != 0 or due < books[k, _BUSY]):
                others += 1
        side, lots, capped = entry_decision(value, bid, ask, taker, inst[slot, 0], others, ints, floats)
        if lots == 0:
            continue
        counts[0] += 1
        counts[1] += capped
        book[_EXPIRY] = rows[i, 0] + ints[T_HORIZON]
        book[_BUSY] = rows[i, 1] + response
        price = rows[i, 5] if side > 0 else rows[i, 4]
        there = rows[i, 7] if side > 0 else rows[i, 6]
        if there > 0 and (price <= ask if side > 0 else price >= bid):
            lots = min(lots, there)
            _trade(book, inst[slot], side, lots, price)
            book[_ENTRY_NS] = rows[i, 1]
            book[_ENTRY_ROW] = i
            book[_ENTRY_PRICE] = price
            book[_LOTS] = lots
            book[_CAPPED] = capped
    return done

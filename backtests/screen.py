"""The screen: the taker's rule on decision rows alone, in milliseconds, for the gate and its control runs.

It trades forecasts exactly as the engine's taker does where only the top of the book matters: entries and exits are decided
when a forecast arrives, by the same compiled rule; orders are IOC limits that meet the venue's best quotes at the row's
``arrive_ns`` and fill at most the lots there; nothing is decided while an order's answer is under way; fees on both sides, to
the nano; everything is flat before the session's last seconds. What it leaves out: levels behind the best, the risk gate and
the drawdown ladder, quotes between two rows (the last close of a session uses the last row's quotes).
"""

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from features.dataset import Dataset
from marketdata.clock import NS_PER_DAY, Session
from marketdata.settings import Settings
from models.forecast import FORECAST_DTYPE, ForecastArray
from trading.config import ENDING_NS, last_entry_ns, taker_strategy
from trading.ledger import share_ceil
from trading.strategies import T_EXIT_TICKS, T_HORIZON, T_MARGIN, entry_decision, stays_in

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
    ends: list[Int64] = []
    day: list[npt.NDArray[np.int32]] = []
    days: list[str] = []
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
    _columns: "_Columns"
    _times: Int64
    _inst: Int64
    _ints: Int64
    _floats: Float64
    _response_ns: int

    @classmethod
    def build(cls, dataset: Dataset, settings: Settings, *, edge_margin: float | None = None) -> "Screen":
        """Return the screen of a dataset under the taker of the settings.

        ``edge_margin`` stands in for the settings' margin (to choose it on training rows).
        """
        clock = evidence_clock(dataset, settings.gate.clock_ns)
        inst = np.zeros((len(dataset.instruments), 4), np.int64)
        slot_of = np.zeros(max((i.instrument_id for i in dataset.instruments), default=0) + 1, np.int64)
        for slot, item in enumerate(dataset.instruments):
            slot_of[item.instrument_id] = slot
            inst[slot] = (item.unit_nanos, item.fees.taker_ppm, item.tick_units, item.instrument_id)
        times = _session_times(dataset, clock, settings)
        own = dataset.sessions[0] if dataset.sessions else Session(settings.start_date, 0, NS_PER_DAY)
        strategy = taker_strategy(settings, own, edge_margin=edge_margin)
        floats = np.array(strategy.floats, np.float64)
        slots = slot_of[dataset.instrument_id]
        traded = np.array([i.is_traded for i in dataset.instruments] or [True])
        bid, ask = dataset.bid_units, dataset.ask_units
        cost = (ask - bid) + 2.0 * inst[slots, 1] * 1e-6 * 0.5 * (bid + ask)
        late = dataset.ts_recv > times[dataset.session, 0]
        closed_to_entry = late | (bid > ask) | ~traded[slots]
        columns = _Columns(
            slots.astype(np.int8),
            dataset.ts_recv,
            dataset.ts_recv + settings.latency.inference_ns,
            dataset.arrive_ns,
            np.where(closed_to_entry, np.inf, cost * (1.0 + floats[T_MARGIN])),
            np.stack([bid, ask, dataset.entry_bid_units, dataset.entry_ask_units], axis=1),
            np.stack([dataset.entry_bid_lots, dataset.entry_ask_lots], axis=1),
        )
        ints = np.array(strategy.ints, np.int64)
        return cls(dataset, clock, columns, times, inst, ints, floats, settings.latency.response_ns)

    def run(self, forecasts: ForecastArray, source: Int64 | None = None) -> ScreenResult:
        """Trade forecasts, one a row of the dataset.

        Parameters
        ----------
        forecasts : forecast array, shape (n,)
            In the dataset's order (:func:`align_forecasts`).
        source : int64 array, shape (n,), optional
            Row whose forecast each row gets in place of its own (control shifts); its time stays the row's.
        """
        return self.run_values(forecast_values(forecasts), source)

    def run_values(self, values: Float64, source: Int64 | None = None) -> ScreenResult:
        """Trade forecasts in the form of :func:`forecast_values`; see :meth:`run`."""
        pnl = np.zeros(len(self.clock.ts_ns), np.int64)
        most = len(values) // 2 + len(self._inst) * max(len(self.clock.days), 1) + 1
        trips = np.zeros(most, TRIP_DTYPE)
        counts = np.zeros(2, np.int64)
        own = source if source is not None else np.zeros(0, np.int64)
        period, response = self.clock.period_ns, self._response_ns
        columns, times, inst = self._columns, self._times, self._inst
        n = _screen(columns, times, inst, self._ints, self._floats, response, period, values, own, pnl, trips, counts)
        money = pnl / 1e9
        day_pnl = np.bincount(self.clock.day, weights=money, minlength=len(self.clock.days)).astype(np.float64)
        return ScreenResult(self.clock, money, day_pnl, trips[:n].copy(), int(counts[0]), int(counts[1]))


class _Columns(NamedTuple):
    """The dataset's rows as the kernel reads them.

    ``entry_above`` is the edge that an entry must exceed, infinite where none is allowed; ``quotes`` are bid and ask at the row
    and at its ``arrive_ns``, ``lots`` those at ``arrive_ns``.
    """

    slot: npt.NDArray[np.int8]
    ts_recv: Int64
    due_ns: Int64
    arrive_ns: Int64
    entry_above: Float64
    quotes: Int64
    lots: Int64


def _session_times(dataset: Dataset, clock: Clock, settings: Settings) -> Int64:
    """Return one row a session, as :func:`_screen` reads it.

    Columns: last entry, end of trading, first interval, its start, intervals, first row, row after the last, whether trading
    goes on into the next session.
    Sessions that follow each other without a break (markets that never close) are one trading span.
    """
    times = np.zeros((max(len(dataset.sessions), 1), 8), np.int64)
    for s in range(len(dataset.sessions) - 1, -1, -1):
        session = dataset.sessions[s]
        rows = np.flatnonzero(dataset.session == s)
        goes_on = s + 1 < len(dataset.sessions) and dataset.sessions[s + 1].open_ns == session.close_ns
        last, end = last_entry_ns(settings, session), session.close_ns - ENDING_NS
        if goes_on:
            last, end = times[s + 1, :2]
        begin, after = (int(rows[0]), int(rows[-1]) + 1) if len(rows) else (0, 0)
        times[s] = (last, end, clock.first[s], clock.start[s], clock.length[s], begin, after, goes_on)
    return times


def forecast_values(forecasts: ForecastArray) -> Float64:
    """Return p_down, p_flat, p_up and edge as columns, shape (n, 4)."""
    return np.stack([forecasts[k].astype(np.float64) for k in ("p_down", "p_flat", "p_up", "edge_units")], axis=1)


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
_LAST: Final = 9
_CAPPED: Final = 10


@njit(cache=True)
def _trade(book: Int64, inst: Int64, side: int, lots: int, price: int) -> None:
    notional = price * lots * inst[0]
    fee = share_ceil(notional, inst[1])
    book[_CASH] -= side * notional + fee
    book[_FEES] += fee
    book[_POSITION] += side * lots


@njit(cache=True)
def _book_trip(book: Int64, number: int, side: int, at: int, price: int, row: int, trip: Any) -> int:
    """Write a finished round trip and return what it earned."""
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
    trip.instrument_id = number
    trip.side = side
    trip.capped = book[_CAPPED]
    book[_CASH] = 0
    book[_FEES] = 0
    return earned


@njit(cache=True)
def _interval(time: Int64, period: int, at: int) -> int:
    return time[2] + min(max((at - 1 - time[3]) // period, 0), time[4] - 1)


@njit(cache=True)
def _screen(
    columns: _Columns,
    times: Int64,
    inst: Int64,
    ints: Int64,
    floats: Float64,
    response: int,
    period: int,
    values: Float64,
    source: Int64,
    pnl: Int64,
    trips: Any,
    counts: Int64,
) -> int:
    slots, recv, due, arrive = columns.slot, columns.ts_recv, columns.due_ns, columns.arrive_ns
    above, quotes, lots_there = columns.entry_above, columns.quotes, columns.lots
    books = np.zeros((len(inst), 11), np.int64)
    shifted = len(source) > 0
    done = 0
    for s in range(len(times)):
        time = times[s]
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
                if abs(values[place, 3]) <= above[i]:
                    continue
                others = 0
                for k in range(len(inst)):
                    if k != slot and (books[k, _POSITION] != 0 or due[i] < books[k, _BUSY]):
                        others += 1
                unit, taker = inst[slot, 0], inst[slot, 1]
                bid, ask = quotes[i, 0], quotes[i, 1]
                side, lots, capped = entry_decision(values[place], bid, ask, taker, unit, others, ints, floats)
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
                    _trade(book, inst[slot], side, lots, price)
                    book[_ENTRY_NS] = arrive[i]
                    book[_ENTRY_ROW] = i
                    book[_ENTRY_PRICE] = price
                    book[_LOTS] = lots
                    book[_CAPPED] = capped
                continue
            bid, ask = quotes[i, 0], quotes[i, 1]
            if recv[i] < book[_EXPIRY] or bid > ask:
                continue
            if recv[i] <= time[0] and stays_in(values[place, 3], position, bid, ask, inst[slot, 1], floats):
                book[_EXPIRY] = recv[i] + ints[T_HORIZON]
                continue
            side = 1 if position > 0 else -1
            through = ints[T_EXIT_TICKS] * inst[slot, 2]
            price = quotes[i, 2] if side > 0 else quotes[i, 3]
            there = lots_there[i, 0] if side > 0 else lots_there[i, 1]
            book[_BUSY] = arrive[i] + response
            if there > 0 and (price >= bid - through if side > 0 else price <= ask + through):
                _trade(book, inst[slot], -side, min(abs(position), there), price)
                if book[_POSITION] == 0:
                    where = _interval(time, period, arrive[i])
                    pnl[where] += _book_trip(book, inst[slot, 3], side, arrive[i], price, i, trips[done])
                    done += 1
        if time[7] != 0:
            continue
        for slot in range(len(inst)):
            book = books[slot]
            book[_BUSY] = 0
            if book[_POSITION] != 0 and book[_LAST] >= 0:
                side = 1 if book[_POSITION] > 0 else -1
                price = quotes[book[_LAST], 0] if side > 0 else quotes[book[_LAST], 1]
                _trade(book, inst[slot], -side, abs(book[_POSITION]), price)
                where = _interval(time, period, time[1])
                pnl[where] += _book_trip(book, inst[slot, 3], side, time[1], price, -1, trips[done])
                done += 1
    return done

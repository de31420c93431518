"""The screen: the taker's rule on decision rows alone, in milliseconds, for the gate and its control runs.

It trades forecasts exactly as the engine's taker does where only the top of the book matters: entries and exits are decided
when a forecast arrives, by the same compiled rule; orders are IOC limits that meet the venue's best quotes at the row's
``arrive_ns`` and fill at most the lots there; nothing is decided while an order's answer is under way; fees on both sides, to
the nano, at the venue's tier for the volume that was traded before the session, and an amount a fill where the venue has one;
everything is flat before the session's last seconds. What it leaves out: levels behind the best, the risk gate and the drawdown
ladder, quotes between two rows (the last close of a session uses the last row's quotes).
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from backtests.evidence_clock import Clock as Clock
from backtests.evidence_clock import evidence_clock as evidence_clock
from backtests.parameters import TakerParameters
from backtests.screen_kernel import TOTALS, Columns, FeeTiers, screen_kernel
from backtests.screen_kernel import TRIP_DTYPE as TRIP_DTYPE
from features.dataset import Dataset
from marketdata.clock import NS_PER_DAY, Session
from marketdata.settings import Settings
from marketdata.taker_cost import TakerCost, fee_schedule
from models.forecast import FORECAST_DTYPE, ForecastArray
from trading.config import ENDING_NS, last_entry_ns

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]


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
    """The screen of one dataset, prepared once for many sets of forecasts and of parameters.

    Attributes
    ----------
    columns, times, inst, tiers
        What :func:`backtests.screen_kernel.screen_kernel` reads; ``times`` under the settings' own holding.
    parameters : TakerParameters
        Those of :meth:`run`.
    """

    dataset: Dataset
    settings: Settings
    clock: Clock
    parameters: TakerParameters
    columns: Columns
    times: Int64
    inst: Int64
    tiers: FeeTiers

    @classmethod
    def build(
        cls,
        dataset: Dataset,
        settings: Settings,
        *,
        edge_margin: float | None = None,
        parameters: TakerParameters | None = None,
    ) -> "Screen":
        """Return the screen of a dataset under the taker of the settings.

        ``edge_margin`` stands in for the settings' margin (to choose it on training rows), ``parameters`` for all of them.
        """
        chosen = parameters or TakerParameters.of(settings)
        if edge_margin is not None:
            chosen = replace(chosen, edge_margin=edge_margin)
        clock = evidence_clock(dataset, settings.gate.clock_ns)
        tiers = fee_tiers(dataset, settings)
        inst = np.zeros((len(dataset.instruments), 5), np.int64)
        slot_of = np.zeros(max((i.instrument_id for i in dataset.instruments), default=0) + 1, np.int64)
        for slot, item in enumerate(dataset.instruments):
            slot_of[item.instrument_id] = slot
            trade_nanos = TakerCost.of(settings, item).trade_nanos
            least = int(tiers.taker_ppm[slot].min())
            inst[slot] = (item.unit_nanos, least, item.tick_units, item.instrument_id, trade_nanos)
        slots = slot_of[dataset.instrument_id]
        traded = np.array([i.is_traded for i in dataset.instruments] or [True])
        bid, ask = dataset.bid_units, dataset.ask_units
        cost = (ask - bid) + 2.0 * inst[slots, 1] * 1e-6 * 0.5 * (bid + ask)
        columns = Columns(
            slots.astype(np.int8),
            dataset.ts_recv,
            dataset.ts_recv + settings.latency.inference_ns,
            dataset.arrive_ns,
            np.where((bid > ask) | ~traded[slots], np.inf, cost),
            np.stack([bid, ask, dataset.entry_bid_units, dataset.entry_ask_units], axis=1),
            np.stack([dataset.entry_bid_lots, dataset.entry_ask_lots], axis=1),
        )
        return cls(dataset, settings, clock, chosen, columns, session_times(dataset, clock, settings), inst, tiers)

    def with_parameters(self, parameters: TakerParameters) -> "Screen":
        """Return the screen of the same rows under other parameters; nothing is prepared again."""
        return replace(self, parameters=parameters)

    def arguments(self, parameters: TakerParameters) -> tuple[Int64, Int64, Float64]:
        """Return what the kernel reads of a parameter set: times of the sessions, integers and floats of the taker."""
        sessions = self.dataset.sessions
        own = sessions[0] if sessions else Session(self.settings.start_date, 0, NS_PER_DAY)
        strategy = parameters.strategy(self.settings, own)
        times = self.times.copy()
        times[:, 0] += self.settings.label.horizon_ns - parameters.horizon_ns
        return times, np.array(strategy.ints, np.int64), np.array(strategy.floats, np.float64)

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
        most = len(values) // 2 + len(self.inst) * max(len(self.clock.days), 1) + 1
        trips = np.zeros(most, TRIP_DTYPE)
        counts, totals = np.zeros(2, np.int64), np.zeros(TOTALS, np.float64)
        times, ints, floats = self.arguments(self.parameters)
        n = screen_kernel(
            self.columns,
            times,
            self.inst,
            self.tiers,
            ints,
            floats,
            self.settings.latency.response_ns,
            self.clock.period_ns,
            values,
            np.ascontiguousarray(values[:, 3]),
            source if source is not None else np.zeros(0, np.int64),
            pnl,
            trips,
            counts,
            totals,
        )
        money = pnl / 1e9
        day_pnl = np.bincount(self.clock.day, weights=money, minlength=len(self.clock.days)).astype(np.float64)
        return ScreenResult(self.clock, money, day_pnl, trips[:n].copy(), int(counts[0]), int(counts[1]))


def session_times(dataset: Dataset, clock: Clock, settings: Settings) -> Int64:
    """Return one row a session, as the kernel reads it.

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


def fee_tiers(dataset: Dataset, settings: Settings) -> FeeTiers:
    """Return the taker fees of the dataset's instruments by volume, as the kernel reads them."""
    count = len(dataset.instruments)
    schedules = [fee_schedule(settings, item) for item in dataset.instruments]
    most = max((len(own.tiers) for own in schedules if own is not None), default=1)
    from_volume, taker_ppm = np.full((count, most), np.inf), np.zeros((count, most), np.int64)
    stated, venue = np.zeros(count), np.zeros(count, np.int64)
    names = sorted({item.venue for item in dataset.instruments})
    for slot, (item, own) in enumerate(zip(dataset.instruments, schedules, strict=True)):
        venue[slot] = names.index(item.venue)
        rows = [(0.0, item.fees.taker_ppm)] if own is None else [(t.from_volume, t.taker_ppm) for t in own.tiers]
        stated[slot] = 0.0 if own is None else own.volume
        taker_ppm[slot] = rows[-1][1]
        for tier, (volume, ppm) in enumerate(rows):
            from_volume[slot, tier], taker_ppm[slot, tier] = volume, ppm
    day = np.array([session.date.toordinal() for session in dataset.sessions] or [0], np.int64)
    return FeeTiers(venue, from_volume, taker_ppm, stated, day)


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

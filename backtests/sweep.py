"""The sweep: the screen's kernel over thousands of parameter sets, on forecasts that were made once.

Each set is one pass of the compiled loop of :mod:`backtests.screen_kernel`, which is the loop that the gate's screen runs: there
is no second set of rules. A thread is handed a run of sets at a time and stays in compiled code, without the interpreter's lock,
until all of them are traded: between two sets there is nothing to wait for. A set's numbers do not depend on how many
threads there are.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import njit

from backtests.evidence_clock import Clock
from backtests.parameters import TakerParameters
from backtests.screen import Screen, forecast_values
from backtests.screen_kernel import (
    FEES,
    GROSS,
    HELD_S,
    PAID,
    TOTALS,
    TRIP_DTYPE,
    TURNOVER,
    Columns,
    FeeTiers,
    screen_kernel,
)
from models.forecast import ForecastArray

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Progress = Callable[[str, int, int], None]

SETS_AT_A_TIME: Final = 16
"""Sets of a run at most; fewer where that leaves a thread without any."""


@dataclass(frozen=True, slots=True)
class SweepResult:
    """What every parameter set earned; money in quote currency.

    Attributes
    ----------
    parameters : tuple of TakerParameters
        S sets.
    pnl : float64 array, shape (T, S)
        Net profit by interval of the clock.
    gross, fees, turnover : float64 arrays, shape (S,)
        Profit before fees, fees, and what was bought and sold together.
    round_trips, paid, entries : int64 arrays, shape (S,)
        Finished round trips, those that paid after fees, and entry orders sent.
    held_s : float64 array, shape (S,)
        Mean seconds of a round trip; NaN without any.
    """

    clock: Clock
    parameters: tuple[TakerParameters, ...]
    pnl: Float64
    gross: Float64
    fees: Float64
    turnover: Float64
    round_trips: Int64
    paid: Int64
    entries: Int64
    held_s: Float64

    @property
    def net(self) -> Float64:
        """Net profit of every set, shape (S,)."""
        return np.asarray(self.pnl.sum(axis=0))

    @property
    def break_even_bps(self) -> Float64:
        """Cost of a side, in basis points of its value, at which a set earns nothing; NaN where nothing was traded."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.turnover > 0, 1e4 * self.gross / self.turnover, np.nan)

    @property
    def sharpe(self) -> Float64:
        """Sharpe ratio of every set per interval of the clock; 0 where nothing moves."""
        deviation = self.pnl.std(axis=0)
        return np.where(deviation > 0, self.pnl.mean(axis=0) / np.where(deviation > 0, deviation, 1.0), 0.0)


@dataclass(frozen=True, slots=True)
class Signals:
    """Forecasts in the form that the kernel reads: made once, traded by every parameter set.

    Attributes
    ----------
    values : float64 array, shape (n, 4)
        Probabilities of down, flat, up, and the edge in price units.
    edges : float64 array, shape (n,)
        The edge alone, contiguous.
    """

    values: Float64
    edges: Float64

    @classmethod
    def of(cls, forecasts: ForecastArray) -> "Signals":
        """Return forecasts prepared, in the dataset's order (:func:`backtests.screen.align_forecasts`)."""
        values = forecast_values(forecasts)
        return cls(values, np.ascontiguousarray(values[:, 3]))


@njit(cache=True, nogil=True)
def _trade_sets(
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
    spare: Any,
    counts: Int64,
    totals: Float64,
    trips: Int64,
) -> None:
    """Trade sets one after the other: ``times``, ``ints``, ``floats`` and what is written have one row a set."""
    for k in range(len(ints)):
        trips[k] = screen_kernel(
            columns,
            times[k],
            inst,
            tiers,
            ints[k],
            floats[k],
            response,
            period,
            values,
            edges,
            source,
            pnl[k],
            spare,
            counts[k],
            totals[k],
        )


def sweep(
    screen: Screen,
    signals: Signals,
    parameters: Sequence[TakerParameters],
    *,
    threads: int | None = None,
    progress: Progress | None = None,
) -> SweepResult:
    """Trade one set of forecasts under many parameter sets.

    Parameters
    ----------
    screen : Screen
        Rows prepared once (:meth:`backtests.screen.Screen.build`).
    signals : Signals
        One a row of the screen's dataset.
    parameters : sequence of TakerParameters
    threads : int, optional
        Sets traded at a time; all cores by default.

    Raises
    ------
    ValueError
        If there is no parameter set.
    """
    if not parameters:
        raise ValueError("a sweep needs at least one parameter set")
    sets = len(parameters)
    pnl = np.zeros((sets, len(screen.clock.ts_ns)), np.int64)
    counts, totals = np.zeros((sets, 2), np.int64), np.zeros((sets, TOTALS))
    trips = np.zeros(sets, np.int64)
    none, no_trips = np.zeros(0, np.int64), np.zeros(0, TRIP_DTYPE)
    period, response = screen.clock.period_ns, screen.settings.latency.response_ns

    told = [screen.arguments(chosen) for chosen in parameters]
    times, ints, floats = (np.stack(part) for part in zip(*told, strict=True))

    def trade(first: int, after: int) -> int:
        own = slice(first, after)
        _trade_sets(
            screen.columns,
            times[own],
            screen.inst,
            screen.tiers,
            ints[own],
            floats[own],
            response,
            period,
            signals.values,
            signals.edges,
            none,
            pnl[own],
            no_trips,
            counts[own],
            totals[own],
            trips[own],
        )
        return after - first

    workers = min(threads or os.cpu_count() or 1, sets)
    size = max(1, min(SETS_AT_A_TIME, sets // workers))
    done = 0
    with ThreadPoolExecutor(workers) as pool:
        runs = [pool.submit(trade, first, min(first + size, sets)) for first in range(0, sets, size)]
        for run in as_completed(runs):
            done += run.result()
            if progress is not None:
                progress("parameter sets", done, sets)
    with np.errstate(divide="ignore", invalid="ignore"):
        held = np.where(trips > 0, totals[:, HELD_S] / trips, np.nan)
    return SweepResult(
        screen.clock,
        tuple(parameters),
        np.ascontiguousarray(pnl.T) / 1e9,
        totals[:, GROSS],
        totals[:, FEES],
        totals[:, TURNOVER],
        trips,
        totals[:, PAID].astype(np.int64),
        counts[:, 0],
        held,
    )

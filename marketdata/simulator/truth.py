"""What was true in a simulated session, kept for oracles, tests and reports; nothing of it reaches a feature."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class MarketTruth:
    """The hidden state of one session.

    Attributes
    ----------
    regimes : pl.DataFrame
        ``start_ns, end_ns, regime`` (name), shared by all instruments.
    episodes : pl.DataFrame
        ``symbol, start_ns, push_ns, end_ns, direction, move_units``: the informed trader acts from ``start_ns`` to ``push_ns``,
        the efficient price moves from ``push_ns`` to ``end_ns`` by ``direction * move_units``.
    drift : pl.DataFrame
        ``symbol, start_ns, end_ns, move_units``: every predictable move of the efficient price (own episodes, those passed on
        along the lead-lag graph, the mood's tilt), each spread evenly over its span. Empty where the world has none.
    path : pl.DataFrame
        ``symbol, ts, efficient_units, buy_intensity, sell_intensity, informed_rate, activity``, once a second, and the
        intensities of the other Hawkes types (``HAWKES_COLUMNS`` of ``marketdata.simulator.tape``), all per second.
    graph : pl.DataFrame
        ``leader, follower, excitation, price_share, lag_s``: the lead-lag edges in force.
    mood : pl.DataFrame
        ``ts, mood, slow_mood``, once a minute: what tilts the market, and what the slow signals react to.
    orders : pl.DataFrame
        ``symbol, ts, side`` (1 buys): the uninformed market orders, the two Hawkes types that move the efficient price.
    kernels : pl.DataFrame
        ``child, parent, decay_per_s, branching``: the self- and cross-excitation within an instrument, children an event.
    """

    regimes: pl.DataFrame
    episodes: pl.DataFrame
    drift: pl.DataFrame
    path: pl.DataFrame
    graph: pl.DataFrame
    mood: pl.DataFrame
    orders: pl.DataFrame
    kernels: pl.DataFrame


def oracle_edge(truth: MarketTruth, symbol: str, ts_ns: Int64, horizon_ns: int) -> Float64:
    """Return the true expected move of the mid over a horizon, given the hidden state.

    Parameters
    ----------
    truth : MarketTruth
        Of the session that holds the times.
    symbol : str
        Instrument.
    ts_ns : int64 array, shape (n,)
        Times to look ahead from.
    horizon_ns : int
        How far to look.

    Returns
    -------
    float64 array, shape (n,)
        Price units; exactly 0 where nothing is predictable. The distance between mid and efficient price at that moment is
        left out: it is smaller than the half spread, and nobody can trade at the mid.
    """
    ts = np.asarray(ts_ns, np.int64)
    parts = truth.drift.filter(pl.col("symbol") == symbol)
    if parts.height == 0:
        return np.zeros(len(ts))
    start = parts["start_ns"].to_numpy()
    end = parts["end_ns"].to_numpy()
    move = parts["move_units"].to_numpy()
    return _moved(ts + horizon_ns, start, end, move) - _moved(ts, start, end, move)


def _moved(ts: Int64, start: Int64, end: Int64, move: Float64) -> Float64:
    """Return the summed predictable move up to each time; spans may overlap."""
    knots = np.unique(np.concatenate([start, end]))
    rate = np.zeros(len(knots))
    slope = move / (end - start)
    np.add.at(rate, np.searchsorted(knots, start), slope)
    np.add.at(rate, np.searchsorted(knots, end), -slope)
    speed = np.cumsum(rate)
    total = np.concatenate([[0.0], np.cumsum(speed[:-1] * np.diff(knots))])
    return np.interp(ts.astype(np.float64) - knots[0], (knots - knots[0]).astype(np.float64), total)


def efficient_price(truth: MarketTruth, symbol: str, ts_ns: Int64) -> Float64:
    """Return the efficient price as of each time, the last whole second's, in price units, shape (n,)."""
    path = truth.path.filter(pl.col("symbol") == symbol)
    index = np.searchsorted(path["ts"].to_numpy(), np.asarray(ts_ns, np.int64), side="right") - 1
    return path["efficient_units"].to_numpy()[np.maximum(index, 0)]

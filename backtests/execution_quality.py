"""How a backtest was filled: slippage fill by fill, markouts, where the time went, and what share was filled.

Signs: slippage is a cost, positive when the fill was worse than the mid at the decision. A markout is a gain, positive when the
mid went our way after the fill. Both in basis points of the price.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from backtests.replay import BacktestResult
from backtests.tca import market_mids
from marketdata.clock import NS_PER_MINUTE, NS_PER_S, Session
from marketdata.events import EventArray
from models.intervals import Interval, block_length, figure_intervals
from trading.journal import FILL, FORECAST, JOURNAL_DTYPE, ORDER, Journal

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

MARKOUTS_S: Final = (0.1, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0)
HISTOGRAM_BINS: Final = 41
REPLICATIONS: Final = 500
BPS: Final = 1e4


@dataclass(frozen=True, slots=True)
class Markout:
    """Lot-weighted mean move of the mid in our favour, from the executed price to the mid ``after_s`` later."""

    after_s: float
    bps: Interval
    fills: int


@dataclass(frozen=True, slots=True)
class LatencyQuantiles:
    """Quantiles of one leg of an order's way, in microseconds; ``leg`` says from what to what."""

    leg: str
    count: int
    p50_us: float
    p90_us: float
    p99_us: float
    max_us: float


@dataclass(frozen=True, slots=True)
class ExecutionQuality:
    """The fills of one backtest.

    Attributes
    ----------
    slippage_bps : Interval
        Lot-weighted mean.
    slippage_edges, slippage_counts : tuple
        Histogram of the fills: B + 1 edges in basis points, B counts; the outer bins hold the tails.
    fill_rate : Interval
        Lots filled over lots sent.
    """

    orders: int
    fills: int
    maker_fills: int
    slippage_bps: Interval
    slippage_edges: tuple[float, ...]
    slippage_counts: tuple[int, ...]
    fill_rate: Interval
    markouts: tuple[Markout, ...]
    latencies: tuple[LatencyQuantiles, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def execution_quality(
    results: Sequence[BacktestResult], days: Mapping[Session, tuple[EventArray, Any]], *, seed: int
) -> ExecutionQuality:
    """Return how the fills of a backtest came about.

    Parameters
    ----------
    results : sequence of BacktestResult
        As :func:`backtests.replay.run_days` returns them for ``days``.
    seed : int
        Of the intervals' bootstrap: time blocks of at least a minute, fills of all instruments together.
    """
    journal: Journal = np.concatenate([r.journal for r in results]) if results else np.zeros(0, JOURNAL_DTYPE)
    places, sent, filled = _pairs(results)
    bid, ask = sent["bid_units"].astype(np.float64), sent["ask_units"].astype(np.float64)
    side, price = filled["side"].astype(np.float64), filled["price_units"].astype(np.float64)
    lots, at = filled["size_lots"].astype(np.float64), filled["venue_ns"].astype(np.int64)
    quoted = (bid > 0) & (ask > 0)
    mid = 0.5 * (bid + ask)
    slippage = np.where(quoted, BPS * side * (price - mid) / np.where(quoted, mid, 1.0), np.nan)
    orders = journal[journal["kind"] == ORDER]
    interval, count = _intervals(results, at)
    sent_at, _ = _intervals(results, orders["ts_ns"].astype(np.int64))

    def mean(values: Float64, weights: Float64, where: npt.NDArray[np.bool_]) -> Interval:
        columns = {
            "sum": np.bincount(interval[where], weights=(values * weights)[where], minlength=count).astype(np.float64),
            "weight": np.bincount(interval[where], weights=weights[where], minlength=count).astype(np.float64),
        }
        return _ratio(columns, seed)

    later = _mids_after(results, days, filled, places)
    markouts = []
    for k, after in enumerate(MARKOUTS_S):
        known = np.isfinite(later[:, k])
        gain = np.where(known, BPS * side * (later[:, k] - price) / np.maximum(price, 1.0), 0.0)
        markouts.append(Markout(after, mean(gain, lots, known), int(known.sum())))
    edges, counts = _histogram(slippage[quoted])
    rate = _ratio(
        {
            "sum": np.bincount(interval, weights=lots, minlength=count).astype(np.float64),
            "weight": np.bincount(sent_at, weights=orders["size_lots"].astype(float), minlength=count).astype(
                np.float64
            ),
        },
        seed,
    )
    return ExecutionQuality(
        orders=len(orders),
        fills=len(filled),
        maker_fills=int((filled["flag"] == 1).sum()),
        slippage_bps=mean(np.nan_to_num(slippage), lots, quoted),
        slippage_edges=edges,
        slippage_counts=counts,
        fill_rate=rate,
        markouts=tuple(markouts),
        latencies=_latencies(results, sent, filled),
    )


def _pairs(results: Sequence[BacktestResult]) -> tuple[Int64, Journal, Journal]:
    """Return the result that each fill is of, the order behind it, and the fill."""
    places, sent, filled = [], [], []
    for place, result in enumerate(results):
        rows = result.journal
        orders, fills = rows[rows["kind"] == ORDER], rows[rows["kind"] == FILL]
        orders = orders[np.argsort(orders["order_id"], kind="stable")]
        places.append(np.full(len(fills), place, np.int64))
        sent.append(orders[np.searchsorted(orders["order_id"], fills["order_id"])] if len(fills) else orders[:0])
        filled.append(fills)
    return np.concatenate(places), np.concatenate(sent), np.concatenate(filled)


def _intervals(results: Sequence[BacktestResult], at: Int64) -> tuple[Int64, int]:
    """Return each time's minute on one clock over the sessions, gaps between them left out, and the clock's length."""
    starts = [
        (r.config.session.open_ns, -(-(r.config.session.close_ns - r.config.session.open_ns) // NS_PER_MINUTE))
        for r in results
    ]
    opens = np.array([s for s, _ in starts], np.int64)
    lengths = np.array([n for _, n in starts], np.int64)
    first = np.concatenate([[0], np.cumsum(lengths)])
    place = np.clip(np.searchsorted(opens, at, side="right") - 1, 0, max(len(opens) - 1, 0))
    inside = np.clip((at - opens[place]) // NS_PER_MINUTE, 0, lengths[place] - 1)
    return first[place] + inside, int(first[-1])


def _ratio(columns: Mapping[str, Float64], seed: int) -> Interval:
    if not len(columns["sum"]) or not columns["weight"].sum():
        return Interval(float("nan"), float("nan"), float("nan"))
    block = block_length(np.column_stack([columns["sum"], columns["weight"]]))
    found = figure_intervals(
        columns, {"ratio": lambda s: s["sum"] / s["weight"]}, block=block, replications=REPLICATIONS, seed=seed
    )
    return found["ratio"]


def _mids_after(
    results: Sequence[BacktestResult], days: Mapping[Session, tuple[EventArray, Any]], filled: Journal, places: Int64
) -> Float64:
    """Return the mid at the venue after each fill, shape (fills, markouts); NaN past the session's close."""
    out = np.full((len(filled), len(MARKOUTS_S)), np.nan)
    for session, (events, _) in days.items():
        for place, result in enumerate(results):
            span = result.config.session
            if not span.open_ns <= session.open_ns < span.close_ns:
                continue
            inside = (
                (places == place) & (filled["venue_ns"] >= session.open_ns) & (filled["venue_ns"] < session.close_ns)
            )
            for item in result.config.instruments:
                own = np.flatnonzero(inside & (filled["instrument_id"] == item.instrument_id))
                if not len(own):
                    continue
                market = market_mids(events, item)
                for k, after in enumerate(MARKOUTS_S):
                    when = filled["venue_ns"][own] + round(after * NS_PER_S)
                    out[own, k] = np.where(when < session.close_ns, market.at(when), np.nan)
    return out


def _histogram(values: Float64) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Return edges and counts between the outer half per cents, the tails in the outer bins; nothing for no value."""
    if not len(values):
        return (), ()
    low, high = np.quantile(values, [0.005, 0.995])
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, HISTOGRAM_BINS + 1)
    counts, _ = np.histogram(np.clip(values, low, high), bins=edges)
    return tuple(edges.tolist()), tuple(counts.tolist())


def _latencies(results: Sequence[BacktestResult], sent: Journal, filled: Journal) -> tuple[LatencyQuantiles, ...]:
    forecasts: list[Int64] = []
    wires: list[Int64] = []
    for result in results:
        rows = result.journal
        seen = rows[rows["kind"] == FORECAST]
        forecasts.append((seen["ts_ns"] - seen["venue_ns"]).astype(np.int64))
        orders = rows[rows["kind"] == ORDER]
        wires.append((orders["venue_ns"] - orders["ts_ns"]).astype(np.int64))
    maker = filled["flag"] == 1
    legs = (
        ("row received to forecast", np.concatenate(forecasts) if forecasts else np.zeros(0, np.int64)),
        ("decision to venue", np.concatenate(wires) if wires else np.zeros(0, np.int64)),
        ("at the venue to maker's fill", (filled["venue_ns"] - sent["venue_ns"])[maker]),
        ("fill to our knowing it", filled["ts_ns"] - filled["venue_ns"]),
        ("decision to our knowing the fill", filled["ts_ns"] - sent["ts_ns"]),
    )
    found = []
    for leg, spans in legs:
        if len(spans):
            p50, p90, p99, most = (float(q) / 1e3 for q in np.quantile(spans, [0.5, 0.9, 0.99, 1.0]))
            found.append(LatencyQuantiles(leg, len(spans), p50, p90, p99, most))
    return tuple(found)

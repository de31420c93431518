"""What a market looks like, measured: spread, depth, order signs, returns, volatility, clocks and cancels of a tape of events.

Every measure is a plain function of arrays, for simulated and recorded tapes alike. Prices come in price units and leave in
ticks, times are int64 nanoseconds of the exchange's clock. A measure that needs what a feed does not have (sizes, trades,
order rows) gives NaN or an empty array there.

References
----------
Cont (2001). Empirical properties of asset returns: stylized facts and statistical issues. Quantitative Finance 1.
Lillo, Farmer (2004). The long memory of the efficient market. Studies in Nonlinear Dynamics & Econometrics 8(3).
Bouchaud, Bonart, Donier, Gould (2018). Trades, Quotes and Prices. Cambridge University Press.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from marketdata.book import BookState, book_apply, book_level_size, empty_book, fold_best
from marketdata.clock import NS_PER_S
from marketdata.events import ADD, BID, DELETE, EXECUTE, F_LAST, F_SNAPSHOT, HIDDEN, REDUCE, TRADE, EventArray

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]

SIGNATURE_S: Final = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1_800)
"""Horizons of the signature plot, in seconds."""
SIGN_LAGS: Final = 200
DEPTH_LEVELS: Final = 10
MIN_CORRELATION: Final = 1e-3
"""Correlations below this do not enter the fit of a power law."""


class Span(NamedTuple):
    """A stretch of continuous trading, half open, int64 ns."""

    start_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class Quotes:
    """The best quotes at the ends of event groups with both sides present, in order.

    Attributes
    ----------
    ts : int64 array, shape (n,)
    bid, bid_lots, ask, ask_lots : int64 arrays, shape (n,)
    """

    ts: Int64
    bid: Int64
    bid_lots: Int64
    ask: Int64
    ask_lots: Int64

    @property
    def mid(self) -> Float64:
        """Mid price in price units, shape (n,)."""
        return 0.5 * (self.bid.astype(np.float64) + self.ask)


def best_quotes(events: EventArray, spans: list[Span]) -> Quotes:
    """Return the best quotes at the end of each event group within the spans; crossed and one-sided books are left out."""
    best = fold_best(empty_book(8_192), events)
    ts = events["ts_event"]
    kept = ((events["flags"] & F_LAST) > 0) & (best[:, 1] > 0) & (best[:, 3] > 0) & (best[:, 0] < best[:, 2])
    kept &= _within(ts, spans)
    return Quotes(ts[kept].copy(), *(best[kept, k].copy() for k in range(4)))


def _within(ts: Int64, spans: list[Span]) -> npt.NDArray[np.bool_]:
    inside = np.zeros(len(ts), np.bool_)
    for start, end in spans:
        inside |= (ts >= start) & (ts < end)
    return inside


def durations_s(ts: Int64, spans: list[Span]) -> Float64:
    """Return for how long each state that begins at ``ts`` holds, in seconds, until the next one or the end of its span."""
    out = np.zeros(len(ts))
    for start, end in spans:
        own = np.flatnonzero((ts >= start) & (ts < end))
        out[own] = np.diff(np.append(ts[own], end)) / NS_PER_S
    return out


def spread_distribution(quotes: Quotes, spans: list[Span], tick_units: int, most: int = 20) -> Float64:
    """Return the share of time at a spread of 1, 2, … ticks, shape (most,); the last entry holds all that are wider."""
    ticks = np.clip(np.rint((quotes.ask - quotes.bid) / tick_units).astype(np.int64), 1, most)
    held = durations_s(quotes.ts, spans)
    share = np.bincount(ticks, weights=held, minlength=most + 1)[1:]
    return share / max(share.sum(), 1e-300)


def mean_spread_ticks(quotes: Quotes, spans: list[Span], tick_units: int) -> float:
    """Return the mean spread over time, in ticks."""
    return float(np.average((quotes.ask - quotes.bid) / tick_units, weights=durations_s(quotes.ts, spans)))


def mean_spread_bps(quotes: Quotes, spans: list[Span]) -> float:
    """Return the mean spread over time, in bps of the mid."""
    return float(1e4 * np.average((quotes.ask - quotes.bid) / quotes.mid, weights=durations_s(quotes.ts, spans)))


def depth_profile(events: EventArray, spans: list[Span], tick_units: int, *, every_s: float = 10.0) -> Float64:
    """Return the mean lots 0, 1, … ticks behind the best price, both sides together, shape (DEPTH_LEVELS,).

    The book is read every ``every_s`` seconds; NaN where it never had two sides.
    """
    step = round(every_s * NS_PER_S)
    when = np.concatenate([np.arange(start + step, end, step, dtype=np.int64) for start, end in spans])
    book = empty_book(8_192)
    total, read = _read_depth(book, events, when, tick_units, DEPTH_LEVELS)
    return total / read if read > 0 else np.full(DEPTH_LEVELS, np.nan)


@njit(cache=True)
def _read_depth(book: BookState, events: EventArray, when: Int64, tick: int, levels: int) -> tuple[Float64, int]:
    total = np.zeros(levels)
    read = 0
    k = 0
    for row in range(len(events)):
        event = events[row]
        while k < len(when) and when[k] <= event.ts_event:
            k += 1
            if book.count[0] == 0 or book.count[1] == 0:
                continue
            for side in range(2):
                best = book.price[side, book.count[side] - 1]
                away = -tick if side == 0 else tick
                for d in range(levels):
                    total[d] += book_level_size(book, side, best + away * d)
            read += 2
        book_apply(book, np.int64(event.action), np.int64(event.side), event.price_units, event.size_lots)
    return total, read


class Aggressors(NamedTuple):
    """Trades as aggressors: executions of one time and side are one (R6).

    Attributes
    ----------
    ts : int64 array, shape (n,)
    sign : int64 array, shape (n,)
        1 buys, -1 sells.
    lots : int64 array, shape (n,)
    """

    ts: Int64
    sign: Int64
    lots: Int64


def aggressors(events: EventArray, spans: list[Span]) -> Aggressors:
    """Return the aggressors within the spans, in order; prints without a side are left out."""
    is_trade = np.isin(events["action"], (EXECUTE, HIDDEN, TRADE)) & (events["side"] != 0)
    rows = events[is_trade & _within(events["ts_event"], spans)]
    ts, sign, lots = rows["ts_event"].copy(), -rows["side"].astype(np.int64), rows["size_lots"].copy()
    if len(ts) == 0:
        return Aggressors(ts, sign, lots)
    order = np.lexsort((sign, ts))
    first = np.concatenate([[True], (np.diff(ts[order]) != 0) | (np.diff(sign[order]) != 0)])
    begin = np.flatnonzero(first)
    came = np.argsort(np.minimum.reduceat(order, begin), kind="stable")
    total = np.add.reduceat(lots[order], begin)
    return Aggressors(ts[order][begin][came], sign[order][begin][came], total[came])


def autocorrelation(values: Float64, lags: int) -> Float64:
    """Return the autocorrelation at lags 1 to ``lags``, shape (lags,); NaN for lags that the series does not reach.

    The usual estimator: covariances divided by the length, by the variance.
    """
    out = np.full(lags, np.nan)
    n = len(values)
    if n < 3:
        return out
    centred = values - values.mean()
    room = 1 << int(2 * n - 1).bit_length()
    power = np.abs(np.fft.rfft(centred, room)) ** 2
    covariance = np.fft.irfft(power, room)[: min(lags, n - 1) + 1]
    if covariance[0] <= 0.0:
        return out
    out[: len(covariance) - 1] = covariance[1:] / covariance[0]
    return out


def power_law_exponent(correlation: Float64, first: int = 3, last: int = 100) -> float:
    """Return γ of ``C(lag) ~ lag**-γ`` by least squares on logarithms over lags ``first`` to ``last``.

    Correlations below ``MIN_CORRELATION`` are left out; NaN with fewer than five.
    """
    lags = np.arange(1, len(correlation) + 1)
    kept = (lags >= first) & (lags <= last) & (correlation > MIN_CORRELATION)
    if kept.sum() < 5:
        return float("nan")
    return float(-np.polyfit(np.log(lags[kept]), np.log(correlation[kept]), 1)[0])


def mid_on_grid(quotes: Quotes, span: Span, every_s: float) -> Float64:
    """Return the log mid on a grid over a span, the last quote at or before each time, shape (n,); NaN before the first quote."""
    step = round(every_s * NS_PER_S)
    when = np.arange(span.start_ns, span.end_ns + 1, step, dtype=np.int64)
    at = np.searchsorted(quotes.ts, when, side="right") - 1
    values = np.log(quotes.mid[np.maximum(at, 0)]) if len(quotes.ts) else np.zeros(len(when))
    known = (at >= 0) & (quotes.ts[np.maximum(at, 0)] >= span.start_ns) if len(quotes.ts) else np.zeros(len(when), bool)
    return np.where(known, values, np.nan)


def returns_bps(quotes: Quotes, spans: list[Span], every_s: float) -> Float64:
    """Return the mid's log returns over intervals of ``every_s`` seconds within the spans, in bps; none spans a break."""
    parts = [np.diff(mid_on_grid(quotes, span, every_s)) for span in spans]
    joined = np.concatenate(parts) if parts else np.zeros(0)
    return 1e4 * joined[~np.isnan(joined)]


def raw_kurtosis(values: Float64) -> float:
    """Return the fourth moment about the mean over the squared variance: 3 for a Gaussian; NaN without variance."""
    centred = values - values.mean() if len(values) else values
    variance = float(np.mean(centred**2)) if len(values) else 0.0
    return float(np.mean(centred**4)) / variance**2 if variance > 0.0 else float("nan")


def signature(quotes: Quotes, spans: list[Span], horizons_s: tuple[int, ...] = SIGNATURE_S) -> Float64:
    """Return the mid's variance per second at each horizon from overlapping moves, in bps² per second, shape (H,)."""
    out = np.full(len(horizons_s), np.nan)
    paths = [mid_on_grid(quotes, span, 1.0) for span in spans]
    for k, horizon in enumerate(horizons_s):
        moves = [path[horizon:] - path[:-horizon] for path in paths if len(path) > horizon]
        joined = np.concatenate(moves) if moves else np.zeros(0)
        joined = joined[~np.isnan(joined)]
        if len(joined):
            out[k] = 1e8 * float(np.mean(joined**2)) / horizon
    return out


def intraday_shape(ts: Int64, spans: list[Span], bins: int = 13) -> Float64:
    """Return the rate of events in equal parts of the trading time over its mean, shape (bins,)."""
    elapsed, total = np.zeros(len(ts)), 0.0
    inside = _within(ts, spans)
    for start, end in spans:
        own = (ts >= start) & (ts < end)
        elapsed[own] = total + (ts[own] - start) / NS_PER_S
        total += (end - start) / NS_PER_S
    counts = np.histogram(elapsed[inside], bins=bins, range=(0.0, total))[0]
    return counts / max(counts.mean(), 1e-300)


def waits_s(ts: Int64, spans: list[Span]) -> Float64:
    """Return the times between successive events within a span, in seconds; none spans a break."""
    parts = [np.diff(ts[(ts >= start) & (ts < end)]) / NS_PER_S for start, end in spans]
    return np.concatenate(parts) if parts else np.zeros(0)


def coefficient_of_variation(waits: Float64) -> float:
    """Return standard deviation over mean: 1 for a Poisson process, more where events cluster."""
    return float(waits.std() / waits.mean()) if len(waits) and waits.mean() > 0.0 else float("nan")


def order_rows(events: EventArray, spans: list[Span]) -> dict[str, int]:
    """Return how many additions, reductions and deletions of orders there are within the spans, snapshots left out."""
    own = events[_within(events["ts_event"], spans) & ((events["flags"] & F_SNAPSHOT) == 0)]
    return {
        name: int((own["action"] == code).sum())
        for name, code in (("add", ADD), ("reduce", REDUCE), ("delete", DELETE))
    }


def order_to_trade(events: EventArray, spans: list[Span]) -> float:
    """Return order messages (additions, reductions, deletions) per aggressor; NaN without either."""
    orders, trades = sum(order_rows(events, spans).values()), len(aggressors(events, spans).ts)
    return orders / trades if orders and trades else float("nan")


def cancel_distances(events: EventArray, spans: list[Span], tick_units: int, most: int = 20) -> Float64:
    """Return the share of deletions 0, 1, … ticks behind their side's best price, shape (most,); the last holds all further ones.

    The best price is that of the book before the row; NaN without deletions.
    """
    best = fold_best(empty_book(8_192), events)
    chosen = (events["action"] == DELETE) & _within(events["ts_event"], spans)
    chosen[:1] = False
    at = np.flatnonzero(chosen)
    is_bid = events["side"][at] == BID
    before = np.where(is_bid, best[at - 1, 0], best[at - 1, 2])
    known = np.where(is_bid, best[at - 1, 1], best[at - 1, 3]) > 0
    away = np.where(is_bid, before - events["price_units"][at], events["price_units"][at] - before)[known]
    if len(away) == 0:
        return np.full(most, np.nan)
    ticks = np.clip(np.rint(away / tick_units).astype(np.int64), 0, most - 1)
    counts = np.bincount(ticks, minlength=most)
    return counts / counts.sum()

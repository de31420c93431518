"""Transaction-cost analysis of one parent order: what it cost against decision, arrival and market, and where time went.

Signs are those of a cost: positive is worse for us, for buys and sells alike. Costs are in quote currency, and in basis points of
the parent's value at its decision price.

References
----------
Perold (1988). The implementation shortfall: paper versus reality. Journal of Portfolio Management 14(3).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from marketdata.book import empty_book, fold_best
from marketdata.clock import NS_PER_S
from marketdata.events import EXECUTE, F_LAST, HIDDEN, TRADE, EventArray
from marketdata.instruments import Instrument
from trading.execution import ParentOrder
from trading.journal import ACKNOWLEDGED, FILL, ORDER, Journal

MARKOUTS_NS: Final = (NS_PER_S // 10, NS_PER_S, 5 * NS_PER_S, 10 * NS_PER_S, 30 * NS_PER_S, 60 * NS_PER_S)
"""Times after a fill at which its markout curve is taken."""
BPS: Final = 1e4
NANOS: Final = 1e9

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class MarketMids:
    """Mid of one instrument at the venue, and what traded.

    Attributes
    ----------
    ts_ns : int64 array, shape (n,)
        Venue times at which event groups ended with both sides quoted.
    mid_units : float64 array, shape (n,)
    trade_ns, trade_units, trade_lots : int64 arrays, shape (m,)
        Executions of all kinds.
    """

    ts_ns: Int64
    mid_units: Float64
    trade_ns: Int64
    trade_units: Int64
    trade_lots: Int64

    def at(self, when_ns: Int64 | int) -> Float64:
        """Return the last mid at or before each time; NaN before the first."""
        place = np.searchsorted(self.ts_ns, when_ns, side="right") - 1
        return np.where(place >= 0, self.mid_units[np.maximum(place, 0)], np.nan)

    def vwap(self, start_ns: int, end_ns: int) -> float:
        """Return the volume-weighted price of what traded in ``[start, end)``; NaN where nothing did."""
        inside = (self.trade_ns >= start_ns) & (self.trade_ns < end_ns)
        lots = self.trade_lots[inside]
        return float(np.sum(self.trade_units[inside] * lots) / lots.sum()) if lots.sum() else float("nan")


def market_mids(events: EventArray, instrument: Instrument) -> MarketMids:
    """Return the mids and executions of one instrument's events, in the order of the venue."""
    own = events[events["instrument_id"] == instrument.instrument_id]
    own = own[np.argsort(own["ts_event"], kind="stable")]
    best = fold_best(empty_book(8_192), own)
    good = ((own["flags"] & F_LAST) > 0) & (best[:, 1] > 0) & (best[:, 3] > 0)
    trades = own[np.isin(own["action"], (EXECUTE, TRADE, HIDDEN))]
    return MarketMids(
        own["ts_event"][good].copy(),
        0.5 * (best[good, 0] + best[good, 2]),
        trades["ts_event"].copy(),
        trades["price_units"].copy(),
        trades["size_lots"].copy(),
    )


@dataclass(frozen=True, slots=True)
class LatencySplit:
    """Median times of a parent's children, in microseconds; NaN where nothing is there to measure.

    Attributes
    ----------
    decision_us : float
        From what woke us to the order leaving us.
    wire_us : float
        From there to the venue.
    acknowledgement_us : float
        From the venue's answer to our knowing it.
    queue_us : float
        From arriving at the venue to a resting order's first fill.
    fill_us : float
        From a fill at the venue to our knowing it.
    """

    decision_us: float
    wire_us: float
    acknowledgement_us: float
    queue_us: float
    fill_us: float


@dataclass(frozen=True, slots=True)
class ParentReport:
    """What one parent order cost.

    Attributes
    ----------
    decision_units, arrival_units : float
        Mid at the venue when the parent was decided, and when its first child could first trade there.
    average_units : float
        Mean executed price; NaN without a fill.
    shortfall : float
        Implementation shortfall in quote currency: what the paper portfolio, bought at the decision price at once and free, made
        more than ours by the parent's end. It is the sum of the four that follow.
    delay, execution, opportunity, fees : float
        The price's way from decision to arrival on what was filled; executed prices against arrival; the price's way on what
        was not filled; fees.
    shortfall_bps, decision_bps, arrival_bps, vwap_bps : float
        Shortfall over the parent's value; executed price against decision, arrival, and the market's volume-weighted price.
    markout_bps : tuple of float
        Markout curve: mid after each of :data:`MARKOUTS_NS` against the executed price, lot-weighted; negative: the price went
        our way.
    """

    lots: int
    filled_lots: int
    maker_share: float
    children: int
    decision_units: float
    arrival_units: float
    average_units: float
    vwap_units: float
    shortfall: float
    delay: float
    execution: float
    opportunity: float
    fees: float
    shortfall_bps: float
    decision_bps: float
    arrival_bps: float
    vwap_bps: float
    markout_bps: tuple[float, ...]
    finished_ns: int
    latency: LatencySplit

    @property
    def fill_rate(self) -> float:
        """Lots filled over lots asked."""
        return self.filled_lots / self.lots


def analyse_parent(
    parent: ParentOrder,
    journal: Journal,
    market: MarketMids,
    instrument: Instrument,
    *,
    path_ns: int,
    decision_ns: int = 0,
) -> ParentReport:
    """Return the costs of a parent order from the journal of the engine that worked it.

    Parameters
    ----------
    journal : journal array
        Of an engine that did nothing else in this instrument before the parent's end.
    path_ns : int
        Decision and order latency: the arrival price is the mid at the venue so long after the parent's start.
    decision_ns : int
        The first part of it, until an order leaves us.
    """
    own = journal[journal["instrument_id"] == instrument.instrument_id]
    # What an engine does after the parent's end (flattening before the close) is not the parent's.
    own = own[own["ts_ns"] <= parent.end_ns + NS_PER_S]
    fills = own[(own["kind"] == FILL) & (own["side"] == parent.side)]
    side, unit = parent.side, instrument.unit_nanos / NANOS
    lots = fills["size_lots"].astype(np.int64)
    prices = fills["price_units"].astype(np.float64)
    filled = int(lots.sum())
    decision = float(market.at(parent.start_ns))
    arrival = float(market.at(parent.start_ns + path_ns))
    end = float(market.at(parent.end_ns))
    delay = side * (arrival - decision) * filled * unit
    execution = side * float(np.sum((prices - arrival) * lots)) * unit
    opportunity = side * (end - decision) * (parent.lots - filled) * unit
    fees = float(fills["fee_nanos"].sum()) / NANOS
    shortfall = delay + execution + opportunity + fees
    average = float(np.sum(prices * lots) / filled) if filled else float("nan")
    vwap = market.vwap(parent.start_ns, parent.end_ns)
    return ParentReport(
        lots=parent.lots,
        filled_lots=filled,
        maker_share=float(lots[fills["flag"] == 1].sum() / filled) if filled else float("nan"),
        children=int(np.sum(own["kind"] == ORDER)),
        decision_units=decision,
        arrival_units=arrival,
        average_units=average,
        vwap_units=vwap,
        shortfall=shortfall,
        delay=delay,
        execution=execution,
        opportunity=opportunity,
        fees=fees,
        shortfall_bps=BPS * shortfall / (decision * parent.lots * unit),
        decision_bps=BPS * side * (average - decision) / decision,
        arrival_bps=BPS * side * (average - arrival) / arrival,
        vwap_bps=BPS * side * (average - vwap) / vwap,
        markout_bps=tuple(_markout(fills, market, side, after) for after in MARKOUTS_NS),
        finished_ns=int(fills["venue_ns"].max()) if filled else 0,
        latency=_latency(own, decision_ns),
    )


def _markout(fills: Journal, market: MarketMids, side: int, after_ns: int) -> float:
    if not len(fills):
        return float("nan")
    price = fills["price_units"].astype(np.float64)
    later = market.at(fills["venue_ns"] + after_ns)
    cost = -side * (later - price) / price
    return float(BPS * np.average(cost, weights=fills["size_lots"]))


def _latency(own: Journal, decision_ns: int) -> LatencySplit:
    sent = own[own["kind"] == ORDER]
    known = own[own["kind"] == ACKNOWLEDGED]
    fills = own[own["kind"] == FILL]
    arrived = dict(zip(sent["order_id"].tolist(), sent["venue_ns"].tolist(), strict=True))
    first: dict[int, int] = {}
    for order_id, at in zip(
        fills["order_id"][fills["flag"] == 1].tolist(), fills["venue_ns"][fills["flag"] == 1].tolist(), strict=True
    ):
        first.setdefault(order_id, at - arrived[order_id])
    return LatencySplit(
        decision_ns / 1e3 if len(sent) else float("nan"),
        _median_us(sent["venue_ns"] - sent["ts_ns"] - decision_ns),
        _median_us(known["ts_ns"] - known["venue_ns"]),
        _median_us(np.array(list(first.values()), np.int64)),
        _median_us(fills["ts_ns"] - fills["venue_ns"]),
    )


def _median_us(spans_ns: Int64) -> float:
    return float(np.median(spans_ns)) / 1e3 if len(spans_ns) else float("nan")

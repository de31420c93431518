"""How long and how large opportunities were, what a latency leaves of them, and what staleness does to them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from marketdata.clock import NS_PER_MS, NS_PER_S
from marketdata.events import EventArray
from trading.arbitrage import ArbitrageMonitor, MonitorState

STALE_GRID_NS: Final = (50 * NS_PER_MS, 250 * NS_PER_MS, NS_PER_S, 10 * NS_PER_S)
"""Ages from which on a book is called stale, in the sensitivity."""


@dataclass(frozen=True, slots=True)
class ArbitrageReport:
    """What a monitor saw over a stretch of recorded events.

    Attributes
    ----------
    opportunities : pl.DataFrame
        One row each, as :meth:`trading.arbitrage.ArbitrageMonitor.opportunities`.
    pairs : list of dict
        One for each ordered pair of venues, see :func:`pair_summary`.
    staleness : list of dict
        The same over all pairs together, for each age of :data:`STALE_GRID_NS` and the monitor's own.
    """

    opportunities: pl.DataFrame
    pairs: list[dict[str, Any]]
    staleness: list[dict[str, Any]]


def watch_recording(
    monitor: ArbitrageMonitor, events: EventArray, *, stale_grid_ns: Sequence[int] = STALE_GRID_NS
) -> ArbitrageReport:
    """Run a monitor over recorded events of all its venues, and once more for each age at which books may be called stale.

    Parameters
    ----------
    events : event array
        In order of ``ts_recv``, by one clock.
    """
    state, frame = _run(monitor, events)
    pairs = [
        pair_summary(monitor, state, frame, v, w)
        for v in range(len(monitor.legs))
        for w in range(len(monitor.legs))
        if v != w
    ]
    staleness = []
    for stale_ns in sorted({*stale_grid_ns, monitor.stale_ns}):
        at, found = (
            (state, frame) if stale_ns == monitor.stale_ns else _run(replace(monitor, stale_ns=stale_ns), events)
        )
        staleness.append({"stale_ms": stale_ns / NS_PER_MS, **_summary(found, at.totals.sum(axis=(0, 1)))})
    return ArbitrageReport(frame, pairs, staleness)


def pair_summary(
    monitor: ArbitrageMonitor, state: MonitorState, opportunities: pl.DataFrame, buy: int, sell: int
) -> dict[str, Any]:
    """Return what one ordered pair of venues offered.

    Returns
    -------
    dict
        ``buy, sell, opportunities, open_s``, ``known_s`` and ``fresh_s`` (time with both books known, and fresh), ``open_share``
        (of the fresh time), ``median_ms`` and ``longest_ms``, ``peak_bps``, ``largest_profit`` (quote), ``first_profit`` and
        ``later_profit`` (sums of what could be made at each start, and a latency later), ``alive_share`` (of the opportunities
        that still paid then).
    """
    symbols = [leg.symbol for leg in monitor.legs]
    own = opportunities.filter((pl.col("buy") == symbols[buy]) & (pl.col("sell") == symbols[sell]))
    return {"buy": symbols[buy], "sell": symbols[sell], **_summary(own, state.totals[buy, sell])}


def _run(monitor: ArbitrageMonitor, events: EventArray) -> tuple[MonitorState, pl.DataFrame]:
    state, ended = monitor.step(monitor.init(), events)
    state, last = monitor.finish(state, int(state.now_ns[0]))
    return state, monitor.opportunities([ended, last])


def _summary(found: pl.DataFrame, totals: npt.NDArray[np.int64]) -> dict[str, Any]:
    known, fresh, open_ns = (int(value) for value in totals)
    lasted = (found["end_ns"] - found["start_ns"]).to_numpy() / NS_PER_MS
    return {
        "opportunities": found.height,
        "known_s": known / NS_PER_S,
        "fresh_s": fresh / NS_PER_S,
        "open_s": open_ns / NS_PER_S,
        "open_share": open_ns / fresh if fresh else 0.0,
        "median_ms": float(np.median(lasted)) if found.height else 0.0,
        "longest_ms": float(lasted.max()) if found.height else 0.0,
        "peak_bps": _largest(found["peak_bps"]),
        "largest_profit": _largest(found["peak_profit"]),
        "first_profit": float(found["first_profit"].sum()),
        "later_profit": float(found["later_profit"].sum()),
        "alive_share": float((found["later_profit"] > 0).sum()) / found.height if found.height else 0.0,
    }


def _largest(values: pl.Series) -> float:
    return float(values.to_numpy().max()) if len(values) else 0.0

"""From the strength of the planted signal to the size of the informed move, and how that map was measured.

Strength is the oracle's net profit per round trip in median spreads. The oracle is a taker that knows the informed episodes: for
each it decides when the label's horizon lies centred on the repricing, buys at the ask (or sells at the bid) one path latency
later, and goes out at the opposite side when the horizon has passed. It pays the taker fee both times. Nothing is left to
extend for, since the next episode never begins its repricing within that horizon. An oracle that chose otherwise would pay at
least as much, because the whole move is inside its holding time and the spread is what it is; it is the mean over all
episodes, good and bad, so a strength of 0 or less is a market in which knowing everything does not pay.

The profit before fees is close to linear in the move: ``capture * move - cost``. :data:`STRENGTH_MAP` holds both numbers and the
median spread for each character; :func:`measure_strength_map` makes them anew.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from marketdata.book import empty_book, fold_best
from marketdata.clock import NS_PER_S, Session
from marketdata.events import F_LAST, EventArray, events_from_frame
from marketdata.instruments import Instrument
from marketdata.simulator.parameters import CHARACTERS

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class StrengthLine:
    """What an oracle's round trip brings in an instrument: ``capture * move - cost`` price units before fees."""

    median_spread_units: float
    cost_units: float
    capture: float


STRENGTH_MAP: Final = (
    StrengthLine(2.0, 2.0, 1.0),
    StrengthLine(2.0, 2.0, 1.0),
    StrengthLine(3.0, 3.0, 1.0),
    StrengthLine(2.0, 2.0, 1.0),
    StrengthLine(3.0, 3.0, 1.0),
)
"""By character; measured with :func:`measure_strength_map` over 40 sessions at the default settings."""


def informed_move_units(instrument: Instrument, strength: float) -> float:
    """Return the informed move, in price units, at which the oracle nets ``strength`` median spreads a round trip."""
    place = instrument.instrument_id % len(STRENGTH_MAP)
    line = STRENGTH_MAP[place]
    fees = 2e-6 * instrument.fees.taker_ppm * CHARACTERS[place].open_units
    return (strength * line.median_spread_units + line.cost_units + fees) / line.capture


def oracle_round_trips(
    ticks: pl.DataFrame, episodes: pl.DataFrame, instrument: Instrument, *, horizon_ns: int, latency_ns: int
) -> pl.DataFrame:
    """Return the oracle's round trips on one instrument's tape.

    Parameters
    ----------
    ticks : pl.DataFrame
        The instrument's tape of one simulated session.
    episodes : pl.DataFrame
        ``MarketTruth.episodes``.
    instrument : Instrument
        For its symbol and fee.
    horizon_ns : int
        How long a position is held; longer than a repricing takes.
    latency_ns : int
        From the decision to the venue, entry and exit alike.

    Returns
    -------
    pl.DataFrame
        ``decision_ns, direction, entry_units, exit_units, gross_units, fee_units`` a round trip of one lot.
    """
    own = episodes.filter(pl.col("symbol") == instrument.symbol)
    ts, best = quotes(ticks)
    push = own["push_ns"].to_numpy()
    decision = (push + own["end_ns"].to_numpy() - horizon_ns) // 2
    direction = own["direction"].to_numpy()
    enter = best[_as_of(ts, decision + latency_ns)]
    leave = best[_as_of(ts, decision + horizon_ns + latency_ns)]
    entry = np.where(direction > 0, enter[:, 2], enter[:, 0])
    exit_ = np.where(direction > 0, leave[:, 0], leave[:, 2])
    return pl.DataFrame(
        {
            "decision_ns": decision,
            "direction": direction,
            "entry_units": entry,
            "exit_units": exit_,
            "gross_units": direction * (exit_ - entry),
            "fee_units": 1e-6 * instrument.fees.taker_ppm * (entry + exit_),
        }
    )


def quotes(ticks: pl.DataFrame) -> tuple[Int64, Int64]:
    """Return the times at which event groups end, shape (n,), and the best quotes then, shape (n, 4) as in ``fold_best``."""
    events = as_events(ticks)
    best = fold_best(empty_book(8_192), events)
    last = (events["flags"] & F_LAST) > 0
    return events["ts_event"][last], best[last]


def as_events(ticks: pl.DataFrame) -> EventArray:
    """Return a simulated tape as events that are received the moment they happen."""
    clocks = ticks.with_columns(pl.col("ts_event").alias("ts_recv"), pl.lit(0, pl.UInt8).alias("clock_quality"))
    return events_from_frame(clocks)


def median_spread_units(ts: Int64, best: Int64, close_ns: int) -> float:
    """Return the median spread over time, in price units."""
    spread = best[:, 2] - best[:, 0]
    weight = np.diff(np.append(ts, close_ns))
    order = np.argsort(spread, kind="stable")
    total = np.cumsum(weight[order])
    return float(spread[order][np.searchsorted(total, 0.5 * total[-1])])


def _as_of(ts: Int64, when: Int64) -> npt.NDArray[np.intp]:
    return np.searchsorted(ts, when, side="right") - 1


def fit_line(moves: Float64, gross: Float64, spread: float) -> StrengthLine:
    """Return the least-squares line through (informed move, gross profit of a round trip) pairs."""
    slope, intercept = np.polyfit(moves, gross, 1)
    return StrengthLine(spread, float(-intercept), float(slope))


def net_spreads(trips: pl.DataFrame, spread_units: float) -> Float64:
    """Return each round trip's profit after fees in median spreads."""
    return ((trips["gross_units"] - trips["fee_units"]) / spread_units).to_numpy()



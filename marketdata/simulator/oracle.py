"""The oracle: the taker that knows the informed episodes, by whose profit the strength of a market is stated.

It knows when each repricing comes and which way it goes, and it is patient: in the last ``PATIENCE_S`` before the repricing it
buys at the ask (or sells at the bid) as soon as the spread is below its median, at the latest when the repricing begins; from
``SETTLE_S`` after its end it waits as long again for a narrow spread, and goes out at the other side. Each order arrives one path
latency after its decision and pays the taker fee. It trades every episode, so its mean says what knowing the hidden state is
worth, and patience is part of that: measured by an oracle that crosses whatever spread it finds, a market of strength 0 would
still pay a model that chooses its moments. Holding more than one label horizon at a time would add nothing: the position
spans the whole repricing, and the next one never begins before it is closed.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from marketdata.book import empty_book, fold_best
from marketdata.clock import NS_PER_S, Session
from marketdata.events import F_LAST, EventArray, events_from_frame
from marketdata.instruments import Instrument
from marketdata.settings import Settings
from marketdata.simulator.calibration import StrengthLine
from marketdata.simulator.session import simulate_session

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

PATIENCE_S: Final = 10.0
SETTLE_S: Final = 1.0
PATIENCE_STEP_NS: Final = 100_000_000


def as_events(ticks: pl.DataFrame) -> EventArray:
    """Return a simulated tape as events that are received the moment they happen."""
    clocks = ticks.with_columns(pl.col("ts_event").alias("ts_recv"), pl.lit(0, pl.UInt8).alias("clock_quality"))
    return events_from_frame(clocks)


def quotes(ticks: pl.DataFrame) -> tuple[Int64, Int64]:
    """Return the times at which event groups end, shape (n,), and the best quotes then, shape (n, 4) as in ``fold_best``."""
    events = as_events(ticks)
    best = fold_best(empty_book(8_192), events)
    last = (events["flags"] & F_LAST) > 0
    return events["ts_event"][last], best[last]


def quotes_at(ts: Int64, best: Int64, when: Int64) -> Int64:
    """Return the last quotes at or before each time, shape (m, 4)."""
    return best[np.maximum(np.searchsorted(ts, when, side="right") - 1, 0)]


def median_spread_units(ts: Int64, best: Int64, close_ns: int) -> float:
    """Return the median spread over time, in price units."""
    spread = best[:, 2] - best[:, 0]
    order = np.argsort(spread, kind="stable")
    total = np.cumsum(np.diff(np.append(ts, close_ns))[order])
    return float(spread[order][np.searchsorted(total, 0.5 * total[-1])])


def oracle_round_trips(
    ts: Int64, best: Int64, episodes: pl.DataFrame, instrument: Instrument, *, spread_units: float, latency_ns: int
) -> pl.DataFrame:
    """Return the oracle's round trips of one lot on one instrument's tape.

    Parameters
    ----------
    ts, best : int64 arrays
        As :func:`quotes` gives them.
    episodes : pl.DataFrame
        ``MarketTruth.episodes``.
    instrument : Instrument
        For its symbol and fee.
    spread_units : float
        The median spread: anything below it is narrow.
    latency_ns : int
        From the decision to the venue, entry and exit alike.

    Returns
    -------
    pl.DataFrame
        ``decision_ns, closing_ns, direction, entry_units, exit_units, gross_units, fee_units``, one row an episode.
    """
    own = episodes.filter(pl.col("symbol") == instrument.symbol)
    push, end = own["push_ns"].to_numpy(), own["end_ns"].to_numpy()
    direction = own["direction"].to_numpy()
    patience = int(PATIENCE_S * NS_PER_S)
    settled = end + int(SETTLE_S * NS_PER_S)
    decision = _first_narrow(ts, best, push - patience, push, spread_units)
    closing = _first_narrow(ts, best, settled, settled + patience, spread_units)
    enter = quotes_at(ts, best, decision + latency_ns)
    leave = quotes_at(ts, best, closing + latency_ns)
    entry = np.where(direction > 0, enter[:, 2], enter[:, 0])
    exit_ = np.where(direction > 0, leave[:, 0], leave[:, 2])
    return pl.DataFrame(
        {
            "decision_ns": decision,
            "closing_ns": closing,
            "direction": direction,
            "entry_units": entry,
            "exit_units": exit_,
            "gross_units": direction * (exit_ - entry),
            "fee_units": 1e-6 * instrument.fees.taker_ppm * (entry + exit_),
        }
    )


def _first_narrow(ts: Int64, best: Int64, first: Int64, last: Int64, spread_units: float) -> Int64:
    """Return, for each window, the first of its moments at which the spread is below ``spread_units``, else its end."""
    found = last.copy()
    is_open = np.ones(len(first), dtype=bool)
    for wait in range(0, int(np.max(last - first, initial=0)), PATIENCE_STEP_NS):
        when = first + wait
        now = quotes_at(ts, best, when)
        is_narrow = is_open & (when < last) & (now[:, 2] - now[:, 0] < spread_units)
        found[is_narrow] = when[is_narrow]
        is_open &= ~is_narrow
    return found


def oracle_profit(settings: Settings, sessions: Sequence[Session]) -> pl.DataFrame:
    """Simulate sessions and return every round trip of the oracle in every instrument.

    Returns
    -------
    pl.DataFrame
        Columns of :func:`oracle_round_trips` and ``symbol, move_units, spread_units`` (the session's median spread).
    """
    found = []
    for index, session in enumerate(sessions):
        world = simulate_session(settings, session, index)
        for item in settings.instruments:
            ts, best = quotes(world.ticks[item.symbol])
            spread = median_spread_units(ts, best, session.close_ns)
            trips = oracle_round_trips(
                ts, best, world.truth.episodes, item, spread_units=spread, latency_ns=settings.latency.to_venue_ns
            )
            moves = world.truth.episodes.filter(pl.col("symbol") == item.symbol)["move_units"]
            found.append(
                trips.with_columns(pl.lit(item.symbol).alias("symbol"), moves, pl.lit(spread).alias("spread_units"))
            )
    return pl.concat(found)


def net_spreads(trips: pl.DataFrame) -> Float64:
    """Return each round trip's profit after fees in median spreads, shape (n,)."""
    return ((trips["gross_units"] - trips["fee_units"]) / trips["spread_units"]).to_numpy()


def measure_strength_map(
    settings: Settings, sessions: Sequence[Session], strengths: Sequence[float] = (-0.5, 0.0, 0.5, 1.0, 2.0)
) -> dict[str, StrengthLine]:
    """Measure the map from informed move to the oracle's profit: the least-squares line over all its round trips.

    Parameters
    ----------
    settings : Settings
        A root whose instruments are measured; its own strength does not matter.
    sessions : sequence of Session
        Sessions to simulate at each strength.
    strengths : sequence of float
        Strengths, by the map as it stands, that span the moves of interest.
    """
    trips = []
    for strength in strengths:
        simulator = settings.simulator.model_copy(update={"world": "market", "signal": strength})
        trips.append(oracle_profit(settings.model_copy(update={"simulator": simulator}), sessions))
    joined = pl.concat(trips)
    lines = {}
    for item in settings.instruments:
        own = joined.filter(pl.col("symbol") == item.symbol)
        capture, intercept = np.polyfit(own["move_units"].to_numpy(), own["gross_units"].to_numpy(), 1)
        spread = float(np.median(own["spread_units"].to_numpy()))
        lines[item.symbol] = StrengthLine(spread, round(-float(intercept), 3), round(float(capture), 4))
    return lines

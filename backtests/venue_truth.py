"""The venue truth test: what a replay gets wrong about our own resting orders (R20).

The same visitor trades the same sessions twice. *Inside*: its orders rest in the simulated market's matching engine and the
flow reacts to them as to anybody's (``marketdata.simulator.visits``). *Replayed*: the tape recorded without it goes through the
engine and the simulated venue of every backtest, once a queue model. The visitor joins the touch with a post-only order at
planned times, a side at a time, and cancels what has not filled after its patience. A *following* one cancels already when the
touch of the others leaves its price. One that is *not counted* is matched like any order, but the flow goes on as if it were
not there: its lots count for nothing and its coming and going excite nobody. Decisions see the market and reach it with the
same latencies in both.

The two runs share seed, hidden state, news and activity but not the order of random draws, so they are compared in
distribution: one difference a session and instrument, with a Student interval over them. All queue models share what the flow
does because of the order; a model by volume adds the place in the queue. An aggressor that would have gone on to meet the order
shows it on the tape, by what rests or trades behind (docs/decisions/0123).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from backtests.visiting import visiting
from marketdata.clock import NS_PER_S, Session
from marketdata.events import EventArray
from marketdata.instruments import Instrument
from marketdata.settings import RiskSettings, Settings
from marketdata.simulator.oracle import as_events, quotes
from marketdata.simulator.session import simulate_visited
from marketdata.simulator.visits import VisitPlan, even_plan
from trading.config import ENDING_NS, EngineConfig
from trading.engine import FOREVER, Engine
from trading.hooks import QUEUE_MODELS
from trading.journal import CANCELLED_ROW, FILL, ORDER, REJECTED_ROW, Journal
from trading.orders import POST_ONLY
from trading.strategies import Strategy

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]

INSIDE: Final = "inside"
FOLLOWING: Final = "following"
UNCOUNTED: Final = "following, not counted"
PATIENT: Final = "patient"
VISITORS: Final = {FOLLOWING: (True, True), UNCOUNTED: (True, False), PATIENT: (False, True)}
"""Visitors by name: whether it follows the touch, and whether the flow counts its lots (``VisitPlan``)."""
MARKOUTS_S: Final = (1, 10)
"""After a fill, seconds at which the mid is read."""
LOTS: Final = (1, 5)
EVERY_S: Final = 40.0
PATIENCE_S: Final = 30.0
SESSIONS: Final = 10
"""The full test: a visit a side every forty seconds, given up after thirty, in ten sessions of every instrument."""

NO_LIMITS: Final = RiskSettings(
    max_position_lots=1_000_000,
    max_order_lots=10_000,
    max_orders_per_s=1_000,
    price_collar_bps=10_000,
    daily_loss=1e8,
    drawdown_steps=(0.97, 0.98, 0.99),
)


@dataclass(frozen=True, slots=True)
class VenueTruth:
    """What the test found.

    Attributes
    ----------
    visits : pl.DataFrame
        One row a visit and way (``inside`` or a queue model): ``visitor, way, lots, session, symbol, visit, side, rested,
        filled_lots, filled_whole, wait_s`` (from arrival to the first fill, or until the order left), ``markout_1s, markout_10s``
        (price units a lot in our favour, NaN where nothing filled).
    table : pl.DataFrame
        One row a size and way, see :func:`summarise`.
    """

    visits: pl.DataFrame
    table: pl.DataFrame


def measure_venue_truth(
    settings: Settings,
    sessions: Sequence[Session],
    *,
    lots: Sequence[int] = LOTS,
    visitors: Sequence[str] = tuple(VISITORS),
    every_s: float = EVERY_S,
    patience_s: float = PATIENCE_S,
    models: Sequence[str] = tuple(QUEUE_MODELS),
    progress: Callable[[str, int, int], None] | None = None,
) -> VenueTruth:
    """Run the visitor inside the matching engine and through the replay, and compare.

    Parameters
    ----------
    settings : Settings
        A simulated root: market, latencies (feed jitter is left out) and instruments.
    sessions : sequence of Session
        From the first of the root's calendar on.
    lots : sequence of int
        Sizes of the visitor's orders; each is a run of its own.
    visitors : sequence of str
        Names in :data:`VISITORS`; each is a run of its own.
    every_s, patience_s : float
        Time between two visits of a side, and how long each stays.
    models : sequence of str
        Names in ``trading.hooks.QUEUE_MODELS``.
    progress : callable, optional
        ``progress(stage, done, total)``.
    """
    say = progress or (lambda stage, done, total: None)
    found = []
    cases = [(size, visitor) for visitor in visitors for size in lots]
    total = len(sessions) * len(cases)
    for j, (size, visitor) in enumerate(cases):
        for index, session in enumerate(sessions):
            say("venue truth", j * len(sessions) + index, total)
            found.append(_one_session(settings, session, index, size, visitor, every_s, patience_s, models))
    say("venue truth", total, total)
    visits = pl.concat(found)
    return VenueTruth(visits, summarise(visits))


def _one_session(
    settings: Settings,
    session: Session,
    index: int,
    lots: int,
    visitor: str,
    every_s: float,
    patience_s: float,
    models: Sequence[str],
) -> pl.DataFrame:
    latency = settings.latency
    to_venue = latency.decision_ns + latency.order_ns
    plan = even_plan(
        session,
        every_s=every_s,
        patience_s=patience_s,
        lots=lots,
        feed_ns=latency.feed_ns,
        to_venue_ns=to_venue,
        seed=settings.simulator.seed + index,
        follows=VISITORS[visitor][0],
        is_counted=VISITORS[visitor][1],
    )
    world = simulate_visited(settings, session, index, plan)
    strategy = visiting(plan, to_venue)
    frames = []
    for item in settings.instruments:
        own = world.visits.filter(pl.col("symbol") == item.symbol)
        inside = _background(world.ticks[item.symbol], own)
        frames.append(_outcomes(INSIDE, own, inside, plan, item))
        recorded = world.recorded.ticks[item.symbol]
        events = as_events(recorded)
        events["ts_recv"] = events["ts_event"] + latency.feed_ns
        for name in models:
            replayed = _replayed(settings, session, item, strategy, name, events, plan)
            frames.append(_outcomes(name, replayed, recorded, plan, item))
    out = pl.concat(frames)
    return out.with_columns(
        pl.lit(visitor).alias("visitor"),
        pl.lit(lots).alias("lots"),
        pl.lit(session.date).alias("session"),
    )


def _background(ticks: pl.DataFrame, own: pl.DataFrame) -> pl.DataFrame:
    """Return the tape without the visitor's own orders."""
    ids = own.filter(pl.col("order_id") > 0)["order_id"]
    kept = ticks.filter(~pl.col("order_id").is_in(ids.implode()))
    # A group whose last row was ours ends with the row before it.
    last = pl.col("sequence") != pl.col("sequence").shift(-1)
    return kept.with_columns(
        pl.when(last.fill_null(True)).then(pl.col("flags") | 1).otherwise(pl.col("flags")).alias("flags")
    )


def _replayed(
    settings: Settings,
    session: Session,
    item: Instrument,
    strategy: Strategy,
    model: str,
    events: EventArray,
    plan: VisitPlan,
) -> pl.DataFrame:
    """Return the visits' fates in the replay, with the columns of ``visits_frame`` that are compared."""
    config = EngineConfig(
        session=session,
        instruments=(item,),
        latency=settings.latency,
        risk=NO_LIMITS,
        strategy=strategy,
        queue=QUEUE_MODELS[model],
        capital=1e8,
        clock_ns=600 * NS_PER_S,
        ending_ns=session.close_ns - ENDING_NS,
        feed_bound_ns=settings.latency.feed_ns,
    )
    engine = Engine(config)
    _, rows = engine.run(engine.init(), events, None, None, FOREVER)
    return _fates(rows, plan)


def _fates(rows: Journal, plan: VisitPlan) -> pl.DataFrame:
    sent = rows[(rows["kind"] == ORDER) & (rows["tif"] == POST_ONLY)]
    visit = np.searchsorted(plan.arrive_ns, sent["venue_ns"])
    if len(visit) and not np.array_equal(plan.arrive_ns[visit], sent["venue_ns"]):
        raise RuntimeError("the replay sent an order that its plan does not know")
    of_order = dict(zip(sent["order_id"].tolist(), visit.tolist(), strict=True))
    count = len(plan)
    price, rested = np.zeros(count, np.int64), np.zeros(count, bool)
    filled, first = np.zeros(count, np.int64), np.zeros(count, np.int64)
    price[visit], rested[visit] = sent["price_units"], True
    for row in rows[rows["kind"] == REJECTED_ROW]:
        if int(row["order_id"]) in of_order:
            rested[of_order[int(row["order_id"])]] = False
    for row in rows[(rows["kind"] == FILL) & (rows["flag"] == 1)]:
        k = of_order[int(row["order_id"])]
        filled[k] += int(row["size_lots"])
        if first[k] == 0:
            first[k] = int(row["venue_ns"])
    left = np.zeros(count, np.int64)
    for row in rows[rows["kind"] == CANCELLED_ROW]:
        if int(row["order_id"]) in of_order:
            left[of_order[int(row["order_id"])]] = int(row["venue_ns"])
    return pl.DataFrame(
        {
            "visit": np.arange(count),
            "side": plan.side,
            "price_units": price,
            "status": np.where(rested, "rested", "refused"),
            "filled_lots": filled,
            "first_fill_ns": pl.Series(first).replace(0, None),
            "left_ns": pl.Series(left).replace(0, None),
        }
    )


def _outcomes(way: str, fates: pl.DataFrame, ticks: pl.DataFrame, plan: VisitPlan, item: Instrument) -> pl.DataFrame:
    """Return one row a visit with what is compared; ``ticks`` is the market whose mid a fill is marked at."""
    ts, best = quotes(ticks)
    mid = 0.5 * (best[:, 0] + best[:, 2])
    arrive = plan.arrive_ns
    leave = np.minimum(fates["left_ns"].fill_null(np.iinfo(np.int64).max).to_numpy(), plan.cancel_ns)
    first = fates["first_fill_ns"].fill_null(0).to_numpy()
    filled = fates["filled_lots"].to_numpy()
    sign = np.where(fates["side"].to_numpy() == 0, 1.0, -1.0)
    wait = np.where(filled > 0, first - arrive, leave - arrive) / NS_PER_S
    columns: dict[str, Any] = {
        "way": [way] * len(plan),
        "symbol": [item.symbol] * len(plan),
        "visit": np.arange(len(plan)),
        "side": fates["side"].to_numpy(),
        "rested": ~fates["status"].is_in(["refused", "planned"]).to_numpy(),
        "filled_lots": filled,
        "filled_whole": filled == plan.lots,
        "wait_s": wait,
    }
    for horizon in MARKOUTS_S:
        at = mid[np.maximum(np.searchsorted(ts, first + horizon * NS_PER_S, side="right") - 1, 0)]
        gain = sign * (at - fates["price_units"].to_numpy())
        columns[f"markout_{horizon}s"] = np.where(filled > 0, gain, np.nan)
    return pl.DataFrame(columns)


MEASURES: Final = {
    "fill_rate": pl.col("filled_whole").mean(),
    "filled_share": pl.col("filled_lots").sum() / pl.col("lots").sum(),
    "wait_s": pl.col("wait_s").mean(),
    **{f"markout_{h}s": pl.col(f"markout_{h}s").drop_nans().mean() for h in MARKOUTS_S},
}
"""By session and instrument, over visits that rested: share filled whole, share of lots filled, mean time to the first fill
(until the order left where none came), and the mid's mean move in our favour after the first fill, in price units."""


def summarise(visits: pl.DataFrame) -> pl.DataFrame:
    """Return each way's measures and their differences to what happened inside.

    Returns
    -------
    pl.DataFrame
        ``visitor, lots, way, visits``, then for each of :data:`MEASURES` its mean over sessions and instruments and, for the
        replays, ``…_diff`` (replay less inside) with the half width ``…_half`` of its 95 % Student interval over sessions and
        instruments (null inside).
    """
    from scipy.stats import t as student

    case = ["visitor", "lots"]
    cells = (
        visits.filter(pl.col("rested"))
        .group_by(*case, "way", "session", "symbol")
        .agg(pl.len().alias("visits"), **MEASURES)
    )
    inside = cells.filter(pl.col("way") == INSIDE).drop("way", "visits")
    rows = []
    for visitor, size in cells.select(case).unique().sort("visitor", "lots").iter_rows():
        these = cells.filter((pl.col("visitor") == visitor) & (pl.col("lots") == size))
        for way in (INSIDE, *QUEUE_MODELS):
            own = these.filter(pl.col("way") == way)
            if own.is_empty():
                continue
            both = own.join(inside, on=[*case, "session", "symbol"], suffix="_inside")
            row: dict[str, Any] = {"visitor": visitor, "lots": size, "way": way, "visits": int(own["visits"].sum())}
            for name in MEASURES:
                row[name] = own[name].mean()
                gap = (both[name] - both[f"{name}_inside"]).drop_nulls().to_numpy()
                known = way != INSIDE and len(gap) > 1
                spread = float(np.std(gap, ddof=1)) / np.sqrt(len(gap)) if known else 0.0
                row[f"{name}_diff"] = float(gap.mean()) if known else None
                row[f"{name}_half"] = float(student.ppf(0.975, len(gap) - 1)) * spread if known else None
            rows.append(row)
    return pl.DataFrame(rows)


HEADS: Final = {
    "fill_rate": ("filled whole, %", 100.0, 1),
    "wait_s": ("time to fill, s", 1.0, 2),
    "markout_1s": ("markout 1 s, units", 1.0, 3),
    "markout_10s": ("markout 10 s, units", 1.0, 3),
}
"""Columns of the printed table: title, factor, digits."""


def as_markdown(table: pl.DataFrame) -> str:
    """Return the table as the documentation shows it: what happened inside, then the replays' differences with intervals."""
    titles = " | ".join(head for head, _, _ in HEADS.values())
    lines = [f"| visitor | lots | way | visits | {titles} |", "|---|---|---|---|" + "---|" * len(HEADS)]
    for row in table.iter_rows(named=True):
        cells = []
        for name, (_, scale, digits) in HEADS.items():
            if row[f"{name}_diff"] is None:
                cells.append(f"{scale * row[name]:.{digits}f}")
            else:
                gap, half = scale * row[f"{name}_diff"], scale * row[f"{name}_half"]
                cells.append(f"{gap:+.{digits}f} ± {half:.{digits}f}")
        lines.append(
            f"| {row['visitor']} | {row['lots']} | {row['way']} | {row['visits']:,} | " + " | ".join(cells) + " |"
        )
    return "\n".join(lines)


def main() -> None:
    """Run the test and print its table: ``python -m backtests.venue_truth [SESSIONS [VISITOR LOTS MODEL]]``.

    Without a visitor, an order's size and a queue model: all of them.
    """
    import sys

    from marketdata.presets import preset

    sessions = int(sys.argv[1]) if len(sys.argv) > 1 else SESSIONS
    settings = preset("simulated", None, sessions=sessions)
    days = settings.market_calendar().first_sessions(settings.start_date, sessions)
    say = lambda stage, done, total: print(f"{stage}: {done}/{total}", file=sys.stderr, flush=True)  # noqa: E731  a script
    only: dict[str, Any] = {}
    if len(sys.argv) > 2:
        visitor, lots, model = sys.argv[2:5]
        only = {"visitors": (visitor,), "lots": (int(lots),), "models": (model,)}
    print(as_markdown(measure_venue_truth(settings, days, progress=say, **only).table))


if __name__ == "__main__":
    main()

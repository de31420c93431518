"""Benchmarks of the feature floor: a session in one pass, one event at a time, one assembled row at a time."""

import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import polars as pl

from features.assembler import RowAssembler
from features.pipeline import FeaturePipeline, session_pipeline
from features.rows import FeatureRows
from marketdata.book import empty_book, fold_best
from marketdata.clock import Session
from marketdata.events import F_LAST, EventArray
from marketdata.settings import Settings
from marketdata.sources import build_source, preset

REPEATS: Final = 5
SINGLE_EVENTS: Final = 20_000


def _market() -> tuple[Settings, Session, list[EventArray]]:
    """Return the first simulated session: settings, session, events of each instrument."""
    settings = preset("simulated", None, sessions=1)
    source = build_source(settings)
    session = source.sessions()[0]
    events = [
        source.events(source.raw_ticks(session.date, item.symbol), session.date, item.symbol)
        for item in settings.instruments[:2]
    ]
    return settings, session, events


def _best_of(run: Callable[[], object]) -> float:
    """Return the shortest of a few processor times, after one run that compiles.

    Processor seconds of all threads together: one core, whatever else the machine does and however many threads a peer takes.
    """
    run()
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return min(times)


def _rows(pipeline: FeaturePipeline, events: EventArray) -> FeatureRows:
    return pipeline.step(pipeline.init(), events)[1]


def _rolling_peer(events: EventArray) -> Callable[[], pl.DataFrame]:
    """Return a polars computation of nine of the columns at every group: moves, flow, volume over three windows."""
    best = fold_best(empty_book(), events)
    last = np.flatnonzero(events["flags"] & F_LAST)
    traded = np.isin(events["action"], (4, 5, 6))
    signed = np.cumsum(np.where(traded, -events["side"] * events["size_lots"], 0))[last]
    names = ("bid", "bid_lots", "ask", "ask_lots")
    table = pl.DataFrame(
        {
            "ts": np.maximum.accumulate(events["ts_recv"][last]),
            "signed": np.diff(signed, prepend=0),
            **{name: np.ascontiguousarray(best[last, k]) for k, name in enumerate(names)},
        }
    )
    bid, ask = pl.col("bid"), pl.col("ask")

    def side(price: pl.Expr, lots: pl.Expr, *, up: bool) -> pl.Expr:
        better = price >= price.shift() if up else price <= price.shift()
        worse = price <= price.shift() if up else price >= price.shift()
        return better.cast(pl.Int64) * lots - worse.cast(pl.Int64) * lots.shift()

    flow = side(bid, pl.col("bid_lots"), up=True) - side(ask, pl.col("ask_lots"), up=False)

    def run() -> pl.DataFrame:
        base = table.lazy().with_columns(flow.alias("flow"), (bid + ask).alias("mid2"))
        for span in ("1s", "10s", "60s"):
            window = pl.col("ts").cast(pl.Datetime("ns"))
            base = base.with_columns(
                pl.col("flow").rolling_sum_by(window, span).alias(f"flow_{span}"),
                pl.col("signed").rolling_sum_by(window, span).alias(f"signed_{span}"),
                pl.col("mid2").diff().rolling_sum_by(window, span).alias(f"move_{span}"),
            )
        return base.collect()

    return run


def feature_pass() -> dict[str, Any]:
    """Return events a second of the whole pass over one session, cut anywhere with the same bits."""
    settings, session, events = _market()
    pipeline = session_pipeline(settings, settings.instruments[0], session)
    seconds = _best_of(lambda: _rows(pipeline, events[0]))
    whole = _rows(pipeline, events[0])
    state, head = pipeline.step(pipeline.init(), events[0][:50_001])
    _, tail = pipeline.step(state, events[0][50_001:])
    if np.concatenate([head.values, tail.values]).tobytes() != whole.values.tobytes():
        raise AssertionError("the pass depends on where it was cut")
    peer = _rolling_peer(events[0])
    return {
        "n": len(events[0]),
        "unit": "event",
        "per_s": len(events[0]) / seconds,
        "peer": f"polars rolling sums, 9 of {len(pipeline.columns)} columns, book given",
        "peer_per_s": len(events[0]) / _best_of(peer),
    }


def feature_event() -> dict[str, Any]:
    """Return the time of one event handed over alone, as live does."""
    settings, session, events = _market()
    pipeline = session_pipeline(settings, settings.instruments[0], session)
    state, _ = pipeline.step(pipeline.init(), events[0][:10_000])
    took = np.empty(SINGLE_EVENTS)
    rows = 0
    for k in range(SINGLE_EVENTS):
        one = events[0][10_000 + k : 10_001 + k]
        start = time.perf_counter()
        state, found = pipeline.step(state, one)
        took[k] = time.perf_counter() - start
        rows += len(found.keys)
    if rows < SINGLE_EVENTS // (2 * settings.sampling.every_events):
        raise AssertionError(f"{rows} rows from {SINGLE_EVENTS} events")
    return _singles(took, "event")


def row_assembler() -> dict[str, Any]:
    """Return the time of one row joined with its peers and signals, as live does."""
    settings, session, events = _market()
    rows = [
        _rows(session_pipeline(settings, item, session), part)
        for item, part in zip(settings.instruments, events, strict=False)
    ]
    owner = np.repeat([0, 1], [len(part.keys) for part in rows])
    keys, values = np.concatenate([part.keys for part in rows]), np.concatenate([part.values for part in rows])
    order = np.lexsort((owner, keys[:, 0]))
    assembler = RowAssembler(settings)
    whole = assembler.assemble(assembler.init(), owner[order], keys[order, 0], values[order])
    state = assembler.init()
    symbols = [item.symbol for item in settings.instruments]
    took = np.empty(len(order))
    for n, k in enumerate(order):
        start = time.perf_counter()
        x = assembler.step(state, symbols[owner[k]], keys[k], values[k])
        took[n] = time.perf_counter() - start
        if x.tobytes() != whole[n].tobytes():
            raise AssertionError(f"row {n} differs from the night's")
    return _singles(took, "row")


def _singles(took: np.ndarray[Any, np.dtype[np.float64]], unit: str) -> dict[str, Any]:
    p50, p99 = np.quantile(took, (0.5, 0.99)) * 1e6
    per_s = len(took) / float(took.sum())
    return {"n": len(took), "unit": unit, "per_s": per_s, "p50_us": float(p50), "p99_us": float(p99)}


BENCHMARKS: Final[dict[str, Callable[[], dict[str, Any]]]] = {
    "feature_pass": feature_pass,
    "feature_event": feature_event,
    "row_assembler": row_assembler,
}
"""Benchmarks of this module by name."""

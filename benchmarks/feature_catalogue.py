"""Benchmarks of the whole catalogue: all families in batch and one event live, and the kernel of recorded snapshots."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from benchmarks.features import SINGLE_EVENTS, _best_of, _singles
from benchmarks.peers import peers_folder, run_generator
from features.pipeline import FeaturePipeline, session_pipeline
from features.snapshots import SNAPSHOT_COLUMNS, book_features, empty_snapshots, step_snapshots
from marketdata.book import empty_book, fold_best
from marketdata.events import EventArray
from marketdata.sources import build_source, preset

SNAPSHOT_ROWS: Final = 1_000_000
TICK: Final = 0.1
DEEP: Final = 10


def _everything() -> tuple[FeaturePipeline, EventArray]:
    """Return the pipeline of every family and the first simulated session of one instrument, whose book is ten levels deep."""
    settings = preset("simulated", None, sessions=1)
    sampling = settings.sampling.model_copy(update={"families": ("all",)})
    source = build_source(settings)
    session, item = source.sessions()[0], settings.instruments[0]
    events = source.events(source.raw_ticks(session.date, item.symbol), session.date, item.symbol)
    book = empty_book()
    fold_best(book, events)
    if min(book.count) < DEEP:
        raise AssertionError(f"the book ends with {min(book.count)} levels on a side, not {DEEP} or more")
    return session_pipeline(settings.model_copy(update={"sampling": sampling}), item, session), events


def features_batch() -> dict[str, Any]:
    """Return events a second of one pass that fills every column, cut anywhere with the same bits."""
    pipeline, events = _everything()
    seconds = _best_of(lambda: pipeline.step(pipeline.init(), events))
    whole = pipeline.step(pipeline.init(), events)[1]
    state, head = pipeline.step(pipeline.init(), events[:50_001])
    _, tail = pipeline.step(state, events[50_001:])
    if np.concatenate([head.values, tail.values]).tobytes() != whole.values.tobytes():
        raise AssertionError("the pass depends on where it was cut")
    if np.isinf(whole.values).any() or np.isnan(whole.values[-1]).mean() > 0.1:
        raise AssertionError("the last row is not known")
    return {"n": len(events), "unit": f"event, {len(pipeline.columns)} columns", "per_s": len(events) / seconds}


def features_step() -> dict[str, Any]:
    """Return the time of one event handed over alone, every family switched on, as live does."""
    pipeline, events = _everything()
    state, _ = pipeline.step(pipeline.init(), events[:30_000])
    took = np.empty(SINGLE_EVENTS)
    parts = []
    for k in range(SINGLE_EVENTS):
        one = events[30_000 + k : 30_001 + k]
        start = time.perf_counter()
        state, found = pipeline.step(state, one)
        took[k] = time.perf_counter() - start
        parts.append(found.values)
    state, _ = pipeline.step(pipeline.init(), events[:30_000])
    whole = pipeline.step(state, events[30_000 : 30_000 + SINGLE_EVENTS])[1]
    if np.concatenate(parts).tobytes() != whole.values.tobytes():
        raise AssertionError("one event at a time gives other bits than the batch")
    return _singles(took, "event")


def _books() -> npt.NDArray[np.float64]:
    """Return snapshots of ten levels: the peers' where they are there, else random ones of the same form."""
    folder = peers_folder()
    if folder is not None:
        with tempfile.TemporaryDirectory() as into:
            run_generator(folder, "gen_book.py", str(SNAPSHOT_ROWS), into=Path(into))
            return np.ascontiguousarray(np.load(Path(into) / f"book_{SNAPSHOT_ROWS}.npy").T)
    rng = np.random.default_rng(5)
    books = np.empty((SNAPSHOT_ROWS, 40))
    bid = 500_000 + np.cumsum(rng.integers(-1, 2, SNAPSHOT_ROWS) * (rng.random(SNAPSHOT_ROWS) < 0.125))
    spread = rng.integers(1, 4, SNAPSHOT_ROWS)
    books[:, :10] = (bid[:, None] - np.arange(10)) * TICK
    books[:, 10:20] = ((bid + spread)[:, None] + np.arange(10)) * TICK
    books[:, 20:] = rng.exponential(2.0, (SNAPSHOT_ROWS, 20)) + 0.001
    return books


def _polars_peer(books: npt.NDArray[np.float64]) -> Callable[[], Any]:
    """Return a computation of the same seventeen columns by polars expressions, one thread or as many as it takes."""
    import polars as pl

    names = [f"{side}{m}" for side in ("bid", "ask", "bid_lots", "ask_lots") for m in range(10)]
    frame = pl.DataFrame({name: np.ascontiguousarray(books[:, k]) for k, name in enumerate(names)})

    def flow(m: int) -> pl.Expr:
        bid, ask, bid_lots, ask_lots = (pl.col(f"{side}{m}") for side in ("bid", "ask", "bid_lots", "ask_lots"))
        return (
            (bid >= bid.shift()).cast(pl.Float64) * bid_lots
            - (bid <= bid.shift()).cast(pl.Float64) * bid_lots.shift()
            - (ask <= ask.shift()).cast(pl.Float64) * ask_lots
            + (ask >= ask.shift()).cast(pl.Float64) * ask_lots.shift()
        )

    bid, ask, bid_lots, ask_lots = (pl.col(f"{side}0") for side in ("bid", "ask", "bid_lots", "ask_lots"))
    near = [pl.sum_horizontal([pl.col(f"{side}{m}") for m in range(5)]) for side in ("bid_lots", "ask_lots")]
    share, mid = (bid_lots - ask_lots) / (bid_lots + ask_lots), 0.5 * (bid + ask)

    def score(x: pl.Expr) -> pl.Expr:
        return (x - x.rolling_mean(500)) / x.rolling_std(500)

    flows = [f"ofi_l{m + 1}" for m in range(10)]
    query = (
        frame.lazy()
        .with_columns([flow(m).alias(name) for m, name in enumerate(flows)])
        .select(
            *flows,
            pl.sum_horizontal(flows).rolling_sum(100).alias(SNAPSHOT_COLUMNS[10]),
            ((ask * bid_lots + bid * ask_lots) / (bid_lots + ask_lots)).alias(SNAPSHOT_COLUMNS[11]),
            share.alias(SNAPSHOT_COLUMNS[12]),
            ((near[0] - near[1]) / (near[0] + near[1])).alias(SNAPSHOT_COLUMNS[13]),
            (mid / mid.shift()).log().rolling_std(300).alias(SNAPSHOT_COLUMNS[14]),
            score(ask - bid).alias(SNAPSHOT_COLUMNS[15]),
            score(share).alias(SNAPSHOT_COLUMNS[16]),
        )
    )
    return lambda: query.collect()


def features_snapshots() -> dict[str, Any]:
    """Return rows a second of the seventeen snapshot features beside polars expressions, with the same values at the end."""
    books = _books()
    out = np.zeros((len(books), len(SNAPSHOT_COLUMNS)))
    seconds = _best_of(lambda: step_snapshots(empty_snapshots(), books, TICK, out))
    peer = _polars_peer(books)
    theirs = peer().to_numpy()
    if not np.allclose(out[-1_000:], theirs[-1_000:], rtol=1e-3, atol=1e-4):
        raise AssertionError("polars gives other values")
    if book_features(books[:5_000], TICK).tobytes() != out[:5_000].tobytes():
        raise AssertionError("the pass depends on where it ends")
    return {
        "n": len(books),
        "unit": "row",
        "per_s": len(books) / seconds,
        "peer": "polars expressions, 17 columns",
        "peer_per_s": len(books) / _best_of(peer),
    }


def features_bandwidth() -> dict[str, Any]:
    """Return rows a second of streaming the snapshots once through memory and writing as many outputs: the bound."""
    books = np.zeros((SNAPSHOT_ROWS, 40))
    out = np.zeros((SNAPSHOT_ROWS, len(SNAPSHOT_COLUMNS)))
    books += 1.0
    flat = books.reshape(-1)

    def stream() -> float:
        out.fill(1.0)
        return float(np.dot(flat, flat))  # of ones: what was read, summed as fast as BLAS reads

    seconds = _best_of(stream)
    if stream() != books.size:
        raise AssertionError("not everything was read")
    return {"n": SNAPSHOT_ROWS, "unit": "row", "per_s": SNAPSHOT_ROWS / seconds}


BENCHMARKS: Final[dict[str, Callable[[], dict[str, Any]]]] = {
    "features_batch": features_batch,
    "features_step": features_step,
    "features_snapshots": features_snapshots,
    "features_bandwidth": features_bandwidth,
}
"""Benchmarks of this module by name."""

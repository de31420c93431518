"""The two laws over every feature: cutting the stream changes nothing, and later rows change nothing earlier."""

from dataclasses import dataclass

import numpy as np
import pytest

from features.assembler import RowAssembler
from features.catalog import catalogue, dataset_catalogue
from features.pipeline import FeaturePipeline, copy_state, session_pipeline
from features.points import copy_points, empty_points, point_events, step_points
from features.rows import FeatureRows
from features.signals.columns import SIGNAL_COLUMNS
from features.spec import FeatureSpec
from features.state import FIRST_RING_ROWS
from marketdata.events import EventArray
from marketdata.instruments import BookKind
from marketdata.settings import SamplingSettings, Settings
from tests.features.tape import OPEN_NS, SESSION, instrument, random_tape, settings

NS = 1_000_000_000
GROUPS = 12_000
SPEC = FeatureSpec(SamplingSettings(), True)
COLUMNS = SPEC.columns
ENTRIES = catalogue(SPEC)
KINDS = (BookKind.MATCHING, BookKind.TRADES_ONLY)


def _pipeline(kind: BookKind, every: int = 7) -> FeaturePipeline:
    sampling = SamplingSettings(every_events=every)
    return FeaturePipeline(instrument(0, kind), sampling, SESSION.open_ns, SESSION.close_ns, True)


def _fold(pipeline: FeaturePipeline, events: EventArray, cuts: list[int]) -> FeatureRows:
    state = pipeline.init()
    parts = []
    for start, end in zip([0, *cuts], [*cuts, len(events)], strict=True):
        state, rows = pipeline.step(state, events[start:end])
        parts.append(rows)
    keys = np.concatenate([part.keys for part in parts])
    return FeatureRows(keys, np.concatenate([part.values for part in parts]), pipeline.columns)


@dataclass(frozen=True)
class Runs:
    whole: FeatureRows
    one_by_one: FeatureRows
    random_cuts: FeatureRows
    restored: FeatureRows
    other_tail: FeatureRows
    cut_key: int
    ring_rows: int


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.value)
def runs(request: pytest.FixtureRequest) -> Runs:
    pipeline = _pipeline(request.param)
    events = random_tape(3, GROUPS, gap_ms=30.0)
    whole = _fold(pipeline, events, [])
    cuts = sorted(np.random.default_rng(5).integers(0, len(events), 60).tolist())
    middle = len(events) // 2
    state, head = pipeline.step(pipeline.init(), events[:middle])
    checkpoint = copy_state(state)
    pipeline.step(state, random_tape(8, 500))
    last, tail = pipeline.step(checkpoint, events[middle:])
    restored = FeatureRows(
        np.concatenate([head.keys, tail.keys]), np.concatenate([head.values, tail.values]), pipeline.columns
    )
    changed = events.copy()
    later = np.arange(len(events)) >= middle
    changed["size_lots"][later] += 3
    changed["price_units"][later] += 10
    return Runs(
        whole=whole,
        one_by_one=_fold(pipeline, events, list(range(1, len(events)))),
        random_cuts=_fold(pipeline, events, cuts),
        restored=restored,
        other_tail=_fold(pipeline, changed, []),
        cut_key=len(head.keys),
        ring_rows=len(last.ring_ts),
    )


def test_the_tape_gives_enough_rows_and_grows_the_ring(runs: Runs) -> None:
    assert len(runs.whole.keys) > 80
    assert runs.cut_key > 30
    assert runs.ring_rows > FIRST_RING_ROWS


@pytest.mark.parametrize("way", ["one_by_one", "random_cuts", "restored"])
def test_cutting_the_stream_changes_no_key(runs: Runs, way: str) -> None:
    np.testing.assert_array_equal(getattr(runs, way).keys, runs.whole.keys)


@pytest.mark.parametrize("way", ["one_by_one", "random_cuts", "restored"])
@pytest.mark.parametrize("column", COLUMNS)
def test_cutting_the_stream_changes_no_bit_of_a_feature(runs: Runs, way: str, column: str) -> None:
    k = COLUMNS.index(column)
    assert getattr(runs, way).values[:, k].tobytes() == runs.whole.values[:, k].tobytes()


@pytest.mark.parametrize("column", COLUMNS)
def test_later_events_change_no_earlier_feature(runs: Runs, column: str) -> None:
    k = COLUMNS.index(column)
    assert runs.other_tail.values[: runs.cut_key, k].tobytes() == runs.whole.values[: runs.cut_key, k].tobytes()
    assert not np.array_equal(runs.other_tail.values[runs.cut_key :], runs.whole.values[runs.cut_key :])


def test_every_feature_takes_values_and_the_catalogue_names_each_once(runs: Runs) -> None:
    assert tuple(entry.name for entry in ENTRIES) == COLUMNS
    assert max(entry.memory_ns for entry in ENTRIES) <= SPEC.memory_ns
    never = {name for k, name in enumerate(COLUMNS) if np.isnan(runs.whole.values[:, k]).all()}
    has_book = bool((runs.whole.key("bid_lots") > 0).all())
    assert never == (set() if has_book else {entry.name for entry in ENTRIES if entry.needs_book})


@pytest.mark.parametrize("column", [name for name in COLUMNS if not name.startswith("hawkes_s_")])
def test_a_late_joiner_agrees_once_a_feature_is_warm(late: tuple[FeatureRows, FeatureRows, int], column: str) -> None:
    early, joined, joined_ns = late
    k = COLUMNS.index(column)
    entry = ENTRIES[k]
    warm_ns = joined_ns + entry.memory_ns
    both = np.isin(early.key("sequence"), joined.key("sequence")) & (early.key("ts_recv") >= warm_ns)
    same = np.isin(joined.key("sequence"), early.key("sequence")) & (joined.key("ts_recv") >= warm_ns)
    assert both.sum() > 500
    np.testing.assert_array_equal(early.values[both, k], joined.values[same, k])
    first = joined.values[joined.key("ts_recv") < warm_ns, k]
    stored = early.values[np.isin(early.key("sequence"), joined.key("sequence")), k][: len(first)]
    known = ~np.isnan(first)
    assert not known[joined.key("ts_recv")[: len(first)] < joined_ns + entry.warmup_ns].any()
    np.testing.assert_array_equal(first[known], stored[known])


@pytest.fixture(scope="module")
def late() -> tuple[FeatureRows, FeatureRows, int]:
    """Rows of a whole tape, of a fold that joined at a snapshot in its middle, and when it joined."""
    from marketdata.book import book_best, empty_book, fold_best
    from marketdata.events import ASK, BID, CLEAR, F_LAST, F_SNAPSHOT, LEVEL, NONE, empty_events

    pipeline = _pipeline(BookKind.MATCHING, every=1)
    events = random_tape(11, 9_000, specials=False)
    middle = int(np.flatnonzero(events["flags"] & F_LAST)[4_000]) + 1
    book = empty_book()
    fold_best(book, events[:middle])
    assert book_best(book)[1] > 0
    snapshot = empty_events(1 + int(book.count.sum()))
    snapshot["ts_recv"] = events["ts_recv"][middle - 1]
    snapshot["sequence"] = events["sequence"][middle - 1]
    snapshot["action"], snapshot["side"], snapshot["flags"] = LEVEL, NONE, F_SNAPSHOT
    snapshot["action"][0] = CLEAR
    row = 1
    for side, sign in ((0, BID), (1, ASK)):
        for k in range(int(book.count[side])):
            snapshot["price_units"][row], snapshot["size_lots"][row] = book.price[side, k], book.size[side, k]
            snapshot["side"][row] = sign
            row += 1
    snapshot["flags"][-1] |= F_LAST
    early = pipeline.step(pipeline.init(), events)[1]
    joined = pipeline.step(pipeline.init(), np.concatenate([snapshot, events[middle:]]))[1]
    return early, joined, int(snapshot["ts_recv"][0])


def test_cutting_the_stream_changes_no_point_event() -> None:
    events = random_tape(4, 4_000)
    whole = point_events(events, instrument())
    state = empty_points()
    parts = []
    for start in range(0, len(events), 37):
        state, points = step_points(copy_points(state), events[start : start + 37], instrument())
        parts.append(points)
    import polars as pl

    assert pl.concat(parts).equals(whole)
    assert whole.get_column("kind").n_unique() == 4


def test_the_catalogue_names_every_column_of_the_dataset_once() -> None:
    config = settings(2)
    assert tuple(entry.name for entry in dataset_catalogue(config)) == RowAssembler(config).columns
    assert all(entry.unit and entry.formula for entry in dataset_catalogue(config))


@pytest.fixture(scope="module")
def market() -> tuple[Settings, dict[str, FeatureRows]]:
    config = settings(3, sampling={"every_events": 9})
    rows = {}
    for k, item in enumerate(config.instruments):
        events = random_tape(20 + k, 3_000, instrument_id=k)
        pipeline = session_pipeline(config, item, SESSION)
        rows[item.symbol] = pipeline.step(pipeline.init(), events)[1]
    return config, rows


def test_the_executor_builds_the_same_rows_as_the_night(market: tuple[Settings, dict[str, FeatureRows]]) -> None:
    import polars as pl

    config, rows = market
    assembler = RowAssembler(config)
    rng = np.random.default_rng(1)
    frames = {}
    for kind, columns in SIGNAL_COLUMNS.items():
        n = 40
        values = {name: rng.normal(size=n) for name in columns}
        ts = np.sort(OPEN_NS + rng.integers(0, 180, n) * NS)
        frames[kind] = pl.DataFrame({"ts_known": ts, "symbol": rng.choice(["I0", "I1", "I2", "X"], n), **values})
    symbols = [item.symbol for item in config.instruments]
    owner = np.repeat(np.arange(3), [len(rows[s].keys) for s in symbols])
    ts = np.concatenate([rows[s].key("ts_recv") for s in symbols])
    order = np.lexsort((owner, ts))
    keys = np.concatenate([rows[s].keys for s in symbols])[order]
    values = np.concatenate([rows[s].values for s in symbols])[order]

    night = assembler.init()
    for kind in frames:
        night = assembler.update_signals(night, kind, frames[kind])
    offline = assembler.assemble(night, owner[order], ts[order], values)

    live = assembler.init()
    seen = OPEN_NS - 1
    for n in range(len(keys)):
        now = int(keys[n, 0])
        for kind, frame in frames.items():
            fresh = frame.filter(pl.col("ts_known").is_between(seen, now, closed="right"))
            if fresh.height:
                live = assembler.update_signals(live, kind, fresh)
        seen = now
        x = assembler.step(live, symbols[owner[order][n]], keys[n], values[n])
        assert x.tobytes() == offline[n].tobytes()
    assert offline.shape == (len(keys), len(assembler.columns))
    known = ~np.isnan(offline[len(keys) // 2 :])
    assert known.any(axis=0).all(), [c for c, k in zip(assembler.columns, known.any(axis=0), strict=True) if not k]


def test_a_later_row_of_a_peer_changes_no_earlier_row(market: tuple[Settings, dict[str, FeatureRows]]) -> None:
    config, rows = market
    assembler = RowAssembler(config)
    a, b = rows["I0"], rows["I1"]
    owner = np.repeat([0, 1], [len(a.keys), len(b.keys)])
    ts = np.concatenate([a.key("ts_recv"), b.key("ts_recv")])
    order = np.lexsort((owner, ts))
    values = np.concatenate([a.values, b.values])[order]
    changed = values.copy()
    middle = len(order) // 2
    changed[middle:] *= 1.5
    first = assembler.assemble(assembler.init(), owner[order], ts[order], values)
    second = assembler.assemble(assembler.init(), owner[order], ts[order], changed)
    assert first[:middle].tobytes() == second[:middle].tobytes()

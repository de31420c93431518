"""The two laws over every feature: cutting the stream changes nothing, and later rows change nothing earlier."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from features.assembler import RowAssembler
from features.catalog import catalogue, dataset_catalogue
from features.families import FAMILIES
from features.pipeline import FeaturePipeline, copy_state, session_pipeline
from features.points import copy_points, empty_points, point_events, step_points
from features.rows import FeatureRows
from features.signals.columns import SIGNAL_COLUMNS
from features.spec import FeatureSpec
from features.state import FIRST_RING_ROWS
from marketdata.events import CLEAR, EXECUTE, HIDDEN, STATUS, TRADE, EventArray
from marketdata.instruments import BookKind
from marketdata.settings import SamplingSettings, Settings
from tests.features.tape import OPEN_NS, SESSION, instrument, random_tape, settings

NS = 1_000_000_000
FloatArray = npt.NDArray[np.float64]
GROUPS = 12_000
ALL = SamplingSettings(families=("all",))
SPEC = FeatureSpec(ALL, True)
COLUMNS = SPEC.columns
ENTRIES = catalogue(SPEC)
KINDS = (BookKind.MATCHING, BookKind.TRADES_ONLY)


def _pipeline(kind: BookKind, every: int = 7, tick_units: int = 5, **sampling: Any) -> FeaturePipeline:
    item = instrument(0, kind).model_copy(update={"tick_units": tick_units})
    chosen = ALL.model_copy(update={"every_events": every, **sampling})
    return FeaturePipeline(item, chosen, SESSION.open_ns, SESSION.close_ns, True)


def _differing(one: FloatArray, other: FloatArray) -> list[str]:
    """Return the columns in which two tables of rows differ by a bit."""
    assert one.shape == other.shape
    same = (one.view(np.int64) == other.view(np.int64)).all(axis=0)
    return [name for name, equal in zip(COLUMNS, same, strict=True) if not equal]


def _apart(one: FloatArray, other: FloatArray, names: Sequence[str], rtol: float) -> list[str]:
    """Return the columns of two tables whose values are apart, against the column's usual size; NaN equals NaN."""
    found = []
    for name in names:
        k = COLUMNS.index(name)
        scale = max(float(np.nanmax(np.abs(one[:, k]), initial=0.0)), 1e-300)
        if not np.allclose(one[:, k], other[:, k], rtol=rtol, atol=rtol * scale, equal_nan=True):
            found.append(name)
    return found


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
    no_tail: FeatureRows
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
        no_tail=_fold(pipeline, events[:middle], []),
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
def test_cutting_the_stream_changes_no_bit_of_a_feature(runs: Runs, way: str) -> None:
    assert not _differing(getattr(runs, way).values, runs.whole.values)


def test_later_events_change_no_earlier_feature(runs: Runs) -> None:
    assert not _differing(runs.other_tail.values[: runs.cut_key], runs.whole.values[: runs.cut_key])
    assert not _differing(runs.no_tail.values, runs.whole.values[: runs.cut_key])
    assert not np.array_equal(runs.other_tail.values[runs.cut_key :], runs.whole.values[runs.cut_key :])


def test_every_feature_takes_values_and_the_catalogue_names_each_once(runs: Runs) -> None:
    assert tuple(entry.name for entry in ENTRIES) == COLUMNS
    assert len(set(COLUMNS)) == len(COLUMNS)
    assert max(entry.memory_ns for entry in ENTRIES) <= SPEC.memory_ns
    never = {name for k, name in enumerate(COLUMNS) if np.isnan(runs.whole.values[:, k]).all()}
    has_book = bool((runs.whole.key("bid_lots") > 0).all())
    assert never == (set() if has_book else {entry.name for entry in ENTRIES if entry.needs_book})
    assert not np.isinf(runs.whole.values).any()


def test_the_catalogue_has_more_than_sixty_raw_formulas_with_a_paper_for_what_has_one() -> None:
    assert len({entry.key for entry in ENTRIES}) == 100
    assert {entry.family for entry in ENTRIES} == {"core", *FAMILIES}
    assert all(entry.unit and entry.formula for entry in ENTRIES)
    assert all(entry.reference for entry in ENTRIES if entry.family != "core")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.value)
def test_a_feature_is_unknown_until_its_stated_warm_up_and_known_after_it(kind: BookKind) -> None:
    events = random_tape(13, 6_000, specials=False)
    rows = _pipeline(kind, every=11).step(_pipeline(kind).init(), events)[1]
    executed = events["ts_recv"][np.isin(events["action"], (EXECUTE, HIDDEN, TRADE))]
    age = rows.key("ts_recv") - (events["ts_recv"][0] if kind is BookKind.MATCHING else executed[0])
    for k, entry in enumerate(ENTRIES):
        known = ~np.isnan(rows.values[:, k])
        assert not known[age < entry.warmup_ns].any(), entry.name
        if (
            not entry.may_be_unknown
            and not (entry.needs_book and kind is not BookKind.MATCHING)
            and entry.key != "mid_age"
        ):
            assert known[age > max(entry.memory_ns, entry.warmup_ns) + NS].all(), entry.name


@pytest.fixture(scope="module")
def offset_tape() -> EventArray:
    """Return a tape whose prices are so high that a mirrored price is nearly the same in relative terms."""
    events = random_tape(17, 5_000)
    events["price_units"][events["price_units"] > 0] += 10**9
    return events


@pytest.fixture(scope="module")
def plain(offset_tape: EventArray) -> FeatureRows:
    return _pipeline(BookKind.MATCHING).step(_pipeline(BookKind.MATCHING).init(), offset_tape)[1]


def _rescaled(events: EventArray, prices: int, lots: int) -> EventArray:
    changed = events.copy()
    changed["price_units"] *= prices
    sized = ~np.isin(events["action"], (STATUS, CLEAR))
    changed["size_lots"][sized] *= lots
    return changed


def test_prices_and_the_tick_in_other_units_change_no_feature(offset_tape: EventArray, plain: FeatureRows) -> None:
    pipeline = _pipeline(BookKind.MATCHING, tick_units=15)
    rows = pipeline.step(pipeline.init(), _rescaled(offset_tape, 3, 1))[1]
    assert not _apart(plain.values, rows.values, COLUMNS, 1e-9)


@pytest.mark.parametrize(("prices", "lots"), [(3, 1), (1, 4)])
def test_a_feature_scales_with_prices_and_sizes_as_it_declares(
    offset_tape: EventArray, plain: FeatureRows, prices: int, lots: int
) -> None:
    pipeline = _pipeline(BookKind.MATCHING)
    rows = pipeline.step(pipeline.init(), _rescaled(offset_tape, prices, lots))[1]
    powers = [entry.price_power if prices > 1 else entry.lots_power for entry in ENTRIES]
    expected = plain.values.copy()
    for k, power in enumerate(powers):
        expected[:, k] *= (prices * lots) ** (power or 0)
    declared = [entry.name for entry, power in zip(ENTRIES, powers, strict=True) if power is not None]
    assert not _apart(expected, rows.values, declared, 1e-9)
    others = [name for name in COLUMNS if name not in declared]
    assert _apart(plain.values, rows.values, others, 1e-9) == others, "declared to scale by no power, and it does"


def test_a_mirrored_book_turns_each_feature_as_it_declares(offset_tape: EventArray, plain: FeatureRows) -> None:
    mirrored = offset_tape.copy()
    priced = mirrored["price_units"] > 0
    mirrored["price_units"][priced] = 2 * (10**9 + 10_000) - mirrored["price_units"][priced]
    mirrored["side"] = -mirrored["side"]
    pipeline = _pipeline(BookKind.MATCHING)
    rows = pipeline.step(pipeline.init(), mirrored)[1]
    expected = np.empty_like(plain.values)
    for k, entry in enumerate(ENTRIES):
        partner = k if entry.mirror in ("odd", "even") else COLUMNS.index(entry.mirror)
        expected[:, k] = plain.values[:, partner] * (-1.0 if entry.mirror == "odd" else 1.0)
    assert not _apart(expected, rows.values, COLUMNS, 1e-5)


def test_a_late_joiner_agrees_once_a_feature_is_warm(late: tuple[FeatureRows, FeatureRows, int]) -> None:
    early, joined, joined_ns = late
    for k, entry in enumerate(ENTRIES):
        warm_ns = joined_ns + entry.memory_ns
        both = np.isin(early.key("sequence"), joined.key("sequence")) & (early.key("ts_recv") >= warm_ns)
        same = np.isin(joined.key("sequence"), early.key("sequence")) & (joined.key("ts_recv") >= warm_ns)
        assert both.sum() > 500
        one, other = early.values[both, k], joined.values[same, k]
        if entry.joins == "exact":
            np.testing.assert_array_equal(one, other, err_msg=entry.name)
        elif entry.joins == "decays":
            scale = np.nanmax(np.abs(one))
            np.testing.assert_allclose(one, other, rtol=5e-3, atol=5e-3 * scale, err_msg=entry.name)
        else:
            np.testing.assert_array_equal(np.isnan(one), np.isnan(other), err_msg=entry.name)
        first = joined.values[joined.key("ts_recv") < warm_ns, k]
        stored = early.values[np.isin(early.key("sequence"), joined.key("sequence")), k][: len(first)]
        known = ~np.isnan(first)
        assert not known[joined.key("ts_recv")[: len(first)] < joined_ns + entry.warmup_ns].any(), entry.name
        if entry.joins == "exact":
            np.testing.assert_array_equal(first[known], stored[known], err_msg=entry.name)


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

"""Signatures of order flow imbalance (Cont, Kukanov, Stoikov 2014), and the kernel against a short slow reference."""

import numpy as np
import pytest

from features.kernel import _level_flow
from features.pipeline import FeaturePipeline
from features.points import point_events
from features.rows import FeatureRows
from marketdata.book import empty_book, fold_best
from marketdata.events import CLEAR, F_LAST, F_SNAPSHOT, EventArray
from marketdata.settings import SamplingSettings
from tests.features.tape import SESSION, instrument, random_tape

NS = 1_000_000_000


@pytest.mark.parametrize("lots", [1, 50])
@pytest.mark.parametrize("old_lots", [1, 50])
def test_a_bid_that_rises_is_buying_pressure_and_one_that_falls_is_selling(lots: int, old_lots: int) -> None:
    assert _level_flow(0, 101, lots, 100, old_lots) == lots
    assert _level_flow(0, 99, lots, 100, old_lots) == -old_lots


@pytest.mark.parametrize("lots", [1, 50])
@pytest.mark.parametrize("old_lots", [1, 50])
def test_an_ask_that_falls_adds_supply_and_one_that_rises_takes_it(lots: int, old_lots: int) -> None:
    assert _level_flow(1, 99, lots, 100, old_lots) == lots
    assert _level_flow(1, 101, lots, 100, old_lots) == -old_lots


def test_a_side_that_empties_contributes_its_vanishing_size_only() -> None:
    assert _level_flow(0, 0, 0, 100, 7) == -7
    assert _level_flow(0, 100, 7, 0, 0) == 7
    assert _level_flow(0, 0, 0, 0, 0) == 0


@pytest.fixture(scope="module")
def tape() -> EventArray:
    return random_tape(2, 4_000, gap_ms=50.0, specials=False)


@pytest.fixture(scope="module")
def rows(tape: EventArray) -> FeatureRows:
    pipeline = FeaturePipeline(
        instrument(), SamplingSettings(every_events=11), SESSION.open_ns, SESSION.close_ns, False
    )
    return pipeline.step(pipeline.init(), tape)[1]


def _reference_groups(tape: EventArray) -> dict[str, np.ndarray]:
    """Return time, mid, W1's e_n and aggressive volume of each group, from the best quotes alone."""
    best = fold_best(empty_book(), tape)
    last = np.flatnonzero(tape["flags"] & F_LAST)
    bid, bid_lots, ask, ask_lots = best[last].T
    flow = np.zeros(len(last), np.int64)
    flow[1:] += np.where(bid[1:] >= bid[:-1], bid_lots[1:], 0) - np.where(bid[1:] <= bid[:-1], bid_lots[:-1], 0)
    flow[1:] += -np.where(ask[1:] <= ask[:-1], ask_lots[1:], 0) + np.where(ask[1:] >= ask[:-1], ask_lots[:-1], 0)
    traded = np.isin(tape["action"], (4, 5))
    signed = np.concatenate([[0], np.cumsum(np.where(traded, -tape["side"] * tape["size_lots"], 0))])
    volume = np.concatenate([[0], np.cumsum(np.where(traded, tape["size_lots"], 0))])
    return {
        "ts": tape["ts_recv"][last],
        "mid2": bid + ask,
        "flow": np.cumsum(flow),
        "signed": signed[last + 1],
        "volume": volume[last + 1],
    }


def _columns(rows: FeatureRows, name: str) -> np.ndarray:
    return rows.values[:, rows.columns.index(name)]


@pytest.mark.parametrize(("span", "ns"), [("1s", NS), ("10s", 10 * NS), ("60s", 60 * NS)])
def test_window_features_equal_the_slow_reference(tape: EventArray, rows: FeatureRows, span: str, ns: int) -> None:
    groups = _reference_groups(tape)
    here = np.searchsorted(groups["ts"], rows.key("ts_recv"), side="right") - 1
    # A row shows the group after which it was taken, not later ones of the same receive time.
    last = np.flatnonzero(tape["flags"] & F_LAST)
    here = np.searchsorted(tape["sequence"][last], rows.key("sequence"))
    base = np.searchsorted(groups["ts"], rows.key("ts_recv") - ns, side="right") - 1
    full = base >= 0
    assert full.sum() > 200
    mid = groups["mid2"]
    np.testing.assert_array_equal(
        _columns(rows, f"mid_return_bps_{span}")[full], (1e4 * (mid[here] - mid[base]) / mid[here])[full]
    )
    signed = (groups["signed"][here] - groups["signed"][base])[full]
    volume = (groups["volume"][here] - groups["volume"][base])[full]
    np.testing.assert_array_equal(_columns(rows, f"trade_imbalance_{span}")[full], signed / np.maximum(volume, 1))
    flow = (groups["flow"][here] - groups["flow"][base])[full]
    got = _columns(rows, f"ofi_best_{span}")[full]
    np.testing.assert_array_equal(np.sign(got), np.sign(flow))
    depth = flow[flow != 0] / got[flow != 0]
    assert (depth > 1).all()
    assert (depth < 80).all()
    assert np.isnan(_columns(rows, f"ofi_best_{span}")[~full]).all()


def test_realised_volatility_equals_the_slow_reference(tape: EventArray, rows: FeatureRows) -> None:
    groups = _reference_groups(tape)
    cell = 60 * NS // 24
    expected, got = [], _columns(rows, "realised_vol_bps_60s")
    for now, sequence in zip(rows.key("ts_recv"), rows.key("sequence"), strict=True):
        grid = (now // cell) * cell - cell * np.arange(25)[::-1]
        at = np.searchsorted(groups["ts"], grid, side="left") - 1
        moves = np.diff(groups["mid2"][at]).astype(float)
        mid2 = groups["mid2"][np.searchsorted(tape["sequence"][np.flatnonzero(tape["flags"] & F_LAST)], sequence)]
        expected.append(1e4 * np.sqrt((moves**2).sum()) / mid2 if at[0] >= 0 else np.nan)
    known = ~np.isnan(got)
    assert known.sum() > 200
    np.testing.assert_array_equal(got[known], np.array(expected)[known])


def test_decayed_counts_sum_points_strictly_before_the_row(tape: EventArray, rows: FeatureRows) -> None:
    points = point_events(tape, instrument())
    at = points.get_column("ts_recv").to_numpy()
    kinds = points.get_column("kind").to_numpy()
    for kind, name in enumerate(("buy", "sell", "mid_up", "mid_down")):
        for k, decay in enumerate((10.0, 1.0, 0.1)):
            got = _columns(rows, f"hawkes_s_{name}_{k}")
            for row in np.flatnonzero(~np.isnan(got))[::37]:
                age = (rows.key("ts_recv")[row] - at[kinds == kind]) * 1e-9
                assert got[row] == pytest.approx(np.exp(-decay * age[age > 0]).sum(), rel=1e-9)


def test_the_flow_explains_the_move_and_a_shuffle_destroys_it(tape: EventArray) -> None:
    groups = _reference_groups(tape)
    edges = np.searchsorted(groups["ts"], np.arange(groups["ts"][0], groups["ts"][-1], 2 * NS))
    move = np.diff(groups["mid2"][edges]).astype(float)
    flow = np.diff(groups["flow"], prepend=0)
    explained = np.corrcoef(np.diff(np.cumsum(flow)[edges]), move)[0, 1] ** 2
    shuffled = np.random.default_rng(0).permutation(flow)
    assert explained > 0.15
    assert np.corrcoef(np.diff(np.cumsum(shuffled)[edges]), move)[0, 1] ** 2 < 0.1 * explained


def test_executions_of_one_time_and_side_are_one_aggressor(tape: EventArray) -> None:
    points = point_events(tape, instrument()).filter(kind=0)
    executed = (np.isin(tape["action"], (4, 5))) & (tape["side"] == -1)
    assert points.height == len(np.unique(tape["ts_event"][executed]))
    assert points.height < executed.sum()


def test_no_row_is_taken_on_a_halted_one_sided_or_crossed_book() -> None:
    tape = random_tape(6, 2_000)
    pipeline = FeaturePipeline(instrument(), SamplingSettings(every_events=1), SESSION.open_ns, SESSION.close_ns, False)
    halted = np.zeros(len(tape), bool)
    state = False
    for k in range(len(tape)):
        if tape["action"][k] == 10:
            state = tape["size_lots"][k] == 0
        halted[k] = state
    flagged = tape.copy()
    flagged["flags"][::5] |= 4
    rows = pipeline.step(pipeline.init(), flagged)[1]
    allowed = (flagged["flags"] & F_LAST > 0) & ~halted & (flagged["flags"] & 4 == 0)
    assert halted.any()
    assert np.isin(rows.key("sequence"), flagged["sequence"][allowed]).all()
    assert len(rows.keys) == (allowed & (tape["sequence"] > 0)).sum()


def test_no_row_is_taken_outside_the_session_and_snapshot_rows_are_not_counted() -> None:
    tape = random_tape(7, 2_000, specials=False)
    ts = tape["ts_recv"]
    begin, end = int(ts[len(ts) // 4]), int(ts[len(ts) // 2])
    pipeline = FeaturePipeline(instrument(), SamplingSettings(every_events=10), begin, end, True)
    rows = pipeline.step(pipeline.init(), tape)[1]
    assert rows.key("ts_recv").min() == begin
    assert rows.key("ts_recv").max() < end
    assert not np.isnan(rows.values[:, rows.columns.index("mid_return_bps_10s")]).any()
    inside = (ts >= begin) & (ts < end) & (tape["flags"] & F_SNAPSHOT == 0)
    assert abs(len(rows.keys) - inside.sum() / 10) < 0.1 * len(rows.keys)


def test_a_gap_makes_windows_unknown_until_they_are_full_again() -> None:
    tape = random_tape(9, 3_000, specials=False)
    cut = int(np.flatnonzero(tape["flags"] & F_LAST)[2_000]) + 1
    resync = random_tape(10, 1_000, specials=False)
    resync["ts_recv"] += tape["ts_recv"][cut] - resync["ts_recv"][0]
    assert resync["action"][0] == CLEAR
    pipeline = FeaturePipeline(instrument(), SamplingSettings(every_events=5), SESSION.open_ns, SESSION.close_ns, False)
    after = pipeline.step(pipeline.step(pipeline.init(), tape[:cut])[0], resync)[1]
    fresh = after.key("ts_recv") < resync["ts_recv"][0] + 10 * NS
    column = after.values[:, after.columns.index("ofi_best_10s")]
    assert fresh.any()
    assert np.isnan(column[fresh]).all()
    assert not np.isnan(column[~fresh]).any()

"""Features of recorded snapshots against plain numpy, the chunk law, and what a file must look like."""

from pathlib import Path

import numpy as np
import pytest

from features.snapshots import (
    SNAPSHOT_COLUMNS,
    book_features,
    copy_snapshots,
    empty_snapshots,
    read_lobster_book,
    step_snapshots,
)

ROWS, TICK = 1_500, 0.1


def _books(seed: int) -> np.ndarray:
    """Return random ten-level books whose touch moves now and then, one level changing its size in each row."""
    rng = np.random.default_rng(seed)
    books = np.empty((ROWS, 40))
    bid, spread, sizes = 5_000, 1, rng.exponential(2.0, (2, 10)) + 0.001
    for n in range(ROWS):
        if rng.random() < 0.2:
            bid += int(rng.integers(-1, 2))
            spread = int(rng.integers(1, 4))
        sizes[rng.integers(2), rng.integers(10)] = rng.exponential(2.0) + 0.001
        books[n, :10] = (bid - np.arange(10)) * TICK
        books[n, 10:20] = (bid + spread + np.arange(10)) * TICK
        books[n, 20:30], books[n, 30:] = sizes
    return books


BOOKS = _books(3)


def _column(values: np.ndarray, name: str) -> np.ndarray:
    return values[:, SNAPSHOT_COLUMNS.index(name)]


def test_every_column_equals_plain_numpy() -> None:
    got = book_features(BOOKS, TICK)
    flows = []
    for m in range(10):
        bid, ask, bid_lots, ask_lots = (BOOKS[:, k + m] for k in (0, 10, 20, 30))
        e = np.where(bid[1:] >= bid[:-1], bid_lots[1:], 0) - np.where(bid[1:] <= bid[:-1], bid_lots[:-1], 0)
        e -= np.where(ask[1:] <= ask[:-1], ask_lots[1:], 0) - np.where(ask[1:] >= ask[:-1], ask_lots[:-1], 0)
        flows.append(e)
        np.testing.assert_allclose(_column(got, f"ofi_l{m + 1}")[1:], e, atol=1e-12)
    assert np.isnan(got[0, :10]).all()
    bid, ask, bid_lots, ask_lots = BOOKS[:, 0], BOOKS[:, 10], BOOKS[:, 20], BOOKS[:, 30]
    share = (bid_lots - ask_lots) / (bid_lots + ask_lots)
    np.testing.assert_allclose(
        _column(got, "weighted_mid"), (bid * ask_lots + ask * bid_lots) / (bid_lots + ask_lots), rtol=1e-12
    )
    np.testing.assert_allclose(_column(got, "depth_imbalance_l1"), share, rtol=1e-12)
    b, a = BOOKS[:, 20:25].sum(axis=1), BOOKS[:, 30:35].sum(axis=1)
    np.testing.assert_allclose(_column(got, "depth_imbalance_5"), (b - a) / (b + a), rtol=1e-12, atol=1e-14)
    total = np.sum(flows, axis=0)
    returns = np.diff(np.log(0.5 * (bid + ask)))
    for row in range(500, ROWS, 83):
        assert _column(got, "ofi_sum_100")[row] == pytest.approx(total[row - 100 : row].sum(), abs=1e-4)
        deviation = returns[row - 300 : row].std(ddof=1)
        assert _column(got, "return_deviation_300")[row] == pytest.approx(deviation, rel=1e-4)
        for name, x in (("spread_score_500", ask - bid), ("imbalance_score_500", share)):
            window = x[row - 499 : row + 1]
            assert _column(got, name)[row] == pytest.approx((x[row] - window.mean()) / window.std(ddof=1), abs=1e-6)
    for name, rows in (("ofi_sum_100", 100), ("return_deviation_300", 300), ("spread_score_500", 499)):
        known = ~np.isnan(_column(got, name))
        assert not known[:rows].any()
        assert known[rows:].all()


def test_cutting_the_matrix_changes_no_bit_and_later_rows_change_nothing_earlier() -> None:
    whole = book_features(BOOKS, TICK)
    state, parts = empty_snapshots(), []
    for start in range(0, ROWS, 67):
        state, values = step_snapshots(copy_snapshots(state), BOOKS[start : start + 67], TICK)
        parts.append(values)
    assert np.concatenate(parts).tobytes() == whole.tobytes()
    other = BOOKS.copy()
    other[900:] *= 1.01
    assert book_features(other, TICK)[:900].tobytes() == whole[:900].tobytes()


def test_bids_and_asks_exchanged_flip_flow_and_imbalance() -> None:
    mirrored = np.concatenate([1e6 - BOOKS[:, 10:20], 1e6 - BOOKS[:, :10], BOOKS[:, 30:], BOOKS[:, 20:30]], axis=1)
    one, other = book_features(BOOKS, TICK), book_features(mirrored, TICK)
    for name in (*SNAPSHOT_COLUMNS[:11], "depth_imbalance_l1", "depth_imbalance_5", "imbalance_score_500"):
        np.testing.assert_allclose(_column(one, name), -_column(other, name), atol=1e-5)


@pytest.mark.parametrize("bad", [BOOKS[:, :39], BOOKS.astype(np.float32), np.asfortranarray(BOOKS)])
def test_a_matrix_of_another_form_is_refused(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="C-ordered float64 matrix of 40 columns"):
        book_features(bad, TICK)


def test_an_order_book_file_of_two_levels_is_read_with_its_dummies(tmp_path: Path) -> None:
    path = tmp_path / "X_orderbook_2.csv"
    path.write_text("1000100,5,999900,6,9999999999,0,999800,7\n1000200,4,999900,6,1000300,2,-9999999999,0\n")
    books = read_lobster_book(path)
    assert books[0, [0, 1, 10, 11]].tolist() == [99.99, 99.98, 100.01, 0.0]
    assert books[:, [20, 21, 30, 31]].tolist() == [[6, 7, 5, 0], [6, 0, 4, 2]]
    path.write_text("1,2,3\n")
    with pytest.raises(ValueError, match="not four a level"):
        read_lobster_book(path)


@pytest.mark.realdata
def test_features_of_a_recorded_order_book_are_finite_once_warm(shared_data: Path) -> None:
    folder = shared_data / "market" / "lobster"
    books = read_lobster_book(folder / "AMZN_2012-06-21_34200000_57600000_orderbook_5.csv.gz")
    values = book_features(books, 0.01)
    assert len(values) > 150_000
    assert np.isfinite(values[500:]).all()

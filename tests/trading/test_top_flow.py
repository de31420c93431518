"""What the agent keeps of the best quotes is what the papers and the features say, and a window of it is exact."""

import numpy as np
import pytest

from features.kernel import _level_flow
from marketdata.book import empty_book, fold_best
from marketdata.clock import NS_PER_MS, NS_PER_S
from marketdata.events import F_LAST, STATUS
from tests.features.tape import random_tape
from trading.state import (
    I_ASK,
    I_ASK_LOTS,
    I_BID,
    I_BID_LOTS,
    I_COUNT,
    I_OFI,
    I_TOP_CHANGES,
    I_TOP_DEPTH,
    I_VARIANCE,
    MEMORY_COLUMNS,
)
from trading.strategies.interface import V_COUNT, V_OFI, V_TOP_CHANGES, V_TOP_DEPTH
from trading.strategies.order_flow import PARTS, window_flow
from trading.top_flow import VARIANCE_ONE, side_flow, track_top

TAPE = random_tape(4, 1_200, specials=False)
ENDS = np.flatnonzero((TAPE["flags"] & F_LAST) > 0)
BEST = fold_best(empty_book(512), TAPE)[ENDS]
TIMES = TAPE["ts_recv"][ENDS]


def _changes() -> list[int]:
    """Groups after which the best quotes are others than before."""
    return [0, *(np.flatnonzero((np.diff(BEST, axis=0) != 0).any(axis=1)) + 1).tolist()]


def _tracked() -> tuple[np.ndarray, list[tuple[int, int, int, int]]]:
    inst, totals = np.zeros(I_COUNT, np.int64), []
    for k in _changes():
        now, (bid, bid_lots, ask, ask_lots) = int(TIMES[k]), (int(v) for v in BEST[k])
        track_top(inst, now, bid, bid_lots, ask, ask_lots)
        inst[I_BID], inst[I_BID_LOTS], inst[I_ASK], inst[I_ASK_LOTS] = bid, bid_lots, ask, ask_lots
        totals.append((now, int(inst[I_OFI]), int(inst[I_TOP_DEPTH]), int(inst[I_TOP_CHANGES])))
    return inst, totals


INST, TOTALS = _tracked()


def test_the_total_is_the_sum_of_cont_kukanov_and_stoikovs_terms() -> None:
    total, before = 0, None
    for bid, bid_lots, ask, ask_lots in BEST[_changes()].tolist():
        if before is not None and min(bid_lots, ask_lots, before[1], before[3]) > 0:
            b0, q0, a0, r0 = before
            total += (bid >= b0) * bid_lots - (bid <= b0) * q0 - (ask <= a0) * ask_lots + (ask >= a0) * r0
        elif before is not None:
            total += side_flow(1, bid, bid_lots, *before[:2]) - side_flow(-1, ask, ask_lots, *before[2:])
        before = (bid, bid_lots, ask, ask_lots)
    assert int(INST[I_OFI]) == total


def test_a_side_that_empties_or_appears_counts_its_size_and_no_price() -> None:
    assert side_flow(1, 0, 0, 100, 7) == -7
    assert side_flow(-1, 105, 4, 0, 0) == 4
    assert side_flow(1, 101, 3, 100, 7) == 3
    assert side_flow(1, 99, 3, 100, 7) == -7
    assert side_flow(-1, 99, 3, 100, 7) == 3
    assert side_flow(-1, 100, 9, 100, 7) == 2


def test_a_change_of_a_side_counts_as_the_features_count_it() -> None:
    rng = np.random.default_rng(8)
    for side, price, lots, old_price, old_lots in rng.integers(0, 4, (400, 5)).tolist():
        side %= 2
        theirs = _level_flow(side, price, lots, old_price, old_lots)
        assert side_flow(1 if side == 0 else -1, price, lots, old_price, old_lots) == theirs


def test_a_window_reaches_back_its_whole_length_and_is_the_difference_of_two_totals() -> None:
    bucket = 500 * NS_PER_MS
    memory, view = np.zeros(MEMORY_COLUMNS, np.int64), np.zeros(V_COUNT + 1, np.int64)
    full = 0
    for k, (now, ofi, depth, changes) in enumerate(TOTALS):
        view[V_OFI], view[V_TOP_DEPTH], view[V_TOP_CHANGES] = ofi, depth, changes
        known, flow = window_flow(now, bucket, view, memory)
        start = (now // bucket - PARTS) * bucket
        if TOTALS[0][0] // bucket + 1 > now // bucket - PARTS:
            assert not known
            continue
        assert known
        before = [t for t in TOTALS[: k + 1] if t[0] < start][-1]
        lots, share = ofi - before[1], 2.0 * (changes - before[3]) / max(depth - before[2], 1)
        assert flow == pytest.approx(lots * share)
        full += 1
    assert full > 200


def test_the_variance_finds_that_of_a_random_walk() -> None:
    rng = np.random.default_rng(3)
    inst, mid = np.zeros(I_COUNT, np.int64), 100_000
    for k in range(20_000):
        mid += int(rng.choice((-2, 2)))
        track_top(inst, (k + 1) * NS_PER_S // 4, mid - 5, 3, mid + 5, 3)
    # Steps of two units four times a second: 16 units squared a second; 64 samples leave an error of a sixth or so.
    assert inst[I_VARIANCE] / VARIANCE_ONE == pytest.approx(16.0, rel=0.5)
    still = inst[I_VARIANCE]
    track_top(inst, 20_000 * NS_PER_S, mid + 4_000, 3, mid + 4_010, 3)
    assert inst[I_VARIANCE] == still, "after a long silence the next sample only starts anew"
    assert STATUS not in TAPE["action"]

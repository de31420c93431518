"""Flows by level against a slow reference, and regressions against markets whose answer is known."""

import numpy as np
import pytest

from features.book_pictures import COLUMNS, PRICES, depth_picture, flow_picture
from features.microprice_study import FAIR_PRICES, microprice_study
from features.order_flow import (
    FlowBins,
    bin_flows,
    group_flows,
    impact_regressions,
    shuffled,
)
from marketdata.book import empty_book, fold_best
from marketdata.clock import NS_PER_S, Session
from marketdata.events import ADD, CLEAR, DELETE, EXECUTE, F_LAST, HIDDEN, LEVEL, REDUCE, EventArray
from tests.features.tape import SESSION, instrument, random_tape

LEVELS = 3


@pytest.fixture(scope="module")
def tape() -> EventArray:
    return random_tape(2, 4_000, gap_ms=50.0, specials=False)


def _levels(tape: EventArray) -> list[list[list[tuple[int, int]]]]:
    """Return the best levels of both sides after each group, from a dictionary of prices."""
    book: list[dict[int, int]] = [{}, {}]
    found = []
    for event in tape:
        side = 0 if event["side"] == 1 else 1
        price, lots, action = int(event["price_units"]), int(event["size_lots"]), int(event["action"])
        if action == CLEAR:
            book = [{}, {}]
        elif action == LEVEL:
            book[side][price] = lots
        elif action == ADD:
            book[side][price] = book[side].get(price, 0) + lots
        elif action in (REDUCE, DELETE, EXECUTE):
            book[side][price] = book[side].get(price, 0) - lots
            if book[side][price] <= 0:
                del book[side][price]
        if event["flags"] & F_LAST:
            sides = [sorted(book[0].items(), reverse=True), sorted(book[1].items())]
            found.append([own[:LEVELS] + [(0, 0)] * max(LEVELS - len(own), 0) for own in sides])
    return found


def test_flows_by_level_equal_the_literatures_formula(tape: EventArray) -> None:
    groups = group_flows(tape, LEVELS)
    best = fold_best(empty_book(), tape)[np.flatnonzero(tape["flags"] & F_LAST)]
    bid, bid_lots, ask, ask_lots = best.T
    expected = np.zeros(len(best), np.int64)
    expected[1:] += np.where(bid[1:] >= bid[:-1], bid_lots[1:], 0) - np.where(bid[1:] <= bid[:-1], bid_lots[:-1], 0)
    expected[1:] += -np.where(ask[1:] <= ask[:-1], ask_lots[1:], 0) + np.where(ask[1:] >= ask[:-1], ask_lots[:-1], 0)
    np.testing.assert_array_equal(groups.flow[:, 0], expected)
    np.testing.assert_array_equal(groups.mid2, bid + ask)
    executed = np.isin(tape["action"], (EXECUTE, HIDDEN))
    signed = np.where(executed, -tape["side"].astype(np.int64) * tape["size_lots"], 0)
    assert groups.traded.sum() == signed.sum()
    with pytest.raises(ValueError, match="at least the best one"):
        group_flows(tape, 0)


def test_deeper_levels_equal_plain_loops(tape: EventArray) -> None:
    groups, levels = group_flows(tape, LEVELS), _levels(tape)
    assert len(levels) == len(groups.ts_recv)
    for k in range(1, len(levels), 3):
        for m in range(LEVELS):
            flow = 0
            for side, sign in ((0, 1), (1, -1)):
                (price, lots), (old_price, old_lots) = levels[k][side][m], levels[k - 1][side][m]
                if lots == 0 or old_lots == 0 or price == old_price:
                    moved = lots - old_lots
                else:
                    moved = lots if (price > old_price) == (side == 0) else -old_lots
                flow += sign * moved
            assert groups.flow[k, m] == flow
        assert groups.depth[k].tolist() == [
            sum(lots for side in levels[k] for _, lots in side),
            sum(lots > 0 for side in levels[k] for _, lots in side),
        ]


def test_bins_hold_all_flows_and_moves_of_the_session(tape: EventArray) -> None:
    groups = group_flows(tape, LEVELS)
    bins = bin_flows(groups, SESSION, NS_PER_S)
    assert len(bins.move) == 3_600
    first, last = np.searchsorted(groups.ts_recv, [SESSION.open_ns, SESSION.close_ns], side="right")
    assert bins.traded.sum() == groups.traded[first:last].sum()
    np.testing.assert_array_equal(bins.flow.sum(axis=0), groups.flow[first:last].sum(axis=0))
    assert bins.move.sum() == (groups.mid2[last - 1] - groups.mid2[first - 1]) / 2.0


def test_a_move_made_of_one_flow_is_explained_by_it_alone_and_ahead_as_well() -> None:
    rng = np.random.default_rng(3)
    n = 13 * 180
    flow = rng.normal(size=(n, 2))
    bins = FlowBins(2.0 * flow[:, 0] + rng.normal(size=n), rng.normal(size=n), flow, np.ones(n))
    found = {one.measure: one for one in impact_regressions(bins)}
    assert found["best level"].inside == pytest.approx(0.8, abs=0.02)
    assert found["best level"].ahead == pytest.approx(0.8, abs=0.02)
    assert found["trade imbalance"].ahead < 0.01
    common = flow[:, :1] * np.ones(2)
    twin = FlowBins(bins.move, bins.traded, common + 0.01 * flow, np.ones(n))
    assert {one.measure: one.inside for one in impact_regressions(twin)}["integrated"] == pytest.approx(0.8, abs=0.02)


def test_the_flow_explains_the_move_and_dealing_it_out_anew_does_not(tape: EventArray) -> None:
    groups = group_flows(tape, 1)
    end = int(groups.ts_recv[-1])
    session = Session(SESSION.date, SESSION.open_ns, end)
    found = {one.measure: one.whole for one in impact_regressions(bin_flows(groups, session, 2 * NS_PER_S), window=30)}
    again = impact_regressions(bin_flows(shuffled(groups, 0), session, 2 * NS_PER_S), window=30)
    assert found["best level"] > 0.15
    assert {one.measure: one.whole for one in again}["best level"] < 0.1 * found["best level"]


def test_the_depth_picture_shows_the_book_of_its_moments(tape: EventArray) -> None:
    session = Session(SESSION.date, SESSION.open_ns, int(tape["ts_recv"][-1]) + 1)
    picture = depth_picture(tape, session)
    assert picture.lots.shape == (2, PRICES, COLUMNS)
    edges = np.linspace(session.open_ns, session.close_ns, COLUMNS + 1).astype(np.int64)[1:]
    for k in (0, 100, COLUMNS - 1):
        cut = int(np.searchsorted(tape["ts_recv"], edges[k], side="left"))
        best = fold_best(empty_book(), tape[:cut])[-1]
        assert picture.mid[k] == (best[0] + best[2]) / 2
        row = int((picture.high - best[0]) / (picture.high - picture.low) * PRICES)
        assert picture.lots[0, row, k] >= best[1]
    assert picture.lots[0].sum() > 0 < picture.lots[1].sum()
    shown = flow_picture(tape, session, instrument())
    assert shown.flow.shape[1] == len(shown.weights) == 5
    with pytest.raises(ValueError, match="never had two sides"):
        depth_picture(tape[:3], session)


def test_on_a_tape_of_random_prices_the_micro_price_is_no_worse_than_the_mid(tape: EventArray) -> None:
    session = Session(
        SESSION.date, int(tape["ts_recv"][0]) - 4 * 3_600 * NS_PER_S + 150 * NS_PER_S, int(tape["ts_recv"][-1])
    )
    found = microprice_study(tape, instrument(), session)
    assert found[0].target == "next mid"
    assert all(set(row.rmse) == set(FAIR_PRICES) for row in found)
    assert found[0].gain_over_mid[2] > -0.1

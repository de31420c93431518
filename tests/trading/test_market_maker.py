"""The market maker quotes what Avellaneda and Stoikov's formulas say, on the grid, within its limits."""

from math import ceil, floor, log

import numpy as np
import pytest

from marketdata.clock import NS_PER_MS, NS_PER_S
from marketdata.events import ASK, BID, EXECUTE, LEVEL, STATUS
from tests.trading.tape import OPEN_NS, SESSION, Tape, engine, forecast, quoted, run
from trading.journal import ORDER, REASON_NAMES, REJECTED_ROW, Journal
from trading.orders import POST_ONLY
from trading.strategies import Strategy
from trading.strategies.market_maker import market_maker, quote_offsets

TICK = 5
GAMMA, DECAY, VOLATILITY, HORIZON_S = 0.1, 0.6, 0.5, 60.0


def _maker(**changes: object) -> Strategy:
    values: dict[str, object] = {
        "lots": 2,
        "max_position": 4,
        "last_entry_ns": SESSION.close_ns - 40 * NS_PER_S,
        "risk_aversion": GAMMA,
        "fill_decay": DECAY,
        "horizon_ns": int(HORIZON_S * NS_PER_S),
        "volatility": VOLATILITY,
        "forecast_share": 1.0,
    }
    return market_maker(**(values | changes))  # type: ignore[arg-type]  # changes are of the maker's own types


def _expected(mid_ticks: float, position: int, edge_ticks: float = 0.0) -> tuple[int, int]:
    """The paper's equations 3.17 and 3.18 in ticks, bids rounded down, asks up."""
    risk = GAMMA * VOLATILITY**2 * HORIZON_S
    reservation = mid_ticks - position * risk + edge_ticks
    half = 0.5 * (risk + 2.0 / GAMMA * log(1.0 + GAMMA / DECAY))
    return TICK * floor(reservation - half), TICK * ceil(reservation + half)


def _orders(journal: Journal) -> list[tuple[int, int, int, int]]:
    sent = journal[journal["kind"] == ORDER]
    return list(zip(*(sent[c].tolist() for c in ("side", "price_units", "size_lots", "tif")), strict=True))


def _wide(lots: int = 10) -> Tape:
    return quoted(Tape(), 9_900, 10_100, lots)


def test_a_flat_book_is_quoted_around_its_mid() -> None:
    _, journal = run(engine(_maker()), _wide().events())
    low, high = _expected(2_000.0, 0)
    assert _orders(journal)[:2] == [(BID, low, 2, POST_ONLY), (ASK, high, 2, POST_ONLY)]
    assert (low, high) == (9_985, 10_015), "2.29 ticks either side: risk 1.5, 10 ln(1 + 1/6) = 1.54"


def test_a_forecast_moves_both_quotes_by_the_share_that_is_believed() -> None:
    said = forecast(100, 4.0 * TICK)
    _, journal = run(engine(_maker()), _wide().events(), said)
    low, high = _expected(2_000.0, 0, 4.0)
    assert {(s, p) for s, p, _, _ in _orders(journal)[2:4]} == {(BID, low), (ASK, high)}
    _, half = run(engine(_maker(forecast_share=0.5)), _wide().events(), said)
    low, high = _expected(2_000.0, 0, 2.0)
    assert {(s, p) for s, p, _, _ in _orders(half)[2:4]} == {(BID, low), (ASK, high)}
    _, old = run(engine(_maker(forecast_age_ns=NS_PER_S)), _wide().events(), forecast(100, 20.0, due_ms=2_000))
    assert len(_orders(old)) == 2, "a forecast of a row two seconds old is not looked at"


def test_an_inventory_lowers_both_quotes_and_its_limit_takes_one_away() -> None:
    # A seller who takes the best bid shown trades through ours, which is better: two lots, the limit.
    tape = _wide()(500, EXECUTE, BID, 9_900, 4)
    _, journal = run(engine(_maker(max_position=2)), tape.events())
    [later] = [order for order in _orders(journal)[2:] if order[3] == POST_ONLY]
    assert later == (ASK, _expected(2_000.0, 2)[1], 2, POST_ONLY)
    assert later[1] == 10_000, "three ticks lower than when flat"


@pytest.mark.parametrize("edge", [50.0, -50.0])
def test_quotes_never_cross_the_other_side(edge: float) -> None:
    _, journal = run(engine(_maker()), quoted(Tape()).events(), forecast(100, edge * TICK))
    for side, price, _, tif in _orders(journal):
        assert tif == POST_ONLY
        assert price <= 10_000 if side == BID else price >= 10_005


def test_an_order_is_left_alone_until_it_is_off_by_the_ticks_that_were_asked_for() -> None:
    def orders(ticks: int) -> int:
        tape = _wide()
        for k in range(1, 6):  # the mid moves by a tick every 100 ms
            tape(100 * k, LEVEL, BID, 9_900 + 10 * k, 10)
        return len(_orders(run(engine(_maker(requote_ticks=ticks)), tape.events())[1]))

    assert orders(1) > orders(3) > orders(10) == 2


def test_after_the_last_entry_a_flat_maker_quotes_nothing() -> None:
    tape = _wide()
    tape(1_000, LEVEL, BID, 9_905, 10)
    _, journal = run(engine(_maker(last_entry_ns=OPEN_NS + 500 * NS_PER_MS)), tape.events())
    assert len(_orders(journal)) == 2
    assert (journal["kind"] == 4).sum() == 2, "both quotes are cancelled at the next change of the top"


def test_the_formula_is_antisymmetric_in_inventory_and_wider_for_more_risk() -> None:
    for position in (0, 1, 5):
        up, half = quote_offsets(position, 0.4, 30.0, 0.3, 0.1, 0.6)
        down, same = quote_offsets(-position, 0.4, 30.0, -0.3, 0.1, 0.6)
        assert (up, half) == (-down, same)
    halves = [quote_offsets(0, v, 30.0, 0.0, 0.1, 0.6)[1] for v in (0.0, 0.1, 1.0)]
    assert np.all(np.diff(halves) > 0)
    # With no risk left only the fill intensity's term stays: ln(1 + γ/k)/γ, and 1/k for γ towards 0.
    assert halves[0] == pytest.approx(log(1 + 0.1 / 0.6) / 0.1)
    assert quote_offsets(0, 1.0, 1.0, 0.0, 1e-9, 0.6)[1] == pytest.approx(1 / 0.6, rel=1e-6)


def test_a_halted_venue_is_asked_again_once_a_second_and_at_once_when_its_quotes_change() -> None:
    tape = _wide()(0.5, STATUS, 0, 0, 0)
    tape(3_000, LEVEL, BID, 9_900, 11)
    _, journal = run(engine(_maker(volatility=0.0)), tape.events())
    sent = journal[(journal["kind"] == ORDER) & (journal["ts_ns"] < OPEN_NS + 10 * NS_PER_S)]
    refused = [REASON_NAMES[r] for r in journal["reason"][journal["kind"] == REJECTED_ROW]]
    assert set(refused) == {"venue_halted"}
    times = np.unique((sent["ts_ns"] - OPEN_NS) // NS_PER_MS)
    assert 9 <= len(times) <= 13
    assert 3_001 in times.tolist(), "the quotes changed"

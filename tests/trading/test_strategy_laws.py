"""Every strategy of the catalogue: cuts change nothing, later rows nothing earlier, limits hold, mirrored markets mirror it."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketdata.clock import NS_PER_S
from marketdata.events import STATUS, EventArray
from marketdata.presets import preset
from models.forecast import ForecastArray
from tests.trading.tape import LOOSE, SESSION, engine, instrument, random_forecasts, random_market, run
from trading.engine import FOREVER
from trading.journal import CANCEL, FILL, ORDER, Journal
from trading.strategies import Strategy
from trading.strategy_catalog import STRATEGIES, find_strategy

TAPE = random_market(11, 1_500)
EVENTS = TAPE[TAPE["action"] != STATUS]
"""Without halts: a touch maker asks a halted venue again with every answer, and its journal is nothing else."""
FORECASTS = random_forecasts(12, 300, EVENTS)
FREE = (instrument(0, maker_ppm=0, taker_ppm=0), instrument(1, maker_ppm=0, taker_ppm=0))
LIMIT = 4
RISK = LOOSE.model_copy(update={"max_position_lots": LIMIT})
EAGER = {
    "taker": ("margin=0",),
    "touch_maker": (),
    "market_maker": ("risk_aversion=0.3", "forecast_share=1", "horizon_s=5"),
    "order_flow": ("window_s=1", "hold_s=2", "impact_ticks=3", "margin=0"),
}
"""Parameters with which each one trades often on the random tape; a strategy added to the catalogue runs with its defaults."""
CENTRE = 10_000


def _strategy(name: str, *extra: str) -> Strategy:
    chosen = preset("simulated", None)
    lots = chosen.strategy.model_copy(update={"order_lots": 3, "max_position_lots": 6, "capital": 1e12})
    chosen = chosen.model_copy(update={"strategy": lots})
    return find_strategy(name, (*EAGER.get(name, ()), *extra))(chosen, SESSION)


def _journal(strategy: Strategy, events: EventArray = EVENTS, forecasts: ForecastArray = FORECASTS) -> Journal:
    return run(engine(strategy, instruments=FREE, risk=RISK, queue="probabilistic"), events, forecasts)[1]


WHOLE: dict[str, Journal] = {}


def _whole(name: str) -> Journal:
    if name not in WHOLE:
        WHOLE[name] = _journal(_strategy(name))
    return WHOLE[name]


@pytest.mark.parametrize("name", list(STRATEGIES))
def test_it_trades_on_a_random_tape(name: str) -> None:
    assert (_whole(name)["kind"] == FILL).sum() > 10


@pytest.mark.parametrize("name", list(STRATEGIES))
@settings(max_examples=6, deadline=None)
@given(
    cuts=st.lists(st.integers(int(EVENTS["ts_recv"][0]), int(EVENTS["ts_recv"][-1]) + NS_PER_S), min_size=1, max_size=9)
)
def test_cutting_the_streams_anywhere_changes_nothing(name: str, cuts: list[int]) -> None:
    made = engine(_strategy(name), instruments=FREE, risk=RISK, queue="probabilistic")
    state, parts, before = made.init(), [], 0
    for until in [*sorted(cuts), FOREVER]:
        market = EVENTS[(EVENTS["ts_recv"] >= before) & (EVENTS["ts_recv"] < until)]
        said = FORECASTS[(FORECASTS["due_ns"] >= before) & (FORECASTS["due_ns"] < until)]
        state, rows = made.run(state.copy(), market, said, None, until)
        parts.append(rows)
        before = until
    assert np.concatenate(parts).tobytes() == _whole(name).tobytes()


@pytest.mark.parametrize("name", list(STRATEGIES))
def test_rows_after_a_time_change_nothing_before_it(name: str) -> None:
    at = int(EVENTS["ts_recv"][len(EVENTS) // 2])
    later = EVENTS.copy()
    later["price_units"][later["ts_recv"] >= at] += 5 * (1 + later["sequence"][later["ts_recv"] >= at] % 7)
    said = FORECASTS.copy()
    said["edge_units"][said["due_ns"] >= at] *= -3
    changed = _journal(_strategy(name), later, said)
    first = int(later["ts_event"][later["ts_recv"] >= at].min())
    assert changed[changed["ts_ns"] < first].tobytes() == _whole(name)[_whole(name)["ts_ns"] < first].tobytes()
    assert changed.tobytes() != _whole(name).tobytes()


@pytest.mark.parametrize("name", list(STRATEGIES))
def test_what_is_held_and_what_may_still_fill_never_exceeds_the_limit(name: str) -> None:
    rows = _whole(name)
    for number in range(len(FREE)):
        live: dict[int, tuple[int, int]] = {}
        position = 0
        for row in rows[rows["instrument_id"] == number]:
            kind, order = int(row["kind"]), int(row["order_id"])
            if kind == ORDER:
                live[order] = (int(row["side"]), int(row["size_lots"]))
            elif kind == FILL:
                position = int(row["position_lots"])
                side, left = live[order]
                live[order] = (side, left - int(row["size_lots"]))
                if live[order][1] == 0:
                    del live[order]
            elif kind in (7, 8):  # cancelled, rejected
                live.pop(order, None)
            for side in (1, -1):
                worst = side * position + sum(lots for s, lots in live.values() if s == side)
                assert worst <= LIMIT


def _mirrored_events(events: EventArray) -> EventArray:
    out = events.copy()
    priced = out["price_units"] > 0
    out["price_units"][priced] = 2 * CENTRE - out["price_units"][priced]
    out["side"] *= -1
    return out


def _mirrored_forecasts(forecasts: ForecastArray) -> ForecastArray:
    out = forecasts.copy()
    out["edge_units"] *= -1
    out["p_up"], out["p_down"] = forecasts["p_down"], forecasts["p_up"]
    return out


def _sent(rows: Journal, sign: int) -> list[tuple[Any, ...]]:
    """Orders, cancels and fills as (time, kind, instrument, side, price, lots), seen from one side of the mirror.

    Without the session's end: what is flattened there is limited by the collar, a share of the price.
    """
    kept = rows[np.isin(rows["kind"], (ORDER, CANCEL, FILL)) & (rows["ts_ns"] < SESSION.close_ns - 15 * NS_PER_S)]
    price = kept["price_units"] if sign > 0 else 2 * CENTRE - kept["price_units"]
    columns = (kept["ts_ns"], kept["kind"], kept["instrument_id"], sign * kept["side"], price, kept["size_lots"])
    return sorted(zip(*(c.tolist() for c in columns), strict=True))


@pytest.mark.parametrize("name", list(STRATEGIES))
def test_a_market_upside_down_is_traded_upside_down(name: str) -> None:
    # The Kelly size depends on the price level, not only on its moves: the whole order is always bet here.
    other = _journal(_strategy(name), _mirrored_events(EVENTS), _mirrored_forecasts(FORECASTS))
    assert _sent(other, -1) == _sent(_whole(name), 1)

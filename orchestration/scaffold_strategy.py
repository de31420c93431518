"""What ``flowsense new strategy`` writes."""

from typing import Final

MODULE: Final = '''"""{title}: hold some lots on the side of a forecast that pays, until one points the other way. Make it yours.

Try it on a night's out-of-sample forecasts, after fees and latencies::

    flowsense backtest --strategy {name} --band

``trading/strategies/interface.py`` says what the arguments of ``decide`` are; what runs at an engine's wake is compiled, so use
numbers, arrays and ``@njit(cache=True)`` functions only. The risk gate comes after it.
"""

from typing import Final

import numpy as np
import numpy.typing as npt
from numba import cfunc

from marketdata.clock import Session
from marketdata.events import ASK, BID
from marketdata.settings import Settings
from trading.config import last_entry_ns
from trading.hooks import DECIDE_SIGNATURE
from trading.orders import IOC
from trading.strategies import (
    ENTERED,
    EXIT_SENT,
    HOLDING,
    IN_FLIGHT,
    NO_EDGE,
    NO_QUOTE,
    TOO_LATE,
    V_ASK,
    V_ASK_LOTS,
    V_BID,
    V_BID_LOTS,
    V_FORECAST_NS,
    V_OUTCOME,
    V_POSITION,
    V_TAKER_PPM,
    V_TRADE_FEE,
    V_UNIT_NANOS,
    V_UNSETTLED,
    WAKE_FORECAST,
    Floats,
    Ints,
    Strategy,
    put_order,
    round_trip_cost,
    trade_fee_cost,
)

LOTS: Final = 0
LAST_ENTRY: Final = 1
"""Indices of the int64 parameters."""
MARGIN: Final = 0
"""Indices of the float64 parameters."""


@cfunc(DECIDE_SIGNATURE, cache=True)
def decide_{name}(
    now: int,
    wake: int,
    ints: Ints,
    floats: Floats,
    view: Ints,
    forecast: Floats,
    memory: Ints,
    out: npt.NDArray[np.int64],
) -> int:
    """Enter at the touch when the forecast's edge pays for the round trip and a margin; leave when its sign turns.

    Both are IOC orders at the touch as seen, sent when a forecast arrives and no answer is under way.
    """
    if wake != WAKE_FORECAST:
        return 0
    if view[V_UNSETTLED] > 0:
        view[V_OUTCOME] = IN_FLIGHT
        return 0
    bid, ask, position, edge = view[V_BID], view[V_ASK], view[V_POSITION], forecast[3]
    if view[V_BID_LOTS] == 0 or view[V_ASK_LOTS] == 0 or bid > ask:
        view[V_OUTCOME] = NO_QUOTE
        return 0
    if position != 0:
        if edge * position >= 0.0:
            view[V_OUTCOME] = HOLDING
            return 0
        side, lots = (ASK if position > 0 else BID), abs(position)
        view[V_OUTCOME] = EXIT_SENT
    else:
        if view[V_FORECAST_NS] > ints[LAST_ENTRY]:
            view[V_OUTCOME] = TOO_LATE
            return 0
        cost = round_trip_cost(bid, ask, view[V_TAKER_PPM])
        cost += trade_fee_cost(view[V_TRADE_FEE], view[V_UNIT_NANOS], ints[LOTS])
        if abs(edge) <= cost * (1.0 + floats[MARGIN]):
            view[V_OUTCOME] = NO_EDGE
            return 0
        side, lots = (BID if edge > 0.0 else ASK), ints[LOTS]
        view[V_OUTCOME] = ENTERED
    return put_order(out, 0, side, IOC, ask if side == BID else bid, lots)


def {name}(settings: Settings, session: Session, *, margin: float = 0.25) -> Strategy:
    """Return the strategy of a session.

    Parameters
    ----------
    margin : float
        Share of the round-trip cost by which the edge must exceed it to enter.
    """
    lots = min(settings.strategy.order_lots, settings.strategy.max_position_lots)
    ints = (lots, last_entry_ns(settings, session))
    return Strategy("{name}", decide_{name}, WAKE_FORECAST, ints, (margin,))
'''

TEST: Final = '''"""What {name} does: when it enters, when it leaves, and that the engine's laws hold with it."""

import numpy as np

from marketdata.events import ASK, BID
from marketdata.presets import preset
from models.forecast import ForecastArray
from tests.trading.tape import SESSION, Tape, engine, forecast, instrument, quoted, random_forecasts, random_market, run
from trading.engine import FOREVER
from trading.journal import FILL, FORECAST, ORDER, OUTCOME_NAMES, Journal
from trading.strategies import Strategy
from trading.strategies.{name} import {name}
from trading.strategy_catalog import find_strategy

COST = 5 + 2 * 30e-6 * 10_002.5
"""A spread of 5 and two fees of 30 millionths of a mid of 10,002.5, as ``tests/trading/tape.py`` has them."""


def _strategy() -> Strategy:
    return {name}(preset("simulated", None), SESSION)


def _trade(*forecasts: ForecastArray) -> Journal:
    return run(engine(_strategy()), quoted(Tape(), lots=100).events(), np.concatenate(forecasts))[1]


def _outcomes(rows: Journal) -> list[str]:
    return [OUTCOME_NAMES[k] for k in rows["reason"][rows["kind"] == FORECAST]]


def test_it_enters_above_the_cost_and_the_margin_only() -> None:
    rows = _trade(forecast(100, 1.24 * COST), forecast(200, -1.24 * COST), forecast(300, 1.26 * COST))
    assert _outcomes(rows) == ["no_edge", "no_edge", "entered"]
    order = rows[rows["kind"] == ORDER][0]
    assert (order["side"], order["price_units"], order["size_lots"]) == (BID, 10_005, _strategy().ints[0])


def test_it_leaves_when_the_forecast_turns() -> None:
    rows = _trade(forecast(100, -9.0), forecast(200, -0.1), forecast(300, 0.1), forecast(400, 0.0))
    assert _outcomes(rows) == ["entered", "holding", "exit_sent", "no_edge"]
    fills = rows[rows["kind"] == FILL]
    assert fills["side"].tolist() == [ASK, BID]
    assert fills["position_lots"][-1] == 0


def test_it_sends_nothing_while_an_answer_is_under_way() -> None:
    assert _outcomes(_trade(forecast(100, 9.0), forecast(101, -9.0))) == ["entered", "in_flight"]


def test_cutting_the_session_anywhere_changes_nothing() -> None:
    events = random_market(3, 300)
    forecasts = random_forecasts(4, 200, events)
    made = engine(_strategy(), instruments=(instrument(0), instrument(1)))
    whole = run(made, events, forecasts)[1]
    middle = int(events["ts_recv"][len(events) // 2])
    early, told = events["ts_recv"] < middle, forecasts["due_ns"] < middle
    state, first = made.run(made.init(), events[early], forecasts[told], None, middle)
    _, second = made.run(state, events[~early], forecasts[~told], None, FOREVER)
    assert np.array_equal(np.concatenate([first, second]), whole)
    assert (whole["kind"] == ORDER).any()


def test_a_backtest_finds_it_by_its_name() -> None:
    assert find_strategy("{name}")(preset("simulated", None), SESSION).name == "{name}"
'''
